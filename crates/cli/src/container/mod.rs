//! Commands about containers: each asks the engine and prints.

pub(crate) mod boot;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod port;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod run;
pub(crate) mod size;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod update;

use engine::Engine;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output;

/// At most so many are worked on at once.
const PARALLEL: usize = 50;

/// Does `act` to every name and prints the name where it succeeded, in the order given; 1 where one failed.
pub(crate) fn each<F>(context: &Context, names: &[String], act: F) -> Result<u8>
where
    F: Fn(&Engine, &str) -> Result<()> + Sync,
{
    let mut code = 0;
    for (name, outcome) in names.iter().zip(outcomes(context, names, act)?) {
        match outcome {
            Ok(()) => output::print(&format!("{name}\n")),
            Err(error) => {
                code = 1;
                output::complain(&error);
            }
        }
    }
    Ok(code)
}

/// Does `act` to every name, several at once: ten containers that take ten seconds to stop take ten seconds, not
/// a hundred.
pub(crate) fn outcomes<F>(context: &Context, names: &[String], act: F) -> Result<Vec<Result<()>>>
where
    F: Fn(&Engine, &str) -> Result<()> + Sync,
{
    let engine = context.engine()?;
    if let [name] = names {
        return Ok(vec![act(engine, name)]);
    }
    let mut outcomes = Vec::new();
    for names in names.chunks(PARALLEL) {
        std::thread::scope(|scope| {
            let act = &act;
            let begin = |name| std::thread::Builder::new().spawn_scoped(scope, move || act(engine, name));
            let threads: Vec<_> = names.iter().map(|name| (name, begin(name))).collect();
            outcomes.extend(threads.into_iter().map(
                |(name, thread)| match thread.map(|thread| thread.join()) {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // There is no thread to be had: its turn comes after the others'.
                    Err(_) => act(engine, name),
                },
            ));
        });
    }
    Ok(outcomes)
}

/// The keys that detach: those of `--detach-keys`, else the configured ones, else Docker's.
pub(crate) fn detach_keys(context: &Context, parsed: &crate::flags::Parsed) -> Result<Vec<u8>> {
    if let Some(given) = parsed.value("detach-keys", crate::values::keys::parse)? {
        return Ok(given);
    }
    // Nobody types where there is no terminal: then the file is not looked for.
    let typed = rustix::termios::isatty(rustix::stdio::stdin());
    let configured = if typed { context.configured("detachKeys") } else { None };
    configured.map_or_else(
        || Ok(crate::values::keys::DEFAULT.to_vec()),
        |keys| {
            crate::values::keys::parse(&keys).map_err(|reason| Error::Configured {
                key: "detachKeys",
                value: keys,
                reason,
            })
        },
    )
}

/// An exit code of a program, which Linux keeps within a byte.
pub(crate) fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(255)
}
