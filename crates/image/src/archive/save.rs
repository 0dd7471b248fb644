//! Writes images into a tar that Docker, Podman and skopeo load: an OCI layout that is also a docker-archive.
//!
//! ```text
//! oci-layout  index.json  manifest.json  repositories
//! blobs/sha256/<config>  blobs/sha256/<manifest>  blobs/sha256/<layer>
//! ```
//!
//! Layers are written as they are stored, uncompressed, so the manifest that describes them is made here; unless the image has one
//! that says just that. Each blob is written once, however many images share it. The same images give the same bytes. A name with
//! images for several platforms leads to an index of them; as a docker-archive, which knows none, it has the one that it stands for.
//!
//! What is attested of images goes with them, in their index. Where an image has a manifest of its own in the archive, that is what
//! the statements are about there ([`super::attested`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};

use linux::file;
use oci::{Descriptor, DiffId, Digest, Hasher, Index, Manifest, MediaType, Platform, Reference};
use serde::Serialize;

use super::attested::Attested;
use super::contents::blob_name;
use super::write::TarWriter;
use crate::error::{Error, Result};
use crate::store::Store;

/// An image to be written.
#[derive(Clone, Debug)]
pub struct SavedImage {
    /// The image's id.
    pub id: Digest,
    /// The names it is to have in the archive, each with a tag; none if it was asked for by its id.
    pub references: Vec<Reference>,
    /// All images that the names lead to, itself among them, in the order of the index that they get; none without one.
    pub platforms: Vec<Digest>,
    /// The index by which the store's names lead to them, if it says more than that they are there.
    pub through: Option<Digest>,
}

/// An image as it is described in the archive.
struct Described {
    manifest: Descriptor,
    layers: Vec<Descriptor>,
    platform: Platform,
}

impl SavedImage {
    /// All images that are written.
    fn wanted(&self) -> &[Digest] {
        if self.platforms.is_empty() { std::slice::from_ref(&self.id) } else { &self.platforms }
    }
}

impl Described {
    /// What an index says of the image, where it has said that of its manifest in the store.
    fn entry(&self, before: &Descriptor) -> Descriptor {
        let platform = before.platform.clone().or_else(|| Some(self.platform.clone()));
        let (kind, digest, size) =
            (self.manifest.media_type.clone(), self.manifest.digest.clone(), self.manifest.size);
        let (data, urls) = (None, Vec::new());
        Descriptor { media_type: kind, digest, size, data, urls, platform, ..before.clone() }
    }
}

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    layer_sources: BTreeMap<String, Descriptor>,
}

/// What the archive will hold, before a byte of it is written.
#[derive(Default)]
struct Plan {
    index: Vec<Descriptor>,
    items: Vec<Item>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
    documents: BTreeMap<Digest, Vec<u8>>,
    layers: BTreeMap<DiffId, u64>,
}

/// Writes `images` to `out`. Every layer is checked against its digest while it is written.
///
/// # Errors
/// If something of an image is missing or damaged, or `out` fails. What has been written is then of no use.
pub fn save(store: &Store, images: &[SavedImage], out: &mut dyn Write) -> Result<()> {
    let mut plan = Plan::default();
    for image in images {
        plan.add(store, image)?;
    }
    let failed = |source| Error::Write { source };
    let mut tar = TarWriter::new(out);
    let mut json = Vec::new();
    for (name, content) in [
        ("oci-layout", Ok(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())),
        ("index.json", serde_json::to_vec(&index(plan.index.clone()))),
        ("manifest.json", serde_json::to_vec(&plan.items)),
        ("repositories", serde_json::to_vec(&plan.repositories)),
    ] {
        json.push((name, content.map_err(|source| Error::Json { entry: name.to_owned(), source })?));
    }
    for (name, content) in &json {
        tar.file(name, content).map_err(failed)?;
    }
    let algorithms = plan.documents.keys().chain(plan.layers.keys().map(DiffId::digest));
    let algorithms: BTreeSet<&str> = algorithms.map(Digest::algorithm_name).collect();
    tar.directory("blobs/").map_err(failed)?;
    for algorithm in algorithms {
        tar.directory(&format!("blobs/{algorithm}/")).map_err(failed)?;
    }
    for (digest, content) in &plan.documents {
        tar.file(&blob_name(digest), content).map_err(failed)?;
    }
    for (layer, size) in &plan.layers {
        write_layer(store, layer, *size, &mut tar)?;
    }
    tar.finish().map_err(failed)
}

impl Plan {
    fn add(&mut self, store: &Store, image: &SavedImage) -> Result<()> {
        let index = image.through.as_ref().map(|through| read_index(store, through)).transpose()?;
        let index = index
            .filter(|(_, index)| image.wanted().iter().all(|id| manifest_of(store, index, id).is_some()));
        let own = index.as_ref().and_then(|(_, index)| manifest_of(store, index, &image.id));
        let Described { manifest, layers, .. } = self.describe(store, &image.id, own)?;
        let descriptor = match (index, image.platforms.len()) {
            (Some(index), _) => self.index_again(store, image, index)?,
            (None, 0 | 1) => manifest,
            (None, _) => self.index_of(store, &image.platforms)?,
        };
        let sources = layers.iter().map(|layer| (layer.digest.to_string(), layer.clone())).collect();
        let names: Vec<String> = layers.iter().map(|layer| blob_name(&layer.digest)).collect();
        let top = layers.last().map(|layer| layer.digest.encoded().to_owned());
        self.name(&image.references, &descriptor, top.as_deref());
        let tags: Vec<String> = image.references.iter().map(Reference::familiar).collect();
        let config = blob_name(&image.id);
        match self.items.iter_mut().find(|item| item.config == config) {
            Some(item) => item.repo_tags.get_or_insert_default().extend(tags),
            None => {
                let repo_tags = (!tags.is_empty()).then_some(tags);
                self.items.push(Item { config, repo_tags, layers: names, layer_sources: sources });
            }
        }
        Ok(())
    }

    /// Adds images for several platforms, and the index that leads to them.
    fn index_of(&mut self, store: &Store, images: &[Digest]) -> Result<Descriptor> {
        let mut manifests = Vec::with_capacity(images.len());
        for image in images {
            let Described { manifest, platform, .. } = self.describe(store, image, None)?;
            manifests.push(Descriptor { platform: Some(platform), ..manifest });
        }
        let index = serde_json::to_vec(&index(manifests))
            .map_err(|source| Error::Json { entry: "index of platforms".to_owned(), source })?;
        let descriptor = Descriptor::of(MediaType::OCI_INDEX, &index);
        self.documents.insert(descriptor.digest.clone(), index);
        Ok(descriptor)
    }

    /// Adds images with their index as it is in the store: what it says of them, and what is attested of them. Entries for images
    /// that are not written are left out of it.
    fn index_again(
        &mut self,
        store: &Store,
        image: &SavedImage,
        (bytes, index): (Vec<u8>, Index),
    ) -> Result<Descriptor> {
        // Manifests of the index, and what they are in the archive.
        let mut written: BTreeMap<Digest, Described> = BTreeMap::new();
        for id in image.wanted() {
            let Some((entry, manifest)) = manifest_of(store, &index, id) else { continue };
            let (before, own) = (entry.digest.clone(), Some((entry, manifest)));
            written.insert(before, self.describe(store, id, own)?);
        }
        let mut manifests = Vec::with_capacity(index.manifests.len());
        for entry in &index.manifests {
            if let Some(now) = written.get(&entry.digest) {
                manifests.push(now.entry(entry));
            } else if let Some(attested) = Attested::read(store, entry)
                && let Some(now) = written.get(&attested.subject)
            {
                let attested = attested.about(&now.manifest)?;
                manifests.push(attested.entry);
                self.documents.extend(attested.documents);
            }
        }
        let is_same = manifests == index.manifests && index.media_type == Some(MediaType::OCI_INDEX);
        let bytes = match is_same {
            true => bytes,
            // A layout has no other index than OCI's.
            false => {
                serde_json::to_vec(&Index { manifests, media_type: Some(MediaType::OCI_INDEX), ..index })
                    .map_err(|source| Error::Json { entry: "index of platforms".to_owned(), source })?
            }
        };
        let descriptor = Descriptor::of(MediaType::OCI_INDEX, &bytes);
        self.documents.insert(descriptor.digest.clone(), bytes);
        Ok(descriptor)
    }

    /// Adds the documents and the layers of an image. Its own manifest describes it if that names its layers as they are written.
    fn describe(
        &mut self,
        store: &Store,
        id: &Digest,
        own: Option<(Descriptor, Vec<u8>)>,
    ) -> Result<Described> {
        let bytes = store.blob(id)?;
        let config = oci::ImageConfig::parse(&bytes)
            .map_err(|source| Error::Document { entry: format!("config of image {id}"), source })?;
        let platform = config.platform.normalized();
        let mut layers = Vec::new();
        for layer in &config.rootfs.diff_ids {
            let size = store
                .layer_size(layer)?
                .ok_or_else(|| Error::NotStored { what: "layer", digest: layer.to_string() })?;
            self.layers.insert(layer.clone(), size);
            layers.push(Descriptor::new(MediaType::OCI_LAYER, layer.digest().clone(), size));
        }
        if let Some((manifest, document)) = own.filter(|(_, document)| names_tars(document, &layers)) {
            self.documents.insert(id.clone(), bytes);
            self.documents.insert(manifest.digest.clone(), document);
            return Ok(Described { manifest, layers, platform });
        }
        let config = Descriptor::new(MediaType::OCI_CONFIG, id.clone(), bytes.len() as u64);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::OCI_MANIFEST),
            artifact_type: None,
            config,
            layers: layers.clone(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let manifest = serde_json::to_vec(&manifest)
            .map_err(|source| Error::Json { entry: format!("manifest of image {id}"), source })?;
        let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
        self.documents.insert(id.clone(), bytes);
        self.documents.insert(descriptor.digest.clone(), manifest);
        Ok(Described { manifest: descriptor, layers, platform })
    }

    /// Adds an image to the index once per name, and to `repositories`.
    fn name(&mut self, references: &[Reference], descriptor: &Descriptor, top: Option<&str>) {
        if references.is_empty() && !self.index.iter().any(|entry| entry.digest == descriptor.digest) {
            self.index.push(descriptor.clone());
        }
        for reference in references {
            let mut entry = descriptor.clone();
            entry.annotations.insert("io.containerd.image.name".to_owned(), reference.to_string());
            if let Some(tag) = reference.tag() {
                entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
                if let Some(top) = top {
                    let tags = self.repositories.entry(reference.familiar_name()).or_default();
                    tags.insert(tag.to_owned(), top.to_owned());
                }
            }
            self.index.push(entry);
        }
    }
}

fn index(manifests: Vec<Descriptor>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(MediaType::OCI_INDEX),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: BTreeMap::new(),
    }
}

fn read_index(store: &Store, digest: &Digest) -> Result<(Vec<u8>, Index)> {
    let bytes = store.blob(digest)?;
    let index = Index::parse(&bytes)
        .map_err(|source| Error::Document { entry: format!("index {digest}"), source })?;
    Ok((bytes, index))
}

/// The manifest by which an index names an image, if it is here: its entry without what the index says of it, and its bytes.
fn manifest_of(store: &Store, index: &Index, id: &Digest) -> Option<(Descriptor, Vec<u8>)> {
    index.manifests.iter().filter(|entry| !entry.is_attestation()).find_map(|entry| {
        let bytes = store.blob(&entry.digest).ok()?;
        let manifest = Manifest::parse(&bytes).ok().filter(|manifest| manifest.config.digest == *id)?;
        let kind = manifest.media_type.unwrap_or_else(|| entry.media_type.clone());
        Some((Descriptor::new(kind, entry.digest.clone(), bytes.len() as u64), bytes))
    })
}

/// Whether a manifest of OCI's names layers as they are written.
fn names_tars(manifest: &[u8], layers: &[Descriptor]) -> bool {
    let digests = |layers: &[Descriptor]| layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>();
    Manifest::parse(manifest).is_ok_and(|manifest| {
        manifest.media_type == Some(MediaType::OCI_MANIFEST) && digests(&manifest.layers) == digests(layers)
    })
}

/// A file whose digest is computed as it is read.
struct Hashed {
    file: File,
    hasher: Hasher,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

fn write_layer(store: &Store, layer: &DiffId, size: u64, tar: &mut TarWriter<'_>) -> Result<()> {
    let path = store.layer_path(layer);
    let file = file::open(&path)?;
    let hasher = layer.digest().hasher().unwrap_or_else(Hasher::sha256);
    let mut source = Hashed { file, hasher };
    let beyond = tar
        .stream(&blob_name(layer.digest()), size, &mut source)
        .map_err(|source| Error::Write { source })?;
    let found = source.hasher.finish();
    if beyond > 0 || found != *layer.digest() {
        return Err(Error::Damaged { path, reason: format!("its digest is {found}") });
    }
    Ok(())
}
