//! `exec`.

use engine::request::Exec;
use monitor::{ExecStdio, SessionEnd};

use super::{create, detach_keys, exit_code};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use crate::terminal::{Caller, Wish};

/// `skiff exec`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let (name, command) = (&parsed.arguments[0], &parsed.arguments[1..]);
    let owned = |flag| parsed.text(flag).map(str::to_owned).filter(|text| !text.is_empty());
    let detach = parsed.on("detach");
    let request = Exec {
        command: command.to_vec(),
        env: create::env(parsed)?,
        user: owned("user"),
        workdir: owned("workdir"),
        tty: parsed.on("tty"),
        stdin: parsed.on("interactive") && !detach,
        privileged: parsed.on("privileged"),
        detach,
    };
    let outcome = if detach {
        context.engine()?.exec(name, &request, ExecStdio::default()).map(|_| 0).map_err(Error::from)
    } else {
        attached(context, parsed, name, &request)
    };
    // What could not be started has the code that a shell would give it, if anybody waits for one.
    outcome.map_err(|error| match error.launch_code() {
        Some(code) if !detach => {
            output::complain(&error);
            Error::Printed(if code == 127 { 127 } else { 126 })
        }
        Some(_) | None => error,
    })
}

fn attached(context: &Context, parsed: &Parsed, name: &str, request: &Exec) -> Result<u8> {
    let keys = detach_keys(context, parsed)?;
    let caller = Caller::new(Wish {
        stdin: request.stdin,
        stdout: true,
        stderr: true,
        tty: request.tty,
        detach_keys: &keys,
        sig_proxy: false,
    })?;
    let stdio = caller.stdio();
    let (handed, session) = ExecStdio::from_caller(&stdio, request.tty)?;
    let mut started = context.engine()?.exec(name, request, handed)?;
    match session.run_exec(&mut started.handle)? {
        SessionEnd::Detached => {
            context.engine()?.exec_detached(&started.container, &started.exec_id)?;
            Ok(0)
        }
        SessionEnd::Unread(_) => Err(Error::ReaderGone),
        SessionEnd::Exited(code) => Ok(exit_code(code)),
    }
}
