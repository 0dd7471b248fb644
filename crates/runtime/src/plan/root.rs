//! What a container sees as `/`, and where its writes go.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Propagation;

/// The container's root file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Where it comes from.
    pub source: RootSource,
    /// Mounted read-only once everything below it is in place.
    pub readonly: bool,
    /// Propagation of the root mount (`linux.rootfsPropagation`).
    pub propagation: Propagation,
}

/// How the root file system is put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RootSource {
    /// A directory that is already a whole root file system, as in an OCI bundle.
    Directory(PathBuf),
    /// An EROFS index over layer tars, id-mapped into a new user namespace, under an overlay.
    Erofs {
        /// `images/<id>.erofs`.
        index: PathBuf,
        /// Layer tars, in the order of the index's device table.
        devices: Vec<PathBuf>,
        /// Where writes go; without it the image itself is the root, read-only.
        writable: Option<Writable>,
    },
    /// Unpacked layers, uppermost first, under an overlay.
    Trees {
        /// `trees/<chainid>` directories.
        layers: Vec<PathBuf>,
        /// Where writes go.
        writable: Option<Writable>,
    },
}

impl RootSource {
    /// Where writes go.
    pub fn writable(&self) -> Option<&Writable> {
        match self {
            Self::Directory(_) => None,
            Self::Erofs { writable, .. } | Self::Trees { writable, .. } => writable.as_ref(),
        }
    }
}

/// An overlay's writable layer: its two directories, on one file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are overlayfs's")]
pub struct Writable {
    pub upper: PathBuf,
    pub work: PathBuf,
    /// Nobody wants the layer after a loss of power: nothing in it is synced, neither when a program asks for it nor
    /// at the end, when the kernel would sync the whole file system that holds the layer.
    pub volatile: bool,
    /// What keeps it from growing, where something does.
    pub limit: Option<WritableLimit>,
}

/// How a writable layer is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WritableLimit {
    /// It lies in an ext4 file system of its own, in this file: the two directories are in that one's root.
    Disk(PathBuf),
    /// The file system that it lies on counts it, and refuses what is beyond so many bytes.
    Project(u64),
}
