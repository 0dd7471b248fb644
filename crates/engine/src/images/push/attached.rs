//! Documents that are kept with an image, such as its bill of materials, become referrers of it in the registry (image-spec,
//! manifest.md, "Guidelines for Artifact Usage"; distribution-spec, "Listing Referrers").
//!
//! ```text
//! manifest of the document { artifactType, config: {}, layers: [document], subject ──► manifest of the image }
//! ```
//!
//! It is made when an image is pushed, for only then is it known what the image's manifest is. Nothing in it depends on when or
//! from where that is done, so that pushing again changes nothing.

use std::collections::BTreeMap;

use image::Store;
use oci::{Descriptor, Manifest, MediaType, Reference};
use registry_client::Repository;
use state::ImageRecord;

use super::blobs::in_memory;
use crate::images::failed;
use crate::{Error, Result};

/// Sends what is attached to the image, which the registry has as `subject`.
pub(super) fn send(
    store: &Store,
    target: &Repository,
    tag: &Reference,
    record: &ImageRecord,
    subject: &Descriptor,
) -> Result<()> {
    for document in &record.attached {
        let refused = |source| Error::Registry {
            action: "push what is known of",
            name: tag.familiar(),
            source: Box::new(source),
        };
        let content = store.blob(&document.digest).map_err(failed("read a document of the image"))?;
        let empty = Descriptor::of(MediaType::OCI_EMPTY, b"{}");
        for (blob, content) in [(&empty, b"{}".to_vec()), (document, content)] {
            if !target.has_blob(blob).map_err(refused)? {
                target.put_blob(blob, &in_memory(content)).map_err(refused)?;
            }
        }
        let bytes = manifest(document, empty, record, subject)?;
        let place = tag.with_digest(oci::Digest::of(&bytes));
        target.put_manifest(&place, &MediaType::OCI_MANIFEST, &bytes).map_err(refused)?;
    }
    Ok(())
}

/// The manifest by which a document refers to the image.
fn manifest(
    document: &Descriptor,
    config: Descriptor,
    record: &ImageRecord,
    subject: &Descriptor,
) -> Result<Vec<u8>> {
    let created =
        record.created.map(|time| ("org.opencontainers.image.created".to_owned(), time.to_string()));
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OCI_MANIFEST),
        artifact_type: Some(document.media_type.clone()),
        config,
        layers: vec![document.clone()],
        subject: Some(subject.clone()),
        annotations: created.into_iter().collect::<BTreeMap<_, _>>(),
    };
    serde_json::to_vec(&manifest)
        .map_err(|source| image::Error::Json { entry: "manifest".to_owned(), source })
        .map_err(failed("write the manifest of a document"))
}
