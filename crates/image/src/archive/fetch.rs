//! An image from a registry: the same way into the store as that of an archive, with blobs that come one by one.
//!
//! The config, which the manifest names by its digest, says which layers the image has. One that the store has already is not
//! asked for at all; all others are read through the pipeline, which checks the blob against the manifest and the layer
//! against the config.
//!
//! Any number of processes share the work: each layer is fetched by one of them, and each of them takes first what nobody is at
//! work on. A layer that is whole is published before its image, and what has come of a large blob is kept beside, so that
//! whoever goes on after a failure, a kill or a reboot asks for the rest alone.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use linux::file;
use oci::{Descriptor, DiffId, Digest, Manifest, Platform};

use super::contents::Found;
use super::layers::Turn;
use super::load::{PARALLEL, lease, stage};
use super::plan::{self, Planned, PlannedLayer};
use super::{Loaded, ahead};
use crate::error::{Error, Result};
use crate::ingest::{Expected, Ingested, Layer, ingest};
use crate::store::{Claim, Making, Staged, Store};

/// The most layers of one image: more than any file system can stack.
const LAYERS_LIMIT: usize = 1024;

/// From that size on, in bytes, what has come of a blob is kept for a later attempt: less is fetched again as fast. A pull of 318 MB in
/// 40 layers takes 692 ms where nothing is kept, 718 from 4 MiB on (7 of the 40), 722 from 1 MiB on (34), and 730 where all is.
const SPOOLED_FROM: u64 = 4 << 20;

/// How often it is looked whether somebody else has made a layer by now.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Opens a blob behind so many of its bytes.
pub type OpenBlob<'a> = dyn Fn(&Descriptor, u64) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

/// Hears what becomes of a layer.
pub type Watch<'a> = dyn Fn(&Descriptor, LayerStep) + Sync + 'a;

/// What becomes of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerStep {
    /// It is here already.
    Exists,
    /// So many bytes of its blob have arrived.
    Received(u64),
    /// It is read, checked and written.
    Complete,
}

/// Images that a registry has under one name, of which the documents have been fetched and checked against their digests.
pub struct Remote<'a> {
    /// What they are called in errors.
    pub name: String,
    /// The images: one, or one for each platform.
    pub images: Vec<RemoteImage>,
    /// Further documents that are to be kept, such as the indexes that lead to the images; checked as well.
    pub documents: Vec<(Digest, Vec<u8>)>,
    /// What they must run on, if anything was said.
    pub platform: Option<Platform>,
    /// Opens the blob of a layer.
    pub open: &'a OpenBlob<'a>,
    /// Hears of layers.
    pub watch: &'a Watch<'a>,
}

/// One image of a registry.
pub struct RemoteImage {
    /// The manifest with its descriptor and its bytes.
    pub manifest: (Descriptor, Vec<u8>, Manifest),
    /// The bytes of the config that the manifest names.
    pub config: Vec<u8>,
}

/// Stores images of a registry, all or none. They have no name then.
///
/// # Errors
/// If a layer cannot be had or is not what it should be. What has come by then is kept for a while, so that a later attempt
/// goes on.
pub fn fetch(store: &Store, remote: Remote<'_>) -> Result<Loaded> {
    let Remote { name, images, mut documents, platform, open, watch } = remote;
    let mut staged = Staged::new(store)?;
    let mut planned = Vec::with_capacity(images.len());
    for image in images {
        planned.push(plan(&name, image, std::mem::take(&mut documents), platform.as_ref())?);
    }
    lease(&planned, &mut staged)?;
    let fetcher = Fetcher { staged: &staged, open, watch };
    let read = |layer: &PlannedLayer, needed_by: &str, turn: Turn<'_>| fetcher.read(layer, needed_by, turn);
    let found = ahead::read(&planned, PARALLEL, &read, &staged);
    if found.is_err() {
        staged.settle();
    }
    let (found, ahead) = found?;
    staged.merged(ahead);
    let images = planned.into_iter().map(|image| stage(image, &found, &mut staged)).collect::<Result<_>>()?;
    Ok(Loaded { images, hold: staged.publish()? })
}

fn plan(
    name: &str,
    image: RemoteImage,
    documents: Vec<(Digest, Vec<u8>)>,
    platform: Option<&Platform>,
) -> Result<Planned> {
    let RemoteImage { manifest: (descriptor, bytes, manifest), config } = image;
    let entry = name.to_owned();
    if manifest.layers.len() > LAYERS_LIMIT {
        let reason = format!("it has {} layers, more than {LAYERS_LIMIT}", manifest.layers.len());
        return Err(Error::Entry { entry, reason });
    }
    let members = manifest.layers.into_iter().map(|blob| (blob.digest.to_string(), Some(blob))).collect();
    let (config, layers) = plan::with_config(name, config, members)?;
    if let (Some(wanted), plan::Config::Document { config, .. }) = (platform, &config)
        && !wanted.runs(&config.platform)
    {
        let (wanted, available) = (wanted.to_string(), config.platform.normalized().to_string());
        return Err(Error::NoPlatform { entry, wanted, available });
    }
    let manifest = Some((descriptor, bytes));
    Ok(Planned { entry, config, manifest, documents, through: None, layers, references: Vec::new() })
}

/// Gets layers, each from the store, from whoever else is at work on it, or from its blob.
struct Fetcher<'a> {
    staged: &'a Staged<'a>,
    open: &'a OpenBlob<'a>,
    watch: &'a Watch<'a>,
}

impl Fetcher<'_> {
    /// Gets a layer, which is leased. `None` if somebody else is at work on it and there is no need to wait.
    fn read(&self, layer: &PlannedLayer, needed_by: &str, turn: Turn<'_>) -> Result<Option<Found>> {
        let (Some(blob), Some(diff_id)) = (&layer.blob, &layer.diff_id) else {
            return Err(Error::MissingEntry { entry: layer.member.clone(), needed_by: needed_by.to_owned() });
        };
        loop {
            if let Some(found) = self.stored(diff_id, blob)? {
                return Ok(Some(found));
            }
            match Making::claim(self.staged.store(), diff_id, &blob.digest)? {
                // It may have been published before the claim.
                Claim::Mine(making) => match self.stored(diff_id, blob)? {
                    Some(found) => {
                        making.give_up();
                        return Ok(Some(found));
                    }
                    None => return self.make(diff_id, blob, making).map(Some),
                },
                Claim::Taken(_) if !turn.may_wait || turn.is_over() => return Ok(None),
                Claim::Taken(received) => {
                    if received > 0 {
                        (self.watch)(blob, LayerStep::Received(received.min(blob.size)));
                    }
                    thread::sleep(LOOK_EVERY);
                }
            }
        }
    }

    /// The layer, if it is here.
    fn stored(&self, diff_id: &DiffId, blob: &Descriptor) -> Result<Option<Found>> {
        let Some(size) = self.staged.store().layer_size(diff_id)? else { return Ok(None) };
        (self.watch)(blob, LayerStep::Exists);
        let ingested = Ingested { diff_id: diff_id.clone(), size, blob_size: blob.size, terminated: true };
        Ok(Some((ingested, None)))
    }

    /// Makes the layer of its blob, of which a part may be here.
    fn make(&self, diff_id: &DiffId, blob: &Descriptor, making: Making) -> Result<Found> {
        let mut may_keep = blob.size >= SPOOLED_FROM;
        let path = self.staged.scratch().fresh("layer");
        let ingested = loop {
            let (file, known) = match may_keep {
                true => making.spool(&blob.digest).map(|(file, known)| (Some(file), known))?,
                false => (None, 0),
            };
            let known = if known > blob.size { 0 } else { known };
            match self.ingest(diff_id, &path, (file, known, blob)) {
                Ok(ingested) => break ingested,
                Err(error) => {
                    // Space is freed at once; what cannot be removed now goes with the scratch directory.
                    drop(file::remove_if_exists(&path));
                    if !matches!(error, Error::Read { .. }) {
                        making.discard(&blob.digest);
                    }
                    // What was left of an earlier attempt may be bad: power was lost before it was written.
                    let is_bad = known > 0 && error.is_content();
                    // Without the blob beside it the layer may fit.
                    let is_full = may_keep && error.is_full();
                    if !(is_bad || is_full) {
                        making.give_up();
                        return Err(error);
                    }
                    tracing::debug!(%error, known, blob = %blob.digest, "a blob is read anew");
                    may_keep = may_keep && !is_full;
                }
            }
        };
        making.discard(&blob.digest);
        self.staged.publish_meanwhile(diff_id, &path, making);
        (self.watch)(blob, LayerStep::Complete);
        Ok((ingested, Some(path)))
    }

    fn ingest(
        &self,
        diff_id: &DiffId,
        path: &Path,
        (spool, known, blob): (Option<File>, u64, &Descriptor),
    ) -> Result<Ingested> {
        let tell = |bytes| (self.watch)(blob, LayerStep::Received(bytes));
        let mut content =
            Content { blob, open: self.open, tell: &tell, spool, known, position: 0, rest: None };
        let expected = Expected { diff_id: Some(diff_id), blob: Some(blob), blob_digest: None };
        let name = blob.digest.to_string();
        let layer = Layer { name: &name, blob: &mut content, expected, target: Some(path) };
        ingest(layer, self.staged.windows(), self.staged.store().effects())
    }
}

/// A blob: first what is here of it, then the rest, which is kept beside that. Tells how much has been read.
struct Content<'a> {
    blob: &'a Descriptor,
    open: &'a OpenBlob<'a>,
    tell: &'a (dyn Fn(u64) + Sync),
    spool: Option<File>,
    known: u64,
    position: u64,
    rest: Option<Box<dyn Read + Send>>,
}

impl Content<'_> {
    /// Keeps what has come, unless that fails: the layer does not depend on it.
    fn keep(&mut self, part: &[u8]) {
        let Some(spool) = &self.spool else { return };
        if let Err(error) = spool.write_all_at(part, self.position) {
            tracing::debug!(%error, blob = %self.blob.digest, "a blob is not kept for a later attempt");
            // What is there takes space that the layer may need.
            drop(spool.set_len(0));
            self.spool = None;
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &self.spool {
            Some(spool) if self.position < self.known => {
                let left = usize::try_from(self.known - self.position).unwrap_or(usize::MAX);
                let most = left.min(buffer.len());
                match spool.read_at(&mut buffer[..most], self.position)? {
                    0 if most > 0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    read => read,
                }
            }
            _ if self.rest.is_none() && self.position > 0 && self.position == self.blob.size => 0,
            _ => {
                let rest = match &mut self.rest {
                    Some(rest) => rest,
                    none => none.insert((self.open)(self.blob, self.position)?),
                };
                let read = rest.read(buffer)?;
                self.keep(&buffer[..read]);
                read
            }
        };
        self.position += read as u64;
        (self.tell)(self.position);
        Ok(read)
    }
}
