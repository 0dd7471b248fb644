//! Collection of garbage: what no name leads to is removed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::file::{self, Named as _};
use oci::{ChainId, DiffId, Digest};

use super::{Store, lease, partial, publish, scratch, size_of};
use crate::error::Result;

/// What must stay. Images of containers count as well as named ones.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub(super) documents: HashSet<String>,
    pub(super) layers: HashSet<String>,
    pub(super) images: HashSet<String>,
    pub(super) chains: HashSet<String>,
    mounted: HashSet<String>,
}

impl Live {
    /// Keeps an image: its config, its layers, its index, and every tree that a stack of its layers makes.
    pub fn image(&mut self, id: &Digest, layers: &[DiffId]) {
        self.document(id);
        self.images.insert(id.encoded().to_owned());
        layers.iter().for_each(|layer| self.layer(layer));
        self.chains.extend(stacks(layers));
    }

    /// Keeps layers, base first, and every tree that a stack of them makes.
    pub fn stack(&mut self, layers: &[DiffId]) {
        layers.iter().for_each(|layer| self.layer(layer));
        self.chains.extend(stacks(layers));
    }

    /// Keeps the trees that have been replaced by good ones of these layers, base first: somebody may have them mounted.
    pub fn mounted(&mut self, layers: &[DiffId]) {
        self.mounted.extend(stacks(layers));
    }

    /// Keeps a document, such as an image's manifest.
    pub fn document(&mut self, digest: &Digest) {
        self.documents.insert(digest.encoded().to_owned());
    }

    /// Keeps a layer.
    pub fn layer(&mut self, layer: &DiffId) {
        self.layers.insert(layer.digest().encoded().to_owned());
    }
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers, by the encoded part of their digest.
    pub layers: Vec<String>,
    /// Documents, likewise.
    pub documents: Vec<String>,
    /// Indexes and trees, which could be made anew.
    pub derived: usize,
    /// Bytes of all files removed.
    pub bytes: u64,
}

/// The only one who removes from the store, while nobody publishes: what is not live, and nobody who lives has leased, is
/// garbage. Ask for it **before** looking up what is live.
#[derive(Debug)]
#[must_use]
pub struct Collector<'a> {
    store: &'a Store,
    all: bool,
    _alone: OwnedFd,
}

impl<'a> Collector<'a> {
    pub(super) fn new(store: &'a Store, alone: OwnedFd) -> Self {
        Self { store, all: false, _alone: alone }
    }

    /// Removes also what was begun and could be gone on with; but nothing that somebody is at work on.
    pub fn with_begun(self) -> Self {
        Self { all: true, ..self }
    }

    /// Removes what is neither live nor leased, and what dead processes left half-done.
    ///
    /// It may be interrupted anywhere and run again. Files that have no name of the store's are left alone.
    ///
    /// # Errors
    /// If something cannot be listed or removed.
    pub fn collect(self, live: &Live) -> Result<Collected> {
        let store = self.store;
        let mut live = live.clone();
        let leased = lease::of_the_living(store)?;
        let (begun, bytes) = partial::collect(store, self.all, &leased.layers)?;
        live.layers.extend(begun);
        live.layers.extend(leased.layers);
        live.documents.extend(leased.documents);
        live.images.extend(leased.images);
        live.chains.extend(leased.chains);
        let live = &live;
        let mut collected = Collected { bytes, ..Collected::default() };
        // What is derived goes first: an index without its layers would be of no use to anybody.
        for name in names(&store.images())? {
            if let Some(id) = name.strip_suffix(".erofs")
                && !live.images.contains(id)
            {
                let path = store.images().join(&name);
                collected.bytes += size_of(&path)?.unwrap_or(0);
                collected.derived += usize::from(store.effects().remove(&path)?);
            }
        }
        let trees = unname_trees(store, live, &mut collected)?;
        for name in names(&store.layers())? {
            if let Some(layer) = name.strip_suffix(".tar")
                && !live.layers.contains(layer)
            {
                let path = store.layers().join(&name);
                collected.bytes += size_of(&path)?.unwrap_or(0);
                if publish::remove_layer(store, &path)? {
                    collected.layers.push(layer.to_owned());
                }
            }
        }
        let blobs = store.root().join("blobs");
        for algorithm in names(&blobs)? {
            for name in names(&blobs.join(&algorithm))? {
                if !live.documents.contains(&name) {
                    let path = blobs.join(&algorithm).join(&name);
                    collected.bytes += size_of(&path)?.unwrap_or(0);
                    if store.effects().remove(&path)? {
                        collected.documents.push(name);
                    }
                }
            }
        }
        // Last, since it may fail: the files in them may belong to ids that this user has no more.
        store.remover.remove(&trees)?;
        scratch::sweep(store)?;
        tracing::debug!(layers = collected.layers.len(), bytes = collected.bytes, "collected garbage");
        Ok(collected)
    }
}

/// What the trees of a stack of layers are called by, that of the base first.
pub(super) fn stacks(layers: &[DiffId]) -> Vec<String> {
    let mut stacks = Vec::with_capacity(layers.len());
    let mut chain: Option<ChainId> = None;
    for layer in layers {
        let stack = chain.map_or_else(|| ChainId::base(layer), |below| below.extend(layer));
        stacks.push(stack.digest().encoded().to_owned());
        chain = Some(stack);
    }
    stacks
}

/// What begins the name of a tree on its way out.
const REMOVED: &str = "removed-";
/// What begins the name of one that was unpacked from a bad layer, and may be mounted by who runs since before.
pub(super) const REPLACED: &str = "replaced-";

/// The stack of layers of which `name` is a tree, whatever ids it was unpacked with.
pub(super) fn stack_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(stack, _)| stack)
}

/// The tree that has been replaced under this name, without the number.
pub(super) fn replaced(name: &str) -> Option<&str> {
    Some(name.strip_prefix(REPLACED)?.split_once('-')?.1)
}

/// Takes their names from the trees that are not live, and finds those that lost theirs before; they are to be removed.
///
/// A name goes in one step: a tree is never found half removed by who asks for it again.
fn unname_trees(store: &Store, live: &Live, collected: &mut Collected) -> Result<Vec<PathBuf>> {
    let trees = store.trees();
    let mut unnamed = Vec::new();
    for name in names(&trees)? {
        if name.starts_with(REMOVED) {
            unnamed.push(trees.join(name));
            continue;
        }
        let is_garbage = match replaced(&name) {
            Some(was) => !live.mounted.contains(stack_of(was)),
            None => is_encoded(stack_of(&name)) && !live.chains.contains(stack_of(&name)),
        };
        if is_garbage {
            unnamed.push(unname(store, &trees, &name)?);
            collected.derived += 1;
        }
    }
    Ok(unnamed)
}

/// Renames a tree to what no other one is called.
pub(super) fn unname(store: &Store, trees: &Path, name: &str) -> Result<PathBuf> {
    rename(store, trees, name, REMOVED)
}

/// Gives a tree a name that begins with `prefix`.
pub(super) fn rename(store: &Store, trees: &Path, name: &str, prefix: &str) -> Result<PathBuf> {
    for number in 0_u32.. {
        // One of that name may be there since before.
        let new = trees.join(format!("{prefix}{number}-{name}"));
        if store.effects().rename_new(&trees.join(name), &new)? {
            return Ok(new);
        }
    }
    Ok(trees.join(name))
}

fn is_encoded(name: &str) -> bool {
    name.len() >= 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The names in a directory, sorted; none if it does not exist. Names that are not UTF-8 are not ours.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let directory = match file::open(path) {
        Ok(directory) => directory,
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory).named("list", path)? {
        let entry = entry.named("list", path)?;
        if let Some(name) = OsStr::from_bytes(entry.file_name().to_bytes()).to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
