//! Cache mounts that are carried from one root to another: `--cache-mounts-from` and `--cache-mounts-to`.
//!
//! ```text
//! registry, layout ─► manifest ─► [key: layer] ─► fetched when a step opens a mount that is empty ─► checked ─► unpacked ─► data/
//! data/ of the mounts that the Dockerfile names ─► a layer each ─► manifest ─► registry, layout
//! ```
//!
//! The artifact is an OCI image manifest of a type of its own (`artifactType`), with one layer for each mount: its directory as
//! `data/`, sorted, with the times of its files, so that an unchanged mount is the same blob and is not sent again. Annotations of
//! a layer say what it is of ([`document`]).
//!
//! What must hold:
//! - A mount is filled where there is none yet, or nothing in it; what a root has counts before what others kept. It is filled under
//!   the lock that is its opener's alone, whole or not at all.
//! - Nothing is fetched of a mount that no step opens.
//! - What is fetched is from anybody: it is what its digest says, not a byte longer than was said, and holds nothing but files,
//!   directories, links and pipes below one directory. It is unpacked as layers are, by descriptors and never by its names.
//! - What is not to be had, or is not good, is told of, and the build goes on with an empty mount.
//! - A build that is cancelled reads and writes no further, and leaves neither a part of a mount nor a layer of one.
//! - What was fetched and not used is kept as it was, by its digest, when the same build writes an artifact.

mod check;
mod document;
mod export;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use build::{Cancel, Step, Stream};
use oci::Document as OciDocument;

use super::BuildError;
use super::blobs::{Blobs, Entry};
use super::progress::Progress;
use super::session::Session;
use super::shared::{Place, mounts_from};
use crate::Result;
use crate::images::failed;
use document::Mount;

/// What a build gets of cache mounts of others, and what it has used.
#[derive(Default)]
pub(super) struct Carried {
    imported: Vec<Imported>,
    used: Mutex<BTreeMap<String, Opened>>,
}

/// An artifact.
struct Imported {
    blobs: Blobs,
    /// By their keys.
    mounts: BTreeMap<String, Mount>,
}

/// A cache mount that a step of this build has opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// What its steps call it.
    pub(super) id: String,
    /// Permission bits, user and group that were asked for.
    pub(super) identity: (u32, u32, u32),
}

impl Carried {
    /// Looks at the artifacts that the request names. One that is not to be had is told of.
    pub(super) fn import(session: &Session<'_>, progress: &Progress<'_>) -> Result<Carried> {
        let mut imported = Vec::new();
        for from in mounts_from(session.request)? {
            let title = format!("importing cache mounts from {}", from.place);
            let found = progress.internal(&title, |_| Imported::read(session, &from.place));
            match found {
                Ok(mut found) => {
                    found.mounts.retain(|_, mount| from.wants(&mount.id));
                    imported.push(found);
                }
                // It was told.
                Err(error) => tracing::warn!(%error, "cache mounts are not to be had"),
            }
        }
        Ok(Carried { imported, used: Mutex::default() })
    }

    /// Notes that a step opens a mount.
    pub(super) fn note(&self, key: &str, used: Opened) {
        self.used().insert(key.to_owned(), used);
    }

    /// Whether there is something to fill a mount with.
    pub(super) fn has(&self, key: &str) -> bool {
        self.found(key).is_some()
    }

    /// Makes the directory `target` of what others kept of a mount, by way of `unpacked` beside it; whether that could be done. To be
    /// called under the mount's lock. Only that the build is cancelled is an error.
    pub(super) fn fill(
        &self,
        session: &Session<'_>,
        key: &str,
        (unpacked, target): (&Path, &Path),
        step: &Step<'_>,
    ) -> Result<bool> {
        let Some((imported, mount)) = self.found(key) else { return Ok(false) };
        let part = format!("filling cache mount {}", mount.id);
        step.progress(&part, 0, Some(mount.size));
        match imported.unpack(session, mount, (unpacked, target), step.cancel) {
            Ok(()) => {
                step.progress(&part, mount.size, Some(mount.size));
                Ok(true)
            }
            Err(_) if step.cancel.is_cancelled() => Err(BuildError::Cancelled.into()),
            Err(error) => {
                let words = format!("cache mount {} begins empty: {}\n", mount.id, linux::chain(&error));
                step.output(Stream::Stderr, words.as_bytes());
                tracing::warn!(%error, id = %mount.id, "a cache mount cannot be filled");
                // Whoever makes it empty wants the place for it.
                drop(session.engine.remove_trees(&[unpacked.to_owned(), target.to_owned()]));
                Ok(false)
            }
        }
    }

    fn found(&self, key: &str) -> Option<(&Imported, &Mount)> {
        self.imported.iter().find_map(|imported| Some((imported, imported.mounts.get(key)?)))
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<String, Opened>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Imported {
    fn read(session: &Session<'_>, place: &Place) -> Result<Imported> {
        let (blobs, top) = match place {
            Place::Registry(reference) => Blobs::in_registry(session, reference)?,
            Place::Local { directory, tag, digest } => {
                let entry = digest.clone().map_or_else(|| Entry::Tag(tag.clone()), Entry::Digest);
                Blobs::in_layout(directory, &entry)?
            }
            Place::Tar(path) => Blobs::in_tar(path, &Entry::Usual)?,
            Place::Inline => {
                let place = "inline".to_owned();
                return Err(
                    BuildError::Artifact { place, reason: "no image has cache mounts".to_owned() }.into()
                );
            }
        };
        let mounts = match &top {
            OciDocument::Manifest(manifest) => document::read(manifest),
            OciDocument::Index(_) => Err("it is an index, not one artifact".to_owned()),
        };
        let mounts = mounts.map_err(|reason| blobs.bad(reason))?;
        Ok(Imported { blobs, mounts })
    }

    fn unpack(
        &self,
        session: &Session<'_>,
        mount: &Mount,
        (unpacked, target): (&Path, &Path),
        cancel: &Cancel,
    ) -> Result<()> {
        let engine = session.engine;
        let stop = || cancel.is_cancelled();
        session.draft.keep_layers([&mount.layer]).map_err(failed("keep a cache mount"))?;
        let here = session.draft.layer_size(&mount.layer).map_err(failed("look for a cache mount"))?;
        if here != Some(mount.size) {
            // Nothing will name it: it goes with the draft.
            self.blobs.fetch(session, (&mount.layer, Some(mount.size)), &mount.blob, &stop)?;
        }
        let tar = session.draft.layer_path(&mount.layer);
        check::layer(&tar, &stop).map_err(|reason| self.blobs.bad(reason))?;
        engine.unpack_member((&mount.layer, &tar), unpacked, (document::ROOT, target), &stop)
    }
}
