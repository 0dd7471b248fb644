//! What one layer changed, as an overlay layer has to hold it: additions, deletion marks, opaque directories.

use super::arena::{Arena, Body, Inode, NodeId, ROOT, at};
use crate::tar::{Extent, Xattr};
use std::collections::HashSet;

/// The changes of the layer that was merged last, seen over the merged tree.
///
/// An overlay layer cannot share inodes with a lower one. Where this layer gives another name to a lower
/// file, or takes one away, all names that are left count as changed, so that they are one inode with as
/// many links as it has names.
pub(crate) struct Changes<'a> {
    arena: &'a Arena,
    layer: u16,
    /// By node: whether it, or something below it, changed.
    touched: Vec<bool>,
    /// Deleted names.
    whiteouts: HashSet<NodeId>,
    xattr_sets: Vec<&'a [Xattr]>,
    /// Inodes of which more than one name changed.
    several_names: HashSet<u32>,
}

/// One name that changed, or leads to a change.
pub(crate) struct Change<'a> {
    /// Its node.
    pub(crate) node: NodeId,
    pub(crate) name: &'a [u8],
    /// What it is now, with the number of the inode; nothing if it was deleted.
    pub(crate) inode: Option<(u32, &'a Inode)>,
    /// Whether a directory hides all that lower layers have in it.
    pub(crate) is_opaque: bool,
}

impl<'a> Changes<'a> {
    pub(super) fn new(
        arena: &'a Arena,
        layer: u16,
        whiteouts: &[NodeId],
        xattr_sets: Vec<&'a [Xattr]>,
    ) -> Self {
        let mut own_inodes: HashSet<u32> = nodes(arena)
            .filter(|&node| arena.is_live(node) && arena.nodes[at(node)].layer == layer)
            .map(|node| arena.nodes[at(node)].inode)
            .collect();
        own_inodes.extend(&arena.displaced);
        // A deletion needs a mark unless the directory is opaque, or gone, or the name was added anew.
        let needs_mark = |&node: &NodeId| {
            let parent = arena.nodes[at(node)].parent;
            !arena.is_live(node) && arena.is_directory(parent) && arena.nodes[at(parent)].pure != layer
        };
        let whiteouts: HashSet<NodeId> = whiteouts.iter().copied().filter(needs_mark).collect();
        let mut once = HashSet::new();
        let mut several_names = HashSet::new();
        let mut touched = vec![false; arena.nodes.len()];
        touched[at(ROOT)] = true;
        for node in nodes(arena) {
            let is_own = arena.nodes[at(node)].layer == layer || arena.nodes[at(node)].pure == layer;
            let is_relinked = own_inodes.contains(&arena.nodes[at(node)].inode);
            if is_relinked && !once.insert(arena.nodes[at(node)].inode) {
                several_names.insert(arena.nodes[at(node)].inode);
            }
            let is_changed = arena.is_live(node) && (is_own || is_relinked) || whiteouts.contains(&node);
            let mut next = node;
            while is_changed && !touched[at(next)] {
                touched[at(next)] = true;
                next = arena.nodes[at(next)].parent;
            }
        }
        Self { arena, layer, touched, whiteouts, xattr_sets, several_names }
    }

    /// The root directory, as it is now.
    pub(crate) fn root(&self) -> Change<'a> {
        self.change(ROOT)
    }

    /// The changed names in a directory, in no order.
    pub(crate) fn children(&self, directory: NodeId) -> impl Iterator<Item = Change<'a>> {
        let arena = self.arena;
        arena
            .children_ever(directory)
            .filter(|&node| self.touched[at(node)])
            .filter(|node| arena.is_live(*node) || self.whiteouts.contains(node))
            .map(|node| self.change(node))
    }

    /// The pieces of a file's data, and the layer whose tar holds them.
    pub(crate) fn extents(&self, body: Body) -> (u16, Vec<Extent>) {
        match body {
            Body::File { layer, source, size } if size > 0 => {
                (layer, vec![Extent { offset: 0, source, length: size }])
            }
            Body::Sparse { layer, map, .. } => (layer, self.arena.maps[at(map)].to_vec()),
            Body::File { .. }
            | Body::Directory
            | Body::Symlink(_)
            | Body::CharDevice(_)
            | Body::BlockDevice(_)
            | Body::Fifo => (0, Vec::new()),
        }
    }

    /// Whether an inode has more than one of the changed names.
    pub(crate) fn has_several_names(&self, inode: u32) -> bool {
        self.several_names.contains(&inode)
    }

    /// The attributes of an inode.
    pub(crate) fn xattrs(&self, inode: &Inode) -> &'a [Xattr] {
        self.xattr_sets.get(at(inode.xattrs)).copied().unwrap_or_default()
    }

    /// A symbolic link's target.
    pub(crate) fn text(&self, text: super::arena::Text) -> &'a [u8] {
        text.of(&self.arena.text)
    }

    fn change(&self, node: NodeId) -> Change<'a> {
        let number = self.arena.nodes[at(node)].inode;
        Change {
            node,
            name: self.arena.name(node),
            inode: self.arena.inode(node).map(|inode| (number, inode)),
            // Below the lowest layer there is nothing to hide.
            is_opaque: self.layer > 1 && self.arena.nodes[at(node)].pure == self.layer,
        }
    }
}

fn nodes(arena: &Arena) -> impl Iterator<Item = NodeId> + use<> {
    0..u32::try_from(arena.nodes.len()).unwrap_or(u32::MAX)
}
