//! A pack on its way in: written to its file as it comes, taken apart, hashed, and checked against its trailer.
//!
//! ```text
//! "PACK", version 2 or 3, number of objects
//! each:   kind and size · for a delta its base (a distance back, or a name) · zlib stream
//! hash of all that
//! ```
//!
//! Objects are inflated to be hashed and measured, and kept nowhere: memory is a few buffers and forty bytes for each object that
//! has come, whatever the head says will.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{Base, Entry, Kind, Pack, Trailer};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::id::{Format, Hasher, ObjectId};

/// Bytes that are read, inflated and written at once.
const PORTION: usize = 64 << 10;

/// Receives a pack into an empty file.
pub(crate) fn receive(from: impl Read, file: Arc<File>, format: Format, budget: &mut Budget) -> Result<Pack> {
    let mut input = Input::new(from, &file, format, budget);
    let mut head = [0; 12];
    for byte in &mut head {
        *byte = input.byte()?;
    }
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if head[..4] != *b"PACK" || !matches!(word(4), 2 | 3) {
        return Err(Error::pack("it does not begin as one"));
    }
    let mut entries = Vec::new();
    let mut ids = Vec::new();
    let mut inflater = Inflater::new();
    for _ in 0..word(8) {
        input.budget.take_object()?;
        let (entry, id) = input.entry(format, &mut inflater, &entries)?;
        entries.push(entry);
        ids.push(id);
    }
    let trailer = input.trailer(format)?;
    Ok(Pack::new(file, format, entries, ids, trailer))
}

/// What comes, with what is known of it up to here.
struct Input<'a, R> {
    from: R,
    file: &'a File,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where in the pack the buffer's rest begins.
    at: u64,
    hasher: Hasher,
    crc: Crc,
    budget: &'a mut Budget,
}

impl<'a, R: Read> Input<'a, R> {
    fn new(from: R, file: &'a File, format: Format, budget: &'a mut Budget) -> Self {
        let buffer = vec![0; PORTION].into_boxed_slice();
        Self { from, file, buffer, start: 0, end: 0, at: 0, hasher: format.hasher(), crc: Crc::new(), budget }
    }

    /// Makes sure that something is there; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.start == self.end {
            let read = match self.from.read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::of_reading(error)),
            };
            self.budget.take_pack(read as u64)?;
            let written = self.file.write_all_at(&self.buffer[..read], self.at);
            written.map_err(|source| Error::Spool { doing: "write what comes", source })?;
            (self.start, self.end) = (0, read);
        }
        Ok(true)
    }

    fn must_fill(&mut self) -> Result<()> {
        match self.fill()? {
            true => Ok(()),
            false => Err(Error::pack("it ends in the middle")),
        }
    }

    fn consume(&mut self, count: usize) {
        let taken = &self.buffer[self.start..self.start + count];
        self.hasher.update(taken);
        self.crc.update(taken);
        self.start += count;
        self.at += count as u64;
    }

    fn byte(&mut self) -> Result<u8> {
        self.must_fill()?;
        let byte = self.buffer[self.start];
        self.consume(1);
        Ok(byte)
    }

    fn entry(
        &mut self,
        format: Format,
        inflater: &mut Inflater,
        before: &[Entry],
    ) -> Result<(Entry, Option<ObjectId>)> {
        let at = self.at;
        self.crc.reset();
        let (code, size) = self.head()?;
        let (kind, base) = match code {
            1..=4 => (Kind::of_code(code), Base::None),
            6 => (None, Base::Entry(self.base_entry(at, before)?)),
            7 => {
                let mut raw = [0; 32];
                let raw = &mut raw[..format.length()];
                for byte in &mut *raw {
                    *byte = self.byte()?;
                }
                let id =
                    ObjectId::from_bytes(format, raw).ok_or_else(|| Error::pack("a base has no name"))?;
                (None, Base::Id(Box::new(id)))
            }
            _ => return Err(Error::pack(format!("an object of kind {code} at byte {at}"))),
        };
        let data = self.at;
        let mut hasher = match kind {
            Some(kind) => {
                self.budget.take_content(size)?;
                Some(kind.begin_hash(format, size))
            }
            None => None,
        };
        inflater.run(self, size, |part| {
            if let Some(hasher) = &mut hasher {
                hasher.update(part);
            }
        })?;
        let id = hasher.map(Hasher::finish).transpose()?;
        Ok((Entry { at, data, size, crc: self.crc.sum(), kind, base, depth: 0 }, id))
    }

    /// Kind and size: three bits and four of the first byte, seven of each that follows.
    fn head(&mut self) -> Result<(u8, u64)> {
        let first = self.byte()?;
        let mut size = u64::from(first & 15);
        let (mut shift, mut last) = (4, first);
        while last & 0x80 != 0 {
            last = self.byte()?;
            if shift > 56 {
                return Err(Error::pack("a size beyond all sizes"));
            }
            size |= u64::from(last & 0x7f) << shift;
            shift += 7;
        }
        Ok((first >> 4 & 7, size))
    }

    /// The base that is named by its distance, which an earlier object must begin at.
    fn base_entry(&mut self, at: u64, before: &[Entry]) -> Result<u32> {
        let mut byte = self.byte()?;
        let mut distance = u64::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            distance = distance
                .checked_add(1)
                .filter(|distance| *distance < 1 << 56)
                .ok_or_else(|| Error::pack("a distance beyond all distances"))?;
            distance = distance << 7 | u64::from(byte & 0x7f);
        }
        let base = at.checked_sub(distance);
        let place = base.and_then(|base| before.binary_search_by_key(&base, |entry| entry.at).ok());
        place
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| Error::pack(format!("no object begins {distance} bytes before byte {at}")))
    }

    fn trailer(&mut self, format: Format) -> Result<Trailer> {
        let found = self.hasher.clone().finish()?;
        let at = self.at;
        let mut raw = [0; 32];
        let raw = &mut raw[..format.length()];
        for byte in &mut *raw {
            *byte = self.byte()?;
        }
        if found.as_bytes() != raw {
            return Err(Error::pack("its content is not what its last bytes say"));
        }
        match self.fill()? {
            true => Err(Error::pack("something follows its end")),
            false => Ok(Trailer { id: found, at }),
        }
    }
}

/// Inflates one stream after the other.
struct Inflater {
    zlib: Decompress,
    buffer: Box<[u8]>,
}

impl Inflater {
    fn new() -> Self {
        Self { zlib: Decompress::new(true), buffer: vec![0; PORTION].into_boxed_slice() }
    }

    /// One stream, which must give `size` bytes.
    fn run<R: Read>(
        &mut self,
        input: &mut Input<'_, R>,
        size: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<()> {
        let wrong = |at: u64, why: &str| Error::pack(format!("an object before byte {at} {why}"));
        self.zlib.reset(true);
        loop {
            // Few bytes may become many.
            input.budget.go_on()?;
            input.must_fill()?;
            let before = (self.zlib.total_in(), self.zlib.total_out());
            let ready = &input.buffer[input.start..input.end];
            let status = self.zlib.decompress(ready, &mut self.buffer, FlushDecompress::None);
            let status = status.map_err(|_| wrong(input.at, "is not compressed as it should be"))?;
            let used = usize::try_from(self.zlib.total_in() - before.0).unwrap_or(0);
            let made = usize::try_from(self.zlib.total_out() - before.1).unwrap_or(0);
            input.consume(used);
            if self.zlib.total_out() > size {
                return Err(wrong(input.at, "is larger than it says"));
            }
            take(&self.buffer[..made]);
            match status {
                Status::StreamEnd if self.zlib.total_out() == size => return Ok(()),
                Status::StreamEnd => return Err(wrong(input.at, "is smaller than it says")),
                Status::Ok | Status::BufError if used == 0 && made == 0 => {
                    return Err(wrong(input.at, "is not compressed as it should be"));
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}
