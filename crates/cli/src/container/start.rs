//! `start` and `attach`.

use engine::info::{ContainerInfo, Status};
use monitor::{AttachStdio, Connection, SessionEnd};

use super::{detach_keys, exit_code};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::terminal::{Caller, Wish};

/// `skiff start`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    if !parsed.on("attach") && !parsed.on("interactive") {
        return super::each(context, &parsed.arguments, |engine, name| {
            Ok(engine.start(name, None).map(|_| ())?)
        });
    }
    let [name] = parsed.arguments.as_slice() else { return Err(Error::AttachMany) };
    let info = context.engine()?.inspect(name)?;
    let stdin = parsed.on("interactive");
    session(context, parsed, &info, stdin, |stdio| {
        let engine = context.engine()?;
        Ok(engine.start(info.id.as_str(), Some(stdio))?.map(|started| started.running.connection))
    })
}

/// `skiff attach`.
pub(crate) fn attach(context: &Context, parsed: &Parsed) -> Result<u8> {
    let name = &parsed.arguments[0];
    let info = context.engine()?.inspect(name)?;
    let state = |state, advice| Error::State { verb: "attach to", state, advice };
    match info.state.status {
        Status::Running => {}
        Status::Paused => return Err(state("paused", "unpause it first")),
        Status::Restarting => return Err(state("restarting", "wait until it is running")),
        Status::Created | Status::Removing | Status::Exited | Status::Dead => {
            return Err(state("stopped", "start it first"));
        }
    }
    session(context, parsed, &info, !parsed.on("no-stdin"), |_| Ok(None))
}

/// Streams of the container until it ends; its exit code. `start` starts it, or says that it ran already: then
/// the streams are attached to what runs.
fn session(
    context: &Context,
    parsed: &Parsed,
    info: &ContainerInfo,
    stdin: bool,
    start: impl FnOnce(AttachStdio) -> Result<Option<Connection>>,
) -> Result<u8> {
    let keys = detach_keys(context, parsed)?;
    let wish = Wish {
        stdin: stdin && info.spec.process.open_stdin,
        stdout: true,
        stderr: true,
        tty: info.spec.process.tty,
        detach_keys: &keys,
        sig_proxy: parsed.tristate("sig-proxy").unwrap_or(true),
    };
    let caller = Caller::new(wish)?;
    let stdio = caller.stdio();
    let engine = context.engine()?;
    let running = info.state.status.is_running();
    let (handed, session) = AttachStdio::from_caller(&stdio)?;
    let (mut connection, session) = if running {
        (engine.attach(info.id.as_str(), handed)?.1, session)
    } else {
        match start(handed)? {
            Some(connection) => (connection, session),
            // Somebody else started it meanwhile.
            None => {
                let (handed, session) = AttachStdio::from_caller(&stdio)?;
                (engine.attach(info.id.as_str(), handed)?.1, session)
            }
        }
    };
    match session.run(&mut connection)? {
        SessionEnd::Detached => {
            engine.detached(&info.id)?;
            Ok(0)
        }
        SessionEnd::Unread(ended) => {
            if let Some(ended) = ended {
                engine.ended(&info.id, ended)?;
            }
            Err(Error::ReaderGone)
        }
        SessionEnd::Exited(ended) => Ok(exit_code(engine.ended(&info.id, ended)?.code)),
    }
}
