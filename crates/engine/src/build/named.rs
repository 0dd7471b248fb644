//! Contexts that the caller has given names.
//!
//! | it is | a stage that begins with it has | its files |
//! |---|---|---|
//! | a directory | no config | the caller's, when a step asks ([`super::contexts`]) |
//! | an image, by name | the image's config, of the stage's platform | the image's layers |
//! | an image in an OCI layout | the same | its layers, fetched from the layout when a step asks |
//! | what another build of the same command makes | that one's config | its layers, once they are made ([`super::together`]) |
//! | a repository | no config | those of the commit, as a layer when a step asks |
//! | a folder of an archive (`https://…#:folder`) | no config | its files, unpacked |
//! | a file of the web | no config | it alone, under the last name of its address, mode 0600; an archive is not unpacked, as with BuildKit |
//!
//! Images are looked up when a stage that is needed begins with one, for that stage's platform; a name that no stage says costs
//! nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use build::{Record, Source, Step};
use image::LoadedLayer;
use oci::{Descriptor, DiffId, Digest, ImageConfig, Platform};

use super::blobs::{Blobs, Entry};
use super::error::BuildError;
use super::progress::Progress;
use super::session::Session;
use super::tree::Tree;
use super::{images, sources};
use crate::Result;
use crate::images::failed;
use crate::request::NamedContext;

/// Contexts that are images, by their names and platforms, as far as stages have asked for them.
#[derive(Default)]
pub(super) struct Named(Mutex<BTreeMap<(String, String), Arc<Found>>>);

/// An image that was looked up.
enum Found {
    /// One of the store.
    Stored(Digest),
    /// One of a layout.
    Layout(LayoutImage),
    /// What another build has made.
    Made(Tree),
}

/// What a stage needs to know of a name at its beginning.
type Wanted<'w> = (&'w str, &'w Platform);

impl Named {
    /// The config of a context that is an image; none of one that is files alone.
    pub(super) fn config(
        &self,
        session: &Session<'_>,
        (name, platform): Wanted<'_>,
        progress: &Progress<'_>,
    ) -> Result<Option<ImageConfig>> {
        let Some(context) = session.request.contexts.get(name) else { return Ok(None) };
        let (found, config) = match context {
            NamedContext::Directory(_) | NamedContext::Remote(_) => return Ok(None),
            NamedContext::Image(image) if image == SCRATCH => return Ok(None),
            NamedContext::Image(image) => {
                let id = images::named(session, (name, image), platform, progress)?;
                let config = session.engine.image_config(&id)?;
                (Found::Stored(id), config)
            }
            NamedContext::Layout { directory, entry } => {
                let title =
                    format!("[context {name}] load metadata for oci-layout://{}", directory.display());
                let (image, config) = progress.internal(&title, |_| {
                    LayoutImage::open(directory, &entry_of(entry.as_deref())?, platform)
                })?;
                (Found::Layout(image), config)
            }
            NamedContext::Made(target) => {
                let made = session.made(target)?;
                let product = made.product(platform).ok_or_else(|| BuildError::ContextPlatform {
                    name: name.to_owned(),
                    platform: platform.to_string(),
                })?;
                (Found::Made(product.tree.clone()), product.config.clone())
            }
        };
        self.found().insert((name.to_owned(), platform.to_string()), Arc::new(found));
        Ok(Some(config))
    }

    /// The files of a context that is no directory of the caller's; none of one that is.
    pub(super) fn source(
        &self,
        session: &Session<'_>,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Option<Source<Tree>>> {
        let missing = || BuildError::NoContext { name: name.to_owned() };
        let here = |tree: Tree| Source::Here { identity: Some(tree.chain()), tree };
        match session.request.contexts.get(name).ok_or_else(missing)? {
            NamedContext::Directory(_) => Ok(None),
            NamedContext::Remote(url) => sources::named(session, url).map(Some),
            NamedContext::Image(_) | NamedContext::Layout { .. } | NamedContext::Made(_) => {
                let Some(platform) = platform else { return Ok(Some(here(Tree::empty()))) };
                // Not for as long as layers are fetched.
                let found = self.found().get(&(name.to_owned(), platform.to_owned())).cloned();
                let tree = match &*found.ok_or_else(missing)? {
                    Found::Stored(id) => images::tree(session, id)?,
                    Found::Layout(image) => image.tree(session)?,
                    Found::Made(tree) => tree.clone(),
                };
                Ok(Some(here(tree)))
            }
        }
    }

    /// Fetches a context that is elsewhere.
    pub(super) fn fetch(session: &Session<'_>, name: &str, step: &Step<'_>) -> Result<Record> {
        match session.request.contexts.get(name) {
            Some(NamedContext::Remote(url)) => sources::fetch_named(session, url, step),
            Some(_) | None => Err(BuildError::NoContext { name: name.to_owned() }.into()),
        }
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<(String, String), Arc<Found>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The image of nothing.
const SCRATCH: &str = "scratch";

/// What stands after the folder of a layout: `tag`, `@digest`, or nothing.
fn entry_of(text: Option<&str>) -> Result<Entry> {
    let Some(text) = text else { return Ok(Entry::Usual) };
    match text.split_once('@') {
        None => Ok(Entry::Tag(text.to_owned())),
        // A digest decides; a tag beside it is a remark.
        Some((_, digest)) => digest.parse().map(Entry::Digest).map_err(|_| {
            let reason = format!("{digest:?} is no digest");
            BuildError::Artifact { place: "the name of a layout".to_owned(), reason }.into()
        }),
    }
}

/// An image of a layout, of which the documents were read.
struct LayoutImage {
    blobs: Blobs,
    layers: Vec<(DiffId, Descriptor)>,
}

impl LayoutImage {
    fn open(directory: &Path, entry: &Entry, platform: &Platform) -> Result<(LayoutImage, ImageConfig)> {
        let (blobs, top) = Blobs::in_layout(directory, entry)?;
        let manifest = blobs.image(top, platform)?;
        let bytes = blobs.small(&manifest.config, oci::CONFIG_LIMIT)?;
        let config = ImageConfig::parse(&bytes).map_err(|error| blobs.bad(error.to_string()))?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(blobs.bad(format!(
                "its manifest has {} layers, its config {}",
                manifest.layers.len(),
                diff_ids.len()
            )));
        }
        let layers = diff_ids.iter().cloned().zip(manifest.layers).collect();
        Ok((LayoutImage { blobs, layers }, config))
    }

    /// Its layers, each of which is fetched unless it is here.
    fn tree(&self, session: &Session<'_>) -> Result<Tree> {
        let stop = || session.cancel.is_cancelled();
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, blob) in &self.layers {
            session.draft.keep_layers([layer]).map_err(failed("keep a layer"))?;
            let size = session.engine.store.layer_size(layer).map_err(failed("look for a layer"))?;
            layers.push(match size {
                Some(size) => LoadedLayer { diff_id: layer.clone(), size, blob: None },
                None => self.blobs.bring(session, (layer, None), blob, &stop)?,
            });
        }
        Ok(Tree::Layers(layers.into_iter().map(Arc::new).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layouts_entry_is_a_tag_a_digest_or_the_usual_one() {
        let digest = Digest::of(b"x");
        assert_eq!(entry_of(None).unwrap(), Entry::Usual);
        assert_eq!(entry_of(Some("1")).unwrap(), Entry::Tag("1".to_owned()));
        for text in [format!("@{digest}"), format!("1@{digest}")] {
            assert_eq!(entry_of(Some(&text)).unwrap(), Entry::Digest(digest.clone()), "{text}");
        }
        assert!(entry_of(Some("@sha256:x")).is_err());
    }
}
