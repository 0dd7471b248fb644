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
    /// Who the supervisor is; root where nothing is said.
    #[serde(default)]
    uid: Option<u32>,
    /// Files that lie over those of `/etc`, for the supervisor alone.
    #[serde(default)]
    etc: Vec<std::path::PathBuf>,
    /// Refuses what kernels before 6.13 do not have: overlay layers by descriptor.
    #[serde(default)]
    old_kernel: bool,
    /// Gives the supervisor a mount namespace in which everything is shared, as systemd's is.
    #[serde(default)]
    shared: bool,
    /// Opened as descriptor 3, to be left open for the program.
    #[serde(default)]
    open: Option<std::path::PathBuf>,
    /// Runs from a file that no container can write to.
    #[serde(default)]
    protect: bool,
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
    /// Mounts in the supervisor's namespace while the container ran, beyond those from before.
    new_mounts: usize,
    /// Why the program that runs cannot be written.
    own_program: Option<String>,
    /// What the terminals showed.
    terminal: String,
}

fn main() {
    // Whatever whoever runs the tests has left open for them: descriptors are a part of what a scenario gives. A sweep of
    // faults has this call fail too; then a scenario with a descriptor finds out below.
    let _ = linux::process::close_from(3);
    let mut arguments = std::env::args_os().skip(1);
    let (scenario, report) = (arguments.next().unwrap(), arguments.next().unwrap());
    let scenario: Scenario = serde_json::from_slice(&std::fs::read(scenario).unwrap()).unwrap();
    let mut changed = Ok(());
    if scenario.protect {
        // As the user that the program would be run by.
        runtime::protect_own_program(std::env::args_os(), std::env::vars_os()).unwrap();
        // The mode that it has already: a change of it is a write all the same.
        let mode = std::fs::metadata("/proc/self/exe").unwrap().permissions();
        changed = std::fs::set_permissions("/proc/self/exe", mode).map_err(|error| error.to_string());
    }
    let open = scenario.open.as_ref().map(|path| std::fs::File::open(path).unwrap());
    if let Some(file) = &open {
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(file), 3);
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
    }
    let mut outcome = Report { own_program: changed.err(), ..Report::default() };
    if let Err(error) = act(&scenario, &mut outcome, &report) {
        let failure = error.downcast_ref::<Error>().and_then(Error::init_failure);
        outcome.command_status = failure.and_then(runtime::InitFailure::command_status);
        let mut text = error.to_string();
        let mut source = error.source();
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

fn act(
    scenario: &Scenario,
    outcome: &mut Report,
    report: &std::ffi::OsStr,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = &scenario.trace {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        runtime::trace::enable(OwnedFd::from(file));
    }
    prepare(scenario);
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let mounts_before = mounts();
    let hierarchy;
    let cgroup = match &scenario.plan.cgroup {
        None => None,
        Some(plan) => {
            hierarchy = cgroup::Hierarchy::detect()?;
            Some(cgroup::Cgroup::create(&hierarchy, plan)?)
        }
    };
    let mut parked = runtime::clone_init(&scenario.plan, cgroup.as_ref(), Stdio::Inherit, None)?;
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
    outcome.new_mounts = mounts() - mounts_before;
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
        cgroup.remove()?;
    }
    Ok(())
}

/// Becomes the supervisor that the scenario wants.
fn prepare(scenario: &Scenario) {
    use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
    use rustix::process::{Gid, Uid};
    if !scenario.etc.is_empty() {
        linux::process::unshare_namespaces(linux::process::NEW_NS).unwrap();
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
        for file in &scenario.etc {
            mount_bind(file, std::path::Path::new("/etc").join(file.file_name().unwrap())).unwrap();
        }
    }
    if scenario.shared {
        linux::process::unshare_namespaces(linux::process::NEW_NS).unwrap();
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED).unwrap();
    }
    if scenario.old_kernel {
        // fsconfig (431) with FSCONFIG_SET_FD (5) as its second argument: EINVAL.
        let program: [(u16, u8, u8, u32); 6] = [
            (0x20, 0, 0, 0),
            (0x15, 0, 3, 431),
            (0x20, 0, 0, 24),
            (0x15, 0, 1, 5),
            (0x06, 0, 0, 0x0005_0000 | 22),
            (0x06, 0, 0, 0x7fff_0000),
        ];
        let mut bytes = Vec::new();
        for (code, jt, jf, k) in program {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([jt, jf]);
            bytes.extend(k.to_ne_bytes());
        }
        linux::process::install_seccomp_filter(&bytes, 0).unwrap();
    }
    if let Some(id) = scenario.uid {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        // As after the exec of a program by that user.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
    }
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
