//! Manifests of images, and the index of several.

use image::{Codec, Content, LoadedLayer};
use oci::{Descriptor, Digest, Index, Manifest, MediaType};

use super::annotations::Place;
use super::attest::Attested;
use super::options::ImageOptions;
use super::{Export, Product};
use crate::build::BuildError;
use crate::build::progress::Part;
use crate::build::shared;
use crate::{Error, Result};

/// Where an image goes, which decides what its layers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the store alone.
    Store,
    /// To a registry, which may have layers of bases as they are.
    Registry,
    /// Into an archive, which has all bytes of it.
    Archive,
    /// Into one for `docker load`, which takes images alone.
    Docker,
}

/// One image.
pub(super) struct Image {
    pub(super) id: Digest,
    /// The config's bytes, of which the id is the digest.
    pub(super) config: Vec<u8>,
    /// What the index says of its manifest.
    pub(super) manifest: Descriptor,
    pub(super) bytes: Vec<u8>,
    /// The layers, each as the blob that the manifest names.
    pub(super) layers: Vec<LoadedLayer>,
    /// Where the bytes of these blobs are; not here, where a registry has them.
    pub(super) contents: Vec<Option<Content>>,
    /// The place of its product.
    pub(super) product: usize,
}

/// The images of all platforms.
pub(super) struct Described {
    pub(super) images: Vec<Image>,
    /// What leads to them, if that is not the one manifest.
    pub(super) index: Option<(Descriptor, Vec<u8>)>,
    /// What is attested of them.
    pub(super) attested: Vec<Attested>,
}

impl Described {
    /// What a name leads to.
    pub(super) fn top(&self) -> Option<&Descriptor> {
        let index = self.index.as_ref().map(|(descriptor, _)| descriptor);
        index.or_else(|| self.images.first().map(|image| &image.manifest))
    }
}

/// Media types of documents.
struct Types {
    is_docker: bool,
}

impl Types {
    fn manifest(&self) -> MediaType {
        if self.is_docker { MediaType::DOCKER_MANIFEST } else { MediaType::OCI_MANIFEST }
    }

    fn config(&self) -> MediaType {
        if self.is_docker { MediaType::DOCKER_CONFIG } else { MediaType::OCI_CONFIG }
    }

    fn index(&self) -> MediaType {
        if self.is_docker { MediaType::DOCKER_LIST } else { MediaType::OCI_INDEX }
    }

    /// A layer's by this family; of what the other does not know the type stays.
    fn layer(&self, kind: &MediaType) -> MediaType {
        let text = kind.as_str();
        match (self.is_docker, text.ends_with("gzip"), text.ends_with("zstd")) {
            (true, true, _) => MediaType::DOCKER_LAYER_GZIP,
            (false, true, _) => MediaType::OCI_LAYER_GZIP,
            (_, _, true) => MediaType::OCI_LAYER_ZSTD,
            (true, ..) => MediaType::DOCKER_LAYER,
            (false, ..) => MediaType::OCI_LAYER,
        }
    }
}

impl Export<'_> {
    /// Describes all images as they are wanted on that way.
    pub(super) fn describe(&self, options: &ImageOptions, way: Way, part: &Part<'_>) -> Result<Described> {
        // Docker's documents have no annotations.
        let is_docker = options.has_docker_types && options.annotations.is_empty();
        let types = Types { is_docker };
        part.progress("exporting layers", 0, None, false);
        let mut images = Vec::with_capacity(self.products.len());
        for (place, product) in self.products.iter().enumerate() {
            images.push(self.image_of(place, product, options, (way, &types))?);
        }
        part.progress("exporting layers", 0, None, true);
        for image in &images {
            part.progress(&format!("exporting manifest {}", image.manifest.digest), 0, None, true);
            part.progress(&format!("exporting config {}", image.id), 0, None, true);
        }
        let attested = self.attest(&images, options, way)?;
        for one in &attested {
            part.progress(&format!("exporting attestation manifest {}", one.manifest.digest), 0, None, true);
        }
        // Nor have they anything that could be attested.
        let types = if attested.is_empty() { types } else { Types { is_docker: false } };
        if !self.is_multi() && attested.is_empty() {
            if options.annotations.need_index() {
                let reason = "index annotations need an index, which one platform does not make";
                let text = "index".to_owned();
                return Err(BuildError::Annotation { text, reason: reason.to_owned() }.into());
            }
            return Ok(Described { images, index: None, attested });
        }
        let entries =
            images.iter().map(|image| &image.manifest).chain(attested.iter().map(|one| &one.manifest));
        let entries = entries.cloned().collect();
        let index = Index {
            schema_version: 2,
            media_type: Some(types.index()),
            artifact_type: None,
            manifests: entries,
            subject: None,
            annotations: options.annotations.of(Place::Index, None),
        };
        let bytes = serde_json::to_vec(&index).map_err(|source| Error::WriteList { source })?;
        let mut descriptor = Descriptor::of(types.index(), &bytes);
        descriptor.annotations = options.annotations.of(Place::IndexDescriptor, None);
        part.progress(&format!("exporting manifest list {}", descriptor.digest), 0, None, true);
        Ok(Described { images, index: Some((descriptor, bytes)), attested })
    }

    fn image_of(
        &self,
        place: usize,
        product: &Product,
        options: &ImageOptions,
        (way, types): (Way, &Types),
    ) -> Result<Image> {
        let (mut layers, mut contents, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for layer in product.tree.layers() {
            let (blob, content) = self.blob(layer, options, way)?;
            let entry = Descriptor::new(types.layer(&blob.media_type), blob.digest.clone(), blob.size);
            // What the store keeps as a tar is compressed by whoever sends it.
            let blob = if way == Way::Registry { Some(entry.clone()) } else { layer.blob.clone() };
            layers.push(LoadedLayer { blob, ..LoadedLayer::clone(layer) });
            contents.push(content);
            entries.push(entry);
        }
        let mut annotations = options.annotations.of(Place::Manifest, Some(&product.platform));
        let own: Vec<_> = layers
            .iter()
            .zip(&entries)
            .map(|(layer, entry)| (layer.diff_id.clone(), layer.size, entry.clone()))
            .collect();
        annotations.extend(shared::annotation(self.session.request, self.facts.cache, &own)?);
        let config = product.config.to_bytes();
        let id = Digest::of(&config);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(types.manifest()),
            artifact_type: None,
            config: Descriptor::new(types.config(), id.clone(), config.len() as u64),
            layers: entries,
            subject: None,
            annotations,
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::WriteList { source })?;
        let mut manifest = Descriptor::of(types.manifest(), &bytes);
        manifest.platform = Some(product.platform.normalized());
        manifest.annotations = options.annotations.of(Place::ManifestDescriptor, Some(&product.platform));
        Ok(Image { id, config, manifest, bytes, layers, contents, product: place })
    }

    /// What a layer is on its way, and where its bytes are.
    fn blob(
        &self,
        layer: &LoadedLayer,
        options: &ImageOptions,
        way: Way,
    ) -> Result<(Descriptor, Option<Content>)> {
        let tar = || {
            let descriptor =
                Descriptor::new(MediaType::OCI_LAYER, layer.diff_id.digest().clone(), layer.size);
            (descriptor, Some(Content::Layer(layer.diff_id.clone())))
        };
        // A layer of a base that came compressed: a registry has it, or can have it, as it came.
        let came = layer.blob.as_ref().filter(|blob| blob.digest != *layer.diff_id.digest());
        if let (Way::Registry, Some(blob), false) = (way, came, options.forces_codec) {
            return Ok((blob.clone(), None));
        }
        match (options.codec, way) {
            (None, Way::Store) | (Some(Codec::Tar), _) => Ok(tar()),
            (codec, _) => {
                let made = self.compressor.compressed(&layer.diff_id, codec.unwrap_or_default())?;
                Ok((made.descriptor, Some(Content::File(made.path))))
            }
        }
    }
}
