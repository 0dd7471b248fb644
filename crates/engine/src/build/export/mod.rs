//! What comes out of a build.
//!
//! ```text
//! per platform: config, layers ─► times ─► described: manifests, an index of several ─► the store ─► a registry
//!                                              │                                    └► an archive, a layout
//!                                              └ file systems ─► a tar, a directory
//! ```
//!
//! An image in the store is described by its layers as they lie there, as tars: nothing is compressed that nobody sends. What
//! is sent is compressed once for all outputs, and always to the same bytes.
//!
//! What must hold:
//! - Equal layers, configs and options give equal digests. No time is taken from the clock: an image was made when its last layer
//!   was, or at `SOURCE_DATE_EPOCH`.
//! - Files come first, the store's names after them, a registry's last: what fails leaves no name for half of it.
//! - A file is whole or not there; a directory is written beneath itself, whatever links somebody left in it.

mod annotations;
mod archive;
mod attest;
mod config;
mod describe;
mod files;
mod options;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use image::{Codec, Compressed};
use oci::{DiffId, ImageConfig, Platform, Timestamp};

use super::frontend::Work;
use super::progress::Progress;
use super::session::Session;
use super::shared::{self, SharedCache};
use super::tree::Tree;
use crate::Result;
use crate::images::failed;
use crate::info::Built;
pub(super) use archive::{at_output, directory as output_directory, write_layout};
use attest::Sbom;
pub(super) use attest::{AskedGenerator, Origin, Predicate};
pub(super) use config::stored;
pub(super) use options::codec_of;
use options::{Format, Output};

/// What was built for one platform.
#[derive(Clone, Debug)]
pub(super) struct Product {
    /// What it runs on.
    pub(super) platform: Platform,
    /// Its config. The digests of its layers are filled in, and times that are missing.
    pub(super) config: ImageConfig,
    /// Its layers.
    pub(super) tree: Tree,
    /// What made the layers of this build, the last one last; for a history that does not say.
    pub(super) layer_names: Vec<String>,
}

/// What a build was made of, for what is attested of it.
#[derive(Clone, Default)]
pub(super) struct Facts<'w> {
    /// When it began.
    pub(super) started: Option<Timestamp>,
    /// Its Dockerfile, its graph, and the images that it began with.
    pub(super) work: Option<&'w Work>,
    /// What it found and kept, for caches that others read.
    pub(super) cache: Option<&'w SharedCache<'w>>,
    /// By platform: file trees that went into it, of which packages are listed, too, by their names.
    pub(super) scanned: Option<&'w Scanned>,
    /// By platform: what a generator has said of what is in it, where one was asked for.
    pub(super) generated: Option<&'w Generated>,
}

/// File trees besides the products' of which packages are listed, by platform, each with its name.
pub(super) type Scanned = BTreeMap<String, BTreeMap<String, Tree>>;

/// What a generator has said of each product, by platform.
pub(super) type Generated = BTreeMap<String, Vec<Predicate>>;

/// Whether packages are listed by ourselves.
pub(super) fn lists_packages(request: &crate::request::Build) -> Result<bool> {
    Ok(matches!(attest::wanted(request)?.sbom, Some(Sbom::Own)))
}

/// Who lists them for us.
pub(super) fn generator(request: &crate::request::Build) -> Result<Option<AskedGenerator>> {
    Ok(match attest::wanted(request)?.sbom {
        Some(Sbom::Generator(generator)) => Some(generator),
        Some(Sbom::Own) | None => None,
    })
}

/// Refuses outputs that cannot be made, before anything is built.
pub(super) fn check(request: &crate::request::Build) -> Result<()> {
    attest::wanted(request)?;
    shared::check(request)?;
    let outputs = options::outputs(request)?;
    let platforms: BTreeSet<&String> = request.platforms.iter().collect();
    let is_docker = |output: &Output| matches!(output, Output::Archive { format: Format::Docker, .. });
    let refuse = |text: &str, reason: &str| super::BuildError::Output {
        output: format!("BUILDKIT_MULTI_PLATFORM={}", text.chars().take(20).collect::<String>()),
        reason: reason.to_owned(),
    };
    let multi = request.multi_platform().map_err(|text| refuse(text, "it is neither true nor false"))?;
    if multi == Some(false) && platforms.len() > 1 {
        return Err(refuse("false", "several platforms are asked for").into());
    }
    if multi.unwrap_or(platforms.len() > 1) && outputs.iter().any(is_docker) {
        let reason = "docker exporter does not currently support exporting manifest lists; type=oci does";
        let output = "type=docker".to_owned();
        return Err(super::BuildError::Output { output, reason: reason.to_owned() }.into());
    }
    Ok(())
}

/// Products as they are exported, with all that their configs have.
pub(super) fn finished(
    session: &Session<'_>,
    cache: Option<&SharedCache<'_>>,
    products: Vec<Product>,
) -> Result<Vec<Product>> {
    products.into_iter().map(|product| config::finished(session, cache, product)).collect()
}

/// Where each of some finished products comes from, for what is made of them.
pub(super) fn origins(
    session: &Session<'_>,
    products: &[Product],
    facts: &Facts<'_>,
    progress: &Progress<'_>,
) -> Vec<Origin> {
    let compressor = Compressor { session, blobs: Mutex::default() };
    let export = Export { session, progress, facts, products: Vec::new(), compressor };
    products.iter().map(|product| Origin::of(&export, product)).collect()
}

/// Writes all outputs of a build, of products that are [`finished`].
pub(super) fn run(
    session: &Session<'_>,
    products: Vec<Product>,
    facts: &Facts<'_>,
    progress: &Progress<'_>,
) -> Result<Built> {
    let mut outputs = options::outputs(session.request)?;
    // What names something here or elsewhere comes last.
    outputs.sort_by_key(|output| match output {
        Output::Image(options) => 1 + u8::from(options.push),
        Output::Archive { .. } | Output::Tar { .. } | Output::Local { .. } | Output::None => 0,
    });
    let compressor = Compressor { session, blobs: Mutex::default() };
    let export = Export { session, progress, facts, products, compressor };
    let mut built = Built::default();
    for output in &outputs {
        if session.cancel.is_cancelled() {
            return Err(super::BuildError::Cancelled.into());
        }
        match output {
            Output::Image(options) => export.image(options, &mut built)?,
            Output::Archive { format, target, options } => {
                export.archive(*format, target, options, &mut built)?;
            }
            Output::Tar { target, options } => export.tar(target, options)?,
            Output::Local { directory, deletes, options } => export.local(directory, *deletes, options)?,
            Output::None => {}
        }
    }
    if let Some(cache) = facts.cache {
        let layers = export.products.iter().flat_map(|product| product.tree.diff_ids()).collect();
        cache.export(&layers, &export.compressor, progress)?;
    }
    if let Some(work) = facts.work {
        session.carried().export(session, &work.graph, &export.compressor, progress)?;
    }
    if session.request.tells_provenance {
        built.provenance = export.told_provenance()?;
    }
    built.reference.clone_from(&session.nonce);
    Ok(built)
}

/// A build whose outputs are written.
struct Export<'a> {
    session: &'a Session<'a>,
    progress: &'a Progress<'a>,
    facts: &'a Facts<'a>,
    products: Vec<Product>,
    compressor: Compressor<'a>,
}

/// Compresses layers, each at most once a way.
pub(super) struct Compressor<'a> {
    session: &'a Session<'a>,
    blobs: Mutex<BTreeMap<(DiffId, Codec), Compressed>>,
}

impl Compressor<'_> {
    /// A layer as it is sent.
    pub(super) fn compressed(&self, layer: &DiffId, codec: Codec) -> Result<Compressed> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = blobs.get(&(layer.clone(), codec)) {
            return Ok(known.clone());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = || self.session.cancel.is_cancelled();
        let made = image::compress(&self.session.draft, layer, codec, (threads, &stop));
        let made = made.map_err(failed("compress a layer"))?;
        blobs.insert((layer.clone(), codec), made.clone());
        Ok(made)
    }
}

impl Export<'_> {
    /// Whether each platform gets a directory of its own.
    fn is_split(&self, options: &options::TreeOptions) -> bool {
        options.splits.unwrap_or(self.is_multi())
    }

    /// Whether it is made for several platforms, or as if it were.
    fn is_multi(&self) -> bool {
        self.products.len() > 1 || self.session.request.multi_platform() == Ok(Some(true))
    }
}
