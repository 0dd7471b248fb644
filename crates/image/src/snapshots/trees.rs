//! Layers unpacked as overlay layers, one directory per stack of layers.
//!
//! ```text
//! <root>/trees/           mode 0700: nobody else walks to a set-user-id program of an image
//!   <chainid>/            what the topmost layer of that stack changed, in overlayfs's terms
//!   <chainid>.<ids>/      the same in a user namespace: owners on disk are what `ids` names makes of the image's
//!   replaced-…/           was unpacked from a layer that was bad: kept for who has it mounted, until he ends
//!   removed-…/            on its way out: no name that anybody mounts, so that a removal may stop anywhere
//! ```
//!
//! A directory is named by its whole stack, not by its layer, since what it holds depends on what lies below:
//! parents that its tar lacks have the attributes from below, and hard links to files from below are copies. It is
//! unpacked in a scratch directory, synced, and renamed into place; so it is whole or absent.
//!
//! Where the files of an image have owners that only a user namespace can give them, all of this happens inside one,
//! in a process of its own: this module does not make it, it only asks ([`Privilege::of_this_process`]) where it is.
//! Whoever is outside asks [`Trees::is_ready`] first, which takes no more than to look.

use super::unpack::Unpacker;
use super::{RootFs, Snapshots};
use crate::error::{Error, Result};
use crate::index::{Layer, merge_layer};
use crate::merge::{Limits, Merger};
use crate::stop::Stop;
use crate::store::{Scratch, Store};
use linux::file::{self, Named as _};
use oci::{ChainId, DiffId, Digest};
use rustix::thread::CapabilitySet;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Unpacks layers for an overlay mount.
#[derive(Clone, Debug)]
pub struct Trees {
    privilege: Privilege,
    ids: Option<String>,
}

/// What the process may do, and so what becomes of entries that take more.
///
/// | | ids | device nodes | marks | `trusted.*` | `security.*` |
/// |---|---|---|---|---|---|
/// | `Host` | kept | made | `trusted.overlay.*` | kept | kept |
/// | `UserNamespace` | kept; one that is not mapped is [`Error::NoSuchId`] | left out | `user.overlay.*` | dropped | kept where the kernel lets us: capabilities are, bound to the namespace's root |
/// | `None` | all become the caller's | left out | `user.overlay.*` | dropped | dropped |
///
/// A device node that is left out hides what lower layers have in its place. With `None`, directories
/// keep read, write and search permission for their owner, who could not remove them otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Root in the initial user namespace.
    Host,
    /// Root in another user namespace.
    UserNamespace,
    /// Anyone else.
    None,
}

impl Privilege {
    /// What this process may do.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn of_this_process() -> Result<Self> {
        // The inode number of the initial user namespace is part of the kernel's interface.
        const INITIAL: u64 = 0xeffffffd;
        let path = Path::new("/proc/self/ns/user");
        let namespace = rustix::fs::stat(path).named("examine", path)?;
        let capabilities = rustix::thread::capabilities(None).named("examine", path)?.effective;
        let has = |set| capabilities.contains(set);
        Ok(match namespace.st_ino == INITIAL {
            true if has(CapabilitySet::SYS_ADMIN | CapabilitySet::CHOWN | CapabilitySet::MKNOD) => Self::Host,
            false if has(CapabilitySet::SYS_ADMIN | CapabilitySet::CHOWN) => Self::UserNamespace,
            _ => Self::None,
        })
    }
}

impl Trees {
    /// Unpacks as far as `privilege` goes.
    #[must_use]
    pub fn new(privilege: Privilege) -> Self {
        Self { privilege, ids: None }
    }

    /// Trees whose files have the owners that a user namespace's map gives them; `ids` is a name for that map, of letters
    /// and digits. With another map the same layers are other trees.
    #[must_use]
    pub fn in_user_namespace(ids: impl Into<String>) -> Self {
        Self { privilege: Privilege::UserNamespace, ids: Some(ids.into()) }
    }

    /// What to mount once the layers, bottom first, are unpacked.
    #[must_use]
    pub fn root(&self, store: &Store, layers: &[DiffId]) -> RootFs {
        let mut stacks = self.stacks(store, layers);
        stacks.reverse();
        RootFs::Trees { layers: stacks }
    }

    /// Whether nothing is left to unpack.
    ///
    /// # Errors
    /// If the trees cannot be examined.
    pub fn is_ready(&self, store: &Store, layers: &[DiffId]) -> Result<bool> {
        Ok(missing(&self.stacks(store, layers))? == 0)
    }

    /// The path of each layer's stack, bottom first.
    fn stacks(&self, store: &Store, layers: &[DiffId]) -> Vec<PathBuf> {
        let trees = store.trees();
        let mut chain: Option<ChainId> = None;
        let mut stacks = Vec::with_capacity(layers.len());
        for layer in layers {
            let stack = chain.map_or_else(|| ChainId::base(layer), |below| below.extend(layer));
            let name = stack.digest().encoded();
            stacks.push(match &self.ids {
                Some(ids) => trees.join(format!("{name}.{ids}")),
                None => trees.join(name),
            });
            chain = Some(stack);
        }
        stacks
    }

    /// Unpacks the layers of the stacks that are missing; `stacks` has the path of each layer's stack.
    fn unpack(&self, store: &Store, layers: &[DiffId], stacks: &[PathBuf]) -> Result<()> {
        let files = layers.iter().map(|layer| open_layer(store, layer)).collect::<Result<Vec<File>>>()?;
        let layers: Vec<Layer<'_>> =
            layers.iter().zip(&files).map(|(diff_id, tar)| Layer { diff_id, tar }).collect();
        let trees = store.trees();
        file::create_dir(&trees, 0o700)?;
        let scratch = Scratch::new(store)?;
        let mut bytes = 0;
        for (layer, file) in layers.iter().zip(&files) {
            bytes += file.metadata().named("examine", &store.layer_path(layer.diff_id))?.len();
        }
        let budget = Cell::new(bytes);
        let mut merger = Merger::new(Limits::default());
        for (number, layer) in layers.iter().enumerate() {
            merge_layer(&mut merger, layer).map_err(|source| Error::Index { source })?;
            if is_there(&stacks[number])? {
                continue;
            }
            let path = scratch.fresh("tree");
            let changes = merger.changes();
            let unpacker = Unpacker::new(&changes, &layers, layer.diff_id, self.privilege, &budget);
            let tree = unpacker.unpack(&path)?;
            // One for all its files, whose number makes a sync of each too slow.
            rustix::fs::syncfs(&tree).named("sync", &path)?;
            // Another process may have been faster; its tree is the same.
            store.effects().rename_new(&path, &stacks[number])?;
        }
        Ok(store.effects().sync_dir(&trees)?)
    }
}

impl Snapshots for Trees {
    fn prepare(&self, store: &Store, _image: &Digest, layers: &[DiffId]) -> Result<RootFs> {
        let stacks = self.stacks(store, layers);
        let wanted = missing(&stacks)?;
        if wanted > 0 {
            self.unpack(store, &layers[..wanted], &stacks)?;
        }
        Ok(self.root(store, layers))
    }
}

/// Unpacks one layer, whose tar lies at `path`, into the new directory `target`, as it is upon nothing, and syncs it. What `target` lies in is nobody
/// else's.
///
/// # Errors
/// If the layer is missing from the store or damaged, something cannot be written, or it is to stop.
pub fn unpack_alone(
    path: &Path,
    layer: &DiffId,
    target: &Path,
    privilege: Privilege,
    stop: &Stop<'_>,
) -> Result<()> {
    let tar = open_at(path, layer)?;
    let bytes = tar.metadata().named("examine", path)?.len();
    let layers = [Layer { diff_id: layer, tar: &tar }];
    let mut merger = Merger::new(Limits::default());
    merge_layer(&mut merger, &layers[0]).map_err(|source| Error::Index { source })?;
    let (changes, budget) = (merger.changes(), Cell::new(bytes));
    let unpacker = Unpacker::new(&changes, &layers, layer, privilege, &budget).stopped_by(stop);
    let tree = unpacker.unpack(target)?;
    rustix::fs::syncfs(&tree).named("sync", target)?;
    Ok(())
}

/// How many stacks, from the bottom, reach up to the topmost one that is missing.
fn missing(stacks: &[PathBuf]) -> Result<usize> {
    let mut wanted = 0;
    for (number, stack) in stacks.iter().enumerate() {
        if !is_there(stack)? {
            wanted = number + 1;
        }
    }
    Ok(wanted)
}

fn open_layer(store: &Store, layer: &DiffId) -> Result<File> {
    open_at(&store.layer_path(layer), layer)
}

fn open_at(path: &Path, layer: &DiffId) -> Result<File> {
    match file::open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.is_missing() => {
            Err(Error::NotStored { what: "layer", digest: layer.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

fn is_there(path: &Path) -> Result<bool> {
    match rustix::fs::lstat(path) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Ok(Err(errno).named("examine", path)?),
    }
}
