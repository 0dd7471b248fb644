//! Masked and read-only paths.
//!
//! Each is resolved once, below the root, and what is attached goes onto that descriptor; the mask itself is a clone of the
//! host's real `/dev/null` or of an empty tmpfs of our own (CVE-2025-31133).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, MountChange, change_mount};
use rustix::fs::{CWD, FileType, fstat, major, minor};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen, open_tree,
};

use super::{Made, attach_at};
use crate::below::{Links, find};
use crate::error::failed;
use crate::plan::MountKind;
use crate::{InitFailure, LaunchPlan, Step};

/// Where the container's paths are looked up.
pub(crate) struct Places<'a> {
    root: BorrowedFd<'a>,
    /// The kernel's own file systems, by where they are mounted.
    own: Vec<(&'a Path, BorrowedFd<'a>)>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, plan: &'a LaunchPlan, made: &'a [Option<Made>]) -> Self {
        let mut own: Vec<(&Path, BorrowedFd<'_>)> = Vec::new();
        for (mount, made) in plan.mounts.iter().zip(made) {
            let target = mount.target.as_path();
            // What is mounted over it later is what is seen.
            own.retain(|(covered, _)| !covered.starts_with(target));
            if let (MountKind::New { fstype, .. }, Some(made)) = (&mount.kind, made)
                && matches!(fstype.as_str(), "proc" | "sysfs")
            {
                own.push((target, made.mount.as_fd()));
            }
        }
        Self { root, own }
    }

    /// Finds what exists of `path`.
    ///
    /// What lies in a procfs or sysfs of ours is looked up from that mount: the directory it is mounted on may get
    /// another name meanwhile, where somebody else can write to the root, and a path that is then missing would go
    /// unmasked (CVE-2023-27561).
    fn find(&self, path: &Path) -> Result<Option<OwnedFd>, Errno> {
        let below = |(target, mount): &(&Path, BorrowedFd<'a>)| {
            let rest = path.strip_prefix(target).ok().filter(|rest| !rest.as_os_str().is_empty())?;
            Some((*mount, rest.to_owned()))
        };
        let (start, path) = self.own.iter().rev().find_map(below).unwrap_or((self.root, path.to_owned()));
        match find(start, &path, Links::Follow) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// Hides `paths`; those that are missing need no hiding.
pub(crate) fn mask(places: &Places<'_>, paths: &[PathBuf]) -> Result<(), InitFailure> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let at = || failed(Step::Mask, path.display());
        let Some(target) = places.find(path).map_err(|errno| at()(errno))? else { continue };
        let stat = fstat(&target).map_err(|errno| at()(errno))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // One tmpfs serves all: the first mask is the mount itself, the others are clones of it.
            match &empty {
                None => {
                    let mount = empty_directory().map_err(|errno| at()(errno))?;
                    attach_at(&mount, &target).map_err(|errno| at()(errno))?;
                    empty = Some(mount);
                }
                Some(mount) => {
                    let mask = clone_of(mount).map_err(|errno| at()(errno))?;
                    attach_at(&mask, &target).map_err(|errno| at()(errno))?;
                }
            }
        } else {
            let mask = null_device().map_err(|errno| at()(errno))?;
            attach_at(&mask, &target).map_err(|errno| at()(errno))?;
        }
    }
    Ok(())
}

/// Binds `paths` onto themselves, read-only with all that is mounted below; missing ones are skipped.
pub(crate) fn make_readonly(places: &Places<'_>, paths: &[PathBuf]) -> Result<(), InitFailure> {
    for path in paths {
        let at = || failed(Step::ReadOnly, path.display());
        let Some(target) = places.find(path).map_err(|errno| at()(errno))? else { continue };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let clone = open_tree(&target, "", flags).map_err(|errno| at()(errno))?;
        let change = MountChange { set: ATTR_RDONLY, ..MountChange::default() };
        change_mount(&clone, change, true).map_err(|errno| at()(errno))?;
        attach_at(&clone, &target).map_err(|errno| at()(errno))?;
    }
    Ok(())
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "tmpfs")?;
    fsconfig_set_string(&context, "nr_blocks", "1")?;
    fsconfig_set_string(&context, "nr_inodes", "1")?;
    fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    let attributes = u32::try_from(ATTR_RDONLY | ATTR_NOSUID | ATTR_NOEXEC).unwrap_or(0);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes))
}

fn clone_of(mount: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(mount.as_fd(), "", flags)
}

/// A clone of the host's null device, which is checked to be one.
pub(crate) fn null_device() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let null = open_tree(CWD, "/dev/null", flags)?;
    let stat = fstat(&null)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if is_null { Ok(null) } else { Err(Errno::NODEV) }
}
