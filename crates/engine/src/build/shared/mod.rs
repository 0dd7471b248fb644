//! Caches that builds share: `--cache-from` and `--cache-to`.
//!
//! ```text
//! keys ──► this root's records ──no──► what was imported: a claim that a key's layer is this one
//!                                        └ the layer is fetched when its step is restored, and only then
//! layers and keys of this build ──► all other keys of the same results ──► a manifest with layers and a config ([`document`]) ──► registry, layout, the image itself
//! ```
//!
//! A build that finds everything asks for few keys, by which another one need not find it: one whose base came differently, say, or which
//! has the same files from elsewhere. So what is handed on are all keys of each result, as this root or an imported cache has them, and
//! with `mode=max` all results of the graph, needed or not ([`build::Options::asks_all`]).
//!
//! The carrier is that of BuildKit, an OCI image of layers with a config of a type of its own; the keys are ours, so neither reads the
//! other's.
//!
//! Trust. Who names a cache believes its owner that a key leads to a layer: no digest can show that. So:
//! - it counts only where this root knows nothing by the key, and is never written down here. What is made in a build that has
//!   believed a claim is kept under keys of its own, which only builds find that name the same caches: a step that was done upon a
//!   wrong layer is found by nobody who trusts nobody;
//! - it is reached by digests alone: config and layers are what the manifest names, and what is unpacked from a blob has the digest
//!   that was claimed, and not a byte more than was claimed, or it is not used;
//! - a layer is not trusted to be a good one: it is merged like that of any image.
//!
//! A cache that is not to be had is told of, and the build goes on without it.

mod document;
mod export;
mod import;
mod options;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use build::{Cache, Claim, Key, Record, Step};
use dockerfile::lower::Node;
use image::LoadedLayer;
use oci::{DiffId, Digest, Timestamp};

use super::blobs::Blobs;
use super::cache::RecordCache;
use super::export::stored;
use super::progress::Progress;
use super::session::Session;
use crate::{Error, Result};

pub(super) use export::{annotation, send};
pub(super) use options::{MountsTo, Place, check, mounts_from, mounts_to};

/// The cache of a build: this root's, and those that were named.
pub(super) struct SharedCache<'s> {
    session: &'s Session<'s>,
    local: RecordCache<'s>,
    imported: Vec<Imported>,
    /// Tells the named caches from others; none if none was named.
    salt: Option<String>,
    /// Something that was claimed has been used.
    is_tainted: AtomicBool,
    /// What this build has found or made, by its layers.
    used: Mutex<BTreeMap<DiffId, Used>>,
}

/// A cache that was named.
struct Imported {
    source: Blobs,
    /// What its owner claims: a key's layer.
    records: BTreeMap<Digest, usize>,
    layers: Vec<document::Layer>,
}

/// A layer that a build has found or made.
#[derive(Clone, Debug, Default)]
struct Used {
    size: u64,
    keys: BTreeSet<Digest>,
    name: String,
    /// The records of this root that it was found by or kept as.
    records: BTreeSet<String>,
    /// Somebody else claims it to be right.
    is_claimed: bool,
}

impl<'s> SharedCache<'s> {
    /// This root's cache, with what the request names.
    pub(super) fn new(session: &'s Session<'s>, progress: &Progress<'_>) -> Result<SharedCache<'s>> {
        let (mut imported, mut places) = (Vec::new(), BTreeSet::new());
        for place in options::imports(session.request)? {
            places.insert(place.to_string());
            let name = format!("importing cache manifest from {place}");
            let found = progress.internal(&name, |_| import::import(session, &place));
            match found {
                Ok(found) => imported.push(found),
                // It was told.
                Err(error) => tracing::warn!(%error, "a cache is not to be had"),
            }
        }
        let local = RecordCache::new(session.engine);
        let names: Vec<String> = places.into_iter().collect();
        let salt = (!names.is_empty()).then(|| names.join("\n"));
        let is_tainted = AtomicBool::new(false);
        Ok(SharedCache { session, local, imported, salt, is_tainted, used: Mutex::default() })
    }

    /// The key by which builds that name the same caches find what came of a claim.
    fn salted(&self, key: &Key) -> Option<Key> {
        Some(Key::of("claimed", [self.salt.as_deref()?, key.digest().as_str()]))
    }

    fn used(&self) -> std::sync::MutexGuard<'_, BTreeMap<DiffId, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What somebody claims of a key.
    fn claimed(&self, key: &Key) -> Option<Record> {
        self.imported.iter().find_map(|imported| {
            let layer = imported.layers.get(*imported.records.get(key.digest())?)?;
            Some(Record { layer: layer.diff_id.clone(), size: layer.size })
        })
    }

    /// Fetches a layer that is not here, if a cache has it; none if there is no way to have it. To be called for a record whose
    /// layer is gone.
    pub(super) fn bring(&self, record: &Record) -> Option<LoadedLayer> {
        for imported in &self.imported {
            let Some(layer) = imported.layers.iter().find(|layer| layer.diff_id == record.layer) else {
                continue;
            };
            let size = Some(layer.size);
            let stop = || self.session.cancel.is_cancelled();
            match imported.source.bring(self.session, (&layer.diff_id, size), &layer.blob, &stop) {
                Ok(layer) => return Some(layer),
                Err(error) => {
                    tracing::warn!(%error, layer = %record.layer, "a layer of a cache is not to be had")
                }
            }
        }
        None
    }

    /// Whether somebody is to have all that is known of the graph.
    pub(super) fn exports_all(&self) -> Result<bool> {
        Ok(options::exports(self.session.request)?.iter().any(|target| target.is_max))
    }

    /// Keys that lead to a result: first those of this build, in which nobody can be wrong who builds the same, then all others.
    fn keys_of(
        &self,
        used: &Used,
        claims: &BTreeMap<&DiffId, Vec<&Digest>>,
        layer: &DiffId,
    ) -> Result<Vec<Digest>> {
        let mut keys: Vec<Digest> = used.keys.iter().cloned().collect();
        for record in &used.records {
            keys.extend(self.local.keys_of(record)?);
        }
        // Of a cache that was of no use here nothing is handed on.
        let claims = claims.get(layer).filter(|_| used.is_claimed);
        keys.extend(claims.into_iter().flatten().map(|key| (*key).clone()));
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        Ok(keys)
    }

    /// What the imported caches claim, by layers.
    fn claims(&self) -> BTreeMap<&DiffId, Vec<&Digest>> {
        let mut claims: BTreeMap<&DiffId, Vec<&Digest>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for imported in &self.imported {
            for (key, layer) in &imported.records {
                // What another cache or this build says otherwise counts there.
                if let Some(layer) = imported.layers.get(*layer).filter(|_| seen.insert(key)) {
                    claims.entry(&layer.diff_id).or_default().push(key);
                }
            }
        }
        claims
    }

    /// When a layer was made, as somebody claims who has it.
    pub(super) fn claimed_time(&self, layer: &DiffId) -> Option<Timestamp> {
        self.imported.iter().find_map(|imported| {
            let layer = imported.layers.iter().find(|known| known.diff_id == *layer)?;
            // Before 1970 nothing was built.
            Timestamp::new(layer.made?.max(0), 0)
        })
    }

    /// When a layer was made that is here.
    fn made(&self, layer: &DiffId) -> Option<i64> {
        let known = stored(self.session, layer)?;
        Some(self.claimed_time(layer).map_or(known, |claimed| claimed.min(known)).seconds())
    }

    /// A record of this root has been used.
    fn note_record(&self, layer: &DiffId, id: String) {
        self.used().entry(layer.clone()).or_default().records.insert(id);
    }

    fn note(&self, keys: &[Key], record: &Record, name: &str, is_claimed: bool) {
        let mut used = self.used();
        let known = used.entry(record.layer.clone()).or_default();
        known.size = record.size;
        known.is_claimed |= is_claimed;
        if known.name.is_empty() {
            name.clone_into(&mut known.name);
        }
        known.keys.extend(keys.iter().map(|key| key.digest().clone()));
    }
}

impl Cache for SharedCache<'_> {
    type Error = Error;

    fn find(&self, key: &Key) -> Result<Option<Record>> {
        if let Some(found) = self.local.look(key)? {
            let record = Record { layer: found.layer, size: found.size };
            self.note(std::slice::from_ref(key), &record, "", false);
            self.note_record(&record.layer, found.id);
            return Ok(Some(record));
        }
        let salted = self.salted(key).map(|key| self.local.find(&key)).transpose()?.flatten();
        let is_own = salted.is_some();
        let claimed = salted.or_else(|| self.claimed(key));
        if let Some(record) = &claimed {
            // Before it is used: whatever is made of it is kept after this.
            self.is_tainted.store(true, Ordering::SeqCst);
            self.note(std::slice::from_ref(key), record, "", !is_own);
        }
        Ok(claimed)
    }

    fn keep(&self, keys: &[Key], record: &Record, node: &Node) -> Result<()> {
        self.note(keys, record, &node.name, false);
        let is_claimed = self.used().get(&record.layer).is_some_and(|used| used.is_claimed);
        // What another one claims is not written down here under any key.
        if is_claimed {
            return Ok(());
        }
        if !self.is_tainted.load(Ordering::SeqCst) {
            let id = self.local.keep_as(keys, record, node)?;
            self.note_record(&record.layer, id);
            return Ok(());
        }
        let keys: Vec<Key> = keys.iter().filter_map(|key| self.salted(key)).collect();
        self.local.keep(&keys, record, node)
    }

    fn claim(&self, key: &Key, step: &Step<'_>) -> Result<Option<Claim>> {
        self.local.claim(key, step)
    }
}
