//! Where the last lines of a log begin, found from its end: only what is wanted is read.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::files::{Content, Piece};
use super::{Format, local, reader};

/// Bytes read at once.
const PORTION: usize = 64 << 10;
/// More than any entry has.
const ENTRY_LIMIT: usize = 1 << 20;

/// The place where the last lines begin: a file, which stands at its byte, and how many lines to pass over there.
pub(super) struct Start {
    pub(super) file: usize,
    pub(super) lines: u64,
}

/// Lines seen from the end.
struct Seen {
    wanted: u64,
    ends: u64,
    /// Whether any entry was seen.
    any: bool,
}

impl Seen {
    /// Takes the entry before those seen so far; true when it does not belong to what is wanted.
    fn is_too_far(&mut self, ends_line: bool) -> bool {
        // The last entry is the rest of a line that has not ended; any other such is part of the line after it.
        if ends_line || !self.any {
            if self.ends == self.wanted {
                return true;
            }
            self.ends += 1;
        }
        self.any = true;
        false
    }
}

/// How a search in one file ended.
enum Found {
    At(u64),
    /// The whole file is wanted.
    NotYet,
    /// Something in it is no entry: it has to be read forward.
    Damaged,
}

/// Positions `files`, oldest first, and says where to begin.
pub(super) fn find(files: &mut [Piece], format: Format, count: u64) -> std::io::Result<Start> {
    let mut seen = Seen { wanted: count, ends: 0, any: false };
    for (index, piece) in files.iter_mut().enumerate().rev() {
        let before = (seen.ends, seen.any);
        if let Content::Plain(file) = &mut piece.content {
            let found = match format {
                Format::Json => find_json(file, &mut seen)?,
                Format::Local => find_local(file, &mut seen)?,
            };
            match found {
                Found::At(offset) => {
                    file.seek(SeekFrom::Start(offset))?;
                    return Ok(Start { file: index, lines: 0 });
                }
                Found::NotYet => continue,
                Found::Damaged => (seen.ends, seen.any) = before,
            }
        }
        let lines = count_forward(piece, format, &mut seen)?;
        if lines > 0 {
            return Ok(Start { file: index, lines });
        }
    }
    Ok(Start { file: 0, lines: 0 })
}

/// Reads a whole file, and leaves it at its beginning; how many of its lines are too many.
fn count_forward(piece: &mut Piece, format: Format, seen: &mut Seen) -> std::io::Result<u64> {
    let (mut ends, mut last_ends, mut any) = (0_u64, true, false);
    reader::scan(piece, format, &mut |entry| {
        let mut scratch = Vec::new();
        if let Some(line) = format.parse(entry, &mut scratch) {
            last_ends = line.text.ends_with(b"\n");
            ends += u64::from(last_ends);
            any = true;
        }
    })?;
    match &mut piece.content {
        Content::Plain(file) => file.rewind()?,
        Content::Compressed(_) => piece.rewind()?,
    }
    let rest = u64::from(any && !last_ends && !seen.any);
    let wanted = (seen.wanted - seen.ends).saturating_sub(rest);
    seen.any |= any;
    seen.ends = seen.wanted.min(seen.ends + rest + ends);
    Ok(ends.saturating_sub(wanted))
}

fn find_json(file: &File, seen: &mut Seen) -> std::io::Result<Found> {
    // What lies from `from` on, up to where the entries seen so far begin.
    let mut from = file.metadata()?.len();
    let mut window: Vec<u8> = Vec::new();
    let mut is_whole = false;
    loop {
        if !is_whole && let Some(end) = memchr::memrchr(b'\n', &window) {
            // What follows is still being written.
            window.truncate(end + 1);
            is_whole = true;
        }
        let before = window.len().saturating_sub(1);
        match memchr::memrchr(b'\n', &window[..before]) {
            Some(end) if is_whole => {
                let offset = from + (end as u64) + 1;
                if seen.is_too_far(reader::ends_line(Format::Json, &window[end + 1..before])) {
                    return Ok(Found::At(from + window.len() as u64));
                }
                window.truncate(usize::try_from(offset - from).unwrap_or(0));
            }
            _ if from == 0 => {
                let is_entry = is_whole && !window.is_empty();
                if is_entry && seen.is_too_far(reader::ends_line(Format::Json, &window[..before])) {
                    return Ok(Found::At(window.len() as u64));
                }
                return Ok(Found::NotYet);
            }
            _ if window.len() > ENTRY_LIMIT => return Ok(Found::Damaged),
            _ => {
                let length = from.min(PORTION as u64);
                from -= length;
                let mut portion = vec![0; usize::try_from(length).unwrap_or(0)];
                file.read_exact_at(&mut portion, from)?;
                portion.append(&mut window);
                window = portion;
            }
        }
    }
}

fn find_local(file: &File, seen: &mut Seen) -> std::io::Result<Found> {
    let mut end = file.metadata()?.len();
    let mut window = Window::default();
    while end > 0 {
        let Some(trailer) = end.checked_sub(4) else { return Ok(Found::Damaged) };
        let length = local::length(window.get(file, trailer, 4)?).unwrap_or(0);
        let start = end.checked_sub(length as u64 + 8);
        let Some(start) = start.filter(|_| (1..=local::LIMIT).contains(&length)) else {
            return Ok(Found::Damaged);
        };
        let entry = window.get(file, start, length + 4)?;
        if local::length(entry) != Some(length) {
            return Ok(Found::Damaged);
        }
        let mut scratch = Vec::new();
        let Some(line) = local::parse(&entry[4..], &mut scratch) else { return Ok(Found::Damaged) };
        if seen.is_too_far(line.text.ends_with(b"\n")) {
            return Ok(Found::At(end));
        }
        end = start;
    }
    Ok(Found::NotYet)
}

/// The part of a file that was read last.
#[derive(Default)]
struct Window {
    from: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `length` bytes at `from`, and what lies before them with the same read.
    fn get(&mut self, file: &File, from: u64, length: usize) -> std::io::Result<&[u8]> {
        let end = from + length as u64;
        if from < self.from || end > self.from + self.bytes.len() as u64 {
            self.from = end.saturating_sub(PORTION.max(length) as u64);
            self.bytes.resize(usize::try_from(end - self.from).unwrap_or(0), 0);
            file.read_exact_at(&mut self.bytes, self.from)?;
        }
        let at = usize::try_from(from - self.from).unwrap_or(0);
        Ok(&self.bytes[at..at + length])
    }
}
