//! The OCI image layout: `oci-layout`, `index.json` and blobs by digest (image-spec, image-layout.md).

use std::collections::BTreeMap;

use oci::{Descriptor, Document, Manifest, Platform, Reference};
use serde::Deserialize;

use super::contents::{Contents, blob_name};
use super::plan::{self, Planned};
use crate::error::{Error, Result};

const INDEX: &str = "index.json";
/// How deep indexes may lie in each other.
const DEPTH_LIMIT: usize = 4;
const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The images of a layout; `None` if it is none.
pub(super) fn images(contents: &Contents, platform: Option<&Platform>) -> Result<Option<Vec<Planned>>> {
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
        for entry in select(INDEX, entries, platform)? {
            let Some(mut image) = image(contents, entry, INDEX, platform, 0)? else { continue };
            image.references.extend(references.clone());
            images.push(image);
        }
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
    let told =
        choice.manifests.iter().filter(|entry| is_image(entry)).filter_map(|entry| entry.platform.as_ref());
    let told: Vec<String> = told.map(|platform| platform.normalized().to_string()).collect();
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    match choice.select(&wanted) {
        Some(entry) => Ok(vec![entry.clone()]),
        // One image, whatever it is for, is what was meant, unless another platform was asked for.
        None if told.is_empty() || (told.len() == 1 && platform.is_none()) => {
            Ok(choice.manifests.into_iter().filter(is_image).collect())
        }
        None => {
            let (wanted, available) = (wanted.to_string(), told.join(", "));
            Err(Error::NoPlatform { entry: index.to_owned(), wanted, available })
        }
    }
}

/// Build tools list what they attest beside the images, for a platform that does not exist.
fn is_image(entry: &Descriptor) -> bool {
    let unknown = entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
    !unknown && !entry.annotations.contains_key("vnd.docker.reference.type")
}

/// The image that a descriptor leads to, through further indexes if need be; `None` if it is an artifact.
fn image(
    contents: &Contents,
    descriptor: Descriptor,
    needed_by: &str,
    platform: Option<&Platform>,
    depth: usize,
) -> Result<Option<Planned>> {
    let entry = blob_name(&descriptor.digest);
    if depth > DEPTH_LIMIT {
        let reason = format!("indexes lie more than {DEPTH_LIMIT} deep in each other");
        return Err(Error::Entry { entry, reason });
    }
    let kind = &descriptor.media_type;
    if !(kind.is_index() || kind.is_manifest() || kind.is_legacy_manifest() || kind.as_str().is_empty()) {
        return Ok(None);
    }
    let bytes = contents.blob(&descriptor, oci::MANIFEST_LIMIT, needed_by)?;
    let document =
        Document::parse(&bytes, kind).map_err(|source| Error::Document { entry: entry.clone(), source })?;
    match document {
        Document::Manifest(manifest) => of_manifest(contents, descriptor, bytes, *manifest, platform),
        Document::Index(index) => {
            for chosen in select(&entry, index.manifests, platform)? {
                if let Some(found) = image(contents, chosen, &entry, platform, depth + 1)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
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
