//! The clone itself, by the shortest way that the joined namespaces allow.
//!
//! - At once, where nothing must be joined before. What else there is to join, the process joins by itself.
//! - A pid namespace is only for children: root on the host visits it for the time of the clone.
//! - A joined user namespace must own the new namespaces, and it alone gives someone who is not root the right to a
//!   pid namespace: a short-lived process joins both and clones the process as its own sibling, the caller's child.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::process::{Clone, Cloned, NEW_PID, clone, exit_now, set_namespaces};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions, dumpable_behavior, kill_process_group,
    set_dumpable_behavior, setpgid, waitid,
};

use crate::error::failed;
use crate::handle::Running;
use crate::init::undumpable;
use crate::link::{Link, Report};
use crate::{Error, InitFailure, Result, Step};

/// How a process comes into its container.
#[derive(Debug, Default)]
pub(crate) struct Entry<'a> {
    /// New namespaces.
    pub(crate) new: u64,
    /// The version 2 control group to start in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// What must be joined before: namespaces, or a process by its pidfd, with the kinds.
    pub(crate) first: Vec<(BorrowedFd<'a>, u64)>,
    /// The caller may visit a pid namespace.
    pub(crate) visits: bool,
}

/// Clones a process that goes on with `body` and its end of the link, until its program replaces it or it fails.
pub(crate) fn enter(
    entry: &Entry<'_>,
    near: &Link,
    far: Link,
    body: impl FnOnce(&Link) -> InitFailure,
) -> Result<Running> {
    let how = Clone { namespaces: entry.new, cgroup: entry.cgroup, sibling: false };
    let visit = match entry.first.as_slice() {
        [] => None,
        [(namespace, NEW_PID)] if entry.visits => Some(PidNamespace::visit(*namespace)?),
        _ => return by_intermediate(entry, near, far, body),
    };
    match clone(how).map_err(failed(Step::Clone, "the process"))? {
        Cloned::Child => give_up(&far, body(&far)),
        Cloned::Parent { pid, pidfd } => {
            drop(visit);
            Ok(Running::new(pid, pidfd))
        }
    }
}

/// Ends a process that could not get as far as its program.
fn give_up(link: &Link, failure: InitFailure) -> ! {
    let status = failure.command_status().unwrap_or(1);
    // A supervisor that is gone hears nothing, and there is nobody else to tell.
    let _ = link.send(&Report::Failed(failure), &[]);
    exit_now(status)
}

/// The caller's children are born in another pid namespace until this is dropped: unreadable from their first
/// instruction on for those who live there, which a child inherits from its parent (CVE-2016-9962).
struct PidNamespace {
    own: OwnedFd,
    dumpable: DumpableBehavior,
}

impl PidNamespace {
    fn visit(other: BorrowedFd<'_>) -> Result<Self, InitFailure> {
        let at = |errno| failed(Step::Join, "pid")(errno);
        let own =
            openat(CWD, "/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
        let visit = Self { own, dumpable: dumpable_behavior().map_err(at)? };
        undumpable()?;
        set_namespaces(other, NEW_PID).map_err(at)?;
        Ok(visit)
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        // Going back to one's own namespace cannot be refused to someone who could leave it.
        let _ = set_namespaces(self.own.as_fd(), NEW_PID);
        let _ = set_dumpable_behavior(self.dumpable);
    }
}

/// Clones the process as the sibling of one that has joined the namespaces.
///
/// ```text
/// caller                 intermediate               process
///   clone3 ───────────────► leads a group, joins
///                           clone3, as sibling ───────► waits at the gate
///   ◄──────────── Cloned ── ends
///   ── a byte ────────────────────────────────────────► goes on
/// ```
/// The intermediate may be killed at any moment, for it is in the container's control group already. Whoever it leaves
/// without a word is in its process group, where the caller finds and reaps it: nobody else could, and a pid namespace
/// does not end before its last process is reaped.
fn by_intermediate(
    entry: &Entry<'_>,
    near: &Link,
    far: Link,
    body: impl FnOnce(&Link) -> InitFailure,
) -> Result<Running> {
    let at = |errno| failed(Step::Clone, "the process, by way of a joined namespace")(errno);
    let (gate, opener) = pipe_with(PipeFlags::CLOEXEC).map_err(at)?;
    match clone(Clone { cgroup: entry.cgroup, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            // Whoever waits at the gate must see it if the caller dies.
            drop(opener);
            let sent = match join_and_clone(entry) {
                Ok(Cloned::Child) => {
                    if !passes(gate) {
                        exit_now(1);
                    }
                    give_up(&far, body(&far))
                }
                Ok(Cloned::Parent { pid, pidfd }) => {
                    far.send(&Report::Cloned { pid: pid.as_raw_pid() }, &[pidfd.as_fd()])
                }
                Err(failure) => far.send(&Report::Failed(failure), &[]),
            };
            exit_now(u8::from(sent.is_err()))
        }
        Cloned::Parent { pid: leader, pidfd } => {
            drop(far);
            let intermediate = || WaitId::PidFd(pidfd.as_fd());
            // Once it has ended, what it had to say is there. Unreaped it keeps its number, which is that of the group.
            wait(intermediate(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).map_err(at)?;
            let process = match near.receive_now::<Report>().map_err(at) {
                Ok(Some((Report::Cloned { pid }, mut descriptors))) if descriptors.len() == 1 => {
                    Pid::from_raw(pid)
                        .map(|pid| Running::new(pid, descriptors.remove(0)))
                        .ok_or_else(|| at(Errno::SRCH).into())
                }
                Ok(Some((Report::Failed(failure), _))) | Err(failure) => Err(failure.into()),
                Ok(_) => Err(Error::Vanished),
            };
            if process.is_err() {
                end_group(leader);
            } else {
                wait(intermediate(), WaitIdOptions::EXITED).map_err(at)?;
            }
            let process = process?;
            // Our own end of the gate is still open: writing cannot fail for want of a reader.
            rustix::io::write(opener, &[0]).map_err(at)?;
            drop(gate);
            Ok(process)
        }
    }
}

/// Waits at the gate; false when the caller is gone or wants nothing of this process.
fn passes(gate: OwnedFd) -> bool {
    loop {
        match rustix::io::read(&gate, &mut [0]) {
            Err(Errno::INTR) => {}
            passed => return passed == Ok(1),
        }
    }
}

/// Kills and reaps those of a process group that are this process's children.
fn end_group(leader: Pid) {
    // Fails where all of them have ended.
    let _ = kill_process_group(leader, Signal::KILL);
    while wait(WaitId::Pgid(Some(leader)), WaitIdOptions::EXITED).is_ok() {}
}

/// waitid(2), however often it is interrupted.
fn wait(whom: WaitId<'_>, options: WaitIdOptions) -> Result<(), Errno> {
    loop {
        match waitid(whom.clone(), options) {
            Err(Errno::INTR) => {}
            outcome => return outcome.map(drop),
        }
    }
}

fn join_and_clone(entry: &Entry<'_>) -> Result<Cloned, InitFailure> {
    undumpable()?;
    setpgid(None, None).map_err(failed(Step::Clone, "a new process group"))?;
    for (namespace, kinds) in &entry.first {
        set_namespaces(*namespace, *kinds).map_err(failed(Step::Join, "user or pid"))?;
    }
    // The group is inherited: in the joined user namespace there may be no right to name it.
    let how = Clone { namespaces: entry.new, cgroup: None, sibling: true };
    clone(how).map_err(failed(Step::Clone, "the process"))
}
