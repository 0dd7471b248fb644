//! Files by path, with errors that name the path.
//!
//! `std::io::Error` says "No such file or directory" and leaves the reader to guess which. Everything here
//! carries what was attempted and on what. Paths are our own (store, run directory): what lies inside a
//! container is reached through descriptors and `openat2`, never through this module.

#![allow(clippy::disallowed_methods, reason = "the wrappers that the lint points to")]

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags};

/// An attempt on a path, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct Error {
    /// A verb: `open`, `rename`, …
    pub action: &'static str,
    /// What it was attempted on.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// The system's reason, by kind.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the path does not exist.
    pub fn is_missing(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }
}

/// The outcome of an attempt on a path.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives an [`io::Error`] its attempt and path: `file.sync_all().named("sync", path)?`.
pub trait Named<T> {
    /// Names the attempt.
    fn named(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Named<T> for std::result::Result<T, E> {
    fn named(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error { action, path: path.to_owned(), source: source.into() })
    }
}

/// Opens for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).named("open", path)
}

/// Makes a new file for writing; one that exists is an error.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode).open(path).named("create", path)
}

/// The whole content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content).named("read", path)?;
    Ok(content)
}

/// The whole content, at most `limit` bytes: more is an error of kind `FileTooLarge`.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let content = read_all(open(path)?.take(limit.saturating_add(1))).named("read", path)?;
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")))
            .named("read", path);
    }
    Ok(content)
}

/// The whole content as text.
pub fn read_to_string(path: &Path) -> Result<String> {
    let content = read_all(open(path)?).named("read", path)?;
    let text = String::from_utf8(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    text.named("read", path)
}

/// Most files here are short, and the kernel's have no size: to begin with a page saves the calls that ask for one, and
/// those that grow up to it.
fn read_all(mut file: impl Read) -> io::Result<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut content = vec![0; PAGE];
    let mut length = 0;
    loop {
        match file.read(content.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if length == content.len() {
            content.resize(length * 2, 0);
        }
    }
    content.truncate(length);
    content.shrink_to_fit();
    Ok(content)
}

/// Replaces the content in place, without making it durable: for files of the kernel and of tmpfs.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path).named("create", path)?;
    file.write_all(content).named("write", path)
}

/// Replaces the content so that a reader, or a power loss, finds the old or the new one whole.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let half_done = sibling(path);
    let written = write_durable(&half_done, content, mode).and_then(|()| rename(&half_done, path));
    if written.is_err() {
        // The first error is the one to tell; what cannot be removed now is swept as garbage later.
        drop(remove_if_exists(&half_done));
    }
    written?;
    sync_parent(path)
}

fn write_durable(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut file = create_new(path, mode)?;
    file.write_all(content).named("write", path)?;
    file.sync_all().named("sync", path)
}

/// A name beside `path` that no other process uses.
fn sibling(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_else(|| OsStr::new("file")).to_owned();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    name.push(format!(".{}.{}{}", std::process::id(), now.tv_sec, now.tv_nsec));
    path.with_file_name(name)
}

/// Renames, replacing what has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    rustix::fs::rename(from, to).named("rename to", to)
}

/// Removes a file or a link.
pub fn remove(path: &Path) -> Result<()> {
    rustix::fs::unlink(path).named("remove", path)
}

/// Removes a file or a link; tells whether there was one.
pub fn remove_if_exists(path: &Path) -> Result<bool> {
    match rustix::fs::unlink(path) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).named("remove", path),
    }
}

/// Sets or lifts the flag that keeps even root from changing, renaming or removing a file. It takes a privilege and a
/// file system that has the flag.
pub fn set_immutable(file: impl AsFd, immutable: bool) -> io::Result<()> {
    let file = file.as_fd();
    let flags = rustix::fs::ioctl_getflags(file)?;
    let wanted = if immutable { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE };
    if wanted != flags {
        rustix::fs::ioctl_setflags(file, wanted)?;
    }
    Ok(())
}

/// Removes a file of `dir` that is marked as immutable, as stored layers are.
fn remove_immutable(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    // Opening must neither follow a link nor wait for the other end of a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    set_immutable(rustix::fs::openat(dir, name, flags, Mode::empty())?, false)?;
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

/// Makes one directory; tells whether it was missing.
pub fn create_dir(path: &Path, mode: u32) -> Result<bool> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno).named("create directory", path),
    }
}

/// Makes a directory and what is missing above it.
pub fn create_dirs(path: &Path, mode: u32) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).named("create directory", path)
}

/// Sets permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).named("change mode of", path)
}

/// Makes the entries of a directory durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    open(path)?.sync_all().named("sync", path)
}

/// Makes the entry of `path` in its directory durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Removes a directory and all below it, or a single file; tells whether there was anything.
///
/// Files marked as immutable are removed all the same, where that is permitted. Links are removed, never followed,
/// and a directory swapped for a link while this runs is not entered. What is mounted below is not touched: removal
/// stops there with `EBUSY`. Several may remove the same tree at once.
pub fn remove_tree(path: &Path) -> Result<bool> {
    match rustix::fs::unlink(path) {
        Ok(()) => return Ok(true),
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        // EPERM is what POSIX says for a directory, EISDIR is what Linux says.
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(errno) => return Err(errno).named("remove", path),
    }
    for _ in 0..REMOVALS {
        match remove_directory(path) {
            Ok(()) => return Ok(true),
            // Somebody else removes it too, or has just made something in it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                if rustix::fs::access(path, rustix::fs::Access::EXISTS) == Err(rustix::io::Errno::NOENT) {
                    return Ok(true);
                }
            }
            Err(error) => return Err(error),
        }
    }
    remove_directory(path).map(|()| true)
}

/// How often a removal that others get into is begun anew. Each time one of them has removed something.
const REMOVALS: u32 = 10_000;

fn remove_directory(path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).named("open", path)?;
    empty_directory(root, path)?;
    rustix::fs::rmdir(path).named("remove", path)
}

/// Empties the directory `root` with a stack of our own: a hostile tree may be deeper than ours.
///
/// Only the innermost directory is held open, so that the depth costs no descriptors; the way back up is
/// `..`, which cannot lead elsewhere while the checked device and inode agree.
fn empty_directory(root: OwnedFd, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut current = root;
    let mut above: Vec<(Vec<u8>, u64, u64)> = Vec::new();
    loop {
        match first_directory(&current, path)? {
            Some(name) => {
                let here = rustix::fs::fstat(&current).named("examine", path)?;
                let child =
                    open_directory(&current, &name).named("open", &path.join(OsStr::from_bytes(&name)))?;
                above.push((name, here.st_dev, here.st_ino));
                current = child;
            }
            None => {
                let Some((name, device, inode)) = above.pop() else { return Ok(()) };
                let parent = rustix::fs::openat(&current, c"..", flags, Mode::empty()).named("open", path)?;
                let found = rustix::fs::fstat(&parent).named("examine", path)?;
                if (found.st_dev, found.st_ino) != (device, inode) {
                    return Err(io::Error::other("the tree was moved while it was removed"))
                        .named("remove", path);
                }
                rustix::fs::unlinkat(&parent, name.as_slice(), AtFlags::REMOVEDIR)
                    .named("remove", &path.join(OsStr::from_bytes(&name)))?;
                current = parent;
            }
        }
    }
}

/// Opens the directory `name` in `dir`, giving its owner access first where that is missing.
///
/// Overlay's work directory has mode 0, and so has whatever a container chooses: without root, that would keep
/// the owner out.
fn open_directory(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => {}
        opened => return opened,
    }
    // Through the descriptor, so that no link that takes the directory's place is followed.
    let found = rustix::fs::openat(dir, name, flags | OFlags::PATH, Mode::empty())?;
    let way = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::fs::chmod(way, Mode::RWXU)?;
    rustix::fs::openat(dir, name, flags | OFlags::RDONLY, Mode::empty())
}

/// Removes everything in `dir` that is not a directory; returns a directory in it, if there is one.
fn first_directory(dir: &OwnedFd, path: &Path) -> Result<Option<Vec<u8>>> {
    for entry in Dir::read_from(dir).named("list", path)? {
        let entry = entry.named("list", path)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            return Ok(Some(name.to_owned()));
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            // A file system that does not tell types in its listings.
            Err(rustix::io::Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(rustix::io::Errno::PERM) if remove_immutable(dir, name).is_ok() => {}
            Err(errno) => return Err(errno).named("remove", &path.join(OsStr::from_bytes(name))),
        }
    }
    Ok(None)
}

/// What a tree has on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allotted {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Whether there was something that may not be read, and counts as nothing.
    pub is_partial: bool,
}

/// Bytes that a file, or a directory with all that is in it, has on disk; without what lies at `but`. What is gone by now counts as
/// nothing. Files of several names count once.
pub fn allotted(path: &Path, but: &[&Path]) -> Allotted {
    let mut sum = Allotted::default();
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) => return Allotted { is_partial: refused(&error), ..sum },
    };
    sum.bytes = metadata.blocks() * 512;
    let mut seen = std::collections::HashSet::new();
    let mut pending = if metadata.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(directory) = pending.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                sum.is_partial |= refused(&error);
                continue;
            }
        };
        for entry in entries.flatten() {
            // The entry's own: links are never followed.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) => {
                    sum.is_partial |= refused(&error);
                    continue;
                }
            };
            if but.contains(&entry.path().as_path()) {
                continue;
            }
            if metadata.is_dir() {
                pending.push(entry.path());
            }
            if metadata.is_dir() || metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                sum.bytes += metadata.blocks() * 512;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("skiff-test-{}-{name}", std::process::id()));
        remove_tree(&dir).unwrap();
        create_dir(&dir, 0o700).unwrap();
        dir
    }

    #[test]
    fn errors_name_the_attempt_and_the_path() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "open /no/such/file");
        assert!(error.is_missing());
    }

    #[test]
    fn several_may_remove_a_tree_that_somebody_still_fills() {
        let dir = scratch("several");
        for round in 0..20 {
            let tree = dir.join(format!("tree{round}"));
            for number in 0..50 {
                create_dirs(&tree.join(format!("a{number}/b/c")), 0o755).unwrap();
            }
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| remove_tree(&tree).unwrap());
                }
                scope.spawn(|| {
                    for name in ["x", "y", "z"] {
                        // Gone, most likely.
                        drop(create_dir(&tree.join(name), 0o755));
                    }
                });
            });
            drop(remove_tree(&tree));
            assert!(!tree.exists());
        }
        remove_tree(&dir).unwrap();
    }

    #[test]
    fn bounded_reading_refuses_more() {
        let dir = scratch("bounded");
        let path = dir.join("f");
        write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(read_bounded(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        remove_tree(&dir).unwrap();
    }

    #[test]
    fn atomic_writing_replaces_and_leaves_no_other_file() {
        let dir = scratch("atomic");
        let path = dir.join("f");
        write_atomic(&path, b"old", 0o600).unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(Dir::read_from(open(&dir).unwrap()).unwrap().count(), 3, "two dots and the file");
        remove_tree(&dir).unwrap();
    }

    #[test]
    fn immutable_files_are_removed_with_their_tree() {
        let dir = scratch("immutable");
        let path = dir.join("f");
        write(&path, b"").unwrap();
        // Where the flag cannot be set, there is nothing in the way of removal either.
        if set_immutable(open(&path).unwrap(), true).is_ok() {
            assert_eq!(remove(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert!(remove_tree(&dir).unwrap());
    }

    #[test]
    fn a_tree_is_removed_without_following_links_and_at_any_depth() {
        let dir = scratch("tree");
        let kept = scratch("kept");
        write(&kept.join("f"), b"").unwrap();
        std::os::unix::fs::symlink(&kept, dir.join("link")).unwrap();
        // Deeper than PATH_MAX allows to name: built and removed step by step.
        let mut current = rustix::fs::open(&dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&current, c"deep", Mode::RWXU).unwrap();
            current =
                rustix::fs::openat(&current, c"deep", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        drop(current);
        assert!(remove_tree(&dir).unwrap());
        assert!(!remove_tree(&dir).unwrap());
        assert!(kept.join("f").exists());
        remove_tree(&kept).unwrap();
    }
}
