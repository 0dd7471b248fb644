//! Images from a registry: the same way into the store as that of an archive, with blobs that come one by one.
//!
//! The config, which the manifest names by its digest, says which layers the image has. One that the store has already is not
//! asked for at all; all others are read through the pipeline, which checks the blob against the manifest and the layer
//! against the config.

use std::io::{self, Read};

use oci::{Descriptor, Digest, Manifest, Platform};

use super::Loaded;
use super::contents::{Found, ingest_into};
use super::layers::Layers;
use super::load::{PARALLEL, lease, stage};
use super::plan::{self, Planned, PlannedLayer};
use crate::error::{Error, Result};
use crate::ingest::{Expected, Ingested};
use crate::store::{Staged, Store};

/// The most layers of one image: more than any file system can stack.
const LAYERS_LIMIT: usize = 1024;

/// Opens a blob.
pub type OpenBlob<'a> = dyn Fn(&Descriptor) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

/// Hears what becomes of a layer.
pub type Watch<'a> = dyn Fn(&Descriptor, LayerStep) + Sync + 'a;

/// What becomes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// It is here already.
    Exists,
    /// So many bytes of its blob have arrived.
    Received(u64),
    /// It is read, checked and written.
    Complete,
}

/// Images that a registry has under one name, of which the documents have been fetched and checked against their digests.
pub struct Remote<'a> {
    /// What they are called in errors.
    pub name: String,
    /// The images: one, or one for each platform.
    pub images: Vec<RemoteImage>,
    /// Further documents that are to be kept, such as the indexes that lead to the images; checked as well.
    pub documents: Vec<(Digest, Vec<u8>)>,
    /// What they must run on, if anything was said.
    pub platform: Option<Platform>,
    /// Opens the blob of a layer.
    pub open: &'a OpenBlob<'a>,
    /// Hears of layers.
    pub watch: &'a Watch<'a>,
}

/// One image of a registry.
pub struct RemoteImage {
    /// The manifest with its descriptor and its bytes.
    pub manifest: (Descriptor, Vec<u8>, Manifest),
    /// The bytes of the config that the manifest names.
    pub config: Vec<u8>,
}

/// Stores images of a registry, all or none. They have no name then.
///
/// # Errors
/// If a layer cannot be had or is not what it should be. The store is then as it was.
pub fn fetch(store: &Store, remote: Remote<'_>) -> Result<Loaded> {
    let Remote { name, images, mut documents, platform, open, watch } = remote;
    let mut staged = Staged::new(store)?;
    let mut planned = Vec::with_capacity(images.len());
    for image in images {
        planned.push(plan(&name, image, std::mem::take(&mut documents), platform.as_ref())?);
    }
    lease(&planned, &mut staged)?;
    let read = |layer: &PlannedLayer, needed_by: &str| read(layer, needed_by, &staged, open, watch);
    let found = Layers::read(&planned, PARALLEL, &read)?;
    let images = planned.into_iter().map(|image| stage(image, &found, &mut staged)).collect::<Result<_>>()?;
    Ok(Loaded { images, hold: staged.publish()? })
}

fn plan(
    name: &str,
    image: RemoteImage,
    documents: Vec<(Digest, Vec<u8>)>,
    platform: Option<&Platform>,
) -> Result<Planned> {
    let RemoteImage { manifest: (descriptor, bytes, manifest), config } = image;
    let entry = name.to_owned();
    if manifest.layers.len() > LAYERS_LIMIT {
        let reason = format!("it has {} layers, more than {LAYERS_LIMIT}", manifest.layers.len());
        return Err(Error::Entry { entry, reason });
    }
    let members = manifest.layers.into_iter().map(|blob| (blob.digest.to_string(), Some(blob))).collect();
    let (config, layers) = plan::with_config(name, config, members)?;
    if let (Some(wanted), plan::Config::Document { config, .. }) = (platform, &config)
        && !wanted.runs(&config.platform)
    {
        let (wanted, available) = (wanted.to_string(), config.platform.normalized().to_string());
        return Err(Error::NoPlatform { entry, wanted, available });
    }
    let manifest = Some((descriptor, bytes));
    Ok(Planned { entry, config, manifest, documents, layers, references: Vec::new() })
}

fn read(
    layer: &PlannedLayer,
    needed_by: &str,
    staged: &Staged<'_>,
    open: &OpenBlob<'_>,
    watch: &Watch<'_>,
) -> Result<Found> {
    let (Some(blob), Some(diff_id)) = (&layer.blob, &layer.diff_id) else {
        return Err(Error::MissingEntry { entry: layer.member.clone(), needed_by: needed_by.to_owned() });
    };
    if let Some(size) = staged.store().layer_size(diff_id)? {
        watch(blob, LayerStep::Exists);
        let ingested = Ingested { diff_id: diff_id.clone(), size, blob_size: blob.size, terminated: true };
        return Ok((ingested, None));
    }
    let failed = |source| Error::Read { entry: layer.member.clone(), source };
    let content = open(blob).map_err(failed)?;
    let mut content =
        Counted { content, received: 0, tell: &|bytes| watch(blob, LayerStep::Received(bytes)) };
    let expected = Expected { diff_id: Some(diff_id), blob: Some(blob), blob_digest: None };
    let found = ingest_into(&layer.member, &mut content, expected, staged)?;
    watch(blob, LayerStep::Complete);
    Ok(found)
}

/// Tells how much has been read.
struct Counted<'a> {
    content: Box<dyn Read + Send>,
    received: u64,
    tell: &'a (dyn Fn(u64) + Sync),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.received += read as u64;
        (self.tell)(self.received);
        Ok(read)
    }
}
