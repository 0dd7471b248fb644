//! The merged tree by name, while more layers may still come upon it.

use super::arena::{self, Body, NONE, NodeId, ROOT, at};
use super::{Merger, Text};
use crate::tar::{Device, Extent, Time, Xattr};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// What it is.
    pub what: What<'a>,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Time,
    /// The number of its inode: names with the same one are hard links of each other.
    pub inode: u32,
    xattrs: u32,
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Symlink(&'a [u8]),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The number of the root directory's name.
pub const ROOT_NODE: u32 = ROOT;

impl Merger {
    /// The number of a name in a directory.
    #[must_use]
    pub fn find(&self, directory: u32, name: &[u8]) -> Option<u32> {
        self.arena.find(directory, name)
    }

    /// What is in a directory, sorted by name.
    #[must_use]
    pub fn children(&self, directory: u32) -> Vec<(&[u8], u32)> {
        let mut children: Vec<(&[u8], NodeId)> =
            self.arena.children(directory).map(|node| (self.arena.name(node), node)).collect();
        children.sort_unstable();
        children
    }

    /// What a name stands for; none if there is no such number.
    #[must_use]
    pub fn named(&self, node: u32) -> Option<Named<'_>> {
        let number = self.arena.nodes.get(at(node))?.inode;
        let inode = self.arena.inodes.get(at(number))?;
        let text = |text: Text| text.of(&self.arena.text);
        let what = match inode.body {
            Body::File { size, .. } | Body::Sparse { size, .. } => What::File(size),
            Body::Directory => What::Directory,
            Body::Symlink(target) => What::Symlink(text(target)),
            Body::CharDevice(device) => What::CharDevice(device),
            Body::BlockDevice(device) => What::BlockDevice(device),
            Body::Fifo => What::Fifo,
        };
        let arena::Inode { mode, uid, gid, mtime, xattrs, .. } = *inode;
        Some(Named { what, mode, uid, gid, mtime, inode: number, xattrs })
    }

    /// The extended attributes of what a name stands for, sorted.
    #[must_use]
    pub fn xattrs(&self, named: &Named<'_>) -> &[Xattr] {
        if named.xattrs == 0 {
            return &[];
        }
        // Few files have any, and there are few different sets.
        self.xattr_sets.iter().find(|(_, number)| **number == named.xattrs).map_or(&[], |(set, _)| set)
    }

    /// The layer whose tar has a file's data, counted from 0, and where in it.
    #[must_use]
    pub fn data(&self, node: u32) -> (u16, Vec<Extent>) {
        let inode = self.arena.nodes.get(at(node)).and_then(|node| self.arena.inodes.get(at(node.inode)));
        match inode.map(|inode| inode.body) {
            Some(Body::File { layer, source, size }) if size > 0 => {
                (layer, vec![Extent { offset: 0, source, length: size }])
            }
            Some(Body::Sparse { layer, map, .. }) => {
                (layer, self.arena.maps.get(at(map)).map(|map| map.to_vec()).unwrap_or_default())
            }
            Some(
                Body::File { .. }
                | Body::Directory
                | Body::Symlink(_)
                | Body::CharDevice(_)
                | Body::BlockDevice(_)
                | Body::Fifo,
            )
            | None => (0, Vec::new()),
        }
    }

    /// How many names each inode has.
    #[must_use]
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0_u32; self.arena.inodes.len()];
        for node in &self.arena.nodes {
            if node.inode != NONE
                && let Some(count) = counts.get_mut(at(node.inode))
            {
                *count += 1;
            }
        }
        counts
    }

    /// How many names were ever there.
    #[must_use]
    pub fn names(&self) -> usize {
        self.arena.nodes.len()
    }
}
