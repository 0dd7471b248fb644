//! Layers unpacked as overlay layers, one directory per stack of layers.
//!
//! ```text
//! <root>/trees/           mode 0700: nobody else walks to a set-user-id program of an image
//!   <chainid>/            what the topmost layer of that stack changed, in overlayfs's terms
//! ```
//!
//! A directory is named by its whole stack, not by its layer, since what it holds depends on what lies below:
//! parents that its tar lacks have the attributes from below, and hard links to files from below are copies. It is
//! unpacked in a scratch directory, synced, and renamed into place; so it is whole or absent.

use super::unpack::Unpacker;
use super::{RootFs, Snapshots};
use crate::error::{Error, Result};
use crate::index::{Layer, merge_layer};
use crate::merge::{Limits, Merger};
use crate::store::{Scratch, Store};
use linux::file::{self, Named as _};
use oci::{ChainId, DiffId, Digest};
use rustix::thread::CapabilitySet;
use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;

/// Unpacks layers for an overlay mount.
#[derive(Clone, Copy, Debug)]
pub struct Trees {
    privilege: Privilege,
}

/// What the process may do, and so what becomes of entries that take more.
///
/// | | ids | device nodes | marks | `trusted.*` | `security.*` |
/// |---|---|---|---|---|---|
/// | `Host` | kept | made | `trusted.overlay.*` | kept | kept |
/// | `UserNamespace` | kept; one that is not mapped is an error | left out | `user.overlay.*` | dropped | kept where the kernel lets us |
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
        let path = std::path::Path::new("/proc/self/ns/user");
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
        Self { privilege }
    }

    /// Unpacks the layers of the stacks that are missing; `stacks` has the path of each layer's stack.
    fn unpack(&self, store: &Store, layers: &[DiffId], stacks: &[PathBuf]) -> Result<()> {
        let files = layers.iter().map(|layer| open_layer(store, layer)).collect::<Result<Vec<File>>>()?;
        let layers: Vec<Layer<'_>> =
            layers.iter().zip(&files).map(|(diff_id, tar)| Layer { diff_id, tar }).collect();
        let trees = store.root().join("trees");
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
        let mut chain: Option<ChainId> = None;
        let mut stacks = Vec::with_capacity(layers.len());
        for layer in layers {
            let stack = chain.map_or_else(|| ChainId::base(layer), |below| below.extend(layer));
            stacks.push(store.root().join("trees").join(stack.digest().encoded()));
            chain = Some(stack);
        }
        let mut wanted = 0;
        for (number, stack) in stacks.iter().enumerate() {
            if !is_there(stack)? {
                wanted = number + 1;
            }
        }
        if wanted > 0 {
            self.unpack(store, &layers[..wanted], &stacks)?;
        }
        stacks.reverse();
        Ok(RootFs::Trees { layers: stacks })
    }
}

fn open_layer(store: &Store, layer: &DiffId) -> Result<File> {
    match file::open(&store.layer_path(layer)) {
        Ok(file) => Ok(file),
        Err(error) if error.is_missing() => {
            Err(Error::NotStored { what: "layer", digest: layer.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

fn is_there(path: &std::path::Path) -> Result<bool> {
    match rustix::fs::lstat(path) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Ok(Err(errno).named("examine", path)?),
    }
}
