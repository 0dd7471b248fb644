//! `load`, `import` and `tag`: content is stored first, names are written last.

use std::io::Read;
use std::path::Path;

use image::{ImportOptions, LoadOptions, Source};
use oci::{Platform, Reference};
use state::{ImageRecord, LayerRecord, MovedTag, NewName};

use super::failed;
use crate::info::LoadedImage;
use crate::request::Import;
use crate::{Engine, Error, Result};

/// Where an archive comes from.
pub enum Archive<'a> {
    /// A tar, compressed or not.
    Stream(&'a mut (dyn Read + Send)),
    /// A file (tar), or a directory (OCI layout).
    Path(&'a Path),
}

impl Engine {
    /// Loads every image of an archive that `docker save` or an OCI tool wrote. Of one for several platforms that for
    /// `platform` (`os[/architecture[/variant]]`), by default the host's, is loaded.
    pub fn load(&self, archive: Archive<'_>, platform: Option<&str>) -> Result<Vec<LoadedImage>> {
        let options = LoadOptions { platform: platform.map(parse_platform).transpose()? };
        let source = match archive {
            Archive::Stream(stream) => Source::Stream(stream),
            Archive::Path(path) => Source::Path(path),
        };
        let loaded = image::load(&self.store, source, &options).map_err(failed("load the archive"))?;
        let images = loaded.images.iter().map(|image| self.name(image, "load")).collect();
        drop(loaded.hold);
        images
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
        let index = reference.map(|reference| self.index_of(&reference)).transpose()?.flatten();
        let index = index.filter(|index| self.is_index(index));
        self.state().tag(&NewName { reference: &tag, image: &id, through: index.as_ref() })?;
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
    }
}

pub(super) fn parse_platform(text: &str) -> Result<Platform> {
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
