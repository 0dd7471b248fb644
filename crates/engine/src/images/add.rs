//! `load`, `import` and `tag`: content is stored first, names are written last.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use image::{ImportOptions, LoadOptions, Source};
use oci::{Digest, Platform, Reference};
use state::{Durability, ImageRecord, LayerRecord, MovedTag, NewName};

use super::failed;
use super::platforms::Listing;
use crate::info::LoadedImage;
use crate::request::{Import, LoadImages};
use crate::{Engine, Error, Result};

/// Where an archive comes from.
pub enum Archive<'a> {
    /// A tar, compressed or not.
    Stream(&'a mut (dyn Read + Send)),
    /// A file (tar), or a directory (OCI layout).
    Path(&'a Path),
}

impl Engine {
    /// Loads every image of an archive that `docker save` or an OCI tool wrote. Of one for several platforms those that
    /// are asked for are loaded, by default the host's.
    pub fn load(&self, archive: Archive<'_>, request: &LoadImages) -> Result<Vec<LoadedImage>> {
        let platforms = request.platforms.iter().map(|text| parse_platform(text)).collect::<Result<_>>()?;
        let options = LoadOptions { platforms, all_platforms: request.all_platforms };
        let source = match archive {
            Archive::Stream(stream) => Source::Stream(stream),
            Archive::Path(path) => Source::Path(path),
        };
        let loaded = image::load(&self.store, source, &options).map_err(failed("load the archive"))?;
        let images = self.name_all(&loaded.images, "load");
        drop(loaded.hold);
        images
    }

    /// Writes the names of all images of an archive, in one transaction. An image for another platform than its name stands
    /// for is not told of.
    pub(crate) fn name_all(&self, images: &[image::LoadedImage], action: &str) -> Result<Vec<LoadedImage>> {
        let mut names: BTreeMap<Reference, Vec<&image::LoadedImage>> = BTreeMap::new();
        for image in images {
            for name in &image.references {
                names.entry(name.clone().or_latest()).or_default().push(image);
            }
        }
        let state = self.state();
        let mut told: Vec<(Digest, LoadedImage)> = Vec::new();
        state.atomically(Durability::Power, || -> Result<()> {
            for image in images {
                state.put_image(&record(image), &[])?;
                let is_told = told.iter().any(|(id, _)| *id == image.id);
                if image.references.is_empty() && !is_told {
                    let id = image.id.to_string();
                    told.push((image.id.clone(), LoadedImage { id, tags: Vec::new(), moved: Vec::new() }));
                }
            }
            for (reference, images) in &names {
                // The last one has the name, as if they had come one after another.
                let Some(last) = images.last() else { continue };
                let listing = last.through.as_ref().map(|index| Listing::read(&self.store, &state, index));
                let listing = listing.transpose()?;
                let chosen = listing.as_ref().and_then(|listing| listing.default_image(None));
                let image = chosen.map_or(&last.id, |image| &image.id);
                let through = last.through.as_ref();
                let moved = state.tag(&NewName { reference, image, through, digest: None })?;
                let moved = moved.map(|moved| (moved.reference.familiar(), moved.from.to_string()));
                let place = told.iter().position(|(id, _)| id == image).unwrap_or(told.len());
                if place == told.len() {
                    let id = image.to_string();
                    told.push((image.clone(), LoadedImage { id, tags: Vec::new(), moved: Vec::new() }));
                }
                told[place].1.tags.push(reference.familiar());
                told[place].1.moved.extend(moved);
            }
            Ok(())
        })?;
        drop(state);
        for (id, image) in &told {
            self.image_event(action, id, image.tags.first().unwrap_or(&image.id));
        }
        Ok(told.into_iter().map(|(_, image)| image).collect())
    }

    /// The same for images that may be here already, as a whole and under these names: then nothing has to be stored. Tells whether
    /// they are.
    pub(crate) fn name_again(&self, images: &[image::LoadedImage], action: &str) -> Result<bool> {
        for image in images {
            let is_stored = || image::is_stored(&self.store, image).map_err(failed("look for an image"));
            if image.through.is_some() || !is_stored()? {
                return Ok(false);
            }
        }
        let names = |image: &image::LoadedImage| -> Vec<Reference> {
            image.references.iter().map(|name| name.clone().or_latest()).collect()
        };
        let names: Vec<Vec<Reference>> = images.iter().map(names).collect();
        let records = images.iter().zip(&names).map(|(image, names)| (record(image), names.as_slice()));
        if !self.state().renew_images(&records.collect::<Vec<_>>())? {
            return Ok(false);
        }
        for (image, names) in images.iter().zip(&names) {
            let name = names.first().map_or_else(|| image.id.to_string(), Reference::familiar);
            self.image_event(action, &image.id, &name);
        }
        Ok(true)
    }

    /// Makes an image of one layer from the tar of a root file system.
    pub fn import(&self, layer: &mut (dyn Read + Send), request: &Import) -> Result<LoadedImage> {
        let reference = request.reference.as_deref().map(parse_tag).transpose()?;
        let platform = request.platform.as_deref().map(parse_platform).transpose()?;
        let options = ImportOptions {
            changes: request.changes.clone(),
            message: request.message.clone().unwrap_or_else(|| format!("Imported from {}", request.source)),
            platform,
            created: state::now(),
            name: request.source.clone(),
            attached: Vec::new(),
        };
        let mut loaded =
            image::import(&self.store, layer, &options).map_err(failed("import the root file system"))?;
        for image in &mut loaded.images {
            image.references.extend(reference.clone());
        }
        let named = loaded.images.first().map(|image| self.name(image, "import"));
        drop(loaded.hold);
        named.unwrap_or_else(|| Err(Error::NoSuchImage { name: request.source.clone() }))
    }

    /// Writes the names of stored content, in one transaction.
    pub(crate) fn name(&self, image: &image::LoadedImage, action: &str) -> Result<LoadedImage> {
        let tags: Vec<Reference> = image.references.iter().map(|tag| tag.clone().or_latest()).collect();
        let moved = self.state().put_image(&record(image), &tags)?;
        let names: Vec<String> = tags.iter().map(Reference::familiar).collect();
        let id = image.id.to_string();
        self.image_event(action, &image.id, names.first().unwrap_or(&id));
        Ok(LoadedImage {
            id,
            tags: names,
            moved: moved
                .into_iter()
                .map(|MovedTag { reference, from }| (reference.familiar(), from.to_string()))
                .collect(),
        })
    }

    /// Gives an image a further name, which another image may have had.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let tag = parse_tag(target)?;
        let (id, reference) = self.resolve_reference(source)?;
        // What else the name leads to, the new one leads to as well.
        let index = reference.as_ref().map(|reference| self.index_of(reference)).transpose()?.flatten();
        let index = index.filter(|index| self.is_index(index));
        // In its own repository it is called the same.
        let digest = match reference.filter(|reference| reference.name() == tag.name()) {
            Some(reference) => match reference.digest() {
                Some(digest) => Some(digest.clone()),
                None => self.state().digest_of_name(&reference)?,
            },
            None => None,
        };
        let (through, digest) = (index.as_ref(), digest.as_ref());
        self.state().tag(&NewName { reference: &tag, image: &id, through, digest })?;
        self.image_event("tag", &id, &tag.familiar());
        Ok(())
    }
}

/// What is known of an image that has just been stored.
pub(super) fn record(image: &image::LoadedImage) -> ImageRecord {
    ImageRecord {
        id: image.id.clone(),
        manifest: image.manifest.clone(),
        repositories: Vec::new(),
        digests: Vec::new(),
        platform: image.platform(),
        created: image.config.created,
        stored: state::now(),
        size: image.size(),
        layers: image
            .layers
            .iter()
            .map(|layer| LayerRecord {
                diff_id: layer.diff_id.clone(),
                size: layer.size,
                blob: layer.blob.clone(),
            })
            .collect(),
        attached: image.attached.clone(),
    }
}

pub(crate) fn parse_platform(text: &str) -> Result<Platform> {
    text.parse().map_err(|source| Error::InvalidPlatform { text: text.chars().take(80).collect(), source })
}

/// A reference that may name an image: with a tag, without a digest.
pub(crate) fn parse_tag(text: &str) -> Result<Reference> {
    let invalid = |source| Error::InvalidReference { text: text.chars().take(80).collect(), source };
    let reference: Reference = text.parse().map_err(invalid)?;
    if reference.digest().is_some() {
        return Err(Error::TagWithDigest { text: text.to_owned() });
    }
    Ok(reference.or_latest())
}
