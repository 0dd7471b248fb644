//! From staged to stored: what a load or import has made, until it is renamed into place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use linux::file::{self, Named as _};
use oci::{DiffId, Digest};

use super::effects::Faults;
use super::lease::Lease;
use super::{Hold, Live, Making, Scratch, Store, derive, partial, size_of};
use crate::error::Result;
use crate::index;
use crate::ingest::Windows;

/// Layers that are being synced at once at most.
const SYNCS: usize = 4;

/// Content that is whole but not yet in the store. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    store: &'a Store,
    syncs: Mutex<VecDeque<Syncing>>,
    scratch: Scratch,
    lease: Lease,
    windows: Windows,
    /// Layers that are published as soon as they are synced.
    early: Mutex<BTreeSet<DiffId>>,
    layers: BTreeMap<DiffId, PathBuf>,
    documents: BTreeMap<Digest, PathBuf>,
    indexes: BTreeMap<Digest, PathBuf>,
    /// Of documents that were asked for, new or not.
    algorithms: BTreeSet<String>,
    /// What is merged already of an image whose index is not written yet.
    ahead: Option<index::Ahead>,
}

impl<'a> Staged<'a> {
    /// Makes a scratch directory.
    pub(crate) fn new(store: &'a Store) -> Result<Self> {
        let scratch = Scratch::new(store)?;
        Ok(Self {
            store,
            syncs: Mutex::default(),
            scratch,
            lease: Lease::default(),
            windows: Windows::default(),
            early: Mutex::default(),
            layers: BTreeMap::new(),
            documents: BTreeMap::new(),
            indexes: BTreeMap::new(),
            algorithms: BTreeSet::new(),
            ahead: None,
        })
    }

    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Keeps what is named, or will be there, from being collected until this is published or dropped. To be called before
    /// it is looked for: what was there a moment before may be gone.
    pub(crate) fn lease(&mut self, wanted: &Live) -> Result<()> {
        self.lease.add(self.store, self.scratch.path(), wanted)
    }

    /// The memory that decoders share.
    pub(crate) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Syncs a new layer while others are still read and the index is built. [`Staged::publish`] waits for
    /// it.
    pub(crate) fn sync_meanwhile(&self, path: &Path) {
        self.meanwhile(path, |_| Ok(()));
    }

    /// Syncs a new layer, which is leased, and publishes it before its image: others find it then, also when this fails.
    pub(crate) fn publish_meanwhile(&self, layer: &DiffId, path: &Path, making: Making) {
        self.early.lock().unwrap_or_else(PoisonError::into_inner).insert(layer.clone());
        let (source, target) = (path.to_owned(), self.store.layer_path(layer));
        self.meanwhile(path, move |effects| {
            if effects.rename_new(&source, &target)? {
                make_immutable(&target);
            }
            drop(making);
            Ok(())
        });
    }

    fn meanwhile(&self, path: &Path, then: impl FnOnce(&Faults) -> file::Result<()> + Send + 'static) {
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if syncs.len() < SYNCS { None } else { syncs.pop_front() };
        let effects = self.store.effects().clone();
        let path = path.to_owned();
        syncs.push_back(Syncing::begin(move || {
            oldest.map_or(Ok(()), join)?;
            effects.sync(&file::open(&path)?, &path)?;
            then(&effects)
        }));
    }

    /// Waits until what is whole is published. For one that has failed: what is published serves the next attempt.
    pub(crate) fn settle(&self) {
        for sync in self.syncs.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Err(error) = join(sync) {
                tracing::debug!(%error, source = %error.source, "a layer that was whole is lost");
            }
        }
    }

    /// Takes a file in the scratch directory as that layer's tar.
    pub(crate) fn add_layer(&mut self, layer: DiffId, path: PathBuf) {
        self.layers.entry(layer).or_insert(path);
    }

    /// Opens a layer's tar where it lies by now: staged, or in the store. It may be published meanwhile.
    fn open_layer(&self, layer: &DiffId) -> Result<File> {
        self.open_staged(layer, self.layers.get(layer).map(PathBuf::as_path))
    }

    /// The same where it is known at which path it was staged, if it was.
    pub(crate) fn open_staged(&self, layer: &DiffId, path: Option<&Path>) -> Result<File> {
        if let Some(path) = path {
            match file::open(path) {
                Err(error) if error.is_missing() => {}
                opened => return Ok(opened?),
            }
        }
        derive::open(self.store, layer)
    }

    /// Stages a document under its own digest, which has been checked; it is leased.
    pub(crate) fn add_document(&mut self, digest: &Digest, content: &[u8]) -> Result<()> {
        self.algorithms.insert(digest.algorithm_name().to_owned());
        if self.documents.contains_key(digest) || size_of(&self.store.blob_path(digest))?.is_some() {
            return Ok(());
        }
        let path = self.scratch.fresh("document");
        let effects = self.store.effects();
        let file = effects.create(&path, 0o400)?;
        effects.write(&file, content, &path)?;
        effects.sync(&file, &path)?;
        self.documents.insert(digest.clone(), path);
        Ok(())
    }

    /// Takes what is merged already of an image whose index will be asked for.
    pub(crate) fn merged(&mut self, ahead: Option<index::Ahead>) {
        self.ahead = ahead;
    }

    /// Builds the merged index of an image from its layers, unless it is there; it is leased.
    pub(crate) fn add_index(&mut self, image: &Digest, layers: &[DiffId]) -> Result<()> {
        if self.indexes.contains_key(image) || size_of(&self.store.index_path(image))?.is_some() {
            return Ok(());
        }
        let path = self.scratch.fresh("index");
        let tars = layers.iter().map(|layer| self.open_layer(layer)).collect::<Result<Vec<File>>>()?;
        let ahead = self.ahead.take_if(|ahead| ahead.begins(layers)).unwrap_or_default();
        derive::write(self.store, ahead, (layers, &tars), &path)?;
        self.indexes.insert(image.clone(), path);
        Ok(())
    }

    /// Renames everything into place and syncs the directories. The hold takes the lease's place until the names are
    /// committed.
    pub(crate) fn publish(self) -> Result<Hold> {
        let store = self.store;
        for sync in self.syncs.into_inner().unwrap_or_else(PoisonError::into_inner) {
            join(sync)?;
        }
        let hold = store.hold()?;
        let early = self.early.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (layer, path) in self.layers.iter().filter(|(layer, _)| !early.contains(*layer)) {
            let target = store.layer_path(layer);
            if store.effects().rename_new(path, &target)? {
                make_immutable(&target);
            }
        }
        for (digest, path) in &self.documents {
            let target = store.blob_path(digest);
            if let Some(directory) = target.parent()
                && store.effects().create_dir(directory)?
            {
                store.effects().sync_dir(&store.root().join("blobs"))?;
            }
            store.effects().rename_new(path, &target)?;
        }
        for (image, path) in &self.indexes {
            store.effects().rename_new(path, &store.index_path(image))?;
        }
        // Even where all of it was there already: whoever renamed it may not have synced it yet.
        store.effects().sync_dir(&store.layers())?;
        store.effects().sync_dir(&store.images())?;
        for algorithm in &self.algorithms {
            store.effects().sync_dir(&store.root().join("blobs").join(algorithm))?;
        }
        partial::finish(store, self.lease.layers());
        Ok(hold)
    }
}

/// A layer that is synced beside the other work.
#[derive(Debug)]
enum Syncing {
    Begun(JoinHandle<file::Result<()>>),
    /// At once, where no thread was to be had.
    Done(file::Result<()>),
}

impl Syncing {
    fn begin(work: impl FnOnce() -> file::Result<()> + Send + 'static) -> Self {
        // The thread first: one that there is not must not take the work with it.
        let (sender, receiver) = channel::<Box<dyn FnOnce() -> file::Result<()> + Send>>();
        match Builder::new().spawn(move || receiver.recv().map_or(Ok(()), |work| work())) {
            Err(_) => Syncing::Done(work()),
            Ok(thread) => {
                drop(sender.send(Box::new(work)));
                Syncing::Begun(thread)
            }
        }
    }
}

fn join(sync: Syncing) -> file::Result<()> {
    match sync {
        Syncing::Begun(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Syncing::Done(done) => done,
    }
}

/// Keeps even root from changing a layer by accident. Best effort: it takes a privilege and a file system
/// that can.
pub(super) fn make_immutable(path: &Path) {
    let marked =
        file::open(path).and_then(|file| file::set_immutable(&file, true).named("mark as immutable", path));
    if let Err(error) = marked {
        tracing::debug!(%error, source = %error.source, "layer is not guarded");
    }
}

/// Lifts the flag that guards a layer's tar, so that another can take its place.
pub(super) fn release(path: &Path) {
    if let Ok(file) = file::open(path) {
        drop(file::set_immutable(&file, false));
    }
}

/// Removes a layer's tar, lifting the flag that guards it; tells whether it was there.
pub(super) fn remove_layer(store: &Store, path: &Path) -> Result<bool> {
    match file::open(path) {
        Ok(file) => drop(file::set_immutable(&file, false)),
        Err(error) if error.is_missing() => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(store.effects().remove(path)?)
}
