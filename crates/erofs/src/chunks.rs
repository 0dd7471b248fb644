//! Maps a file's data onto a grid of chunks, each of which is a hole, or points into a device, or (where
//! data does not fit the grid) is copied into the index.
//!
//! A chunk has a power of two of blocks, the same for all of a file. A file without holes needs one chunk,
//! as a chunk may be as large as a terabyte. For a file with holes the size is chosen that costs least
//! index: small chunks make a long table, large ones catch the edges of pieces, which must be copied.

use crate::disk::CHUNK_INDEX;
use crate::{BLOCK, Extent};

/// The format has five bits for the chunk size.
const MOST_BITS: u32 = 31;

/// A grid of chunks for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// A chunk has 2 to the power of this many blocks.
    pub(crate) bits: u32,
    /// How many chunks the file has.
    pub(crate) chunks: u64,
    /// Blocks that the copied chunks take.
    pub(crate) copied_blocks: u64,
}

/// What one chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Hole,
    Direct {
        device: u16,
        source: u64,
    },
    /// To be assembled from the device's bytes and zeros: bytes of the file from `offset` on.
    Copied {
        offset: u64,
        length: u64,
    },
}

impl Grid {
    /// The cheapest grid for a file of `size` bytes, which is not 0.
    pub(crate) fn choose(size: u64, extents: &[Extent]) -> Self {
        if let [only] = extents
            && only.length == size
            && is_aligned(only)
        {
            let bits = bits_to_hold(size);
            return Self { bits, chunks: size.div_ceil(BLOCK << bits), copied_blocks: 0 };
        }
        let largest = Self::of(size, extents, bits_to_hold(size));
        (0..largest.bits)
            .rev()
            .map(|bits| Self::of(size, extents, bits))
            .fold(largest, |best, grid| if grid.cost() < best.cost() { grid } else { best })
    }

    fn of(size: u64, extents: &[Extent], bits: u32) -> Self {
        let grid = Self { bits, chunks: size.div_ceil(BLOCK << bits), copied_blocks: 0 };
        let blocks = |chunk: u64| {
            let offset = chunk * grid.bytes();
            (size - offset).min(grid.bytes()).div_ceil(BLOCK)
        };
        // Only the first and last chunk of a piece can be partly covered; the ones between are all its own.
        let mut copied_blocks = 0;
        let mut counted = None;
        for extent in extents {
            let (first, last) =
                (extent.offset / grid.bytes(), (extent.offset + extent.length - 1) / grid.bytes());
            if !is_aligned(extent) {
                let from = if counted == Some(first) { first + 1 } else { first };
                if from <= last {
                    copied_blocks += blocks(last) + (last - from) * (grid.bytes() / BLOCK);
                }
                counted = Some(last);
                continue;
            }
            for chunk in [first, last] {
                if counted != Some(chunk) && !grid.is_covered(chunk, size, extent) {
                    copied_blocks += blocks(chunk);
                    counted = Some(chunk);
                }
            }
        }
        Self { copied_blocks, ..grid }
    }

    /// Bytes of index that the grid takes.
    pub(crate) fn cost(&self) -> u64 {
        self.chunks * CHUNK_INDEX + self.copied_blocks * BLOCK
    }

    /// Bytes of a chunk.
    fn bytes(&self) -> u64 {
        BLOCK << self.bits
    }

    /// Whether all of a chunk that lies within the file lies within `extent`.
    fn is_covered(&self, chunk: u64, size: u64, extent: &Extent) -> bool {
        let start = chunk * self.bytes();
        let end = (start + self.bytes()).min(size);
        extent.offset <= start && end <= extent.offset + extent.length
    }

    /// The chunks in order.
    pub(crate) fn chunks<'a>(
        &self,
        size: u64,
        extents: &'a [Extent],
    ) -> impl Iterator<Item = Chunk> + use<'a> {
        let grid = *self;
        let mut rest = extents;
        (0..grid.chunks).map(move |chunk| {
            let start = chunk * grid.bytes();
            let length = (size - start).min(grid.bytes());
            while let Some((first, after)) = rest.split_first()
                && first.offset + first.length <= start
            {
                rest = after;
            }
            match rest.first() {
                Some(extent) if extent.offset < start + length => {
                    if is_aligned(extent) && grid.is_covered(chunk, size, extent) {
                        Chunk::Direct {
                            device: extent.device,
                            source: extent.source + (start - extent.offset),
                        }
                    } else {
                        Chunk::Copied { offset: start, length }
                    }
                }
                _ => Chunk::Hole,
            }
        })
    }
}

/// Whether the blocks of the file are blocks of the device.
fn is_aligned(extent: &Extent) -> bool {
    extent.source % BLOCK == extent.offset % BLOCK
}

/// The smallest chunk that holds `size` bytes, as far as the format goes.
fn bits_to_hold(size: u64) -> u32 {
    size.div_ceil(BLOCK).next_power_of_two().trailing_zeros().min(MOST_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(offset: u64, source: u64, length: u64) -> Extent {
        Extent { offset, device: 0, source, length }
    }

    #[test]
    fn a_file_without_holes_is_one_chunk() {
        for (size, bits) in [(1, 0), (512, 0), (513, 1), (1 << 30, 21), (1 << 40, 31)] {
            let grid = Grid::choose(size, &[extent(0, 512, size)]);
            assert_eq!(grid, Grid { bits, chunks: 1, copied_blocks: 0 }, "{size}");
        }
        assert_eq!(Grid::choose(3 << 40, &[extent(0, 512, 3 << 40)]).chunks, 3);
    }

    #[test]
    fn a_file_of_holes_is_one_chunk() {
        let grid = Grid::choose(10 << 30, &[]);
        assert_eq!((grid.chunks, grid.copied_blocks), (1, 0));
        assert_eq!(grid.chunks(10 << 30, &[]).collect::<Vec<_>>(), [Chunk::Hole]);
    }

    #[test]
    fn holes_on_the_grid_copy_nothing() {
        let extents = [extent(4096, 1024, 4096), extent(16384, 5120, 4096)];
        let grid = Grid::choose(20480, &extents);
        assert_eq!((grid.bits, grid.chunks, grid.copied_blocks), (3, 5, 0));
        let direct = |source| Chunk::Direct { device: 0, source };
        assert_eq!(
            grid.chunks(20480, &extents).collect::<Vec<_>>(),
            [Chunk::Hole, direct(1024), Chunk::Hole, Chunk::Hole, direct(5120)]
        );
    }

    #[test]
    fn edges_off_the_grid_are_copied() {
        // One byte in the middle of a block, then a piece whose place on the device is askew.
        let extents = [extent(700, 1024, 1), extent(1024, 1025, 1024)];
        let grid = Grid::choose(4096, &extents);
        let copied: u64 = grid
            .chunks(4096, &extents)
            .map(|chunk| if let Chunk::Copied { length, .. } = chunk { length.div_ceil(512) } else { 0 })
            .sum();
        assert_eq!(copied, grid.copied_blocks);
        assert_eq!(copied, 3);
    }

    /// A file of a few blocks with pieces here and there, some of them askew on the device.
    fn any_file() -> impl Strategy<Value = (u64, Vec<Extent>)> {
        let piece = (0..1500_u64, 1..2500_u64, prop_oneof![3 => Just(0_u64), 1 => 1..511_u64]);
        let pieces = prop::collection::vec(piece, 0..6);
        (pieces, 0..3000_u64, any::<bool>()).prop_map(|(pieces, tail, on_blocks)| {
            let round = |number: u64| if on_blocks { number.next_multiple_of(BLOCK) } else { number };
            let (mut end, mut source, mut extents) = (0, BLOCK, Vec::new());
            for (gap, length, askew) in pieces {
                let offset = end + round(gap);
                let aligned = source.next_multiple_of(BLOCK) + offset % BLOCK;
                extents.push(extent(offset, aligned + if on_blocks { 0 } else { askew }, round(length)));
                end = offset + round(length);
                source = aligned + round(length) + BLOCK;
            }
            (end + tail.max(1), extents)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_byte_comes_from_where_it_lies((size, extents) in any_file()) {
            let source_of = |byte: u64| {
                let found = extents.iter().find(|extent| (extent.offset..extent.offset + extent.length).contains(&byte));
                found.map(|extent| extent.source + byte - extent.offset)
            };
            let grid = Grid::choose(size, &extents);
            let (mut at, mut copied_blocks, mut chunks) = (0, 0, 0);
            for chunk in grid.chunks(size, &extents) {
                let end = (at + grid.bytes()).min(size);
                match chunk {
                    Chunk::Hole => prop_assert!((at..end).all(|byte| source_of(byte).is_none())),
                    Chunk::Direct { source, .. } => {
                        prop_assert_eq!(source % BLOCK, 0);
                        prop_assert!((at..end).all(|byte| source_of(byte) == Some(source + byte - at)));
                    }
                    Chunk::Copied { offset, length } => {
                        prop_assert_eq!((offset, length), (at, end - at));
                        copied_blocks += length.div_ceil(BLOCK);
                    }
                }
                at = end;
                chunks += 1;
            }
            prop_assert_eq!((at, chunks, copied_blocks), (size, grid.chunks, grid.copied_blocks));
            let others = (0..=bits_to_hold(size)).map(|bits| Grid::of(size, &extents, bits).cost());
            prop_assert_eq!(Some(grid.cost()), others.min());
        }
    }
}
