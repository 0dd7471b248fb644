//! The files of a log, within bounds.
//!
//! ```text
//! entries ─► json | local ─► one write ─► log.json
//!                             full ─► log.json.1 ─► log.json.2 ─► gone
//! ```
//!
//! What must hold: a file never grows beyond its bound unless a single line does; what is on disk is whole
//! entries, whatever the disk does; nothing here fails the container: output that cannot be written is dropped
//! and counted.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::compress::Compressor;
use super::entry::Entry;
use super::{json, local};
use crate::clock::Stamp;
use crate::plan::{LogFiles, LogFormat};

/// Bytes that are collected before they are written, so that a flood of short lines takes no more memory than one
/// of long ones.
const BATCH: usize = 64 << 10;
/// What is compressed at once where the next file is full already.
const AT_ONCE: u64 = 1 << 20;

/// The file that is written, and those before it.
#[derive(Debug)]
pub(crate) struct Store {
    files: LogFiles,
    /// The plan's attributes as every entry has them.
    attributes: Vec<u8>,
    file: Option<OwnedFd>,
    size: u64,
    pending: Vec<u8>,
    dropped_lines: u64,
    stamp: Stamp,
    compressor: Option<Compressor>,
}

impl Store {
    /// Opens the log, going on at the end of what an earlier run left.
    ///
    /// A log that cannot be opened is tried again with the next output.
    pub(crate) fn open(mut files: LogFiles) -> Store {
        let attributes = std::mem::take(&mut files.attributes);
        let attributes = match files.format {
            LogFormat::Json => json::attributes(&attributes),
            LogFormat::Local => local::attributes(&attributes),
        };
        let mut store = Store {
            files,
            attributes,
            file: None,
            size: 0,
            pending: Vec::new(),
            dropped_lines: 0,
            stamp: Stamp::default(),
            compressor: None,
        };
        // Whether it can be written is told by the first write.
        let _opened = store.reopen();
        // An earlier run may have ended before this was done.
        store.begin_compressing();
        store
    }

    /// Takes an entry; it is written with [`Store::flush`] at the latest.
    pub(crate) fn append(&mut self, entry: &Entry<'_>) {
        let before = self.pending.len();
        match self.files.format {
            LogFormat::Json => {
                self.stamp.set(entry.time_ns);
                let (stream, time) = (entry.source.name(), self.stamp.text());
                json::append_line(&mut self.pending, entry.text, stream, &self.attributes, time);
            }
            LogFormat::Local => local::append(&mut self.pending, entry, &self.attributes),
        }
        let would_be = self.size + self.pending.len() as u64;
        let is_first = self.size == 0 && before == 0;
        if self.files.max_size > 0 && would_be > self.files.max_size && !is_first {
            // The line opens the next file.
            let line = self.pending.split_off(before);
            self.write_pending();
            self.rotate();
            self.pending = line;
        }
        if self.pending.len() >= BATCH {
            self.write_pending();
        }
    }

    /// Writes what was taken, and holds no memory after that.
    pub(crate) fn flush(&mut self) {
        self.write_pending();
        self.pending = Vec::new();
    }

    /// How many lines could not be written.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }

    /// Whether the file that is written is far from full while the one before it is still being compressed.
    pub(crate) fn has_room(&self) -> bool {
        self.compressor.is_none() || self.size < self.files.max_size / 2
    }

    /// Whether there is something to do for [`Store::work`].
    pub(crate) fn is_busy(&self) -> bool {
        self.compressor.is_some()
    }

    /// Does a little of what can wait.
    pub(crate) fn work(&mut self) {
        let Some(compressor) = &mut self.compressor else { return };
        match compressor.step() {
            Ok(false) => {}
            Ok(true) => self.end_compressing(),
            Err(_) => self.compressor = None,
        }
    }

    fn begin_compressing(&mut self) {
        if self.files.compress && self.files.max_files > 1 {
            self.compressor = Compressor::begin(&self.files.path, &self.numbered(1));
        }
    }

    fn end_compressing(&mut self) {
        if let Some(compressor) = self.compressor.take() {
            // What cannot be replaced stays as it is.
            drop(compressor.replace(&self.numbered(1)));
        }
    }

    fn write_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (written, outcome) = self.write_all();
        // A torn entry would make the whole file unreadable to others: what is kept is whole ones.
        let kept = match outcome {
            Ok(()) => written,
            Err(_) => self.whole(&self.pending[..written]),
        };
        self.size += kept as u64;
        if kept < written
            && let Some(file) = &self.file
        {
            // Shrinking works on a full disk; should it fail, one entry is torn.
            let _shrunk = rustix::fs::ftruncate(file, self.size);
        }
        self.dropped_lines += match self.files.format {
            LogFormat::Json => self.pending[kept..].iter().filter(|&&byte| byte == b'\n').count() as u64,
            LogFormat::Local => local::count(&self.pending[kept..]),
        };
        self.pending.clear();
    }

    fn whole(&self, written: &[u8]) -> usize {
        match self.files.format {
            LogFormat::Json => written.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1),
            LogFormat::Local => local::whole(written),
        }
    }

    /// Writes what is pending; tells how far it came.
    fn write_all(&mut self) -> (usize, Result<(), Errno>) {
        if self.file.is_none()
            && let Err(errno) = self.reopen()
        {
            return (0, Err(errno));
        }
        let Some(file) = &self.file else { return (0, Err(Errno::BADF)) };
        let mut written = 0;
        while written < self.pending.len() {
            match rustix::io::write(file, &self.pending[written..]) {
                Ok(0) => return (written, Err(Errno::IO)),
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(errno) => return (written, Err(errno)),
            }
        }
        (written, Ok(()))
    }

    fn rotate(&mut self) {
        self.settle_compressing();
        self.file = None;
        let oldest = self.files.max_files.saturating_sub(1);
        // A name that is missing, or a rename that fails, costs an old file, never the new one.
        for number in (1..oldest).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            if self.files.compress {
                let (from, to) = (compressed(&from), compressed(&to));
                if rustix::fs::rename(&from, &to).is_ok() {
                    let _removed = rustix::fs::unlink(self.numbered(number + 1));
                    continue;
                }
            }
            if rustix::fs::rename(from, &to).is_ok() && self.files.compress {
                let _removed = rustix::fs::unlink(compressed(&to));
            }
        }
        let _moved = if oldest == 0 {
            rustix::fs::unlink(&self.files.path)
        } else {
            rustix::fs::rename(&self.files.path, self.numbered(1))
        };
        // Tried again with the next write.
        let _opened = self.reopen();
        self.begin_compressing();
    }

    /// Ends or gives up what is being compressed, whose name is about to change.
    fn settle_compressing(&mut self) {
        while let Some(compressor) = &self.compressor {
            if compressor.left() > AT_ONCE {
                self.compressor = None;
            } else {
                self.work();
            }
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.files.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&self.files.path, flags, Mode::RUSR | Mode::WUSR)?;
        self.size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        if self.files.format == LogFormat::Json && self.size > 0 && !ends_with_line_feed(&file, self.size) {
            // A line that a power loss has torn must not take the next one with it.
            self.size += rustix::io::write(&file, b"\n")? as u64;
        }
        self.file = Some(file);
        Ok(())
    }
}

fn ends_with_line_feed(file: &OwnedFd, size: u64) -> bool {
    let mut last = [0];
    rustix::io::pread(file, &mut last, size - 1).is_ok() && last == *b"\n"
}

fn compressed(name: &Path) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}
