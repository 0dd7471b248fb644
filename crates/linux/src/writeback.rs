//! Writing pages of a file to its disk before somebody has to wait for that.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// Begins to write what was written to `length` bytes of a file from `start` on, and waits for none of it. Only a sync says that it is
/// there for good; there is less left to do for it then. Errors are of no use to who has something to sync: it tells them again.
pub fn begin(file: impl AsFd, start: u64, length: u64) -> Result<()> {
    let offset = |number| i64::try_from(number).map_err(|_| Errno::OVERFLOW);
    let (start, length) = (offset(start)?, offset(length)?);
    let file = file.as_fd().as_raw_fd();
    // SAFETY: the call takes numbers alone, and the descriptor is open across it.
    match unsafe { libc::sync_file_range(file, start, length, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_takes_files_and_no_pipes() {
        let mut file: std::fs::File =
            rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into();
        file.write_all(&[1; 9000]).unwrap();
        begin(&file, 0, 4096).unwrap();
        begin(&file, 4096, 1 << 40).unwrap();
        assert_eq!(begin(&file, u64::MAX, 1), Err(Errno::OVERFLOW));
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(begin(&reader, 0, 1), Err(Errno::SPIPE));
    }
}
