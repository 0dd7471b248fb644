//! Stacks of layers that are no image, merged: looked at where they lie, or mounted by an index. Made for a draft, and gone with it.
//!
//! A build stacks layer upon layer. So what was merged last is kept: the next stack is most often one more layer upon it, of which
//! alone something has to be read then. Of those who want the same stack, one merges it and the others wait; nobody waits for another
//! one's. An index lies among the draft's half-done work: nobody wants it after a loss of power, so it is not synced, and no collector
//! knows of it. Its name tells it from every other, also from those of other drafts: whoever mounts one may be given a mount that
//! another has of an index of that name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::{DiffId, Digest, Hasher};

use super::{Draft, derive, size_of};
use crate::error::Result;
use crate::view::View;

/// Merged stacks that are kept: stages are built side by side.
const KEPT: usize = 8;
/// Names in all of them: some 100 bytes each.
const NAMES: usize = 3_000_000;

/// Where something is, once it is; it is made by one, for whom others wait.
type Slot<T> = Arc<Mutex<Option<T>>>;

/// A stack of layers, bottom first.
type Stack = Vec<DiffId>;
/// Where the files of a stack are.
type Viewed = Slot<Arc<View>>;

/// What a draft has of stacks of layers.
#[derive(Debug, Default)]
pub(super) struct Stacked {
    /// Indexes by their layers, and whether they have mount points.
    indexes: Mutex<HashMap<(Stack, bool), Slot<PathBuf>>>,
    /// What was used last stands last.
    views: Mutex<Vec<(Stack, Viewed)>>,
}

impl Draft<'_> {
    /// The files of layers, bottom first.
    ///
    /// # Errors
    /// If a layer is missing, damaged, or does not fit those below it.
    pub fn view(&self, layers: &[DiffId]) -> Result<Arc<View>> {
        let (slot, below) = self.stacked.slots(layers);
        let mut made = open(&slot);
        if let Some(view) = &*made {
            return Ok(Arc::clone(view));
        }
        // Whoever merges what is below waits for nobody with more layers, so no two wait for each other.
        let below = below.and_then(|slot| open(&slot).clone()).unwrap_or_default();
        let further = layers.get(below.depth()..).unwrap_or_default();
        let view = Arc::new(below.with(further, &|layer| self.open_layer(layer))?);
        *made = Some(Arc::clone(&view));
        drop(made);
        self.stacked.let_go();
        Ok(view)
    }

    /// The files of the layers of an image, for its index; none if that is there already.
    ///
    /// # Errors
    /// As [`Draft::view`].
    pub fn view_for(&self, image: &Digest, layers: &[DiffId]) -> Result<Option<Arc<View>>> {
        let has_index = size_of(&self.store().index_path(image))?.is_some();
        if has_index { Ok(None) } else { self.view(layers).map(Some) }
    }

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
        let view = self.view(layers)?;
        let path = self.fresh(&name_of(layers, has_mount_points));
        derive::write_unsynced(self.store(), &view, layers, has_mount_points, &path)?;
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
    /// The place of a stack, and that of the most of its layers that somebody has merged, or is about to.
    fn slots(&self, layers: &[DiffId]) -> (Viewed, Option<Viewed>) {
        let mut views = open(&self.views);
        let below = views.iter().enumerate().filter(|(_, (known, _))| layers.starts_with(known));
        let Some((at, _)) = below.max_by_key(|(_, (known, _))| known.len()) else {
            let slot = Slot::default();
            views.push((layers.to_vec(), Arc::clone(&slot)));
            return (slot, None);
        };
        let used = views.remove(at);
        let (known, slot) = used.clone();
        views.push(used);
        if known.len() == layers.len() {
            return (slot, None);
        }
        let own = Slot::default();
        views.push((layers.to_vec(), Arc::clone(&own)));
        (own, Some(slot))
    }

    /// Keeps no more than may be. Whoever has a view keeps it for himself.
    fn let_go(&self) {
        let mut views = open(&self.views);
        let names = |(_, slot): &(Stack, Viewed)| {
            // One that is being merged counts when it is.
            slot.try_lock().ok().and_then(|view| view.as_ref().map(|view| view.names())).unwrap_or(0)
        };
        while views.len() > KEPT || views.len() > 1 && views.iter().map(names).sum::<usize>() > NAMES {
            views.remove(0);
        }
    }
}

/// Nothing is half-changed where somebody panicked: what is not whole is not there.
fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
