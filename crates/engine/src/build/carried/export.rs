//! Writes the cache mounts of a build where later builds of other roots find them.
//!
//! | mount that the Dockerfile names | what is written |
//! |---|---|
//! | opened by a step of this build | what is in it now; nothing where it is empty |
//! | not opened, as its steps were known, and imported | what was imported, by its digest |
//! | not opened and not imported | what this root has, if anything |
//!
//! A mount is packed under the lock that is its holder's alone: nobody writes to it meanwhile. One that a program of another build
//! keeps longer than is waited for is written as it was imported, or not at all. A build that is cancelled packs no further.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use dockerfile::lower::{Graph, Op};
use dockerfile::syntax::MountKind;
use image::{Codec, Content, LoadedLayer, Outgoing, Stop, Stopping};
use linux::thread::spawn_scoped;
use oci::{Descriptor, Hasher, MediaType};

use super::document::{self, Mount};
use super::{Carried, Imported, Opened, check};
use crate::build::BuildError;
use crate::build::blobs::{Blobs, REF_NAME};
use crate::build::cache_mounts::{self, Lock, Wish};
use crate::build::export::{Compressor, output_directory, write_layout};
use crate::build::progress::{Part, Progress};
use crate::build::session::Session;
use crate::build::shared::{MountsTo, Place, mounts_to, send};
use crate::build::waiting::Queue;
use crate::images::failed;
use crate::{Error, Result};

const ACTION: &str = "pack a cache mount";
/// How long one is waited for that somebody else has.
const PATIENCE: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(20);
/// Bytes that are moved at once.
const PORTION: usize = 256 << 10;

/// A mount to be written: what is known of it, and where its content is.
struct Outbound<'i> {
    key: String,
    used: Opened,
    content: Payload<'i>,
}

enum Payload<'i> {
    /// Packed here.
    Packed(Box<LoadedLayer>),
    /// As it was imported.
    Imported(&'i Imported, &'i Mount),
}

impl Carried {
    /// Writes all artifacts that were asked for.
    pub(in crate::build) fn export(
        &self,
        session: &Session<'_>,
        graph: &Graph,
        compressor: &Compressor<'_>,
        progress: &Progress<'_>,
    ) -> Result<()> {
        let targets = mounts_to(session.request)?;
        if targets.is_empty() {
            return Ok(());
        }
        let outbound =
            progress.internal("packing cache mounts", |part| self.outbound(session, graph, part))?;
        for target in targets {
            let name = format!("exporting cache mounts to {}", target.place);
            let done =
                progress.internal(&name, |part| self.write(session, &target, &outbound, compressor, part));
            if !target.ignores_errors {
                done?;
            }
        }
        Ok(())
    }

    /// What there is to write, in the order of keys.
    fn outbound(&self, session: &Session<'_>, graph: &Graph, part: &Part<'_>) -> Result<Vec<Outbound<'_>>> {
        let opened = self.used().clone();
        let named = named(graph);
        let ids: BTreeSet<&str> = named
            .iter()
            .map(|(_, used)| used.id.as_str())
            .chain(opened.values().map(|used| used.id.as_str()))
            .collect();
        let mut all: BTreeMap<String, Outbound<'_>> = BTreeMap::new();
        for (key, used) in &opened {
            let content = packed(session, key, used, part)?.map(|layer| Payload::Packed(Box::new(layer)));
            let busy = || self.found(key).map(|(imported, mount)| Payload::Imported(imported, mount));
            let content = match content {
                Some(content) => Some(content),
                None if is_here(session, key) => busy(),
                None => None,
            };
            if let Some(content) = content {
                all.insert(key.clone(), Outbound { key: key.clone(), used: used.clone(), content });
            }
        }
        for imported in &self.imported {
            for (key, mount) in &imported.mounts {
                if opened.contains_key(key) || all.contains_key(key) || !ids.contains(mount.id.as_str()) {
                    continue;
                }
                // Its own annotations stay: nothing is known here that they do not say.
                let used = Opened { id: mount.id.clone(), identity: (0, 0, 0) };
                let content = Payload::Imported(imported, mount);
                all.insert(key.clone(), Outbound { key: key.clone(), used, content });
            }
        }
        for (key, used) in named {
            if opened.contains_key(&key) || all.contains_key(&key) {
                continue;
            }
            if let Some(layer) = packed(session, &key, &used, part)? {
                let content = Payload::Packed(Box::new(layer));
                all.insert(key.clone(), Outbound { key, used, content });
            }
        }
        Ok(all.into_values().collect())
    }

    fn write(
        &self,
        session: &Session<'_>,
        target: &MountsTo,
        outbound: &[Outbound<'_>],
        compressor: &Compressor<'_>,
        part: &Part<'_>,
    ) -> Result<()> {
        let mut layout = Outgoing::default();
        let holder = Holder::of(session, &target.place)?;
        let stop = || session.cancel.is_cancelled();
        let mut layers = Vec::new();
        for mount in outbound.iter().filter(|mount| target.wants(&mount.used.id)) {
            let (blob, content) = self.blob(mount, target.codec, compressor)?;
            part.progress(
                &format!("writing cache mount {}", mount.used.id),
                blob.size,
                Some(blob.size),
                true,
            );
            if !layout.blobs.contains_key(&blob.digest) && !holder.has(&blob, &stop)? {
                let content = match content {
                    Source::File(path) => Content::File(path),
                    Source::Elsewhere(imported) => fetched(session, imported, &blob)?,
                };
                layout.blobs.insert(blob.digest.clone(), (blob.size, content));
            }
            layers.push(blob);
        }
        let config = Descriptor::of(MediaType::OCI_EMPTY, document::CONFIG);
        layout.document(&config.digest, document::CONFIG.to_vec());
        let manifest = serde_json::to_vec(&document::manifest(layers));
        let manifest = manifest.map_err(|source| Error::WriteList { source })?;
        let mut top = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
        part.progress(&format!("writing manifest {}", top.digest), 0, None, true);
        match &target.place {
            Place::Registry(reference) => send(session, reference, &layout, &top, &manifest),
            Place::Local { directory, tag, .. } => {
                layout.document(&top.digest, manifest);
                top.annotations.insert(REF_NAME.to_owned(), tag.clone());
                top.artifact_type = Some(MediaType::from(document::ARTIFACT));
                layout.index = vec![top];
                let directory = output_directory(directory)?;
                let store = &session.engine.store;
                layout.write_directory(store, &directory, &stop).map_err(failed("write cache mounts"))
            }
            Place::Tar(path) => {
                layout.document(&top.digest, manifest);
                top.artifact_type = Some(MediaType::from(document::ARTIFACT));
                layout.index = vec![top];
                write_layout(session, path, &layout)
            }
            Place::Inline => Ok(()),
        }
    }

    /// The blob of a mount, and where its bytes are. One that was imported in this very form is not compressed once more.
    fn blob<'i>(
        &'i self,
        mount: &Outbound<'i>,
        codec: Codec,
        compressor: &Compressor<'_>,
    ) -> Result<(Descriptor, Source<'i>)> {
        let layer = match &mount.content {
            Payload::Imported(imported, known) => {
                return Ok((known.blob.clone(), Source::Elsewhere(imported)));
            }
            Payload::Packed(layer) => layer,
        };
        let same = self.imported.iter().find_map(|imported| {
            let same = imported.mounts.get(&mount.key)?;
            (same.layer == layer.diff_id && same.blob.media_type == codec.media_type())
                .then_some((imported, same))
        });
        if let Some((imported, same)) = same {
            return Ok((same.blob.clone(), Source::Elsewhere(imported)));
        }
        let made = compressor.compressed(&layer.diff_id, codec)?;
        let blob =
            document::described(&mount.key, &mount.used, (&layer.diff_id, layer.size), made.descriptor);
        Ok((blob, Source::File(made.path)))
    }
}

/// Where the bytes of a blob are.
enum Source<'i> {
    File(std::path::PathBuf),
    Elsewhere(&'i Imported),
}

/// Who may have a blob already.
enum Holder {
    Registry(Box<registry_client::Repository>, oci::Reference),
    Layout(Blobs),
    Nobody,
}

impl Holder {
    fn of(session: &Session<'_>, place: &Place) -> Result<Holder> {
        Ok(match place {
            Place::Registry(reference) => {
                let target = session.client.target(reference);
                let target = target.map_err(|source| crate::build::blobs::refused(reference, source))?;
                Holder::Registry(Box::new(target), reference.clone())
            }
            Place::Local { directory, .. } => Holder::Layout(Blobs::Layout(directory.clone())),
            // It is written anew as a whole.
            Place::Tar(_) | Place::Inline => Holder::Nobody,
        })
    }

    fn has(&self, blob: &Descriptor, stop: &Stop<'_>) -> Result<bool> {
        match self {
            Holder::Registry(target, reference) => {
                target.has_blob(blob).map_err(|source| crate::build::blobs::refused(reference, source))
            }
            // One that was damaged is written once more.
            Holder::Layout(blobs) => Ok(blobs.open(blob).is_ok_and(|bytes| {
                same_bytes(bytes, blob, &mut Stopping::new(io::sink(), stop)).unwrap_or(false)
            })),
            Holder::Nobody => Ok(false),
        }
    }
}

/// Copies the bytes of a blob; whether they are what its digest and its size say.
fn same_bytes(bytes: Box<dyn Read + Send>, blob: &Descriptor, out: &mut dyn Write) -> io::Result<bool> {
    let (mut bytes, mut portion) = (bytes.take(blob.size.saturating_add(1)), vec![0; PORTION]);
    let mut hasher = blob.digest.hasher().unwrap_or_else(Hasher::sha256);
    let mut size = 0;
    loop {
        let read = bytes.read(&mut portion)?;
        if read == 0 {
            return Ok(size == blob.size && hasher.finish() == blob.digest);
        }
        hasher.update(&portion[..read]);
        out.write_all(&portion[..read])?;
        size += read as u64;
    }
}

/// A blob of an artifact that was imported, as a file here.
fn fetched(session: &Session<'_>, imported: &Imported, blob: &Descriptor) -> Result<Content> {
    let path = session.draft.fresh("mount");
    let system = |source| Error::System { action: "keep a cache mount", path: path.clone(), source };
    let mut file: File = linux::file::create_new(&path, 0o600)
        .map_err(|source| Error::File { action: "keep a cache mount", source })?;
    let stop = || session.cancel.is_cancelled();
    match same_bytes(imported.blobs.open(blob)?, blob, &mut Stopping::new(&mut file, &stop))
        .map_err(system)?
    {
        true => Ok(Content::File(path)),
        false => Err(imported.blobs.bad(format!("{} is not what its digest says", blob.digest))),
    }
}

/// The cache mounts of a graph, with the keys that those have which begin with nothing.
fn named(graph: &Graph) -> Vec<(String, Opened)> {
    let mut named = BTreeMap::new();
    for node in graph.nodes() {
        let Op::Run(run) = &node.op else { continue };
        for (mount, input) in &run.mounts {
            let MountKind::Cache { id, source, sharing, identity, .. } = &mount.kind else { continue };
            if input.is_some() {
                // What it begins as is known to who opens it alone.
                continue;
            }
            let wish = Wish { id, seed: None, source, identity: *identity, sharing: *sharing };
            let used = Opened { id: id.clone(), identity: (identity.mode, identity.uid, identity.gid) };
            named.insert(wish.key().digest().encoded().to_owned(), used);
        }
    }
    named.into_iter().collect()
}

/// Whether this root has something in a mount.
fn is_here(session: &Session<'_>, key: &str) -> bool {
    !cache_mounts::is_empty(&cache_mounts::data(&session.engine.cache_mount_path(key)))
}

/// What is in a mount, as a layer; none if there is nothing, or it cannot be had.
fn packed(session: &Session<'_>, key: &str, used: &Opened, part: &Part<'_>) -> Result<Option<LoadedLayer>> {
    if !is_here(session, key) {
        return Ok(None);
    }
    let what = || cache_mounts::waits_for(&used.id);
    let (begun, mut queue) = (Instant::now(), Queue::new(&what));
    // Held until all is read.
    let _lock = loop {
        match session.engine.lock_cache_mount(key)? {
            Lock::Ours(lock) => break lock,
            Lock::Missing => return Ok(None),
            Lock::Taken if begun.elapsed() > PATIENCE => {
                tracing::warn!(id = %used.id, "a cache mount is in use all the time, and is not written");
                return Ok(None);
            }
            Lock::Taken if session.cancel.wait(NAP) => return Err(BuildError::Cancelled.into()),
            Lock::Taken => queue.goes_on(&|what| part.progress(what, 0, None, false)),
        }
    };
    queue.ends(&|what| part.progress(what, 0, None, true));
    let packed = pack(session, &cache_mounts::data(&session.engine.cache_mount_path(key)));
    let stop = || session.cancel.is_cancelled();
    let layer = packed.map_err(|error| if stop() { BuildError::Cancelled.into() } else { error })?;
    part.progress(&format!("packing cache mount {}", used.id), layer.size, Some(layer.size), true);
    // What nobody could take in is not given out.
    match check::layer(&session.draft.layer_path(&layer.diff_id), &stop) {
        Ok(()) => Ok(Some(layer)),
        Err(_) if stop() => Err(BuildError::Cancelled.into()),
        Err(reason) => {
            tracing::warn!(id = %used.id, %reason, "a cache mount is not written");
            Ok(None)
        }
    }
}

/// Packs a directory, hashes it and writes it at the same time.
fn pack(session: &Session<'_>, data: &Path) -> Result<LoadedLayer> {
    let system = |source| Error::System { action: ACTION, path: "pipe(2)".into(), source };
    let (mut reader, writer) = io::pipe().map_err(system)?;
    let mut layer = session.draft.layer().map_err(failed(ACTION))?;
    let stop = || session.cancel.is_cancelled();
    std::thread::scope(|scope| {
        let packing = move || session.engine.pack_data(data, writer.into());
        let packer = spawn_scoped(scope, "pack a cache mount", packing)?;
        let copied = copy(&mut reader, &mut Stopping::new(&mut layer, &stop));
        // A writer that nobody reads any more must not wait for ever.
        drop(reader);
        let packed = packer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        copied.map_err(system)?;
        packed
    })?;
    // No record will ever name it: it goes with the draft.
    layer.hand_in().map_err(failed(ACTION))
}

fn copy(reader: &mut PipeReader, layer: &mut impl Write) -> io::Result<()> {
    // A smaller pipe is slower, that is all.
    let _grown = rustix::pipe::fcntl_setpipe_size(&*reader, PORTION);
    let mut portion = vec![0; PORTION];
    loop {
        match reader.read(&mut portion)? {
            0 => return Ok(()),
            length => layer.write_all(&portion[..length])?,
        }
    }
}
