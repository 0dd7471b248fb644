//! What the engine tells about images, and of what was done to them.

use std::collections::BTreeMap;

use oci::Timestamp;

/// One image of `skiff images`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// `sha256:…` of the configuration.
    pub id: String,
    /// Familiar references (`busybox:latest`); empty for a dangling one.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub repo_digests: Vec<String>,
    /// What a tag's registry calls what the tag stands for, by the familiar reference, as far as that is known.
    pub tag_digests: BTreeMap<String, String>,
    /// As its configuration says.
    pub created: Option<Timestamp>,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// How many containers use it.
    pub containers: u64,
    /// Familiar references that lead to it by an index, and stand for an image for another platform.
    pub through: Vec<String>,
    /// Whether a container uses it, or an image for another platform of the same name.
    pub in_use: bool,
    /// When it came here, or when the last container of it was removed, to the hour, if that was later.
    pub last_used: Timestamp,
}

impl ImageSummary {
    /// Whether no tag leads to it.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && self.through.is_empty()
    }

    /// Whether it is only there for another platform than its names stand for: it goes with them.
    pub fn is_platform(&self) -> bool {
        self.tags.is_empty() && !self.through.is_empty()
    }
}

/// An image with the platforms that its names lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTree {
    /// Familiar references; empty for one without.
    pub names: Vec<String>,
    /// `sha256:…` of what the names stand for.
    pub id: String,
    /// Bytes of the layers that are here, uncompressed.
    pub size: u64,
    /// Bytes of what is here as registries send it.
    pub content_size: u64,
    /// Whether a container uses one of its images.
    pub in_use: bool,
    /// In the order of the index.
    pub platforms: Vec<ImagePlatform>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlatform {
    /// `linux/amd64`, …
    pub platform: String,
    /// `sha256:…` of the image, or of its manifest where it is not here.
    pub id: String,
    /// Whether it is here.
    pub is_here: bool,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Bytes of it as registries send it.
    pub content_size: u64,
    /// Whether a container uses it.
    pub in_use: bool,
}

/// One step of an image's history, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id for the newest step, else missing.
    pub id: Option<String>,
    /// When.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Bytes it added.
    pub size: u64,
    /// What its maker said.
    pub comment: String,
    /// Tags of the image, for the newest step.
    pub tags: Vec<String>,
}

/// What a removal of images did, in the order it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name is gone.
    Untagged(String),
    /// `sha256:…` of an image or a layer that is gone.
    Deleted(String),
}

/// What `image prune` removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<ImageRemoval>,
    /// Bytes freed.
    pub reclaimed: u64,
}

/// An image that was loaded or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// `sha256:…`.
    pub id: String,
    /// Familiar references it has from now on; empty when the archive names none.
    pub tags: Vec<String>,
    /// References that another image had before, with that image's id.
    pub moved: Vec<(String, String)>,
}

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// `sha256:…`.
    pub id: String,
    /// Its name, spelled out.
    pub reference: String,
    /// Its name, as people type it.
    pub familiar: String,
    /// What the registry calls it.
    pub digest: String,
    /// Whether it was not here under this name before.
    pub is_new: bool,
}

/// An image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name, spelled out.
    pub reference: String,
    /// What the registry calls it.
    pub digest: String,
}

/// What `image verify` found about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name that was asked for; of all images each has its first, or its id.
    pub name: String,
    /// Each fault in one sentence; empty when all is well.
    pub faults: Vec<String>,
}

/// What `image repair` has done for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// As in [`Verified`].
    pub name: String,
    /// Each fault that is mended, in one sentence.
    pub mended: Vec<String>,
    /// Faults that are left.
    pub left: Vec<Unrepaired>,
}

/// A fault that could not be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepaired {
    /// The fault in one sentence.
    pub fault: String,
    /// Each place where what is good was looked for, and why it was not had there. Empty where no place is known.
    pub tried: Vec<String>,
}

/// Everything about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// Names, size, …
    pub summary: ImageSummary,
    /// Its configuration as the document it is, byte for byte.
    pub config: Vec<u8>,
    /// Layers, lowest first: diff ids.
    pub layers: Vec<String>,
    /// `linux`.
    pub os: String,
    /// `amd64`, …
    pub architecture: String,
    /// `v8`, …
    pub variant: Option<String>,
    /// What is attested of it and is here: how it was made, what is in it.
    pub attestations: Vec<Attestation>,
}

/// A statement about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What kind of predicate it has, by its address: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// The statement, which is a document of the store.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}
