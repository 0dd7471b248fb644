//! Layers that are whole, and that nobody but their draft knows: the next step of a build goes on with one while it is on its way to the
//! disk.
//!
//! ```text
//! tmp/<scratch>/layer-7 ──publish: synced──► linked into layers/ ──layers/ synced──► may be named
//!                                                    └──the draft ends──► has no name but that one, and is guarded
//! ```
//!
//! What must hold:
//! - Nothing is in `layers/` that is not synced: whoever finds it there may name it.
//! - A path that was handed out is good as long as the draft lives, whoever publishes meanwhile. So the file is linked instead of
//!   renamed, and gets the flag that guards it when it has lost its other name, which it could not lose with it.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci::DiffId;

use super::draft::Draft;
use super::layer::HalfDone;
use super::{Faults, derive, publish, size_of};
use crate::error::Result;

/// The layers of a draft that it has made.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<DiffId, Arc<Layer>>>);

/// A tar that is written to its end.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) half_done: HalfDone,
    pub(super) file: Arc<File>,
    pub(super) size: u64,
}

#[derive(Debug)]
struct Layer {
    half_done: HalfDone,
    size: u64,
    /// Held while it is brought into the store.
    state: Mutex<State>,
    /// It is in the store alone: the file system knows no second names.
    is_moved: AtomicBool,
}

/// How far a layer has come.
#[derive(Debug)]
enum State {
    Here(Arc<File>),
    /// It has this name in the store, too.
    Linked(PathBuf),
    /// It is in the store, or somebody else has put one like it there.
    There,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<DiffId, Arc<Layer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, layer: &DiffId) -> Option<Arc<Layer>> {
        self.lock().get(layer).cloned()
    }

    /// Adds a layer, unless it is known: equal names mean equal content.
    pub(super) fn add(&self, layer: &DiffId, whole: Whole) {
        let Whole { half_done, file, size } = whole;
        let state = Mutex::new(State::Here(file));
        let made = || Arc::new(Layer { half_done, size, state, is_moved: AtomicBool::new(false) });
        self.lock().entry(layer.clone()).or_insert_with(made);
    }
}

impl Layer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_moved(&self) -> bool {
        self.is_moved.load(Ordering::Relaxed)
    }

    /// Puts it into the store, whose directory is to be synced then.
    fn place(&self, file: &File, target: PathBuf, effects: &Faults) -> Result<State> {
        let path = &self.half_done.0;
        effects.sync(file, path)?;
        match effects.link_new(path, &target) {
            Ok(true) => Ok(State::Linked(target)),
            Ok(false) => Ok(State::There),
            Err(error) if knows_no_links(&error) => {
                if effects.rename_new(path, &target)? {
                    self.is_moved.store(true, Ordering::Relaxed);
                    publish::make_immutable(&target);
                }
                Ok(State::There)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        if let State::Linked(path) = &*self.state() {
            drop(linux::file::remove_if_exists(&self.half_done.0));
            publish::make_immutable(path);
        }
    }
}

fn knows_no_links(error: &linux::file::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(&error.source);
    matches!(errno, Some(rustix::io::Errno::PERM | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS))
}

impl Draft<'_> {
    /// Puts a layer into the store for good, if it is not there: it may be named from then on. Any thread may; of two who publish the
    /// same layer one waits for the other.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub fn publish(&self, layer: &DiffId) -> Result<()> {
        let store = self.store();
        let Some(pending) = self.pending.find(layer) else {
            // Even where it was there: whoever put it there may not have synced the directory yet.
            return Ok(store.effects().sync_dir(&store.layers())?);
        };
        let mut state = pending.state();
        if let State::Here(file) = &*state {
            let placed = pending.place(file, store.layer_path(layer), store.effects())?;
            store.effects().sync_dir(&store.layers())?;
            *state = placed;
        }
        Ok(())
    }

    /// Publishes those of some layers that the draft has made.
    ///
    /// # Errors
    /// As [`Draft::publish`].
    pub fn publish_own(&self, layers: &[DiffId]) -> Result<()> {
        layers
            .iter()
            .filter(|layer| self.pending.find(layer).is_some())
            .try_for_each(|layer| self.publish(layer))
    }

    /// Where a layer's tar lies, as long as the draft lives: in the store, or among what it has made.
    #[must_use]
    pub fn layer_path(&self, layer: &DiffId) -> PathBuf {
        match self.pending.find(layer) {
            Some(pending) if !pending.is_moved() => pending.half_done.0.clone(),
            _ => self.store().layer_path(layer),
        }
    }

    /// The size of a layer's tar in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// If the file cannot be examined.
    pub fn layer_size(&self, layer: &DiffId) -> Result<Option<u64>> {
        match self.pending.find(layer) {
            Some(pending) => Ok(Some(pending.size)),
            None => size_of(&self.store().layer_path(layer)),
        }
    }

    /// Opens a layer's tar.
    pub(super) fn open_layer(&self, layer: &DiffId) -> Result<File> {
        match self.pending.find(layer) {
            Some(_) => Ok(linux::file::open(&self.layer_path(layer))?),
            None => derive::open(self.store(), layer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{LayerWriter, LoadedLayer, Store};

    fn written<'d, 's>(draft: &'d Draft<'s>, content: &[u8]) -> LayerWriter<'d, 's> {
        let mut layer = draft.layer().unwrap();
        layer.write_all(content).unwrap();
        layer
    }

    fn handed_in(draft: &Draft<'_>, content: &[u8]) -> LoadedLayer {
        written(draft, content).hand_in().unwrap()
    }

    fn links(path: &std::path::Path) -> u64 {
        rustix::fs::stat(path).map_or(0, |stat| stat.st_nlink)
    }

    #[test]
    fn a_layer_is_the_drafts_alone_until_it_is_published() {
        let folder = testkit::Scratch::new();
        let store = Store::open(folder.as_ref()).unwrap();
        let (draft, other) = (store.draft().unwrap(), store.draft().unwrap());
        let layer = handed_in(&draft, b"one").diff_id;
        let (early, target) = (draft.layer_path(&layer), store.layer_path(&layer));
        assert_eq!((draft.layer_size(&layer).unwrap(), other.layer_size(&layer).unwrap()), (Some(3), None));
        // Made again meanwhile, it is the same.
        assert_eq!(handed_in(&draft, b"one").diff_id, layer);
        assert_eq!(draft.layer_path(&layer), early);

        draft.publish(&layer).unwrap();
        draft.publish(&layer).unwrap();
        assert_eq!(other.layer_size(&layer).unwrap(), Some(3));
        assert_eq!(other.layer_path(&layer), target);
        // Who was told of it before finds it still.
        assert_eq!(linux::file::read(&early).unwrap(), b"one");
        assert_eq!((links(&early), links(&target)), (2, 2));
        drop(draft);
        assert_eq!((links(&early), links(&target)), (0, 1));
        assert!(linux::file::remove(&target).is_err(), "it is not guarded");
        drop(other);
        linux::file::set_immutable(linux::file::open(&target).unwrap(), false).unwrap();
    }

    #[test]
    fn what_is_not_published_goes_with_its_draft() {
        let folder = testkit::Scratch::new();
        let store = Store::open(folder.as_ref()).unwrap();
        let draft = store.draft().unwrap();
        let layer = handed_in(&draft, b"two").diff_id;
        drop(draft);
        assert_eq!(store.layer_size(&layer).unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn of_two_drafts_that_make_the_same_both_go_on() {
        let folder = testkit::Scratch::new();
        let store = Store::open(folder.as_ref()).unwrap();
        let (one, other) = (store.draft().unwrap(), store.draft().unwrap());
        let layers = [handed_in(&one, b"same").diff_id, handed_in(&other, b"same").diff_id];
        assert_eq!(layers[0], layers[1]);
        one.publish(&layers[0]).unwrap();
        other.publish(&layers[0]).unwrap();
        for draft in [&one, &other] {
            assert_eq!(linux::file::read(&draft.layer_path(&layers[0])).unwrap(), b"same");
        }
        drop(one);
        assert_eq!(linux::file::read(&other.layer_path(&layers[0])).unwrap(), b"same");
        drop(other);
        assert_eq!(linux::file::read(&store.layer_path(&layers[0])).unwrap(), b"same");
        let target = store.layer_path(&layers[0]);
        linux::file::set_immutable(linux::file::open(&target).unwrap(), false).unwrap();
    }

    #[test]
    fn a_layer_whose_publication_failed_is_published_by_the_next_attempt() {
        // The file, a lease, its lines, the bytes; then the sync, the link, the directory.
        for nth in 1..=20 {
            let folder = testkit::Scratch::new();
            let faults = Faults::at(nth, crate::store::Fault::Error);
            let store = Store::open_with(folder.as_ref(), faults.clone()).unwrap();
            let Ok(draft) = store.draft() else { continue };
            let attempt = || -> Result<DiffId> {
                let mut layer = draft.layer()?;
                layer.write_all(b"three").map_err(|source| crate::Error::Write { source })?;
                let layer = layer.hand_in()?.diff_id;
                draft.publish(&layer)?;
                Ok(layer)
            };
            let first = attempt();
            assert_eq!(first.is_err(), faults.struck(), "effect {nth}");
            if !faults.struck() {
                assert!(nth > 6, "there are more effects than {nth}");
                return;
            }
            let layer = attempt().unwrap();
            assert_eq!(linux::file::read(&store.layer_path(&layer)).unwrap(), b"three");
        }
        panic!("one attempt has more effects than these");
    }
}
