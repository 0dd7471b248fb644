//! Images of several platforms under one name: what an index leads to, as far as it is here.
//!
//! ```text
//! name ──through──► index ──► manifest ──► config, which is an image      (linux/amd64: what the name stands for)
//!                     │ ────► manifest ──► config, which is an image      (linux/arm64: here, and no dangling image)
//!                     └ ────► manifest                                    (linux/s390x: not here)
//! ```
//!
//! Which image a manifest is, the manifest says itself: an entry is here when its document is and the image that it names is
//! known. So nothing has to be recorded but which index a name goes through (`state`, `tags.through`). What a name stands for
//! where nobody says a platform is that of this host, else the first in the order of the index.
//!
//! What build tools attest beside images is no image, and is not fetched: `image copy` moves it from registry to registry. What
//! a build here has attested is kept as long as the index that names it, and goes with it to registries.

use std::collections::{BTreeMap, BTreeSet};

use image::Store;
use oci::{Descriptor, Digest, Document, Manifest, MediaType, Platform, Reference};
use state::{ImageRecord, State};

use super::add::parse_platform;
use crate::{Engine, Error, Result};

/// How deep indexes may lie in each other.
pub(super) const DEPTH_LIMIT: usize = 4;
/// The most documents that one index is followed to.
const DOCUMENTS_LIMIT: usize = 4096;

/// An image that an index names.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What it runs on: as it says itself where it is here, else as the index says.
    pub(crate) platform: Platform,
    /// Its manifest.
    pub(crate) manifest: Descriptor,
    /// The image, where it is here.
    pub(crate) image: Option<ImageRecord>,
}

/// What an index leads to, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Images of any platform, here or not.
    pub(crate) entries: Vec<Entry>,
    /// The documents that are here: indexes, manifests of images that are here, and what is attested of images.
    pub(crate) documents: Vec<Digest>,
    /// What is attested of images and is here: their manifests, each with a statement.
    pub(crate) attested: Vec<(Digest, Descriptor)>,
}

/// The names of what is attested of an image and is here. What is in it is [`image::Attested`], which listings have no use for:
/// statements may be long.
struct AttestedNames {
    /// The manifest.
    digest: Digest,
    /// Its config and the statements, all of which are documents of the store.
    blobs: Vec<Descriptor>,
}

impl AttestedNames {
    /// Reads one; none unless all of it is here.
    fn read(store: &Store, digest: &Digest) -> Option<AttestedNames> {
        let bytes = store.blob(digest).ok()?;
        let manifest = Manifest::parse(&bytes).ok()?;
        let blobs: Vec<Descriptor> = std::iter::once(manifest.config).chain(manifest.layers).collect();
        let is_whole = blobs.iter().all(|blob| store.blob_path(&blob.digest).exists());
        is_whole.then(|| AttestedNames { digest: digest.clone(), blobs })
    }

    /// All of its documents.
    fn documents(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(&self.digest).chain(self.blobs.iter().map(|blob| &blob.digest)).cloned()
    }
}

impl Listing {
    /// The statements about a manifest.
    pub(crate) fn about(&self, manifest: &Digest) -> impl Iterator<Item = &Descriptor> {
        self.attested.iter().filter(move |(about, _)| about == manifest).map(|(_, statement)| statement)
    }

    /// Reads what is here of an index, or of a manifest that stands alone. A document that is missing or damaged leads
    /// nowhere; `image verify` tells of those.
    pub(crate) fn read(store: &Store, state: &State, top: &Digest) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut seen = BTreeSet::new();
        let mut pending = vec![(Descriptor::new(MediaType::default(), top.clone(), 0), 0)];
        while let Some((entry, depth)) = pending.pop() {
            // An index may name another a thousand times.
            if depth > DEPTH_LIMIT || seen.len() > DOCUMENTS_LIMIT || !seen.insert(entry.digest.clone()) {
                continue;
            }
            let document = match store.blob(&entry.digest) {
                Ok(bytes) => Document::parse(&bytes, &MediaType::default()).ok(),
                Err(_) => None,
            };
            match document {
                Some(Document::Index(index)) => {
                    listing.documents.push(entry.digest);
                    let (attested, inner): (Vec<_>, Vec<_>) =
                        index.manifests.into_iter().partition(Descriptor::is_attestation);
                    let here = attested.iter().take(DOCUMENTS_LIMIT);
                    for entry in here {
                        let Some(attested) = AttestedNames::read(store, &entry.digest) else { continue };
                        listing.documents.extend(attested.documents());
                        let about = entry.attests();
                        // The first of its blobs is its config.
                        let statements = attested.blobs.into_iter().skip(1);
                        listing.attested.extend(about.into_iter().flat_map(|about| {
                            statements.clone().map(move |statement| (about.clone(), statement))
                        }));
                    }
                    pending.extend(inner.into_iter().rev().map(|entry| (entry, depth + 1)));
                }
                Some(Document::Manifest(manifest)) if manifest.config.media_type.is_config() => {
                    listing.add(entry, state.image(&manifest.config.digest)?);
                }
                None if depth > 0 && may_be_image(&entry) => listing.add(entry, None),
                Some(Document::Manifest(_)) | None => {}
            }
        }
        Ok(listing)
    }

    fn add(&mut self, manifest: Descriptor, image: Option<ImageRecord>) {
        let platform = match &image {
            Some(image) => image.platform.normalized(),
            None => manifest.platform.clone().unwrap_or_default().normalized(),
        };
        if image.is_some() {
            self.documents.push(manifest.digest.clone());
        }
        self.entries.push(Entry { platform, manifest, image });
    }

    /// The images that are here.
    pub(crate) fn images(&self) -> impl Iterator<Item = &ImageRecord> {
        self.entries.iter().filter_map(|entry| entry.image.as_ref())
    }

    /// The image that a host of `platform` runs best, of those that are here.
    pub(crate) fn best(&self, platform: &Platform) -> Option<&ImageRecord> {
        let ranked = self.images().filter_map(|image| Some((platform.rank(&image.platform)?, image)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, image)| image)
    }

    /// What a name stands for that goes through this index: of those that are here, but for the `leaving` one.
    pub(crate) fn default_image(&self, leaving: Option<&Digest>) -> Option<&ImageRecord> {
        let host = Platform::host();
        let staying = || self.images().filter(|image| Some(&image.id) != leaving);
        let ranked = staying().filter_map(|image| Some((host.rank(&image.platform)?, image)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, image)| image).or_else(|| staying().next())
    }
}

/// Whether an entry whose document is not here is likely to be an image.
fn may_be_image(entry: &Descriptor) -> bool {
    (entry.media_type.is_manifest() || entry.media_type.as_str().is_empty()) && entry.artifact_type.is_none()
}

/// The names with an index, by what they lead to.
pub(crate) struct Indexed {
    /// Each name with the image that it stands for and all that its index leads to.
    pub(crate) names: Vec<(Reference, Digest, Listing)>,
}

impl Indexed {
    /// Reads the index of every name that has one; each index once.
    pub(crate) fn read(store: &Store, state: &State) -> Result<Indexed> {
        let mut read: BTreeMap<Digest, Listing> = BTreeMap::new();
        let mut names = Vec::new();
        for name in state.indexed_names()? {
            let listing = match read.get(&name.index) {
                Some(listing) => listing.clone(),
                None => {
                    let listing = Listing::read(store, state, &name.index)?;
                    read.entry(name.index).or_insert(listing).clone()
                }
            };
            names.push((name.reference, name.image, listing));
        }
        Ok(Indexed { names })
    }

    /// The names that lead to an image for which they do not stand: it is for another platform.
    pub(crate) fn leading_to<'a>(&'a self, image: &'a Digest) -> impl Iterator<Item = &'a Reference> {
        let leads = move |listing: &Listing| listing.images().any(|other| other.id == *image);
        let names =
            self.names.iter().filter(move |(_, stands_for, listing)| stands_for != image && leads(listing));
        names.map(|(name, _, _)| name)
    }

    /// All images of a name's index that are here.
    pub(crate) fn group(&self, name: &Reference) -> impl Iterator<Item = &ImageRecord> {
        let named = self.names.iter().filter(move |(other, _, _)| other == name);
        named.flat_map(|(_, _, listing)| listing.images())
    }
}

impl Engine {
    pub(crate) fn indexed(&self) -> Result<Indexed> {
        Indexed::read(&self.store, &self.state())
    }

    pub(crate) fn listing(&self, index: &Digest) -> Result<Listing> {
        Listing::read(&self.store, &self.state(), index)
    }

    /// What is attested of an image by the indexes through which names lead to it: each statement once.
    pub(crate) fn attested(&self, id: &Digest) -> Result<Vec<crate::info::Attestation>> {
        let told = |statement: Descriptor| crate::info::Attestation {
            predicate_type: statement
                .annotations
                .get("in-toto.io/predicate-type")
                .cloned()
                .unwrap_or_default(),
            digest: statement.digest.to_string(),
            size: statement.size,
        };
        Ok(self.statements_of(id)?.into_iter().map(told).collect())
    }

    /// Whether that document is here, and an index.
    pub(crate) fn is_index(&self, digest: &Digest) -> bool {
        let bytes = self.store.blob(digest).unwrap_or_default();
        matches!(Document::parse(&bytes, &MediaType::default()), Ok(Document::Index(_)))
    }

    /// The index that a reference goes through: a digest is itself one, or a manifest.
    pub(crate) fn index_of(&self, reference: &Reference) -> Result<Option<Digest>> {
        match reference.digest() {
            Some(digest) => Ok(Some(digest.clone())),
            None => Ok(self.state().index_of(reference)?),
        }
    }

    /// The image that `name` stands for on a platform (`os[/architecture[/variant]]`), or where none is told.
    pub(crate) fn resolve_for(&self, name: &str, platform: Option<&str>) -> Result<Digest> {
        let (id, reference) = self.resolve_reference(name)?;
        let Some(wanted) = platform.map(parse_platform).transpose()? else { return Ok(id) };
        if let Some(reference) = reference
            && let Some(index) = self.index_of(&reference)?
            && let Some(image) = self.listing(&index)?.best(&wanted)
        {
            return Ok(image.id.clone());
        }
        let found = self.image_record(&id)?.platform.normalized();
        match wanted.runs(&found) {
            true => Ok(id),
            false => Err(Error::WrongPlatform {
                image: name.to_owned(),
                wanted: wanted.to_string(),
                found: found.to_string(),
            }),
        }
    }
}
