//! Images into the store, under their names, and from there to registries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Content, LoadedImage, Parts};
use oci::{Digest, Reference};

use super::describe::{Described, Way};
use super::options::ImageOptions;
use super::{Export, Product};
use crate::Result;
use crate::build::progress::Part;
use crate::images::{PushBuilt, PushEvent, PushStep, failed};
use crate::info::Built;

impl Export<'_> {
    /// Stores the images of all platforms, names them, and pushes them where that was asked for.
    pub(super) fn image(&self, options: &ImageOptions, built: &mut Built) -> Result<()> {
        self.progress.internal("exporting to image", |part| {
            let way = if options.push { Way::Registry } else { Way::Store };
            let described = self.describe(options, way, part)?;
            let known = self.known(&described)?;
            if !self.is_stored(options, &described)? {
                self.store(options, &described)?;
            }
            self.name_by_digest(options, &described)?;
            if options.store {
                for name in &options.names {
                    part.progress(&format!("naming to {name}"), 0, None, true);
                }
            }
            let pushed = if options.push { self.push(options, &described, part) } else { Ok(()) };
            // Whatever came of it.
            let forgotten = if options.store { Ok(()) } else { self.forget(&described, &known) };
            pushed.and(forgotten)?;
            self.note(&described, &options.names, built);
            Ok(())
        })
    }

    /// Whether all of it is here under its names already, as after a build that did nothing anew: such a one need not wait for the disk.
    fn is_stored(&self, options: &ImageOptions, described: &Described) -> Result<bool> {
        if described.index.is_some() {
            return Ok(false);
        }
        let mut images = Vec::with_capacity(described.images.len());
        for image in &described.images {
            let Some(Product { config, .. }) = self.products.get(image.product) else { return Ok(false) };
            images.push(LoadedImage {
                id: image.id.clone(),
                config: config.clone(),
                manifest: Some(image.manifest.clone()),
                layers: image.layers.clone(),
                references: options.stored_names().to_vec(),
                through: None,
                attached: Vec::new(),
            });
        }
        self.session.engine.name_again(&images, "create")
    }

    fn store(&self, options: &ImageOptions, described: &Described) -> Result<()> {
        let loaded = self.assemble(described)?;
        let mut images = loaded.images;
        let names = options.stored_names();
        let through = described.index.as_ref().map(|(descriptor, _)| descriptor.digest.clone());
        for image in &mut images {
            image.references = names.to_vec();
            image.through = through.clone().filter(|_| !names.is_empty());
        }
        self.session.engine.name_all(&images, "create")?;
        drop(loaded.hold);
        Ok(())
    }

    /// Those of the images that are known already.
    fn known(&self, described: &Described) -> Result<Vec<Digest>> {
        let mut known = Vec::new();
        for image in &described.images {
            if self.session.engine.state().image(&image.id)?.is_some() {
                known.push(image.id.clone());
            }
        }
        Ok(known)
    }

    /// Has images that were for a registry alone leave the store again: those that were not known before, and that nobody has
    /// named meanwhile, be it by an index.
    fn forget(&self, described: &Described, known: &[Digest]) -> Result<()> {
        let engine = self.session.engine;
        let indexed = engine.indexed()?;
        let is_ours = |id: &&Digest| !known.contains(id) && indexed.leading_to(id).next().is_none();
        let ours = described.images.iter().map(|image| &image.id).filter(is_ours).cloned();
        engine.state().forget_unnamed_images(&ours.collect::<Vec<_>>())?;
        Ok(())
    }

    fn assemble(&self, described: &Described) -> Result<image::Loaded> {
        let mut parts: Vec<Parts> = Vec::with_capacity(described.images.len());
        for image in &described.images {
            let Some(Product { config, .. }) = self.products.get(image.product) else { continue };
            let manifest = Some((image.manifest.clone(), image.bytes.clone()));
            let (config, layers) = (config.clone(), image.layers.clone());
            let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
            let merged = self.session.draft.view_for(&image.id, &diff_ids);
            let merged = merged.map_err(failed("merge the image's layers"))?;
            parts.push(Parts { config, layers, manifest, merged, documents: Vec::new() });
        }
        if let (Some((_, index)), Some(first)) = (&described.index, parts.first_mut()) {
            first.documents.push(index.clone());
            let attested = described.attested.iter().flat_map(|one| one.documents.values());
            first.documents.extend(attested.cloned());
        }
        image::assemble(&self.session.engine.store, parts).map_err(failed("store the image"))
    }

    /// Remembers the digest by which images are known in repositories, where that was asked for.
    fn name_by_digest(&self, options: &ImageOptions, described: &Described) -> Result<()> {
        let Some(top) = described.top() else { return Ok(()) };
        let canonical = options.names.iter().filter(|_| options.canonical);
        let dangling = options.dangling.iter().filter(|_| options.names.is_empty());
        for name in canonical.chain(dangling) {
            for image in &described.images {
                self.session.engine.state().put_pushed(&image.id, (name, &top.digest), &[])?;
            }
        }
        Ok(())
    }

    fn push(&self, options: &ImageOptions, described: &Described, part: &Part<'_>) -> Result<()> {
        let ready: BTreeMap<Digest, PathBuf> = described
            .images
            .iter()
            .flat_map(|image| image.layers.iter().zip(&image.contents))
            .filter_map(|(layer, content)| match (layer.blob.as_ref(), content) {
                (Some(blob), Some(Content::File(path))) => Some((blob.digest.clone(), path.clone())),
                _ => None,
            })
            .collect();
        let Some(first) = described.images.first() else { return Ok(()) };
        let index = described.index.as_ref().map(|(descriptor, _)| &descriptor.digest);
        let watch = |event: PushEvent<'_>| match event {
            PushEvent::Layer { layer, step } => {
                let name = format!("pushing layer sha256:{layer}");
                match step {
                    PushStep::Planned => {}
                    PushStep::Sent { bytes, size } => part.progress(&name, bytes, size, false),
                    PushStep::Exists | PushStep::Mounted(_) | PushStep::Complete => {
                        part.progress(&name, 0, None, true);
                    }
                }
            }
            PushEvent::Changed { name, digest, .. } => {
                part.progress(
                    &format!("{name} has become {digest}: a layer was to be had in another form alone"),
                    0,
                    None,
                    true,
                );
            }
            PushEvent::Begins { .. } | PushEvent::InsteadOfIndex { .. } | PushEvent::Done { .. } => {}
        };
        for name in &options.names {
            let what =
                PushBuilt { name, by_digest: options.by_digest, image: &first.id, index, ready: &ready };
            let pushed = self.session.engine.push_built(self.session.client, &what, &watch)?;
            part.progress(&format!("pushing manifest for {name}@{}", pushed.digest), 0, None, true);
        }
        Ok(())
    }

    /// What is told of images.
    pub(super) fn note(&self, described: &Described, names: &[Reference], built: &mut Built) {
        built.images.clear();
        for image in &described.images {
            let Some(product) = self.products.get(image.product) else { continue };
            built.images.push(crate::info::BuiltImage {
                platform: product.platform.normalized(),
                id: image.id.clone(),
                manifest: image.manifest.clone(),
            });
        }
        built.descriptor = described.top().cloned();
        for name in names {
            if !built.names.contains(name) {
                built.names.push(name.clone());
            }
        }
    }
}
