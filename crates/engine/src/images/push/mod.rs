//! `push`: what a name stands for here goes to the registry that the name says.
//!
//! ```text
//! tag ──► image ──► layers, several at once ──► config ──► manifest, last ──► noted here: digest, and where blobs are
//!                     │ the target has the blob? is it in another of its repositories? where did it come from?
//!                     └ only then: compressed anew
//! ```
//!
//! The store keeps layers as tars. As long as every blob can be had as it came, the manifest is pushed byte for byte and keeps
//! its digest.

mod blobs;

use std::collections::BTreeMap;

use image::Live;
use oci::{Descriptor, DiffId, Digest, Manifest, MediaType, Reference};
use registry_client::{Client, Repository};
use state::ImageRecord;

use super::add::parse_platform;
use super::failed;
use super::transfer::send_all;
use crate::info::Pushed;
use crate::request::PushImage;
use crate::{Engine, Error, Result};
use blobs::{Blob, Layers};

/// What happens while an image is pushed.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum PushEvent<'a> {
    /// The repository, spelled out.
    Begins { repository: &'a str },
    /// A layer, by the digest of its tar.
    Layer { layer: &'a str, step: PushStep<'a> },
    /// Not all blobs could be had as they came: the manifest that is pushed is a new one.
    Changed { name: &'a str, was: &'a str, digest: &'a str },
    /// The registry has the image under this tag; `size` is that of its manifest.
    Done { tag: &'a str, digest: &'a str, size: u64 },
}

/// What happens to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum PushStep<'a> {
    /// It is one of the image.
    Planned,
    /// So many bytes of its blob have been sent, of so many, where that is known.
    Sent { bytes: u64, size: Option<u64> },
    /// The registry has it already.
    Exists,
    /// The registry has taken it over from this repository.
    Mounted(&'a str),
    /// The registry has it now.
    Complete,
}

/// Hears of what happens, from several threads.
pub type PushWatch<'a> = dyn Fn(PushEvent<'_>) + Sync + 'a;

impl Engine {
    /// Sends an image, or all tags of a repository, to the registry that its name says.
    pub fn push(&self, client: &Client, request: &PushImage, watch: &PushWatch<'_>) -> Result<Vec<Pushed>> {
        let text: String = request.reference.chars().take(80).collect();
        let invalid = |source| Error::InvalidReference { text, source };
        let reference: Reference = request.reference.parse().map_err(invalid)?;
        if request.all_tags && (reference.tag().is_some() || reference.digest().is_some()) {
            return Err(Error::AllOfOneTag);
        }
        if reference.digest().is_some() {
            return Err(Error::PushOfDigest);
        }
        let tags = self.tags_to_push(&reference, request.all_tags)?;
        let refused =
            |source| Error::Registry { action: "push", name: reference.familiar(), source: Box::new(source) };
        let target = client.target(&reference).map_err(refused)?;
        watch(PushEvent::Begins { repository: &reference.name() });
        let platform = request.platform.as_deref().map(parse_platform).transpose()?;
        let mut pushed = Vec::new();
        for (tag, id) in tags {
            let record = self.image_record(&id)?;
            if let Some(wanted) = platform.as_ref().filter(|wanted| wanted.rank(&record.platform).is_none()) {
                let (image, wanted, found) =
                    (tag.familiar(), wanted.to_string(), record.platform.to_string());
                return Err(Error::WrongPlatform { image, wanted, found });
            }
            pushed.push(self.push_one(client, &target, &tag, &record, watch)?);
        }
        Ok(pushed)
    }

    /// The tags that are meant, with their images.
    fn tags_to_push(&self, reference: &Reference, all: bool) -> Result<Vec<(Reference, Digest)>> {
        let repository = reference.name();
        let mut tags = Vec::new();
        for named in self.state().images()? {
            let of_it = named.tags.into_iter().filter(|tag| tag.name() == repository);
            tags.extend(of_it.map(|tag| (tag, named.image.id.clone())));
        }
        if tags.is_empty() {
            return Err(Error::NotTagged { name: reference.familiar_name() });
        }
        tags.sort_by(|one, other| one.0.tag().cmp(&other.0.tag()));
        if !all {
            let wanted = reference.clone().or_latest();
            tags.retain(|(tag, _)| *tag == wanted);
            if tags.is_empty() {
                return Err(Error::NoSuchTag { name: wanted.familiar() });
            }
        }
        Ok(tags)
    }

    fn push_one(
        &self,
        client: &Client,
        target: &Repository,
        tag: &Reference,
        record: &ImageRecord,
        watch: &PushWatch<'_>,
    ) -> Result<Pushed> {
        let familiar = tag.familiar();
        let refused =
            |source| Error::Registry { action: "push", name: familiar.clone(), source: Box::new(source) };
        let kept = self.store.keep(&content(record)).map_err(failed("keep the image"))?;
        // Whoever removed it before it was kept may have collected it.
        self.image_record(&record.id)?;
        let config = self.store.blob(&record.id).map_err(failed("read the configuration of the image"))?;
        let manifest = self.stored_manifest(record);
        let layers = Layers { store: &self.store, client, target, reference: tag, watch };
        let blobs = self.plan_blobs(record, manifest.as_ref().map(|(_, _, manifest)| manifest))?;
        let sent = send_all(&blobs, watch, &|blob| layers.send(blob)).map_err(refused)?;
        let sent: BTreeMap<DiffId, Descriptor> =
            blobs.iter().map(|blob| blob.layer.clone()).zip(sent).collect();
        let described = Descriptor::new(MediaType::OCI_CONFIG, record.id.clone(), config.len() as u64);
        if !target.has_blob(&described).map_err(refused)? {
            target.put_blob(&described, &blobs::in_memory(config)).map_err(refused)?;
        }
        let of_layers: Vec<Descriptor> =
            record.layers.iter().filter_map(|layer| sent.get(&layer.diff_id).cloned()).collect();
        let (kind, bytes) = assemble(manifest.as_ref(), described, of_layers)?;
        let put = target.put_manifest(tag, &kind, &bytes).map_err(refused)?;
        let digest = put.descriptor.digest;
        let known: Vec<(DiffId, Descriptor)> = sent.into_iter().collect();
        self.state().put_pushed(&record.id, &tag.with_digest(digest.clone()), &known)?;
        drop(kept);
        self.image_event("push", &record.id, &familiar);
        let (digest, size) = (digest.to_string(), bytes.len() as u64);
        if let Some((descriptor, ..)) =
            manifest.as_ref().filter(|(was, _, of)| is_lost(was, of, &digest, record))
        {
            watch(PushEvent::Changed { name: &familiar, was: descriptor.digest.as_str(), digest: &digest });
        }
        watch(PushEvent::Done { tag: tag.tag().unwrap_or_default(), digest: &digest, size });
        Ok(Pushed { reference: tag.to_string(), digest })
    }

    /// The manifest as it came with the image, if it did.
    fn stored_manifest(&self, record: &ImageRecord) -> Option<(Descriptor, Vec<u8>, Manifest)> {
        let descriptor = record.manifest.clone()?;
        let bytes = self.store.blob(&descriptor.digest).ok()?;
        let manifest = Manifest::parse(&bytes).ok()?;
        let is_of_it = manifest.config.digest == record.id && manifest.layers.len() == record.layers.len();
        is_of_it.then_some((descriptor, bytes, manifest))
    }

    /// In which forms each layer is known, the one of the manifest first, and where; in the order in which they are sent.
    fn plan_blobs(&self, record: &ImageRecord, manifest: Option<&Manifest>) -> Result<Vec<Blob>> {
        let mut blobs: Vec<Blob> = Vec::new();
        for (place, layer) in record.layers.iter().enumerate() {
            if blobs.iter().any(|blob| blob.layer == layer.diff_id) {
                continue;
            }
            let mut blob = Blob::new(&layer.diff_id);
            let first = manifest.and_then(|manifest| manifest.layers.get(place)).or(layer.blob.as_ref());
            blob.forms.extend(first.map(|first| (first.clone(), Vec::new())));
            for source in self.state().sources_of(&layer.diff_id)? {
                let Ok(repository) = source.repository.parse::<Reference>() else { continue };
                match blob.forms.iter_mut().find(|(form, _)| form.digest == source.blob.digest) {
                    Some((_, repositories)) => repositories.push(repository),
                    None => blob.forms.push((source.blob, vec![repository])),
                }
            }
            blobs.push(blob);
        }
        // Those on top first, as Docker does.
        blobs.reverse();
        Ok(blobs)
    }
}

/// What is read of an image.
fn content(record: &ImageRecord) -> Live {
    let mut live = Live::default();
    let layers: Vec<DiffId> = record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    live.image(&record.id, &layers);
    if let Some(manifest) = &record.manifest {
        live.document(&manifest.digest);
    }
    live
}

/// The manifest to push: that of the image if its layers are what it says, else a new one of the same annotations.
fn assemble(
    known: Option<&(Descriptor, Vec<u8>, Manifest)>,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<(MediaType, Vec<u8>)> {
    let is_same = |manifest: &Manifest| {
        manifest.layers.len() == layers.len()
            && manifest.layers.iter().zip(&layers).all(|(was, is)| was.digest == is.digest)
    };
    if let Some((descriptor, bytes, manifest)) = known
        && is_same(manifest)
    {
        return Ok((descriptor.media_type.clone(), bytes.clone()));
    }
    let was = known.map(|(_, _, manifest)| manifest);
    let described = |layer: Descriptor| {
        let same = was.and_then(|was| was.layers.iter().find(|known| known.digest == layer.digest));
        Descriptor {
            annotations: same.map(|same| same.annotations.clone()).unwrap_or_default(),
            ..Descriptor::new(of_oci(&layer.media_type), layer.digest, layer.size)
        }
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OCI_MANIFEST),
        artifact_type: None,
        config,
        layers: layers.into_iter().map(described).collect(),
        subject: was.and_then(|was| was.subject.clone()),
        annotations: was.map(|was| was.annotations.clone()).unwrap_or_default(),
    };
    let bytes = serde_json::to_vec(&manifest)
        .map_err(|source| image::Error::Json { entry: "manifest".to_owned(), source })
        .map_err(failed("write the manifest of the image"))?;
    Ok((MediaType::OCI_MANIFEST, bytes))
}

/// What OCI calls a layer that Docker calls otherwise.
fn of_oci(kind: &MediaType) -> MediaType {
    let text = kind.as_str();
    if text.ends_with("gzip") {
        MediaType::OCI_LAYER_GZIP
    } else if text.ends_with("zstd") {
        MediaType::OCI_LAYER_ZSTD
    } else {
        MediaType::OCI_LAYER
    }
}

/// Whether a digest is lost by which others may know the image: that of a manifest of blobs, not of tars as archives have.
fn is_lost(was: &Descriptor, manifest: &Manifest, digest: &str, record: &ImageRecord) -> bool {
    let is_tar = |(blob, layer): (&Descriptor, &state::LayerRecord)| blob.digest == *layer.diff_id.digest();
    was.digest.as_str() != digest && !manifest.layers.iter().zip(&record.layers).all(is_tar)
}
