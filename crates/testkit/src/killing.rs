//! Killing a command at one of the system calls that it makes, or holding it up there. Needs strace, which does either.
//!
//! What a command makes in its first thread, [`calls_of`] tells and [`kill_at`] kills it at. One that has several threads and
//! starts others is looked at whole by [`crate::moments_of`].

use std::collections::BTreeMap;
use std::process::{Command, ExitStatus, Stdio};

use crate::Skiff;

/// One system call of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// How many of its kind came before it, and itself: what strace counts by.
    pub number: u32,
}

impl Call {
    /// The first of its kind.
    pub fn first(name: &str) -> Call {
        Call { name: name.to_owned(), number: 1 }
    }
}

/// The system calls that the command makes when nobody kills it, without the exec, before which there is no program.
pub fn calls_of(skiff: &Skiff, arguments: &[&str]) -> Vec<Call> {
    let log = skiff.folder().join("calls");
    let status = traced(skiff, &["-qq", "-o", log.to_str().expect("a name")], arguments).status();
    let status = status.expect("this test needs strace: install the package of that name");
    assert!(status.success(), "{arguments:?}: {status}");
    let text = std::fs::read(&log).expect("read what strace wrote");
    std::fs::remove_file(log).expect("remove what strace wrote");
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let text = String::from_utf8_lossy(&text).into_owned();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let is_name = |name: &&str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let call = |name: &str| {
        let number = counts.entry(name.to_owned()).or_default();
        *number += 1;
        Call { name: name.to_owned(), number: *number }
    };
    names.filter(is_name).map(call).skip(1).collect()
}

/// Runs the command and kills it when it makes `call`. It succeeds where it does not come to that.
pub fn kill_at(skiff: &Skiff, call: &Call, arguments: &[&str]) -> ExitStatus {
    let kill = format!("inject={}:signal=KILL:when={}", call.name, call.number);
    traced(skiff, &["-qq", "-o", "/dev/null", "-e", &kill], arguments).status().expect("start strace")
}

/// The command, held up for `delay_ms` when it makes `call`.
pub fn held_up_at(skiff: &Skiff, call: &Call, delay_ms: u32, arguments: &[&str]) -> Command {
    let delay =
        format!("inject={}:delay_enter={}:when={}", call.name, u64::from(delay_ms) * 1000, call.number);
    traced(skiff, &["-qq", "-o", "/dev/null", "-e", &delay], arguments)
}

/// Runs the command and kills the first of it and of all that it starts to make `call`. Returns when all of them have ended.
pub fn kill_any_at(skiff: &Skiff, call: &Call, arguments: &[&str]) -> ExitStatus {
    let kill = format!("inject={}:signal=KILL:when={}", call.name, call.number);
    traced(skiff, &["-f", "-qq", "-o", "/dev/null", "-e", &kill], arguments).status().expect("start strace")
}

/// The command behind `strace` with more of its flags.
fn traced(skiff: &Skiff, flags: &[&str], arguments: &[&str]) -> Command {
    let command = skiff.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(flags).arg(command.get_program()).args(arguments);
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(skiff.folder());
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}
