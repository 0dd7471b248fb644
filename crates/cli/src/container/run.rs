//! `run` and `create`.
//!
//! Exit codes of `run`: 125 where Skiff failed, 126 where the program could not be invoked, 127 where it was not found,
//! else the program's own; as with Docker, 1 where `-d` and `-a` contradict each other. Of `create`: 125 where the flags were
//! wrong, else 1.

use engine::Started;
use engine::request::Create;
use monitor::{AttachStdio, SessionEnd};

use super::{create, detach_keys, exit_code};
use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::image::pull::with_image;
use crate::output;
use crate::terminal::{Caller, Wish};

/// `skiff create`.
pub(crate) fn create(context: &Context, parsed: &Parsed) -> Result<u8> {
    let request = create::request(context, parsed, false).map_err(|error| fail(error, &parsed.path))?;
    let cidfile = refuse_cidfile(&request)?;
    let make = |request: &Create| Ok(context.engine()?.create(request)?);
    let created = with_image(context, &request, parsed.on("quiet"), make)?;
    warn(&created.warnings);
    write_cidfile(cidfile, created.id.as_str())?;
    output::print(&format!("{}\n", created.id.as_str()));
    Ok(0)
}

/// `skiff run`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let detach = parsed.on("detach");
    // All of it begins anew once an image has been pulled, which the terminal and its signals must be free for.
    let run = |request: &Create| match detach {
        true => run_detached(context, request),
        false => run_attached(context, parsed, request),
    };
    let outcome = create::request(context, parsed, detach)
        .and_then(|request| with_image(context, &request, parsed.on("quiet"), run));
    outcome.map_err(|error| fail(error, &parsed.path))
}

/// Prints an error unless it is about flags, which the caller prints with the usage.
fn fail(error: Error, verb: &str) -> Error {
    if error.is_usage()
        || matches!(
            error,
            Error::FlagLater { .. } | Error::NoTerminal | Error::ReaderGone | Error::AttachDetached
        )
    {
        return error;
    }
    output::complain(&error);
    output::warn(&format!("\nRun 'skiff {verb} --help' for more information\n"));
    Error::Printed(error.run_exit_code())
}

fn run_detached(context: &Context, request: &Create) -> Result<u8> {
    let started = launch(context, request, None)?;
    output::print(&format!("{}\n", started.id.as_str()));
    Ok(0)
}

fn run_attached(context: &Context, parsed: &Parsed, request: &Create) -> Result<u8> {
    let keys = detach_keys(context, parsed)?;
    let attach = request.process.attach;
    let caller = Caller::new(Wish {
        stdin: attach.stdin && request.process.open_stdin,
        stdout: attach.stdout,
        stderr: attach.stderr,
        tty: request.process.tty,
        detach_keys: &keys,
        sig_proxy: parsed.tristate("sig-proxy").unwrap_or(true),
    })?;
    let (stdio, session) = AttachStdio::from_caller(&caller.stdio())?;
    let mut started = launch(context, request, Some(stdio))?;
    match session.run(&mut started.running.connection)? {
        SessionEnd::Detached => {
            context.engine()?.detached(&started.id)?;
            Ok(0)
        }
        SessionEnd::Unread(ended) => {
            if let Some(ended) = ended {
                context.engine()?.ended(&started.id, ended)?;
            }
            Err(Error::ReaderGone)
        }
        SessionEnd::Exited(ended) => {
            let exit = context.engine()?.ended(&started.id, ended)?;
            Ok(exit_code(exit.code))
        }
    }
}

/// Makes and starts. With a cidfile in two steps, since it names a container that was made also when it cannot be
/// started.
fn launch(context: &Context, request: &Create, stdio: Option<AttachStdio>) -> Result<Started> {
    let cidfile = refuse_cidfile(request)?;
    if cidfile.is_none() {
        let launcher = context.launcher(request)?;
        let started = context.engine()?.run_with(launcher, request, stdio)?;
        warn(&started.warnings);
        return Ok(started);
    }
    let engine = context.engine()?;
    let created = engine.create(request)?;
    warn(&created.warnings);
    write_cidfile(cidfile, created.id.as_str())?;
    let started = engine.start(created.id.as_str(), stdio)?;
    started.ok_or(Error::StartedElsewhere { name: created.name.to_string() })
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        output::warn(&format!("WARNING: {warning}\n"));
    }
}

/// Refuses a cidfile that exists, before anything is made.
fn refuse_cidfile(request: &Create) -> Result<Option<std::path::PathBuf>> {
    let Some(path) = &request.host.cidfile else { return Ok(None) };
    let path = absolute(path.as_os_str())?;
    if rustix::fs::lstat(&path).is_ok() {
        return Err(Error::CidfileExists { path: path.display().to_string() });
    }
    Ok(Some(path))
}

fn write_cidfile(path: Option<std::path::PathBuf>, id: &str) -> Result<()> {
    use std::io::Write;
    if let Some(path) = path {
        let mut file = linux::file::create_new(&path, 0o644)?;
        file.write_all(id.as_bytes()).map_err(Error::Output)?;
    }
    Ok(())
}
