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

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::process::{Clone, Cloned, NEW_PID, NEW_USER, clone, exit_now, set_namespaces};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, WaitId, WaitIdOptions, set_dumpable_behavior, setsid, umask, waitid,
};

use crate::error::failed;
use crate::init::{Label, become_root, order};
use crate::launch::{Limits, PidNamespace, is_privileged, joiner, open_streams};
use crate::link::{Link, Order, Report};
use crate::namespaces::{KINDS, Kind};
use crate::plan::{LaunchPlan, Namespace, ProcessPlan};
use crate::program::{self, Streams};
use crate::trace::mark;
use crate::{Error, InitFailure, ParkedInit, Result, Running, Stdio, Step, credentials, terminal};

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
    link: Link,
    joiner: Option<cgroup::Joiner>,
    streams: Option<[OwnedFd; 3]>,
    /// Kinds of namespaces that are still to be joined.
    joins: u64,
}

/// Starts `process` in a running container; returns once its program runs, with the terminal's master when it has one.
/// The caller must be single-threaded.
pub fn exec(target: Target<'_>, process: &ProcessPlan, stdio: Stdio) -> Result<(Running, Option<OwnedFd>)> {
    if process.reaper {
        return Err(Error::Unsupported {
            what: "a reaper for a further process".into(),
            why: "only init reaps",
        });
    }
    let streams = open_streams(process, stdio)?;
    let joiner = target.cgroup.map(joiner).transpose()?;
    let (link, far) = Link::pair().map_err(failed(Step::Dialogue, "the process"))?;
    let joined = |kind: &&Kind| *(kind.of)(&target.plan.namespaces) != Namespace::Inherit;
    let joins = KINDS.iter().filter(joined).fold(0, |bits, kind| bits | kind.bit);
    mark("supervisor", "clone");
    let inherited = Inherited { target, process, link: far, joiner, streams, joins };
    let child = clone_into(inherited, &link)?;
    let mut parked = ParkedInit::new(child, link, Limits::of(process));
    let terminal = parked.terminal()?;
    Ok((parked.release()?, terminal))
}

/// A pid namespace is only for children. Root visits it for the time of the clone; others may not without joining the
/// user namespace first, which a short-lived process does, whose sibling the new process becomes.
fn clone_into(mut inherited: Inherited<'_>, link: &Link) -> Result<Running> {
    let cgroup = inherited.target.cgroup.and_then(cgroup::Cgroup::clone_target);
    let pidfd = inherited.target.pidfd;
    if inherited.joins & NEW_PID != 0 && !is_privileged() {
        return clone_by_intermediate(inherited, link);
    }
    let visit = (inherited.joins & NEW_PID != 0).then(|| PidNamespace::visit(pidfd)).transpose()?;
    inherited.joins &= !NEW_PID;
    match clone(Clone { cgroup, ..Clone::default() }).map_err(failed(Step::Clone, "the process"))? {
        Cloned::Child => run(inherited),
        Cloned::Parent { pid, pidfd } => {
            drop(visit);
            Ok(Running::new(pid, pidfd))
        }
    }
}

fn clone_by_intermediate(mut inherited: Inherited<'_>, link: &Link) -> Result<Running> {
    let at = |errno| failed(Step::Clone, "the process, by way of its user namespace")(errno);
    let cgroup = inherited.target.cgroup.and_then(cgroup::Cgroup::clone_target);
    match clone(Clone { cgroup, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            let first = inherited.joins & (NEW_USER | NEW_PID);
            inherited.joins &= !first;
            let cloned = undumpable()
                .and_then(|()| set_namespaces(inherited.target.pidfd, first).map_err(at))
                .and_then(|()| clone(Clone { sibling: true, ..Clone::default() }).map_err(at));
            let sent = match cloned {
                Ok(Cloned::Child) => run(inherited),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    inherited.link.send(&Report::Cloned { pid: pid.as_raw_pid() }, &[pidfd.as_fd()])
                }
                Err(failure) => inherited.link.send(&Report::Failed(failure), &[]),
            };
            exit_now(u8::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            drop(inherited);
            let answer = link.receive::<Report>().map_err(at);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            match answer? {
                Some((Report::Cloned { pid }, mut descriptors)) if descriptors.len() == 1 => {
                    let pid = Pid::from_raw(pid).ok_or_else(|| at(Errno::SRCH))?;
                    Ok(Running::new(pid, descriptors.remove(0)))
                }
                Some((Report::Failed(failure), _)) => Err(failure.into()),
                _ => Err(Error::Vanished),
            }
        }
    }
}

fn undumpable() -> Result<(), InitFailure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed(Step::Join, "undumpable"))
}

fn run(inherited: Inherited<'_>) -> ! {
    let Err(failure) = start(&inherited);
    let status = failure.command_status().unwrap_or(1);
    // A supervisor that is gone hears nothing, and there is nobody else to tell.
    let _ = inherited.link.send(&Report::Failed(failure), &[]);
    exit_now(status)
}

fn start(inherited: &Inherited<'_>) -> Result<std::convert::Infallible, InitFailure> {
    let Inherited { target, process, link, joiner, streams, joins } = inherited;
    mark("process", "cloned");
    let own_umask = umask(Mode::empty());
    setsid().map_err(failed(Step::Clone, "a new session"))?;
    if let Some(list) = &process.cpu_affinity.initial {
        program::set_affinity(list)?;
    }
    if let Some(joiner) = joiner {
        joiner.enter().map_err(failed(Step::Cgroup, "the container's"))?;
    }
    let kept = [link.as_fd(), target.pidfd].into_iter().chain(streams.iter().flatten().map(AsFd::as_fd));
    program::forget_caller(kept, process.preserve_fds)?;
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
    if let Some(domain) = target.plan.personality {
        linux::process::set_personality(domain).map_err(failed(Step::Personality, format!("{domain:#x}")))?;
    }
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
    credentials::confine(process)?;
    mark("process", "exec");
    Err(program.execute())
}
