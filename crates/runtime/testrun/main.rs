//! Does for the tests what a supervisor does: starts a plan in a process of one thread, which a test is not.
//!
//! `runtime-testrun SCENARIO REPORT`: reads the first file, writes the second. The container's streams are its own.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test program handles its own files")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use runtime::plan::{LaunchPlan, ProcessPlan};
use runtime::{Error, Exit, Running, Stdio, Target};
use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Debug, Serialize, Deserialize)]
struct Scenario {
    plan: LaunchPlan,
    /// Run in the container while its first process runs.
    #[serde(default)]
    exec: Vec<ProcessPlan>,
    /// Typed into the terminal of the first process.
    #[serde(default)]
    input: String,
    /// Stop once init is parked, until killed.
    #[serde(default)]
    park: bool,
    /// Signals sent to the first process, a tenth of a second apart.
    #[serde(default)]
    signals: Vec<i32>,
    /// Where trace marks go.
    #[serde(default)]
    trace: Option<std::path::PathBuf>,
}

/// How it went.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Report {
    /// Status of the first process.
    status: Option<u8>,
    /// Statuses of the further ones.
    exec: Vec<u8>,
    error: Option<String>,
    command_status: Option<u8>,
    pid: i32,
    /// What the terminals showed.
    terminal: String,
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (scenario, report) = (arguments.next().unwrap(), arguments.next().unwrap());
    let scenario: Scenario = serde_json::from_slice(&std::fs::read(scenario).unwrap()).unwrap();
    let mut outcome = Report::default();
    if let Err(error) = act(&scenario, &mut outcome, &report) {
        outcome.command_status = error.init_failure().and_then(runtime::InitFailure::command_status);
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text.push_str(&format!(": {inner}"));
            source = inner.source();
        }
        outcome.error = Some(text);
    }
    write(&report, &outcome);
}

fn write(path: &std::ffi::OsStr, report: &Report) {
    let mut next = path.to_owned();
    next.push(".new");
    std::fs::write(&next, serde_json::to_vec(report).unwrap()).unwrap();
    std::fs::rename(next, path).unwrap();
}

fn act(scenario: &Scenario, outcome: &mut Report, report: &std::ffi::OsStr) -> Result<(), Error> {
    if let Some(path) = &scenario.trace {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        runtime::trace::enable(OwnedFd::from(file));
    }
    let hierarchy;
    let cgroup = match &scenario.plan.cgroup {
        None => None,
        Some(plan) => {
            hierarchy = cgroup::Hierarchy::detect().unwrap();
            Some(cgroup::Cgroup::create(&hierarchy, plan).unwrap())
        }
    };
    let mut parked = runtime::clone_init(&scenario.plan, cgroup.as_ref(), Stdio::Inherit)?;
    outcome.pid = parked.pid().as_raw_pid();
    if scenario.park {
        parked.wait_parked()?;
        write(report, outcome);
        loop {
            std::thread::park();
        }
    }
    let terminal = parked.terminal()?;
    let mut running = parked.release()?;
    if let Some(terminal) = &terminal {
        std::fs::File::from(terminal.try_clone().unwrap()).write_all(scenario.input.as_bytes()).unwrap();
    }
    for process in &scenario.exec {
        let target = Target {
            pidfd: running.pidfd(),
            pid: running.pid(),
            plan: &scenario.plan,
            cgroup: cgroup.as_ref(),
        };
        let (mut child, terminal) = runtime::exec(target, process, Stdio::Inherit)?;
        outcome.terminal.push_str(&drain(terminal));
        outcome.exec.push(status(&mut child)?);
    }
    for &signal in &scenario.signals {
        std::thread::sleep(std::time::Duration::from_millis(100));
        running.signal(signal).unwrap();
    }
    outcome.terminal.push_str(&drain(terminal));
    outcome.status = Some(status(&mut running)?);
    drop(running);
    if let Some(cgroup) = cgroup {
        cgroup.remove().unwrap();
    }
    Ok(())
}

fn status(running: &mut Running) -> Result<u8, Error> {
    assert!(running.pidfd().as_fd().try_clone_to_owned().is_ok(), "the pidfd is open");
    running.wait().map(Exit::status)
}

/// Everything until the last holder of the terminal is gone.
fn drain(terminal: Option<OwnedFd>) -> String {
    let mut shown = Vec::new();
    if let Some(terminal) = terminal {
        // Ends with EIO, once nobody has it open.
        drop(std::fs::File::from(terminal).read_to_end(&mut shown));
    }
    String::from_utf8_lossy(&shown).into_owned()
}
