//! Writes an EROFS index of a file tree whose data lies in other files; pure over a writer.
//!
//! The index holds every inode, name, link target and extended attribute of the tree, but no file data: a
//! file's chunks point into *devices*, which are files that the mount names with `device=`. Here a device is
//! a layer's tar, whose data starts at multiples of 512; so the file system has blocks of 512 bytes.
//!
//! ```text
//!    0       boot area, unused
//! 1024       superblock (128 bytes), then one slot of 128 bytes per device
//!            shared extended attributes, from a block boundary on
//!            inodes, from a block boundary on; an inode's number counts slots of 32 bytes from there
//!              inode (32 or 64) | attributes | chunk table, last piece of a directory, or link target
//!            blocks: directories, long link targets, and what little data no chunk can point at
//! ```
//!
//! The writer makes two passes over the tree. The first places every inode, which fixes every address; the
//! second writes, strictly forward. Only 12 bytes per inode are kept in between. The same tree gives the same
//! bytes.
//!
//! Directories are written breadth first, so that the inodes of one directory lie together. The format is
//! that of Linux 5.16 and later (chunks, device table); mounting it from files takes Linux 6.12.

mod chunks;
mod directory;
mod disk;
mod plan;
mod write;
mod xattr;

pub use write::write;
pub use xattr::is_expressible;

use std::io;

/// A block of the file system, in bytes.
pub const BLOCK: u64 = 512;

/// A file tree, as the writer walks it. Inodes are numbered from 0, which is the root directory; every
/// inode is reachable, and a directory from exactly one directory.
pub trait Tree {
    /// How many inodes there are.
    fn inodes(&self) -> u32;

    /// The attributes of an inode.
    fn inode(&self, number: u32) -> Inode<'_>;

    /// The names in a directory and the inodes they stand for, in ascending order of their bytes. Names are 1
    /// to 255 bytes without `/` and NUL, and not `.` or `..`.
    fn children(&self, directory: u32) -> impl Iterator<Item = (&[u8], u32)>;

    /// Fills `extents` with the pieces of a file's data: ascending, not overlapping, none empty, all within
    /// the file's size. What they do not cover reads as zeros.
    fn extents(&self, file: u32, extents: &mut Vec<Extent>);

    /// How many sets of extended attributes there are. Set 0 is empty.
    fn xattr_sets(&self) -> u32;

    /// Calls `visit` with each full name and value of a set.
    fn xattr_set(&self, set: u32, visit: &mut dyn FnMut(&[u8], &[u8]));
}

/// The attributes of one inode.
#[derive(Clone, Copy, Debug)]
pub struct Inode<'a> {
    /// Permission bits: 12 bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// How many names it has; for a directory, two and one per subdirectory.
    pub links: u32,
    /// Which set of extended attributes it has.
    pub xattrs: u32,
    /// What it is.
    pub body: Body<'a>,
}

/// A point in time: seconds from the epoch, and nanoseconds that count forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// What an inode is.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A regular file of so many bytes; see [`Tree::extents`].
    File {
        /// Apparent size.
        size: u64,
    },
    /// A directory; see [`Tree::children`].
    Directory,
    /// A symbolic link to 1 to 4,095 bytes of text.
    Symlink(&'a [u8]),
    /// A character device.
    CharDevice(Rdev),
    /// A block device.
    BlockDevice(Rdev),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A device number: 12 bits of major, 20 bits of minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rdev {
    /// At most 4,095.
    pub major: u32,
    /// At most 1,048,575.
    pub minor: u32,
}

/// A piece of a file's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// In the file, in bytes.
    pub offset: u64,
    /// The device that holds it, counted from 0 in the order of [`Volume::devices`].
    pub device: u16,
    /// On that device, in bytes.
    pub source: u64,
    /// In bytes.
    pub length: u64,
}

/// What the superblock says.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// Identifies the file system.
    pub uuid: [u8; 16],
    /// The files that hold data, in the order in which a mount must name them.
    pub devices: &'a [Device],
}

/// A file that holds data.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// What it is, for people and tools: a digest in hexadecimal, padded with NUL.
    pub tag: [u8; 64],
    /// Its size.
    pub bytes: u64,
}

/// Reads bytes of a device: device, offset, and the buffer to fill.
pub type ReadDevice<'a> = dyn FnMut(u16, u64, &mut [u8]) -> io::Result<()> + 'a;

/// Why an index cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The writer failed.
    #[error("write the index")]
    Write(#[source] io::Error),
    /// A device could not be read, whose data had to be copied.
    #[error("read {length} bytes at {offset} of device {device}")]
    Read {
        /// Which, counted from 0.
        device: u16,
        /// Where.
        offset: u64,
        /// How many.
        length: u64,
        /// Why.
        source: io::Error,
    },
    /// A device is larger than block numbers reach.
    #[error("device {device} has {bytes} bytes; 512-byte blocks reach to 2 TiB")]
    LargeDevice {
        /// Which, counted from 0.
        device: usize,
        /// Its size.
        bytes: u64,
    },
    /// There are more devices than slots.
    #[error("{0} devices; at most 4,096 are supported")]
    ManyDevices(usize),
    /// Files with holes would take too much space in the index.
    #[error("mapping the holes of sparse files takes {bytes} bytes of index; the limit is {limit}")]
    Scattered {
        /// What it takes.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// An attribute whose name or value the format cannot hold.
    #[error("the extended attribute \"{name}\" does not fit the format")]
    Xattr {
        /// Its name, escaped.
        name: String,
    },
    /// The index itself has grown beyond what 32-bit addresses reach.
    #[error("the index is larger than its block numbers reach")]
    LargeIndex,
}
