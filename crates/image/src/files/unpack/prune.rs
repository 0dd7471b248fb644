//! What has to go: whatever is in the way of a member, and what a directory has besides the archive.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat};

use super::super::at;
use crate::error::Result;

/// A name in a directory.
pub(super) struct Spot {
    pub(super) parent: OwnedFd,
    pub(super) name: Vec<u8>,
}

/// Removes what has a name, with all that is below; no link is followed.
pub(super) fn remove_tree(spot: &Spot) -> Result<()> {
    // The directory itself, however it may be called by now.
    let parent = PathBuf::from(format!("/proc/self/fd/{}", spot.parent.as_raw_fd()));
    linux::file::remove_tree(&parent.join(OsStr::from_bytes(&spot.name)))?;
    Ok(())
}

/// Removes what is below a directory and is not among `kept`, paths with all of their parents; no link is followed.
///
/// # Errors
/// If something cannot be removed.
pub fn prune(directory: &OwnedFd, kept: &HashSet<Vec<u8>>) -> Result<()> {
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let at_path: &[u8] = if path.is_empty() { b"." } else { &path };
        let opened = openat2(directory, at_path, flags, Mode::empty(), resolve).map_err(at("open", &path))?;
        let entries = rustix::fs::Dir::read_from(&opened).map_err(at("list", &path))?;
        for entry in entries {
            let entry = entry.map_err(at("list", &path))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let child = if path.is_empty() { name.to_vec() } else { [&path[..], b"/", name].concat() };
            if !kept.contains(&child) {
                let parent = rustix::io::fcntl_dupfd_cloexec(&opened, 0).map_err(at("open", &path))?;
                remove_tree(&Spot { parent, name: name.to_vec() })?;
                continue;
            }
            let stat = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("examine", &child))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(child);
            }
        }
    }
    Ok(())
}
