//! What is to be loaded, as far as the documents of an archive tell.

use oci::{Descriptor, DiffId, Digest, ImageConfig, Reference};

use super::legacy;
use crate::error::{Error, Result};

/// One image.
pub(super) struct Planned {
    /// What it is called in errors.
    pub(super) entry: String,
    /// Its config.
    pub(super) config: Config,
    /// Its manifest and the bytes of it.
    pub(super) manifest: Option<(Descriptor, Vec<u8>)>,
    /// The indexes that lead to it, as far as they are to be kept, the first first.
    pub(super) documents: Vec<(Digest, Vec<u8>)>,
    /// The index by which its names lead to it, which is among the documents of this image or of one before it.
    pub(super) through: Option<Digest>,
    /// Its layers, base first.
    pub(super) layers: Vec<PlannedLayer>,
    /// Its names.
    pub(super) references: Vec<Reference>,
}

/// Where an image's config comes from.
pub(super) enum Config {
    /// A document of the archive.
    Document { bytes: Vec<u8>, config: Box<ImageConfig> },
    /// The oldest form of archive has none: it is made of these once the layers' digests are known, base
    /// first.
    Legacy(Vec<legacy::Step>),
}

/// One layer.
#[derive(Clone, PartialEq)]
pub(super) struct PlannedLayer {
    /// The member that holds it.
    pub(super) member: String,
    /// What the config says of it.
    pub(super) diff_id: Option<DiffId>,
    /// What the manifest says of it.
    pub(super) blob: Option<Descriptor>,
}

/// Parses a config and pairs its diff ids with the members that hold the layers.
pub(super) fn with_config(
    entry: &str,
    bytes: Vec<u8>,
    members: Vec<(String, Option<Descriptor>)>,
) -> Result<(Config, Vec<PlannedLayer>)> {
    let config =
        ImageConfig::parse(&bytes).map_err(|source| Error::Document { entry: entry.to_owned(), source })?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != members.len() {
        let reason = format!("the config lists {} layers, the manifest {}", diff_ids.len(), members.len());
        return Err(Error::Entry { entry: entry.to_owned(), reason });
    }
    let pair = |(diff_id, (member, blob)): (&DiffId, (String, Option<Descriptor>))| PlannedLayer {
        member,
        diff_id: Some(diff_id.clone()),
        blob,
    };
    let layers = diff_ids.iter().zip(members).map(pair).collect();
    Ok((Config::Document { bytes, config: Box::new(config) }, layers))
}
