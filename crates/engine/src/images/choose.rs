//! Which manifests a name of a registry leads to, for one platform or for all.

use std::collections::BTreeSet;

use oci::{Descriptor, Digest, Document, Manifest, Platform};
use registry_client::{Fetched, Repository};

use super::platforms::DEPTH_LIMIT;
use crate::{Error, Result};

/// The most images that are fetched of one index, and the most documents that are looked at for them.
const IMAGES_LIMIT: usize = 64;
const DOCUMENTS_LIMIT: usize = 256;

/// What is wanted of an index.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// What this host runs.
    Host,
    /// What another one runs; it must be that.
    Platform(Platform),
    /// Every image.
    All,
}

impl Wanted {
    /// What the image must be for.
    pub(super) fn platform(&self) -> Option<&Platform> {
        match self {
            Wanted::Platform(platform) => Some(platform),
            Wanted::Host | Wanted::All => None,
        }
    }
}

/// A manifest of an image, with its descriptor and its bytes.
pub(super) type Chosen = (Descriptor, Vec<u8>, Manifest);

/// What a name leads to.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The manifests, in the order of the index.
    pub(super) manifests: Vec<Chosen>,
    /// The indexes that lead to them, the first of which the name stands for.
    pub(super) indexes: Vec<(Digest, Vec<u8>)>,
}

/// Finds the manifests that a name leads to, beginning with what it stands for.
pub(super) fn choose(repository: &Repository, top: Fetched, wanted: &Wanted, name: &str) -> Result<Choice> {
    match wanted {
        Wanted::Host => choose_one(repository, top, &Platform::host(), name),
        Wanted::Platform(platform) => choose_one(repository, top, platform, name),
        Wanted::All => choose_all(repository, top, name),
    }
}

fn choose_one(repository: &Repository, top: Fetched, platform: &Platform, name: &str) -> Result<Choice> {
    let mut choice = Choice::default();
    let mut fetched = top;
    for _ in 0..=DEPTH_LIMIT {
        let index = match fetched.document {
            Document::Manifest(manifest) => {
                check_image(&manifest, name)?;
                choice.manifests.push((fetched.descriptor, fetched.bytes, *manifest));
                return Ok(choice);
            }
            Document::Index(index) => index,
        };
        choice.indexes.push((fetched.descriptor.digest, fetched.bytes));
        let Some(chosen) = index.select(platform) else {
            return Err(Error::NoMatchingManifest { platform: platform.to_string(), name: name.to_owned() });
        };
        fetched = repository.manifest_of_index(chosen).map_err(|source| refused(name, source))?;
    }
    Err(Error::IndexTooDeep { name: name.to_owned(), limit: DEPTH_LIMIT })
}

/// Every image, in the order of the index. What is listed beside images is left out, as is what occurs again.
fn choose_all(repository: &Repository, top: Fetched, name: &str) -> Result<Choice> {
    let mut choice = Choice::default();
    let mut seen = BTreeSet::from([top.descriptor.digest.clone()]);
    let mut pending: Vec<(Descriptor, usize)> = Vec::new();
    let mut next = Some((top, 0));
    while let Some((fetched, depth)) = next {
        match fetched.document {
            Document::Manifest(manifest) if depth == 0 || check_image(&manifest, name).is_ok() => {
                check_image(&manifest, name)?;
                choice.manifests.push((fetched.descriptor, fetched.bytes, *manifest));
            }
            Document::Manifest(_) => {}
            Document::Index(_) if depth == DEPTH_LIMIT => {
                return Err(Error::IndexTooDeep { name: name.to_owned(), limit: DEPTH_LIMIT });
            }
            Document::Index(index) => {
                choice.indexes.push((fetched.descriptor.digest, fetched.bytes));
                let is_image = |entry: &Descriptor| {
                    let kind = &entry.media_type;
                    let may_be = kind.is_manifest() || kind.is_index() || kind.as_str().is_empty();
                    may_be && !entry.is_attestation() && entry.artifact_type.is_none()
                };
                let images = index.manifests.into_iter().filter(is_image);
                pending.extend(images.rev().map(|entry| (entry, depth + 1)));
            }
        }
        if choice.manifests.len() > IMAGES_LIMIT || seen.len() > DOCUMENTS_LIMIT {
            return Err(Error::TooManyPlatforms { name: name.to_owned(), limit: IMAGES_LIMIT });
        }
        next = loop {
            let Some((entry, depth)) = pending.pop() else { break None };
            if seen.insert(entry.digest.clone()) {
                let found = repository.manifest_of_index(&entry);
                break Some((found.map_err(|source| refused(name, source))?, depth));
            }
        };
    }
    if choice.manifests.is_empty() {
        return Err(Error::NoMatchingManifest { platform: "any platform".to_owned(), name: name.to_owned() });
    }
    Ok(choice)
}

/// Refuses what is no image, such as a signature or a chart.
fn check_image(manifest: &Manifest, name: &str) -> Result<()> {
    if manifest.config.media_type.is_config() && manifest.artifact_type.is_none() {
        return Ok(());
    }
    let kind = manifest.artifact_type.as_ref().unwrap_or(&manifest.config.media_type).to_string();
    Err(Error::NotAnImage { name: name.to_owned(), kind })
}

fn refused(name: &str, source: registry_client::Error) -> Error {
    Error::Registry { action: "pull", name: name.to_owned(), source: Box::new(source) }
}
