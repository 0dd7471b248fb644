//! `manifest create|annotate|inspect|push|rm`: lists of manifests that lie in registries, made here and put there.
//!
//! ```text
//! registry ──create──► draft (state.db) ──annotate──► draft ──push──► blobs and manifests that the target lacks, then the list
//! ```
//!
//! A list of OCI manifests alone becomes an OCI index, any other one a manifest list of Docker's.

use std::collections::BTreeMap;
use std::io::{self, Read};

use oci::{Descriptor, Digest, Document, ImageConfig, Index, Manifest, MediaType, Platform, Reference};
use registry_client::{Client, Fetched, Repository};
use state::DraftEntry;

use crate::request::AnnotateManifest;
use crate::{Engine, Error, Result};

/// The most images of one index.
const IMAGES_LIMIT: usize = 256;

/// What a name stands for, here or in a registry.
#[derive(Clone, Debug)]
pub enum Inspected {
    /// One manifest.
    Manifest(Box<ListedManifest>),
    /// A list as it is, and its manifests.
    List {
        /// The document; of a list that is being made, what would be pushed now.
        document: Vec<u8>,
        /// Its images, where they were asked for.
        manifests: Vec<ListedManifest>,
    },
}

/// A manifest with where it was found.
#[derive(Clone, Debug)]
pub struct ListedManifest {
    /// Its name, spelled out.
    pub reference: String,
    /// What it is, with its platform.
    pub descriptor: Descriptor,
    /// It, byte for byte.
    pub bytes: Vec<u8>,
}

/// A list that was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushedList {
    /// The manifests that were brought to the repository for it: name and digest.
    pub manifests: Vec<(String, String)>,
    /// Of the list.
    pub digest: String,
}

/// A name as these commands take it.
pub(super) fn parse(text: &str) -> Result<Reference> {
    let invalid = |source| Error::InvalidReference { text: text.chars().take(80).collect(), source };
    text.parse::<Reference>().map(Reference::or_latest).map_err(invalid)
}

impl Engine {
    /// Begins a list, or adds to one with `amend`; returns its name, spelled out. A name of an index stands for its images.
    pub fn create_manifest_list(
        &self,
        client: &Client,
        list: &str,
        manifests: &[String],
        amend: bool,
    ) -> Result<String> {
        let list = parse(list)?;
        let known = self.state().draft(&list)?;
        if !known.is_empty() && !amend {
            return Err(Error::ListExists);
        }
        let mut entries = Vec::new();
        for text in manifests {
            let reference = parse(text)?;
            // As it was annotated before.
            if known.iter().any(|entry| entry.reference == reference) {
                continue;
            }
            entries.extend(entries_of(client, &reference)?);
        }
        self.state().put_draft(&list, &entries)?;
        Ok(list.to_string())
    }

    /// Says what a manifest of a list runs on.
    pub fn annotate_manifest(&self, list: &str, manifest: &str, request: &AnnotateManifest) -> Result<()> {
        let (list_name, reference) = (parse(list)?, parse(manifest)?);
        let entries = self.state().draft(&list_name)?;
        let Some(mut entry) = entries.into_iter().find(|entry| entry.reference == reference) else {
            return Err(Error::NotInList { manifest: manifest.to_owned(), list: list.to_owned() });
        };
        let mut platform = entry.descriptor.platform.take().unwrap_or_default();
        for (wanted, field) in [
            (&request.os, &mut platform.os),
            (&request.architecture, &mut platform.architecture),
            (&request.variant, &mut platform.variant),
            (&request.os_version, &mut platform.os_version),
        ] {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !wanted.is_empty()) {
                field.clone_from(wanted);
            }
        }
        for feature in &request.os_features {
            if !platform.os_features.contains(feature) {
                platform.os_features.push(feature.clone());
            }
        }
        if !platform.is_known() {
            return Err(Error::UnknownPlatform {
                platform: format!("{}/{}", platform.os, platform.architecture),
            });
        }
        entry.descriptor.platform = Some(platform);
        Ok(self.state().put_draft(&list_name, &[entry])?)
    }

    /// What a name stands for: a list that is being made, else what its registry has. With `list`, a manifest of that one.
    pub fn inspect_manifest(
        &self,
        client: &Client,
        list: Option<&str>,
        name: &str,
        with_manifests: bool,
    ) -> Result<Inspected> {
        let reference = parse(name)?;
        if let Some(list) = list {
            let entries = self.state().draft(&parse(list)?)?;
            let found = entries.into_iter().find(|entry| entry.reference == reference);
            let missing = || Error::NoSuchList { name: reference.to_string() };
            return Ok(Inspected::Manifest(Box::new(listed(found.ok_or_else(missing)?))));
        }
        let draft = self.state().draft(&reference)?;
        if !draft.is_empty() {
            let document = index_of(&draft)?.1;
            return Ok(Inspected::List { document, manifests: draft.into_iter().map(listed).collect() });
        }
        let repository =
            client.repository(&reference).map_err(|source| refused("inspect", &reference, source))?;
        let top = manifest_at(&repository, &reference, "inspect")?;
        match &top.document {
            Document::Manifest(_) => {
                Ok(Inspected::Manifest(Box::new(listed(entry_of(&repository, &reference, top, None)?))))
            }
            Document::Index(_) => {
                let document = top.bytes.clone();
                let manifests = match with_manifests {
                    true => {
                        let images = images_of(&repository, &reference, top)?;
                        images.into_iter().map(|entry| listed_under(&reference, entry)).collect()
                    }
                    false => Vec::new(),
                };
                Ok(Inspected::List { document, manifests })
            }
        }
    }

    /// Puts a list into the registry, with what its manifests need that lies in other repositories; `purge` gives it up here
    /// after that.
    pub fn push_manifest_list(&self, client: &Client, list: &str, purge: bool) -> Result<PushedList> {
        let name = parse(list)?;
        let entries = self.state().draft(&name)?;
        if entries.is_empty() {
            return Err(Error::NoSuchList { name: name.to_string() });
        }
        let (kind, document) = index_of(&entries)?;
        let target = client.target(&name).map_err(|source| refused("push", &name, source))?;
        let mut pushed = PushedList::default();
        for entry in entries.iter().filter(|entry| entry.reference.name() != name.name()) {
            copy(client, entry, &name, &target)?;
            let there = name.with_digest(entry.descriptor.digest.clone());
            let put = target.put_manifest(&there, &entry.descriptor.media_type, &entry.manifest);
            put.map_err(|source| refused("push", &there, source))?;
            pushed.manifests.push((there.to_string(), entry.descriptor.digest.to_string()));
        }
        target.put_manifest(&name, &kind, &document).map_err(|source| refused("push", &name, source))?;
        pushed.digest = Digest::of(&document).to_string();
        if purge {
            self.state().remove_draft(&name)?;
        }
        Ok(pushed)
    }

    /// Gives a list up.
    pub fn remove_manifest_list(&self, list: &str) -> Result<()> {
        let name = parse(list)?;
        match self.state().remove_draft(&name)? {
            true => Ok(()),
            false => Err(Error::NoSuchList { name: name.to_string() }),
        }
    }
}

fn listed(entry: DraftEntry) -> ListedManifest {
    ListedManifest {
        reference: entry.reference.to_string(),
        descriptor: entry.descriptor,
        bytes: entry.manifest,
    }
}

/// A manifest of the list that a name stands for: its name is that of the list, with its tag, as in Docker.
fn listed_under(list: &Reference, entry: DraftEntry) -> ListedManifest {
    let listed = listed(entry);
    match (list.tag(), list.digest()) {
        (Some(_), None) => {
            ListedManifest { reference: format!("{list}@{}", listed.descriptor.digest), ..listed }
        }
        _ => listed,
    }
}

pub(super) fn refused(action: &'static str, name: &Reference, source: registry_client::Error) -> Error {
    Error::Registry { action, name: name.familiar(), source: Box::new(source) }
}

pub(super) fn manifest_at(
    repository: &Repository,
    reference: &Reference,
    action: &'static str,
) -> Result<Fetched> {
    repository.manifest(reference).map_err(|source| {
        if matches!(source, registry_client::Error::NotFound { .. }) {
            return Error::NoSuchManifest { name: reference.to_string(), source: Box::new(source) };
        }
        refused(action, reference, source)
    })
}

/// What a name of a registry adds to a list: its manifest, or the images of its index.
fn entries_of(client: &Client, reference: &Reference) -> Result<Vec<DraftEntry>> {
    let repository = client.repository(reference).map_err(|source| refused("read", reference, source))?;
    let top = manifest_at(&repository, reference, "read")?;
    match top.document {
        Document::Manifest(_) => Ok(vec![entry_of(&repository, reference, top, None)?]),
        Document::Index(_) => images_of(&repository, reference, top),
    }
}

/// A manifest with its platform: as the index says that led to it, else as its configuration does.
fn entry_of(
    repository: &Repository,
    reference: &Reference,
    fetched: Fetched,
    platform: Option<Platform>,
) -> Result<DraftEntry> {
    let mut descriptor = fetched.descriptor;
    descriptor.platform = match (platform, &fetched.document) {
        (Some(platform), _) => Some(platform),
        (None, Document::Manifest(manifest)) if manifest.config.media_type.is_config() => {
            let config = repository.small_blob(&manifest.config, oci::CONFIG_LIMIT);
            let config = config.map_err(|source| refused("read", reference, source))?;
            // An artifact may call its configuration so and have another one.
            ImageConfig::parse(&config).ok().map(|config| config.platform)
        }
        (None, _) => None,
    };
    Ok(DraftEntry { reference: reference.clone(), descriptor, manifest: fetched.bytes })
}

/// The images of an index, each by its digest. What is attested of them is left out, and so are indexes within it.
pub(super) fn images_of(
    repository: &Repository,
    reference: &Reference,
    top: Fetched,
) -> Result<Vec<DraftEntry>> {
    let Document::Index(index) = top.document else { return Ok(Vec::new()) };
    let images: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation() && !entry.media_type.is_index())
        .collect();
    if images.len() > IMAGES_LIMIT {
        return Err(Error::TooManyPlatforms { name: reference.familiar(), limit: IMAGES_LIMIT });
    }
    let entry = |image: &Descriptor| {
        let fetched =
            repository.manifest_of_index(image).map_err(|source| refused("read", reference, source))?;
        entry_of(repository, &reference.with_digest(image.digest.clone()), fetched, image.platform.clone())
    };
    images.into_iter().map(entry).collect()
}

/// The list that entries make, with its type.
fn index_of(entries: &[DraftEntry]) -> Result<(MediaType, Vec<u8>)> {
    let mut manifests = Vec::with_capacity(entries.len());
    for entry in entries {
        let platform = entry.descriptor.platform.as_ref();
        if platform.is_none_or(|platform| platform.os.is_empty() || platform.architecture.is_empty()) {
            return Err(Error::NoPlatform { manifest: entry.reference.to_string() });
        }
        manifests.push(entry.descriptor.clone());
    }
    let is_oci = manifests.iter().all(|manifest| manifest.media_type == MediaType::OCI_MANIFEST);
    let kind = if is_oci { MediaType::OCI_INDEX } else { MediaType::DOCKER_LIST };
    let index = Index {
        schema_version: 2,
        media_type: Some(kind.clone()),
        artifact_type: None,
        manifests,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let document = serde_json::to_vec_pretty(&index).map_err(|source| Error::WriteList { source })?;
    Ok((kind, document))
}

/// Brings the blobs of a manifest to the repository of the list: mounted where both lie in one registry, else copied.
fn copy(client: &Client, entry: &DraftEntry, name: &Reference, target: &Repository) -> Result<()> {
    let failed = |source| refused("push", &entry.reference, source);
    let manifest = Manifest::parse(&entry.manifest)
        .map_err(|source| Error::BadManifest { name: entry.reference.familiar(), source })?;
    let source = client.repository(&entry.reference).map_err(failed)?;
    let is_same_registry = entry.reference.registry() == name.registry();
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        // What may not be distributed stays where its addresses say.
        if !blob.urls.is_empty() || target.has_blob(blob).map_err(failed)? {
            continue;
        }
        if is_same_registry
            && target.mount_blob(&blob.digest, entry.reference.repository()).map_err(failed)?
        {
            continue;
        }
        let open = |at: u64| -> io::Result<Box<dyn Read + Send>> {
            let content = source.rest_of_blob(blob, at).map_err(io::Error::other)?;
            Ok(Box::new(content))
        };
        target.put_blob(blob, &open).map_err(failed)?;
    }
    Ok(())
}
