//! `pull`: a name of a registry is resolved, what it leads to is fetched and stored, and then it is named here.
//!
//! ```text
//! reference ──► index ──platform──► manifest ──► config ──► layers that are not here, several at once ──► one transaction
//! ```

use std::io::{self, Read};

use image::{LayerStep, Remote};
use oci::{Descriptor, Document, Manifest, Platform, Reference};
use registry_client::{Client, Fetched, Repository};

use super::add::{parse_platform, record};
use super::failed;
use crate::info::Pulled;
use crate::request::PullImage;
use crate::{Engine, Error, Result};

/// How deep indexes may lie in each other.
const DEPTH_LIMIT: usize = 4;

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
        let platform = request.platform.as_deref().map(parse_platform).transpose()?;
        let refused =
            |source| Error::Registry { action: "pull", name: reference.familiar(), source: Box::new(source) };
        let repository = client.repository(&reference).map_err(refused)?;
        if !request.all_tags {
            let reference = reference.clone().or_latest();
            return Ok(vec![self.pull_one(&repository, &reference, platform.as_ref(), watch)?]);
        }
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(Error::AllOfOneTag);
        }
        let mut pulled = Vec::new();
        for tag in repository.tags().map_err(refused)? {
            let invalid = |source| Error::InvalidReference { text: tag.clone(), source };
            let reference = reference.with_tag(&tag).map_err(invalid)?;
            pulled.push(self.pull_one(&repository, &reference, platform.as_ref(), watch)?);
        }
        Ok(pulled)
    }

    fn pull_one(
        &self,
        repository: &Repository,
        reference: &Reference,
        platform: Option<&Platform>,
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
        let (descriptor, bytes, manifest) = choose(repository, top, platform, &familiar)?;
        // What is stored needs not be fetched again, and is checked as it is read.
        let config = match self.store.blob(&manifest.config.digest) {
            Ok(config) => config,
            Err(_) => repository.small_blob(&manifest.config, oci::CONFIG_LIMIT).map_err(refused)?,
        };
        for layer in &manifest.layers {
            tell(watch, layer, PullStep::Planned);
        }
        let open = |blob: &Descriptor| -> io::Result<Box<dyn Read + Send>> {
            // The pipeline hashes it.
            let content = repository.blob(blob).map_err(io::Error::other)?.unhashed();
            Ok(Box::new(content))
        };
        let step = |blob: &Descriptor, step: LayerStep| match step {
            LayerStep::Exists => tell(watch, blob, PullStep::Exists),
            LayerStep::Received(bytes) => tell(watch, blob, PullStep::Received(bytes)),
            LayerStep::Complete => tell(watch, blob, PullStep::Complete),
        };
        let remote = Remote {
            name: familiar.clone(),
            manifest: (descriptor, bytes, manifest),
            config,
            platform: platform.cloned(),
            open: &open,
            watch: &step,
        };
        let action = "pull the image";
        let loaded = image::fetch(&self.store, remote).map_err(failed(action))?;
        let Some(image) = loaded.images.first() else { return Err(Error::NoSuchImage { name: familiar }) };
        let is_new = self.put_pulled(image, reference, &digest)?;
        drop(loaded.hold);
        let digest = digest.to_string();
        watch(PullEvent::Done { digest: &digest, name: &familiar, is_new });
        Ok(Pulled { id: image.id.to_string(), reference: reference.to_string(), familiar, digest, is_new })
    }

    /// Names what was pulled; tells whether anything is new by that.
    fn put_pulled(
        &self,
        image: &image::LoadedImage,
        reference: &Reference,
        digest: &oci::Digest,
    ) -> Result<bool> {
        let mut record = record(image);
        let by_digest = reference.with_digest(digest.clone());
        record.digests.push(by_digest.clone());
        // With a digest a tag only says where somebody once found it.
        let tags: Vec<Reference> =
            reference.digest().is_none().then(|| reference.clone()).into_iter().collect();
        let state = self.state();
        let known = state.image(&image.id)?;
        let was_named = match tags.first() {
            Some(tag) => state.tagged(tag)?.as_ref() == Some(&image.id),
            None => known.as_ref().is_some_and(|known| known.digests.contains(&by_digest)),
        };
        state.put_fetched_image(&record, &tags, Some(&reference.name()))?;
        drop(state);
        self.image_event("pull", &image.id, &reference.familiar());
        Ok(known.is_none() || !was_named)
    }
}

fn tell(watch: &PullWatch<'_>, blob: &Descriptor, step: PullStep) {
    watch(PullEvent::Layer { digest: blob.digest.encoded(), size: blob.size, step });
}

/// The manifest that a name leads to, on this platform or the wanted one.
fn choose(
    repository: &Repository,
    top: Fetched,
    platform: Option<&Platform>,
    name: &str,
) -> Result<(Descriptor, Vec<u8>, Manifest)> {
    let refused =
        |source| Error::Registry { action: "pull", name: name.to_owned(), source: Box::new(source) };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let mut fetched = top;
    for _ in 0..=DEPTH_LIMIT {
        let index = match fetched.document {
            Document::Manifest(manifest) => {
                if !manifest.config.media_type.is_config() || manifest.artifact_type.is_some() {
                    let kind = manifest.artifact_type.unwrap_or(manifest.config.media_type).to_string();
                    return Err(Error::NotAnImage { name: name.to_owned(), kind });
                }
                return Ok((fetched.descriptor, fetched.bytes, *manifest));
            }
            Document::Index(index) => index,
        };
        let Some(chosen) = index.select(&wanted) else {
            return Err(Error::NoMatchingManifest { platform: wanted.to_string(), name: name.to_owned() });
        };
        fetched = repository.manifest_of_index(chosen).map_err(refused)?;
    }
    Err(Error::IndexTooDeep { name: name.to_owned(), limit: DEPTH_LIMIT })
}
