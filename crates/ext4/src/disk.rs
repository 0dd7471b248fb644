//! Structures as they lie on disk, and what their numbers mean.

/// Writes little-endian numbers at fixed offsets.
pub(crate) struct Record(pub(crate) Vec<u8>);

impl Record {
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![0; length])
    }

    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    pub(crate) fn put32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// A number whose upper half lies elsewhere.
    pub(crate) fn put_split(&mut self, low: usize, high: usize, value: u64) {
        let (lower, upper) = halves(value);
        self.put32(low, lower);
        self.put32(high, upper);
    }
}

/// The lower and the upper 32 bits.
pub(crate) fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// The lower and the upper 16 bits.
pub(crate) fn quarters(value: u32) -> (u16, u16) {
    let [a, b, c, d] = value.to_le_bytes();
    (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
}

pub(crate) const MAGIC: u16 = 0xef53;
pub(crate) const STATE_CLEAN: u16 = 1;
pub(crate) const ERRORS_READ_ONLY: u16 = 2;
pub(crate) const HASH_HALF_MD4: u8 = 1;
pub(crate) const FLAG_SIGNED_HASH: u32 = 1;
pub(crate) const CHECKSUM_CRC32C: u8 = 1;

pub(crate) const COMPAT_HAS_JOURNAL: u32 = 0x4;
pub(crate) const COMPAT_EXT_ATTR: u32 = 0x8;
pub(crate) const COMPAT_DIR_INDEX: u32 = 0x20;
pub(crate) const COMPAT_SPARSE_SUPER2: u32 = 0x200;
pub(crate) const INCOMPAT_FILETYPE: u32 = 0x2;
pub(crate) const INCOMPAT_EXTENTS: u32 = 0x40;
pub(crate) const INCOMPAT_64BIT: u32 = 0x80;
pub(crate) const INCOMPAT_FLEX_BG: u32 = 0x200;
pub(crate) const RO_COMPAT_LARGE_FILE: u32 = 0x2;
pub(crate) const RO_COMPAT_HUGE_FILE: u32 = 0x8;
pub(crate) const RO_COMPAT_DIR_NLINK: u32 = 0x20;
pub(crate) const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;
pub(crate) const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

pub(crate) const GROUP_INODE_UNINIT: u16 = 0x1;
pub(crate) const GROUP_BLOCK_UNINIT: u16 = 0x2;
pub(crate) const GROUP_INODE_ZEROED: u16 = 0x4;

pub(crate) const INODE_ROOT: u32 = 2;
pub(crate) const INODE_JOURNAL: u32 = 8;
pub(crate) const INODE_EXTENTS: u32 = 0x8_0000;
pub(crate) const EXTENT_MAGIC: u16 = 0xf30a;
pub(crate) const MODE_DIRECTORY: u16 = 0x4000;
pub(crate) const MODE_FILE: u16 = 0x8000;
/// What of an inode lies behind the first 128 bytes and is in use.
pub(crate) const EXTRA_SIZE: u16 = 32;

pub(crate) const TYPE_DIRECTORY: u8 = 2;
/// In the place of a type: the entry holds the block's checksum.
pub(crate) const TYPE_CHECKSUM: u8 = 0xde;

pub(crate) const JOURNAL_MAGIC: u32 = 0xc03b_3998;
pub(crate) const JOURNAL_SUPERBLOCK_V2: u32 = 4;
