//! Reads files of a context: for their digests, by all processors at once, and for what is copied.

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

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
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
    is_fresh: bool,
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
            // What is known needs no look at the file, and so has no attributes; those change its times, too.
            if !hashed.identity.is_recent(LASTING_MILLIS) && hashed.xattrs.is_empty() {
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
                let hashed =
                    Hashed { identity: item.identity, digest, xattrs: Arc::default(), is_fresh: false };
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
            let is_fresh = before.is_recent(TICK_MILLIS);
            let digest = self.read(&file, &before, item, buffer, cancel)?;
            let after = self.examine(&file, item)?;
            if let Some(digest) = digest.filter(|_| after == before) {
                return Ok(Hashed { identity: before, digest, xattrs, is_fresh });
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

    /// Makes sure that what was read of a file is what was hashed.
    pub(in crate::build) fn check(&self, file: &File, item: &Item, cancel: &Cancel) -> Result<()> {
        self.check_times(file, item)?;
        let Some(hashed) = item.hashed.get().filter(|hashed| hashed.is_fresh) else { return Ok(()) };
        let digest = self.read(file, &hashed.identity, item, &mut vec![0; BUFFER], cancel)?;
        if digest.as_ref() == Some(&hashed.digest) {
            return Ok(());
        }
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
