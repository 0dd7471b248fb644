//! Digests of files of contexts, as the database keeps them: a context in which nothing has changed is not read again.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci::{Digest, Timestamp};
use rustix::fs::{Mode, OFlags};
use state::{ContextDigests, FileStamp};

use super::context::{Hashes, Identity};
use crate::{Engine, Result};

/// Bytes of a SHA-256.
const BYTES: usize = 32;

/// What is known of one directory's files, and what is learnt of them.
#[derive(Debug)]
pub(super) struct Known {
    before: ContextDigests,
    began: Timestamp,
    seen: Mutex<Vec<(FileStamp, [u8; BYTES])>>,
}

impl Known {
    /// What is known of the files at `path`.
    pub(super) fn of(engine: &Engine, path: &Path) -> Result<Known> {
        // By whatever name: the same folder is the same context.
        let path = real(path).unwrap_or_else(|| path.to_owned());
        let before = engine.state().context_digests(&path)?;
        Ok(Known { before, began: state::now(), seen: Mutex::default() })
    }

    /// Keeps what was learnt for the next build.
    pub(super) fn write(&self, engine: &Engine) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = engine.state().keep_context_digests(&self.before, &seen, self.began) {
            // They can be made again.
            tracing::warn!(%error, "cannot note the digests of a context");
        }
    }
}

impl Hashes for Known {
    fn find(&self, files: &[Identity]) -> Vec<Option<Digest>> {
        let mut seen = Vec::with_capacity(files.len());
        let found = files.iter().map(|file| {
            let stamp = stamp(file)?;
            let digest = self.before.find(&stamp)?;
            seen.push((stamp, digest));
            Some(Digest::from_sha256(digest))
        });
        let found = found.collect();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).append(&mut seen);
        found
    }

    fn keep(&self, files: &[(Identity, Digest)]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(files.iter().filter_map(|(file, digest)| Some((stamp(file)?, bytes(digest)?))));
    }

    fn forget(&self, file: &Identity) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stamp) = stamp(file) else { return };
        // As a file that has just changed: it replaces what was known, and is not kept itself.
        let changed = FileStamp { changed: i64::MAX, ..stamp };
        let _none = self.before.find(&changed);
        seen.push((changed, [0; BYTES]));
    }
}

/// A directory's own name, however it was named: as the kernel tells it of a descriptor.
fn real(path: &Path) -> Option<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let name = rustix::fs::readlink(link, Vec::new()).ok()?;
    Some(PathBuf::from(OsString::from_vec(name.into_bytes())))
}

/// Times that do not fit are those of no file that could be known.
fn stamp(file: &Identity) -> Option<FileStamp> {
    let nanoseconds = |(seconds, nanoseconds): (i64, u32)| {
        seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(nanoseconds))
    };
    Some(FileStamp {
        device: file.device,
        inode: file.inode,
        size: file.size,
        modified: nanoseconds(file.modified)?,
        changed: nanoseconds(file.changed)?,
    })
}

fn bytes(digest: &Digest) -> Option<[u8; BYTES]> {
    let digits = digest.as_str().strip_prefix("sha256:")?.as_bytes();
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::world::World;

    #[test]
    fn what_is_forgotten_is_known_to_no_build_that_follows() {
        let world = World::new();
        let session = world.session();
        let time = (1_000_000, 0);
        let identity = |inode| Identity { device: 1, inode, size: 3, changed: time, modified: time };
        let (wrong, right, digest) = (identity(1), identity(2), Digest::of(b"one"));
        let known = || Known::of(session.engine, &world.scratch).unwrap();
        let first = known();
        assert_eq!(first.find(&[wrong, right]), [None, None]);
        first.keep(&[(wrong, digest.clone()), (right, digest.clone())]);
        first.write(session.engine);
        let second = known();
        assert_eq!(second.find(&[wrong, right]), [Some(digest.clone()), Some(digest.clone())]);
        second.forget(&wrong);
        second.write(session.engine);
        assert_eq!(known().find(&[wrong, right]), [None, Some(digest)]);
    }
}
