//! The blocks that are not zeros.

use crate::checksum::crc32c;
use crate::disk::*;
use crate::geometry::{DESCRIPTOR_SIZE, FIRST_INODE, GROUP, Geometry, INODE_SIZE};
use crate::{BLOCK, Format};

const BLOCK_BYTES: usize = 4096;
/// Where in block 0 the superblock begins, and how long it is.
const SUPERBLOCK: usize = 1024;
const SUPERBLOCK_SIZE: usize = 1024;
/// The last bytes of a block of a directory.
const TAIL: usize = 12;

/// Everything to be written, ascending.
pub(crate) fn pieces(wanted: &Format<'_>, geometry: &Geometry) -> Vec<(u64, Vec<u8>)> {
    let seed = crc32c(!0, &wanted.uuid);
    let writer = Writer { wanted, geometry, seed, full: crc32c(seed, &[0xff; BLOCK_BYTES]) };
    let mut blocks = vec![(0, writer.superblock()), (1, writer.descriptors())];
    for group in (0..geometry.groups).filter(|group| writer.has_bitmap(*group)) {
        blocks.push((geometry.block_bitmap(group), writer.block_bitmap(group)));
    }
    blocks.push((geometry.inode_bitmap(0), writer.inode_bitmap()));
    blocks.push((geometry.inode_table(0), writer.inodes()));
    for number in 0..geometry.directories {
        blocks.push((geometry.directory(number), writer.directory(number)));
    }
    blocks.push((geometry.journal(), writer.journal()));
    blocks.into_iter().map(|(block, bytes)| (block * BLOCK, bytes)).collect()
}

struct Writer<'a> {
    wanted: &'a Format<'a>,
    geometry: &'a Geometry,
    /// What every checksum but the superblock's begins with.
    seed: u32,
    /// The checksum of the bitmap of a group in which everything is used: a large file system has many.
    full: u32,
}

impl Writer<'_> {
    fn superblock(&self) -> Vec<u8> {
        let (wanted, geometry) = (self.wanted, self.geometry);
        let mut block = Record::new(SUPERBLOCK_SIZE);
        let free = geometry.blocks - geometry.used();
        block.put32(0x00, small(geometry.inodes()));
        block.put_split(0x04, 0x150, geometry.blocks);
        block.put_split(0x0c, 0x158, free);
        block.put32(0x10, small(geometry.inodes()) - self.last_inode());
        // log2 of a block in kilobytes, for blocks and for clusters.
        block.put32(0x18, 2);
        block.put32(0x1c, 2);
        block.put32(0x20, small(GROUP));
        block.put32(0x24, small(GROUP));
        block.put32(0x28, small(geometry.inodes_per_group));
        block.put32(0x30, wanted.created);
        // Never checked for how often it was mounted.
        block.put16(0x36, u16::MAX);
        block.put16(0x38, MAGIC);
        block.put16(0x3a, STATE_CLEAN);
        block.put16(0x3c, ERRORS_READ_ONLY);
        block.put32(0x40, wanted.created);
        // The revision with inodes of any size.
        block.put32(0x4c, 1);
        block.put32(0x54, FIRST_INODE);
        block.put16(0x58, 256);
        block.put32(0x5c, COMPAT_HAS_JOURNAL | COMPAT_EXT_ATTR | COMPAT_DIR_INDEX | COMPAT_SPARSE_SUPER2);
        block.put32(0x60, INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG);
        block.put32(
            0x64,
            RO_COMPAT_LARGE_FILE
                | RO_COMPAT_HUGE_FILE
                | RO_COMPAT_DIR_NLINK
                | RO_COMPAT_EXTRA_ISIZE
                | RO_COMPAT_METADATA_CSUM,
        );
        block.put(0x68, &wanted.uuid);
        block.put32(0xe0, INODE_JOURNAL);
        // The seed of hashed directories: as unguessable as the other.
        block.put(0xec, &wanted.uuid);
        block.put(0xfc, &[HASH_HALF_MD4]);
        // A copy of the journal's place, in case its inode is lost.
        block.put(0xfd, &[1]);
        block.put(0x10c, &self.extents(geometry.journal(), geometry.journal_blocks));
        block.put_split(0x10c + 64, 0x10c + 60, geometry.journal_blocks * BLOCK);
        block.put16(0xfe, 64);
        block.put32(0x108, wanted.created);
        block.put16(0x15c, EXTRA_SIZE);
        block.put16(0x15e, EXTRA_SIZE);
        block.put32(0x160, FLAG_SIGNED_HASH);
        block.put(0x174, &[self.flexible_group()]);
        block.put(0x175, &[CHECKSUM_CRC32C]);
        block.put32(0x268, FIRST_INODE);
        let checksum = crc32c(!0, &block.0[..0x3fc]);
        block.put32(0x3fc, checksum);
        let mut whole = vec![0; BLOCK_BYTES];
        whole[SUPERBLOCK..SUPERBLOCK + SUPERBLOCK_SIZE].copy_from_slice(&block.0);
        whole
    }

    /// log2 of how many groups have their metadata together: all of them.
    fn flexible_group(&self) -> u8 {
        let log = self.geometry.groups.next_power_of_two().trailing_zeros();
        u8::try_from(log).unwrap_or(u8::MAX).max(4)
    }

    fn descriptors(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..self.geometry.groups).flat_map(|group| self.descriptor(group).0).collect();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
        bytes
    }

    fn descriptor(&self, group: u64) -> Record {
        let geometry = self.geometry;
        let (used, size) = geometry.in_group(group);
        let mut record = Record::new(usize_of(DESCRIPTOR_SIZE));
        record.put_split(0x00, 0x20, geometry.block_bitmap(group));
        record.put_split(0x04, 0x24, geometry.inode_bitmap(group));
        record.put_split(0x08, 0x28, geometry.inode_table(group));
        let halves16 = |record: &mut Record, low, high, value| {
            let (lower, upper) = quarters(value);
            record.put16(low, lower);
            record.put16(high, upper);
        };
        halves16(&mut record, 0x0c, 0x2c, small(size - used));
        let is_first = group == 0;
        let inodes = small(geometry.inodes_per_group) - if is_first { self.last_inode() } else { 0 };
        halves16(&mut record, 0x0e, 0x2e, inodes);
        // Directories, inodes never used: those behind the last that is.
        halves16(&mut record, 0x10, 0x30, if is_first { small(geometry.directories) } else { 0 });
        halves16(&mut record, 0x1c, 0x32, inodes);
        let mut flags = GROUP_INODE_ZEROED;
        if self.has_bitmap(group) {
            let checksum =
                if used == GROUP { self.full } else { crc32c(self.seed, &self.block_bitmap(group)) };
            halves16(&mut record, 0x18, 0x38, checksum);
        } else {
            flags |= GROUP_BLOCK_UNINIT;
        }
        if is_first {
            let bitmap = self.inode_bitmap();
            let covered = usize_of(geometry.inodes_per_group / 8);
            halves16(&mut record, 0x1a, 0x3a, crc32c(self.seed, &bitmap[..covered]));
        } else {
            flags |= GROUP_INODE_UNINIT;
        }
        record.put16(0x12, flags);
        let checksum = crc32c(crc32c(self.seed, &small(group).to_le_bytes()), &record.0);
        record.put16(0x1e, quarters(checksum).0);
        record
    }

    /// Of a group without a bitmap everything is free. The last one may end before its bitmap does.
    fn has_bitmap(&self, group: u64) -> bool {
        self.geometry.in_group(group).0 > 0 || group + 1 == self.geometry.groups
    }

    fn block_bitmap(&self, group: u64) -> Vec<u8> {
        let (used, size) = self.geometry.in_group(group);
        let mut bitmap = vec![0; BLOCK_BYTES];
        mark(&mut bitmap, 0, used);
        mark(&mut bitmap, size, GROUP);
        bitmap
    }

    /// Of the first group.
    fn inode_bitmap(&self) -> Vec<u8> {
        let mut bitmap = vec![0; BLOCK_BYTES];
        mark(&mut bitmap, 0, u64::from(self.last_inode()));
        mark(&mut bitmap, self.geometry.inodes_per_group, GROUP);
        bitmap
    }

    /// The last inode that is used; those of the directories follow each other, from `lost+found` on.
    fn last_inode(&self) -> u32 {
        FIRST_INODE + small(self.geometry.directories) - 2
    }

    /// The inode of a directory: 0 is the root.
    fn inode_of(number: u64) -> u32 {
        if number == 0 { INODE_ROOT } else { FIRST_INODE + small(number) - 1 }
    }

    /// The first blocks of the first inode table.
    fn inodes(&self) -> Vec<u8> {
        let geometry = self.geometry;
        let size = usize_of(u64::from(self.last_inode()) * INODE_SIZE).next_multiple_of(BLOCK_BYTES);
        let mut table = Record::new(size);
        let mut put = |inode: Inode| {
            let offset = usize_of(u64::from(inode.number - 1) * INODE_SIZE);
            table.put(offset, &self.inode(&inode));
        };
        for number in 0..geometry.directories {
            let (mode, links) = match number {
                0 => (self.wanted.root_mode, 1 + geometry.directories),
                1 => (0o700, 2),
                _ => (self.wanted.directories[usize_of(number) - 2].1, 2),
            };
            put(Inode {
                number: Self::inode_of(number),
                mode: MODE_DIRECTORY | mode,
                links: small(links),
                block: geometry.directory(number),
                blocks: 1,
            });
        }
        put(Inode {
            number: INODE_JOURNAL,
            mode: MODE_FILE | 0o600,
            links: 1,
            block: geometry.journal(),
            blocks: geometry.journal_blocks,
        });
        table.0
    }

    fn inode(&self, inode: &Inode) -> Vec<u8> {
        let created = self.wanted.created;
        let mut record = Record::new(usize_of(INODE_SIZE));
        record.put16(0x00, inode.mode);
        record.put_split(0x04, 0x6c, inode.blocks * BLOCK);
        for offset in [0x08, 0x0c, 0x10, 0x90] {
            record.put32(offset, created);
        }
        record.put16(0x1a, quarters(inode.links).0);
        // Counted in sectors.
        record.put32(0x1c, small(inode.blocks * BLOCK / 512));
        record.put32(0x20, INODE_EXTENTS);
        record.put(0x28, &self.extents(inode.block, inode.blocks));
        record.put16(0x80, EXTRA_SIZE);
        let checksum = crc32c(self.seed_of(inode.number), &record.0);
        let (lower, upper) = quarters(checksum);
        record.put16(0x7c, lower);
        record.put16(0x82, upper);
        record.0
    }

    /// What the checksums of an inode and of its blocks begin with; its generation is 0.
    fn seed_of(&self, inode: u32) -> u32 {
        crc32c(crc32c(self.seed, &inode.to_le_bytes()), &[0; 4])
    }

    /// The head of an extent tree and its one leaf, as they lie in an inode.
    fn extents(&self, block: u64, blocks: u64) -> [u8; 60] {
        let mut record = Record::new(60);
        record.put16(0, EXTENT_MAGIC);
        // Extents here, and how many there could be.
        record.put16(2, 1);
        record.put16(4, 4);
        record.put16(16, quarters(small(blocks)).0);
        let (lower, upper) = halves(block);
        record.put16(18, quarters(upper).0);
        record.put32(20, lower);
        let mut bytes = [0; 60];
        bytes.copy_from_slice(&record.0);
        bytes
    }

    fn directory(&self, number: u64) -> Vec<u8> {
        let own = Self::inode_of(number);
        let mut entries = vec![(own, "."), (INODE_ROOT, "..")];
        if number == 0 {
            let names =
                ["lost+found"].into_iter().chain(self.wanted.directories.iter().map(|(name, _)| *name));
            entries.extend((1..).map(Self::inode_of).zip(names));
        }
        let mut block = Record::new(BLOCK_BYTES);
        let mut offset = 0;
        let last = entries.len() - 1;
        for (position, (inode, name)) in entries.into_iter().enumerate() {
            let least = (8 + name.len()).next_multiple_of(4);
            // The last one reaches up to the tail.
            let length = if position == last { BLOCK_BYTES - TAIL - offset } else { least };
            block.put32(offset, inode);
            block.put16(offset + 4, u16::try_from(length).unwrap_or(u16::MAX));
            block.put(offset + 6, &[u8::try_from(name.len()).unwrap_or(u8::MAX), TYPE_DIRECTORY]);
            block.put(offset + 8, name.as_bytes());
            offset += length;
        }
        block.put16(offset + 4, 12);
        block.put(offset + 7, &[TYPE_CHECKSUM]);
        let checksum = crc32c(self.seed_of(own), &block.0[..offset]);
        block.put32(offset + 8, checksum);
        block.0
    }

    /// The superblock of an empty journal; its numbers are big-endian. The kernel adds checksums when it mounts.
    fn journal(&self) -> Vec<u8> {
        let mut block = Record::new(BLOCK_BYTES);
        let mut put = |offset, value: u32| block.put(offset, &value.to_be_bytes());
        put(0x00, JOURNAL_MAGIC);
        put(0x04, JOURNAL_SUPERBLOCK_V2);
        put(0x0c, small(BLOCK));
        put(0x10, small(self.geometry.journal_blocks));
        // The first block of the log, the first transaction, and how many file systems use it.
        put(0x14, 1);
        put(0x18, 1);
        put(0x40, 1);
        block.put(0x30, &self.wanted.uuid);
        block.0
    }
}

struct Inode {
    number: u32,
    mode: u16,
    links: u32,
    block: u64,
    blocks: u64,
}

/// Sets the bits from `start` up to `end`.
fn mark(bitmap: &mut [u8], start: u64, end: u64) {
    let (whole, after) = (start.next_multiple_of(8).min(end), end / 8 * 8);
    if whole < after {
        bitmap[usize_of(whole / 8)..usize_of(after / 8)].fill(0xff);
    }
    for bit in (start..whole).chain(after.max(whole)..end) {
        bitmap[usize_of(bit / 8)] |= 1 << (bit % 8);
    }
}

/// Numbers that the largest file system has in 32 bits, too.
fn small(value: u64) -> u32 {
    debug_assert!(value <= u64::from(u32::MAX), "{value} is not small");
    halves(value).0
}

/// Sizes of what is in memory.
fn usize_of(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bits_are_set_from_the_first_up_to_the_last() {
        for start in 0..40_u64 {
            for end in 0..40_u64 {
                let mut bitmap = vec![0; 5];
                super::mark(&mut bitmap, start, end);
                let set = |bit: u64| bitmap[usize::try_from(bit / 8).unwrap()] >> (bit % 8) & 1 == 1;
                assert!(
                    (0..40).all(|bit| set(bit) == (start..end).contains(&bit)),
                    "{start} {end} {bitmap:?}"
                );
            }
        }
    }
}
