//! A further process in a running container.
//!
//! ```text
//! supervisor                          process
//!   clone3, in the pid namespace ──►    joins everything else by init's pidfd, becomes the user
//!   ◄─────────────── Parked + terminal  waits
//!   sets limits ── Release ────────►    seccomp, exec: the socket closes, or Failure
//! ```
//! Until its program runs it is a copy of the supervisor among the container's processes, so before it joins
//! them it closes what the copy holds open and makes itself unreadable for them (CVE-2016-9962, CVE-2019-5736).

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::process::{NEW_PID, NEW_USER, set_namespaces};
use rustix::fs::Mode;
use rustix::process::{Pid, setsid, umask};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::entry::{Entry, enter};
use crate::error::failed;
use crate::handle::{ParkedInit, Running};
use crate::init::{Label, become_root, inherited_settings, order, undumpable};
use crate::launch::{Stdio, cgroup_failure, is_privileged, joiner, open_streams};
use crate::link::{Link, Order, Report};
use crate::namespaces::{KINDS, Kind};
use crate::plan::{Hooks, LaunchPlan, Namespace, ProcessPlan};
use crate::program::{self, Streams};
use crate::trace::mark;
use crate::{Error, InitFailure, Result, Step, credentials, limits, terminal};

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

struct Inherited<'a> {
    target: Target<'a>,
    process: &'a ProcessPlan,
    link: &'a Link,
    joiner: Option<cgroup::Joiner>,
    streams: Option<[OwnedFd; 3]>,
    /// Kinds of namespaces that are still to be joined.
    joins: u64,
}

/// Starts `process` in a running container; returns once its program runs, with the terminal's master when it has one.
/// The caller must be single-threaded.
pub fn exec(target: Target<'_>, process: &ProcessPlan, stdio: Stdio) -> Result<(Running, Option<OwnedFd>)> {
    let mut parked = begin_exec(target, process, stdio)?;
    let terminal = parked.terminal()?;
    Ok((parked.release()?, terminal))
}

/// The first half of [`exec`], which waits for nothing that a container could hold up: see [`ParkedInit::advance`].
pub fn begin_exec(target: Target<'_>, process: &ProcessPlan, stdio: Stdio) -> Result<ParkedInit> {
    if process.reaper {
        return Err(Error::Unsupported {
            what: "a reaper for a further process".into(),
            why: "only init reaps",
        });
    }
    let streams = open_streams(process, stdio)?;
    let nested = match target.cgroup {
        Some(group) => group.beside(target.pid).map_err(|error| cgroup_failure(group, &error))?,
        None => None,
    };
    let target = Target { cgroup: nested.as_ref().or(target.cgroup), ..target };
    let joiner = target.cgroup.map(joiner).transpose()?;
    let (link, far) = Link::pair().map_err(failed(Step::Dialogue, "the process"))?;
    let joined = |kind: &&Kind| *(kind.of)(&target.plan.namespaces) != Namespace::Inherit;
    let joins = KINDS.iter().filter(joined).fold(0, |bits, kind| bits | kind.bit);
    // A pid namespace is only for children, and without root on the host it is the user namespace that opens it.
    let privileged = is_privileged();
    let first = joins & if privileged { NEW_PID } else { NEW_USER | NEW_PID };
    let joins = joins & !first;
    let entry = Entry {
        new: 0,
        cgroup: target.cgroup.and_then(cgroup::Cgroup::clone_target),
        first: if first == 0 { Vec::new() } else { vec![(target.pidfd, first)] },
        visits: privileged,
    };
    mark("supervisor", "clone");
    let _affinity = process.cpu_affinity.initial.as_deref().map(Affinity::lend).transpose()?;
    let child = enter(&entry, &link, far, |link| {
        // The process closes what it has no more use for by number; nothing of it may be closed a second time.
        let Err(failure) =
            start(&ManuallyDrop::new(Inherited { target, process, link, joiner, streams, joins }));
        failure
    })?;
    Ok(ParkedInit::new(child, link, Hooks::default(), process))
}

/// This thread on other CPUs until it is dropped. A process is born on its parent's, and is in its control group from
/// birth: what is to hold before it joins (`execCPUAffinity.initial`) must hold for the parent.
struct Affinity(CpuSet);

impl Affinity {
    fn lend(list: &str) -> Result<Self, InitFailure> {
        let own = sched_getaffinity(None).map_err(failed(Step::Scheduler, "CPUs of the supervisor"))?;
        let lent = Self(own);
        program::set_affinity(list)?;
        Ok(lent)
    }
}

impl Drop for Affinity {
    fn drop(&mut self) {
        // Fails only where none of the CPUs is left, and then the kernel has chosen others.
        let _ = sched_setaffinity(None, &self.0);
    }
}

fn start(inherited: &Inherited<'_>) -> Result<std::convert::Infallible, InitFailure> {
    let Inherited { target, process, link, joiner, streams, joins } = inherited;
    mark("process", "cloned");
    let own_umask = umask(Mode::empty());
    setsid().map_err(failed(Step::Clone, "a new session"))?;
    limits::raise_own_oom_score(process.oom_score_adj)?;
    if let Some(joiner) = joiner {
        joiner.enter().map_err(failed(Step::Cgroup, "the container's"))?;
    }
    let kept = [link.as_fd(), target.pidfd].into_iter().chain(streams.iter().flatten().map(AsFd::as_fd));
    program::forget_caller(kept, process.preserve_fds)?;
    if let Some(list) = &process.cpu_affinity.r#final {
        program::set_affinity(list)?;
    }
    let label = Label::open(process)?;
    undumpable()?;
    if *joins != 0 {
        set_namespaces(target.pidfd, *joins).map_err(failed(Step::Join, "of the container"))?;
    }
    if target.plan.namespaces.user != Namespace::Inherit {
        become_root()?;
        // The change of user resets this, where the kernel is set up so.
        undumpable()?;
    }
    mark("process", "joined");
    let root = program::own_root()?;
    let streams = match process.terminal {
        Some(size) => Streams::Terminal(terminal::allocate(root.as_fd(), size)?),
        None => Streams::Given(streams.as_ref()),
    };
    inherited_settings(target.plan)?;
    umask(own_umask);
    let program = program::settle(process, root.as_fd(), &streams)?;
    undumpable()?;
    mark("process", "settled");
    link.send(&Report::Parked, &streams.master()).map_err(failed(Step::Dialogue, "the process"))?;
    match order(link)? {
        (Order::Release, _) => {}
        (other, _) => {
            return Err(InitFailure::because(Step::Dialogue, format!("{other:?}"), "it came out of turn"));
        }
    }
    program::close_rest(process.preserve_fds)?;
    if let Some(label) = label {
        label.set()?;
    }
    limits::set_own_rlimits(&process.rlimits)?;
    credentials::confine(process)?;
    mark("process", "exec");
    Err(program.execute())
}
