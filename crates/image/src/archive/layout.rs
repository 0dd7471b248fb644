//! The OCI image layout: `oci-layout`, `index.json` and blobs by digest (image-spec, image-layout.md).

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, Document, Manifest, MediaType, Platform, Reference};
use serde::Deserialize;

use super::attested::Attested;
use super::contents::{Contents, blob_name};
use super::load::LoadOptions;
use super::plan::{self, Planned};
use crate::error::{Error, Result};

const INDEX: &str = "index.json";
/// How deep indexes may lie in each other.
const DEPTH_LIMIT: usize = 4;
/// The most entries of one index that attest something.
const ATTESTED_LIMIT: usize = 256;
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The images of a layout; `None` if it is none.
pub(super) fn images(contents: &Contents, options: &LoadOptions) -> Result<Option<Vec<Planned>>> {
    const MARKER: &str = "oci-layout";
    let Some(marker) = contents.document(MARKER, oci::MANIFEST_LIMIT)? else { return Ok(None) };
    let marker: Marker =
        serde_json::from_slice(&marker).map_err(|source| Error::Json { entry: MARKER.to_owned(), source })?;
    if !marker.image_layout_version.starts_with("1.") {
        let reason =
            format!("version {:?} of the layout is not supported, only 1.x", marker.image_layout_version);
        return Err(Error::Entry { entry: MARKER.to_owned(), reason });
    }
    let Some(bytes) = contents.document(INDEX, oci::MANIFEST_LIMIT)? else {
        return Err(Error::MissingEntry { entry: INDEX.to_owned(), needed_by: MARKER.to_owned() });
    };
    let index =
        oci::Index::parse(&bytes).map_err(|source| Error::Document { entry: INDEX.to_owned(), source })?;
    let mut images = Vec::new();
    for (name, entries) in by_name(index.manifests) {
        let references = name.map(|name| reference(&name)).transpose()?.flatten();
        let chosen = choose(INDEX, entries, options)?;
        let is_several = options.all_platforms || options.platforms.len() > 1;
        let index = if is_several && chosen.len() > 1 { Some(index_of(&chosen)?) } else { None };
        let mut found = Vec::new();
        for entry in chosen {
            found.extend(image(contents, entry, INDEX, options, 0)?);
        }
        if let (Some((digest, document)), Some(first)) = (index, found.first_mut()) {
            first.documents.insert(0, (digest.clone(), document));
            found.iter_mut().for_each(|image| image.through = Some(digest.clone()));
        }
        for image in &mut found {
            image.references.extend(references.clone());
            // Without a name nothing would lead to an index.
            if references.is_none() {
                (image.documents, image.through) = (Vec::new(), None);
            }
        }
        images.extend(found);
    }
    if images.is_empty() {
        let reason = "its index.json leads to no image; other artifacts cannot be loaded";
        return Err(Error::NotImages { entry: contents.name().to_owned(), reason });
    }
    Ok(Some(images))
}

/// Groups the entries of the top index: those of one name are one image for several platforms, those without
/// a name too, if they tell platforms.
fn by_name(entries: Vec<Descriptor>) -> Vec<(Option<String>, Vec<Descriptor>)> {
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    let mut places: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for entry in entries {
        let name = entry.annotations.get(FULL_NAME).or_else(|| entry.annotations.get(REF_NAME)).cloned();
        if name.is_none() && entry.platform.is_none() {
            groups.push((None, vec![entry]));
            continue;
        }
        let place = *places.entry(name.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    groups
}

/// An index of images that an archive lists under one name without having one. Names are the archive's, not the index's.
fn index_of(entries: &[Descriptor]) -> Result<(Digest, Vec<u8>)> {
    let unnamed = |entry: &Descriptor| {
        let mut entry = entry.clone();
        entry.annotations.retain(|key, _| key != FULL_NAME && key != REF_NAME);
        entry
    };
    let index = oci::Index {
        schema_version: 2,
        media_type: Some(MediaType::OCI_INDEX),
        artifact_type: None,
        manifests: entries.iter().map(unnamed).collect(),
        subject: None,
        annotations: BTreeMap::new(),
    };
    let document =
        serde_json::to_vec(&index).map_err(|source| Error::Json { entry: INDEX.to_owned(), source })?;
    Ok((Digest::of(&document), document))
}

/// The entries of a group to load, in their order.
fn choose(index: &str, entries: Vec<Descriptor>, options: &LoadOptions) -> Result<Vec<Descriptor>> {
    if options.all_platforms {
        return Ok(entries.into_iter().filter(|entry| !entry.is_attestation()).collect());
    }
    if options.platforms.len() < 2 {
        return select(index, entries, options.only());
    }
    let mut chosen: Vec<Descriptor> = Vec::new();
    for platform in &options.platforms {
        chosen.extend(select(index, entries.clone(), Some(platform))?);
    }
    Ok(entries.into_iter().filter(|entry| chosen.iter().any(|one| one.digest == entry.digest)).collect())
}

/// The entries of a group to load: of several the best for the platform, where they tell theirs.
fn select(index: &str, entries: Vec<Descriptor>, platform: Option<&Platform>) -> Result<Vec<Descriptor>> {
    let choice = oci::Index {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        manifests: entries,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let told = choice
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation())
        .filter_map(|entry| entry.platform.as_ref());
    let told: Vec<String> = told.map(|platform| platform.normalized().to_string()).collect();
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    match choice.select(&wanted) {
        Some(entry) => Ok(vec![entry.clone()]),
        // One image, whatever it is for, is what was meant, unless another platform was asked for.
        None if told.is_empty() || (told.len() == 1 && platform.is_none()) => {
            Ok(choice.manifests.into_iter().filter(|entry| !entry.is_attestation()).collect())
        }
        None => {
            let (wanted, available) = (wanted.to_string(), told.join(", "));
            Err(Error::NoPlatform { entry: index.to_owned(), wanted, available })
        }
    }
}

/// The images that a descriptor leads to, through further indexes if need be; none if it is an artifact.
fn image(
    contents: &Contents,
    descriptor: Descriptor,
    needed_by: &str,
    options: &LoadOptions,
    depth: usize,
) -> Result<Vec<Planned>> {
    let entry = blob_name(&descriptor.digest);
    if depth > DEPTH_LIMIT {
        let reason = format!("indexes lie more than {DEPTH_LIMIT} deep in each other");
        return Err(Error::Entry { entry, reason });
    }
    let kind = &descriptor.media_type;
    if !(kind.is_index() || kind.is_manifest() || kind.is_legacy_manifest() || kind.as_str().is_empty()) {
        return Ok(Vec::new());
    }
    let bytes = match contents.blob(&descriptor, oci::MANIFEST_LIMIT, needed_by) {
        // An archive may hold some of the platforms that its index lists.
        Err(Error::MissingEntry { .. }) if options.all_platforms => return Ok(Vec::new()),
        read => read?,
    };
    let document =
        Document::parse(&bytes, kind).map_err(|source| Error::Document { entry: entry.clone(), source })?;
    match document {
        Document::Manifest(manifest) => {
            let found = of_manifest(contents, descriptor, bytes, *manifest, options.only())?;
            Ok(found.into_iter().collect())
        }
        Document::Index(index) => {
            let mut found = Vec::new();
            let attested: Vec<Descriptor> =
                index.manifests.iter().filter(|entry| entry.is_attestation()).cloned().collect();
            for chosen in choose(&entry, index.manifests, options)? {
                found.extend(image(contents, chosen, &entry, options, depth + 1)?);
            }
            let attested = attested_of(contents, &attested, &found);
            if let Some(first) = found.first_mut() {
                first.documents.insert(0, (descriptor.digest.clone(), bytes));
                first.documents.extend(attested);
            }
            found.iter_mut().for_each(|image| image.through = Some(descriptor.digest.clone()));
            Ok(found)
        }
    }
}

/// What the archive holds of what is attested of these images. Without it they are as good.
fn attested_of(contents: &Contents, entries: &[Descriptor], images: &[Planned]) -> Vec<(Digest, Vec<u8>)> {
    let is_about = |attested: &Attested| {
        let mut manifests = images.iter().filter_map(|image| image.manifest.as_ref());
        manifests.any(|(manifest, _)| manifest.digest == attested.subject)
    };
    let found = entries.iter().take(ATTESTED_LIMIT).filter_map(|entry| Attested::find(contents, entry));
    found.filter(is_about).flat_map(|attested| attested.documents).collect()
}

fn of_manifest(
    contents: &Contents,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    platform: Option<&Platform>,
) -> Result<Option<Planned>> {
    let entry = blob_name(&descriptor.digest);
    if !manifest.config.media_type.is_config() || manifest.artifact_type.is_some() {
        return Ok(None);
    }
    let config = contents.blob(&manifest.config, oci::CONFIG_LIMIT, &entry)?;
    let config_entry = blob_name(&manifest.config.digest);
    let members = manifest.layers.into_iter().map(|blob| (blob_name(&blob.digest), Some(blob))).collect();
    let (config, layers) = plan::with_config(&config_entry, config, members)?;
    if let (Some(wanted), plan::Config::Document { config, .. }) = (platform, &config)
        && !wanted.runs(&config.platform)
    {
        let (wanted, available) = (wanted.to_string(), config.platform.normalized().to_string());
        return Err(Error::NoPlatform { entry, wanted, available });
    }
    Ok(Some(Planned {
        entry: config_entry,
        config,
        manifest: Some((descriptor, bytes)),
        documents: Vec::new(),
        through: None,
        layers,
        references: Vec::new(),
    }))
}

/// The name that an annotation gives an image. A bare word (`latest`) is a tag of a repository that the layout
/// does not tell, and what has a digest (`moby-dangling@sha256:…`) stands for an image without a name.
fn reference(name: &str) -> Result<Option<Reference>> {
    if !name.contains(['/', ':']) {
        return Ok(None);
    }
    match name.parse::<Reference>() {
        Ok(reference) if reference.digest().is_some() => Ok(None),
        Ok(reference) => Ok(Some(reference.or_latest())),
        Err(source) => Err(Error::Document { entry: format!("{INDEX}: name"), source }),
    }
}
