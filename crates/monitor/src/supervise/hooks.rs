//! Hooks that the supervisor runs: after the program has begun, and after it has ended. Those before are the runtime's.

use runtime::hooks::run;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::exit::LaunchFailure;
use crate::packet;
use crate::plan::MonitorPlan;
use crate::supervise::container::Container;
use crate::supervise::requests::causes;

/// The program runs. A hook that fails ends it (runtime specification, runtime.md, "Lifecycle").
pub(super) fn after_start(plan: &MonitorPlan, pid: Pid) -> std::result::Result<(), LaunchFailure> {
    let hooks = &plan.launch.hooks;
    run("poststart", &hooks.poststart, &hooks.state, "running", Some(pid))
        .map_err(|error| LaunchFailure::from(&error))
}

/// The program has ended, or never began. What a hook says of a failure is no more than a note.
pub(super) fn after_end(plan: &MonitorPlan) -> Option<String> {
    let hooks = &plan.launch.hooks;
    let failed = run("poststop", &hooks.poststop, &hooks.state, "stopped", None).err()?;
    Some(format!("{failed}: {}", causes(&failed)).trim_end_matches(": ").to_owned())
}

impl Container {
    /// Runs what is to be run after a run.
    pub(super) fn run_last_hooks(&self) -> Option<String> {
        if !self.has_last_hooks {
            return None;
        }
        let plan: Result<MonitorPlan> = packet::unseal(std::os::fd::AsFd::as_fd(&self.plan));
        match plan {
            Ok(plan) => after_end(&plan),
            Err(error) => Some(Error::to_string(&error)),
        }
    }
}
