//! Where an archive comes from, read in blocks, and its data passed on within the kernel where that can be.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, pwrite, read};
use rustix::pipe::{SpliceFlags, splice};

use super::super::at;
use crate::error::{Error, Result};

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;
/// Data from this size on goes from kernel to kernel.
const LARGE: u64 = 32 << 10;

/// A pipe, socket or file that an archive comes from.
pub(super) struct Input<'a> {
    from: BorrowedFd<'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the archive that were taken.
    pub(super) position: u64,
    by_kernel: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(from: BorrowedFd<'a>) -> Self {
        // Fewer turns between writer and reader; only a pipe has a size.
        let is_pipe = rustix::pipe::fcntl_setpipe_size(from, 1 << 20).is_ok()
            || rustix::pipe::fcntl_getpipe_size(from).is_ok();
        Self { from, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0, by_kernel: is_pipe }
    }

    /// Reads more behind what is in the buffer; false at the end.
    fn read(&mut self) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match read(self.from, &mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// One block; `None` where the archive ends before.
    pub(super) fn block(&mut self) -> Result<Option<[u8; 512]>> {
        while self.end - self.start < 512 {
            if !self.read()? {
                return Ok(None);
            }
        }
        let mut block = [0; 512];
        block.copy_from_slice(&self.buffer[self.start..self.start + 512]);
        self.take(512);
        Ok(Some(block))
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// What is in the buffer, at most so much.
    fn held(&self, most: u64) -> usize {
        usize::try_from(most).unwrap_or(usize::MAX).min(self.end - self.start)
    }

    /// Passes over so many bytes; returns how many there were.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        while left > 0 {
            let held = self.held(left);
            self.take(held);
            left -= held as u64;
            if left > 0 && !self.read()? {
                break;
            }
        }
        Ok(count - left)
    }

    /// Writes so many bytes of the archive into a file.
    pub(super) fn copy(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64, path: &[u8]) -> Result<()> {
        let (mut to, end) = (offset, offset + length);
        while to < end {
            let held = self.held(end - to);
            if held == 0 && self.by_kernel && end - to >= LARGE {
                match self.splice(file, to, end - to) {
                    Ok(0) => return Err(cut_off(path)),
                    Ok(moved) => to += moved,
                    Err(Errno::INTR) => {}
                    Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => self.by_kernel = false,
                    Err(errno) => return Err(at("write", path)(errno)),
                }
                continue;
            }
            if held == 0 {
                if !self.read()? {
                    return Err(cut_off(path));
                }
                continue;
            }
            let written = pwrite(file, &self.buffer[self.start..self.start + held], to);
            match written {
                Ok(written) => {
                    self.take(written);
                    to += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(at("write", path)(errno)),
            }
        }
        Ok(())
    }

    fn splice(&mut self, file: BorrowedFd<'_>, to: u64, most: u64) -> Result<u64, Errno> {
        let mut offset = to;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(1 << 30);
        let moved = splice(self.from, None, file, Some(&mut offset), most, SpliceFlags::MOVE)?;
        self.position += moved as u64;
        Ok(moved as u64)
    }
}

fn cut_off(path: &[u8]) -> Error {
    at("read", path)(Errno::PIPE)
}

fn failed(errno: Errno) -> Error {
    Error::Read { entry: "the copy".to_owned(), source: errno.into() }
}
