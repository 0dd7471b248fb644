//! Where everything lies, in blocks.

use crate::BLOCK;

/// Blocks of a group: as many as one bitmap has bits.
pub(crate) const GROUP: u64 = 8 * BLOCK;
pub(crate) const INODE_SIZE: u64 = 256;
pub(crate) const DESCRIPTOR_SIZE: u64 = 64;
/// The first inode that the format does not reserve: `lost+found`.
pub(crate) const FIRST_INODE: u32 = 11;

/// Less than this is no use: an overlay's own directories would be most of it.
pub const MIN_BYTES: u64 = 1 << 20;
/// More than this makes a file that ext4 cannot hold: with its metadata, one of 16 TiB less a block.
pub const MAX_BYTES: u64 = 15 << 40;

const INODES_PER_BLOCK: u64 = BLOCK / INODE_SIZE;
const MIN_INODES: u64 = 1024;
/// So that the tables of the largest are still few groups to mark as used.
const MAX_INODES: u64 = 1 << 26;
/// Blocks for directories that grow, beyond what is asked for.
const SPARE: u64 = 8;

/// A layout. All numbers are of blocks, or of inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) blocks: u64,
    pub(crate) groups: u64,
    pub(crate) inodes_per_group: u64,
    pub(crate) descriptor_blocks: u64,
    pub(crate) journal_blocks: u64,
    pub(crate) directories: u64,
}

impl Geometry {
    /// The smallest one in which `bytes` can be written, with so many directories beside `/` and `lost+found`.
    pub(crate) fn new(bytes: u64, directories: usize) -> Geometry {
        let wanted = bytes.clamp(MIN_BYTES, MAX_BYTES).div_ceil(BLOCK) + SPARE;
        let directories = u64::try_from(directories).unwrap_or(0) + 2;
        let mut groups = 1;
        loop {
            let inodes = wanted.clamp(MIN_INODES, MAX_INODES).div_ceil(groups);
            let mut found = Geometry {
                blocks: 0,
                groups,
                inodes_per_group: inodes.next_multiple_of(INODES_PER_BLOCK).min(GROUP),
                descriptor_blocks: (groups * DESCRIPTOR_SIZE).div_ceil(BLOCK),
                journal_blocks: journal(wanted),
                directories,
            };
            let least = found.used() + wanted;
            found.blocks = least + reserve(least);
            let needed = found.blocks.div_ceil(GROUP);
            if needed <= groups {
                // With fewer groups their metadata, too, would take less room; but then it might again not suffice.
                found.blocks = found.blocks.max((groups - 1) * GROUP + 1);
                return found;
            }
            groups = needed;
        }
    }

    pub(crate) fn inodes(&self) -> u64 {
        self.groups * self.inodes_per_group
    }

    pub(crate) fn table_blocks(&self) -> u64 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    pub(crate) fn block_bitmap(&self, group: u64) -> u64 {
        1 + self.descriptor_blocks + group
    }

    pub(crate) fn inode_bitmap(&self, group: u64) -> u64 {
        self.block_bitmap(self.groups) + group
    }

    pub(crate) fn inode_table(&self, group: u64) -> u64 {
        self.inode_bitmap(self.groups) + group * self.table_blocks()
    }

    /// The block of a directory: 0 is the root, 1 `lost+found`.
    pub(crate) fn directory(&self, number: u64) -> u64 {
        self.inode_table(self.groups) + number
    }

    pub(crate) fn journal(&self) -> u64 {
        self.directory(self.directories)
    }

    /// All blocks before this one are used, all others are free.
    pub(crate) fn used(&self) -> u64 {
        self.journal() + self.journal_blocks
    }

    /// How many blocks of a group are used, how many it has.
    pub(crate) fn in_group(&self, group: u64) -> (u64, u64) {
        let (start, size) = (group * GROUP, (self.blocks - group * GROUP).min(GROUP));
        (self.used().saturating_sub(start).min(size), size)
    }
}

/// As mke2fs chooses, up to 64 MiB: what it holds is on the host's disk twice.
fn journal(blocks: u64) -> u64 {
    match blocks {
        0..0x8000 => 1024,
        0x8000..0x4_0000 => 4096,
        0x4_0000..0x8_0000 => 8192,
        _ => 16384,
    }
}

/// What the kernel keeps for itself of a file system with so many other blocks (`ext4_calculate_resv_clusters`): a
/// fiftieth of the whole, at most 4096.
fn reserve(others: u64) -> u64 {
    (others / 49 + 1).min(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_written_is_what_was_asked_for() {
        for bytes in [0, 1 << 20, 3 << 20, (100 << 20) + 1, 1 << 30, 10 << 30, 1 << 40, 15 << 40, u64::MAX] {
            let found = Geometry::new(bytes, 2);
            let wanted = bytes.clamp(MIN_BYTES, MAX_BYTES).div_ceil(BLOCK);
            let kept = (found.blocks / 50).min(4096);
            let free = found.blocks - found.used() - kept;
            let most = wanted + SPARE + GROUP;
            assert!((wanted + SPARE..most).contains(&free), "{bytes}: {free} of {wanted}");
            assert_eq!(found.groups, found.blocks.div_ceil(GROUP), "{bytes}");
            assert!(found.inodes() >= wanted.min(MAX_INODES) / 2, "{bytes}: {}", found.inodes());
            assert!(found.inodes() <= u64::from(u32::MAX) && found.blocks <= u64::from(u32::MAX), "{bytes}");
        }
    }
}
