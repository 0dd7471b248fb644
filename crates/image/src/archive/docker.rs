//! `manifest.json` of `docker save`, from 1.10 on.

use oci::{Platform, Reference};
use serde::Deserialize;

use super::contents::Contents;
use super::plan::{self, Config, Planned};
use crate::error::{Error, Result};

const NAME: &str = "manifest.json";

/// One image of the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Whether an archive is one that `docker save` wrote, whatever else it is.
pub(super) fn is_one(contents: &Contents) -> Result<bool> {
    Ok(contents.document(NAME, oci::CONFIG_LIMIT)?.is_some())
}

/// The images of `manifest.json`; `None` if there is none.
pub(super) fn images(contents: &Contents, platforms: &[Platform]) -> Result<Option<Vec<Planned>>> {
    let Some(bytes) = contents.document(NAME, oci::CONFIG_LIMIT)? else { return Ok(None) };
    let items: Vec<Item> =
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { entry: NAME.to_owned(), source })?;
    let mut images = Vec::with_capacity(items.len());
    for item in items {
        let references = references(item.repo_tags.unwrap_or_default())?;
        let Some(bytes) = contents.document(&item.config, oci::CONFIG_LIMIT)? else {
            return Err(Error::MissingEntry { entry: item.config, needed_by: NAME.to_owned() });
        };
        let members = item.layers.unwrap_or_default().into_iter().map(|member| (member, None)).collect();
        let (config, layers) = plan::with_config(&item.config, bytes, members)?;
        images.push(Planned {
            entry: item.config,
            config,
            manifest: None,
            documents: Vec::new(),
            through: None,
            layers,
            references,
        });
    }
    if !platforms.is_empty() {
        choose(contents.name(), &mut images, platforms)?;
    }
    Ok(Some(images))
}

/// Drops the images of other platforms; it is an error if none is left.
fn choose(archive: &str, images: &mut Vec<Planned>, wanted: &[Platform]) -> Result<()> {
    let of = |image: &Planned| match &image.config {
        Config::Document { config, .. } => config.platform.normalized(),
        Config::Legacy(_) => Platform::host(),
    };
    let available: Vec<String> = images.iter().map(|image| of(image).to_string()).collect();
    images.retain(|image| wanted.iter().any(|wanted| wanted.runs(&of(image))));
    if !images.is_empty() || available.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(Platform::to_string).collect();
    let (wanted, available) = (wanted.join(", "), available.join(", "));
    Err(Error::NoPlatform { entry: archive.to_owned(), wanted, available })
}

/// Parses names, of which a bad one is an error: it would be lost in silence.
fn references(names: Vec<String>) -> Result<Vec<Reference>> {
    let parse = |name: String| match name.parse::<Reference>() {
        Ok(reference) if reference.digest().is_some() => {
            let reason = format!("the name {reference} of RepoTags has a digest");
            Err(Error::Entry { entry: NAME.to_owned(), reason })
        }
        Ok(reference) => Ok(reference.or_latest()),
        Err(source) => Err(Error::Document { entry: format!("{NAME}: RepoTags"), source }),
    };
    names.into_iter().map(parse).collect()
}
