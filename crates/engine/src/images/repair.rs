//! `image repair`: what is damaged or missing is fetched again from where it came, checked, and put in its place.
//!
//! ```text
//! verify ──► findings ──► from which repositories? ──► fetch, check, rename into place ──┐
//!    ▲                                                                                   │
//!    └───────────── again, for what hid behind: config, then layers, then index ◄────────┘
//! ```
//!
//! Containers that run keep what they have open; they have the good files from their next start on. Where layers are unpacked, the
//! tree of a bad one loses its name before the layer is mended, is unpacked anew, and goes when nobody runs on it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use image::Finding;
use linux::chain;
use oci::{Descriptor, DiffId, Digest, Manifest, Reference};
use registry_client::{Client, Repository};
use state::{ImageRecord, NamedImage};

use super::failed;
use super::pull::{PullStep, PullWatch, tell};
use crate::info::{Repaired, Unrepaired};
use crate::{Engine, Error, Result, Snapshotter};

/// Every round mends what the one before has brought to light: documents, layers, the index, and a last look.
const ROUNDS: usize = 5;
/// What is being done where it fails.
const TREES: &str = "put away what was unpacked from a bad layer";

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
        images.into_iter().map(|(name, named)| self.repair(client, name, &named, watch)).collect()
    }

    fn repair(
        &self,
        client: &Client,
        name: String,
        named: &NamedImage,
        watch: &PullWatch<'_>,
    ) -> Result<Repaired> {
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
                // Before the layer is good: whoever is killed between the two finds it bad again, and begins anew.
                let trees = self.replace_trees(named, finding)?;
                match self.mend(client, named, finding, watch)? {
                    Ok(()) => {
                        mended.push(finding.to_string());
                        layers.extend(layer_of(finding).cloned());
                    }
                    Err(tried) => {
                        in_vain.insert(finding.to_string(), tried);
                        self.store.restore_trees(&trees).map_err(failed(TREES))?;
                    }
                }
            }
        }
        named.image.layers.iter().for_each(|layer| self.store.guard_layer(&layer.diff_id));
        // What was not tried is what comes back however often it is mended.
        let faults = self.findings(named)?.into_iter().map(|finding| finding.to_string());
        let left = faults
            .map(|fault| Unrepaired { tried: in_vain.remove(&fault).unwrap_or_default(), fault })
            .collect();
        if !layers.is_empty() {
            self.unpack_again(&layers)?;
        }
        Ok(Repaired { name, mended, left })
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
                self.store.replace_index(id, &layers_of(image)).map_err(failed("make the index anew"))?;
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
            let attached = named.image.attached.iter().find(|document| document.digest == *digest);
            let fetched = match attached {
                Some(document) => repository.small_blob(document, oci::CONFIG_LIMIT).map(Some),
                None if *digest == named.image.id => self.config_of(named, &repository),
                None => {
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
            let mut content = match repository.blob_in_ranges(&blob, 0) {
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

    /// Takes their names from the trees that a bad layer was unpacked to, and from those that lie on them.
    fn replace_trees(&self, named: &NamedImage, finding: &Finding) -> Result<Vec<(PathBuf, PathBuf)>> {
        let Some(bad) = layer_of(finding) else { return Ok(Vec::new()) };
        let mut trees: BTreeSet<PathBuf> = BTreeSet::new();
        // Others have the layer, too, and perhaps on other ones; this one even if it has been forgotten meanwhile.
        let mut images = self.state().images()?;
        images.push(named.clone());
        for other in &images {
            let layers = layers_of(&other.image);
            let Some(first) = layers.iter().position(|layer| layer == bad) else { continue };
            let below = self.store.tree_paths(&layers[..first]);
            trees.extend(self.store.tree_paths(&layers).into_iter().filter(|tree| !below.contains(tree)));
        }
        self.store.replace_trees(&trees.into_iter().collect::<Vec<_>>()).map_err(failed(TREES))
    }

    /// Unpacks at once what containers are restarted on by their monitors, which ask nobody; then removes what nobody has mounted.
    fn unpack_again(&self, mended: &BTreeSet<DiffId>) -> Result<()> {
        if self.snapshotter()? == Snapshotter::Trees {
            let used: BTreeSet<String> =
                self.state().containers()?.iter().map(|head| head.image.to_string()).collect();
            let images = self.state().images()?;
            for image in images.into_iter().map(|other| other.image) {
                let layers = layers_of(&image);
                if used.contains(image.id.as_str())
                    && layers.iter().any(|layer| mended.contains(layer))
                    && let Err(error) = self.trees(&image.id, &layers)
                {
                    // Another of its layers may be bad still. Whoever starts it is told.
                    tracing::debug!(%error, image = %image.id, "not unpacked again");
                }
            }
        }
        self.collect(false).map(drop)
    }
}

/// The layer that is bad.
fn layer_of(finding: &Finding) -> Option<&DiffId> {
    if let Finding::LayerMissing(layer) | Finding::LayerDamaged { layer, .. } = finding {
        return Some(layer);
    }
    None
}

fn layers_of(image: &ImageRecord) -> Vec<DiffId> {
    image.layers.iter().map(|layer| layer.diff_id.clone()).collect()
}

fn repository(client: &Client, name: &str) -> Result<(Reference, Repository)> {
    let invalid = |source| Error::InvalidReference { text: name.to_owned(), source };
    let reference: Reference = name.parse().map_err(invalid)?;
    let refused =
        |source| Error::Registry { action: "repair from", name: name.to_owned(), source: Box::new(source) };
    let repository = client.repository(&reference).map_err(refused)?;
    Ok((reference, repository))
}
