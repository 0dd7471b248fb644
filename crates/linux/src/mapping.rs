//! A file in memory, shared with everybody who has it: what is written to it is in the file at once, and its times may not tell.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use rustix::io::{Errno, Result};

/// The beginning of a file that is open for reading and writing. It stays when the file is closed, and is given back when dropped.
///
/// Whoever touches what lies behind the end of the file, which may have become shorter meanwhile, is ended by SIGBUS.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: it owns its part of the address space, which any thread may use.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps so many bytes of a file.
    pub fn new(file: impl AsFd, length: usize) -> Result<Mapping> {
        let length = NonZeroUsize::new(length).ok_or(Errno::INVAL)?;
        let (rights, descriptor) = (libc::PROT_READ | libc::PROT_WRITE, file.as_fd().as_raw_fd());
        // SAFETY: the kernel chooses a place that nothing else has.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length.get(), rights, libc::MAP_SHARED, descriptor, 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(place) if start != libc::MAP_FAILED => Ok(Mapping { start: place, length }),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    }

    /// The byte at an offset.
    ///
    /// # Panics
    /// If that is not mapped.
    #[must_use]
    pub fn read(&self, offset: usize) -> u8 {
        assert!(offset < self.length.get(), "behind the end of the mapping");
        // SAFETY: the byte lies within the mapping; others may change it at any time, so it is read once.
        unsafe { self.start.as_ptr().add(offset).read_volatile() }
    }

    /// Writes bytes from an offset on.
    ///
    /// # Panics
    /// If that much is not mapped.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.length.get()), "behind the end of the mapping");
        for (at, byte) in bytes.iter().enumerate() {
            // SAFETY: the byte lies within the mapping, to which nothing refers.
            unsafe { self.start.as_ptr().add(offset + at).write_volatile(*byte) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is all of what was mapped, and nothing refers to it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length.get()) };
    }
}
