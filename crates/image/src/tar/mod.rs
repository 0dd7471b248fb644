//! Reads layer tars: what each entry is and where in the archive its data lies, never the data itself.
//!
//! [`Parser`] is fed bytes in pieces of any size while a layer streams by; [`read_entries`] reads a
//! stored archive and skips over the data. Both understand POSIX ustar, PAX (`path`, `linkpath`, `size`,
//! `uid`, `gid`, `mtime`, extended attributes, sparse formats 0.0, 0.1 and 1.0, global headers), GNU (long
//! names, base-256 numbers, old sparse headers) and the V7 and star dialects.
//!
//! ```text
//! [extension header][its records]* [header][sparse map]? [data, padded to 512] ... [zero block][zero block]
//!                                  ^ Entry::offset        ^ Extent::source
//! ```
//!
//! An archive is hostile until proven otherwise: every number is range-checked where it is read, every
//! buffer is bounded by [`Limits`], and an [`EntryPath`] cannot leave the root. What the entries mean
//! together (whiteouts, hard links, replacement) is the business of [`crate::merge`].

mod error;
mod header;
mod parser;
mod path;
mod pax;
mod reader;
mod sparse;
mod write;

pub use error::{Defect, Error, Place};
pub use header::is_header;
pub use parser::{Parser, Summary};
pub use path::EntryPath;
pub use reader::{ReadError, read_entries};
pub use write::{Body, END, Member, padding, write_member};

/// The size of a header and the unit to which data is padded.
pub const BLOCK: u64 = 512;

/// Bounds on what one archive may ask of us. The defaults are what [`Default`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries per archive; default 1,000,000 (a large distribution image has about 200,000).
    pub entries: u64,
    /// Bytes of PAX records and GNU long names that one entry may carry; default 1 MiB.
    pub extension_bytes: usize,
    /// Bytes of PAX records that global headers may establish for the whole archive; default 64 KiB.
    pub global_bytes: usize,
    /// Bytes of a path or link target; default 4,095, the most that a system call takes.
    pub path_bytes: usize,
    /// Components of a path; default 512.
    pub path_depth: usize,
    /// Extended attributes of one entry; default 128.
    pub xattrs: usize,
    /// Bytes of one extended attribute's value; default 65,535, the most that EROFS records.
    pub xattr_bytes: usize,
    /// Bytes of all names and values of one entry's extended attributes; default 128 KiB.
    pub xattrs_bytes: usize,
    /// Pieces of data of one sparse file; default 65,536.
    pub sparse_extents: usize,
    /// Apparent bytes of one file; default 8 TiB.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            extension_bytes: 1 << 20,
            global_bytes: 64 << 10,
            path_bytes: 4095,
            path_depth: 512,
            xattrs: 128,
            xattr_bytes: 65_535,
            xattrs_bytes: 128 << 10,
            sparse_extents: 65_536,
            file_bytes: 8 << 40,
        }
    }
}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it belongs, below the root; empty for the root itself.
    pub path: EntryPath,
    /// Where its header starts, in bytes from the start of the archive.
    pub offset: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky: 12 bits.
    pub mode: u16,
    /// Owner, as the archive numbers it.
    pub uid: u32,
    /// Group, as the archive numbers it.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// Extended attributes in the order of the archive, each name once.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link; the target is any non-empty text, never interpreted here.
    Symlink(Box<[u8]>),
    /// Another name for an entry that came before, in this archive or in a lower layer.
    Hardlink(EntryPath),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// At most 4,095 (12 bits).
    pub major: u32,
    /// At most 1,048,575 (20 bits).
    pub minor: u32,
}

/// A point in time, in seconds and nanoseconds from the epoch; `nanos` always counts forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xattr {
    /// Full name with its namespace, such as `security.capability`; 1 to 255 bytes without NUL.
    pub name: Box<[u8]>,
    /// Any bytes.
    pub value: Box<[u8]>,
}

/// The data of a regular file: what the extents do not cover reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Apparent size in bytes.
    pub size: u64,
    pieces: Pieces,
}

/// Nearly every file is one piece, which then needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pieces {
    None,
    One(Extent),
    Many(Box<[Extent]>),
}

/// A run of data: `length` bytes at `source` in the archive are the file's bytes from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// In the file.
    pub offset: u64,
    /// In the archive.
    pub source: u64,
    /// In bytes, never 0.
    pub length: u64,
}

impl Content {
    /// A file without holes, whose `size` bytes lie at `source`.
    #[must_use]
    pub fn contiguous(source: u64, size: u64) -> Self {
        let pieces =
            if size == 0 { Pieces::None } else { Pieces::One(Extent { offset: 0, source, length: size }) };
        Self { size, pieces }
    }

    /// A file of `size` bytes with holes. `extents` ascend, do not overlap and end within `size`.
    pub(crate) fn sparse(size: u64, extents: Vec<Extent>) -> Self {
        let pieces = match extents.as_slice() {
            [] => Pieces::None,
            [one] => Pieces::One(*one),
            _ => Pieces::Many(extents.into_boxed_slice()),
        };
        Self { size, pieces }
    }

    /// The pieces of data, ascending, not overlapping, none empty.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(extent) => std::slice::from_ref(extent),
            Pieces::Many(extents) => extents,
        }
    }
}
