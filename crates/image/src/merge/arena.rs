//! The tree while layers are merged: nodes for names, inodes for what they name, one table that finds a
//! name in a directory.
//!
//! A removed node keeps its place and loses its inode; when its name comes back, so does the node. So nothing is
//! ever taken out of the table. Removed children leave their directory's list when all of it is cleared, or it
//! would cost a hostile layer one header to have us walk a million of them, again and again.

use crate::tar::{Device, Extent, Time};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// The number of a node.
pub(crate) type NodeId = u32;

/// No node, no inode.
pub(super) const NONE: u32 = u32::MAX;
/// The root directory's node.
pub(super) const ROOT: NodeId = 0;

/// A piece of the text arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    at: u32,
    length: u16,
}

impl Text {
    /// The text itself, from the arena that this is a piece of.
    pub(super) fn of(self, arena: &[u8]) -> &[u8] {
        &arena[at(self.at)..at(self.at) + usize::from(self.length)]
    }
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parent: NodeId,
    /// Where its text starts; the length stands with the smaller fields.
    name: u32,
    /// What it names; [`NONE`] when it was removed.
    pub(super) inode: u32,
    /// The next child of the same parent.
    pub(super) next: NodeId,
    pub(super) first_child: NodeId,
    /// Which layer gave it its inode.
    pub(super) layer: u16,
    /// The layer during which nothing of a lower layer is below this directory.
    pub(super) pure: u16,
    length: u8,
    /// Whether it is in its parent's list of children.
    is_listed: bool,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) body: Body,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// The number of a set of attributes.
    pub(crate) xattrs: u32,
}

/// What an inode is, and where its data lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// `size` bytes at `source` in the tar of `layer`, counted from 0.
    File {
        layer: u16,
        source: u64,
        size: u64,
    },
    /// Pieces by a map.
    Sparse {
        layer: u16,
        map: u32,
        size: u64,
    },
    Directory,
    Symlink(Text),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

impl Inode {
    /// A directory that no layer describes.
    pub(super) fn implied() -> Self {
        let mtime = Time::default();
        Self { body: Body::Directory, mode: 0o755, uid: 0, gid: 0, mtime, xattrs: 0 }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(super) nodes: Vec<Node>,
    pub(super) inodes: Vec<Inode>,
    pub(super) text: Vec<u8>,
    pub(super) maps: Vec<Box<[Extent]>>,
    /// Inodes that lost a name during the layer at hand.
    pub(super) displaced: Vec<u32>,
    /// Open addressing: nodes by parent and name. A power of two, at most three quarters full.
    slots: Vec<NodeId>,
    /// Keyed at random, since names come from outside.
    hashing: RandomState,
}

/// Indexes with the numbers that are kept narrow.
pub(super) fn at(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Arena {
    pub(super) fn new() -> Self {
        let root = Node {
            parent: ROOT,
            name: 0,
            inode: 0,
            next: NONE,
            first_child: NONE,
            layer: 0,
            pure: 0,
            length: 0,
            is_listed: false,
        };
        Self {
            nodes: vec![root],
            inodes: vec![Inode::implied()],
            text: Vec::new(),
            maps: Vec::new(),
            displaced: Vec::new(),
            slots: vec![NONE; 1024],
            hashing: RandomState::new(),
        }
    }

    pub(super) fn name(&self, node: NodeId) -> &[u8] {
        self.name_text(node).of(&self.text)
    }

    pub(super) fn name_text(&self, node: NodeId) -> Text {
        let node = &self.nodes[at(node)];
        Text { at: node.name, length: u16::from(node.length) }
    }

    pub(super) fn is_live(&self, node: NodeId) -> bool {
        self.nodes[at(node)].inode != NONE
    }

    pub(super) fn is_directory(&self, node: NodeId) -> bool {
        self.inode(node).is_some_and(|inode| matches!(inode.body, Body::Directory))
    }

    pub(super) fn inode(&self, node: NodeId) -> Option<&Inode> {
        self.inodes.get(at(self.nodes[at(node)].inode))
    }

    /// The children that are there.
    pub(super) fn children(&self, directory: NodeId) -> impl Iterator<Item = NodeId> {
        self.children_ever(directory).filter(|&node| self.is_live(node))
    }

    /// The children that are there or were.
    pub(super) fn children_ever(&self, directory: NodeId) -> impl Iterator<Item = NodeId> {
        let some = |node| Some(node).filter(|&node| node != NONE);
        std::iter::successors(some(self.nodes[at(directory)].first_child), move |&node| {
            some(self.nodes[at(node)].next)
        })
    }

    pub(super) fn has_children(&self, directory: NodeId) -> bool {
        self.children(directory).next().is_some()
    }

    /// The node of a name that is there.
    pub(super) fn find(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.find_any(directory, name).filter(|&node| self.is_live(node))
    }

    /// The node of a name that is there or was.
    pub(super) fn find_any(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        Some(self.slots[self.slot(directory, name)]).filter(|&node| node != NONE)
    }

    /// Adds a node without an inode. Its name is not in the table yet.
    pub(super) fn add_node(&mut self, parent: NodeId, name: Text) -> NodeId {
        let id = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(Node {
            parent,
            name: name.at,
            inode: NONE,
            next: NONE,
            first_child: NONE,
            layer: 0,
            pure: 0,
            // The parser has refused longer names.
            length: u8::try_from(name.length).unwrap_or(u8::MAX),
            is_listed: false,
        });
        if self.nodes.len() > self.slots.len() / 4 * 3 {
            self.slots = vec![NONE; self.slots.len() * 2];
            for node in 1..id {
                self.insert(node);
            }
        }
        self.insert(id);
        id
    }

    fn insert(&mut self, node: NodeId) {
        let slot = self.slot(self.nodes[at(node)].parent, self.name(node));
        self.slots[slot] = node;
    }

    /// Where a name is in the table, or would be.
    fn slot(&self, directory: NodeId, name: &[u8]) -> usize {
        let mut hasher = self.hashing.build_hasher();
        directory.hash(&mut hasher);
        hasher.write(name);
        let mask = self.slots.len() - 1;
        // Only the low bits count.
        let mut slot = usize::try_from(hasher.finish() & mask as u64).unwrap_or_default();
        loop {
            match self.slots[slot] {
                NONE => return slot,
                node if self.nodes[at(node)].parent == directory && self.name(node) == name => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> u32 {
        let id = u32::try_from(self.inodes.len()).unwrap_or(NONE);
        self.inodes.push(inode);
        id
    }

    /// Makes a node name something else, or nothing.
    pub(super) fn set_inode(&mut self, node: NodeId, inode: u32) {
        let old = std::mem::replace(&mut self.nodes[at(node)].inode, inode);
        if old != NONE && old != inode {
            self.displaced.push(old);
        }
        if inode != NONE {
            self.list(node);
        }
    }

    /// Puts a node into its parent's list of children, unless it is there.
    fn list(&mut self, node: NodeId) {
        if node == ROOT || self.nodes[at(node)].is_listed {
            return;
        }
        let parent = self.nodes[at(node)].parent;
        let next = std::mem::replace(&mut self.nodes[at(parent)].first_child, node);
        self.nodes[at(node)].next = next;
        self.nodes[at(node)].is_listed = true;
    }

    /// Empties a directory's list of children, and goes through what was there: those for which `keep` says so are listed
    /// again.
    pub(super) fn sift_children(
        &mut self,
        directory: NodeId,
        keep: &mut dyn FnMut(&mut Self, NodeId) -> bool,
    ) {
        let mut next = std::mem::replace(&mut self.nodes[at(directory)].first_child, NONE);
        while next != NONE {
            let child = next;
            next = self.nodes[at(child)].next;
            self.nodes[at(child)].is_listed = false;
            if self.is_live(child) && keep(self, child) {
                self.list(child);
            }
        }
    }

    pub(super) fn set_root(&mut self, inode: Inode, layer: u16) {
        self.inodes[at(self.nodes[at(ROOT)].inode)] = inode;
        self.nodes[at(ROOT)].layer = layer;
    }

    /// Nothing if the arena would exceed `most` bytes.
    pub(super) fn add_text(&mut self, text: &[u8], most: u32) -> Option<Text> {
        let start = u32::try_from(self.text.len()).ok()?;
        let length = u16::try_from(text.len()).ok()?;
        start.checked_add(u32::from(length)).filter(|&end| end <= most)?;
        self.text.extend_from_slice(text);
        Some(Text { at: start, length })
    }

    pub(super) fn add_map(&mut self, extents: &[Extent]) -> u32 {
        let id = u32::try_from(self.maps.len()).unwrap_or(NONE);
        self.maps.push(extents.into());
        id
    }

    /// Removes what layers below `layer` put into a directory; returns whether anything is left.
    pub(super) fn prune(&mut self, directory: NodeId, layer: u16) -> bool {
        // Once a layer is enough. The depth of the recursion is that of a path, which the parser bounds.
        if self.nodes[at(directory)].pure != layer {
            self.sift_children(directory, &mut |arena, child| arena.remove_lower(child, layer));
            self.nodes[at(directory)].pure = layer;
        }
        self.has_children(directory)
    }

    /// Removes a node as far as layers below `layer` made it; returns whether it is still there.
    pub(super) fn remove_lower(&mut self, node: NodeId, layer: u16) -> bool {
        let is_own = self.nodes[at(node)].layer == layer;
        let keeps = self.is_directory(node) && self.prune(node, layer);
        match (is_own, keeps) {
            (true, _) => {}
            // What this layer added to the removed directory now lies in one that it did not describe.
            (false, true) => {
                let inode = self.add_inode(Inode::implied());
                self.set_inode(node, inode);
                self.nodes[at(node)].layer = layer;
            }
            (false, false) => self.set_inode(node, NONE),
        }
        is_own || keeps
    }

    /// Removes all that is below a directory.
    pub(super) fn remove_children(&mut self, directory: NodeId) {
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            self.sift_children(directory, &mut |arena, child| {
                if arena.is_directory(child) {
                    directories.push(child);
                }
                arena.set_inode(child, NONE);
                false
            });
        }
    }
}
