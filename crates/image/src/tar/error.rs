//! What can be wrong with an archive, and where.

use std::fmt;

/// An archive that cannot be accepted: the entry at fault, where it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tar {place} (offset {offset}): {defect}")]
pub struct Error {
    /// Which entry.
    pub place: Place,
    /// Offset of that entry's first header in the uncompressed archive.
    pub offset: u64,
    /// What is wrong with it.
    pub defect: Defect,
}

/// An entry, as far as its name is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This entry, by the name that the archive gives.
    Entry(Box<[u8]>),
    /// The header after this entry, whose own name could not be read.
    After(Box<[u8]>),
    /// The first header.
    Start,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(name) => write!(f, "entry {}", Shown(name)),
            Self::After(name) => write!(f, "header after entry {}", Shown(name)),
            Self::Start => f.write_str("header at the start of the archive"),
        }
    }
}

/// A name from outside, made safe for a terminal and of bounded length.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 100;
        let (head, cut) = if self.0.len() > MOST { (&self.0[..MOST], "…") } else { (self.0, "") };
        match std::str::from_utf8(head) {
            Ok(text) => write!(f, "\"{}{cut}\"", text.escape_debug()),
            Err(_) => write!(f, "\"{}{cut}\"", head.escape_ascii()),
        }
    }
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The archive stops before the entry does.
    #[error("the archive ends inside this entry: {missing} more bytes are needed; it is truncated")]
    Truncated {
        /// How many bytes at least are missing.
        missing: u64,
    },
    /// Extension records follow no entry.
    #[error(
        "the archive ends after an extension header, before the entry that it describes; it is truncated"
    )]
    ExtensionAlone,
    /// The header's checksum differs.
    #[error("the header checksum does not match; this is not a tar header, or it is damaged")]
    Checksum,
    /// One zero block, then data.
    #[error("a single zero block stands in the middle of the archive; the end is marked by two")]
    LoneZeroBlock,
    /// A field that is not a number.
    #[error("the {0} field is not a number")]
    NotANumber(Field),
    /// A number that is out of range.
    #[error("the {0} field is out of range")]
    OutOfRange(Field),
    /// A kind of entry that no layer may hold.
    #[error("entries of type '{}' are not supported", char::from(*.0).escape_default())]
    UnsupportedType(u8),
    /// The name is empty.
    #[error("it has no name")]
    NoName,
    /// The name starts with `/`.
    #[error("the name is absolute; names in a layer are relative to its root")]
    AbsoluteName,
    /// The name has a `..` component.
    #[error("the {0} contains '..', which could leave the root")]
    ParentComponent(Field),
    /// A name with a NUL byte.
    #[error("the {0} contains a NUL byte")]
    NulByte(Field),
    /// A component longer than a file name may be.
    #[error("a component of the {0} is longer than 255 bytes")]
    LongComponent(Field),
    /// Something that is not a directory, named as the root.
    #[error("the root of a layer must be a directory")]
    RootNotDirectory,
    /// A link without a target.
    #[error("the link has no target")]
    NoTarget,
    /// A character device 0:0.
    #[error(
        "a character device 0:0 is what overlayfs uses to mark a deleted file; a layer deletes with '.wh.'"
    )]
    WhiteoutDevice,
    /// A malformed record in a PAX header.
    #[error("a PAX record is malformed; expected 'LENGTH KEY=VALUE' and a newline")]
    PaxRecord,
    /// A key that makes no sense for all entries.
    #[error("the PAX key {0} in a global header would apply to every entry")]
    PaxGlobal(&'static str),
    /// An undecodable `LIBARCHIVE.xattr` record.
    #[error("a LIBARCHIVE.xattr record is not base64, or its name is not URL-encoded")]
    XattrEncoding,
    /// An empty or overlong attribute name, or one with a NUL byte.
    #[error("an extended attribute's name is empty, longer than 255 bytes or contains a NUL byte")]
    XattrName,
    /// A sparse map that is not ascending, or does not fit the sizes around it.
    #[error("the sparse map is inconsistent: {0}")]
    SparseMap(&'static str),
    /// A bound of [`super::Limits`].
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// A field of a header or a PAX record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The name of the entry.
    Name,
    /// The target of a link.
    LinkTarget,
    /// Permission bits.
    Mode,
    /// Owner.
    Uid,
    /// Group.
    Gid,
    /// Size of the data.
    Size,
    /// Modification time.
    Mtime,
    /// Device numbers.
    Device,
    /// The header's checksum.
    Checksum,
    /// A number in a sparse map.
    SparseMap,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::LinkTarget => "link target",
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Device => "device",
            Self::Checksum => "checksum",
            Self::SparseMap => "sparse map",
        })
    }
}
