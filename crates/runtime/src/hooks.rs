//! Programs run around a container's life (OCI runtime specification, config.md, "POSIX-platform Hooks").
//!
//! `prestart` and `createRuntime` run while [`crate::ParkedInit`] waits for its init, `createContainer` and `startContainer` in
//! init; `poststart` and `poststop` are the caller's to run, with [`run`]. A hook gets its own environment and
//! nothing of the image's or the caller's.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::plan::{Hook, HookState};
use crate::{Error, InitFailure, Result, Step};

/// The version of the specification that is implemented.
const VERSION: &str = "1.2.0";
/// How much of a failing hook's last words is kept.
const LAST_WORDS: u64 = 2048;

/// Runs `hooks` in order; the first that fails ends the row.
///
/// All that the caller has open above descriptor 2 is close-on-exec from here on: what it inherited from its own
/// caller is nothing to hooks.
pub fn run(
    kind: &'static str,
    hooks: &[Hook],
    state: &HookState,
    status: &str,
    pid: Option<Pid>,
) -> Result<()> {
    if let Some(hook) = hooks.first() {
        linux::process::close_from_on_exec(3).map_err(|errno| Error::Hook {
            kind,
            path: hook.path.clone(),
            why: errno.to_string(),
        })?;
    }
    run_all(kind, hooks, state, status, pid)
}

fn run_all(
    kind: &'static str,
    hooks: &[Hook],
    state: &HookState,
    status: &str,
    pid: Option<Pid>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let document = document(state, status, pid.map(Pid::as_raw_pid)).to_string();
    hooks.iter().try_for_each(|hook| {
        run_one(hook, &document).map_err(|why| Error::Hook { kind, path: hook.path.clone(), why })
    })
}

/// The same in init, where failures are reports.
pub(crate) fn run_inside(
    kind: &'static str,
    hooks: &[Hook],
    state: &HookState,
    status: &str,
    pid: i32,
) -> Result<(), InitFailure> {
    run_all(kind, hooks, state, status, Pid::from_raw(pid))
        .map_err(|error| InitFailure::because(Step::Hook, kind, error.to_string()))
}

pub(crate) fn version(state: &HookState) -> &str {
    if state.oci_version.is_empty() { VERSION } else { &state.oci_version }
}

/// The state document (runtime specification, runtime.md, "State").
pub(crate) fn document(state: &HookState, status: &str, pid: Option<i32>) -> Value {
    let annotations: serde_json::Map<String, Value> =
        state.annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    let mut document = json!({ "ociVersion": version(state), "id": state.id, "status": status });
    if let Some(pid) = pid {
        document["pid"] = pid.into();
    }
    document["bundle"] = state.bundle.as_str().into();
    if !annotations.is_empty() {
        document["annotations"] = annotations.into();
    }
    document
}

#[allow(clippy::disallowed_methods, reason = "hooks are programs, and this crate owns them")]
fn run_one(hook: &Hook, document: &str) -> Result<(), String> {
    // A file and not a pipe: a daemon that a hook leaves behind would hold a pipe open for ever.
    let mut words = File::from(memfd_create("hook", MemfdFlags::CLOEXEC).map_err(|errno| errno.to_string())?);
    let mut command = Command::new(&hook.path);
    if let [name, arguments @ ..] = hook.args.as_slice() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(words.try_clone().map_err(|error| error.to_string())?);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read its state is within its rights.
        drop(stdin.write_all(document.as_bytes()));
    }
    if let Some(seconds) = hook.timeout_secs
        && !ends_within(&child, seconds)?
    {
        // An error here means that it has ended just now.
        drop(child.kill());
        drop(child.wait());
        return Err(format!("not finished after {seconds} seconds"));
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    // What it said is a courtesy; the status is the error.
    drop(words.rewind());
    drop(words.take(LAST_WORDS).read_to_string(&mut said));
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    };
    Err(if said.trim().is_empty() { how } else { format!("{how}: {}", said.trim()) })
}

fn ends_within(child: &std::process::Child, seconds: u32) -> Result<bool, String> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| errno.to_string())?;
    let timeout = Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    let ready =
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).map_err(|errno| errno.to_string())?;
    Ok(ready > 0)
}
