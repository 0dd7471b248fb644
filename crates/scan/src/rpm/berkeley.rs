//! A hash of Berkeley DB: its pages hold keys and values in turn, and values that are larger than a piece of a page lie in a chain of
//! other pages.
//!
//! ```text
//! page 0:  … 12 magic, 20 bytes of a page, 25 kind (8), 32 last page …
//! others:  8 number, 12 before, 16 next, 20 entries, 22 end of data, 25 kind (2, 13: entries; 7: a part of a value), 26 places of entries
//! entry:   kind (1: here; 3: elsewhere), then the bytes; or three bytes of nothing, first page, length
//! ```

use std::collections::BTreeSet;
use std::io;

use super::HEADER;
use crate::File;
use crate::bytes::{Order, index, part};

const MAGIC: u32 = 0x0006_1561;
/// Bytes of a page before its entries.
const HEAD: usize = 26;

/// Shows the header of each package; none if the database is damaged.
pub(super) fn headers(file: &File<'_>, see: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Option<()>> {
    let head = file.piece(0, 512)?;
    let order = [Order::Little, Order::Big].into_iter().find(|order| order.u32(&head, 12) == Some(MAGIC));
    let fields = |order: Order| {
        let page =
            order.u32(&head, 20).filter(|page| (512..=65_536).contains(page) && page.is_power_of_two())?;
        Some((index(page)?, order.u32(&head, 32)?))
    };
    let (Some(order), Some(8)) = (order, head.get(25)) else { return Ok(None) };
    let Some((size, last)) = fields(order) else { return Ok(None) };
    let mut hash = Hash { file, order, size, seen: BTreeSet::new() };
    let pages = u32::try_from(file.size / size as u64).unwrap_or(u32::MAX).min(last.saturating_add(1));
    let mut is_whole = true;
    for number in 1..pages {
        let page = file.piece(u64::from(number) * size as u64, size)?;
        if !matches!(page.get(25), Some(2 | 13)) {
            continue;
        }
        let count = order.u16(&page, 20).map_or(0, usize::from);
        // Keys and values in turn.
        for entry in (1..count).step_by(2) {
            let place = order.u16(&page, HEAD + 2 * entry).map(usize::from);
            let before = order.u16(&page, HEAD + 2 * (entry - 1)).map(usize::from);
            let value = match (place.and_then(|place| Some((place, page.get(place)?))), before) {
                (Some((place, 3)), _) => hash.chain(&page, place)?,
                // Entries lie from the end on: one ends where that before it begins.
                (Some((place, 1)), Some(end)) => end
                    .checked_sub(place + 1)
                    .and_then(|length| part(&page, place + 1, length))
                    .map(<[u8]>::to_vec),
                _ => None,
            };
            match value {
                // The first row counts packages, and is no header.
                Some(value) if value.len() < 16 => {}
                Some(value) => {
                    if !see(&value) {
                        return Ok(Some(()));
                    }
                }
                None => is_whole = false,
            }
        }
    }
    Ok(is_whole.then_some(()))
}

struct Hash<'b, 'f> {
    file: &'b File<'f>,
    order: Order,
    size: usize,
    seen: BTreeSet<u32>,
}

impl Hash<'_, '_> {
    /// A value of several pages.
    fn chain(&mut self, page: &[u8], place: usize) -> io::Result<Option<Vec<u8>>> {
        let order = self.order;
        let length = order.u32(page, place + 8).and_then(index).filter(|length| *length <= HEADER);
        let (Some(mut next), Some(length)) = (order.u32(page, place + 4), length) else { return Ok(None) };
        let mut value = Vec::new();
        while value.len() < length {
            if next == 0 || !self.seen.insert(next) {
                return Ok(None);
            }
            let page = self.file.piece(u64::from(next) * self.size as u64, self.size)?;
            let bytes = order.u16(&page, 22).map(usize::from).and_then(|bytes| part(&page, HEAD, bytes));
            let (Some(bytes), Some(7)) = (bytes, page.get(25)) else { return Ok(None) };
            value.extend_from_slice(bytes.get(..bytes.len().min(length - value.len())).unwrap_or_default());
            next = order.u32(&page, 16).unwrap_or(0);
        }
        Ok(Some(value))
    }
}
