//! rpm's own database.
//!
//! ```text
//! 0     RpmP, version, generation, pages of slots, …    32 bytes; all numbers little-endian
//! 32    slots, up to the end of their pages: Slot, package, place, length   both in pieces of 16 bytes
//! …     at a slot's place: BlbS, package, checksum, bytes; then the header
//! ```

use std::io;

use super::{HEADER, PACKAGES};
use crate::File;
use crate::bytes::{Order, index};

const LITTLE: Order = Order::Little;
/// Bytes of a page of slots, and of a slot.
const PAGE: usize = 4096;
const SLOT: usize = 16;

/// Shows the header of each package; none if the database is damaged.
pub(super) fn headers(file: &File<'_>, see: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Option<()>> {
    let head = file.piece(0, 32)?;
    let pages = LITTLE.u32(&head, 12).and_then(index).filter(|pages| *pages <= PACKAGES * SLOT / PAGE + 1);
    let (true, Some(pages)) = (head.starts_with(b"RpmP"), pages) else { return Ok(None) };
    let slots = file.piece(32, (pages * PAGE).saturating_sub(32))?;
    let mut is_whole = true;
    for slot in slots.chunks_exact(SLOT) {
        if !slot.starts_with(b"Slot") {
            return Ok(None);
        }
        let (package, place) = (LITTLE.u32(slot, 4).unwrap_or(0), LITTLE.u32(slot, 8).unwrap_or(0));
        // Nobody has it.
        if package == 0 || place == 0 {
            continue;
        }
        let start = u64::from(place) * 16;
        let head = file.piece(start, 16)?;
        let length = LITTLE.u32(&head, 12).and_then(index).filter(|length| *length <= HEADER);
        let is_it = head.starts_with(b"BlbS") && LITTLE.u32(&head, 4) == Some(package);
        let Some(length) = length.filter(|_| is_it) else {
            is_whole = false;
            continue;
        };
        if !see(&file.piece(start + 16, length)?) {
            break;
        }
    }
    Ok(is_whole.then_some(()))
}
