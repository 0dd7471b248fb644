//! Reads files of a context: for their digests, by all processors at once, and for what is copied.
//!
//! What is copied must be what was hashed, for the digest is part of the key that leads to the copy. Mostly a file's times tell that it
//! has not changed between the two, for the price of looking at them. A file is doubted where they do not:
//!
//! - it was changed within the last tick of the clock, and may be again within the same;
//! - somebody has it open for writing or mapped, whose next writes may not show, or nobody can tell ([`linux::lease`]);
//! - its file system tells of no such writers, or not of all: tmpfs, overlayfs, those of the network and of user space.
//!
//! Of a file that is doubted the very bytes that are copied are hashed once more ([`Copied`]), and one that differs is an error, as is one
//! whose times differ. That costs some microseconds by the file or a second by the GB, and only where a copy is made.
//!
//! Writers are asked for when a file is read for its digest, before the first byte: whoever comes later is seen by the times. A digest that
//! is kept for later builds was made without a writer, so a file of which it is known is asked nothing: a context in which nothing
//! has changed costs no call more. On the other file systems a known digest is doubted as any, and forgotten once it proves wrong.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use build::Cancel;
use image::tar::Xattr;
use oci::{Digest, Hasher};
use rustix::fs::{FileType, OFlags, Stat, fstat};

use super::{Files, Identity, Item, Seen, shown};
use crate::Result;
use crate::build::BuildError;
use crate::build::copy::CopyError;
use crate::build::parallel;

/// Files whose digests are looked up at once, and bytes that are hashed in the time that one of them takes.
const SOME: usize = 256;
const LOOK: u64 = 1 << 10;
/// A file that was changed so short a time before may change again within the same tick of its clock.
const TICK_MILLIS: i64 = 100;
/// The same for a digest that outlives this build, whatever the file system's clock.
const LASTING_MILLIS: i64 = 2000;

/// What a file was when it was read.
#[derive(Clone, Debug)]
pub(in crate::build) struct Hashed {
    pub(super) identity: Identity,
    /// Of its content.
    pub(in crate::build) digest: Digest,
    pub(in crate::build) xattrs: Arc<[Xattr]>,
    /// That it is the same cannot be told by its times.
    is_doubtful: bool,
    /// The digest may be kept for later builds.
    lasts: bool,
}

/// What was copied of a file that is doubted, hashed once more. Holes need not be shown.
pub(in crate::build) struct Copied {
    hasher: Hasher,
    end: u64,
}

impl Copied {
    /// Takes the bytes that were copied from an offset on, behind those before.
    pub(in crate::build) fn take(&mut self, offset: u64, bytes: &[u8]) {
        self.skip_to(offset);
        self.hasher.update(bytes);
        self.end += bytes.len() as u64;
    }

    fn skip_to(&mut self, offset: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.end < offset {
            let part = usize::try_from(offset - self.end).unwrap_or(usize::MAX).min(ZEROS.len());
            self.hasher.update(&ZEROS[..part]);
            self.end += part as u64;
        }
    }

    fn finish(mut self, size: u64) -> Digest {
        self.skip_to(size);
        self.hasher.finish()
    }
}

impl Files {
    /// Makes the digests of files known. `progress` is told of each file how many bytes it has.
    pub(in crate::build) fn hash(
        &self,
        items: &[&Seen],
        cancel: &Cancel,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let items = self.unknown(items, cancel, progress)?;
        let bytes = items.iter().map(|item| item.identity.size).sum();
        let made: Mutex<Vec<(Identity, Digest)>> = Mutex::default();
        parallel::each(&items, bytes, &|item: &&Seen, buffer: &mut [u8]| {
            let hashed = self.hash_one(item, buffer, cancel)?;
            progress(hashed.identity.size);
            if hashed.lasts {
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                made.push((hashed.identity, hashed.digest.clone()));
            }
            item.hashed.get_or_init(|| hashed);
            Ok(())
        })?;
        let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !made.is_empty() {
            self.hashes.keep(&made);
        }
        Ok(())
    }

    /// Which of some files must be read for their digests: not those that have one, or were read by a build before.
    fn unknown<'i>(
        &self,
        items: &[&'i Seen],
        cancel: &Cancel,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<&'i Seen>> {
        let is_new = |item: &&&Seen| item.hashed.get().is_none() && item.kind == FileType::RegularFile;
        let items: Vec<&Seen> = items.iter().filter(is_new).copied().collect();
        let unknown: Mutex<Vec<&Seen>> = Mutex::default();
        let some: Vec<&[&Seen]> = items.chunks(SOME).collect();
        // Worth the threads that as many files are.
        let bytes = items.len() as u64 * LOOK;
        parallel::each(&some, bytes, &|some: &&[&'i Seen], _: &mut [u8]| {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            let identities: Vec<Identity> = some.iter().map(|item| item.identity).collect();
            let known = self.hashes.find(&identities).into_iter().chain(std::iter::repeat(None));
            let mut missing = Vec::new();
            for (item, digest) in some.iter().zip(known) {
                let Some(digest) = digest else {
                    missing.push(*item);
                    continue;
                };
                progress(item.identity.size);
                let (identity, xattrs) = (item.identity, Arc::default());
                let is_doubtful = !self.tells_of_writers(&identity);
                let hashed = Hashed { identity, digest, xattrs, is_doubtful, lasts: false };
                item.hashed.get_or_init(|| hashed);
            }
            unknown.lock().unwrap_or_else(PoisonError::into_inner).append(&mut missing);
            Ok(())
        })?;
        let mut unknown = unknown.into_inner().unwrap_or_else(PoisonError::into_inner);
        unknown.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        unknown.dedup_by(|one, other| one.path == other.path);
        Ok(unknown)
    }

    fn hash_one(&self, item: &Item, buffer: &mut [u8], cancel: &Cancel) -> Result<Hashed> {
        let file = self.open_file(item)?;
        let mut before = self.examine(&file, item)?;
        let xattrs: Arc<[Xattr]> = kept(image::files::xattrs(file.as_fd())).into();
        // Once more if it changes meanwhile, for whoever writes it may be done by then.
        for _ in 0..2 {
            let writer = linux::lease::has_writer(&file);
            let is_at_rest = writer == Some(false) && self.tells_of_writers(&before);
            let is_doubtful = !is_at_rest || before.is_recent(TICK_MILLIS);
            // What is known needs no look at the file, and so has no attributes; those change its times, too.
            let lasts = writer != Some(true) && !before.is_recent(LASTING_MILLIS) && xattrs.is_empty();
            let digest = self.read(&file, &before, item, buffer, cancel)?;
            let after = self.examine(&file, item)?;
            if let Some(digest) = digest.filter(|_| after == before) {
                return Ok(Hashed { identity: before, digest, xattrs, is_doubtful, lasts });
            }
            before = after;
        }
        Err(CopyError::Changed { path: shown(&item.path) }.into())
    }

    /// The digest of as many bytes as it had; none if it has fewer.
    fn read(
        &self,
        file: &File,
        seen: &Identity,
        item: &Item,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<Digest>> {
        let mut hasher = Hasher::sha256();
        let mut offset = 0;
        while offset < seen.size {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            let most = usize::try_from(seen.size - offset).unwrap_or(usize::MAX).min(buffer.len());
            match file.read_at(&mut buffer[..most], offset) {
                Ok(0) => return Ok(None),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let (name, path) = (self.name.clone(), shown(&item.path));
                    return Err(CopyError::Read { action: "read", path, name, source }.into());
                }
            }
        }
        Ok(Some(hasher.finish()))
    }

    fn open_file(&self, item: &Item) -> Result<File> {
        // Should it have become a pipe meanwhile, that is not waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file: OwnedFd = self.open_at(&item.path, flags).map_err(self.failed("open", &item.path))?;
        Ok(file.into())
    }

    fn examine(&self, file: &File, item: &Item) -> Result<Identity> {
        Ok(Identity::of(&self.stat(file, item)?))
    }

    fn stat(&self, file: &File, item: &Item) -> Result<Stat> {
        let stat = fstat(file).map_err(self.failed("examine", &item.path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(CopyError::Changed { path: shown(&item.path) }.into());
        }
        Ok(stat)
    }

    /// Opens a file that was hashed, for a copy of its content; [`Files::check`] is to be asked afterwards. What the kernel says of
    /// it, too.
    pub(in crate::build) fn open_hashed(&self, item: &Item) -> Result<(File, Stat)> {
        let file = self.open_file(item)?;
        let stat = self.check_times(&file, item)?;
        Ok((file, stat))
    }

    /// Whether times and leases tell of all who write to a file.
    fn tells_of_writers(&self, identity: &Identity) -> bool {
        self.telling == Some(identity.device)
    }

    /// What is to be shown all that is copied of a file, if it is doubted.
    pub(in crate::build) fn doubt(&self, item: &Item) -> Option<Copied> {
        let is_doubtful = item.hashed.get().is_some_and(|hashed| hashed.is_doubtful);
        is_doubtful.then(|| Copied { hasher: Hasher::sha256(), end: 0 })
    }

    /// Makes sure that what was copied of a file is what was hashed.
    pub(in crate::build) fn check(&self, file: &File, item: &Item, copied: Option<Copied>) -> Result<()> {
        self.check_times(file, item)?;
        let Some(copied) = copied else { return Ok(()) };
        let identity = item.identity();
        if item.digest() == Some(&copied.finish(identity.size)) {
            return Ok(());
        }
        self.hashes.forget(identity);
        Err(CopyError::Changed { path: shown(&item.path) }.into())
    }

    fn check_times(&self, file: &File, item: &Item) -> Result<Stat> {
        let stat = self.stat(file, item)?;
        if Identity::of(&stat) == *item.identity() {
            return Ok(stat);
        }
        Err(CopyError::Changed { path: shown(&item.path) }.into())
    }

    /// The attributes of a directory that are copied.
    pub(in crate::build) fn directory_xattrs(&self, item: &Item) -> Result<Vec<Xattr>> {
        let opened = self
            .open_at(&item.path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(self.failed("open", &item.path))?;
        Ok(kept(image::files::xattrs(opened.as_fd())))
    }
}

/// Attributes that mean the same everywhere: those of users, and capabilities.
fn kept(mut xattrs: Vec<Xattr>) -> Vec<Xattr> {
    xattrs.retain(|xattr| xattr.name.starts_with(b"user.") || *xattr.name == *b"security.capability");
    xattrs
}

/// Adds up what several threads tell, and passes on each further MiB.
pub(in crate::build) fn counted(tell: impl Fn(u64) + Sync) -> impl Fn(u64) + Sync {
    let total = AtomicU64::new(0);
    move |bytes| {
        let before = total.fetch_add(bytes, Ordering::Relaxed);
        if (before + bytes) >> 20 > before >> 20 {
            tell(before + bytes);
        }
    }
}
