//! Merged indexes of layers that are no image: made for a draft, and gone with it.
//!
//! A build stacks layer upon layer, and looks at most stacks once. So what was merged last is kept: the next stack is most
//! often one more layer upon it, of which alone something has to be read then. An index lies among the draft's half-done
//! work: nobody wants it after a loss of power, so it is not synced, and no collector knows of it. Its name tells it from every
//! other, also from those of other drafts: whoever mounts one may be given a mount that another has of an index of that name.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{DiffId, Hasher};

use super::{Draft, derive};
use crate::error::{Error, Result};
use crate::index::Ahead;

/// Merged stacks that are kept: stages are built side by side.
const KEPT: usize = 4;
/// Names of a stack beyond which it is not kept: some 60 bytes each.
const LARGE: usize = 500_000;

/// Where an index is, once it is; it is made by one, for whom others wait.
type Slot = Arc<Mutex<Option<PathBuf>>>;

/// What a draft has of stacks of layers.
#[derive(Debug, Default)]
pub(super) struct Stacked {
    /// Indexes by their layers, and whether they have mount points.
    indexes: Mutex<HashMap<(Vec<DiffId>, bool), Slot>>,
    /// The last first.
    merged: Mutex<VecDeque<Ahead>>,
}

impl Draft<'_> {
    /// The merged index of layers, bottom first, which the draft keeps; as they are, or with the places that every container
    /// has something mounted on. A mount names the layers' tars in the same order.
    ///
    /// # Errors
    /// If a layer is missing or damaged, or the index cannot be written.
    pub fn index(&self, layers: &[DiffId], has_mount_points: bool) -> Result<PathBuf> {
        let key = (layers.to_vec(), has_mount_points);
        let slot = Arc::clone(open(&self.stacked.indexes).entry(key).or_default());
        let mut made = open(&slot);
        if let Some(path) = &*made {
            return Ok(path.clone());
        }
        let store = self.store();
        let tars = derive::open_all(store, layers)?;
        let mut ahead = self.stacked.begun(layers);
        derive::merge(&mut ahead, (layers, &tars)).map_err(|source| Error::Index { source })?;
        self.stacked.keep(&ahead);
        let path = self.fresh(&name_of(layers, has_mount_points));
        derive::write_unsynced(store, ahead, (layers, &tars), has_mount_points, &path)?;
        *made = Some(path.clone());
        Ok(path)
    }
}

/// What an index is called: whatever has the same name is the same.
fn name_of(layers: &[DiffId], has_mount_points: bool) -> String {
    let mut hasher = Hasher::sha256();
    layers.iter().for_each(|layer| hasher.update(format!("{layer}\n").as_bytes()));
    let kind = if has_mount_points { "whole" } else { "plain" };
    format!("{kind}-{}", hasher.finish().encoded())
}

impl Stacked {
    /// The most of these layers that is merged already.
    fn begun(&self, layers: &[DiffId]) -> Ahead {
        let merged = open(&self.merged);
        let fitting = merged.iter().filter(|ahead| ahead.begins(layers));
        fitting.max_by_key(|ahead| ahead.depth()).cloned().unwrap_or_default()
    }

    fn keep(&self, ahead: &Ahead) {
        if ahead.names() > LARGE {
            return;
        }
        let mut merged = open(&self.merged);
        merged.push_front(ahead.clone());
        merged.truncate(KEPT);
    }
}

/// Nothing is half-changed where somebody panicked: an index that is not whole has no path.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
