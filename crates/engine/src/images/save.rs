//! `save` and `image verify`.

use std::collections::BTreeSet;
use std::io::Write;

use image::{Finding, SavedImage};
use oci::{Digest, Platform, Reference};
use state::NamedImage;

use super::add::parse_platform;
use super::failed;
use crate::info::Verified;
use crate::{Engine, Error, Result};

impl Engine {
    /// Writes images into one archive. One that is asked for by its id has no name in there; a repository without a tag
    /// stands for all of its tags, as in Docker. A name takes along what it leads to for other platforms, or, where
    /// `platforms` are told (`os[/architecture[/variant]]`), only those.
    pub fn save(&self, names: &[String], platforms: &[String], out: &mut dyn Write) -> Result<()> {
        let platforms: Vec<Platform> =
            platforms.iter().map(|text| parse_platform(text)).collect::<Result<_>>()?;
        let mut images: Vec<SavedImage> = Vec::new();
        let mut wanted = Vec::new();
        for name in names {
            let all = self.tags_of_repository(name)?;
            if all.is_empty() {
                wanted.push(self.resolve_reference(name)?);
            }
            wanted.extend(all.into_iter().map(|(id, tag)| (id, Some(tag))));
        }
        for (id, reference) in wanted {
            let (id, group, through) = self.to_save(id, reference.as_ref(), &platforms)?;
            let reference = reference.filter(|reference| reference.digest().is_none());
            let is_it =
                |image: &SavedImage| image.id == id && image.platforms == group && image.through == through;
            match images.iter_mut().find(|image| is_it(image)) {
                Some(image) => {
                    let new = reference.filter(|reference| !image.references.contains(reference));
                    image.references.extend(new);
                }
                None => {
                    let references = reference.into_iter().collect();
                    images.push(SavedImage { id, references, platforms: group, through });
                }
            }
        }
        // What is being written must not be collected meanwhile.
        let hold = self.store.hold().map_err(failed("keep the images"))?;
        image::save(&self.store, &images, out).map_err(failed("write the archive"))?;
        drop(hold);
        for image in &images {
            self.image_event("save", &image.id, image.id.as_str());
        }
        Ok(())
    }

    /// What is written for a name: the image that it stands for then, all that go with it, if those are several, and the index that
    /// leads to them, if it has anything to say of them that is here.
    fn to_save(
        &self,
        id: Digest,
        reference: Option<&Reference>,
        platforms: &[Platform],
    ) -> Result<(Digest, Vec<Digest>, Option<Digest>)> {
        let index = reference.map(|reference| self.index_of(reference)).transpose()?.flatten();
        let index = index.filter(|index| self.is_index(index));
        let listing = index.as_ref().map(|index| self.listing(index)).transpose()?.unwrap_or_default();
        let mut group: Vec<Digest> = listing.images().map(|image| image.id.clone()).collect();
        if !platforms.is_empty() {
            let own = self.image_record(&id)?.platform.normalized();
            let mut chosen = Vec::new();
            for wanted in platforms {
                let found = listing.best(wanted).map(|image| image.id.clone());
                chosen.push(found.or_else(|| wanted.runs(&own).then(|| id.clone())).ok_or_else(|| {
                    Error::WrongPlatform {
                        image: reference.map_or_else(|| id.to_string(), Reference::familiar),
                        wanted: wanted.to_string(),
                        found: own.to_string(),
                    }
                })?);
            }
            group.retain(|image| chosen.contains(image));
            if group.is_empty() {
                group = chosen;
            }
        }
        group.dedup();
        let id = match group.first() {
            Some(first) if !group.contains(&id) => first.clone(),
            _ => id,
        };
        let is_several = group.len() > 1;
        let through = index.filter(|_| is_several || !listing.attested.is_empty());
        Ok((id, if is_several { group } else { Vec::new() }, through))
    }

    /// All tags of a repository and their images; none where `name` has a tag, or stands for something else.
    fn tags_of_repository(&self, name: &str) -> Result<Vec<(Digest, Reference)>> {
        let repository = match name.parse::<Reference>() {
            Ok(reference) if reference.tag().is_none() && reference.digest().is_none() => reference.name(),
            Ok(_) | Err(_) => return Ok(Vec::new()),
        };
        let mut found = Vec::new();
        for named in self.state().images()? {
            let tags = named.tags.into_iter().filter(|tag| tag.name() == repository);
            found.extend(tags.map(|tag| (named.image.id.clone(), tag)));
        }
        found.sort_by_key(|(_, tag)| tag.familiar());
        Ok(found)
    }

    /// Hashes everything of images again; of all of them when `names` is empty.
    pub fn verify_images(&self, names: &[String]) -> Result<Vec<Verified>> {
        let images = self.images_to_verify(names)?;
        images.into_iter().map(|(name, named)| self.verify(name, &named)).collect()
    }

    /// The images of these names, with these names; all when there are none, each with its first, or its id.
    pub(super) fn images_to_verify(&self, names: &[String]) -> Result<Vec<(String, NamedImage)>> {
        let all = self.state().images()?;
        if names.is_empty() {
            let name = |named: &NamedImage| {
                named.tags.first().map_or_else(|| named.image.id.to_string(), Reference::familiar)
            };
            return Ok(all.into_iter().map(|named| (name(&named), named)).collect());
        }
        let mut wanted: Vec<(String, NamedImage)> = Vec::new();
        for name in names {
            let (id, reference) = self.resolve_reference(name)?;
            let shown = reference.map_or_else(|| name.clone(), |reference| reference.familiar());
            wanted.extend(all.iter().find(|named| named.image.id == id).cloned().map(|named| (shown, named)));
        }
        Ok(wanted)
    }

    fn verify(&self, name: String, named: &NamedImage) -> Result<Verified> {
        Ok(Verified { name, faults: self.findings(named)?.iter().map(ToString::to_string).collect() })
    }

    /// What is wrong with an image, and with the indexes by which its names lead to it.
    pub(super) fn findings(&self, named: &NamedImage) -> Result<Vec<Finding>> {
        let manifest = named.image.manifest.as_ref().map(|manifest| &manifest.digest);
        let mut findings =
            image::verify(&self.store, &named.image.id, manifest).map_err(failed("verify the image"))?;
        let mut indexes = BTreeSet::new();
        for tag in &named.tags {
            indexes.extend(self.state().index_of(tag)?);
        }
        let attached = named.image.attached.iter().map(|document| document.digest.clone());
        for index in indexes.into_iter().chain(attached) {
            match self.store.blob(&index) {
                Ok(_) => {}
                Err(image::Error::NotStored { .. }) => findings.push(Finding::DocumentMissing(index)),
                Err(_) => findings.push(Finding::DocumentDamaged(index)),
            }
        }
        Ok(findings)
    }
}
