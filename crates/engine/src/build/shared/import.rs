//! Reads caches, and fetches of them what is wanted.

use oci::{Descriptor, Document as OciDocument, Manifest};

use super::Imported;
use super::document::{ANNOTATION, CONFIG, Document};
use super::options::Place;
use crate::build::BuildError;
use crate::build::blobs::{Blobs, Entry};
use crate::build::session::Session;
use crate::{Error, Result};

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
    let (bytes, layers) = document(top, &blobs)?;
    Document::read(&bytes, &layers, blobs)
}

/// The document of a cache, and the blobs that its manifest names.
fn document(top: OciDocument, blobs: &Blobs) -> Result<(Vec<u8>, Vec<Descriptor>)> {
    if let OciDocument::Index(index) = &top
        && let Some(config) = index.manifests.iter().find(|entry| entry.media_type.as_str() == CONFIG)
    {
        return Ok((blobs.small(config, oci::CONFIG_LIMIT)?, index.manifests.clone()));
    }
    // An image for several platforms: that of this host.
    of_manifest(&blobs.image(top, &oci::Platform::host())?, blobs)
}

fn of_manifest(manifest: &Manifest, blobs: &Blobs) -> Result<(Vec<u8>, Vec<Descriptor>)> {
    if manifest.config.media_type.as_str() == CONFIG {
        return Ok((blobs.small(&manifest.config, oci::CONFIG_LIMIT)?, manifest.layers.clone()));
    }
    match manifest.annotations.get(ANNOTATION) {
        Some(text) => Ok((text.clone().into_bytes(), manifest.layers.clone())),
        None => Err(bad("it is no cache, and no image with one".to_owned())),
    }
}

fn bad(reason: String) -> Error {
    BuildError::CacheDocument { reason }.into()
}
