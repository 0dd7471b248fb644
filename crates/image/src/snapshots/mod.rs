//! Root file systems of images, ready to be mounted: two ways behind one interface.
//!
//! [`Erofs`] hands out the image's merged index and the layers' tars that it points into; nothing is
//! unpacked. [`Trees`] unpacks every layer once into `trees/<chainid>/`, for kernels that cannot mount
//! EROFS from files ([`probe`] tells) and for users who may not; theirs are unpacked in a user namespace, where they have
//! ids to give. Both give the same tree, as both follow
//! [`crate::merge`]; a contract suite holds them to it.
//!
//! Nothing is mounted here: [`RootFs`] says what to mount, as plain data.

mod ids;
mod probe;
mod trees;
mod unpack;

pub use ids::Ids;
pub use probe::{Unsupported, probe};
pub use trees::{Privilege, Trees, unpack_alone};

use crate::error::Result;
use crate::store::Store;
use oci::{DiffId, Digest};
use std::path::PathBuf;

/// What to mount as an image's root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootFs {
    /// `erofs` with `source` the index and one `device` per tar, in this order.
    Erofs {
        /// The merged index.
        index: PathBuf,
        /// The layers' tars, bottom first.
        devices: Vec<PathBuf>,
    },
    /// `overlay` with these as lower directories, in this order; with `userxattr` unless mounted in the initial user
    /// namespace.
    Trees {
        /// Unpacked layers, uppermost first.
        layers: Vec<PathBuf>,
    },
}

/// A way to prepare root file systems.
pub trait Snapshots {
    /// Makes what is missing to mount the image of this id and these layers, bottom first. Does nothing where it was
    /// done before, by whichever process.
    ///
    /// # Errors
    /// If a layer is missing from the store or damaged, or something cannot be written.
    fn prepare(&self, store: &Store, image: &Digest, layers: &[DiffId]) -> Result<RootFs>;
}

/// Mounts the merged index; nothing is unpacked. Takes Linux 6.12 and root; see [`probe`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Erofs;

impl Snapshots for Erofs {
    fn prepare(&self, store: &Store, image: &Digest, layers: &[DiffId]) -> Result<RootFs> {
        let index = store.index(image, layers)?;
        Ok(RootFs::Erofs { index, devices: layers.iter().map(|layer| store.layer_path(layer)).collect() })
    }
}
