//! Makes an image of another one and a layer on top.

use std::io::Read;

use oci::{ContainerConfig, History, ImageConfig, Timestamp};

use super::contents::ingest_into;
use super::load::{stage_image, stage_layer};
use super::{Loaded, LoadedLayer, change};
use crate::error::{Error, Result};
use crate::ingest::Expected;
use crate::store::{Live, Staged, Store};

/// What the image is to be, apart from the files of its topmost layer.
#[derive(Clone, Debug)]
pub struct CommitOptions {
    /// The image below.
    pub base: ImageConfig,
    /// Its layers, base first.
    pub base_layers: Vec<LoadedLayer>,
    /// Defaults of containers made from it.
    pub config: ContainerConfig,
    /// Dockerfile instructions that change them, as for [`super::import`].
    pub changes: Vec<String>,
    /// Who made it.
    pub author: String,
    /// What the history says of it.
    pub comment: String,
    /// By what command.
    pub created_by: String,
    /// When.
    pub created: Timestamp,
}

/// Adds a layer to an image; one without any member is only a line of the history. `when_read` is called as soon as the
/// layer is not needed any more.
///
/// # Errors
/// If a change is not understood, or the layer cannot be read or is not whole. The store is then as it was.
pub fn commit(
    store: &Store,
    layer: &mut (dyn Read + Send),
    options: &CommitOptions,
    when_read: impl FnOnce(),
) -> Result<Loaded> {
    let mut config = ImageConfig {
        created: Some(options.created),
        author: options.author.clone(),
        comment: options.comment.clone(),
        config: options.config.clone(),
        ..options.base.clone()
    };
    for text in &options.changes {
        change::apply(&mut config.config, text)?;
    }
    let mut staged = Staged::new(store)?;
    let mut wanted = Live::default();
    options.base_layers.iter().for_each(|layer| wanted.layer(&layer.diff_id));
    staged.lease(&wanted)?;
    let (ingested, path) = ingest_into("the writable layer", layer, Expected::default(), &staged)?;
    when_read();
    if !ingested.terminated {
        let reason = "it was not read to its end".to_owned();
        return Err(Error::Entry { entry: "the writable layer".to_owned(), reason });
    }
    let mut layers = options.base_layers.clone();
    let empty_layer = ingested.size == crate::tar::END.len() as u64;
    if !empty_layer {
        let layer = stage_layer(&ingested, path.as_ref(), None, &mut staged);
        config.rootfs.diff_ids.push(layer.diff_id.clone());
        layers.push(layer);
    }
    config.history.push(History {
        created: Some(options.created),
        created_by: options.created_by.clone(),
        author: options.author.clone(),
        comment: options.comment.clone(),
        empty_layer,
    });
    let bytes = config.to_bytes();
    // What the options brought in is checked like what an archive says.
    let config = ImageConfig::parse(&bytes)
        .map_err(|source| Error::Document { entry: "the config of the new image".to_owned(), source })?;
    let image = stage_image(&bytes, config, None, layers, &mut staged)?;
    Ok(Loaded { images: vec![image], hold: staged.publish()? })
}
