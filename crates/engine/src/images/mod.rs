//! Images by name: what a reference or a prefix stands for, and what of it a container needs.

mod add;
mod choose;
mod copy;
mod list;
mod manifests;
mod platforms;
pub(crate) mod pressure;
mod pull;
mod push;
mod remove;
mod repair;
mod save;
mod statements;
mod transfer;
mod tree;

pub use add::Archive;
pub(crate) use add::{parse_platform, parse_tag};
pub use copy::copy_image;
pub use manifests::{Inspected, ListedManifest, PushedList};
pub use pressure::{Pressure, Relief};
pub use pull::{PullEvent, PullStep, PullWatch};
pub(crate) use push::PushBuilt;
pub use push::{PushEvent, PushStep, PushWatch};
pub use statements::{Predicate, RemoteImages, Statements, WantedPredicates};

use image::snapshots::{Erofs, RootFs, Snapshots};
use linux::file;
use oci::{DiffId, Digest, ImageConfig, Reference};
use runtime::plan::{RootSource, Writable};
use state::{ImageRecord, Lookup};

use crate::{Engine, Error, Result, Snapshotter};

/// An image in the store and the database disagree, or a file fails.
pub(crate) fn failed(action: &'static str) -> impl FnOnce(image::Error) -> Error {
    move |source| Error::Image { action, source }
}

/// A reference as users know it, with the tag that they left out.
pub(crate) fn familiar(text: &str) -> String {
    text.parse::<Reference>().map_or_else(|_| text.to_owned(), |reference| reference.or_latest().familiar())
}

impl Engine {
    /// The image that `name` stands for: by reference, else by id or a prefix of one.
    pub(crate) fn resolve_image(&self, name: &str) -> Result<Digest> {
        self.resolve_reference(name).map(|(id, _)| id)
    }

    /// The same, with the reference when that is what it was found by.
    pub(crate) fn resolve_reference(&self, name: &str) -> Result<(Digest, Option<Reference>)> {
        let missing = || Error::NoSuchImage { name: familiar(name) };
        let hex = name.strip_prefix("sha256:");
        if hex.is_none() {
            match name.parse::<Reference>() {
                Ok(reference) => {
                    if let Some(found) = self.referenced(&reference)? {
                        return Ok((found, Some(reference.or_latest())));
                    }
                }
                Err(source) if !is_hex(name) => {
                    return Err(Error::InvalidReference { text: name.chars().take(80).collect(), source });
                }
                Err(_) => {}
            }
        }
        match self.state().find_image(hex.unwrap_or(name))? {
            Lookup::Found(id) => Ok((id, None)),
            Lookup::Missing => Err(missing()),
            Lookup::Ambiguous => Err(Error::AmbiguousPrefix { prefix: name.to_owned() }),
        }
    }

    fn referenced(&self, reference: &Reference) -> Result<Option<Digest>> {
        let Some(digest) = reference.digest() else {
            return Ok(self.state().tagged(&reference.clone().or_latest())?);
        };
        let mut found = self.known_as(reference)?;
        // Of an index with several that are here, the one that a tag would stand for.
        if found.len() > 1
            && let Some(image) = self.listing(digest)?.default_image(None)
            && found.contains(&image.id)
        {
            return Ok(Some(image.id.clone()));
        }
        Ok(if found.is_empty() { None } else { Some(found.swap_remove(0)) })
    }

    /// The images that a name with a digest leads to: several where that is the digest of an index.
    pub(crate) fn known_as(&self, reference: &Reference) -> Result<Vec<Digest>> {
        let repository = reference.name();
        let is_meant = |image: &ImageRecord| {
            let manifest = image.manifest.as_ref().is_some_and(|m| Some(&m.digest) == reference.digest());
            let is_known =
                |name: &Reference| name.digest() == reference.digest() && name.name() == repository;
            (manifest && image.repositories.contains(&repository)) || image.digests.iter().any(is_known)
        };
        let images = self.state().images()?.into_iter().map(|named| named.image);
        Ok(images.filter(is_meant).map(|image| image.id).collect())
    }

    /// An image that is known by its id.
    pub(crate) fn image_record(&self, id: &Digest) -> Result<ImageRecord> {
        self.state().image(id)?.ok_or_else(|| Error::NoSuchImage { name: id.to_string() })
    }

    /// The configuration of an image.
    pub(crate) fn image_config(&self, id: &Digest) -> Result<ImageConfig> {
        self.store.config(id).map_err(failed("read the configuration of the image"))
    }

    /// The root file system of a container with its writable layer.
    pub(crate) fn root_source(
        &self,
        image: &Digest,
        layers: &[DiffId],
        writable: Writable,
    ) -> Result<RootSource> {
        let writable = Some(writable);
        let prepared = match self.snapshotter()? {
            Snapshotter::Erofs => {
                Erofs.prepare(&self.store, image, layers).map_err(failed("prepare the root file system"))?
            }
            Snapshotter::Trees => self.trees(image, layers)?,
        };
        Ok(match prepared {
            RootFs::Erofs { index, devices } => RootSource::Erofs { index, devices, writable },
            RootFs::Trees { layers } => RootSource::Trees { layers, writable },
        })
    }

    /// How root file systems are prepared here: as told, else as probed once since the host was booted.
    pub(crate) fn snapshotter(&self) -> Result<Snapshotter> {
        if let Some(forced) = self.config.snapshotter {
            return Ok(forced);
        }
        if self.facts().rootless.is_some() {
            return Ok(Snapshotter::Trees);
        }
        if let Some(known) = self.snapshotter.get() {
            return Ok(*known);
        }
        let device = rustix::fs::stat(&self.config.root).map_or(0, |found| found.st_dev);
        let cache = self.config.run.join("snapshotter");
        let erofs = format!("erofs {device}");
        let trees = format!("trees {device}");
        let found = match file::read_to_string(&cache) {
            Ok(text) if text == erofs => Snapshotter::Erofs,
            Ok(text) if text == trees => Snapshotter::Trees,
            _ => {
                let found = match image::snapshots::probe(&self.config.root) {
                    Ok(()) => Snapshotter::Erofs,
                    Err(reason) => {
                        tracing::info!(%reason, "layers are unpacked");
                        Snapshotter::Trees
                    }
                };
                let text = if found == Snapshotter::Erofs { erofs } else { trees };
                // Without it the next one probes again.
                drop(file::write(&cache, text.as_bytes()));
                found
            }
        };
        Ok(*self.snapshotter.get_or_init(|| found))
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
