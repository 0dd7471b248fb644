//! Package files: fetched in parallel, verified, kept by their sums.
//!
//! ```text
//! <root>/cache/debian/<sha256>.deb    verified; renamed into place, and verified again whenever it is used
//! ```
//!
//! What is kept is bounded: after each run the files that were used longest ago go, until the rest fits.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use debian::{Package, hex};
use linux::file::{self, Named as _};
use oci::{Digest, Hasher};
use rustix::fs::{Dir, FlockOperation, Timestamps, UTIME_NOW};

use super::archive::mismatch;
use super::error::BootstrapError as Failure;
use super::fetch::{Fetcher, explained};
use super::sources::Source;

/// Connections at a time.
const PARALLEL: usize = 4;
/// Bytes of all files that stay.
const KEPT: u64 = 1 << 30;

/// The folder, which nobody trims while this lives.
pub(super) struct Pool {
    folder: PathBuf,
    lock: File,
}

impl Pool {
    pub(super) fn open(folder: &Path) -> Result<Pool, Failure> {
        file::create_dirs(folder, 0o700).map_err(Failure::File)?;
        let path = folder.join("lock");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CREATE | rustix::fs::OFlags::CLOEXEC;
        let lock = rustix::fs::open(&path, flags, rustix::fs::Mode::from_raw_mode(0o600));
        let lock = File::from(lock.named("open", &path).map_err(Failure::File)?);
        rustix::fs::flock(&lock, FlockOperation::LockShared).named("lock", &path).map_err(Failure::File)?;
        Ok(Pool { folder: folder.to_owned(), lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of packages, in their order.
    pub(super) fn fetch(
        &self,
        fetcher: &Fetcher,
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
            for _ in 0..PARALLEL.min(packages.len()) {
                scope.spawn(work);
            }
        });
        match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => Ok(packages.iter().map(|package| self.path(package)).collect()),
        }
    }

    fn path(&self, package: &Package<'_>) -> PathBuf {
        self.folder.join(format!("{}.deb", hex(&package.sha256)))
    }

    fn fetch_one(&self, fetcher: &Fetcher, sources: &[Source], package: &Package<'_>) -> Result<(), Failure> {
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
        let mut source =
            fetcher.open(&url, package.size)?.ok_or_else(|| Failure::NotThere { url: url.clone() })?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!("partial-{}-{count}", std::process::id()));
        // Left by a process that is gone, whose number this one has.
        file::remove_if_exists(&partial).map_err(Failure::File)?;
        let mut target = file::create_new(&partial, 0o600).map_err(Failure::File)?;
        let copied = copy(&mut source, &mut target).map_err(|source| explained(&url, package.size, source));
        let checked = copied.and_then(|(digest, size)| match (&digest, size) == (&expected, package.size) {
            true => Ok(()),
            false => Err(mismatch(&url, (&expected, package.size), (&digest, size))),
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

    fn remove_oldest(&self, keep: u64) -> file::Result<()> {
        let folder = File::from(
            rustix::fs::open(
                &self.folder,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .named("open", &self.folder)?,
        );
        let mut all = Vec::new();
        for entry in Dir::read_from(&folder).named("list", &self.folder)? {
            let name = entry.named("list", &self.folder)?.file_name().to_string_lossy().into_owned();
            let path = self.folder.join(&name);
            if name.starts_with("partial-") {
                // Nobody else is here, so nobody goes on with it.
                file::remove(&path)?;
            } else if name.ends_with(".deb") {
                let stat = rustix::fs::stat(&path).named("look at", &path)?;
                all.push((stat.st_mtime, u64::try_from(stat.st_size).unwrap_or(0), path));
            }
        }
        // The newest first.
        all.sort_by(|left, right| right.cmp(left));
        let mut total = 0;
        for (_, size, path) in all {
            total += size;
            if total > keep {
                file::remove(&path)?;
            }
        }
        Ok(())
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
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = testkit::Scratch::new();
        let pool = Pool::open(&folder.join("cache")).unwrap();
        for (age, name) in [(30, "a.deb"), (10, "b.deb"), (20, "c.deb"), (0, "partial-1-1")] {
            let file = File::create(pool.folder.join(name)).unwrap();
            file.set_len(100).unwrap();
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(time).unwrap();
        }
        pool.remove_oldest(250).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(pool.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b.deb", "c.deb", "lock"]);
    }
}
