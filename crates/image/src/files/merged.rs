//! The files of the file system that layers make together, read where they lie in the layers' tars.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use erofs::Tree as _;
use linux::file;
use oci::DiffId;

use super::at;
use crate::error::{Error, Result};
use crate::index;
use crate::merge::Tree;
use crate::store::Store;

/// What layers make together.
#[derive(Debug)]
pub struct Merged {
    pub(super) tree: Tree,
    pub(super) tars: Vec<File>,
}

/// A regular file of it.
#[derive(Clone, Copy, Debug)]
pub struct Regular<'m> {
    merged: &'m Merged,
    number: u32,
    /// Bytes.
    pub size: u64,
    /// Permission bits: 12 bits.
    pub mode: u16,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// A directory whose children are being visited, the last of them first.
pub(super) struct Open {
    pub(super) children: Vec<(Vec<u8>, u32)>,
    /// The length of its path.
    pub(super) length: usize,
}

impl Merged {
    /// Merges layers of the store, bottom first.
    ///
    /// # Errors
    /// If one is missing, or does not fit.
    pub fn open(store: &Store, layers: &[DiffId]) -> Result<Merged> {
        let tars = layers.iter().map(|layer| open(store, layer)).collect::<Result<Vec<File>>>()?;
        let opened: Vec<index::Layer<'_>> =
            layers.iter().zip(&tars).map(|(diff_id, tar)| index::Layer { diff_id, tar }).collect();
        let tree = index::merge(&opened).map_err(|source| Error::Index { source })?;
        Ok(Merged { tree, tars })
    }

    /// Shows every regular file by its path, those of a directory in the order of their names. One with several names is shown
    /// by each.
    ///
    /// # Errors
    /// What `visit` returns.
    pub fn files(&self, visit: &mut dyn FnMut(&[u8], Regular<'_>) -> Result<()>) -> Result<()> {
        let mut path = Vec::new();
        let mut stack = vec![Open::new(&self.tree, 0, 0)];
        while let Some(top) = stack.last_mut() {
            path.truncate(top.length);
            let Some((name, number)) = top.children.pop() else {
                stack.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let inode = self.tree.inode(number);
            match inode.body {
                erofs::Body::Directory => stack.push(Open::new(&self.tree, number, path.len())),
                erofs::Body::File { size } => {
                    let (mode, modified) = (inode.mode, inode.mtime.secs);
                    visit(&path, Regular { merged: self, number, size, mode, modified })?;
                }
                erofs::Body::Symlink(_)
                | erofs::Body::CharDevice(_)
                | erofs::Body::BlockDevice(_)
                | erofs::Body::Fifo
                | erofs::Body::Socket => {}
            }
        }
        Ok(())
    }

    /// The regular file at a path; none if there is no such file. No link is followed.
    #[must_use]
    pub fn file(&self, path: &[u8]) -> Option<Regular<'_>> {
        let mut number = 0;
        for part in path.split(|byte| *byte == b'/') {
            let inode = self.tree.inode(number);
            if !matches!(inode.body, erofs::Body::Directory) {
                return None;
            }
            number = self.tree.children(number).find(|(name, _)| *name == part)?.1;
        }
        let inode = self.tree.inode(number);
        match inode.body {
            erofs::Body::File { size } => {
                let (mode, modified) = (inode.mode, inode.mtime.secs);
                Some(Regular { merged: self, number, size, mode, modified })
            }
            erofs::Body::Directory
            | erofs::Body::Symlink(_)
            | erofs::Body::CharDevice(_)
            | erofs::Body::BlockDevice(_)
            | erofs::Body::Fifo
            | erofs::Body::Socket => None,
        }
    }
}

impl Regular<'_> {
    /// Its bytes, at most so many.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(self.size.min(limit)).unwrap_or(usize::MAX)];
        let read = self.read_at(0, &mut content)?;
        content.truncate(read);
        Ok(content)
    }

    /// Bytes from `offset` on: as many as `buffer` holds, unless the file ends before.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let buffer = &mut buffer[..length];
        // What no extent holds is zeros.
        buffer.fill(0);
        let end = offset.saturating_add(length as u64);
        let mut extents = Vec::new();
        self.merged.tree.extents(self.number, &mut extents);
        for extent in extents {
            let Some(tar) = self.merged.tars.get(usize::from(extent.device)) else { continue };
            let (from, to) =
                (extent.offset.max(offset), extent.offset.saturating_add(extent.length).min(end));
            if from >= to {
                continue;
            }
            let place = |at: u64| usize::try_from(at - offset).unwrap_or(length);
            let piece = &mut buffer[place(from)..place(to)];
            tar.read_exact_at(piece, extent.source + (from - extent.offset)).map_err(|source| {
                let errno = rustix::io::Errno::from_io_error(&source).unwrap_or(rustix::io::Errno::IO);
                at("read a file of a layer", b"")(errno)
            })?;
        }
        Ok(length)
    }
}

impl Open {
    pub(super) fn new(tree: &Tree, directory: u32, length: usize) -> Self {
        let mut children: Vec<(Vec<u8>, u32)> =
            tree.children(directory).map(|(name, number)| (name.to_vec(), number)).collect();
        children.reverse();
        Self { children, length }
    }
}

fn open(store: &Store, layer: &DiffId) -> Result<File> {
    match file::open(&store.layer_path(layer)) {
        Err(error) if error.is_missing() => {
            Err(Error::NotStored { what: "layer", digest: layer.to_string() })
        }
        opened => Ok(opened?),
    }
}
