//! A further process in a running container.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::plan::{LaunchPlan, ProcessPlan};
use crate::{Error, Result, Running, Stdio};

/// The container to join, by its first process.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Keeps `pid` from naming another process.
    pub pidfd: BorrowedFd<'a>,
    /// Init's process id.
    pub pid: Pid,
    /// The plan it was started from.
    pub plan: &'a LaunchPlan,
    /// Its control group, joined by the new process.
    pub cgroup: Option<&'a cgroup::Cgroup>,
}

/// Starts `process` in a running container; returns once its program runs, with the terminal's master when it has one.
pub fn exec(target: Target<'_>, process: &ProcessPlan, stdio: Stdio) -> Result<(Running, Option<OwnedFd>)> {
    drop(stdio);
    let _ = process;
    Err(Error::Unsupported { what: target.plan.id.clone(), why: "not built yet" })
}
