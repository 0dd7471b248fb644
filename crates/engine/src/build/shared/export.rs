//! Writes caches.

use std::collections::{BTreeMap, BTreeSet};

use build::Record as Known;
use image::{Content, Outgoing};
use oci::{Descriptor, DiffId, Index, Manifest, MediaType, Reference};

use super::document::{ANNOTATION, ARTIFACT, CONFIG, Document, INLINE, LAYERS};
use super::options::{Place, Target, exports};
use super::{SharedCache, Used};
use crate::build::blobs::refused;
use crate::build::export::{Compressor, at_output, output_directory, write_layout};
use crate::build::progress::{Part, Progress};
use crate::build::session::Session;
use crate::images::failed;
use crate::request::Build;
use crate::{Error, Result};

/// What a manifest of an image says of its own layers, if it is to be its own cache: each layer with the blob that it is.
pub(in crate::build) fn annotation(
    request: &Build,
    cache: Option<&SharedCache<'_>>,
    layers: &[(DiffId, u64, Descriptor)],
) -> Result<Option<(String, String)>> {
    let is_inline = exports(request)?.iter().any(|target| target.place == Place::Inline);
    let Some(cache) = cache.filter(|_| is_inline) else { return Ok(None) };
    let (used, claims) = (cache.used().clone(), cache.claims());
    let mut document = Document::default();
    for (diff_id, size, blob) in layers {
        if let Some(known) = used.get(diff_id) {
            let keys = cache.keys_of(known, &claims, diff_id)?;
            document.add((diff_id, *size, cache.made(diff_id)), blob, keys);
        }
    }
    document.fit(INLINE);
    let text = serde_json::to_string(&document).map_err(|source| Error::WriteList { source })?;
    Ok(Some((ANNOTATION.to_owned(), text)))
}

impl SharedCache<'_> {
    /// The size of a layer, which is here from now on; none if it is nowhere. A build hears of layers that it has no need of.
    fn present(&self, layer: &DiffId, used: &Used) -> Result<Option<u64>> {
        const ACTION: &str = "export the cache";
        let draft = &self.session.draft;
        draft.keep_layers([layer]).map_err(failed(ACTION))?;
        let size = draft.layer_size(layer).map_err(failed(ACTION))?;
        let brought = || self.bring(&Known { layer: layer.clone(), size: used.size });
        Ok(size.or_else(|| brought().map(|layer| layer.size)))
    }

    /// Writes all caches that were asked for. `results` are the layers of what was built.
    pub(in crate::build) fn export(
        &self,
        results: &BTreeSet<DiffId>,
        compressor: &Compressor<'_>,
        progress: &Progress<'_>,
    ) -> Result<()> {
        for target in exports(self.session.request)? {
            let name = match &target.place {
                Place::Registry(_) => "exporting cache to registry",
                Place::Local { .. } => "exporting cache to client directory",
                Place::Tar(_) => "exporting cache to an archive",
                Place::Inline => continue,
            };
            let done = progress.internal(name, |part| self.write(&target, results, compressor, part));
            if !target.ignores_errors {
                done?;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        target: &Target,
        results: &BTreeSet<DiffId>,
        compressor: &Compressor<'_>,
        part: &Part<'_>,
    ) -> Result<()> {
        let mut layout = Outgoing::default();
        let mut document = Document::default();
        let (used, claims): (BTreeMap<DiffId, Used>, _) = (self.used().clone(), self.claims());
        let wanted = used.iter().filter(|(layer, _)| target.is_max || results.contains(*layer));
        for (diff_id, used) in wanted.take(LAYERS) {
            let Some(size) = self.present(diff_id, used)? else { continue };
            let made = compressor.compressed(diff_id, target.codec)?;
            part.progress(&format!("writing layer {}", made.descriptor.digest), size, Some(size), true);
            let keys = self.keys_of(used, &claims, diff_id)?;
            document.add((diff_id, size, self.made(diff_id)), &made.descriptor, keys);
            let content = (made.descriptor.size, Content::File(made.path));
            layout.blobs.insert(made.descriptor.digest, content);
        }
        document.fit(oci::CONFIG_LIMIT);
        let json = |source| Error::WriteList { source };
        let config = serde_json::to_vec(&document).map_err(json)?;
        let described = Descriptor::of(MediaType::from(CONFIG), &config);
        let layers: Vec<Descriptor> = document.layers.iter().map(|layer| layer.blob.clone()).collect();
        part.progress(&format!("writing config {}", described.digest), 0, None, true);
        layout.document(&described.digest, config);
        let (kind, bytes) = if target.is_manifest {
            let manifest = Manifest {
                schema_version: 2,
                media_type: Some(MediaType::OCI_MANIFEST),
                artifact_type: Some(MediaType::from(ARTIFACT)),
                config: described,
                layers,
                subject: None,
                annotations: BTreeMap::new(),
            };
            (MediaType::OCI_MANIFEST, serde_json::to_vec(&manifest).map_err(json)?)
        } else {
            let index = Index {
                schema_version: 2,
                media_type: Some(MediaType::OCI_INDEX),
                artifact_type: Some(MediaType::from(ARTIFACT)),
                manifests: layers.into_iter().chain([described]).collect(),
                subject: None,
                annotations: BTreeMap::new(),
            };
            (MediaType::OCI_INDEX, serde_json::to_vec(&index).map_err(json)?)
        };
        let mut top = Descriptor::of(kind, &bytes);
        part.progress(&format!("writing cache manifest {}", top.digest), 0, None, true);
        match &target.place {
            Place::Registry(reference) => send(self.session, reference, &layout, &top, &bytes),
            Place::Local { directory, tag, .. } => {
                layout.document(&top.digest, bytes);
                top.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.clone());
                layout.index = vec![top];
                let opened = output_directory(directory)?;
                let store = &self.session.engine.store;
                let stop = || self.session.cancel.is_cancelled();
                let written = layout.write_directory(store, &opened, &stop);
                written.map_err(|source| at_output(directory, failed("write the cache")(source)))
            }
            Place::Tar(path) => {
                layout.document(&top.digest, bytes);
                layout.index = vec![top];
                write_layout(self.session, path, &layout)
            }
            Place::Inline => Ok(()),
        }
    }
}

/// Sends an artifact to a registry, its manifest last. What the registry has is not sent.
pub(in crate::build) fn send(
    session: &Session<'_>,
    reference: &Reference,
    layout: &Outgoing,
    top: &Descriptor,
    bytes: &[u8],
) -> Result<()> {
    let refused = |source| refused(reference, source);
    let target = session.client.target(reference).map_err(refused)?;
    for (digest, (size, content)) in &layout.blobs {
        let blob = Descriptor::new(MediaType::default(), digest.clone(), *size);
        if target.has_blob(&blob).map_err(refused)? {
            continue;
        }
        let open = |at: u64| content.open_at(&session.engine.store, at);
        target.put_blob(&blob, &open).map_err(refused)?;
    }
    target.put_manifest(reference, &top.media_type, bytes).map(drop).map_err(refused)
}
