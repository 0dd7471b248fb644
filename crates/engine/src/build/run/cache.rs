//! Directories that are kept for later builds (`RUN --mount=type=cache`).
//!
//! ```text
//! <root>/cache/mounts/<key>[-<n>]/         locked by who uses it: shared, or alone
//!   data/                                  what programs see; with the ids that they see
//!   data.new/                              until it is what it begins as
//! ```
//!
//! A key is the digest of all that makes two caches different, so nothing that a Dockerfile says is part of a path, and no path
//! within a cache is looked up here: programs own what is below `data`, and nothing else. The lock is the kernel's, on the
//! folder, and ends with its holder. Whoever removes a cache takes its lock alone; who has got a lock looks whether the folder is
//! still the one of that name.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use build::{Key, Step};
use dockerfile::syntax::{Identity, Sharing};
use linux::file::{self, Named as _};
use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::error::RunError;
use super::request::refused;
use crate::build::BuildError;
use crate::{Engine, Result};

/// How long is waited between two looks at a cache that another has locked.
const NAP: Duration = Duration::from_millis(10);
/// Caches of one key that are used at once, each by one.
const PRIVATE: u32 = 1000;

/// What is asked for.
pub(super) struct Wish<'a> {
    pub(super) id: &'a str,
    pub(super) source: &'a str,
    pub(super) identity: Identity,
    pub(super) sharing: Sharing,
}

/// A cache that is in use.
pub(super) struct Cache {
    folder: PathBuf,
    _lock: OwnedFd,
}

impl Cache {
    /// What the program sees.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

/// Opens a cache, which is made when it is missing. Waits for those that want it alone.
pub(super) fn open(engine: &Engine, wish: &Wish<'_>, step: &Step<'_>) -> Result<Cache> {
    let Identity { mode, uid, gid } = wish.identity;
    let key = Key::of("cache mount", [wish.id, wish.source, &format!("{mode:o} {uid} {gid}")]);
    let mounts = engine.config.root.join("cache/mounts");
    file::create_dirs(&mounts, 0o700).map_err(failed)?;
    let name = key.digest().encoded();
    let place = |number: u32| match number {
        0 => mounts.join(name),
        number => mounts.join(format!("{name}-{number}")),
    };
    let cache = match wish.sharing {
        Sharing::Private => {
            let free =
                (0..PRIVATE).find_map(|number| lock(&place(number), Wait::Never, wish, step).transpose());
            free.transpose()?.ok_or_else(|| failed_to_find(&mounts))?
        }
        Sharing::Shared | Sharing::Locked => {
            lock(&place(0), Wait::Long, wish, step)?.ok_or_else(|| failed_to_find(&mounts))?
        }
    };
    engine.state().use_cache_mount(key.digest(), wish.id)?;
    Ok(cache)
}

/// Whether a lock that another has is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Never,
    Long,
}

/// Locks a cache and makes what is missing of it; none if another has it.
fn lock(folder: &Path, wait: Wait, wish: &Wish<'_>, step: &Step<'_>) -> Result<Option<Cache>> {
    loop {
        file::create_dir(folder, 0o700).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = match rustix::fs::open(folder, flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            opened => opened.named("open", folder).map_err(failed)?,
        };
        let is_new = !folder.join("data").exists();
        let operation = match (is_new, wish.sharing) {
            (false, Sharing::Shared) => FlockOperation::NonBlockingLockShared,
            (true, _) | (_, Sharing::Private | Sharing::Locked) => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::fs::flock(&lock, operation) {
            Ok(()) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) if wait == Wait::Never => return Ok(None),
            Err(Errno::WOULDBLOCK) => {
                if step.cancel.wait(NAP) {
                    return Err(BuildError::Cancelled.into());
                }
                continue;
            }
            Err(errno) => return Err(errno).named("lock", folder).map_err(failed),
        }
        if !is_same(&lock, folder) {
            continue;
        }
        if is_new {
            begin(folder, wish.identity)?;
            if wish.sharing == Sharing::Shared {
                // It is taken anew, for others.
                continue;
            }
        }
        return Ok(Some(Cache { folder: folder.to_owned(), _lock: lock }));
    }
}

/// Makes what a cache begins as. Its lock is ours alone.
fn begin(folder: &Path, Identity { mode, uid, gid }: Identity) -> Result<()> {
    let (data, half_done) = (folder.join("data"), folder.join("data.new"));
    if data.exists() {
        return Ok(());
    }
    let make = || {
        file::remove_tree(&half_done)?;
        file::create_dir(&half_done, 0o700)?;
        if (uid, gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::fs::chown(&half_done, Some(uid), Some(gid)).named("change owner of", &half_done)?;
        }
        file::set_mode(&half_done, mode & 0o7777)?;
        file::rename(&half_done, &data)
    };
    make().map_err(failed)
}

/// Whether a path still leads to what was opened by it.
fn is_same(opened: &OwnedFd, path: &Path) -> bool {
    let (Ok(opened), Ok(now)) = (rustix::fs::fstat(opened), rustix::fs::lstat(path)) else { return false };
    (opened.st_dev, opened.st_ino) == (now.st_dev, now.st_ino)
}

fn failed(source: file::Error) -> crate::Error {
    refused(RunError::File { action: "open a cache mount", source })
}

fn failed_to_find(mounts: &Path) -> crate::Error {
    let source = std::io::Error::from(std::io::ErrorKind::QuotaExceeded);
    refused(RunError::System { action: "find a free cache mount below", path: mounts.to_owned(), source })
}
