//! What builds have left here, as people see it: `builder du`, and the build cache of `system df`.
//!
//! | kind | what it is | its size |
//! |---|---|---|
//! | `regular`, `source.git.checkout`, `internal` | the record of a step, which names a layer | the layer's, unless a record that was used later names the same layer |
//! | `source.local` | digests of the files of a context | bytes in the database |
//! | `exec.cachemount` | the directory of a cache mount | what it had when it was last used |
//!
//! So the sizes of all entries add up to what they take. A layer that an image has as well is shared: it stays when its record goes.

use std::collections::{BTreeMap, HashSet};

use oci::{DiffId, Digest, Timestamp};
use state::{BuildRecord, CacheKind, CacheMount};

use crate::images::failed;
use crate::usage::allotted;
use crate::{Engine, Result};

/// Something that builds have left for later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCacheEntry {
    /// What users name it by.
    pub id: String,
    /// The entries it stands upon, as far as that is known.
    pub parents: Vec<String>,
    /// Of what kind it is.
    pub kind: CacheKind,
    /// What people call it: the step that has made it.
    pub description: String,
    /// Whether something that runs relies on it: it stays whatever is asked for.
    pub in_use: bool,
    /// Whether an image has its layer: it takes nothing by itself.
    pub shared: bool,
    /// Whether builds write to it.
    pub mutable: bool,
    /// Bytes on disk.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// How often it was.
    pub uses: u64,
    /// What is to go with it.
    pub(super) what: What,
}

/// What an entry is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The record of this id.
    Record,
    /// What is known of the context of this number.
    Context(i64),
    /// The cache mount with the directory of this name.
    Mount(String),
}

impl Engine {
    /// Everything that builds have left, the last used first.
    ///
    /// # Errors
    /// If the database or the store cannot be read.
    pub fn build_cache(&self) -> Result<Vec<BuildCacheEntry>> {
        let mut entries = self.kept_records()?;
        entries.extend(self.kept_contexts()?);
        entries.extend(self.kept_mounts()?);
        entries.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.id.cmp(&b.id)));
        Ok(entries)
    }

    fn kept_records(&self) -> Result<Vec<BuildCacheEntry>> {
        let records = self.state().build_records()?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let images = self.state().images()?;
        let layers = images.iter().flat_map(|named| &named.image.layers);
        let of_images: HashSet<&DiffId> = layers.map(|layer| &layer.diff_id).collect();
        let leased = self.store.leased_layers().map_err(failed("see what is in use"))?;
        let mut counted = HashSet::new();
        let entry = |record: BuildRecord| {
            // The first is the one that was used last, and so would be the last to go.
            let is_first = counted.insert(record.layer.clone());
            BuildCacheEntry {
                in_use: leased.contains(record.layer.digest().encoded()),
                shared: of_images.contains(&record.layer),
                mutable: false,
                size: if is_first { allotted(&self.store.layer_path(&record.layer)) } else { 0 },
                id: record.id,
                parents: record.parents,
                kind: record.kind,
                description: record.description,
                created: record.made,
                last_used: record.used,
                uses: record.uses,
                what: What::Record,
            }
        };
        Ok(records.into_iter().map(entry).collect())
    }

    fn kept_contexts(&self) -> Result<Vec<BuildCacheEntry>> {
        let contexts = self.state().known_contexts()?;
        let entry = |context: state::KnownContext| BuildCacheEntry {
            id: id_of("context", &context.path.to_string_lossy()),
            parents: Vec::new(),
            kind: CacheKind::SourceLocal,
            description: format!("local source for {}", context.path.display()),
            in_use: false,
            shared: false,
            mutable: true,
            size: context.size,
            created: context.made,
            last_used: context.used,
            uses: context.uses,
            what: What::Context(context.number),
        };
        Ok(contexts.into_iter().map(entry).collect())
    }

    fn kept_mounts(&self) -> Result<Vec<BuildCacheEntry>> {
        let known = self.state().cache_mounts()?.into_iter();
        let mut known: BTreeMap<String, CacheMount> = known.map(|mount| (mount.key.clone(), mount)).collect();
        // Directories without a row are there, too: a loss of power may have taken it.
        for key in self.cache_mount_names() {
            known.entry(key.clone()).or_insert_with(|| CacheMount {
                name: key.clone(),
                key,
                size: 0,
                made: Timestamp::EPOCH,
                used: Timestamp::EPOCH,
                uses: 0,
            });
        }
        let entry = |mount: CacheMount| {
            let path = self.cache_mount_path(&mount.key);
            BuildCacheEntry {
                id: id_of("mount", &mount.key),
                parents: Vec::new(),
                kind: CacheKind::ExecCacheMount,
                description: format!("cached mount {}", mount.name),
                in_use: self.uses_cache_mount(&mount.key),
                shared: false,
                mutable: true,
                // One that was never measured is being used for the first time, or was by who was killed.
                size: if mount.size == 0 { self.allotted(&path, &[]) } else { mount.size },
                created: mount.made,
                last_used: mount.used,
                uses: mount.uses,
                what: What::Mount(mount.key),
            }
        };
        Ok(known.into_values().map(entry).collect())
    }

    /// Bytes of layers that only records name, by which the store is larger than images need.
    pub(crate) fn size_of_own_layers(entries: &[BuildCacheEntry]) -> u64 {
        let own = entries.iter().filter(|entry| entry.what == What::Record && !entry.shared);
        own.map(|entry| entry.size).sum()
    }
}

/// An id for what has no record, of the same form as the ids of records.
fn id_of(kind: &str, name: &str) -> String {
    let digest = Digest::of(format!("{kind} {name}").as_bytes());
    digest.encoded().get(..25).unwrap_or_default().to_owned()
}
