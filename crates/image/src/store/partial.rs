//! Layers that have been begun: who makes one, and what of its blob has come so far.
//!
//! ```text
//! partial/<encoded>/            a layer, by its digest; locked by whoever makes it
//! partial/<encoded>/<encoded>   its blob as far as it has come, of large ones; named by the blob's digest
//! ```
//!
//! The directory is there from before the blob is asked for until the names of an image with the layer are committed. So the
//! bytes of a blob, and a layer that is whole while its image is not, outlive whoever fetches them: a later fetch goes on. Bytes
//! that came are not synced; whether they are right is seen at the end by their digest. What nobody has gone on with for
//! as long as [`KeptFor`] says is garbage, and so is everything nobody is at work on when a user asks for space.
//!
//! Whoever has the lock of one waits for no other, so two that need the same layers in another order cannot wait for each other.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linux::file::{self, Named as _};
use oci::{DiffId, Digest};
use rustix::fs::FlockOperation;

use super::{Store, collect, size_of, try_lock};
use crate::error::{Error, Result};

/// As long as nobody says otherwise.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// Says how long what was begun is kept; `None` for as long as space is not wanted.
type Say = dyn Fn() -> Option<Duration> + Send + Sync;

/// How long what was begun is kept for somebody who goes on with it: a day by default.
#[derive(Clone, Default)]
pub struct KeptFor(Option<Arc<Say>>);

impl KeptFor {
    /// Asks `say` each time when something may be too old, and at no other time. `None` keeps it for as long as space is not
    /// wanted.
    pub fn new(say: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(say)))
    }

    fn get(&self) -> Option<Duration> {
        self.0.as_ref().map_or(Some(A_DAY), |say| say())
    }
}

impl fmt::Debug for KeptFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "KeptFor(told)" } else { "KeptFor(a day)" })
    }
}

/// A layer that nobody else makes. Dropping it lets others make it.
#[derive(Debug)]
pub(crate) struct Making {
    path: PathBuf,
    lock: OwnedFd,
}

/// Whose a layer is to make.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The caller's.
    Mine(Making),
    /// Somebody else's, who has so many bytes of the blob by now.
    Taken(u64),
}

impl Making {
    /// Asks to make a layer, of that blob. Whoever may has to look whether it is there by now.
    pub(crate) fn claim(store: &Store, layer: &DiffId, blob: &Digest) -> Result<Claim> {
        let path = directory(store).join(layer.digest().encoded());
        loop {
            match store.effects().create_dir(&path) {
                Ok(_) => {}
                Err(error) if error.is_missing() => {
                    file::create_dir(&directory(store), 0o700)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            match try_lock(&path, FlockOperation::NonBlockingLockExclusive) {
                Ok(Some(lock)) => {
                    if !is_still(&lock, &path)? {
                        continue;
                    }
                    touch(&lock, &path)?;
                    return Ok(Claim::Mine(Self { path, lock }));
                }
                Ok(None) => return Ok(Claim::Taken(size_of(&path.join(blob.encoded()))?.unwrap_or(0))),
                // It was garbage, and is gone.
                Err(Error::File(error)) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What has come of the blob, to be read and written, and how much it is. Other blobs of the same layer are given up.
    pub(crate) fn spool(&self, blob: &Digest) -> Result<(File, u64)> {
        for name in collect::names(&self.path)? {
            if name != blob.encoded() {
                file::remove_if_exists(&self.path.join(name))?;
            }
        }
        let path = self.path.join(blob.encoded());
        let mut options = File::options();
        let spool = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let spool = spool.named("open", &path)?;
        let size = spool.metadata().named("examine", &path)?.len();
        Ok((spool, size))
    }

    /// Removes what has come of the blob: it is of no use, or not needed any more.
    pub(crate) fn discard(&self, blob: &Digest) {
        if let Err(error) = file::remove_if_exists(&self.path.join(blob.encoded())) {
            // It goes with its directory.
            tracing::debug!(%error, source = %error.source, "a part of a blob is left");
        }
    }

    /// Lets others make it. Nothing is left unless something of the blob is here.
    pub(crate) fn give_up(self) {
        // One that holds something stays; another may have gone meanwhile.
        rustix::fs::rmdir(&self.path).unwrap_or_default();
        drop(self.lock);
    }

    fn remove(self) -> Result<()> {
        file::remove_tree(&self.path)?;
        drop(self.lock);
        Ok(())
    }
}

fn directory(store: &Store) -> PathBuf {
    store.root().join("partial")
}

/// Whether a directory that was opened is the one of that name, which may have been removed and made anew meanwhile.
fn is_still(directory: &OwnedFd, path: &Path) -> Result<bool> {
    let opened = rustix::fs::fstat(directory).named("examine", path)?;
    match rustix::fs::lstat(path) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).named("examine", path).map_err(Error::from),
    }
}

/// From now on it is kept as long as [`KeptFor`] says.
fn touch(directory: &OwnedFd, path: &Path) -> Result<()> {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(directory, &times).named("set the times of", path).map_err(Error::from)
}

/// Layers of which the names are about to be committed need no directory any more.
pub(super) fn finish<'n>(store: &Store, layers: impl Iterator<Item = &'n String>) {
    let partial = directory(store);
    if rustix::fs::access(&partial, rustix::fs::Access::EXISTS).is_err() {
        return;
    }
    for name in layers {
        let path = partial.join(name);
        let removed = match mine(&path) {
            Ok(Some(making)) => making.remove(),
            other => other.map(drop),
        };
        if let Err(error) = removed {
            // It goes when it is too old.
            tracing::debug!(%error, "what a layer began with is left");
        }
    }
}

/// Takes a directory that is there and that nobody works on.
fn mine(path: &Path) -> Result<Option<Making>> {
    match try_lock(path, FlockOperation::NonBlockingLockExclusive) {
        Ok(Some(lock)) => Ok(is_still(&lock, path)?.then(|| Making { path: path.to_owned(), lock })),
        Ok(None) => Ok(None),
        Err(Error::File(error)) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what was begun and is too old, or all, but nothing that somebody works on, which he has leased; returns the layers
/// that are kept, and the bytes removed.
pub(super) fn collect(store: &Store, all: bool, leased: &HashSet<String>) -> Result<(HashSet<String>, u64)> {
    let (mut kept, mut bytes) = (HashSet::new(), 0);
    let names = collect::names(&directory(store))?;
    let kept_for = if all || names.is_empty() { None } else { store.kept_for().get() };
    for name in names {
        let path = directory(store).join(&name);
        if leased.contains(&name) || !(all || kept_for.is_some_and(|kept_for| is_old(&path, kept_for))) {
            kept.insert(name);
            continue;
        }
        let Some(making) = mine(&path)? else { continue };
        for name in collect::names(&path)? {
            bytes += size_of(&path.join(name))?.unwrap_or(0);
        }
        making.remove()?;
    }
    Ok((kept, bytes))
}

fn is_old(path: &Path, kept_for: Duration) -> bool {
    let Ok(changed) = path.symlink_metadata() else { return true };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let age = now.as_secs().saturating_sub(u64::try_from(changed.mtime()).unwrap_or(0));
    age >= kept_for.as_secs()
}

impl Store {
    /// Whether something was begun so long ago that it is garbage.
    #[must_use]
    pub fn has_outdated(&self) -> bool {
        let names = collect::names(&directory(self)).unwrap_or_default();
        if names.is_empty() {
            return false;
        }
        let Some(kept_for) = self.kept_for().get() else { return false };
        names.iter().any(|name| is_old(&directory(self).join(name), kept_for))
    }

    /// Whether something was begun that is not finished.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !collect::names(&directory(self)).unwrap_or_default().is_empty()
    }
}
