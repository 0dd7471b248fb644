//! Package files: fetched in parallel, verified, kept by their sums.
//!
//! ```text
//! <root>/cache/debian/<sha256>.deb    verified; renamed into place, and verified again whenever it is used
//! ```
//!
//! What is kept is bounded: after each run the files that were used longest ago go, until the rest fits.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Builder;

use debian::{Package, hex};
use linux::file::{self, Named as _};
use oci::{Digest, Hasher, Timestamp};
use rustix::fs::{Dir, FlockOperation, Timestamps, UTIME_NOW};

use super::archive::mismatch;
use super::error::BootstrapError as Failure;
use super::fetch::Fetcher;
use super::sources::Source;
use crate::Engine;
use crate::usage::CachedFile;

/// Connections at a time.
const PARALLEL: usize = 4;
/// Bytes of all files that stay.
const KEPT: u64 = 1 << 30;

/// The folder, which nobody trims while this lives.
pub(super) struct Pool {
    folder: PathBuf,
    lock: File,
    /// Whether its lock keeps others out.
    is_alone: bool,
}

impl Pool {
    pub(super) fn open(folder: &Path) -> Result<Pool, Failure> {
        file::create_dirs(folder, 0o700).map_err(Failure::File)?;
        let path = folder.join("lock");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CREATE | rustix::fs::OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, rustix::fs::Mode::from_raw_mode(0o600));
        let lock = File::from(lock.named("open", &path).map_err(Failure::File)?);
        let is_alone = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !is_alone {
            rustix::fs::flock(&lock, FlockOperation::LockShared)
                .named("lock", &path)
                .map_err(Failure::File)?;
        }
        Ok(Pool { folder: folder.to_owned(), lock, is_alone })
    }

    /// Whether nobody else makes an image meanwhile: they wait until [`Pool::share`].
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Lets others in.
    pub(super) fn share(&mut self) -> Result<(), Failure> {
        let locked = rustix::fs::flock(&self.lock, FlockOperation::LockShared);
        locked.named("lock", &self.folder).map_err(Failure::File)?;
        self.is_alone = false;
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of packages, in their order.
    pub(super) fn fetch(
        &self,
        fetcher: &Fetcher<'_>,
        sources: &[Source],
        packages: &[&Package<'_>],
    ) -> Result<Vec<PathBuf>, Failure> {
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(package) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.fetch_one(fetcher, sources, package) {
                    // The others end with what they have begun.
                    next.store(packages.len(), Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    failure.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..PARALLEL.min(packages.len()) {
                // With fewer where there are no more to be had.
                if Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => Ok(packages.iter().map(|package| self.path(package)).collect()),
        }
    }

    fn path(&self, package: &Package<'_>) -> PathBuf {
        self.folder.join(format!("{}.deb", hex(&package.sha256)))
    }

    fn fetch_one(
        &self,
        fetcher: &Fetcher<'_>,
        sources: &[Source],
        package: &Package<'_>,
    ) -> Result<(), Failure> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(package);
        let expected = Digest::from_sha256(package.sha256);
        if let Ok(mut kept) = file::open(&path) {
            let copied = copy(&mut kept, &mut std::io::sink());
            if copied.is_ok_and(|found| found == (expected.clone(), package.size)) {
                // Used now: it is among the last to go.
                let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                let times = Timestamps { last_access: now, last_modification: now };
                let _touched: rustix::io::Result<()> = rustix::fs::futimens(&kept, &times);
                return Ok(());
            }
        }
        let base = sources.get(package.source).map_or("", |source| source.url.as_str());
        let url = format!("{base}/{}", package.filename);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("partial-{}-{count}", std::process::id()));
        // Left by a process that is gone, whose number this one has.
        file::remove_if_exists(&partial).map_err(Failure::File)?;
        let mut target = file::create_new(&partial, 0o600).map_err(Failure::File)?;
        let fetched = fetcher.fetch(&url, package.size, |source| {
            target.set_len(0)?;
            target.rewind()?;
            copy(source, &mut target)
        });
        let checked = fetched.and_then(|found| match found {
            None => Err(Failure::NotThere { url: url.clone() }),
            Some((digest, size)) if (&digest, size) == (&expected, package.size) => Ok(()),
            Some((digest, size)) => Err(mismatch(&url, (&expected, package.size), (&digest, size))),
        });
        let kept = checked.and_then(|()| file::rename(&partial, &path).map_err(Failure::File));
        if kept.is_err() {
            // What failed is told; that something of it stays is not worse.
            drop(file::remove_if_exists(&partial));
        }
        kept
    }

    /// Removes what was used longest ago until the rest fits, unless somebody else is at work here.
    pub(super) fn trim(self) {
        if rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        if let Err(error) = self.remove_oldest(KEPT) {
            tracing::warn!(%error, "old package files could not be removed");
        }
    }

    fn remove_oldest(&self, keep: u64) -> file::Result<u64> {
        let Kept { mut files, partial } = list(&self.folder)?;
        // Nobody else is here, so nobody goes on with those.
        for path in partial {
            file::remove(&path)?;
        }
        // The newest first.
        files.sort_by(|left, right| (right.used, &right.path).cmp(&(left.used, &left.path)));
        let (mut total, mut removed) = (0, 0);
        for kept in files {
            total += kept.size;
            if total > keep {
                file::remove(&kept.path)?;
                removed += kept.size;
            }
        }
        Ok(removed)
    }
}

/// What lies in the folder.
struct Kept {
    files: Vec<KeptFile>,
    /// Begun by somebody.
    partial: Vec<PathBuf>,
}

/// A package file that is kept for another image.
struct KeptFile {
    path: PathBuf,
    sha256: String,
    size: u64,
    used: i64,
}

/// Nothing where no package was ever fetched.
fn list(folder: &Path) -> file::Result<Kept> {
    let mut kept = Kept { files: Vec::new(), partial: Vec::new() };
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let opened = match rustix::fs::open(folder, flags, rustix::fs::Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(kept),
        opened => File::from(opened.named("open", folder)?),
    };
    for entry in Dir::read_from(&opened).named("list", folder)? {
        let name = entry.named("list", folder)?.file_name().to_string_lossy().into_owned();
        let path = folder.join(&name);
        if name.starts_with("partial-") {
            kept.partial.push(path);
        } else if let Some(sha256) = name.strip_suffix(".deb") {
            let stat = match rustix::fs::stat(&path) {
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat.named("look at", &path)?,
            };
            let size = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            kept.files.push(KeptFile { path, sha256: sha256.to_owned(), size, used: stat.st_mtime });
        }
    }
    Ok(kept)
}

impl Engine {
    /// The package files that are kept for other images.
    pub(crate) fn package_files(&self) -> Result<Vec<CachedFile>, crate::Error> {
        let kept = list(&self.package_folder()).map_err(Failure::File)?;
        let told = |kept: KeptFile| CachedFile {
            id: kept.sha256,
            size: kept.size,
            last_used: Timestamp::new(kept.used, 0).unwrap_or(Timestamp::EPOCH),
        };
        Ok(kept.files.into_iter().map(told).collect())
    }

    /// Removes the package files that are kept, unless an image is being made of some; how many bytes they had.
    pub fn prune_packages(&self) -> Result<u64, crate::Error> {
        let folder = self.package_folder();
        if list(&folder).map_err(Failure::File)?.files.is_empty() {
            return Ok(0);
        }
        let pool = Pool::open(&folder)?;
        match pool.is_alone() {
            true => Ok(pool.remove_oldest(0).map_err(Failure::File)?),
            false => Ok(0),
        }
    }

    pub(super) fn package_folder(&self) -> PathBuf {
        self.config.root.join("cache/debian")
    }
}

/// Copies to the end; what it was.
fn copy(source: &mut dyn Read, target: &mut dyn Write) -> std::io::Result<(Digest, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::sha256(), 0, vec![0; 256 << 10]);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                target.write_all(&buffer[..read])?;
                size += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test handles its own files")]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = testkit::Scratch::new();
        let pool = Pool::open(&folder.join("cache")).unwrap();
        for (age, name) in [(30, "a.deb"), (10, "b.deb"), (20, "c.deb"), (0, "partial-1-1")] {
            let mut file = File::create(pool.folder.join(name)).unwrap();
            file.write_all(b"package").unwrap();
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(time).unwrap();
        }
        // A file takes whole blocks.
        let block = std::fs::metadata(pool.folder.join("a.deb")).unwrap().blocks() * 512;
        assert_eq!(pool.remove_oldest(2 * block).unwrap(), block);
        let mut left: Vec<_> =
            std::fs::read_dir(pool.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b.deb", "c.deb", "lock"]);
    }
}
