//! Makes an image of layers that are in the store.

use std::sync::Arc;

use oci::{Descriptor, Digest, ImageConfig};

use super::load::stage_image;
use super::{Loaded, LoadedImage, LoadedLayer};
use crate::error::{Error, Result};
use crate::index::Ahead;
use crate::store::{Live, Staged, Store, size_of};
use crate::view::View;

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The config; the digests of its layers are filled in.
    pub config: ImageConfig,
    /// The layers, base first.
    pub layers: Vec<LoadedLayer>,
    /// Its manifest, if it has one already.
    pub manifest: Option<(Descriptor, Vec<u8>)>,
    /// The files of all its layers, where somebody has merged them: its index is made of that.
    pub merged: Option<Arc<View>>,
    /// Documents that are kept with it.
    pub documents: Vec<Vec<u8>>,
}

/// Makes images, whose layers are in the store and stay there meanwhile.
///
/// # Errors
/// If a config is not acceptable, a layer is missing, or something cannot be written. The store is then as it was.
pub fn assemble(store: &Store, images: Vec<Parts>) -> Result<Loaded> {
    let mut staged = Staged::new(store)?;
    let mut made = Vec::with_capacity(images.len());
    for Parts { mut config, layers, manifest, merged, documents } in images {
        let mut wanted = Live::default();
        layers.iter().for_each(|layer| wanted.layer(&layer.diff_id));
        documents.iter().for_each(|document| wanted.document(&Digest::of(document)));
        staged.lease(&wanted)?;
        for document in &documents {
            staged.add_document(&Digest::of(document), document)?;
        }
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        staged.merged(merged.map(|view| Ahead::of(&view, &config.rootfs.diff_ids)));
        let bytes = config.to_bytes();
        // What a Dockerfile brought in is checked like what an archive says.
        let config = ImageConfig::parse(&bytes)
            .map_err(|source| Error::Document { entry: "the config of the new image".to_owned(), source })?;
        made.push(stage_image(&bytes, config, manifest, layers, &mut staged)?);
    }
    Ok(Loaded { images: made, hold: staged.publish()? })
}

/// Whether all of an image is here: config, documents, index, and layers. Whoever asks has it in use, or knows what else keeps it.
///
/// # Errors
/// If that cannot be looked at.
pub fn is_stored(store: &Store, image: &LoadedImage) -> Result<bool> {
    let documents = image.manifest.iter().chain(&image.attached).map(|document| &document.digest);
    let documents = documents.chain([&image.id]).map(|digest| store.blob_path(digest));
    for path in documents.chain([store.index_path(&image.id)]) {
        if size_of(&path)?.is_none() {
            return Ok(false);
        }
    }
    for layer in &image.layers {
        if size_of(&store.layer_path(&layer.diff_id))? != Some(layer.size) {
            return Ok(false);
        }
    }
    Ok(true)
}
