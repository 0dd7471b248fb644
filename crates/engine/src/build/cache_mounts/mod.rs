//! Directories that are kept for later builds (`RUN --mount=type=cache`). All that is known of how they lie on the disk is here.
//!
//! ```text
//! <root>/cache/mounts/<key>[-<n>]/         locked (flock) by who builds with it: shared, or alone
//!   data/                                  what programs see; with the ids that they see
//!   data.new/                              until it is what it begins as, see [`begin`]
//!   users/<container>[-alone]              programs that have it mounted, see [`marks`]
//! ```
//!
//! A key is the digest of all that makes two caches different, so nothing that a Dockerfile says is part of a path, and no path
//! within a cache is looked up here: programs own what is below `data`, and nothing else. One that begins as a part of another
//! tree has the content of that part in its key: with other content it is another cache.
//!
//! The lock is the kernel's, on the folder, and ends with its holder, which is the builder: its program may live on for a
//! moment, or until somebody finds it when its monitor died too. So whoever has the lock for himself sees to it that nobody whose
//! mark is there runs any more before he lets anyone in. Whoever removes a cache takes its lock alone and does the same; who has got
//! a lock looks whether the folder is still the one of that name.

mod begin;
mod marks;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use build::{Key, Step};
use dockerfile::syntax::{Identity, Sharing};
use linux::file::{self, Named as _};
use oci::ContainerId;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::BuildError;
use super::carried::Opened;
use super::run::{RunError, refused};
use super::session::Session;
use super::tree::Tree;
use super::waiting::Queue;
use crate::{Engine, Result};

use marks::Mark;

/// Where all of them are, below the root.
const FOLDER: &str = "cache/mounts";
/// How long is waited between two looks at a cache that another has.
const NAP: Duration = Duration::from_millis(10);
/// Caches of one key that are used at once, each by one.
const PRIVATE: u32 = 1000;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    /// The name that its steps have for it.
    pub(super) id: &'a str,
    /// With what it begins, if that is not nothing.
    pub(super) seed: Option<Seed<'a>>,
    /// Which directory of the seed; without one it only makes a difference.
    pub(super) source: &'a str,
    /// Whose the directory is when it is made, and its mode.
    pub(super) identity: Identity,
    pub(super) sharing: Sharing,
}

/// The tree that a cache begins as a part of, and the digest of that part.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) tree: &'a Tree,
    pub(super) content: &'a str,
}

impl Wish<'_> {
    /// What makes it another cache than others.
    pub(super) fn key(&self) -> Key {
        let Identity { mode, uid, gid } = self.identity;
        let identity = format!("{mode:o} {uid} {gid}");
        match self.seed {
            None => Key::of("cache mount", [self.id, self.source, &identity]),
            Some(seed) => Key::of("seeded cache mount", [self.id, seed.content, &identity]),
        }
    }
}

/// A cache that is in use. What is dropped without [`CacheMount::release`] may have a program that still runs.
pub(super) struct CacheMount {
    folder: PathBuf,
    mark: Mark,
    _lock: OwnedFd,
}

impl CacheMount {
    /// What the program sees.
    pub(super) fn data(&self) -> PathBuf {
        data(&self.folder)
    }

    /// Gives it back: the program has ended.
    pub(super) fn release(self, used: &Used) {
        self.mark.remove();
        if let Some(name) = self.folder.file_name().and_then(|name| name.to_str()) {
            used.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
    }
}

/// Names of the cache mounts that a build has used.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<BTreeSet<String>>);

/// What programs see of the cache in a folder.
pub(super) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Whether there is nothing in a directory, or no directory. What cannot be looked into has something.
pub(super) fn is_empty(data: &Path) -> bool {
    match std::fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Opens a cache for a program, which is made when it is missing. Waits for those that want it alone.
pub(super) fn open(
    session: &Session<'_>,
    wish: &Wish<'_>,
    program: &ContainerId,
    step: &Step<'_>,
) -> Result<CacheMount> {
    let engine = session.engine;
    let key = wish.key();
    let key = key.digest().encoded();
    let Identity { mode, uid, gid } = wish.identity;
    session.carried().note(key, Opened { id: wish.id.to_owned(), identity: (mode, uid, gid) });
    file::create_dirs(&engine.config.root.join(FOLDER), 0o700).map_err(failed)?;
    let name = |number: u32| match number {
        0 => key.to_owned(),
        number => format!("{key}-{number}"),
    };
    let attempt = Attempt { session, wish, program, step };
    let opened = match wish.sharing {
        Sharing::Private => {
            let mut all = (0..PRIVATE).map(name);
            all.find_map(|name| attempt.lock(&name, Wait::Never).transpose()).transpose()?
        }
        Sharing::Shared | Sharing::Locked => attempt.lock(&name(0), Wait::Long)?,
    };
    opened.ok_or_else(|| {
        let source = std::io::Error::from(std::io::ErrorKind::QuotaExceeded);
        let path = engine.config.root.join(FOLDER);
        refused(RunError::System { action: "find a free cache mount below", path, source })
    })
}

/// Whether a lock that another has is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Never,
    Long,
}

/// An attempt to have a cache.
struct Attempt<'a> {
    session: &'a Session<'a>,
    wish: &'a Wish<'a>,
    program: &'a ContainerId,
    step: &'a Step<'a>,
}

impl Attempt<'_> {
    /// Locks a cache and makes what is missing of it; none if another has it.
    fn lock(&self, name: &str, wait: Wait) -> Result<Option<CacheMount>> {
        let engine = self.session.engine;
        let folder = engine.cache_mount_path(name);
        let what = || waits_for(self.wish.id);
        let mut queue = Queue::new(&what);
        loop {
            if let Some(lock) = self.try_lock(&folder)? {
                queue.ends(&|what| self.step.progress(what, 0, Some(0)));
                engine.state().use_cache_mount(name, self.wish.id)?;
                let mark = Mark::leave(&folder, self.program, self.is_alone()).map_err(failed)?;
                return Ok(Some(CacheMount { folder, mark, _lock: lock }));
            }
            if wait == Wait::Never {
                return Ok(None);
            }
            queue.goes_on(&|what| self.step.progress(what, 0, None));
            if self.step.cancel.wait(NAP) {
                return Err(BuildError::Cancelled.into());
            }
        }
    }

    /// Whether there is no cache yet, or nothing in it and something that others kept.
    fn is_to_be_filled(&self, folder: &Path) -> bool {
        let data = data(folder);
        !data.exists() || (is_empty(&data) && self.session.carried().has(self.wish.key().digest().encoded()))
    }

    fn is_alone(&self) -> bool {
        self.wish.sharing != Sharing::Shared
    }

    /// The lock that is wanted, on a folder that has its data; none if it cannot be had now.
    fn try_lock(&self, folder: &Path) -> Result<Option<OwnedFd>> {
        let engine = self.session.engine;
        file::create_dir(folder, 0o700).map_err(failed)?;
        // Removed again, or renamed: the next attempt makes it.
        let Some(lock) = open_folder(folder).map_err(failed)? else { return Ok(None) };
        // Alone first, also by who shares it: so somebody sees to what the dead have left.
        if flock(&lock, FlockOperation::NonBlockingLockExclusive, folder)? {
            if !is_same(&lock, folder) || !marks::have_ended(engine, folder, true)? {
                return Ok(None);
            }
            if self.is_to_be_filled(folder) {
                begin::make(self.session, folder, self.wish, self.step)?;
            }
            if self.is_alone() {
                return Ok(Some(lock));
            }
        }
        if self.is_alone() || !flock(&lock, FlockOperation::NonBlockingLockShared, folder)? {
            return Ok(None);
        }
        // Between the two locks somebody else may have had it.
        let is_ready = is_same(&lock, folder) && data(folder).exists();
        Ok((is_ready && marks::have_ended(engine, folder, false)?).then_some(lock))
    }
}

/// What is told of who waits for the cache that steps call `id`.
pub(super) fn waits_for(id: &str) -> String {
    format!("waiting for cache mount {id}, which another step has")
}

/// What came of an attempt to have a cache mount for oneself.
pub(super) enum Lock {
    /// It is ours until this is dropped.
    Ours(OwnedFd),
    /// Somebody uses it.
    Taken,
    /// It is not there.
    Missing,
}

impl Engine {
    /// The folder of a cache mount by its name, which is its key and maybe a number.
    pub(crate) fn cache_mount_path(&self, name: &str) -> PathBuf {
        self.config.root.join(FOLDER).join(name)
    }

    /// The names of the folders of all cache mounts.
    pub(super) fn cache_mount_names(&self) -> Vec<String> {
        let Ok(names) = std::fs::read_dir(self.config.root.join(FOLDER)) else { return Vec::new() };
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| is_name(name)).collect()
    }

    /// Notes how large the cache mounts are that a build has used, once it has done its work: nobody waits for a step of it.
    pub(super) fn measure_cache_mounts(&self, used: &Used) -> Result<()> {
        let names = std::mem::take(&mut *used.0.lock().unwrap_or_else(PoisonError::into_inner));
        for name in names {
            let size = self.allotted(&self.cache_mount_path(&name), &[]);
            self.state().measure_cache_mount(&name, size)?;
        }
        Ok(())
    }

    /// Whether somebody has a cache mount. Who wants it alone just then takes us for somebody who has it, and looks once more, or
    /// takes another.
    pub(super) fn uses_cache_mount(&self, name: &str) -> bool {
        let folder = self.cache_mount_path(name);
        let Ok(Some(lock)) = open_folder(&folder) else { return false };
        let alone = FlockOperation::NonBlockingLockExclusive;
        marks::has_any(self, &folder) || matches!(flock(&lock, alone, &folder), Ok(false))
    }

    /// Locks a cache mount that no program has any more, without waiting: to remove it, or to read or write all of it.
    pub(super) fn lock_cache_mount(&self, name: &str) -> Result<Lock> {
        let folder = self.cache_mount_path(name);
        let Some(lock) = open_folder(&folder).map_err(failed)? else { return Ok(Lock::Missing) };
        if !flock(&lock, FlockOperation::NonBlockingLockExclusive, &folder)? {
            return Ok(Lock::Taken);
        }
        match is_same(&lock, &folder) && marks::have_ended(self, &folder, true)? {
            true => Ok(Lock::Ours(lock)),
            false => Ok(Lock::Taken),
        }
    }
}

/// Whether a file of this name is a cache mount: 64 hexadecimal digits, and maybe a number.
fn is_name(name: &str) -> bool {
    let (key, number) = name.split_once('-').unwrap_or((name, "1"));
    let is_key = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_key && number.parse::<u32>().is_ok_and(|number| (1..PRIVATE).contains(&number))
}

/// A folder as it can be locked; none if it is not there.
fn open_folder(folder: &Path) -> file::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.map(Some).named("open", folder),
    }
}

/// Takes a lock; false if others have one that keeps us from it.
fn flock(lock: &OwnedFd, operation: FlockOperation, folder: &Path) -> Result<bool> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(lock, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named("lock", folder).map_err(failed),
    }
}

/// Whether a path still leads to what was opened by it.
fn is_same(opened: &OwnedFd, path: &Path) -> bool {
    let (Ok(opened), Ok(now)) = (rustix::fs::fstat(opened), rustix::fs::lstat(path)) else { return false };
    (opened.st_dev, opened.st_ino) == (now.st_dev, now.st_ino)
}

fn failed(source: file::Error) -> crate::Error {
    refused(RunError::File { action: "open a cache mount", source })
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn folders_of_cache_mounts_are_known_by_their_names() {
        let key = "0123456789abcdef".repeat(4);
        for (name, want) in [
            (key.clone(), true),
            (format!("{key}-1"), true),
            (format!("{key}-999"), true),
            (format!("{key}-1000"), false),
            (format!("{key}-0"), false),
            (format!("{key}-"), false),
            (format!("{key}0"), false),
            (format!("{}g", &key[1..]), false),
            ("..".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_name(&name), want, "{name}");
        }
    }
}
