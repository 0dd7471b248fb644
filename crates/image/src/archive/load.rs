//! Loads the images of an archive into the store.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use oci::{Descriptor, Digest, ImageConfig, Platform};

use super::contents::Contents;
use super::layers::{Layers, Turn};
use super::plan::{Config, Planned, PlannedLayer};
use super::{Loaded, LoadedImage, LoadedLayer, Source, ahead, docker, layout, legacy};
use crate::error::{Error, Result};
use crate::index::Ahead;
use crate::ingest::{Expected, Ingested};
use crate::store::{Live, Staged, Store};

/// How many layers are ingested at once at most: more would need memory without being faster.
pub(super) const PARALLEL: usize = 4;

/// The most images that an archive may have, and the most names.
const IMAGES_LIMIT: usize = 4096;
const NAMES_LIMIT: usize = 16_384;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Which of several platforms; by default the host's, or the only one there is.
    pub platforms: Vec<Platform>,
    /// All that are there, in place of `platforms`.
    pub all_platforms: bool,
}

impl LoadOptions {
    /// What an image must be for that is the only one under its name.
    pub(super) fn only(&self) -> Option<&Platform> {
        match self.platforms.as_slice() {
            [platform] if !self.all_platforms => Some(platform),
            _ => None,
        }
    }

    /// What an image may be for; anything, where there is none.
    pub(super) fn wanted(&self) -> &[Platform] {
        if self.all_platforms { &[] } else { &self.platforms }
    }
}

/// Loads every image of an archive: an OCI layout, or what `docker save` of any version writes.
///
/// # Errors
/// If the archive cannot be read, or anything wanted of it is missing, damaged, or not what it is named. The
/// store is then as it was.
pub fn load(store: &Store, source: Source<'_>, options: &LoadOptions) -> Result<Loaded> {
    let mut staged = Staged::new(store)?;
    let contents = match source {
        Source::Stream(stream) => Contents::read("(stream)", stream, &staged)?,
        Source::Path(path) => Contents::open(path, &staged)?,
    };
    let planned = plan(&contents, options)?;
    check_counts(&contents, &planned)?;
    lease(&planned, &mut staged)?;
    let (found, ahead) = layers(&contents, &planned, &staged)?;
    staged.merged(ahead);
    let is_docker = docker::is_one(&contents)?;
    let mut images: Vec<LoadedImage> = Vec::new();
    for image in planned {
        let mut image = stage(image, &found, &mut staged)?;
        if is_docker {
            // Its layers are tars because all are in there, whatever they have been before.
            image.layers.iter_mut().for_each(LoadedLayer::forget_tar);
        }
        match images.iter_mut().find(|other| other.id == image.id && other.through == image.through) {
            Some(other) => {
                let new = image.references.into_iter().filter(|name| !other.references.contains(name));
                let new: Vec<_> = new.collect();
                other.references.extend(new);
            }
            None => images.push(image),
        }
    }
    drop(contents);
    Ok(Loaded { images, hold: staged.publish()? })
}

/// Reads the documents. A layout is preferred: it tells more, and newer archives are both.
fn plan(contents: &Contents, options: &LoadOptions) -> Result<Vec<Planned>> {
    let layout = layout::images(contents, options)?;
    let images = match layout {
        Some(images) => Some(images),
        None => docker::images(contents, options.wanted())?,
    };
    let images = match images {
        Some(images) => Some(images),
        None => legacy::images(contents)?,
    };
    images.ok_or_else(|| Error::NotImages {
        entry: contents.name().to_owned(),
        reason: "it has neither oci-layout, manifest.json nor repositories; a root file system is loaded with import",
    })
}

/// Refuses archives that are made to keep us busy.
fn check_counts(contents: &Contents, planned: &[Planned]) -> Result<()> {
    let names = planned.iter().map(|image| image.references.len()).sum::<usize>();
    for (count, limit, what) in [(planned.len(), IMAGES_LIMIT, "images"), (names, NAMES_LIMIT, "names")] {
        if count > limit {
            let reason = format!("it has {count} {what}, more than {limit}");
            return Err(Error::Entry { entry: contents.name().to_owned(), reason });
        }
    }
    Ok(())
}

/// Leases what the documents tell of, so that what is here already stays.
pub(super) fn lease(planned: &[Planned], staged: &mut Staged<'_>) -> Result<()> {
    let mut wanted = Live::default();
    for image in planned {
        for layer in image.layers.iter().filter_map(|layer| layer.diff_id.as_ref()) {
            wanted.layer(layer);
        }
        image.documents.iter().for_each(|(digest, _)| wanted.document(digest));
        if let Some((manifest, _)) = &image.manifest {
            wanted.document(&manifest.digest);
        }
        if let Config::Document { bytes, .. } = &image.config {
            wanted.image(&Digest::of(bytes), &[]);
        }
    }
    staged.lease(&wanted)
}

/// Ingests all layers of an archive.
fn layers(contents: &Contents, planned: &[Planned], staged: &Staged<'_>) -> Result<(Layers, Option<Ahead>)> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let read = |layer: &PlannedLayer, needed_by: &str, _: Turn<'_>| {
        let expected =
            Expected { diff_id: layer.diff_id.as_ref(), blob: layer.blob.as_ref(), blob_digest: None };
        contents.layer(&layer.member, expected, staged, needed_by).map(Some)
    };
    ahead::read(planned, cores.min(PARALLEL), &read, staged)
}

/// Stages one image of which the layers have been read.
pub(super) fn stage(image: Planned, found: &Layers, staged: &mut Staged<'_>) -> Result<LoadedImage> {
    for (digest, content) in &image.documents {
        staged.add_document(digest, content)?;
    }
    let mut layers = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        let Some((ingested, path)) = found.get(layer) else {
            return Err(Error::MissingEntry { entry: layer.member.clone(), needed_by: image.entry });
        };
        layers.push(stage_layer(ingested, path.as_ref(), layer.blob.clone(), staged));
    }
    let (bytes, config) = match image.config {
        Config::Document { bytes, config } => (bytes, *config),
        Config::Legacy(steps) => {
            let config = legacy::config(&steps, layers.iter().map(|layer| layer.diff_id.clone()).collect());
            let bytes = config.to_bytes();
            // Its parts come from the archive, so they are checked like any other config.
            let config = ImageConfig::parse(&bytes)
                .map_err(|source| Error::Document { entry: image.entry.clone(), source })?;
            (bytes, config)
        }
    };
    stage_image(&bytes, config, image.manifest, layers, staged).map(|loaded| LoadedImage {
        references: image.references,
        through: image.through,
        ..loaded
    })
}

/// Stages the file of a layer, unless it was stored before.
pub(super) fn stage_layer(
    ingested: &Ingested,
    path: Option<&PathBuf>,
    blob: Option<Descriptor>,
    staged: &mut Staged<'_>,
) -> LoadedLayer {
    if let Some(path) = path {
        staged.add_layer(ingested.diff_id.clone(), path.clone());
    }
    LoadedLayer { diff_id: ingested.diff_id.clone(), size: ingested.size, blob }
}

/// Stages the documents and the index of an image of which the layers are staged.
pub(super) fn stage_image(
    bytes: &[u8],
    config: ImageConfig,
    manifest: Option<(Descriptor, Vec<u8>)>,
    layers: Vec<LoadedLayer>,
    staged: &mut Staged<'_>,
) -> Result<LoadedImage> {
    let id = Digest::of(bytes);
    let mut wanted = Live::default();
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    wanted.image(&id, &diff_ids);
    manifest.iter().for_each(|(manifest, _)| wanted.document(&manifest.digest));
    staged.lease(&wanted)?;
    staged.add_document(&id, bytes)?;
    if let Some((descriptor, bytes)) = &manifest {
        staged.add_document(&descriptor.digest, bytes)?;
    }
    let manifest = manifest.map(|(descriptor, _)| descriptor);
    let image = LoadedImage {
        id,
        config,
        manifest,
        layers,
        references: Vec::new(),
        through: None,
        attached: Vec::new(),
    };
    staged.add_index(&image.id, &diff_ids)?;
    Ok(image)
}
