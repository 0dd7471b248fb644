//! Init's side of a start: from the first instruction after clone3 to the program.
//!
//! Order matters here more than anywhere; each step says what it needs. The dialogue is drawn in the crate's head.

mod label;
mod mounts;
mod world;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::process::exit_now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal, umask};

use crate::error::failed;
use crate::link::{Link, Order, Report};
use crate::mounts::{Made, cgroups, devices, hide, seal};
use crate::plan::MountKind;
use crate::program::{self, Program, Streams};
use crate::trace::mark;
use crate::{
    InitFailure, LaunchPlan, Step, credentials, gate, hooks, launch, limits, pivot, reaper, seccomp_listener,
    sysctl, terminal,
};

pub(crate) use label::Label;
pub(crate) use mounts::{Received, attach_mounts, receive_mounts, root_mount, set_propagation};
pub(crate) use world::{become_root, enter_namespaces, inherited_settings, undumpable};

/// What init has from before the clone.
pub(crate) struct Inherited<'a> {
    pub(crate) plan: &'a LaunchPlan,
    pub(crate) link: &'a Link,
    pub(crate) joiner: Option<cgroup::Joiner>,
    /// Namespaces to enter, with their `CLONE_NEW*` bits, in order.
    pub(crate) joins: Vec<(OwnedFd, u64)>,
    pub(crate) streams: Option<[OwnedFd; 3]>,
    /// The caller is root on the host: it writes maps and opens what only it can.
    pub(crate) privileged: bool,
}

/// Runs init to its program; what comes back is why it did not get there.
pub(crate) fn run(inherited: &Inherited<'_>) -> InitFailure {
    let Err(failure) = start(inherited);
    failure
}

fn start(inherited: &Inherited<'_>) -> Result<std::convert::Infallible, InitFailure> {
    let Inherited { plan, link, .. } = inherited;
    mark("init", "cloned");
    let own_umask = umask(Mode::empty());
    enter_group(inherited)?;
    limits::raise_own_oom_score(plan.process.oom_score_adj)?;
    program::forget_caller(launch::kept(inherited), plan.process.preserve_fds)?;
    let groups = if plan.mounts.iter().any(|mount| mount.kind == MountKind::Cgroup) {
        cgroups::own_groups()?
    } else {
        Vec::new()
    };
    enter_namespaces(inherited)?;
    mark("init", "namespaces");
    world::prepare_world(plan)?;
    let mut made = mounts::make_mounts(inherited)?;
    mark("init", "mounts made");
    let Received { root, binds, dev, pid } = receive_mounts(inherited)?;
    mark("init", "root received");
    let filled = dev.is_some();
    if let (Some(at), Some(dev)) = (devices::filled_mount(plan, inherited.privileged), dev) {
        made[at] = Some(Made::new(dev, &plan.mounts[at]));
    }
    let gate = plan.start_gate.as_deref().map(gate::Held::open).transpose()?;
    let labels = hooks_and_labels(plan, pid)?;
    let root = root_mount(inherited, root)?;
    attach_mounts(inherited, &root, &made, binds, &groups)?;
    devices::make_all(root.as_fd(), plan, filled)?;
    sysctl::write_all(mounts::own_procfs(plan, &made), &plan.sysctls)?;
    mark("init", "mounts attached");
    let streams = open_streams(inherited, root.as_fd())?;
    seal(plan, &made)?;
    let places = hide::Places::new(root.as_fd(), plan, &made);
    hide::make_readonly(&places, &plan.readonly_paths)?;
    hide::mask(&places, &plan.masked_paths)?;
    drop(made);
    mark("init", "paths masked");
    hooks_before_pivot(plan, link, pid)?;
    pivot::enter(plan, &root)?;
    mark("init", "pivoted");
    umask(own_umask);
    inherited_settings(plan)?;
    let program = program::settle(&plan.process, root.as_fd(), &streams)?;
    mark("init", "settled");
    park(link, streams)?;
    if let Some(gate) = gate {
        link.send(&Report::AtGate, &[]).map_err(dialogue)?;
        gate.pass()?;
    }
    mark("init", "released");
    program::close_rest(plan.process.preserve_fds)?;
    hooks::run_inside("startContainer", &plan.hooks.start_container, &plan.hooks.state, "created", pid)?;
    if plan.ends_with_supervisor {
        tie(link)?;
    }
    finish(plan, &program, labels)
}

fn dialogue(errno: Errno) -> InitFailure {
    failed(Step::Dialogue, "the start")(errno)
}

/// The next order. A supervisor that is gone takes init along, without a word that nobody would hear.
pub(crate) fn order(link: &Link) -> Result<(Order, Vec<OwnedFd>), InitFailure> {
    match link.receive::<Order>().map_err(dialogue)? {
        Some(message) => Ok(message),
        None => exit_now(1),
    }
}

fn unexpected(order: &Order) -> InitFailure {
    InitFailure::because(Step::Dialogue, format!("{order:?}"), "it came out of turn")
}

/// First of all, while this process is nobody's but the supervisor's.
fn enter_group(inherited: &Inherited<'_>) -> Result<(), InitFailure> {
    let Some(joiner) = &inherited.joiner else { return Ok(()) };
    let path =
        || inherited.plan.cgroup.as_ref().map_or_else(String::new, |plan| plan.path.display().to_string());
    joiner.enter().map_err(|errno| failed(Step::Cgroup, path())(errno))
}

/// Opens what lies on the host and is needed after the root has changed.
fn hooks_and_labels(plan: &LaunchPlan, pid: i32) -> Result<Option<Label>, InitFailure> {
    seccomp_listener::connect(&plan.process, &plan.hooks.state, pid)?;
    Label::open(&plan.process)
}

fn open_streams<'a>(inherited: &'a Inherited<'_>, root: BorrowedFd<'_>) -> Result<Streams<'a>, InitFailure> {
    let plan = inherited.plan;
    let Some(size) = plan.process.terminal else { return Ok(Streams::Given(inherited.streams.as_ref())) };
    let pair = terminal::allocate(root, size)?;
    devices::bind_console(root, &pair.terminal)?;
    Ok(Streams::Terminal(pair))
}

fn hooks_before_pivot(plan: &LaunchPlan, link: &Link, pid: i32) -> Result<(), InitFailure> {
    if !plan.hooks.prestart.is_empty() || !plan.hooks.create_runtime.is_empty() {
        link.send(&Report::HooksDue, &[]).map_err(dialogue)?;
        match order(link)? {
            (Order::HooksDone, _) => {}
            (other, _) => return Err(unexpected(&other)),
        }
    }
    hooks::run_inside("createContainer", &plan.hooks.create_container, &plan.hooks.state, "creating", pid)
}

/// Tells the supervisor that all is ready, and waits for its word.
fn park(link: &Link, streams: Streams<'_>) -> Result<(), InitFailure> {
    link.send(&Report::Parked, &streams.master()).map_err(dialogue)?;
    drop(streams);
    match order(link)? {
        (Order::Release, _) => Ok(()),
        (other, _) => Err(unexpected(&other)),
    }
}

/// Has the kernel kill this process when its supervisor dies. The user was changed before, which would undo it.
fn tie(link: &Link) -> Result<(), InitFailure> {
    let failed = |errno| failed(Step::Credentials, "the end with the supervisor")(errno);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // One that died before has closed its end, and nobody is told of that any more.
    let mut watched = [PollFd::new(link, PollFlags::empty())];
    match poll(&mut watched, Some(&Timespec::default())) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        Ok(_) => exit_now(1),
        Err(errno) => Err(failed(errno)),
    }
}

fn finish(
    plan: &LaunchPlan,
    program: &Program,
    label: Option<Label>,
) -> Result<std::convert::Infallible, InitFailure> {
    if let Some(label) = label {
        label.set()?;
    }
    limits::set_own_rlimits(&plan.process.rlimits)?;
    credentials::confine(&plan.process)?;
    if plan.process.reaper {
        reaper::split()?;
    }
    mark("init", "exec");
    Err(program.execute())
}
