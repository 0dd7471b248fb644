//! Work on the files of a container as the container sees them: a process in its user and mount namespace, with its root as
//! `/`, and no program of the container's.
//!
//! ```text
//! runs:     worker ── setns(pidfd, user and mount) ──► root inside, works
//! stopped:  worker ── clone3(user, mount) ──────────► child: root and volumes mounted, pivot, works
//!                  ── id maps, opened mounts ───────►
//! ```
//!
//! In both cases no path of the container's is ever resolved with another root than its own, and nothing of it is loaded or
//! executed (CVE-2018-15664, CVE-2019-14271): a container that renames and relinks meanwhile makes us work on another of
//! its own files. It cannot look into the process either, which is unreadable for it.

use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use linux::process::{NEW_NS, NEW_USER, exit_now, set_namespaces};
use rustix::fs::{Mode, stat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, Signal, set_parent_process_death_signal, umask};

use crate::entry::{Entry, enter};
use crate::error::failed;
use crate::handle::ParkedInit;
use crate::init::{self, Inherited, become_root, order, undumpable};
use crate::link::{Link, Order, Report};
use crate::plan::Hooks;
use crate::{InitFailure, LaunchPlan, Result, Step, launch, namespaces, pivot, program};

/// Makes this process, which must have one thread and end soon, a guest of a running container; returns the container's root.
pub fn join(pid: Pid, pidfd: BorrowedFd<'_>) -> Result<OwnedFd> {
    umask(Mode::empty());
    undumpable()?;
    let kinds = NEW_NS | if shares_user_namespace(pid)? { 0 } else { NEW_USER };
    set_namespaces(pidfd, kinds).map_err(failed(Step::Join, "user and mount"))?;
    if kinds & NEW_USER != 0 {
        become_root()?;
        // The change of user resets this, where the kernel is set up so.
        undumpable()?;
    }
    Ok(program::own_root()?)
}

/// Whether a process lives in this one's user namespace, which nobody can join a second time.
fn shares_user_namespace(pid: Pid) -> Result<bool, InitFailure> {
    let inode = |path: &Path| stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    let at = |errno| failed(Step::Join, "user")(errno);
    let theirs = inode(Path::new(&format!("/proc/{}/ns/user", pid.as_raw_nonzero()))).map_err(at)?;
    Ok(inode(Path::new("/proc/self/ns/user")).map_err(at)? == theirs)
}

/// Mounts what `plan` says in a child, calls `ready`, and has the child do `job` with the container's root. Returns when
/// the child has ended, however that went: the job tells by the descriptors that it keeps. The caller must have one thread.
pub fn assemble<E: From<crate::Error>>(
    plan: &LaunchPlan,
    keep: &[BorrowedFd<'_>],
    ready: impl FnOnce() -> Result<(), E>,
    job: impl FnOnce(OwnedFd),
) -> Result<(), E> {
    launch::check(plan)?;
    let privileged = launch::is_privileged_for(&plan.namespaces, false);
    let (link, far) =
        Link::pair().map_err(|errno| crate::Error::from(failed(Step::Dialogue, "the visit")(errno)))?;
    let entry = Entry { new: namespaces::new_bits(&plan.namespaces), visits: privileged, ..Entry::default() };
    let child = enter(&entry, &link, far, |link| {
        // What it has no more use for it closes by number; nothing of it may be closed a second time.
        let inherited = ManuallyDrop::new(Inherited {
            plan,
            link,
            joiner: None,
            joins: Vec::new(),
            streams: None,
            privileged,
        });
        match settle(&inherited, keep) {
            Ok(root) => {
                job(root);
                exit_now(0)
            }
            Err(failure) => failure,
        }
    })?;
    let parked = ParkedInit::new(child, link, Hooks::default(), &plan.process);
    let mut parked = launch::complete(plan, parked, privileged, None)?;
    parked.wait_parked()?;
    ready()?;
    // The end of the dialogue is that of the child.
    drop(parked.release()?);
    Ok(())
}

/// The child's way to the container's root.
fn settle(inherited: &Inherited<'_>, keep: &[BorrowedFd<'_>]) -> Result<OwnedFd, InitFailure> {
    let Inherited { plan, link, .. } = inherited;
    umask(Mode::empty());
    program::forget_caller(launch::kept(inherited).into_iter().chain(keep.iter().copied()), 0)?;
    init::enter_namespaces(inherited)?;
    // Unreadable, and gone with the one who waits; a change of user undoes either.
    undumpable()?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed(Step::Clone, "the visitor"))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
        .map_err(failed(Step::Mount, "propagation of /"))?;
    let received = init::receive_mounts(inherited)?;
    let root = init::root_mount(inherited, received.root)?;
    let none: Vec<_> = plan.mounts.iter().map(|_| None).collect();
    init::attach_mounts(inherited, &root, &none, received.binds, &[])?;
    pivot::enter(plan, &root)?;
    link.send(&Report::Parked, &[]).map_err(failed(Step::Dialogue, "the visit"))?;
    match order(link)? {
        (Order::Release, _) => Ok(root),
        (_, _) => Err(failed(Step::Dialogue, "the visit")(Errno::PROTO)),
    }
}
