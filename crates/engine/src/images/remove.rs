//! `rmi` and `image prune`: names go first, then what no name and no container leads to.

use std::collections::{BTreeMap, BTreeSet};

use image::Live;
use image::store::Collector;
use oci::{Digest, Reference};
use state::{Durability, NamedImage, NewName};

use super::add::parse_platform;
use super::failed;
use crate::info::{ImageRemoval, ImageSummary, Pruned};
use crate::request::RemoveImage;
use crate::{Engine, Error, Result};

impl Engine {
    /// Removes a name of an image, and the image with its last one. What else the name leads to, for other platforms, goes
    /// with it unless another name leads there.
    ///
    /// With `force`, an image is removed by its id whatever its names are, and one that a container uses loses its
    /// names: its content stays for as long as the container does.
    pub fn remove_image(&self, name: &str, request: &RemoveImage) -> Result<Vec<ImageRemoval>> {
        if !request.platforms.is_empty() {
            return self.remove_platforms(name, request);
        }
        let (id, reference) = self.resolve_reference(name)?;
        let by_digest = reference.as_ref().filter(|reference| reference.digest().is_some());
        let same_digest = by_digest.map(|name| self.known_as(name)).transpose()?.unwrap_or_default();
        let reference = reference.filter(|reference| reference.digest().is_none());
        let tags = self.state().tags_of(&id)?;
        if reference.is_none() && tags.len() > 1 && !request.force {
            return Err(Error::SeveralTags { image: id.short().to_owned() });
        }
        let names = reference.as_ref().map_or(tags.clone(), |reference| vec![reference.clone()]);
        let mut leaving = self.only_led_to_by(&names, &same_digest)?;
        leaving.retain(|image| *image != id);
        let indexed = self.indexed()?;
        let is_led_to = reference.is_some() && indexed.leading_to(&id).any(|name| !names.contains(name));
        if tags.iter().all(|tag| names.contains(tag)) && !is_led_to {
            leaving.insert(0, id);
        }
        let removed = self.forget_unused(&names, &leaving, reference.as_ref(), request.force)?;
        self.and_collect(removed)
    }

    /// Removes the images of a name for some platforms. The name stays as long as it leads to another one.
    fn remove_platforms(&self, name: &str, request: &RemoveImage) -> Result<Vec<ImageRemoval>> {
        let mut removed = Vec::new();
        for platform in &request.platforms {
            let id = self.resolve_for(name, Some(platform))?;
            let (wanted, found) = (parse_platform(platform)?, self.image_record(&id)?.platform.normalized());
            // What would run there as well, being for an older processor, is not what was named.
            if wanted.rank(&found) != Some(0) {
                let (wanted, found) = (wanted.to_string(), found.to_string());
                return Err(Error::WrongPlatform { image: name.to_owned(), wanted, found });
            }
            let tags = self.state().tags_of(&id)?;
            let indexed = self.indexed()?;
            if tags.len() + indexed.leading_to(&id).count() > 1 && !request.force {
                return Err(Error::SeveralTags { image: id.short().to_owned() });
            }
            let used = self.check_unused(&id, None, request.force)?;
            let (mut staying, mut leaving) = (Vec::new(), Vec::new());
            for tag in tags {
                let listing = indexed.names.iter().find(|(name, _, _)| *name == tag);
                let other = listing.and_then(|(_, _, listing)| listing.default_image(Some(&id)));
                match (other, self.state().index_of(&tag)?) {
                    (Some(other), Some(index)) => staying.push((tag, other.id.clone(), index)),
                    _ => leaving.push(tag),
                }
            }
            let labels = self.labels_of_image(&id);
            let gone = {
                let state = self.state();
                state.atomically(Durability::Power, || -> Result<_> {
                    for (reference, image, index) in &staying {
                        let digest = state.digest_of_name(reference)?;
                        let digest = digest.as_ref();
                        state.tag(&NewName { reference, image, through: Some(index), digest })?;
                    }
                    Ok(state.forget_images(&leaving, &[(id.clone(), used)])?)
                })?
            };
            removed.extend(self.told(&leaving, &id, &labels, !gone.is_empty()));
        }
        self.and_collect(removed)
    }

    /// Collects garbage after images are gone.
    fn and_collect(&self, mut removed: Vec<ImageRemoval>) -> Result<Vec<ImageRemoval>> {
        if removed.iter().any(|removal| matches!(removal, ImageRemoval::Deleted(_))) {
            removed.extend(self.collect(false)?.removed);
        }
        Ok(removed)
    }

    /// The images that these names lead to, by an index, and no other; or that have been found together by a digest.
    fn only_led_to_by(&self, names: &[Reference], found_together: &[Digest]) -> Result<Vec<Digest>> {
        let indexed = self.indexed()?;
        let led_to = names.iter().flat_map(|name| indexed.group(name)).map(|image| image.id.clone());
        let mut only = Vec::new();
        for id in led_to.chain(found_together.iter().cloned()) {
            let tags = self.state().tags_of(&id)?;
            let is_led_to = tags.iter().chain(indexed.leading_to(&id)).any(|name| !names.contains(name));
            if !is_led_to && !only.contains(&id) {
                only.push(id);
            }
        }
        Ok(only)
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

    /// Removes names of an image, and images, unless containers need them.
    fn forget_unused(
        &self,
        names: &[Reference],
        images: &[Digest],
        reference: Option<&Reference>,
        force: bool,
    ) -> Result<Vec<ImageRemoval>> {
        let mut leaving = Vec::with_capacity(images.len());
        for id in images {
            leaving.push((id.clone(), self.check_unused(id, reference, force)?));
        }
        self.forget(names, &leaving)
    }

    /// Removes names and images, but for the records of those that are to be kept, as is said beside them.
    fn forget(&self, names: &[Reference], images: &[(Digest, bool)]) -> Result<Vec<ImageRemoval>> {
        // The configuration of an image goes with it, the image of a name with the name.
        let labels: Vec<_> = images.iter().map(|(id, _)| self.labels_of_image(id)).collect();
        let mut named = Vec::new();
        for name in names {
            named.extend(self.state().tagged(name)?.map(|id| (name, self.labels_of_image(&id), id)));
        }
        let gone = self.state().forget_images(names, images)?;
        let mut removed = Vec::new();
        for (name, labels, id) in named {
            removed.extend(self.told(std::slice::from_ref(name), &id, &labels, false));
        }
        for ((id, _), labels) in images.iter().zip(labels) {
            removed.extend(self.told(&[], id, &labels, gone.contains(id)));
        }
        Ok(removed)
    }

    /// Tells watchers of names and of an image that are gone, and the caller.
    fn told(
        &self,
        names: &[Reference],
        id: &Digest,
        labels: &BTreeMap<String, String>,
        is_gone: bool,
    ) -> Vec<ImageRemoval> {
        let mut removed = Vec::new();
        for name in names {
            self.labelled_image_event("untag", id, &name.familiar(), labels);
            removed.push(ImageRemoval::Untagged(name.familiar()));
        }
        if is_gone {
            self.labelled_image_event("delete", id, id.as_str(), labels);
            removed.push(ImageRemoval::Deleted(id.to_string()));
        }
        removed
    }

    /// Removes images with all their names, and those for other platforms that only these names lead to. No container uses
    /// any of them.
    pub(super) fn forget_with_platforms(&self, images: &[Digest]) -> Result<Vec<ImageRemoval>> {
        let mut removed = Vec::new();
        for id in images {
            let names = self.state().tags_of(id)?;
            let mut leaving = self.only_led_to_by(&names, &[])?;
            leaving.retain(|image| image != id);
            leaving.insert(0, id.clone());
            let leaving: Vec<_> = leaving.into_iter().map(|id| (id, false)).collect();
            removed.extend(self.forget(&names, &leaving)?);
        }
        Ok(removed)
    }

    /// Removes images without a name (all unused ones with `all`) that `keep` does not keep. What is there for another
    /// platform goes, and stays, with the names that lead to it.
    pub fn prune_images(&self, all: bool, keep: &dyn Fn(&ImageSummary) -> bool) -> Result<Pruned> {
        let mut leaving = Vec::new();
        for image in self.images()? {
            if image.in_use || image.is_platform() || !(all || image.is_dangling()) || keep(&image) {
                continue;
            }
            leaving.push(self.resolve_image(&image.id)?);
        }
        let mut removed = self.forget_with_platforms(&leaving)?;
        let collected = self.collect(true)?;
        removed.extend(collected.removed);
        self.event("image", "prune", "", &[("reclaimed", &collected.reclaimed.to_string())]);
        Ok(Pruned { removed, reclaimed: collected.reclaimed })
    }

    /// Removes content that nothing leads to; `begun`: also what a pull that goes on later would need. While somebody publishes
    /// content this is left to a later one.
    pub(super) fn collect(&self, begun: bool) -> Result<Pruned> {
        let Some(collector) = self.store.try_collector().map_err(failed("lock the store"))? else {
            return Ok(Pruned::default());
        };
        self.collect_by(if begun { collector.with_begun() } else { collector })
    }

    /// The same for who keeps others out already.
    pub(crate) fn collect_by(&self, collector: Collector<'_>) -> Result<Pruned> {
        let mut live = Live::default();
        let mut indexes: BTreeSet<Digest> = BTreeSet::new();
        for NamedImage { image, .. } in self.state().images()? {
            let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
            live.image(&image.id, &layers);
            if let Some(manifest) = &image.manifest {
                live.document(&manifest.digest);
            }
            image.attached.iter().for_each(|document| live.document(&document.digest));
            indexes.extend(image.digests.iter().filter_map(Reference::digest).cloned());
        }
        self.state().build_layers()?.iter().for_each(|layer| live.layer(layer));
        indexes.extend(self.state().indexed_names()?.into_iter().map(|name| name.index));
        for index in &indexes {
            // Itself in any case: where it is damaged, what it leads to is not known.
            live.document(index);
            self.listing(index)?.documents.iter().for_each(|document| live.document(document));
        }
        // Seldom is there one; only then is it worth asking who runs.
        if !self.store.replaced_trees().is_empty() {
            let heads = self.state().containers()?;
            for head in heads {
                let image = self.image_record(&head.image)?;
                if self.observe(head)?.1.status.is_running() {
                    let layers: Vec<_> = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
                    live.mounted(&layers);
                }
            }
        }
        let collected = collector.collect(&live).map_err(failed("collect what nothing leads to"))?;
        self.state().keep_reserve();
        let layers = collected.layers.iter().map(|layer| ImageRemoval::Deleted(format!("sha256:{layer}")));
        Ok(Pruned { removed: layers.collect(), reclaimed: collected.bytes })
    }
}
