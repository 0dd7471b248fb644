//! Where an archive goes: small things through a buffer, large files from kernel to kernel.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat, sendfile};
use rustix::io::{Errno, pread, write};

use super::at;
use crate::error::{Error, Result};
use crate::stop::{self, Stop};
use crate::tar::padding;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Files from this size on are not read into the buffer.
const LARGE: u64 = 64 << 10;
/// The most that the kernel is asked to copy at once.
const PORTION: usize = 32 << 20;
/// How long is waited between two looks at whether to stop.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// An open pipe, socket or file.
pub(super) struct Sink<'a> {
    out: BorrowedFd<'a>,
    stop: Option<&'a Stop<'a>>,
    buffer: Vec<u8>,
    flushed: u64,
    by_kernel: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: BorrowedFd<'a>) -> Self {
        if fstat(out).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
            // Fewer turns between writer and reader; what the system does not grant is not needed.
            let _size = rustix::pipe::fcntl_setpipe_size(out, 1 << 20);
        }
        Self { out, stop: None, buffer: Vec::with_capacity(BUFFER), flushed: 0, by_kernel: true }
    }

    /// Asks whether to stop, again and again. Of an output that is not to block, whoever takes it is waited for.
    pub(super) fn stopping(self, stop: &'a Stop<'a>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    fn check(&self) -> Result<()> {
        self.stop.map_or(Ok(()), stop::check).map_err(|source| Error::Write { source })
    }

    /// Waits until more is taken, or it is to stop.
    fn wait(&self) -> Result<()> {
        loop {
            self.check()?;
            let mut watched = [PollFd::from_borrowed_fd(self.out, PollFlags::OUT)];
            match poll(&mut watched, Some(&TURN)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Bytes taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// The buffer, to append a little to.
    pub(super) fn append(&mut self, some: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        some(&mut self.buffer);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// `length` bytes of a file from `offset` on; zeros where it has fewer.
    pub(super) fn file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64, path: &[u8]) -> Result<()> {
        let (mut at_byte, end) = (offset, offset + length);
        if length >= LARGE && self.by_kernel {
            self.flush()?;
            while at_byte < end {
                let mut from = at_byte;
                self.check()?;
                let most = usize::try_from(end - at_byte).unwrap_or(usize::MAX).min(PORTION);
                match sendfile(self.out, file, Some(&mut from), most) {
                    Ok(0) => break,
                    Ok(sent) => {
                        at_byte += sent as u64;
                        self.flushed += sent as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => self.wait()?,
                    // Not every file system can, nor every kind of output (one that was opened for appending).
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                        self.by_kernel = at_byte != offset;
                        break;
                    }
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        while at_byte < end {
            let most = usize::try_from(end - at_byte).unwrap_or(usize::MAX).min(BUFFER);
            let start = self.buffer.len();
            self.buffer.resize(start + most, 0);
            match pread(file, &mut self.buffer[start..], at_byte) {
                Ok(0) => {
                    self.buffer.truncate(start);
                    break;
                }
                Ok(read) => {
                    self.buffer.truncate(start + read);
                    at_byte += read as u64;
                }
                Err(errno) => {
                    self.buffer.truncate(start);
                    if errno != Errno::INTR {
                        return Err(at("read", path)(errno));
                    }
                }
            }
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        // It has become shorter since its header was written.
        self.zeros(end - at_byte)
    }

    /// Zeros up to a full block after `length` bytes of data.
    pub(super) fn pad(&mut self, length: u64) -> Result<()> {
        self.zeros(padding(length) as u64)
    }

    fn zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let some = usize::try_from(count).unwrap_or(usize::MAX).min(BUFFER);
            self.append(|buffer| buffer.resize(buffer.len() + some, 0))?;
            count -= some as u64;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.check()?;
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            match write(self.out.as_fd(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait()?,
                Err(errno) => return Err(failed(errno)),
            }
        }
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn failed(errno: Errno) -> Error {
    Error::Write { source: errno.into() }
}
