//! The merged index of an image: layers in, one small EROFS file out, which the kernel mounts over the
//! layers' tars.
//!
//! Only the headers of the tars are read, once each; the tree is kept in memory (about 100 bytes per name),
//! data never is. The same layers give the same bytes.
//!
//! The index of a stored image has, beside what the layers hold, the places that every container has something
//! mounted on.

use crate::merge::{self, Merger, Tree};
use crate::tar;
use crate::view::View;
use oci::DiffId;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt as _;

/// A layer of an image: its name and its uncompressed tar.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The digest of the tar.
    pub diff_id: &'a DiffId,
    /// The tar, open for reading. Its position is neither used nor changed.
    pub tar: &'a File,
}

/// Why an index cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer cannot be read, or is not an acceptable tar.
    #[error("read layer {diff_id}")]
    Layer {
        /// Which.
        diff_id: DiffId,
        /// The entry at fault, or the system's reason.
        #[source]
        source: tar::ReadError,
    },
    /// An entry of a layer does not fit those below and before it.
    #[error("merge layer {diff_id}")]
    Merge {
        /// Which.
        diff_id: DiffId,
        /// The entry at fault.
        #[source]
        source: merge::Error,
    },
    /// The tree cannot be written.
    #[error("write the merged index")]
    Write(#[source] erofs::Error),
}

/// Writes the index of `layers`, bottom first, to `out`; returns its size. A mount names the tars as devices
/// in the same order.
///
/// # Errors
/// An unacceptable layer, or a failing read or write.
pub fn write(layers: &[Layer<'_>], out: &mut impl Write) -> Result<u64, Error> {
    write_tree(&merge(layers)?, layers, out)
}

/// Layers from the base up that are merged before those above them are there.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    merger: Merger,
    layers: Vec<DiffId>,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { merger: Merger::new(merge::Limits::default()), layers: Vec::new() }
    }
}

impl Ahead {
    /// What a view of the lowest of some layers, or of all, has merged.
    pub(crate) fn of(view: &View, layers: &[DiffId]) -> Self {
        let layers = layers.iter().take(view.depth()).cloned().collect();
        Self { merger: view.merger().clone(), layers }
    }

    /// Adds the layer above those that are merged.
    ///
    /// # Errors
    /// An unacceptable layer, or a failing read. What is merged is of no use then.
    pub(crate) fn add(&mut self, layer: &Layer<'_>) -> Result<(), Error> {
        self.layers.push(layer.diff_id.clone());
        merge_layer(&mut self.merger, layer)
    }

    /// Whether these are the lowest of `layers`.
    pub(crate) fn begins(&self, layers: &[DiffId]) -> bool {
        layers.starts_with(&self.layers)
    }
}

/// Like [`write()`], with the mount points that are missing. The lowest of `layers` may be merged already.
///
/// # Errors
/// As there.
pub(crate) fn write_with_mount_points(
    mut ahead: Ahead,
    layers: &[Layer<'_>],
    out: &mut impl Write,
) -> Result<u64, Error> {
    for layer in layers.iter().skip(ahead.layers.len()) {
        ahead.add(layer)?;
    }
    write_merged(ahead.merger, layers, true, out)
}

/// Writes the index of layers that are all merged: as they are, or with the mount points that are missing.
///
/// # Errors
/// As [`write()`].
pub(crate) fn write_merged(
    mut merger: Merger,
    layers: &[Layer<'_>],
    has_mount_points: bool,
    out: &mut impl Write,
) -> Result<u64, Error> {
    if has_mount_points {
        merger.add_mount_points();
    }
    write_tree(&merger.finish(), layers, out)
}

fn write_tree(tree: &Tree, layers: &[Layer<'_>], out: &mut impl Write) -> Result<u64, Error> {
    let devices = layers.iter().map(device).collect::<Result<Vec<_>, _>>()?;
    let volume = erofs::Volume { uuid: uuid(layers), devices: &devices };
    let mut read = |device: u16, offset, buffer: &mut [u8]| {
        layers[usize::from(device)].tar.read_exact_at(buffer, offset)
    };
    erofs::write(tree, &volume, &mut read, out).map_err(Error::Write)
}

/// The merged tree of `layers`, bottom first.
///
/// # Errors
/// An unacceptable layer, or a failing read.
pub fn merge(layers: &[Layer<'_>]) -> Result<Tree, Error> {
    let mut ahead = Ahead::default();
    for layer in layers {
        ahead.add(layer)?;
    }
    Ok(ahead.merger.finish())
}

/// Adds all of one layer.
pub(crate) fn merge_layer(merger: &mut Merger, layer: &Layer<'_>) -> Result<(), Error> {
    let refused = |source| Error::Merge { diff_id: layer.diff_id.clone(), source };
    merger.begin_layer().map_err(refused)?;
    let mut add = |entry| merger.add(entry).map_err(Refusal::Merge);
    match tar::read_entries(layer.tar, tar::Limits::default(), &mut add) {
        Ok(_) => Ok(()),
        Err(Refusal::Merge(source)) => Err(refused(source)),
        Err(Refusal::Read(source)) => Err(Error::Layer { diff_id: layer.diff_id.clone(), source }),
    }
}

/// Either side's error, while both are at work.
enum Refusal {
    Read(tar::ReadError),
    Merge(merge::Error),
}

impl From<tar::ReadError> for Refusal {
    fn from(error: tar::ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<tar::Error> for Refusal {
    fn from(error: tar::Error) -> Self {
        Self::Read(error.into())
    }
}

fn device(layer: &Layer<'_>) -> Result<erofs::Device, Error> {
    let failed = |source| {
        let source = tar::ReadError::Io { offset: 0, source };
        Error::Layer { diff_id: layer.diff_id.clone(), source }
    };
    let bytes = layer.tar.metadata().map_err(failed)?.len();
    // The slot has room for a SHA-256 in full, and for as much of a longer digest.
    let mut tag = [0; 64];
    for (slot, &digit) in tag.iter_mut().zip(layer.diff_id.digest().encoded().as_bytes()) {
        *slot = digit;
    }
    Ok(erofs::Device { tag, bytes })
}

/// Follows from the layers, so that equal images are equal files (RFC 9562, version 8).
fn uuid(layers: &[Layer<'_>]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for layer in layers {
        hash.update(layer.diff_id.as_str());
        hash.update(b"\n");
    }
    let mut uuid = [0; 16];
    for (byte, hashed) in uuid.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
