//! Digests of files that were read before.

use oci::Digest;
use rustix::fs::Stat;

/// What the kernel says of a file: as long as all of it is the same, so is its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::build) struct Identity {
    /// The device.
    pub(in crate::build) device: u64,
    /// The inode.
    pub(in crate::build) inode: u64,
    /// Bytes.
    pub(in crate::build) size: u64,
    /// Time of the last change of the inode, which nobody can set: seconds and nanoseconds.
    pub(in crate::build) changed: (i64, u32),
    /// Time of the last modification.
    pub(in crate::build) modified: (i64, u32),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        let time = |secs, nanos| (secs, u32::try_from(nanos).unwrap_or(0));
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
        }
    }

    /// Whether it was changed within so many milliseconds of now, or in the future: it may change again without that it shows.
    pub(super) fn is_recent(&self, millis: i64) -> bool {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let passed = now.tv_sec.saturating_sub(self.changed.0).saturating_mul(1000);
        passed.saturating_add((now.tv_nsec - i64::from(self.changed.1)) / 1_000_000) < millis
    }
}

/// Where digests of files are kept. What cannot be read from it is not known.
pub(in crate::build) trait Hashes: Send + Sync {
    /// The digests of files, as far as they are known, in order.
    fn find(&self, files: &[Identity]) -> Vec<Option<Digest>>;

    /// Keeps digests.
    fn keep(&self, files: &[(Identity, Digest)]);

    /// Forgets the digest of a file, which proved to be another's.
    fn forget(&self, file: &Identity);
}
