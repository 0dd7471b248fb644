//! A directory for half-done work, which disappears with its maker.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use linux::file::{self, Named as _};
use rustix::fs::FlockOperation;

use super::{Store, lock, try_lock};
use crate::error::{Error, Result};

/// `tmp/<pid>-<n>-<time>/`, locked. Dropping it removes it with all it holds.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    counter: AtomicU64,
    _lock: OwnedFd,
}

impl Scratch {
    /// Sweeps what the dead have left, then makes a directory.
    pub(crate) fn new(store: &Store) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if let Err(error) = sweep(store) {
            // What the dead have left is in nobody's way; whoever collects garbage is told.
            tracing::warn!(%error, "half-done work of a process that is gone could not be removed");
        }
        let tmp = store.root().join("tmp");
        // While this is shared no sweep runs, so none finds the directory before it is locked.
        let entrance = lock(&tmp, FlockOperation::LockShared)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{count}-{:x}{:08x}", std::process::id(), now.tv_sec, now.tv_nsec);
        let path = tmp.join(name);
        if !store.effects().create_dir(&path)? {
            let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(exists).named("create directory", &path).map_err(Error::from);
        }
        let locked = try_lock(&path, FlockOperation::NonBlockingLockExclusive);
        drop(entrance);
        match locked {
            Ok(Some(lock)) => Ok(Self { path, counter: AtomicU64::new(0), _lock: lock }),
            other => {
                drop(file::remove_tree(&path));
                let busy = std::io::Error::from(std::io::ErrorKind::ResourceBusy);
                other.and_then(|_| Err(busy).named("lock", &path).map_err(Error::from))
            }
        }
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A name that nothing here has yet.
    pub(crate) fn fresh(&self, kind: &str) -> PathBuf {
        self.path.join(format!("{kind}-{}", self.counter.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = file::remove_tree(&self.path) {
            // The next sweep tries again.
            tracing::warn!(path = %self.path.display(), %error, "half-done work could not be removed");
        }
    }
}

/// Removes the scratch directories whose makers are gone. Gives way where others are at work in `tmp`.
pub(super) fn sweep(store: &Store) -> Result<()> {
    let tmp = store.root().join("tmp");
    let Some(_alone) = try_lock(&tmp, FlockOperation::NonBlockingLockExclusive)? else { return Ok(()) };
    let directory = file::open(&tmp)?;
    let mut garbage = Vec::new();
    for name in rustix::fs::Dir::read_from(&directory).named("list", &tmp)? {
        let name = name.named("list", &tmp)?;
        let bytes = name.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        let path = tmp.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes));
        let is_garbage = match try_lock(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(free) => free.is_some(),
            // Not a directory, so nobody's scratch.
            Err(Error::File(error)) => !error.is_missing(),
            Err(error) => return Err(error),
        };
        if is_garbage {
            tracing::debug!(path = %path.display(), "removing half-done work of a process that is gone");
            garbage.push(path);
        }
    }
    Ok(store.remover.remove(&garbage)?)
}
