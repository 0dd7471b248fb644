//! A database of SQLite 3, as far as the rows of one table go: its tree of pages, and content that overflows (sqlite.org,
//! "Database File Format").
//!
//! A page is what its log has for it, if there is one beside the file; else what the file has. Each is read once at most: what leads
//! in a circle leads nowhere.

use std::collections::BTreeSet;
use std::io;

use super::HEADER;
use super::log::{Found, Log};
use crate::File;
use crate::bytes::{Order, index, part};

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes before the first page's tree.
const HEAD: usize = 100;
const BIG: Order = Order::Big;

/// Shows the header of each package; none if the database is damaged.
pub(super) fn headers(file: &File<'_>, see: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Option<()>> {
    let Some(mut database) = Database::open(file)? else { return Ok(None) };
    let mut root = None;
    let schema = database.rows(1, &mut |row| {
        // type, name, name of the table, root page.
        if row.text(0) == Some(b"table") && row.text(1) == Some(b"Packages") {
            root = row.number(3);
        }
        root.is_none()
    })?;
    let (Some(()), Some(root)) = (schema, root.and_then(|root| u32::try_from(root).ok())) else {
        return Ok(None);
    };
    database.seen.clear();
    database.rows(root, &mut |row| row.text(1).is_none_or(&mut *see))
}

struct Database<'b, 'f> {
    file: &'b File<'f>,
    /// What is newer than the file.
    log: Option<Log<'b, 'f>>,
    page: usize,
    /// Bytes of a page that are used.
    usable: usize,
    pages: u64,
    seen: BTreeSet<u32>,
}

/// The values of one row: type and bytes of each.
struct Row<'r>(Vec<(u64, &'r [u8])>);

impl<'r> Row<'r> {
    fn parse(payload: &'r [u8]) -> Option<Self> {
        let (length, mut place) = varint(payload, 0)?;
        let head = payload.get(..index(length)?)?;
        let mut values = Vec::new();
        let mut data = head.len();
        // rpm's tables have two columns, that of tables five.
        while place < head.len() && values.len() < 16 {
            let (kind, next) = varint(head, place)?;
            place = next;
            let length = match kind {
                0 | 8 | 9 => 0,
                1..=4 => index(kind)?,
                5 => 6,
                6 | 7 => 8,
                10 | 11 => return None,
                kind => index((kind - 12) / 2)?,
            };
            values.push((kind, part(payload, data, length)?));
            data += length;
        }
        Some(Self(values))
    }

    /// Text or bytes.
    fn text(&self, column: usize) -> Option<&'r [u8]> {
        self.0.get(column).filter(|(kind, _)| *kind >= 12).map(|(_, bytes)| *bytes)
    }

    fn number(&self, column: usize) -> Option<u64> {
        let (kind, bytes) = self.0.get(column)?;
        match kind {
            9 => Some(1),
            1..=6 => Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))),
            _ => None,
        }
    }
}

impl<'b, 'f> Database<'b, 'f> {
    fn open(file: &'b File<'f>) -> io::Result<Option<Self>> {
        let log = match file.log.map(Log::read).transpose()? {
            Some(Found::Log(log)) => Some(log),
            Some(Found::Nothing) | None => None,
            Some(Found::Unknown) => return Ok(None),
        };
        let first = log.as_ref().map(|log| log.get(1)).transpose()?.flatten();
        let head = first.map_or_else(|| file.piece(0, HEAD), Ok)?;
        let page = match BIG.u16(&head, 16) {
            Some(1) => 1 << 16,
            Some(page) if page >= 512 && page.is_power_of_two() => usize::from(page),
            _ => return Ok(None),
        };
        let reserved = head.get(20).map_or(0, |reserved| usize::from(*reserved));
        let is_one = head.starts_with(MAGIC) && page - reserved >= 480;
        let fits = log.as_ref().is_none_or(|log| log.page == page);
        let pages = log.as_ref().map_or(file.size.div_ceil(page as u64), |log| u64::from(log.pages));
        let usable = page - reserved;
        Ok((is_one && fits).then(|| Self { file, log, page, usable, pages, seen: BTreeSet::new() }))
    }

    fn read(&self, number: u32) -> io::Result<Option<Vec<u8>>> {
        if number == 0 || u64::from(number) > self.pages {
            return Ok(None);
        }
        let newer = self.log.as_ref().map(|log| log.get(number)).transpose()?.flatten();
        let place = u64::from(number - 1) * self.page as u64;
        let page = newer.map_or_else(|| self.file.piece(place, self.page), Ok)?;
        Ok((page.len() == self.page).then_some(page))
    }

    /// Shows the rows of a table until one is enough.
    fn rows(&mut self, root: u32, see: &mut dyn FnMut(&Row<'_>) -> bool) -> io::Result<Option<()>> {
        let mut pending = vec![root];
        while let Some(number) = pending.pop() {
            if !self.seen.insert(number) {
                return Ok(None);
            }
            let Some(page) = self.read(number)? else { return Ok(None) };
            let start = if number == 1 { HEAD } else { 0 };
            let count = BIG.u16(&page, start + 3).map_or(0, usize::from);
            match page.get(start) {
                // Leads to others: those of its cells, and the last one.
                Some(0x05) => {
                    let cells = |at: usize| BIG.u32(&page, usize::from(BIG.u16(&page, start + 12 + 2 * at)?));
                    let children: Option<Vec<u32>> =
                        (0..count).map(cells).chain([BIG.u32(&page, start + 8)]).collect();
                    let Some(children) = children else { return Ok(None) };
                    pending.extend(children.into_iter().rev());
                }
                Some(0x0d) => {
                    for at in 0..count {
                        let cell = BIG.u16(&page, start + 8 + 2 * at).map(usize::from);
                        let payload = match cell {
                            Some(cell) => self.payload(&page, cell)?,
                            None => None,
                        };
                        let Some(payload) = payload else { return Ok(None) };
                        let Some(row) = Row::parse(&payload) else { return Ok(None) };
                        if !see(&row) {
                            return Ok(Some(()));
                        }
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(()))
    }

    /// All of a row, wherever it lies.
    fn payload(&mut self, page: &[u8], cell: usize) -> io::Result<Option<Vec<u8>>> {
        let head = || {
            let (length, place) = varint(page, cell)?;
            let (_, place) = varint(page, place)?;
            Some((index(length).filter(|length| *length <= HEADER)?, place))
        };
        let Some((length, place)) = head() else { return Ok(None) };
        let here = self.here(length);
        let Some(local) = part(page, place, here) else { return Ok(None) };
        let mut payload = local.to_vec();
        let mut next = BIG.u32(page, place + here);
        while payload.len() < length {
            let Some(number) = next.filter(|number| self.seen.insert(*number)) else { return Ok(None) };
            let Some(more) = self.read(number)? else { return Ok(None) };
            next = BIG.u32(&more, 0);
            let rest = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(part(&more, 4, rest).unwrap_or_default());
        }
        Ok(Some(payload))
    }

    /// How many bytes of a row lie in the page of its cell.
    fn here(&self, length: usize) -> usize {
        let most = self.usable - 35;
        if length <= most {
            return length;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.usable - 4);
        if fitting <= most { fitting } else { least }
    }
}

/// A number of one to nine bytes, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for place in 0..8 {
        let byte = *bytes.get(at.checked_add(place)?)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + place + 1));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(at.checked_add(8)?)?), at + 9))
}
