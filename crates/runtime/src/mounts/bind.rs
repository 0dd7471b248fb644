//! Bind mounts, and volumes, which are bound alike: a detached clone of a part of the host's tree, with flags, propagation and id map of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{ATTR_IDMAP, MountChange, change_mount};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{SLAVE, apply_attributes, mapped};
use crate::error::failed;
use crate::plan::{Mount, MountIdMap, MountKind};
use crate::{InitFailure, Step, id_map};

/// Opens the source of a bind mount or a volume; `None` for other kinds.
///
/// `container` is the container's user namespace, for [`MountIdMap::Container`].
pub(crate) fn make(mount: &Mount, container: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, InitFailure> {
    let (source, recursive) = match &mount.kind {
        MountKind::Bind { source, recursive } => (source, *recursive),
        MountKind::Volume { source, .. } => (source, false),
        MountKind::New { .. } | MountKind::Image { .. } | MountKind::File { .. } | MountKind::Cgroup => {
            return Ok(None);
        }
    };
    let at = format!("{} on {}", source.display(), mount.target.display());
    let mut clone = clone_tree(source, recursive).map_err(failed(Step::Mount, &at))?;
    if mount.propagation.is_none() {
        // As if cloned in a mount namespace whose mounts all follow the host's.
        let change = MountChange { propagation: SLAVE, ..MountChange::default() };
        change_mount(&clone, change, true).map_err(failed(Step::Mount, &at))?;
    }
    match &mount.id_map {
        MountIdMap::None => {}
        MountIdMap::Container => {
            if let Some(container) = container {
                clone =
                    mapped::map(clone, container, source, recursive).map_err(|errno| refused(&at, errno))?;
            }
        }
        MountIdMap::Own { maps, recursive } => {
            let namespace = id_map::user_namespace(maps)?;
            map(&clone, namespace.as_fd(), *recursive, &at)?;
        }
    }
    apply_attributes(&clone, mount)
        .map_err(|errno| InitFailure::new(Step::Mount, &at, errno, "its mount flags"))?;
    Ok(Some(clone))
}

/// A detached clone of the tree at a path of the host's.
pub(crate) fn clone_tree(source: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, source, flags)
}

fn map(clone: &OwnedFd, namespace: BorrowedFd<'_>, recursive: bool, at: &str) -> Result<(), InitFailure> {
    let change = MountChange { set: ATTR_IDMAP, user_namespace: Some(namespace), ..MountChange::default() };
    change_mount(clone, change, recursive).map_err(|errno| refused(at, errno))
}

fn refused(at: &str, errno: Errno) -> InitFailure {
    InitFailure::new(Step::IdMap, at, errno, "the file system there may not support id-mapped mounts")
}
