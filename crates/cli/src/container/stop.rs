//! `stop`, `restart`, `pause`, `unpause`, `kill` and `wait`.

use engine::request::{Stop, WaitFor};
use linux::thread::spawn_scoped;

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;
use crate::values::integer;

/// `skiff stop`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = request(parsed)?;
    super::each(context, &parsed.arguments, |engine, name| Ok(engine.stop(name, &request).map(|_| ())?))
}

/// `skiff restart`.
pub(crate) fn restart(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = request(parsed)?;
    super::each(context, &parsed.arguments, |engine, name| Ok(engine.restart(name, &request)?))
}

fn request(parsed: &Parsed) -> Result<Stop> {
    Ok(Stop {
        signal: parsed.text("signal").map(str::to_owned).filter(|signal| !signal.is_empty()),
        timeout_secs: parsed.value("timeout", integer)?,
    })
}

/// `skiff pause`.
pub(crate) fn pause(context: &Context, parsed: &Parsed) -> Result<u8> {
    super::each(context, &parsed.arguments, |engine, name| Ok(engine.pause(name)?))
}

/// `skiff unpause`.
pub(crate) fn unpause(context: &Context, parsed: &Parsed) -> Result<u8> {
    super::each(context, &parsed.arguments, |engine, name| Ok(engine.unpause(name)?))
}

/// `skiff kill`.
pub(crate) fn kill(context: &Context, parsed: &Parsed) -> Result<u8> {
    let signal = parsed.text("signal").filter(|signal| !signal.is_empty()).unwrap_or("KILL");
    super::each(context, &parsed.arguments, |engine, name| Ok(engine.kill(name, signal)?))
}

/// `skiff wait`. All are waited for at once: what one waits for may come while another takes its time.
pub(crate) fn wait(context: &Context, parsed: &Parsed) -> Result<u8> {
    let condition = parsed.value("condition", condition)?.unwrap_or_default();
    let engine = context.engine()?;
    let mut code = 0;
    std::thread::scope(|scope| {
        let wait = |name: &str| Ok(engine.wait(name, condition)?);
        let begin = |name| spawn_scoped(scope, "wait for a container", move || wait(name));
        let waiting: Vec<_> = parsed.arguments.iter().map(|name| begin(name)).collect();
        for one in waiting {
            let ended = one.map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            match ended.unwrap_or_else(|refused| Err(refused.into())) {
                Ok(status) => output::print(&format!("{status}\n")),
                Err(error) => {
                    code = 1;
                    output::complain(&error);
                }
            }
        }
    });
    Ok(code)
}

fn condition(text: &str) -> std::result::Result<WaitFor, &'static str> {
    match text {
        "" | "not-running" => Ok(WaitFor::NotRunning),
        "next-exit" => Ok(WaitFor::NextExit),
        "removed" => Ok(WaitFor::Removed),
        _ => Err("it is none of not-running, next-exit and removed"),
    }
}
