//! Reads caches, and fetches of them what is wanted.

use oci::{Document as OciDocument, ImageConfig, Index, Manifest, Platform};

use super::Imported;
use super::document::{ANNOTATION, CONFIG, Document};
use super::options::Place;
use crate::build::BuildError;
use crate::build::blobs::{Blobs, Entry};
use crate::build::session::Session;
use crate::{Error, Result};

/// The most images of an index that are looked at.
const IMAGES: usize = 64;

/// Reads what a cache says.
pub(super) fn import(session: &Session<'_>, place: &Place) -> Result<Imported> {
    let (blobs, top) = match place {
        Place::Registry(reference) => Blobs::in_registry(session, reference)?,
        Place::Local { directory, tag, digest } => {
            let entry = digest.clone().map_or_else(|| Entry::Tag(tag.clone()), Entry::Digest);
            Blobs::in_layout(directory, &entry)?
        }
        Place::Tar(path) => Blobs::in_tar(path, &Entry::Usual)?,
        Place::Inline => return Err(bad("there is no image yet".to_owned())),
    };
    let documents = match &top {
        OciDocument::Index(index) => match of_index(index, &blobs)? {
            found if found.is_empty() => vec![of_manifest(&blobs.image(top, &Platform::host())?, &blobs)?],
            found => found,
        },
        OciDocument::Manifest(manifest) => vec![of_manifest(manifest, &blobs)?],
    };
    Ok(Document::joined(documents, blobs))
}

/// What an index has: one cache, or images for several platforms with one each.
fn of_index(index: &Index, blobs: &Blobs) -> Result<Vec<Document>> {
    if let Some(config) = index.manifests.iter().find(|entry| entry.media_type.as_str() == CONFIG) {
        return Ok(vec![Document::read(&blobs.small(config, oci::CONFIG_LIMIT)?, &index.manifests)?]);
    }
    let mut found = Vec::new();
    // What belongs to an image, such as what is attested of it, has no platform.
    let images = index.manifests.iter().filter(|entry| entry.platform.is_some());
    for entry in images.take(IMAGES) {
        // An index may lie somewhere where not all of its images do.
        match blobs.document(entry) {
            Ok(OciDocument::Manifest(manifest)) => found.extend(inline(&manifest, blobs).transpose()?),
            Ok(OciDocument::Index(_)) => {}
            Err(error) => {
                tracing::warn!(%error, image = %entry.digest, "an image has no cache that is to be had")
            }
        }
    }
    Ok(found)
}

fn of_manifest(manifest: &Manifest, blobs: &Blobs) -> Result<Document> {
    if manifest.config.media_type.as_str() == CONFIG {
        return Document::read(&blobs.small(&manifest.config, oci::CONFIG_LIMIT)?, &manifest.layers);
    }
    inline(manifest, blobs).unwrap_or_else(|| Err(bad("it is no cache, and no image with one".to_owned())))
}

/// The cache that an image is.
fn inline(manifest: &Manifest, blobs: &Blobs) -> Option<Result<Document>> {
    let text = manifest.annotations.get(ANNOTATION)?;
    let diff_ids = || {
        let config = blobs.small(&manifest.config, oci::CONFIG_LIMIT)?;
        let config = ImageConfig::parse(&config).map_err(|error| blobs.bad(error.to_string()))?;
        Ok(config.rootfs.diff_ids)
    };
    Some(Document::read_inline(text.as_bytes(), &manifest.layers, diff_ids))
}

fn bad(reason: String) -> Error {
    BuildError::CacheDocument { reason }.into()
}
