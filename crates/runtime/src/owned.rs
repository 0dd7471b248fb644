//! Removing what a container's ids own.
//!
//! Without root, files of a container may belong to subordinate ids, and directories of theirs keep the caller out.
//! A user namespace with the container's maps has power over all of them.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use linux::file::{self, Named};
use linux::process::{Clone, Cloned, NEW_USER, clone, exit_now};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::failed;
use crate::link::{Link, Order};
use crate::plan::IdMaps;
use crate::{InitFailure, Result, Step, id_map};

/// Removes the tree `path`, from inside a user namespace with `maps` where the caller's own rights do not suffice.
///
/// The caller must be its process's only thread. No tree there is success.
pub fn remove_tree(path: &Path, maps: &IdMaps) -> file::Result<()> {
    let Err(error) = file::remove_tree(path) else { return Ok(()) };
    if error.kind() != io::ErrorKind::PermissionDenied || maps.uid.is_empty() {
        return Err(error);
    }
    match remove_inside(path, maps) {
        Ok(true) => Ok(()),
        Ok(false) => Err(error),
        Err(failure) => Err(io::Error::new(io::ErrorKind::PermissionDenied, failure)).named("remove", path),
    }
}

/// Whether that has removed everything.
fn remove_inside(path: &Path, maps: &IdMaps) -> Result<bool, InitFailure> {
    let subject = path.to_string_lossy().into_owned();
    let at = |errno| failed(Step::IdMap, &subject)(errno);
    let (near, far) = Link::pair().map_err(at)?;
    match clone(Clone { namespaces: NEW_USER, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            drop(near);
            let told = matches!(far.receive::<Order>(), Ok(Some((Order::Mapped, _))));
            exit_now(u8::from(!(told && file::remove_tree(path).is_ok())))
        }
        Cloned::Parent { pid, pidfd } => {
            drop(far);
            let privileged = rustix::process::geteuid().is_root();
            let mapped = id_map::write(pid, maps, privileged)
                .and_then(|()| near.send(&Order::Mapped, &[]).map_err(at));
            drop(near);
            let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            mapped?;
            Ok(ended.and_then(|ended| ended.exit_status()) == Some(0))
        }
    }
}
