//! One compressed stream of a pack that has been checked, read from its file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::Error;

const PORTION: usize = 32 << 10;

/// Gives what a stream holds; not to give all of it is an error.
pub(crate) struct Inflate {
    file: Arc<File>,
    at: u64,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    zlib: Decompress,
    left: u64,
}

impl Inflate {
    /// The stream at byte `at`, of `size` bytes when inflated.
    pub(crate) fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        let portion = usize::try_from(size / 2).unwrap_or(PORTION).clamp(512, PORTION);
        let buffer = vec![0; portion].into_boxed_slice();
        Self { file, at, buffer, start: 0, end: 0, zlib: Decompress::new(true), left: size }
    }
}

impl Read for Inflate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.left == 0 {
            return Ok(0);
        }
        let wrong = || io::Error::other(Error::pack("an object is not what it was when it came"));
        loop {
            if self.start == self.end {
                let read = self
                    .file
                    .read_at(&mut self.buffer, self.at)
                    .map_err(|source| io::Error::other(Error::Spool { doing: "read what came", source }))?;
                (self.start, self.end) = (0, read);
                self.at += read as u64;
            }
            let before = (self.zlib.total_in(), self.zlib.total_out());
            let ready = &self.buffer[self.start..self.end];
            let status = self.zlib.decompress(ready, buffer, FlushDecompress::None).map_err(|_| wrong())?;
            let used = usize::try_from(self.zlib.total_in() - before.0).unwrap_or(0);
            let made = self.zlib.total_out() - before.1;
            self.start += used;
            self.left = self.left.checked_sub(made).ok_or_else(wrong)?;
            if made > 0 {
                return usize::try_from(made).map_err(|_| wrong());
            }
            if used == 0 || status == Status::StreamEnd {
                return Err(wrong());
            }
        }
    }
}
