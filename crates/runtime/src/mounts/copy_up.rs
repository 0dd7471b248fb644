//! What the image has at the target of a tmpfs or of a volume, copied into it: files with their owners, modes, times,
//! extended attributes, holes and common names.
//!
//! Names are the image's, so every step is relative to a descriptor and follows no link.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens, linkat, mkdirat,
    mknodat, openat, readlinkat, seek, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::below::{Links, open};
use crate::error::failed;
use crate::{InitFailure, Step};

/// Deeper trees are refused: they are made to exhaust the stack.
const DEEPEST: usize = 100;

/// Copies what `root` has at `target` into the mount `to`, which is empty; a missing or other target is nothing to copy.
pub(crate) fn copy(root: BorrowedFd<'_>, target: &Path, to: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let at =
        |errno| InitFailure::new(Step::Mount, target.display(), errno, "copying the image's files there");
    let from = match open(root, target, OFlags::RDONLY | OFlags::DIRECTORY, Links::Follow) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(failed(Step::Mount, target.display())(errno)),
    };
    // The mount's own descriptor is O_PATH; owner and mode need an open one.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = openat(to, ".", flags, Mode::empty()).map_err(at)?;
    let stat = fstat(&from).map_err(at)?;
    let mut copy = Copy { top: to.as_fd(), path: PathBuf::new(), linked: HashMap::new() };
    copy.directory(from.as_fd(), to.as_fd(), 0).map_err(at)?;
    finish(from.as_fd(), to.as_fd(), &stat).map_err(at)
}

/// A copy in progress.
struct Copy<'a> {
    top: BorrowedFd<'a>,
    /// The directory at hand, below `top`.
    path: PathBuf,
    /// Files of several names, by device and inode: the first name of each, below `top`.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
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
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    mkdirat(to, name, Mode::RWXU)?;
                    let (source, copy) = (open_directory(from, name)?, open_directory(to, name)?);
                    self.path.push(OsStr::from_bytes(name.to_bytes()));
                    self.directory(source.as_fd(), copy.as_fd(), depth + 1)?;
                    self.path.pop();
                    finish(source.as_fd(), copy.as_fd(), &stat)?;
                }
                FileType::RegularFile => self.file(from, to, name, &stat)?,
                FileType::Symlink => {
                    symlinkat(readlinkat(from, name, Vec::new())?.as_c_str(), to, name)?;
                    finish_unopened(to, name, &stat)?;
                }
                FileType::Fifo => {
                    mknodat(to, name, FileType::Fifo, Mode::from_raw_mode(stat.st_mode & 0o7777), 0)?;
                    finish_unopened(to, name, &stat)?;
                }
                // Devices are the plan's to give, and a socket means nothing without its program.
                FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                return linkat(self.top, first, to, name, AtFlags::empty());
            }
            let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
            self.linked.insert((stat.st_dev, stat.st_ino), path);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = File::from(openat(from, name, flags, Mode::empty())?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
        copy_data(&source, &copy, stat)?;
        finish(source.as_fd(), copy.as_fd(), stat)
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(
        parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Copies the pieces between the holes: an image may have a file of terabytes that holds nothing.
fn copy_data(mut source: &File, mut copy: &File, stat: &Stat) -> Result<(), Errno> {
    let size = u64::try_from(stat.st_size).map_err(|_| Errno::FBIG)?;
    let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut at = 0;
    while at < size {
        let data = match seek(source, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            result => result?,
        };
        at = seek(source, SeekFrom::Hole(data))?;
        seek(source, SeekFrom::Start(data))?;
        seek(copy, SeekFrom::Start(data))?;
        io::copy(&mut Read::take(&mut source, at - data), &mut copy).map_err(failed)?;
    }
    ftruncate(copy, size)
}

/// Gives a copy what its original has beside its content; the times last, as everything else changes them.
fn finish(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    // After the owner, of which a change takes set-user-id away; the same is true of capabilities.
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(from, to)?;
    futimens(to, &times(stat)?)
}

/// The same for what cannot be opened: a link, a named pipe.
fn finish_unopened(folder: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(folder, name, &times(stat)?, AtFlags::SYMLINK_NOFOLLOW)
}

fn times(stat: &Stat) -> Result<Timestamps, Errno> {
    let time = |secs, nanos: u64| -> Result<Timespec, Errno> {
        Ok(Timespec { tv_sec: secs, tv_nsec: i64::try_from(nanos).map_err(|_| Errno::RANGE)? })
    };
    Ok(Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec)?,
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec)?,
    })
}

/// Copies the attributes that may be set: some namespaces are the kernel's, or root's on the host, or not of this file
/// system.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let names = read(|buffer| flistxattr(from, buffer))?;
    for name in names.split_inclusive(|&byte| byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        let value = read(|buffer| fgetxattr(from, name, buffer))?;
        match fsetxattr(to, name, &value, XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Reads names or a value, most often none or a short one, into a buffer that is large enough for any.
fn read(into: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut short = [0; 256];
    match into(&mut short) {
        Ok(length) => Ok(short[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut long = vec![0; 64 << 10];
            let length = into(&mut long)?;
            long.truncate(length);
            Ok(long)
        }
        Err(errno) => Err(errno),
    }
}
