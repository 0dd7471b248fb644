//! Images on their way to a registry: layers, configurations, and the manifests that come of them.

use std::collections::BTreeMap;

use image::{Live, Store};
use oci::{Descriptor, DiffId, Digest, Manifest, MediaType};
use state::ImageRecord;

use super::blobs::{self, Blob, Layers};
use super::{Push, failed};
use crate::images::transfer::send_all;
use crate::{Engine, Result};

/// An image to be sent.
pub(super) struct Parcel {
    pub(super) record: ImageRecord,
    /// Its manifest as it came, if it did.
    pub(super) manifest: Option<Known>,
}

/// A manifest that is here: what it is, its bytes, and what they say.
pub(super) type Known = (Descriptor, Vec<u8>, Manifest);

/// What an image is in the registry.
pub(super) struct Made {
    pub(super) kind: MediaType,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    /// What each of its layers is there.
    pub(super) layers: Vec<(DiffId, Descriptor)>,
    /// The digest by which others may know the image, where it is lost.
    pub(super) lost: Option<Digest>,
}

impl Parcel {
    /// An image with the manifest that it came with.
    pub(super) fn new(store: &Store, record: ImageRecord) -> Parcel {
        let manifest = record.manifest.clone().and_then(|descriptor| {
            let bytes = store.blob(&descriptor.digest).ok()?;
            let manifest = Manifest::parse(&bytes).ok()?;
            let is_of_it =
                manifest.config.digest == record.id && manifest.layers.len() == record.layers.len();
            is_of_it.then_some((descriptor, bytes, manifest))
        });
        Parcel { record, manifest }
    }

    /// Adds what is read of it.
    pub(super) fn add_content(&self, live: &mut Live) {
        let layers: Vec<DiffId> = self.record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        live.image(&self.record.id, &layers);
        let manifest = self.manifest.as_ref().map(|(descriptor, ..)| descriptor);
        if let Some(manifest) = manifest.or(self.record.manifest.as_ref()) {
            live.document(&manifest.digest);
        }
        self.record.attached.iter().for_each(|document| live.document(&document.digest));
    }

    /// What a layer is by the manifest, or was when it came; and whether it is to be that again. The tars of a docker-archive
    /// are named by a manifest that was made for the archive: others compress them.
    fn form(&self, place: usize) -> (Option<&Descriptor>, bool) {
        let Some(layer) = self.record.layers.get(place) else { return (None, false) };
        let named = self.manifest.as_ref().and_then(|(_, _, manifest)| manifest.layers.get(place));
        let form = named.or(layer.blob.as_ref());
        let tar = layer.diff_id.digest();
        let came_as_tar = layer.blob.as_ref().is_some_and(|blob| blob.digest == *tar);
        (form, form.is_some_and(|form| form.digest != *tar || came_as_tar))
    }

    /// In which forms each layer is known, the one of the manifest first, and where; in the order in which they are sent.
    fn blobs(&self, engine: &Engine) -> Result<Vec<Blob>> {
        let mut blobs: Vec<Blob> = Vec::new();
        for (place, layer) in self.record.layers.iter().enumerate() {
            let (first, is_wanted) = self.form(place);
            let mut blob = Blob::new(&layer.diff_id);
            blob.forms.extend(first.map(|first| (first.clone(), Vec::new())));
            blob.is_wanted = is_wanted;
            if blobs.iter().any(|known| known.is_same(&blob)) {
                continue;
            }
            for source in engine.state().sources_of(&layer.diff_id)? {
                let Ok(repository) = source.repository.parse() else { continue };
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

    /// The manifest to push: that of the image if its layers are what it says, else a new one of the same annotations.
    fn assemble(&self, config: Descriptor, layers: Vec<Descriptor>) -> Result<(MediaType, Vec<u8>)> {
        let is_same = |manifest: &Manifest| {
            manifest.layers.len() == layers.len()
                && manifest.layers.iter().zip(&layers).all(|(was, is)| was.digest == is.digest)
        };
        if let Some((descriptor, bytes, manifest)) = &self.manifest
            && is_same(manifest)
        {
            return Ok((descriptor.media_type.clone(), bytes.clone()));
        }
        let was = self.manifest.as_ref().map(|(_, _, manifest)| manifest);
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

    /// The digest by which others may know the image, if `digest` is another one: not that of a manifest of tars, as archives
    /// have.
    fn lost(&self, digest: &Digest) -> Option<Digest> {
        let (was, _, manifest) = self.manifest.as_ref()?;
        let is_tar =
            |(blob, layer): (&Descriptor, &state::LayerRecord)| blob.digest == *layer.diff_id.digest();
        let is_archived = manifest.layers.iter().zip(&self.record.layers).all(is_tar);
        (was.digest != *digest && !is_archived).then(|| was.digest.clone())
    }
}

impl Push<'_> {
    /// Sends all layers of images, each once, and their configurations; returns what each image is there.
    pub(super) fn send(&self, parcels: &[&Parcel]) -> Result<Vec<Made>> {
        let mut blobs: Vec<Blob> = Vec::new();
        for parcel in parcels {
            for blob in parcel.blobs(self.engine)? {
                if !blobs.iter().any(|known| known.is_same(&blob)) {
                    blobs.push(blob);
                }
            }
        }
        let layers = Layers {
            store: &self.engine.store,
            client: self.client,
            target: self.target,
            reference: self.tag,
            watch: self.watch,
            ready: self.ready,
        };
        let sent = send_all(&blobs, self.watch, &|blob| layers.send(blob));
        let sent = sent.map_err(|source| self.refused(source))?;
        parcels.iter().map(|parcel| self.make(parcel, &blobs, &sent)).collect()
    }

    fn make(&self, parcel: &Parcel, blobs: &[Blob], sent: &[Descriptor]) -> Result<Made> {
        let record = &parcel.record;
        let config = self.engine.store.blob(&record.id);
        let config = config.map_err(failed("read the configuration of the image"))?;
        let described = Descriptor::new(MediaType::OCI_CONFIG, record.id.clone(), config.len() as u64);
        if !self.target.has_blob(&described).map_err(|source| self.refused(source))? {
            let put = self.target.put_blob(&described, &blobs::in_memory(config));
            put.map_err(|source| self.refused(source))?;
        }
        let mut of_layers = Vec::with_capacity(record.layers.len());
        let mut known = BTreeMap::new();
        for (place, layer) in record.layers.iter().enumerate() {
            let (form, is_wanted) = parcel.form(place);
            let wanted = form.filter(|_| is_wanted).map(|form| &form.digest);
            let place = blobs.iter().position(|blob| blob.is(&layer.diff_id, wanted));
            if let Some(form) = place.and_then(|place| sent.get(place)) {
                of_layers.push(form.clone());
                known.insert(layer.diff_id.clone(), form.clone());
            }
        }
        let (kind, bytes) = parcel.assemble(described, of_layers)?;
        // A manifest that is pushed as it came keeps its digest, by whatever algorithm that is.
        let digest = match &parcel.manifest {
            Some((descriptor, same, _)) if *same == bytes => descriptor.digest.clone(),
            Some(_) | None => Digest::of(&bytes),
        };
        let lost = parcel.lost(&digest);
        Ok(Made { kind, bytes, digest, layers: known.into_iter().collect(), lost })
    }
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
