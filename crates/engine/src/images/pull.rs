//! `pull`: a name of a registry is resolved, what it leads to is fetched and stored, and then it is named here.
//!
//! ```text
//! reference ──► index ──platform──► manifest ──► config ──► layers that are not here, several at once ──► one transaction
//! ```
//!
//! Of an index for several platforms one image is fetched, or all; in either case the index is kept, and the name goes
//! through it (`platforms`).

use std::io::{self, Read};

use image::{LayerStep, Loaded, LoadedImage, Remote, RemoteImage};
use oci::{Descriptor, Digest, Reference};
use registry_client::{Client, Repository};
use state::{Durability, ImageRecord, NewName};

use super::add::{parse_platform, record};
use super::choose::{Choice, Wanted, choose};
use super::failed;
use super::platforms::Listing;
use crate::info::Pulled;
use crate::request::PullImage;
use crate::{Engine, Error, Result};

/// What happens while an image is pulled.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum PullEvent<'a> {
    /// A tag, or a digest, is looked for in a repository, by their familiar names.
    Begins { name: &'a str, repository: &'a str },
    /// So many layers follow, each of which is told of.
    Layer { digest: &'a str, size: u64, step: PullStep },
    /// What the name leads to is here; `digest` is what the registry calls it.
    Done { digest: &'a str, name: &'a str, is_new: bool },
}

/// What happens to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStep {
    /// It is one of the image.
    Planned,
    /// It is here already.
    Exists,
    /// So many bytes of its blob have arrived.
    Received(u64),
    /// It is read, checked and written.
    Complete,
}

/// Hears of what happens, from several threads.
pub type PullWatch<'a> = dyn Fn(PullEvent<'_>) + Sync + 'a;

impl Engine {
    /// Fetches an image, or all tags of a repository, from the registry that its name says.
    pub fn pull(&self, client: &Client, request: &PullImage, watch: &PullWatch<'_>) -> Result<Vec<Pulled>> {
        let text: String = request.reference.chars().take(80).collect();
        let invalid = |source| Error::InvalidReference { text, source };
        let reference: Reference = request.reference.parse().map_err(invalid)?;
        let wanted = match request.platform.as_deref().map(parse_platform).transpose()? {
            Some(_) if request.all_platforms => return Err(Error::AllOfOnePlatform),
            Some(platform) => Wanted::Platform(platform),
            None if request.all_platforms => Wanted::All,
            None => Wanted::Host,
        };
        let refused =
            |source| Error::Registry { action: "pull", name: reference.familiar(), source: Box::new(source) };
        let repository = client.repository(&reference).map_err(refused)?;
        if self.store.has_outdated() {
            // What earlier pulls have begun, and nobody has gone on with.
            self.collect(false)?;
        }
        if !request.all_tags {
            let reference = reference.clone().or_latest();
            return Ok(vec![self.pull_one(&repository, &reference, &wanted, watch)?]);
        }
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(Error::AllOfOneTag);
        }
        let mut pulled = Vec::new();
        for tag in repository.tags().map_err(refused)? {
            let invalid = |source| Error::InvalidReference { text: tag.clone(), source };
            let reference = reference.with_tag(&tag).map_err(invalid)?;
            pulled.push(self.pull_one(&repository, &reference, &wanted, watch)?);
        }
        Ok(pulled)
    }

    fn pull_one(
        &self,
        repository: &Repository,
        reference: &Reference,
        wanted: &Wanted,
        watch: &PullWatch<'_>,
    ) -> Result<Pulled> {
        let familiar = reference.familiar();
        let refused =
            |source| Error::Registry { action: "pull", name: familiar.clone(), source: Box::new(source) };
        let name =
            reference.digest().map_or(reference.tag(), |digest| Some(digest.as_str())).unwrap_or_default();
        watch(PullEvent::Begins { name, repository: reference.repository() });
        let top = repository.manifest(reference).map_err(refused)?;
        let digest = top.descriptor.digest.clone();
        let choice = choose(repository, top, wanted, &familiar)?;
        let index = choice.indexes.first().map(|(digest, _)| digest.clone());
        let loaded = self.fetch(repository, choice, wanted, (&familiar, watch))?;
        let (id, is_new) = self.put_pulled(&loaded.images, reference, &digest, index.as_ref())?;
        drop(loaded.hold);
        let digest = digest.to_string();
        watch(PullEvent::Done { digest: &digest, name: &familiar, is_new });
        Ok(Pulled { id: id.to_string(), reference: reference.to_string(), familiar, digest, is_new })
    }

    /// Fetches what is not here of the images that were chosen, and keeps it together with the indexes that lead to them.
    fn fetch(
        &self,
        repository: &Repository,
        choice: Choice,
        wanted: &Wanted,
        (name, watch): (&str, &PullWatch<'_>),
    ) -> Result<Loaded> {
        let refused =
            |source| Error::Registry { action: "pull", name: name.to_owned(), source: Box::new(source) };
        let mut images = Vec::with_capacity(choice.manifests.len());
        for manifest in choice.manifests {
            let descriptor = &manifest.2.config;
            // What is stored needs not be fetched again, and is checked as it is read.
            let config = match self.store.blob(&descriptor.digest) {
                Ok(config) => config,
                Err(_) => repository.small_blob(descriptor, oci::CONFIG_LIMIT).map_err(refused)?,
            };
            images.push(RemoteImage { manifest, config });
        }
        for layer in images.iter().flat_map(|image| &image.manifest.2.layers) {
            tell(watch, layer, PullStep::Planned);
        }
        let open = |blob: &Descriptor, from: u64| -> io::Result<Box<dyn Read + Send>> {
            let opened =
                repository.blob_in_ranges(blob, from).map_err(|error| match (error, blob.urls.first()) {
                    (registry_client::Error::NotFound { .. }, Some(url)) => {
                        io::Error::other(Elsewhere { url: url.chars().take(200).collect() })
                    }
                    (error, _) => io::Error::other(error),
                });
            // The pipeline hashes it.
            Ok(Box::new(opened?))
        };
        let step = |blob: &Descriptor, step: LayerStep| match step {
            LayerStep::Exists => tell(watch, blob, PullStep::Exists),
            LayerStep::Received(bytes) => tell(watch, blob, PullStep::Received(bytes)),
            LayerStep::Complete => tell(watch, blob, PullStep::Complete),
        };
        let remote = Remote {
            name: name.to_owned(),
            images,
            documents: choice.indexes,
            platform: wanted.platform().cloned(),
            open: &open,
            watch: &step,
        };
        image::fetch(&self.store, remote).map_err(failed("pull the image"))
    }

    /// Names what was pulled; tells what the name stands for, and whether anything is new by that.
    fn put_pulled(
        &self,
        loaded: &[LoadedImage],
        reference: &Reference,
        digest: &Digest,
        index: Option<&Digest>,
    ) -> Result<(Digest, bool)> {
        let by_digest = reference.with_digest(digest.clone());
        let named = |image| ImageRecord { digests: vec![by_digest.clone()], ..record(image) };
        let records: Vec<ImageRecord> = loaded.iter().map(named).collect();
        let state = self.state();
        let (id, is_new) = state.atomically(Durability::Power, || {
            let mut is_known = true;
            for image in &records {
                let known = state.image(&image.id)?;
                is_known &= known.is_some_and(|known| known.digests.contains(&by_digest));
            }
            state.put_fetched_images(&records, &reference.name())?;
            // Others of the same index may have come before.
            let here = index.map(|index| Listing::read(&self.store, &state, index)).transpose()?;
            let chosen = here.as_ref().and_then(|here| here.default_image(None)).map(|image| &image.id);
            let Some(id) = chosen.or(records.first().map(|image| &image.id)) else {
                return Err(Error::NoSuchImage { name: reference.familiar() });
            };
            // With a digest a tag only says where somebody once found it.
            if reference.digest().is_none() {
                is_known &= state.tagged(reference)?.as_ref() == Some(id);
                state.tag(&NewName { reference, image: id, through: index, digest: Some(digest) })?;
            }
            Ok((id.clone(), !is_known))
        })?;
        drop(state);
        for image in &records {
            self.image_event("pull", &image.id, &reference.familiar());
        }
        Ok((id, is_new))
    }
}

/// What a registry may not distribute, as parts of Windows. Where an image says that it is, anybody may be asked for by anybody
/// who makes images.
#[derive(Debug, thiserror::Error)]
#[error(
    "its registry does not have it but names {url:?} instead, and nothing is fetched from elsewhere than registries"
)]
struct Elsewhere {
    url: String,
}

pub(super) fn tell(watch: &PullWatch<'_>, blob: &Descriptor, step: PullStep) {
    watch(PullEvent::Layer { digest: blob.digest.encoded(), size: blob.size, step });
}
