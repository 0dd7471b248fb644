//! What can go wrong with stored images and with archives from outside.

use std::io;
use std::path::PathBuf;

use crate::ingest::{Compression, LARGEST_WINDOW, Window, wants_larger_window};
use crate::snapshots::Ids;
use crate::{index, tar};

/// The outcome of an attempt on images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an attempt failed. `entry` is the name of what is at fault within an archive, as the archive gives it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the store, or one that the user named.
    #[error(transparent)]
    File(#[from] linux::file::Error),
    /// A thread that there is none to be had for.
    #[error(transparent)]
    Thread(#[from] linux::thread::Refused),
    /// A stream that cannot be read.
    #[error("read {entry}")]
    Read {
        /// What was being read.
        entry: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Compressed content that is damaged.
    #[error("decompress {entry} as {compression}")]
    Decompress {
        /// What was being read.
        entry: String,
        /// What it looks like.
        compression: Compression,
        /// The decoder's reason.
        #[source]
        source: io::Error,
    },
    /// Compressed content that takes too much memory to decompress.
    #[error(
        "{entry} is compressed as {compression} with a window of {window} bytes, of which at most {limit} are held in memory; decompress it first, or compress it with {}", smaller(*compression)
    )]
    Window {
        /// What was being read.
        entry: String,
        /// What it looks like.
        compression: Compression,
        /// The window it asks for, in bytes.
        window: u64,
        /// What it could have, in bytes.
        limit: u64,
    },
    /// A layer that is not an acceptable tar.
    #[error("layer {entry} is refused")]
    Layer {
        /// The layer.
        entry: String,
        /// The member at fault and why.
        #[source]
        source: tar::Error,
    },
    /// An archive that is not an acceptable tar.
    #[error("archive {entry} is refused")]
    Archive {
        /// The archive.
        entry: String,
        /// The member at fault and why.
        #[source]
        source: tar::Error,
    },
    /// A member of an archive that cannot be used.
    #[error("archive entry {entry}: {reason}")]
    Entry {
        /// The member.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member that another one refers to and that is not there.
    #[error("archive entry {entry} is missing; {needed_by} refers to it")]
    MissingEntry {
        /// The member.
        entry: String,
        /// Who needs it.
        needed_by: String,
    },
    /// A document that is not acceptable.
    #[error("{entry}")]
    Document {
        /// The document.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
    /// A document that is not JSON of the expected shape.
    #[error("decode {entry}")]
    Json {
        /// The document.
        entry: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Content that does not have the digest it was named by.
    #[error(
        "{entry}: the {what} is {found}, expected {expected}; the content is damaged or not what it claims to be"
    )]
    Mismatch {
        /// What was read.
        entry: String,
        /// Which property: `digest`, `size`, `digest of the uncompressed layer`.
        what: &'static str,
        /// As named.
        expected: String,
        /// As found.
        found: String,
    },
    /// Content that is larger than its bound.
    #[error("{entry} is larger than {limit} bytes; {reason}")]
    TooLarge {
        /// What was read.
        entry: String,
        /// The bound, in bytes.
        limit: u64,
        /// Where the bound comes from.
        reason: &'static str,
    },
    /// Content that would fill the disk.
    #[error(
        "{entry}: No space left on device: only {free} bytes are left in {}; reading stopped before the file system is full",
        path.display()
    )]
    NoSpace {
        /// What was read.
        entry: String,
        /// The directory written to.
        path: PathBuf,
        /// Bytes left.
        free: u64,
    },
    /// An archive without the wanted platform.
    #[error("{entry} has no image for platform {wanted}; it has {available}")]
    NoPlatform {
        /// The index.
        entry: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// Neither an archive of images nor a layout.
    #[error("{entry} is not an archive of images: {reason}")]
    NotImages {
        /// The archive.
        entry: String,
        /// What is missing, and what to do.
        reason: &'static str,
    },
    /// A `--change` that is not understood.
    #[error("change {text:?}: {reason}")]
    Change {
        /// The instruction.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something the store should have.
    #[error("{what} {digest} is missing from the store; load the image again")]
    NotStored {
        /// `layer` or `document`.
        what: &'static str,
        /// Its name.
        digest: String,
    },
    /// Something the store has, but not whole.
    #[error("{} is damaged: {reason}; remove the image and load it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// Layers that do not merge, or an index that cannot be written.
    #[error("index the merged layers")]
    Index {
        /// The layer and the entry at fault.
        #[source]
        source: index::Error,
    },
    /// A layer that cannot be unpacked, where layers are.
    #[error("unpack layer {layer}: {action} {entry}")]
    Unpack {
        /// The layer.
        layer: String,
        /// What was attempted.
        action: &'static str,
        /// The name within the layer.
        entry: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file whose owner does not exist in the user namespace that layers are unpacked in.
    #[error(
        "unpack layer {layer}: {entry} belongs to {ids} {id}, and the {ids} ids here end at {highest} ({}): have more lent in {}, and map them \
         all in a user namespace of your own (unshare --map-root-user --map-auto)",
        ids.map(),
        ids.file()
    )]
    NoSuchId {
        /// The layer.
        layer: String,
        /// The name within the layer.
        entry: String,
        /// Which of its owners.
        ids: Ids,
        /// That owner.
        id: u32,
        /// The last one that there is.
        highest: u32,
    },
    /// A file of a tree that cannot be read or written.
    #[error("{action} {path}")]
    Files {
        /// What was attempted.
        action: &'static str,
        /// Its path within the tree.
        path: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file that no layer can hold.
    #[error("{path} cannot be part of a layer: {reason}")]
    Unlayered {
        /// Its path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A directory in the place of something else, or the reverse.
    #[error("{reason}: {path}")]
    Overwrite {
        /// Its path.
        path: String,
        /// Which of the two.
        reason: &'static str,
    },
    /// Writing an archive.
    #[error("write the archive")]
    Write {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Settings of the usual program that need less memory.
fn smaller(compression: Compression) -> &'static str {
    match compression {
        Compression::Xz => "xz -8 or a lower level",
        Compression::Zstd => "zstd -20 or a lower level, without --long",
        Compression::None | Compression::Gzip | Compression::Bzip2 => "a lower level",
    }
}

impl Error {
    /// A decoder stopped.
    pub(crate) fn decompress(
        entry: &str,
        compression: Compression,
        window: Window,
        source: io::Error,
    ) -> Self {
        let entry = entry.to_owned();
        if !wants_larger_window(&source) {
            return Self::Decompress { entry, compression, source };
        }
        if window.asked() > LARGEST_WINDOW {
            return Self::Window { entry, compression, window: window.asked(), limit: LARGEST_WINDOW };
        }
        let reason = "a later part of it asks for a larger window than its start; decompress it first";
        Self::Decompress { entry, compression, source: io::Error::other(reason) }
    }

    /// The system's reason, where it gave one for a file of a tree.
    #[must_use]
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        if let Self::Files { source, .. } = self { rustix::io::Errno::from_io_error(source) } else { None }
    }

    /// Whether the disk is at fault, which is full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
            || matches!(self, Self::File(error) if error.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether the content is at fault, rather than reading or writing it.
    pub(crate) fn is_content(&self) -> bool {
        matches!(
            self,
            Self::Decompress { .. }
                | Self::Window { .. }
                | Self::Layer { .. }
                | Self::Mismatch { .. }
                | Self::TooLarge { .. }
                | Self::Document { .. }
        )
    }
}
