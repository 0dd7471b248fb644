//! Whether somebody may be writing into a file, asked of the kernel by a lease that is given back at once.
//!
//! A file's times do not tell whether it is at rest. Whoever writes through a mapping changes them with his first write to each page
//! alone, until the page has been on the disk; and a large write(2) changes them before its first byte, however long the rest takes.
//! But descriptor and mapping both keep a file open for writing, and of such a file nobody gets a lease for reading (fcntl(2), "Leases").
//!
//! ```text
//! no writer when asked ──► whoever comes later changes the times with his first write, by write(2) or through a new mapping
//! ```
//!
//! That holds where [`tells_of_writers`] says so. Elsewhere not: a tmpfs changes no times for pages that were read through the mapping
//! before, overlayfs grants leases of files that are mapped and closed, and what other machines write no kernel of this one counts.

use std::os::fd::{AsFd, AsRawFd};

/// `F_SETSIG`, which `libc` has not for every C library; the same number on x86, ARM and RISC-V.
const F_SETSIG: libc::c_int = 10;
/// File systems that hold both promises, by their magic number (statfs(2)): ext2 to ext4, XFS, Btrfs, F2FS.
const TELLING: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// Whether anybody has a file open for writing, which is open for reading alone here. None if it is not told: only its owner gets an
/// answer, and who has `CAP_LEASE`, and only from file systems that have leases.
///
/// Who opens it for writing at this very moment waits until the lease is given back.
pub fn has_writer(file: impl AsFd) -> Option<bool> {
    // By default the kernel would tell of him by a signal that ends a process (SIGIO); this one is ignored unless it is asked for.
    if control(&file, F_SETSIG, libc::SIGURG) != 0 {
        return None;
    }
    if control(&file, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
        control(&file, libc::F_SETLEASE, libc::F_UNLCK);
        return Some(false);
    }
    let is_refused = std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
    is_refused.then_some(true)
}

/// Whether the file system of a file is one whose times and leases together tell of everybody who writes.
pub fn tells_of_writers(file: impl AsFd) -> bool {
    let magic = rustix::fs::fstatfs(file).ok().and_then(|found| u64::try_from(found.f_type).ok());
    magic.is_some_and(|magic| TELLING.contains(&magic))
}

fn control(file: impl AsFd, command: libc::c_int, argument: libc::c_int) -> libc::c_int {
    // SAFETY: the commands used here take a number, and no memory.
    unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, argument) }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
mod tests {
    use std::fs::{File, OpenOptions};

    use super::*;
    use crate::mapping::Mapping;

    #[test]
    fn a_mapping_writes_also_when_its_descriptor_is_closed() {
        let path = std::env::temp_dir().join(format!("skiff-lease-{}", std::process::id()));
        std::fs::write(&path, vec![1; 8192]).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(has_writer(&file), Some(false));
        let writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(has_writer(&file), Some(true));
        let mapping = Mapping::new(&writer, 8192).unwrap();
        drop(writer);
        // Elsewhere it may not be seen, which is why nobody relies on it there.
        if tells_of_writers(&file) {
            assert_eq!(has_writer(&file), Some(true), "the mapping is a writer");
        }
        drop(mapping);
        assert_eq!(has_writer(&file), Some(false));
        // Nothing is held: who wants to write does not wait.
        drop(OpenOptions::new().write(true).open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn of_what_has_no_leases_nobody_can_tell() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(has_writer(&file), None);
        assert!(!tells_of_writers(&file));
    }

    #[test]
    fn in_memory_times_tell_nothing() {
        let file = rustix::fs::memfd_create("lease", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let mut mapping = Mapping::new(&file, 4096).unwrap();
        assert_eq!(mapping.read(0), 0);
        let times = |file| rustix::fs::fstat(file).map(|stat| (stat.st_mtime, stat.st_mtime_nsec)).unwrap();
        let before = times(&file);
        let tick = || rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let start = tick();
        while tick() == start {
            std::thread::yield_now();
        }
        mapping.write(0, &[1]);
        assert_eq!(times(&file), before, "a kernel that tells: the file system may be trusted");
        assert!(!tells_of_writers(&file));
    }
}
