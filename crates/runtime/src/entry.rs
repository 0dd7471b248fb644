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
use rustix::process::{
    DumpableBehavior, Pid, WaitId, WaitIdOptions, dumpable_behavior, set_dumpable_behavior, waitid,
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

fn by_intermediate(
    entry: &Entry<'_>,
    near: &Link,
    far: Link,
    body: impl FnOnce(&Link) -> InitFailure,
) -> Result<Running> {
    let at = |errno| failed(Step::Clone, "the process, by way of a joined namespace")(errno);
    match clone(Clone { cgroup: entry.cgroup, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            let sent = match join_and_clone(entry) {
                Ok(Cloned::Child) => give_up(&far, body(&far)),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    far.send(&Report::Cloned { pid: pid.as_raw_pid() }, &[pidfd.as_fd()])
                }
                Err(failure) => far.send(&Report::Failed(failure), &[]),
            };
            exit_now(u8::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            // This copy of the far end must go, or the process's death would not be seen.
            drop(far);
            let answer = near.receive::<Report>().map_err(at);
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

fn join_and_clone(entry: &Entry<'_>) -> Result<Cloned, InitFailure> {
    undumpable()?;
    for (namespace, kinds) in &entry.first {
        set_namespaces(*namespace, *kinds).map_err(failed(Step::Join, "user or pid"))?;
    }
    // The group is inherited: in the joined user namespace there may be no right to name it.
    let how = Clone { namespaces: entry.new, cgroup: None, sibling: true };
    clone(how).map_err(failed(Step::Clone, "the process"))
}
