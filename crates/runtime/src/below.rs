//! Files below a container's root, which its image and its processes control.
//!
//! Every path is resolved by the kernel with `RESOLVE_IN_ROOT` and without magic links: whatever symbolic
//! links say, the answer lies below the root. Results are descriptors; a path is never looked up twice to mean the same.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// Links followed while mount points are made, as many as the kernel would.
const LINKS: usize = 40;

/// Whether symbolic links are followed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are, below the root.
    Follow,
    /// Any of them is an error (`ELOOP`).
    Refuse,
}

/// What a missing path is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644, in directories made likewise.
    File,
}

/// Opens `path` below `root`.
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    // EAGAIN: something was renamed while `..` was being resolved.
    for _ in 0..16 {
        match openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Finds `path` below `root` without opening it (`O_PATH`).
pub(crate) fn find(root: impl AsFd, path: &Path, links: Links) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH, links)
}

/// Finds `path`, and makes what is missing of it, also behind a symbolic link whose target is missing.
pub(crate) fn find_or_make(root: impl AsFd, path: &Path, make: Make, links: Links) -> Result<OwnedFd, Errno> {
    match find(root.as_fd(), path, links) {
        Err(Errno::NOENT) => {}
        result => return result,
    }
    // Most often it is the last name alone.
    if let Some((folder, name)) = split(path)
        && let Ok(folder) = find(root.as_fd(), folder, links)
        && let Ok(made) = make_at(&folder, &name.as_os_str().to_owned(), make, true)
    {
        return Ok(made);
    }
    let mut todo: VecDeque<OsString> = components(path);
    let mut done = PathBuf::from("/");
    let mut parent = find(root.as_fd(), &done, links)?;
    let mut followed = 0;
    while let Some(name) = todo.pop_front() {
        let next = done.join(&name);
        let found = match find(root.as_fd(), &next, links) {
            Err(Errno::NOENT) => make_at(&parent, &name, make, todo.is_empty()),
            result => result,
        };
        match found {
            Ok(fd) => {
                parent = fd;
                done = next;
            }
            // There is something of that name, and it cannot be found: a link that leads nowhere (yet).
            Err(Errno::EXIST) if links == Links::Follow && followed < LINKS => {
                followed += 1;
                let target = readlinkat(&parent, Path::new(&name), Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                let mut rest = components(&target);
                rest.append(&mut todo);
                todo = rest;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                    parent = find(root.as_fd(), &done, links)?;
                }
            }
            Err(Errno::EXIST) => return Err(Errno::LOOP),
            Err(errno) => return Err(errno),
        }
    }
    Ok(parent)
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn make_at(parent: &OwnedFd, name: &OsString, make: Make, last: bool) -> Result<OwnedFd, Errno> {
    let path = Path::new(name);
    if last && make == Make::File {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        return openat(parent, path, flags, Mode::from_raw_mode(0o644));
    }
    mkdirat(parent, path, Mode::from_raw_mode(0o755))?;
    openat(parent, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Splits an absolute path into its directory and its last name; `None` for the root itself and for `..`.
pub(crate) fn split(path: &Path) -> Option<(&Path, &Path)> {
    let name = path.file_name()?;
    Some((path.parent()?, Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()))))
}
