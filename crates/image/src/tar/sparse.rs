//! Sparse maps: where the data of a file with holes belongs.
//!
//! Every format boils down to offsets and lengths of pieces whose data follow each other in the archive.
//! They must ascend, not overlap, end within the real size, and add up to exactly the data that is stored:
//! a map that lies would otherwise let a file show bytes of its neighbours.

use super::error::{Defect, Field};
use super::header::unsigned;
use super::pax::decimal;
use super::{Content, Extent, Limits};

/// Bytes of one item of an old GNU map: offset and length, 12 bytes each.
const ITEM: usize = 24;

/// Adds the items of an old GNU header or extension block. A blank item ends the map.
pub(super) fn add_old_items(items: &[u8], map: &mut Vec<u64>, limits: &Limits) -> Result<(), Defect> {
    for item in items.chunks_exact(ITEM) {
        if item.iter().all(|&byte| byte == 0) {
            break;
        }
        map.push(unsigned(&item[..12], Field::SparseMap)?);
        map.push(unsigned(&item[12..], Field::SparseMap)?);
    }
    check_count(map.len() as u64 / 2, limits)
}

/// Turns offsets and lengths in turn into extents; the data starts at `source` and has `stored` bytes.
pub(super) fn content(map: &[u64], source: u64, stored: u64, real: u64) -> Result<Content, Defect> {
    let (pairs, rest) = map.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Defect::SparseMap("an offset has no length"));
    }
    let mut extents = Vec::with_capacity(pairs.len());
    let (mut end, mut used) = (0, 0_u64);
    for &[offset, length] in pairs {
        if offset < end {
            return Err(Defect::SparseMap("its pieces overlap or are out of order"));
        }
        end = offset
            .checked_add(length)
            .filter(|&end| end <= real)
            .ok_or(Defect::SparseMap("a piece lies beyond the end of the file"))?;
        if length > 0 {
            extents.push(Extent { offset, source: source + used, length });
        }
        // No overflow: the pieces are disjoint and lie within `real`.
        used += length;
    }
    if used != stored {
        return Err(Defect::SparseMap("its pieces do not add up to the size of the data"));
    }
    Ok(Content::sparse(real, extents))
}

/// Reads the map of format 1.0, which stands as lines of decimal numbers before the data: first how many
/// pieces, then offset and length of each; padded to whole blocks.
#[derive(Debug, Default)]
pub(super) struct TextMap {
    digits: Vec<u8>,
    pieces: Option<u64>,
    map: Vec<u64>,
}

impl TextMap {
    /// Takes one block; returns the map once it is whole.
    pub(super) fn add(&mut self, block: &[u8], limits: &Limits) -> Result<Option<Vec<u64>>, Defect> {
        for &byte in block {
            if byte != b'\n' {
                // Longer than any 64-bit number: stop before it grows.
                if self.digits.len() >= 20 {
                    return Err(Defect::NotANumber(Field::SparseMap));
                }
                self.digits.push(byte);
                continue;
            }
            let value = decimal(&self.digits, Field::SparseMap)?;
            self.digits.clear();
            match self.pieces {
                None => {
                    check_count(value, limits)?;
                    self.pieces = Some(value);
                }
                Some(_) => self.map.push(value),
            }
            if self.pieces.is_some_and(|pieces| self.map.len() as u64 == 2 * pieces) {
                return Ok(Some(std::mem::take(&mut self.map)));
            }
        }
        Ok(None)
    }
}

fn check_count(pieces: u64, limits: &Limits) -> Result<(), Defect> {
    if pieces > limits.sparse_extents as u64 {
        let limit = limits.sparse_extents as u64;
        return Err(Defect::Limit { what: "the number of pieces of a sparse file", limit });
    }
    Ok(())
}
