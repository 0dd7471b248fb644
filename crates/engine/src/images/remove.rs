//! `rmi` and `image prune`: names go first, then what no name and no container leads to.

use image::Live;
use oci::{Digest, Reference};
use state::NamedImage;

use super::failed;
use crate::info::{ImageRemoval, ImageSummary, Pruned};
use crate::request::RemoveImage;
use crate::{Engine, Error, Result};

impl Engine {
    /// Removes a name of an image, and the image with its last one.
    ///
    /// With `force`, an image is removed by its id whatever its names are, and one that a container uses loses its
    /// names: its content stays for as long as the container does.
    pub fn remove_image(&self, name: &str, request: &RemoveImage) -> Result<Vec<ImageRemoval>> {
        let (id, reference) = self.resolve_reference(name)?;
        let reference = reference.filter(|reference| reference.digest().is_none());
        let tags = self.state().tags_of(&id)?;
        let others = reference.as_ref().is_some_and(|reference| tags.iter().any(|tag| tag != reference));
        if let (true, Some(reference)) = (others, &reference) {
            self.state().untag(reference)?;
            self.image_event("untag", &id, &reference.familiar());
            return Ok(vec![ImageRemoval::Untagged(reference.familiar())]);
        }
        if reference.is_none() && tags.len() > 1 && !request.force {
            return Err(Error::SeveralTags { image: id.short().to_owned() });
        }
        let used = self.check_unused(&id, reference.as_ref(), request.force)?;
        let mut removed = self.forget(&id, &tags, used)?;
        if !used {
            removed.extend(self.collect()?.removed);
        }
        Ok(removed)
    }

    /// Refuses to remove what containers need; tells whether one, stopped, uses the image all the same.
    fn check_unused(&self, id: &Digest, reference: Option<&Reference>, force: bool) -> Result<bool> {
        let users = self.state().containers_of_image(id)?;
        for user in &users {
            let Some(record) = self.state().container(user)? else { continue };
            let (head, state) = self.observe(record.head)?;
            let (image, container) = (id.short().to_owned(), head.id.short().to_owned());
            if state.status.is_running() && (reference.is_none() || !force) {
                return Err(Error::ImageRunning { image, container });
            }
            if !force {
                return Err(match reference {
                    Some(reference) => Error::TagInUse { reference: reference.familiar(), container, image },
                    None => Error::ImageUsed { image, container },
                });
            }
        }
        Ok(!users.is_empty())
    }

    /// Removes the names of an image, and its record unless a container uses it.
    pub(super) fn forget(&self, id: &Digest, tags: &[Reference], used: bool) -> Result<Vec<ImageRemoval>> {
        // Its configuration goes with it.
        let labels = self.labels_of_image(id);
        let gone = self.state().forget_image(id, tags, used)?;
        let mut removed: Vec<ImageRemoval> =
            tags.iter().map(|tag| ImageRemoval::Untagged(tag.familiar())).collect();
        for tag in tags {
            self.labelled_image_event("untag", id, &tag.familiar(), &labels);
        }
        if gone {
            removed.push(ImageRemoval::Deleted(id.to_string()));
            self.labelled_image_event("delete", id, id.as_str(), &labels);
        }
        Ok(removed)
    }

    /// Removes images without a name (all unused ones with `all`) that `keep` does not keep.
    pub fn prune_images(&self, all: bool, keep: &dyn Fn(&ImageSummary) -> bool) -> Result<Pruned> {
        let mut removed = Vec::new();
        for image in self.images()? {
            if image.containers > 0 || !(all || image.tags.is_empty()) || keep(&image) {
                continue;
            }
            let id = self.resolve_image(&image.id)?;
            let tags = self.state().tags_of(&id)?;
            removed.extend(self.forget(&id, &tags, false)?);
        }
        let collected = self.collect()?;
        removed.extend(collected.removed);
        self.event("image", "prune", "", &[("reclaimed", &collected.reclaimed.to_string())]);
        Ok(Pruned { removed, reclaimed: collected.reclaimed })
    }

    /// Removes content that nothing leads to. While somebody adds content this is left to a later one.
    pub(super) fn collect(&self) -> Result<Pruned> {
        let Some(collector) = self.store.try_collector().map_err(failed("lock the store"))? else {
            return Ok(Pruned::default());
        };
        let mut live = Live::default();
        for NamedImage { image, .. } in self.state().images()? {
            let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
            live.image(&image.id, &layers);
            if let Some(manifest) = &image.manifest {
                live.document(&manifest.digest);
            }
        }
        let collected = collector.collect(&live).map_err(failed("collect what nothing leads to"))?;
        self.state().keep_reserve();
        let layers = collected.layers.iter().map(|layer| ImageRemoval::Deleted(format!("sha256:{layer}")));
        Ok(Pruned { removed: layers.collect(), reclaimed: collected.bytes })
    }
}
