//! The merged tree of an image's layers; pure.
//!
//! Layers are fed bottom first, each entry by entry as its tar tells them. What they mean together:
//!
//! - `.wh.NAME` removes `NAME`, and `.wh..wh..opq` all that its directory holds, as far as lower layers put
//!   it there: a layer's whiteouts apply before its additions wherever they stand in its tar.
//! - A directory over a directory replaces the attributes and keeps the children. Every other clash replaces
//!   what was there, with all that was below. Of two entries of one name the later wins.
//! - A hard link names the inode that its target has when the link's entry comes, be it of this layer or a lower
//!   one; when the target is replaced later, the link keeps the old inode. The link's own attributes say
//!   nothing. A link to a symbolic link links that itself.
//! - A symbolic link is never followed. An entry below one (or below a file) makes a directory of it, as
//!   Docker's overlay2 does, so no name leaves the root and none arrives where its path does not say.
//! - A parent that no layer has is made: mode 0755, root's, at time 0.
//! - AUFS's own entries (`.wh..wh.plnk` and others) are passed over. A bare `.wh.`, a whiteout of `.` or
//!   `..`, and an entry below a whiteout are refused.
//! - Attributes that overlayfs reads as its own (`trusted.overlay.*`, `user.overlay.*`) are dropped: a layer
//!   must not speak to the mount. So are namespaces that Linux has not (`com.apple.*`), and attributes that it
//!   allows on files and directories only (`user.*`, ACLs) anywhere else.
//!
//! In memory a name is a node of 28 bytes, its text and a place in a hash table; an inode takes 56 bytes. Names
//! are not interned: the table that finds equal names would take more than it saves.

mod arena;
mod changes;
mod names;
mod points;
mod tree;

pub(crate) use arena::{Body, Inode};
pub(crate) use changes::{Change, Changes};
pub use names::{Named, ROOT_NODE, What};
pub use tree::Tree;

use crate::tar::{self, Entry, EntryPath, Kind, Xattr};
use arena::{Arena, NONE, NodeId, Text};
use std::collections::HashMap;

/// Bounds on what the layers of one image may ask of us together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Layers; default 1,000 (Docker stops at 127).
    pub layers: u16,
    /// Names that were ever there, parents that had to be made included; default 2,000,000.
    pub names: u32,
    /// Bytes of all names and link targets; default 64 MiB.
    pub text_bytes: u32,
    /// Bytes of all different sets of extended attributes, and 64 for each attribute; default 32 MiB.
    pub xattr_bytes: usize,
    /// Pieces of all sparse files, and 1 for each file; default 1,000,000.
    pub sparse_extents: usize,
    /// Inodes that were ever there, those replaced since included; default 3,000,000.
    pub inodes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: 1000,
            names: 2_000_000,
            text_bytes: 64 << 20,
            xattr_bytes: 32 << 20,
            sparse_extents: 1_000_000,
            inodes: 3_000_000,
        }
    }
}

/// An entry that does not fit the layers below and before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}, entry {entry} (offset {offset}): {conflict}")]
pub struct Error {
    /// Which layer, counted from 0 at the bottom.
    pub layer: usize,
    /// Which entry.
    pub entry: EntryPath,
    /// Where its header starts in the layer's tar.
    pub offset: u64,
    /// What is wrong.
    pub conflict: Conflict,
}

/// Why an entry does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// `.wh.` without a name.
    #[error("a whiteout names no file")]
    BareWhiteout,
    /// `.wh..` or `.wh...`.
    #[error("a whiteout names '.' or '..'")]
    DotWhiteout,
    /// An entry whose parent is a whiteout.
    #[error("it lies below a whiteout; names that start with '.wh.' are reserved")]
    BelowWhiteout,
    /// The target of a hard link does not exist.
    #[error("its link target {0} does not exist, or comes later")]
    NoLinkTarget(EntryPath),
    /// The target of a hard link is a directory.
    #[error("its link target {0} is a directory")]
    DirectoryLinkTarget(EntryPath),
    /// A bound of [`Limits`].
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too much.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

/// Merges layers, bottom first.
#[derive(Clone, Debug)]
pub struct Merger {
    arena: Arena,
    /// The layer at hand, counted from 1; nodes of layer 0 are those that were there before any.
    layer: u16,
    xattr_sets: HashMap<Box<[Xattr]>, u32>,
    xattr_bytes: usize,
    sparse_extents: usize,
    /// Nodes of lower layers that this layer's whiteouts named.
    whiteouts: Vec<NodeId>,
    limits: Limits,
}

/// What an entry's name says, beside naming something.
enum Meaning<'a> {
    Addition(&'a [u8]),
    Whiteout(&'a [u8]),
    Opaque,
    Ignored,
}

impl Merger {
    /// A merger without layers: an empty root directory.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            arena: Arena::new(),
            layer: 0,
            xattr_sets: HashMap::from([(Box::default(), 0)]),
            xattr_bytes: 0,
            sparse_extents: 0,
            whiteouts: Vec::new(),
            limits,
        }
    }

    /// Begins the next layer, above all before.
    ///
    /// # Errors
    /// When there are more layers than the limit.
    pub fn begin_layer(&mut self) -> Result<(), Error> {
        if self.layer >= self.limits.layers {
            let conflict =
                Conflict::Limit { what: "the number of layers", limit: u64::from(self.limits.layers) };
            return Err(Error {
                layer: usize::from(self.layer),
                entry: EntryPath::default(),
                offset: 0,
                conflict,
            });
        }
        self.layer += 1;
        self.whiteouts.clear();
        self.arena.displaced.clear();
        Ok(())
    }

    /// Adds one entry of the layer at hand.
    ///
    /// # Errors
    /// When the entry does not fit. The tree is then half-merged and must be dropped.
    pub fn add(&mut self, entry: Entry) -> Result<(), Error> {
        let (path, offset) = (entry.path.clone(), entry.offset);
        self.merge(entry).map_err(|conflict| Error {
            layer: usize::from(self.layer.saturating_sub(1)),
            entry: path,
            offset,
            conflict,
        })
    }

    /// The merged tree.
    #[must_use]
    pub fn finish(self) -> Tree {
        let mut sets = vec![Box::default(); self.xattr_sets.len()];
        for (set, number) in self.xattr_sets {
            sets[arena::at(number)] = set;
        }
        Tree::new(self.arena, sets)
    }

    /// What the layer at hand changed, as overlayfs would have to hold it.
    pub(crate) fn changes(&self) -> Changes<'_> {
        let mut sets: Vec<&[Xattr]> = vec![&[]; self.xattr_sets.len()];
        for (set, &number) in &self.xattr_sets {
            sets[arena::at(number)] = set;
        }
        Changes::new(&self.arena, self.layer, &self.whiteouts, sets)
    }

    fn merge(&mut self, entry: Entry) -> Result<(), Conflict> {
        let Entry { path, kind, mode, uid, gid, mtime, xattrs, offset: _ } = entry;
        let Some((_, name)) = path.split_last() else {
            let xattrs = self.intern(xattrs, &kind)?;
            self.arena.set_root(Inode { body: Body::Directory, mode, uid, gid, mtime, xattrs }, self.layer);
            return Ok(());
        };
        match meaning(&path, name)? {
            Meaning::Ignored => Ok(()),
            Meaning::Whiteout(name) => {
                self.whiteout(&path, name);
                Ok(())
            }
            Meaning::Opaque => {
                if let Some(directory) = self.find_parent(&path) {
                    self.arena.prune(directory, self.layer);
                }
                Ok(())
            }
            Meaning::Addition(name) => {
                if self.arena.inodes.len() >= arena::at(self.limits.inodes) {
                    return Err(limit("the number of inodes", self.limits.inodes));
                }
                let inode = if let Kind::Hardlink(target) = kind {
                    self.link_target(target)?
                } else {
                    let xattrs = self.intern(xattrs, &kind)?;
                    let body = self.body(kind)?;
                    // Linux has no permissions on symbolic links, and shows these.
                    let mode = if matches!(body, Body::Symlink(_)) { 0o777 } else { mode };
                    self.arena.add_inode(Inode { body, mode, uid, gid, mtime, xattrs })
                };
                let parent = self.make_parents(&path)?;
                let node = self.child(parent, name)?;
                self.place(node, inode);
                Ok(())
            }
        }
    }

    /// Gives a node an inode, with whatever it had before giving way.
    fn place(&mut self, node: NodeId, inode: u32) {
        let was_directory = self.arena.is_directory(node);
        let becomes_directory = matches!(self.arena.inodes[arena::at(inode)].body, Body::Directory);
        if was_directory && !becomes_directory {
            self.arena.remove_children(node);
        }
        self.arena.set_inode(node, inode);
        let layer = self.layer;
        let node = &mut self.arena.nodes[arena::at(node)];
        node.layer = layer;
        if becomes_directory && !was_directory {
            node.pure = layer;
        }
    }

    fn link_target(&self, target: EntryPath) -> Result<u32, Conflict> {
        let found = target
            .components()
            .try_fold(arena::ROOT, |directory, name| self.arena.find(directory, name))
            .map(|node| (self.arena.is_directory(node), self.arena.nodes[arena::at(node)].inode));
        match found {
            None => Err(Conflict::NoLinkTarget(target)),
            Some((true, _)) => Err(Conflict::DirectoryLinkTarget(target)),
            Some((false, inode)) => Ok(inode),
        }
    }

    /// The directory that is to hold `path`, made where it is missing or something else.
    fn make_parents(&mut self, path: &EntryPath) -> Result<NodeId, Conflict> {
        let mut directory = arena::ROOT;
        let (parent, _) = path.split_last().unwrap_or_default();
        for name in parent.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            directory = self.child(directory, name)?;
            if !self.arena.is_directory(directory) {
                let inode = self.arena.add_inode(Inode::implied());
                self.place(directory, inode);
            }
        }
        Ok(directory)
    }

    /// The node of a name, which may have no inode yet.
    fn child(&mut self, directory: NodeId, name: &[u8]) -> Result<NodeId, Conflict> {
        if let Some(node) = self.arena.find_any(directory, name) {
            return Ok(node);
        }
        if self.arena.nodes.len() >= arena::at(self.limits.names) {
            return Err(limit("the number of names", self.limits.names));
        }
        let text = self.text(name)?;
        Ok(self.arena.add_node(directory, text))
    }

    fn find_parent(&self, path: &EntryPath) -> Option<NodeId> {
        let (parent, _) = path.split_last()?;
        let mut names = parent.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let found = names.try_fold(arena::ROOT, |directory, name| self.arena.find(directory, name))?;
        Some(found).filter(|&node| self.arena.is_directory(node))
    }

    fn whiteout(&mut self, path: &EntryPath, name: &[u8]) {
        let Some(node) = self.find_parent(path).and_then(|parent| self.arena.find(parent, name)) else {
            return;
        };
        self.whiteouts.push(node);
        self.arena.remove_lower(node, self.layer);
    }

    fn body(&mut self, kind: Kind) -> Result<Body, Conflict> {
        Ok(match kind {
            Kind::File(content) => self.file_body(&content)?,
            Kind::Directory | Kind::Hardlink(_) => Body::Directory,
            Kind::Symlink(target) => Body::Symlink(self.text(&target)?),
            Kind::CharDevice(device) => Body::CharDevice(device),
            Kind::BlockDevice(device) => Body::BlockDevice(device),
            Kind::Fifo => Body::Fifo,
        })
    }

    fn file_body(&mut self, content: &tar::Content) -> Result<Body, Conflict> {
        // Devices count from 0, layers here from 1.
        let layer = self.layer.saturating_sub(1);
        match content.extents() {
            [all] if all.length == content.size => {
                Ok(Body::File { layer, source: all.source, size: content.size })
            }
            [] if content.size == 0 => Ok(Body::File { layer, source: 0, size: 0 }),
            extents => {
                // A file that is all hole takes a place, too.
                self.sparse_extents += extents.len() + 1;
                if self.sparse_extents > self.limits.sparse_extents {
                    let limit = self.limits.sparse_extents as u64;
                    return Err(Conflict::Limit { what: "the number of pieces of sparse files", limit });
                }
                let map = self.arena.add_map(extents);
                Ok(Body::Sparse { layer, map, size: content.size })
            }
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<Text, Conflict> {
        self.arena
            .add_text(text, self.limits.text_bytes)
            .ok_or(limit("the length of all names and link targets", self.limits.text_bytes))
    }

    /// The number of a set of attributes, of which only those are kept that may be.
    fn intern(&mut self, mut xattrs: Vec<Xattr>, kind: &Kind) -> Result<u32, Conflict> {
        xattrs.retain(|xattr| keeps_xattr(&xattr.name, kind));
        // Equal sets in different order are equal.
        xattrs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let set = xattrs.into_boxed_slice();
        if let Some(&number) = self.xattr_sets.get(&set) {
            return Ok(number);
        }
        // What keeping one takes beside its bytes.
        const OVERHEAD: usize = 64;
        let bytes = |xattr: &Xattr| OVERHEAD + xattr.name.len() + xattr.value.len();
        self.xattr_bytes += set.iter().map(bytes).sum::<usize>();
        if self.xattr_bytes > self.limits.xattr_bytes {
            let limit = self.limits.xattr_bytes as u64;
            return Err(Conflict::Limit { what: "the size of all extended attributes", limit });
        }
        let number = u32::try_from(self.xattr_sets.len()).unwrap_or(NONE);
        self.xattr_sets.insert(set, number);
        Ok(number)
    }
}

fn limit(what: &'static str, limit: u32) -> Conflict {
    Conflict::Limit { what, limit: u64::from(limit) }
}

fn meaning<'a>(path: &EntryPath, name: &'a [u8]) -> Result<Meaning<'a>, Conflict> {
    const WHITEOUT: &[u8] = b".wh.";
    const META: &[u8] = b".wh..wh.";
    for component in path.components() {
        let is_last = std::ptr::eq(component.as_ptr(), name.as_ptr());
        match component.strip_prefix(WHITEOUT) {
            None => {}
            Some(b".wh..opq") if is_last => return Ok(Meaning::Opaque),
            Some(_) if component.starts_with(META) => return Ok(Meaning::Ignored),
            Some(_) if !is_last => return Err(Conflict::BelowWhiteout),
            Some(b"") => return Err(Conflict::BareWhiteout),
            Some(b"." | b"..") => return Err(Conflict::DotWhiteout),
            Some(_) => return Ok(Meaning::Whiteout(&name[WHITEOUT.len()..])),
        }
    }
    Ok(Meaning::Addition(name))
}

fn keeps_xattr(name: &[u8], kind: &Kind) -> bool {
    let is_overlays = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let may_be_anywhere = name.starts_with(b"trusted.") || name.starts_with(b"security.");
    let fits = match kind {
        Kind::Directory => true,
        Kind::File(_) => name != b"system.posix_acl_default",
        Kind::Symlink(_) | Kind::Hardlink(_) | Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo => {
            may_be_anywhere
        }
    };
    fits && !is_overlays && erofs::is_expressible(name)
}
