//! Programs: of an ELF file the sections, and where its memory comes from. What is in them is read by [`crate::go`] and
//! [`crate::rust`].

use std::io;

use crate::bytes::{Order, index};
use crate::{File, Told, go, rust};

/// The most sections and segments that are looked at, and the longest table of names.
const SECTIONS: u64 = 4096;
const SEGMENTS: u64 = 256;
const NAMES: u64 = 1 << 20;

/// What is known of an ELF file.
pub(crate) struct Binary<'b, 'f> {
    pub(crate) file: &'b File<'f>,
    pub(crate) order: Order,
    pub(crate) is_long: bool,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

struct Section {
    name: String,
    offset: u64,
    size: u64,
}

struct Segment {
    is_writable: bool,
    offset: u64,
    address: u64,
    size: u64,
}

pub(crate) fn look(file: &File<'_>) -> io::Result<Told> {
    if file.size < 64 {
        return Ok(Told::Nothing);
    }
    let head = file.piece(0, 64)?;
    if !head.starts_with(b"\x7fELF") {
        return Ok(Told::Nothing);
    }
    let Some(binary) = Binary::read(file, &head)? else { return Ok(Told::Bad) };
    let told = go::look(&binary)?;
    if matches!(told, Told::Nothing) { rust::look(&binary) } else { Ok(told) }
}

impl<'b, 'f> Binary<'b, 'f> {
    fn read(file: &'b File<'f>, head: &[u8]) -> io::Result<Option<Self>> {
        let (is_long, order) = match (head.get(4), head.get(5)) {
            (Some(1), Some(1)) => (false, Order::Little),
            (Some(1), Some(2)) => (false, Order::Big),
            (Some(2), Some(1)) => (true, Order::Little),
            (Some(2), Some(2)) => (true, Order::Big),
            _ => return Ok(None),
        };
        let mut binary = Self { file, order, is_long, sections: Vec::new(), segments: Vec::new() };
        let tables = binary.read_segments(head)?.is_some() && binary.read_sections(head)?.is_some();
        Ok(tables.then_some(binary))
    }

    fn read_segments(&mut self, head: &[u8]) -> io::Result<Option<()>> {
        let (order, is_long) = (self.order, self.is_long);
        let (start, places) = if is_long { (32, (54, 56)) } else { (28, (42, 44)) };
        let fields = || {
            let size = u64::from(order.u16(head, places.0)?);
            Some((order.word(head, start, is_long)?, size, u64::from(order.u16(head, places.1)?)))
        };
        let Some((offset, size, count)) = fields() else { return Ok(None) };
        if count == 0 {
            return Ok(Some(()));
        }
        let least = if is_long { 56 } else { 32 };
        if size < least || count > SEGMENTS {
            return Ok(None);
        }
        let Some(length) = index(size * count) else { return Ok(None) };
        let table = self.file.piece(offset, length)?;
        for row in table.chunks_exact(index(size).unwrap_or(1)) {
            let word = |at| order.word(row, at, is_long);
            // 64 bits: type, flags, offset, address, physical, in file; 32 bits: type, offset, address, physical, in file, in memory, flags.
            let places = if is_long { (4, 8, 16, 32) } else { (24, 4, 8, 16) };
            let fields =
                || Some((order.u32(row, places.0)?, word(places.1)?, word(places.2)?, word(places.3)?));
            let Some((flags, offset, address, size)) = fields() else { return Ok(None) };
            const LOADED: u32 = 1;
            const WRITABLE: u32 = 2;
            if order.u32(row, 0) == Some(LOADED) {
                let is_writable = flags & WRITABLE != 0;
                self.segments.push(Segment { is_writable, offset, address, size });
            }
        }
        Ok(Some(()))
    }

    fn read_sections(&mut self, head: &[u8]) -> io::Result<Option<()>> {
        let (order, is_long) = (self.order, self.is_long);
        let (start, places) = if is_long { (40, (58, 60, 62)) } else { (32, (46, 48, 50)) };
        let fields = || {
            let number = |at| order.u16(head, at).map(u64::from);
            Some((order.word(head, start, is_long)?, number(places.0)?, number(places.1)?, number(places.2)?))
        };
        let Some((offset, size, count, names)) = fields() else { return Ok(None) };
        // One that was stripped of them is a program all the same.
        if offset == 0 || count == 0 {
            return Ok(Some(()));
        }
        let least = if is_long { 64 } else { 40 };
        if size < least || count > SECTIONS {
            return Ok(None);
        }
        let Some(length) = index(size * count) else { return Ok(None) };
        let table = self.file.piece(offset, length)?;
        let rows: Vec<(usize, u64, u64)> = table
            .chunks_exact(index(size).unwrap_or(1))
            .filter_map(|row| {
                let places = if is_long { (24, 32) } else { (16, 20) };
                let word = |at| order.word(row, at, is_long);
                Some((index(order.u32(row, 0)?)?, word(places.0)?, word(places.1)?))
            })
            .collect();
        let Some((_, offset, size)) = index(names).and_then(|names| rows.get(names)) else {
            return Ok(Some(()));
        };
        if *size > NAMES {
            return Ok(None);
        }
        let names = self.file.piece(*offset, index(*size).unwrap_or(0))?;
        for (name, offset, size) in &rows {
            let name = names.get(*name..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let name =
                String::from_utf8_lossy(name.get(..64.min(name.len())).unwrap_or_default()).into_owned();
            self.sections.push(Section { name, offset: *offset, size: *size });
        }
        Ok(Some(()))
    }

    /// The content of a section; none if there is no such one, nothing of one that is larger than that.
    pub(crate) fn section(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(section) = self.sections.iter().find(|section| section.name == name) else {
            return Ok(None);
        };
        if section.size > limit {
            return Ok(Some(Vec::new()));
        }
        self.file.piece(section.offset, index(section.size).unwrap_or(0)).map(Some)
    }

    /// The beginning of the first memory that the program may write.
    pub(crate) fn data(&self, length: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(segment) = self.segments.iter().find(|segment| segment.is_writable) else { return Ok(None) };
        let length = length.min(index(segment.size).unwrap_or(usize::MAX));
        self.file.piece(segment.offset, length).map(Some)
    }

    /// What the program has at an address when it begins; less where there is less.
    pub(crate) fn memory(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let holds = |segment: &&Segment| {
            address.checked_sub(segment.address).is_some_and(|place| place < segment.size)
        };
        let Some(segment) = self.segments.iter().find(holds) else { return Ok(Vec::new()) };
        let place = address - segment.address;
        let length = length.min(index(segment.size - place).unwrap_or(usize::MAX));
        match segment.offset.checked_add(place) {
            Some(offset) => self.file.piece(offset, length),
            None => Ok(Vec::new()),
        }
    }
}
