//! The images that stages begin with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dockerfile::stage::ImageKey;
use image::{Live, LoadedLayer};
use oci::{Digest, ImageConfig, Reference};

use super::progress::{Part, Progress};
use super::session::Session;
use super::tree::Tree;
use crate::images::{PullEvent, PullStep};
use crate::request::{Pull, PullImage};
use crate::{Error, Result};

/// Images by what a Dockerfile calls them; each is looked for once.
#[derive(Debug, Default)]
pub(super) struct Bases {
    found: Mutex<BTreeMap<ImageKey, Digest>>,
}

impl Bases {
    /// The config of an image, which is pulled where it is missing, or where a newer one is wanted.
    pub(super) fn config(
        &self,
        session: &Session<'_>,
        key: &ImageKey,
        progress: &Progress<'_>,
    ) -> Result<ImageConfig> {
        let name = format!("[internal] load metadata for {}", key.reference);
        let id = progress.internal(&name, |part| find(session, key, part))?;
        let config = session.engine.image_config(&id)?;
        self.found().insert(key.clone(), id);
        Ok(config)
    }

    /// The layers of an image that was found before.
    pub(super) fn tree(&self, session: &Session<'_>, reference: &Reference, platform: &str) -> Result<Tree> {
        let key = ImageKey { reference: reference.clone(), platform: platform.to_owned() };
        let found = self.found().get(&key).cloned();
        let id = found.ok_or_else(|| Error::NoSuchImage { name: reference.familiar() })?;
        tree(session, &id)
    }

    /// The digest of the image that a name stood for.
    pub(super) fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<ImageKey, Digest>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The image that the caller has named as the context `name`, which is looked for as those of stages are.
pub(super) fn named(
    session: &Session<'_>,
    (name, image): (&str, &str),
    platform: &oci::Platform,
    progress: &Progress<'_>,
) -> Result<Digest> {
    let reference: Reference = image
        .parse()
        .map_err(|source| Error::InvalidReference { text: image.chars().take(80).collect(), source })?;
    let key = ImageKey { reference: reference.or_latest(), platform: platform.to_string() };
    let title = format!("[context {name}] load metadata for {}", key.reference);
    progress.internal(&title, |part| find(session, &key, part))
}

/// The layers of an image, which stay as long as the session.
pub(super) fn tree(session: &Session<'_>, id: &Digest) -> Result<Tree> {
    let record = session.engine.image_record(id)?;
    let layers: Vec<_> = record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let mut wanted = Live::default();
    wanted.image(id, &layers);
    session.draft.keep(&wanted).map_err(crate::images::failed("keep the base image"))?;
    // Somebody may have removed it just before.
    let record = session.engine.image_record(id)?;
    let layers = record.layers.into_iter();
    let loaded = |layer: state::LayerRecord| {
        Arc::new(LoadedLayer { diff_id: layer.diff_id, size: layer.size, blob: layer.blob })
    };
    Ok(Tree::Layers(layers.map(loaded).collect()))
}

fn find(session: &Session<'_>, key: &ImageKey, part: &Part<'_>) -> Result<Digest> {
    let (engine, pull) = (session.engine, session.request.pull);
    let name = key.reference.to_string();
    let here = || engine.resolve_for(&name, Some(&key.platform));
    // One for another platform will do where its registry has none for this; a check of the Dockerfile tells of it.
    let other = match (here(), pull) {
        (Ok(id), Pull::Missing | Pull::Never) => return Ok(id),
        (Err(Error::WrongPlatform { .. }), Pull::Missing | Pull::Never) => Some(engine.resolve_image(&name)?),
        (Err(error), Pull::Never) => return Err(error),
        (Err(Error::NoSuchImage { .. } | Error::WrongPlatform { .. }), _) | (Ok(_), Pull::Always) => None,
        (Err(error), _) => return Err(error),
    };
    let request =
        PullImage { reference: name.clone(), platform: Some(key.platform.clone()), ..PullImage::default() };
    let watch = |event: PullEvent<'_>| {
        let PullEvent::Layer { digest, size, step } = event else { return };
        let part_name = format!("sha256:{digest}");
        match step {
            PullStep::Planned => part.progress(&part_name, 0, Some(size), false),
            PullStep::Received(bytes) => part.progress(&part_name, bytes, Some(size), false),
            PullStep::Exists | PullStep::Complete => part.progress(&part_name, size, Some(size), true),
        }
    };
    match (engine.pull(session.client, &request, &watch), other) {
        (Ok(_), _) => here(),
        (Err(_), Some(other)) => Ok(other),
        (Err(error), None) => Err(error),
    }
}
