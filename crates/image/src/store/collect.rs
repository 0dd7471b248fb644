//! Collection of garbage: what no name leads to is removed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::file::{self, Named as _};
use oci::{ChainId, DiffId, Digest};

use super::{Store, publish, scratch, size_of};
use crate::error::Result;

/// What must stay. Images of containers count as well as named ones.
#[derive(Clone, Debug, Default)]
pub struct Live {
    documents: HashSet<String>,
    layers: HashSet<String>,
    images: HashSet<String>,
    chains: HashSet<String>,
}

impl Live {
    /// Keeps an image: its config, its layers, its index, and every tree that a stack of its layers makes.
    pub fn image(&mut self, id: &Digest, layers: &[DiffId]) {
        self.document(id);
        self.images.insert(id.encoded().to_owned());
        let mut chain: Option<ChainId> = None;
        for layer in layers {
            self.layers.insert(layer.digest().encoded().to_owned());
            let stack = chain.map_or_else(|| ChainId::base(layer), |below| below.extend(layer));
            self.chains.insert(stack.digest().encoded().to_owned());
            chain = Some(stack);
        }
    }

    /// Keeps a document, such as an image's manifest.
    pub fn document(&mut self, digest: &Digest) {
        self.documents.insert(digest.encoded().to_owned());
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

/// The only one who works on the store, so that what is not live is garbage. Ask for it **before** looking up
/// what is live.
#[derive(Debug)]
#[must_use]
pub struct Collector<'a> {
    store: &'a Store,
    _alone: OwnedFd,
}

impl<'a> Collector<'a> {
    pub(super) fn new(store: &'a Store, alone: OwnedFd) -> Self {
        Self { store, _alone: alone }
    }

    /// Removes what is not live and what dead processes left half-done.
    ///
    /// It may be interrupted anywhere and run again. Files that have no name of the store's are left alone.
    ///
    /// # Errors
    /// If something cannot be listed or removed.
    pub fn collect(self, live: &Live) -> Result<Collected> {
        let store = self.store;
        let mut collected = Collected::default();
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
        let trees = store.root().join("trees");
        for name in names(&trees)? {
            if is_encoded(&name) && !live.chains.contains(&name) {
                collected.derived += usize::from(file::remove_tree(&trees.join(&name))?);
            }
        }
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
        scratch::sweep(&store.root().join("tmp"))?;
        tracing::debug!(layers = collected.layers.len(), bytes = collected.bytes, "collected garbage");
        Ok(collected)
    }
}

fn is_encoded(name: &str) -> bool {
    name.len() >= 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The names in a directory, sorted; none if it does not exist. Names that are not UTF-8 are not ours.
fn names(path: &Path) -> Result<Vec<String>> {
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
