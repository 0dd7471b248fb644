//! Reads the files of a log in the order in which they were written, entry by entry.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use linux::file::{self, Named};

use super::files::{self, Piece};
use super::{Format, local, tail};

/// Bytes read at once.
const PORTION: usize = 256 << 10;
/// A line of a log is cut at 16 KiB by its writer, and may be six times that as JSON: longer is not a line.
const LINE_LIMIT: usize = 1 << 20;

/// All files of a log, from where reading stands.
pub(super) struct Reader {
    path: PathBuf,
    format: Format,
    /// Being read, then what comes after it; the last is being written.
    files: VecDeque<Piece>,
    /// Lines of the program that are passed over in the first of them.
    skip: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read and not given out.
    held: std::ops::Range<usize>,
}

/// What stands at the beginning of what was read.
enum Cut {
    /// An entry, in this range, and how much is done with it.
    Entry(std::ops::Range<usize>, usize),
    /// Nothing that is an entry.
    Waste(usize),
    /// Too little to tell.
    More,
}

impl Reader {
    pub(super) fn open(path: &Path, format: Format) -> file::Result<Reader> {
        let mut reader = Reader {
            path: path.to_owned(),
            format,
            files: VecDeque::new(),
            skip: 0,
            buffer: Vec::new(),
            held: 0..0,
        };
        reader.files.extend(files::written_after(path, None)?);
        Ok(reader)
    }

    /// Goes on with the last `count` lines of the program; a line that was cut is one line.
    pub(super) fn seek_tail(&mut self, count: u64) -> file::Result<()> {
        let start = tail::find(self.files.make_contiguous(), self.format, count).named("read", &self.path)?;
        self.files.drain(..start.file);
        self.skip = start.lines;
        Ok(())
    }

    /// Every whole entry up to the present end, as long as `each` wants more. `at_rest`: nobody is writing.
    pub(super) fn read_all(
        &mut self,
        at_rest: bool,
        each: &mut dyn FnMut(&[u8]) -> bool,
    ) -> file::Result<()> {
        loop {
            // In this order: a file that has a successor is written no more.
            let after = files::written_after(&self.path, self.files.back())?;
            self.files.extend(after);
            let is_last = self.files.len() <= 1;
            if self.files.is_empty() || !self.drain(at_rest || !is_last, each)? || is_last {
                return Ok(());
            }
            // What is left of an entry has lost its end.
            self.held = 0..0;
            self.skip = 0;
            self.files.pop_front();
        }
    }

    /// Gives out what the first file holds from where it stands; whether more is wanted.
    fn drain(&mut self, is_final: bool, each: &mut dyn FnMut(&[u8]) -> bool) -> file::Result<bool> {
        loop {
            let has_more = self.fill()?;
            while !self.held.is_empty() {
                let held = &self.buffer[self.held.clone()];
                match cut(self.format, held, is_final && !has_more) {
                    Cut::Entry(range, done) => {
                        let entry = &held[range];
                        if self.skip > 0 {
                            self.skip -= u64::from(ends_line(self.format, entry));
                        } else if !each(entry) {
                            return Ok(false);
                        }
                        self.held.start += done;
                    }
                    Cut::Waste(length) => self.held.start += length,
                    Cut::More => break,
                }
            }
            if !has_more {
                return Ok(true);
            }
        }
    }

    /// Reads a portion behind what is held; false at the end of the file.
    fn fill(&mut self) -> file::Result<bool> {
        let Some(current) = self.files.front_mut() else { return Ok(false) };
        self.buffer.copy_within(self.held.clone(), 0);
        self.held = 0..self.held.len();
        if self.buffer.len() < self.held.end + PORTION {
            self.buffer.resize(self.held.end + PORTION, 0);
        }
        let length = current.read(&mut self.buffer[self.held.end..]).named("read", &self.path)?;
        self.held.end += length;
        Ok(length > 0)
    }
}

/// Hands every entry of one file to `each`, from its beginning.
pub(super) fn scan(piece: &mut Piece, format: Format, each: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let (mut buffer, mut length) = (vec![0; 2 * LINE_LIMIT], 0);
    loop {
        let read = piece.read(&mut buffer[length..])?;
        length += read;
        let mut at = 0;
        loop {
            match cut(format, &buffer[at..length], read == 0) {
                Cut::Entry(range, done) => {
                    each(&buffer[at + range.start..at + range.end]);
                    at += done;
                }
                Cut::Waste(waste) if waste > 0 => at += waste,
                Cut::Waste(_) | Cut::More => break,
            }
        }
        if read == 0 {
            return Ok(());
        }
        buffer.copy_within(at..length, 0);
        length -= at;
    }
}

/// Whether an entry ends a line of the program; what is none ends nothing.
pub(super) fn ends_line(format: Format, entry: &[u8]) -> bool {
    let mut scratch = Vec::new();
    format.parse(entry, &mut scratch).is_some_and(|line| line.text.ends_with(b"\n"))
}

/// `is_all`: nothing follows.
fn cut(format: Format, held: &[u8], is_all: bool) -> Cut {
    match format {
        Format::Json => match memchr::memchr(b'\n', held) {
            Some(end) => Cut::Entry(0..end, end + 1),
            None if held.len() > LINE_LIMIT || is_all => Cut::Waste(held.len()),
            None => Cut::More,
        },
        Format::Local => cut_local(held, is_all),
    }
}

/// Where no entry is, one is looked for at the next byte.
fn cut_local(held: &[u8], is_all: bool) -> Cut {
    let more = if is_all { Cut::Waste(1.min(held.len())) } else { Cut::More };
    let Some(length) = local::length(held) else { return more };
    if length == 0 || length > local::LIMIT {
        return Cut::Waste(1);
    }
    let Some(end) = held.get(4 + length..) else { return more };
    let Some(again) = local::length(end) else { return more };
    let mut scratch = Vec::new();
    if again == length && local::parse(&held[4..4 + length], &mut scratch).is_some() {
        return Cut::Entry(4..4 + length, length + 8);
    }
    Cut::Waste(1)
}
