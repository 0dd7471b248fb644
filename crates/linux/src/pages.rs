//! What the page cache holds of a file.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// `SYS_cachestat`, since Linux 6.5; the same number on every architecture.
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range`
#[repr(C)]
struct Range {
    start: u64,
    length: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Found {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether the page cache has all of `length` bytes of a file from `start` on, so that whoever sends them does not wait for a disk:
/// but for one page that is being read at this moment. `false` where the kernel does not tell.
pub fn are_cached(file: impl AsFd, start: u64, length: u64) -> bool {
    let page = rustix::param::page_size() as u64;
    let Some(last) = start.checked_add(length).and_then(|end| end.checked_sub(1)).filter(|_| length > 0)
    else {
        return false;
    };
    let (range, mut found) = (Range { start, length }, Found::default());
    // SAFETY: both structures live across the call and have the kernel's layout; the kernel reads the first and writes the second.
    let result = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_fd().as_raw_fd(),
            std::ptr::from_ref(&range),
            std::ptr::from_mut(&mut found),
            0_u32,
        )
    };
    const { assert!(size_of::<Range>() == 16 && size_of::<Found>() == 40) };
    result == 0 && found.cached > last / page - start / page
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn pages_are_counted_whatever_part_of_them_is_asked_for() {
        let page = rustix::param::page_size() as u64;
        let mut file = tempfile_in_memory();
        file.write_all(&vec![1; usize::try_from(page * 3 + 1).unwrap()]).unwrap();
        if !are_cached(&file, 0, 1) {
            // Older kernels do not tell.
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
            return;
        }
        for (start, length, cached) in [
            (0, page * 3 + 1, true),
            (page - 1, 2, true),
            (page * 3, 1, true),
            (0, 0, false),
            (page * 3, page + 1, false),
            (page * 4, 1, false),
            (u64::MAX, 2, false),
        ] {
            assert_eq!(are_cached(&file, start, length), cached, "{length} from {start} on");
        }
    }

    fn tempfile_in_memory() -> std::fs::File {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        rustix::fs::memfd_create("pages", flags).unwrap().into()
    }
}
