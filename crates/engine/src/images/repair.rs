//! `image repair`: what is damaged or missing is fetched again from where it came, checked, and put in its place.
//!
//! ```text
//! verify ──► findings ──► from which repositories? ──► fetch, check, rename into place ──┐
//!    ▲                                                                                   │
//!    └───────────── again, for what hid behind: config, then layers, then index ◄────────┘
//! ```
//!
//! Containers that run keep what they have open; they have the good files from their next start on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use image::Finding;
use oci::{Descriptor, DiffId, Digest, Manifest, Reference};
use registry_client::{Client, Repository};
use state::NamedImage;

use super::failed;
use super::pull::{PullStep, PullWatch, tell};
use crate::info::{Repaired, Unrepaired};
use crate::{Engine, Error, Result};

/// Every round mends what the one before has brought to light: documents, layers, the index, and a last look.
const ROUNDS: usize = 5;

/// What was tried, in vain: where, and why not.
type Tried = Vec<String>;

/// Whether a fault is mended.
type Mending = std::result::Result<(), Tried>;

impl Engine {
    /// Mends images, all of them when `names` is empty.
    pub fn repair_images(
        &self,
        client: &Client,
        names: &[String],
        watch: &PullWatch<'_>,
    ) -> Result<Vec<Repaired>> {
        let images = self.images_to_verify(names)?;
        images.iter().map(|named| self.repair(client, named, watch)).collect()
    }

    fn repair(&self, client: &Client, named: &NamedImage, watch: &PullWatch<'_>) -> Result<Repaired> {
        let mut mended = Vec::new();
        let mut in_vain: BTreeMap<String, Tried> = BTreeMap::new();
        let mut layers = BTreeSet::new();
        for _ in 0..ROUNDS {
            let findings = self.findings(named)?;
            let open: Vec<&Finding> =
                findings.iter().filter(|finding| !in_vain.contains_key(&finding.to_string())).collect();
            if open.is_empty() {
                break;
            }
            for finding in open {
                match self.mend(client, named, finding, watch)? {
                    Ok(()) => mended.push(finding.to_string()),
                    Err(tried) => drop(in_vain.insert(finding.to_string(), tried)),
                }
                if let Finding::LayerMissing(layer) | Finding::LayerDamaged { layer, .. } = finding {
                    layers.insert(layer.clone());
                }
            }
        }
        named.image.layers.iter().for_each(|layer| self.store.guard_layer(&layer.diff_id));
        // What was not tried is what comes back however often it is mended.
        let faults = self.findings(named)?.into_iter().map(|finding| finding.to_string());
        let mut left: Vec<Unrepaired> = faults
            .map(|fault| Unrepaired { tried: in_vain.remove(&fault).unwrap_or_default(), fault })
            .collect();
        left.extend(self.drop_trees(named, &layers)?);
        Ok(Repaired {
            id: named.image.id.to_string(),
            tags: named.tags.iter().map(Reference::familiar).collect(),
            mended,
            left,
        })
    }

    /// Mends one fault, or says what was tried.
    fn mend(
        &self,
        client: &Client,
        named: &NamedImage,
        finding: &Finding,
        watch: &PullWatch<'_>,
    ) -> Result<Mending> {
        let image = &named.image;
        match finding {
            Finding::DocumentMissing(digest) | Finding::DocumentDamaged(digest) => {
                self.mend_document(client, named, digest)
            }
            Finding::LayerMissing(layer) | Finding::LayerDamaged { layer, .. } => {
                self.mend_layer(client, named, layer, watch)
            }
            Finding::IndexDiffers(id) => {
                let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                self.store.replace_index(id, &layers).map_err(failed("make the index anew"))?;
                Ok(Ok(()))
            }
            // What it says is as it was fetched, or follows from that: nobody has another one.
            Finding::ConfigRefused(..) | Finding::IndexRefused(..) | _ => Ok(Err(Vec::new())),
        }
    }

    fn mend_document(&self, client: &Client, named: &NamedImage, digest: &Digest) -> Result<Mending> {
        let mut tried = Vec::new();
        for name in self.repositories_of(named)? {
            let (reference, repository) = repository(client, &name)?;
            let fetched = match *digest == named.image.id {
                true => self.config_of(named, &repository),
                false => {
                    repository.manifest(&reference.with_digest(digest.clone())).map(|found| Some(found.bytes))
                }
            };
            match fetched {
                Ok(Some(bytes)) => {
                    self.store
                        .replace_blob(digest, &bytes)
                        .map_err(failed("put the document in its place"))?;
                    return Ok(Ok(()));
                }
                Ok(None) => tried.push(format!("{name}: the manifest, which tells of it, is not there")),
                Err(error) => tried.push(format!("{name}: {}", chain(&error))),
            }
        }
        Ok(Err(tried))
    }

    /// The config, which the manifest tells of.
    fn config_of(
        &self,
        named: &NamedImage,
        repository: &Repository,
    ) -> registry_client::Result<Option<Vec<u8>>> {
        let manifest = named.image.manifest.as_ref().and_then(|known| self.store.blob(&known.digest).ok());
        let Some(manifest) = manifest.and_then(|bytes| Manifest::parse(&bytes).ok()) else { return Ok(None) };
        repository.small_blob(&manifest.config, oci::CONFIG_LIMIT).map(Some)
    }

    fn mend_layer(
        &self,
        client: &Client,
        named: &NamedImage,
        layer: &DiffId,
        watch: &PullWatch<'_>,
    ) -> Result<Mending> {
        let mut sources: Vec<(String, Descriptor)> = Vec::new();
        for source in self.state().sources_of(layer)? {
            sources.push((source.repository, source.blob));
        }
        let known = named.image.layers.iter().find(|known| known.diff_id == *layer);
        if let Some(blob) = known.and_then(|known| known.blob.clone()) {
            for name in self.repositories_of(named)? {
                sources.push((name, blob.clone()));
            }
        }
        let mut tried: Tried = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, blob) in sources {
            if !seen.insert((name.clone(), blob.digest.to_string())) {
                continue;
            }
            let (_, repository) = repository(client, &name)?;
            tell(watch, &blob, PullStep::Planned);
            let mut content = match repository.rest_of_blob(&blob, 0) {
                Ok(content) => content,
                Err(error) => {
                    tried.push(format!("{name}: {}", chain(&error)));
                    continue;
                }
            };
            match self.store.replace_layer(layer, &blob, &mut content) {
                Ok(()) => {
                    tell(watch, &blob, PullStep::Complete);
                    return Ok(Ok(()));
                }
                Err(error @ image::Error::File(_)) => {
                    return Err(failed("put the layer in its place")(error));
                }
                Err(error) => tried.push(format!("{name}: {}", chain(&error))),
            }
        }
        Ok(Err(tried))
    }

    /// The repositories in which an image, or a part of it, is known to have been, by their full names.
    fn repositories_of(&self, named: &NamedImage) -> Result<Vec<String>> {
        let image = &named.image;
        let mut names: Vec<String> = image.digests.iter().map(Reference::name).collect();
        names.extend(image.repositories.iter().cloned());
        for layer in &image.layers {
            names
                .extend(self.state().sources_of(&layer.diff_id)?.into_iter().map(|source| source.repository));
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(names)
    }

    /// Removes the trees that bad layers were unpacked to, unless a container has one of them below it: that is told.
    fn drop_trees(&self, named: &NamedImage, layers: &BTreeSet<DiffId>) -> Result<Vec<Unrepaired>> {
        if layers.is_empty() {
            return Ok(Vec::new());
        }
        let ids = |named: &NamedImage| -> Vec<DiffId> {
            named.image.layers.iter().map(|layer| layer.diff_id.clone()).collect()
        };
        let all = ids(named);
        let first_bad = all.iter().position(|layer| layers.contains(layer)).unwrap_or(0);
        let below = self.store.tree_paths(&all[..first_bad]);
        let trees = self.store.tree_paths(&all).into_iter().filter(|tree| !below.contains(tree));
        let mut in_use: BTreeSet<PathBuf> = BTreeSet::new();
        let used: BTreeSet<String> =
            self.state().containers()?.iter().map(|head| head.image.to_string()).collect();
        for other in self.state().images()?.iter().filter(|other| used.contains(other.image.id.as_str())) {
            in_use.extend(self.store.tree_paths(&ids(other)));
        }
        let (kept, gone): (Vec<PathBuf>, Vec<PathBuf>) = trees.partition(|tree| in_use.contains(tree));
        self.store.remove_trees(&gone).map_err(failed("remove what was unpacked from a bad layer"))?;
        let told = |tree: PathBuf| Unrepaired {
            fault: format!(
                "{} was unpacked from a layer that was bad, and a container has it for its root: remove the container, and the image, \
                 and pull it again",
                tree.display()
            ),
            tried: Vec::new(),
        };
        Ok(kept.into_iter().map(told).collect())
    }
}

fn repository(client: &Client, name: &str) -> Result<(Reference, Repository)> {
    let invalid = |source| Error::InvalidReference { text: name.to_owned(), source };
    let reference: Reference = name.parse().map_err(invalid)?;
    let refused =
        |source| Error::Registry { action: "repair from", name: name.to_owned(), source: Box::new(source) };
    let repository = client.repository(&reference).map_err(refused)?;
    Ok((reference, repository))
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
