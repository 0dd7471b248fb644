//! Lays out a new ext4 file system, lazily initialised, for a sparse file; pure.
//!
//! A quota is what it is for: a writable layer that lies in a file system of its own can be full. What is asked for is
//! therefore what may be written into it; what the file system needs for itself comes on top.
//!
//! ```text
//! block 0          boot area (1024 bytes), superblock
//!       1 …        descriptors of all groups, 64 bytes each
//!                  block bitmaps of all groups, inode bitmaps of all groups, inode tables of all groups
//!                  root, lost+found, the directories asked for: a block each
//!                  journal
//!                  free
//! ```
//!
//! All metadata lies in front (`flex_bg` with one large flexible group), without copies (`sparse_super2` with none), so
//! that everything behind it is one run, and a group that holds none of it needs no bitmap: it is marked as not
//! initialised, and so are the inodes of all groups but the first. What is not written reads as zeros, which the file's
//! holes are: tables need no zeroing, so that the kernel leaves that alone too (`INODE_ZEROED`). A file system of a
//! terabyte is thus one megabyte to write, one of a gigabyte some ten blocks.
//!
//! There is an inode for every block, up to 67 million, so that files run out of blocks before they run out of inodes;
//! tables cost nothing until they are used. All structures carry checksums (`metadata_csum`).
//!
//! The layout is that of Documentation/filesystems/ext4 in the kernel's sources; Linux 3.18 and later mount it.

mod checksum;
mod disk;
mod geometry;
mod write;

pub use geometry::{MAX_BYTES, MIN_BYTES};

use geometry::Geometry;

/// A block of the file system, in bytes.
pub const BLOCK: u64 = 4096;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// Bytes that may be written into it, rounded up to blocks; from [`MIN_BYTES`] to [`MAX_BYTES`], and taken to be the
    /// nearer of the two where it is neither.
    pub bytes: u64,
    /// What nothing else has; checksums and the order of directories depend on it.
    pub uuid: [u8; 16],
    /// When it is made, in seconds since 1970.
    pub created: u32,
    /// Permissions of the root directory.
    pub root_mode: u16,
    /// Directories in the root directory with their permissions, root's own; names without `/` that make less than a block.
    pub directories: &'a [(&'a str, u16)],
}

/// A file system to be written: a file of `length` bytes, in which all but the pieces is a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes.
    pub length: u64,
    /// What is to be written at which offset; ascending, each beginning and ending with a block.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

/// Lays out a file system.
pub fn format(wanted: &Format<'_>) -> Layout {
    let geometry = Geometry::new(wanted.bytes, wanted.directories.len());
    Layout { length: geometry.blocks * BLOCK, pieces: write::pieces(wanted, &geometry) }
}
