//! One directory of a control group file system, and its files.
//!
//! Everything goes through the directory's descriptor: no path is walked twice, and no link is followed (the
//! file system has none, and `openat2` is told so). A value is written by one `write`, as the kernel wants it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir as Entries, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};

/// No file of a control group is longer than what these many processes would fill; more is a kernel gone mad.
const FILE_SIZE_LIMIT: usize = 64 << 20;

/// Groups below one group, and levels of them, that are looked at before giving up: a container may have made
/// any number of them.
const NESTED_LIMIT: usize = 1 << 16;
const DEPTH_LIMIT: usize = 1 << 10;

/// A directory: a descriptor, and a path for errors alone.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens `below` under a mount point, in one step. The mount point itself holds no link either: it is the kernel's own name.
    pub(crate) fn open(point: &Path, below: &Path) -> std::result::Result<Self, Errno> {
        let path = point.join(below);
        let fd = rustix::fs::openat2(CWD, &path, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        Ok(Self { fd, path })
    }

    /// Opens a direct child.
    pub(crate) fn child(&self, name: &OsStr) -> std::result::Result<Self, Errno> {
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// Makes a direct child.
    pub(crate) fn make(&self, name: &OsStr) -> std::result::Result<(), Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))
    }

    /// Where it is, for errors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has such a file.
    pub(crate) fn has(&self, file: &str) -> bool {
        rustix::fs::statat(&self.fd, file, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a file.
    pub(crate) fn file(&self, file: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.fd, file, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Writes a value in one piece.
    pub(crate) fn write(&self, file: &str, value: &str) -> std::result::Result<(), Errno> {
        let fd = self.file(file, OFlags::WRONLY)?;
        match rustix::io::write(&fd, value.as_bytes())? {
            written if written == value.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// Writes several values to one file, one after the other.
    pub(crate) fn write_each<'v>(
        &self,
        file: &str,
        values: impl IntoIterator<Item = &'v str>,
    ) -> std::result::Result<(), (&'v str, Errno)> {
        let mut fd = None;
        for value in values {
            let written = match &fd {
                Some(fd) => rustix::io::write(fd, value.as_bytes()),
                None => self.file(file, OFlags::WRONLY).and_then(|new| {
                    let written = rustix::io::write(&new, value.as_bytes());
                    fd = Some(new);
                    written
                }),
            };
            written.map_err(|errno| (value, errno))?;
        }
        Ok(())
    }

    /// Reads a file whole.
    pub(crate) fn read(&self, file: &str) -> std::result::Result<String, Errno> {
        read_all(&self.file(file, OFlags::RDONLY)?)
    }

    /// Reads a file of one short line; with it in hand, no second call looks for an end.
    pub(crate) fn read_line(&self, file: &str) -> std::result::Result<String, Errno> {
        let fd = self.file(file, OFlags::RDONLY)?;
        let mut line = [0; 64];
        let length = rustix::io::pread(&fd, &mut line, 0)?;
        match line.get(..length) {
            Some(line) if line.ends_with(b"\n") => String::from_utf8(line.to_vec()).map_err(|_| Errno::ILSEQ),
            _ => read_all(&fd),
        }
    }

    /// An error about a file here.
    pub(crate) fn failed(&self, attempt: &'static str, file: &str, errno: Errno) -> Error {
        Error::Group { attempt, path: self.path.join(file), errno }
    }

    /// Reads a file that must be there.
    pub(crate) fn require(&self, file: &str) -> Result<String> {
        self.read(file).map_err(|errno| self.failed("read", file, errno))
    }

    /// An error about a file here that makes no sense.
    pub(crate) fn unreadable(&self, file: &str, content: &str) -> Error {
        let content = content.chars().take(200).collect();
        Error::Unreadable { path: self.path.join(file), content }
    }

    /// Names of the groups directly below.
    pub(crate) fn children(&self) -> std::result::Result<Vec<OsString>, Errno> {
        let mut names = Vec::new();
        for entry in Entries::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }

    /// Names of its files.
    pub(crate) fn file_names(&self) -> std::result::Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Entries::read_from(&self.fd)? {
            let entry = entry?;
            if entry.file_type() == FileType::RegularFile {
                names.extend(entry.file_name().to_str().map(str::to_owned));
            }
        }
        Ok(names)
    }

    /// Calls `visit` for this directory and every group below it, parents first. Groups that vanish meanwhile are passed
    /// over. One descriptor is open at a time, so that depth costs nothing.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Self) -> Result<()>) -> Result<()> {
        visit(self)?;
        let mut pending: Vec<PathBuf> = self.child_paths(Path::new(""))?;
        let mut seen = 0;
        while let Some(below) = pending.pop() {
            seen += 1;
            if seen > NESTED_LIMIT || below.iter().count() > DEPTH_LIMIT {
                return Err(self.failed("walk", "", Errno::TOOBIG));
            }
            match self.descend(&below) {
                Ok(nested) => {
                    visit(&nested)?;
                    pending.extend(nested.child_paths(&below)?);
                }
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => {
                    return Err(Error::Group { attempt: "open", path: self.path.join(&below), errno });
                }
            }
        }
        Ok(())
    }

    fn child_paths(&self, prefix: &Path) -> Result<Vec<PathBuf>> {
        // The kernel counts a group below as a link: two are the directory's own. Nearly all have no more.
        if rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 2) {
            return Ok(Vec::new());
        }
        match self.children() {
            Ok(names) => Ok(names.into_iter().map(|name| prefix.join(name)).collect()),
            Err(Errno::NOENT | Errno::NODEV) => Ok(Vec::new()),
            Err(errno) => Err(self.failed("list", "", errno)),
        }
    }

    /// Opens a group some levels down. The path may be longer than `PATH_MAX`, so it is walked in pieces.
    fn descend(&self, below: &Path) -> std::result::Result<Self, Errno> {
        let mut at: Option<Self> = None;
        for name in below {
            at = Some(at.as_ref().unwrap_or(self).child(name)?);
        }
        at.ok_or(Errno::NOENT)
    }

    /// Removes every group below this one, deepest first. What is still in use stays, and is the error.
    pub(crate) fn remove_children(&self) -> std::result::Result<(), Errno> {
        let mut names: Vec<OsString> = Vec::new();
        let mut at = self.fd.try_clone().map_err(|_| Errno::MFILE)?;
        // Each turn goes down one level or removes one group. Removal must cope with more than a walk does:
        // whatever a container made, nobody else will remove.
        for _ in 0..64 * NESTED_LIMIT {
            match first_child(&at)? {
                Some(name) => {
                    at = rustix::fs::openat(&at, &name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                    names.push(name);
                }
                None => {
                    let Some(name) = names.pop() else { return Ok(()) };
                    at = rustix::fs::openat(&at, c"..", DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                    rustix::fs::unlinkat(&at, &name, AtFlags::REMOVEDIR)?;
                }
            }
        }
        Err(Errno::TOOBIG)
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn first_child(fd: &OwnedFd) -> std::result::Result<Option<OsString>, Errno> {
    for entry in Entries::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            return Ok(Some(OsString::from_vec(CString::from(name).into_bytes())));
        }
    }
    Ok(None)
}

/// Reads a file of the kernel from its start to its end.
pub(crate) fn read_all(fd: &OwnedFd) -> std::result::Result<String, Errno> {
    String::from_utf8(read_bytes(fd)?).map_err(|_| Errno::ILSEQ)
}

/// Reads a file of the kernel from its start to its end, whatever its bytes.
pub(crate) fn read_bytes(fd: impl AsFd) -> std::result::Result<Vec<u8>, Errno> {
    let mut content = vec![0; 4096];
    let mut length = 0;
    loop {
        match rustix::io::pread(&fd, &mut content[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
        if length == content.len() {
            if length >= FILE_SIZE_LIMIT {
                return Err(Errno::FBIG);
            }
            content.resize(length * 2, 0);
        }
    }
    content.truncate(length);
    Ok(content)
}

/// Process ids, one to a line. A process of another pid namespace reads as 0, and cannot be named.
pub(crate) fn parse_pids(content: &str) -> impl Iterator<Item = Pid> {
    content.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw)
}
