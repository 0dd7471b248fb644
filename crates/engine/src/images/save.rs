//! `save` and `image verify`.

use std::io::Write;

use image::SavedImage;
use state::NamedImage;

use super::failed;
use crate::info::Verified;
use crate::{Engine, Result};

impl Engine {
    /// Writes images into one archive. One that is asked for by its id has no name in there.
    pub fn save(&self, names: &[String], out: &mut dyn Write) -> Result<()> {
        let mut images: Vec<SavedImage> = Vec::new();
        for name in names {
            let (id, reference) = self.resolve_reference(name)?;
            let reference = reference.filter(|reference| reference.digest().is_none());
            match images.iter_mut().find(|image| image.id == id) {
                Some(image) => {
                    let new = reference.filter(|reference| !image.references.contains(reference));
                    image.references.extend(new);
                }
                None => images.push(SavedImage { id, references: reference.into_iter().collect() }),
            }
        }
        // What is being written must not be collected meanwhile.
        let hold = self.store.hold().map_err(failed("keep the images"))?;
        image::save(&self.store, &images, out).map_err(failed("write the archive"))?;
        drop(hold);
        for image in &images {
            self.event("image", "save", image.id.as_str(), &[("name", image.id.as_str())]);
        }
        Ok(())
    }

    /// Hashes everything of images again; of all of them when `names` is empty.
    pub fn verify_images(&self, names: &[String]) -> Result<Vec<Verified>> {
        let all = self.state().images()?;
        let mut wanted: Vec<&NamedImage> = Vec::new();
        for name in names {
            let id = self.resolve_image(name)?;
            wanted.extend(all.iter().find(|named| named.image.id == id));
        }
        if names.is_empty() {
            wanted = all.iter().collect();
        }
        wanted.into_iter().map(|named| self.verify(named)).collect()
    }

    fn verify(&self, named: &NamedImage) -> Result<Verified> {
        let manifest = named.image.manifest.as_ref().map(|manifest| &manifest.digest);
        let findings =
            image::verify(&self.store, &named.image.id, manifest).map_err(failed("verify the image"))?;
        Ok(Verified {
            id: named.image.id.to_string(),
            tags: named.tags.iter().map(oci::Reference::familiar).collect(),
            faults: findings.iter().map(ToString::to_string).collect(),
        })
    }
}
