//! Zip archives, as far as they are needed: the list at their end, and members that are stored or deflated.

use std::io::{self, Read as _};

use flate2::read::DeflateDecoder;

use crate::File;
use crate::bytes::{Order, index, part};

const LITTLE: Order = Order::Little;
/// How far from the end the last record may begin, with its comment.
const TAIL: usize = (1 << 16) + 22;
/// The most bytes of the list, and its most members.
const LIST: usize = 32 << 20;
const MEMBERS: usize = 200_000;

/// An archive, opened.
pub(super) struct Archive<'a, 'f> {
    pub(super) file: &'a File<'f>,
    pub(super) entries: Vec<Entry>,
    /// Bytes of the list of them.
    pub(super) list: u64,
}

/// A member.
pub(super) struct Entry {
    pub(super) name: String,
    /// Bytes as they lie there.
    pub(super) size: u64,
    pub(super) is_stored: bool,
    /// Where its own head is.
    head: u64,
}

impl<'a, 'f> Archive<'a, 'f> {
    /// Reads the list of an archive; none if it is none, or larger than such archives are.
    pub(super) fn open(file: &'a File<'f>) -> io::Result<Option<Self>> {
        let length = TAIL.min(index(file.size).unwrap_or(TAIL));
        let tail = file.piece(file.size - length as u64, length)?;
        let starts = tail.len().checked_sub(22).map(|last| (0..=last).rev());
        let is_record = |at: &usize| tail.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x05\x06"));
        let Some(record) = starts.and_then(|mut starts| starts.find(is_record)) else { return Ok(None) };
        let fields = (LITTLE.u32(&tail, record + 12), LITTLE.u32(&tail, record + 16));
        let (Some(length), Some(told)) = fields else { return Ok(None) };
        // What lies before the archive moves it: programs that unpack themselves have something there.
        let end = file.size - tail.len() as u64 + record as u64;
        let Some(start) = end.checked_sub(u64::from(length)) else { return Ok(None) };
        let Some(moved) = start.checked_sub(u64::from(told)) else { return Ok(None) };
        let Some(length) = index(length).filter(|length| *length <= LIST) else { return Ok(None) };
        let list = file.piece(start, length)?;
        let bytes = list.len() as u64;
        Ok(entries(&list, moved).map(|entries| Self { file, entries, list: bytes }))
    }

    /// Where the content of a member begins.
    pub(super) fn start(&self, entry: &Entry) -> io::Result<Option<u64>> {
        let head = self.file.piece(entry.head, 30)?;
        let lengths = (LITTLE.u16(&head, 26), LITTLE.u16(&head, 28));
        let (true, (Some(name), Some(extra))) = (head.starts_with(b"PK\x03\x04"), lengths) else {
            return Ok(None);
        };
        Ok(Some(entry.head + 30 + u64::from(name) + u64::from(extra)))
    }

    /// The content of a member; none if it is damaged, or larger than that.
    pub(super) fn inflated(&self, entry: &Entry, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(start) = self.start(entry)?.filter(|_| entry.size <= limit) else { return Ok(None) };
        let bytes = self.file.piece(start, index(entry.size).unwrap_or(0))?;
        if entry.is_stored {
            return Ok(Some(bytes));
        }
        let mut content = Vec::new();
        // One byte more than it may have tells that it has too many.
        let read = DeflateDecoder::new(bytes.as_slice()).take(limit + 1).read_to_end(&mut content);
        Ok(read.is_ok().then_some(content).filter(|content| content.len() as u64 <= limit))
    }
}

fn entries(list: &[u8], moved: u64) -> Option<Vec<Entry>> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while at < list.len() && entries.len() < MEMBERS {
        let row = part(list, at, 46).filter(|row| row.starts_with(b"PK\x01\x02"))?;
        let length = |at| LITTLE.u16(row, at).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let text = String::from_utf8_lossy(part(list, at + 46, name)?).into_owned();
        at += 46 + name + extra + comment;
        let is_stored = match LITTLE.u16(row, 10)? {
            0 => true,
            8 => false,
            _ => continue,
        };
        // A ciphered one is nothing to us.
        if LITTLE.u16(row, 8)? & 1 == 0 {
            let (size, head) = (u64::from(LITTLE.u32(row, 20)?), moved + u64::from(LITTLE.u32(row, 42)?));
            entries.push(Entry { name: text, size, is_stored, head });
        }
    }
    Some(entries)
}
