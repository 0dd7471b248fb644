//! Working on files of a container's ids.
//!
//! Without root, files of a container may belong to ids that are only lent to the caller, and directories of theirs keep
//! the caller out. A user namespace with the container's maps has power over all of them, and can make them.
//!
//! ```text
//! caller ──clone(NEWUSER)──► child, root over the ids of the maps
//!   writes the id maps ─── Mapped ──►  does the job
//!   ◄──────────────── how it ended
//! ```
//!
//! The namespace lives as long as its one process: there is none to find, to join or to clean up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use linux::chain;
use linux::file::{self, Named};
use linux::process::{Clone, Cloned, NEW_USER, clone, exit_now};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use serde::{Deserialize, Serialize};

use crate::error::{cut, failed};
use crate::link::{Link, Order};
use crate::plan::IdMaps;
use crate::{InitFailure, Result, Step, id_map};

/// How a job in a user namespace ended.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Done,
    Failed(String),
}

/// Does `job` in a child, as root of a user namespace with `maps`; answers why it failed, in the job's own words.
///
/// The child ends with the caller. With a `leash`, it also ends when the other side of that socket is gone.
///
/// The caller must be its process's only thread: the child goes on with a copy of all memory, and allocates.
pub fn inside(
    maps: &IdMaps,
    leash: Option<BorrowedFd<'_>>,
    job: impl FnOnce() -> Result<(), String>,
) -> Result<Result<(), String>> {
    let at = |errno| failed(Step::IdMap, "a user namespace to work in")(errno);
    let (near, far) = Link::pair().map_err(at)?;
    match clone(Clone { namespaces: NEW_USER, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            drop(near);
            exit_now(u8::from(obey(&far, job).is_err()))
        }
        Cloned::Parent { pid, pidfd } => {
            drop(far);
            let answer = command(&near, pid, maps, leash);
            if answer.is_err() {
                // It may be at work, and nobody waits for what comes of it any more.
                let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
            drop(near);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            match answer? {
                Some(Report::Done) => Ok(Ok(())),
                Some(Report::Failed(why)) => Ok(Err(why)),
                None => Ok(Err("the process that worked on it ended without saying why".to_owned())),
            }
        }
    }
}

/// The child's part. Nothing happens without the maps: files would be made in nobody's name.
fn obey(far: &Link, job: impl FnOnce() -> Result<(), String>) -> Result<(), Errno> {
    // Before the parent is heard of, so that it is never missed: a parent that is gone closes the link.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let Some((Order::Mapped, _)) = far.receive::<Order>()? else { return Err(Errno::PIPE) };
    let report = match job() {
        Ok(()) => Report::Done,
        Err(why) => Report::Failed(cut(why)),
    };
    far.send(&report, &[])
}

fn command(
    near: &Link,
    child: Pid,
    maps: &IdMaps,
    leash: Option<BorrowedFd<'_>>,
) -> Result<Option<Report>, InitFailure> {
    let at = |errno| failed(Step::IdMap, "a user namespace to work in")(errno);
    id_map::write(child, maps, false)?;
    near.send(&Order::Mapped, &[]).map_err(at)?;
    if let Some(leash) = leash {
        // Of the leash only its end matters, also where its holder only says no more, and waits.
        let mut watched =
            [PollFd::new(near, PollFlags::IN), PollFd::from_borrowed_fd(leash, PollFlags::RDHUP)];
        while watched.iter().all(|watched| watched.revents().is_empty()) {
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(at(errno)),
            }
        }
        if watched[0].revents().is_empty() {
            return Err(at(Errno::PIPE));
        }
    }
    Ok(near.receive::<Report>().map_err(at)?.map(|(report, _)| report))
}

/// Removes the tree `path`, from inside a user namespace with `maps` where the caller's own rights do not suffice.
///
/// The caller must be its process's only thread. No tree there is success.
pub fn remove_tree(path: &Path, maps: &IdMaps) -> file::Result<()> {
    let Err(error) = file::remove_tree(path) else { return Ok(()) };
    if error.kind() != io::ErrorKind::PermissionDenied || maps.uid.is_empty() {
        return Err(error);
    }
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why)).named("remove", path);
    match inside(maps, None, || file::remove_tree(path).map(drop).map_err(|error| chain(&error))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => refused(why),
        Err(failure) => refused(chain(&failure)),
    }
}
