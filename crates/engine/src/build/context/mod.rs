//! Files of the caller: a directory that a build may copy from, and what else a context may be.
//!
//! ```text
//! directory ─► Files: a name is looked at, a directory listed, when a step first asks; what was seen stays as it was seen
//!                │ digests, by all processors at once (digest.rs), known ones by device, inode, size and times (hashes.rs)
//!                ▼
//!              copy ─► layer
//! stream ─► a Dockerfile alone, or a tar that becomes a layer (stream.rs)
//! ```
//!
//! What must hold:
//! - Nothing outside of the directory is read. A path is opened beneath its root and through no link; links are followed by
//!   [`super::view`], which knows names alone. Who swaps a directory for a link meanwhile gets an error.
//! - Only regular files are opened, and directories. A pipe or a device is copied as what it is; sockets are left out, which
//!   nothing could connect to, unless one is named, which is an error.
//! - What is copied is what was hashed, also where a file's times do not tell (digest.rs): one that changes while it is hashed is read
//!   once more, and one that changes later is named in an error.
//! - Nothing is looked at that the ignore file leaves out, or that no step asks for.

mod ahead;
mod digest;
mod hashes;
mod item;
mod names;
mod single;
mod stream;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use dockerfile::ignore::{Matcher, Parents};
use linux::file::Named as _;
use oci::Digest;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::copy::CopyError;
use crate::Result;

use digest::Hashed;
pub(super) use digest::{Copied, counted};
pub(super) use hashes::{Hashes, Identity};
pub(super) use item::Item;
pub(super) use names::{Names, Seen};
pub(super) use single::read_file;
pub(super) use stream::{Received, receive};

/// The files of a directory.
pub(super) struct Files {
    root: OwnedFd,
    /// How people know it, in errors.
    name: String,
    ignored: Matcher,
    hashes: Arc<dyn Hashes>,
    /// The device that it is on, if that tells of all who write to a file.
    telling: Option<u64>,
    top: Seen,
    identity: Digest,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Files {
    /// The files of the directory at `path`, but for those that `ignored` leaves out. `name` is how people know it; `nonce` is
    /// this build's.
    pub(super) fn open(
        path: &Path,
        (name, nonce): (&str, &str),
        ignored: Option<&Matcher>,
        hashes: Arc<dyn Hashes>,
    ) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .named("open", path)
            .map_err(|source| CopyError::Context { name: name.to_owned(), source })?;
        let stat = rustix::fs::fstat(&root)
            .named("examine", path)
            .map_err(|source| CopyError::Context { name: name.to_owned(), source })?;
        let telling = linux::lease::tells_of_writers(&root).then_some(stat.st_dev);
        let top = Seen::from(Item::new(Vec::new(), &stat, false, Parents::default()));
        let identity = Digest::of(format!("{nonce} {name}").as_bytes());
        let ignored = ignored.cloned().unwrap_or_default();
        Ok(Self { root, name: name.to_owned(), ignored, hashes, telling, top, identity })
    }

    /// How people know it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What no other tree has for a name, in this build or another.
    pub(super) fn identity(&self) -> &Digest {
        &self.identity
    }

    /// The directory itself.
    pub(super) fn top(&self) -> &Seen {
        &self.top
    }

    /// Opens what was seen at a path, beneath the root and through no link.
    fn open_at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.root.as_fd(), path, flags)
    }

    fn failed(&self, action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> CopyError {
        let (name, path) = (self.name.clone(), shown(path));
        move |errno| match errno {
            // It was there, and was what it no longer is: gone, a link, on another file system, a socket.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::STALE | Errno::NXIO => {
                CopyError::Changed { path }
            }
            errno => CopyError::Read { action, path, name, source: errno.into() },
        }
    }
}

/// Opens a path below a directory, whoever changes what is there meanwhile.
fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { b"." } else { path };
    let mut tries = 0;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve) {
            // Something was renamed at that moment.
            Err(Errno::AGAIN | Errno::INTR) if tries < 100 => tries += 1,
            result => return result,
        }
    }
}

/// A path as people write it.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { String::from_utf8_lossy(path).into_owned() }
}
