//! The form of `docker save` before 1.10: a directory per layer with its own JSON, and `repositories`.
//!
//! There is no config; it is made of the layers' documents as Docker does, so that the image has the id that
//! Docker gives it only by chance. What matters is that it runs the same.

use std::collections::{BTreeMap, BTreeSet};

use oci::{ContainerConfig, DiffId, History, ImageConfig, Platform, Reference, Timestamp};
use serde::Deserialize;

use super::contents::Contents;
use super::plan::{Config, Planned, PlannedLayer};
use crate::error::{Error, Result};

const REPOSITORIES: &str = "repositories";
/// Docker itself never stacked more.
const DEPTH_LIMIT: usize = 127;

/// One layer's document.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Step {
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    config: Option<ContainerConfig>,
    #[serde(default)]
    container_config: Option<ContainerConfig>,
}

/// The images of `repositories`; without it, every layer that is no other's parent. `None` if there is no
/// such layer.
pub(super) fn images(contents: &Contents) -> Result<Option<Vec<Planned>>> {
    let Some(named) = named(contents)? else { return Ok(None) };
    let mut images = Vec::new();
    for (top, references) in named {
        let mut layers = Vec::new();
        let mut steps = Vec::new();
        let mut next = Some(top.clone());
        let mut needed_by = REPOSITORIES.to_owned();
        while let Some(id) = next.take() {
            if steps.len() == DEPTH_LIMIT {
                let reason = format!("more than {DEPTH_LIMIT} layers lie on each other, or in a circle");
                return Err(Error::Entry { entry: format!("{top}/json"), reason });
            }
            let step = step(contents, &id, &needed_by)?;
            next = step.parent.clone().filter(|parent| !parent.is_empty());
            needed_by = format!("{id}/json");
            layers.push(PlannedLayer { member: format!("{id}/layer.tar"), diff_id: None, blob: None });
            steps.push(step);
        }
        layers.reverse();
        steps.reverse();
        let entry = format!("{top}/json");
        images.push(Planned {
            entry,
            config: Config::Legacy(steps),
            manifest: None,
            documents: Vec::new(),
            through: None,
            layers,
            references,
        });
    }
    Ok(Some(images))
}

/// Top layers and their names.
fn named(contents: &Contents) -> Result<Option<BTreeMap<String, Vec<Reference>>>> {
    let mut named: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    if let Some(bytes) = contents.document(REPOSITORIES, oci::MANIFEST_LIMIT)? {
        let json = |source| Error::Json { entry: REPOSITORIES.to_owned(), source };
        let tree: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_slice(&bytes).map_err(json)?;
        for (repository, tags) in tree {
            for (tag, id) in tags {
                let reference = repository.parse::<Reference>().and_then(|name| name.with_tag(&tag));
                let reference =
                    reference.map_err(|source| Error::Document { entry: REPOSITORIES.to_owned(), source })?;
                named.entry(id).or_default().push(reference);
            }
        }
        return Ok(Some(named));
    }
    let ids: Vec<String> =
        contents.names().iter().filter_map(|name| name.strip_suffix("/json")).map(str::to_owned).collect();
    let mut parents = BTreeSet::new();
    for id in &ids {
        parents.extend(step(contents, id, "the archive")?.parent);
    }
    named.extend(ids.into_iter().filter(|id| !parents.contains(id)).map(|id| (id, Vec::new())));
    Ok((!named.is_empty()).then_some(named))
}

fn step(contents: &Contents, id: &str, needed_by: &str) -> Result<Step> {
    let entry = format!("{id}/json");
    let Some(bytes) = contents.document(&entry, oci::MANIFEST_LIMIT)? else {
        return Err(Error::MissingEntry { entry, needed_by: needed_by.to_owned() });
    };
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { entry, source })
}

/// The config that stands for a stack of layers.
pub(super) fn config(steps: &[Step], diff_ids: Vec<DiffId>) -> ImageConfig {
    let top = steps.last().cloned().unwrap_or_default();
    let history = steps.iter().map(|step| History {
        created: step.created,
        created_by: step
            .container_config
            .as_ref()
            .and_then(|config| config.cmd.as_ref())
            .map_or_else(String::new, |cmd| cmd.join(" ")),
        author: step.author.clone().unwrap_or_default(),
        comment: step.comment.clone().unwrap_or_default(),
        empty_layer: false,
    });
    let host = Platform::host();
    ImageConfig {
        platform: Platform {
            architecture: top.architecture.filter(|name| !name.is_empty()).unwrap_or(host.architecture),
            os: top.os.filter(|name| !name.is_empty()).unwrap_or(host.os),
            ..Platform::default()
        },
        created: top.created,
        author: top.author.unwrap_or_default(),
        comment: top.comment.unwrap_or_default(),
        config: top.config.unwrap_or_default(),
        rootfs: oci::RootFs { diff_ids, ..oci::RootFs::default() },
        history: history.collect(),
    }
}
