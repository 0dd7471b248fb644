//! Images from and to archives, and from registries.
//!
//! ```text
//! Source ─► Contents ─► Plan ─► layers in parallel ─► Staged ─► publish
//!           members     which    ingest each,          index     rename
//!           by name     images   check digests
//! ```
//!
//! A file or directory is read where it lies, in any order. A stream is read once: each member that looks
//! like a layer is ingested as it passes, the others (small) are spooled, and only then is it decided which
//! of them were meant.
//!
//! Nothing reaches the store before everything of the archive that is wanted has been read and checked.

mod ahead;
mod assemble;
mod attested;
mod change;
mod commit;
mod compress;
mod contents;
mod docker;
mod fetch;
mod gzip;
mod import;
mod layers;
mod layout;
mod legacy;
mod load;
mod members;
mod outgoing;
mod plan;
mod save;
mod stream;
mod write;

use std::io::Read;
use std::path::Path;

use oci::{Descriptor, DiffId, Digest, ImageConfig, Platform, Reference};

use crate::store::Hold;

pub use assemble::{Parts, assemble, is_stored};
pub use attested::Attested;
pub use commit::{CommitOptions, commit};
pub use compress::{Codec, Compressed, compress};
pub use fetch::{LayerStep, OpenBlob, Remote, RemoteImage, Watch, fetch};
pub use gzip::Gzip;
pub use import::{ImportOptions, import};
pub use load::{LoadOptions, load};
pub use outgoing::{Content, Outgoing};
pub use save::{SavedImage, save};
pub use stream::decompressed;

/// Where an archive comes from.
pub enum Source<'a> {
    /// A tar, compressed or not, that is read once.
    Stream(&'a mut (dyn Read + Send)),
    /// A tar, compressed or not, or the directory of an OCI layout.
    Path(&'a Path),
}

/// Images that lie in the store, synced, but do not have names yet.
#[derive(Debug)]
pub struct Loaded {
    /// The images, in the order of the archive, each once.
    pub images: Vec<LoadedImage>,
    /// Keeps what is still nameless from being collected; drop it after the names are committed.
    pub hold: Hold,
}

/// One image of an archive.
#[derive(Clone, Debug)]
pub struct LoadedImage {
    /// The image's id: the digest of its config, which is a document of the store.
    pub id: Digest,
    /// The config.
    pub config: ImageConfig,
    /// The manifest, where the archive had one; it is a document of the store.
    pub manifest: Option<Descriptor>,
    /// The layers, base first.
    pub layers: Vec<LoadedLayer>,
    /// What the archive calls the image; empty if it has no name.
    pub references: Vec<Reference>,
    /// The index by which these names lead to it, and to others; it is a document of the store.
    pub through: Option<Digest>,
    /// Documents about it that are to be kept with it; they are documents of the store.
    pub attached: Vec<Descriptor>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedLayer {
    /// Digest of the uncompressed tar, which is its name in the store.
    pub diff_id: DiffId,
    /// Size of the uncompressed tar in bytes.
    pub size: u64,
    /// The blob it was in the archive's manifest, of which the store keeps no copy; the tar itself where an OCI layout says so.
    pub blob: Option<Descriptor>,
}

impl LoadedLayer {
    /// Forgets that it came as a tar.
    fn forget_tar(&mut self) {
        self.blob.take_if(|blob| blob.digest == *self.diff_id.digest());
    }
}

impl LoadedImage {
    /// The diff ids, base first.
    #[must_use]
    pub fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id.clone()).collect()
    }

    /// What the image runs on, by its usual names.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.config.platform.normalized()
    }

    /// Bytes of all layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}
