//! What the image has at the target of a tmpfs, copied into it.
//!
//! Names are the image's, so every step is relative to a descriptor and follows no link.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fstat, mkdirat, mknodat,
    openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;

use crate::below::{Links, open};
use crate::error::failed;
use crate::{InitFailure, Step};

/// Deeper trees are refused: they are made to exhaust the stack.
const DEEPEST: usize = 100;

/// Copies what `root` has at `target` into the mount `to`; a missing or other target is nothing to copy.
pub(crate) fn copy(root: BorrowedFd<'_>, target: &Path, to: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let at = |errno| {
        InitFailure::new(Step::Mount, target.display(), errno, "copying the image's files into the tmpfs")
    };
    let from = match open(root, target, OFlags::RDONLY | OFlags::DIRECTORY, Links::Follow) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(failed(Step::Mount, target.display())(errno)),
    };
    // The mount's own descriptor is O_PATH; owner and mode need an open one.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = openat(to, ".", flags, Mode::empty()).map_err(at)?;
    copy_directory(from.as_fd(), to.as_fd(), 0).map_err(at)?;
    let stat = fstat(&from).map_err(at)?;
    own(to.as_fd(), &stat).map_err(at)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    if depth > DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => {
                mkdirat(to, name, Mode::RWXU)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let inner = openat(to, name, flags, Mode::empty())?;
                copy_directory(openat(from, name, flags, Mode::empty())?.as_fd(), inner.as_fd(), depth + 1)?;
                own(inner.as_fd(), &stat)?;
            }
            FileType::RegularFile => copy_file(from, to, name, &stat)?,
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?.as_c_str(), to, name)?;
                own_link(to, name, &stat)?;
            }
            FileType::Fifo => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), 0)?;
                own_link(to, name, &stat)?;
            }
            // Devices are the plan's to give, and a socket means nothing without its program.
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket | FileType::Unknown => {}
        }
    }
    Ok(())
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    std::io::copy(&mut source, &mut copy)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    own(copy.as_fd(), stat)
}

fn own(file: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    fchown(file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

fn own_link(folder: BorrowedFd<'_>, name: &std::ffi::CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}
