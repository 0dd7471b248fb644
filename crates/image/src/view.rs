//! The files of a stack of layers, by name, read where they lie: in the layers' tars.
//!
//! Nothing is unpacked and nothing mounted. A view holds the merged tree (see [`crate::merge`]) and each tar open; one with a
//! further layer on top is made from it at the cost of a copy of the tree, without a second look at the layers below.

use std::fs::File;
use std::sync::{Arc, OnceLock};

use oci::DiffId;

use crate::error::{Error, Result};
use crate::index;
use crate::merge::{Limits, Merger, Named};
use crate::tar::{self, Extent, Xattr};

pub use crate::merge::{ROOT_NODE as ROOT, What};

/// See the head of the file.
#[derive(Debug)]
pub struct View {
    merger: Merger,
    tars: Vec<Arc<File>>,
    links: OnceLock<Vec<u32>>,
}

impl Default for View {
    fn default() -> Self {
        Self { merger: Merger::new(Limits::default()), tars: Vec::new(), links: OnceLock::new() }
    }
}

impl View {
    /// With further layers on top, lowest first, each of which is opened when its turn comes.
    pub(crate) fn with(&self, layers: &[DiffId], open: &dyn Fn(&DiffId) -> Result<File>) -> Result<Self> {
        let mut next = Self { merger: self.merger.clone(), tars: self.tars.clone(), links: OnceLock::new() };
        for diff_id in layers {
            let tar = open(diff_id)?;
            index::merge_layer(&mut next.merger, &index::Layer { diff_id, tar: &tar })
                .map_err(|source| Error::Index { source })?;
            next.tars.push(Arc::new(tar));
        }
        Ok(next)
    }

    /// How many layers these are.
    pub(crate) fn depth(&self) -> usize {
        self.tars.len()
    }

    /// All layers, merged.
    pub(crate) fn merger(&self) -> &Merger {
        &self.merger
    }

    /// The layers, by their names, with their tars; and all of them merged, to go on with.
    pub(crate) fn merged<'v>(&'v self, layers: &'v [DiffId]) -> (Merger, Vec<index::Layer<'v>>) {
        let tars = layers.iter().zip(&self.tars);
        (self.merger.clone(), tars.map(|(diff_id, tar)| index::Layer { diff_id, tar }).collect())
    }

    /// Of an archive that is no layer of the store. `name` is for errors.
    ///
    /// # Errors
    /// If it cannot be read, or is not acceptable.
    pub fn of_archive(archive: File, name: &str) -> Result<Self> {
        let mut merger = Merger::new(Limits::default());
        let refused = |source: crate::merge::Error| Error::Entry {
            entry: format!("{name}: {}", source.entry),
            reason: source.conflict.to_string(),
        };
        merger.begin_layer().map_err(refused)?;
        let mut add = |entry| merger.add(entry).map_err(|error| Refusal::Refused(refused(error)));
        match tar::read_entries(&archive, tar::Limits::default(), &mut add) {
            Ok(_) => {}
            Err(Refusal::Refused(error)) => return Err(error),
            Err(Refusal::Read(tar::ReadError::Io { source, .. })) => {
                return Err(Error::Read { entry: name.to_owned(), source });
            }
            Err(Refusal::Read(tar::ReadError::Archive(source))) => {
                return Err(Error::Archive { entry: name.to_owned(), source });
            }
        }
        Ok(Self { merger, tars: vec![Arc::new(archive)], links: OnceLock::new() })
    }

    /// The number of a name in a directory, which begins at [`ROOT`].
    #[must_use]
    pub fn find(&self, directory: u32, name: &[u8]) -> Option<u32> {
        self.merger.find(directory, name)
    }

    /// What is in a directory, sorted by name.
    #[must_use]
    pub fn children(&self, directory: u32) -> Vec<(&[u8], u32)> {
        self.merger.children(directory)
    }

    /// What a name stands for; none if there is no such number.
    #[must_use]
    pub fn named(&self, node: u32) -> Option<Named<'_>> {
        self.merger.named(node)
    }

    /// The extended attributes of what a name stands for, sorted.
    #[must_use]
    pub fn xattrs(&self, named: &Named<'_>) -> &[Xattr] {
        self.merger.xattrs(named)
    }

    /// How many names an inode has.
    #[must_use]
    pub fn links(&self, inode: u32) -> u32 {
        let counts = self.links.get_or_init(|| self.merger.link_counts());
        usize::try_from(inode).ok().and_then(|inode| counts.get(inode)).copied().unwrap_or(1)
    }

    /// The tar that has a file's data, and where in it; none of a file without any.
    #[must_use]
    pub fn data(&self, node: u32) -> Option<(&Arc<File>, Vec<Extent>)> {
        let (layer, extents) = self.merger.data(node);
        Some((self.tars.get(usize::from(layer))?, extents)).filter(|(_, extents)| !extents.is_empty())
    }

    /// How many names were ever there: what it takes in memory.
    #[must_use]
    pub fn names(&self) -> usize {
        self.merger.names()
    }
}

/// Either side's error, while both are at work.
enum Refusal {
    Read(tar::ReadError),
    Refused(Error),
}

impl From<tar::ReadError> for Refusal {
    fn from(error: tar::ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<tar::Error> for Refusal {
    fn from(error: tar::Error) -> Self {
        Self::Read(error.into())
    }
}
