//! The files of a tree by name, whatever it is made of: layers or a directory.
//!
//! Links are followed here, by names, and never lead out of the tree: `/` is its root, and `..` there is the root.

use std::sync::Arc;

use dockerfile::ignore::{Glob, has_wildcards};
use image::tar::{Device, Time};
use image::view::{self, What};
use rustix::fs::FileType;

use super::context::{Files, Names, Seen};
use super::copy::CopyError;
use super::session::Session;
use super::tree::Tree;
use crate::Result;
use crate::images::failed;

/// Links on the way to one file.
const LINK_LIMIT: usize = 40;

/// The files of a tree. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum View {
    Layers(Arc<image::View>),
    Files(Arc<Files>),
}

/// A file of a view.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) at: At,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
    Socket,
}

/// Where a view has a file.
#[derive(Clone, Debug)]
pub(super) enum At {
    Layered(u32),
    Found(Seen),
}

/// A file, and where it is once all links are followed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    pub(super) node: Node,
}

/// What is in a directory, sorted by name.
pub(super) enum Children<'v> {
    Layered(&'v image::View, Vec<(&'v [u8], u32)>),
    Found(Names),
}

impl Children<'_> {
    /// Each with its name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Node)> {
        let count = match self {
            Children::Layered(_, names) => names.len(),
            Children::Found(names) => names.len(),
        };
        (0..count).filter_map(|at| self.get(at))
    }

    fn get(&self, at: usize) -> Option<(&[u8], Node)> {
        match self {
            Children::Layered(view, names) => {
                let (name, node) = names.get(at)?;
                Some((name, layered(view, *node)?))
            }
            Children::Found(names) => names.get(at).map(|(item, seen)| (item.name(), found(seen))),
        }
    }
}

impl Session<'_> {
    /// The files of a tree.
    pub(super) fn view(&self, tree: &Tree) -> Result<View> {
        Ok(match tree {
            Tree::Files(files) => View::Files(files.clone()),
            Tree::Layers(_) => View::Layers(self.merged(tree)?),
        })
    }

    /// The merged tree of layers.
    pub(super) fn merged(&self, tree: &Tree) -> Result<Arc<image::View>> {
        self.draft.view(&tree.diff_ids()).map_err(failed("read layers"))
    }
}

impl View {
    /// The root directory.
    pub(super) fn root(&self) -> Node {
        match self {
            View::Layers(view) => layered(view, view::ROOT).unwrap_or_else(|| Node {
                kind: Kind::Directory,
                mode: 0o755,
                uid: 0,
                gid: 0,
                at: At::Layered(view::ROOT),
            }),
            View::Files(files) => found(files.top().clone()),
        }
    }

    /// A name in a directory.
    pub(super) fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        match (self, &directory.at) {
            (View::Layers(view), At::Layered(node)) => {
                Ok(view.find(*node, name).and_then(|node| layered(view, node)))
            }
            (View::Files(files), At::Found(item)) => Ok(files.find(item, name)?.map(found)),
            _ => Ok(None),
        }
    }

    /// What is in a directory, sorted by name.
    pub(super) fn children(&self, directory: &Node) -> Result<Children<'_>> {
        Ok(match (self, &directory.at) {
            (View::Layers(view), At::Layered(node)) => Children::Layered(view, view.children(*node)),
            (View::Files(files), At::Found(item)) => Children::Found(files.list(item)?),
            _ => Children::Found(Names::default()),
        })
    }

    /// Where a link leads.
    pub(super) fn target(&self, link: &Node) -> Result<Vec<u8>> {
        match (self, &link.at) {
            (View::Layers(view), At::Layered(node)) => {
                let what = view.named(*node).map(|named| named.what);
                Ok(if let Some(What::Symlink(target)) = what { target.to_owned() } else { Vec::new() })
            }
            (View::Files(files), At::Found(item)) => Ok(files.target(item)?.into()),
            _ => Ok(Vec::new()),
        }
    }

    /// When a file was modified.
    pub(super) fn mtime(&self, node: &Node) -> Time {
        match (self, &node.at) {
            (View::Layers(view), At::Layered(node)) => {
                view.named(*node).map_or(Time::default(), |named| named.mtime)
            }
            (_, At::Found(item)) => item.mtime(),
            _ => Time::default(),
        }
    }

    /// Bytes of a file; of a caller's, as many as it had when it was hashed.
    pub(super) fn size(&self, node: &Node) -> u64 {
        match (self, &node.at) {
            (View::Layers(view), At::Layered(node)) => match view.named(*node).map(|named| named.what) {
                Some(What::File(size)) => size,
                _ => 0,
            },
            (_, At::Found(item)) => item.identity().size,
            _ => 0,
        }
    }

    /// The same for all names of a file that has several.
    pub(super) fn shared_inode(&self, node: &Node) -> Option<(u64, u64)> {
        match (self, &node.at) {
            (View::Layers(view), At::Layered(node)) => {
                let named = view.named(*node).filter(|named| named.what != What::Directory)?;
                (view.links(named.inode) > 1).then_some((0, u64::from(named.inode)))
            }
            (_, At::Found(item)) => item.shared_inode(),
            _ => None,
        }
    }

    /// The file at a path; none if there is none. Links on the way are followed, and the last one if that is wanted.
    pub(super) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Option<Found>> {
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<(Vec<u8>, Node)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                continue;
            }
            let here = done.last().map_or_else(|| self.root(), |(_, node)| node.clone());
            if here.kind != Kind::Directory {
                return Ok(None);
            }
            let Some(node) = self.child(&here, &name)? else { return Ok(None) };
            if node.kind != Kind::Symlink || (todo.is_empty() && !follow_last) {
                done.push((name, node));
                continue;
            }
            links += 1;
            if links > LINK_LIMIT {
                return Err(CopyError::Links { path: String::from_utf8_lossy(path).into_owned() }.into());
            }
            let target = self.target(&node)?;
            if target.first() == Some(&b'/') {
                done.clear();
            }
            todo.extend(components(&target).rev().map(<[u8]>::to_vec));
        }
        let path = done.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>().join(&b'/');
        let node = done.pop().map_or_else(|| self.root(), |(_, node)| node);
        Ok(Some(Found { path, node }))
    }

    /// The files that a path stands for: one, which must be there, or those that a pattern matches. A directory that it
    /// matches is not looked into. Each with its name.
    pub(super) fn expand(&self, pattern: &str) -> Result<Vec<(Vec<u8>, Found)>> {
        let mut fixed = Vec::new();
        let mut parts = pattern.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next_if(|part| !has_wildcards(part)) {
            fixed.push(part);
        }
        let start = fixed.join("/");
        let rest = parts.collect::<Vec<_>>().join("/");
        let found = self.resolve(start.as_bytes(), true)?;
        if rest.is_empty() {
            let missing = || CopyError::NotFound { path: format!("/{start}") };
            let name = fixed.last().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
            return Ok(vec![(name, found.ok_or_else(missing)?)]);
        }
        let Some(start) = found.filter(|found| found.node.kind == Kind::Directory) else {
            return Ok(Vec::new());
        };
        let glob = Glob::new(&rest).map_err(|error| CopyError::Pattern { message: error.to_string() })?;
        let mut matched = Vec::new();
        self.search(&start.node, &mut Vec::new(), &glob, &mut matched)?;
        let mut all = Vec::with_capacity(matched.len());
        for relative in matched {
            let path = join(&start.path, &relative);
            // A link that was matched is followed as one that was named; one that leads nowhere is not there.
            let name = relative.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
            let found = self.resolve(&path, true)?;
            let shown = || CopyError::NotFound { path: format!("/{}", String::from_utf8_lossy(&path)) };
            all.push((name, found.ok_or_else(shown)?));
        }
        Ok(all)
    }

    fn search(
        &self,
        directory: &Node,
        path: &mut Vec<u8>,
        glob: &Glob,
        matched: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        for (name, node) in self.children(directory)?.iter() {
            let length = path.len();
            *path = join(path, name);
            if glob.is_match(path.as_slice()) {
                matched.push(path.clone());
            } else if node.kind == Kind::Directory && glob.may_match_below(path.as_slice()) {
                self.search(&node, path, glob, matched)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// The content of a file, at most so many bytes; none if it is not there. Links are followed.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.resolve(path.as_bytes(), true)? else { return Ok(None) };
        if found.node.kind != Kind::File {
            return Err(CopyError::NoFile { path: path.to_owned() }.into());
        }
        let size = self.size(&found.node);
        if size > limit {
            return Err(CopyError::LargeFile { path: path.to_owned(), limit }.into());
        }
        self.bytes(path, &found.node, size).map(Some)
    }

    /// The beginning of a file, at most so many bytes; none if it is not there. Links are followed.
    pub(super) fn read_start(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let found = self.resolve(path.as_bytes(), true)?.filter(|found| found.node.kind == Kind::File);
        found.map(|found| self.bytes(path, &found.node, self.size(&found.node).min(most))).transpose()
    }

    /// So many bytes of a file that has at least as many.
    fn bytes(&self, path: &str, node: &Node, length: u64) -> Result<Vec<u8>> {
        use std::os::unix::fs::FileExt as _;
        let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
        let failed = |source| {
            let (action, name) = ("read", "its layer".to_owned());
            CopyError::Read { action, path: path.to_owned(), name, source }
        };
        match (self, &node.at) {
            (View::Layers(view), At::Layered(node)) => {
                let Some((tar, extents)) = view.data(*node) else { return Ok(content) };
                for extent in &extents {
                    // What lies between extents is zeros, and what lies behind them is not wanted.
                    let start = usize::try_from(extent.offset).unwrap_or(usize::MAX).min(content.len());
                    let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
                    let end = start.saturating_add(length).min(content.len());
                    tar.read_exact_at(&mut content[start..end], extent.source).map_err(failed)?;
                }
            }
            (View::Files(files), At::Found(item)) => {
                let (file, _) = files.open_hashed(item)?;
                file.read_exact_at(&mut content, 0).map_err(failed)?;
            }
            _ => {}
        }
        Ok(content)
    }
}

fn layered(view: &image::View, node: u32) -> Option<Node> {
    let named = view.named(node)?;
    let kind = match named.what {
        What::File(_) => Kind::File,
        What::Directory => Kind::Directory,
        What::Symlink(_) => Kind::Symlink,
        What::CharDevice(device) => Kind::CharDevice(device),
        What::BlockDevice(device) => Kind::BlockDevice(device),
        What::Fifo => Kind::Fifo,
    };
    let mode = u32::from(named.mode);
    Some(Node { kind, mode, uid: named.uid, gid: named.gid, at: At::Layered(node) })
}

/// A file of the caller, which is root's as soon as it is copied.
fn found(item: Seen) -> Node {
    let kind = match item.kind() {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice(item.device()),
        FileType::BlockDevice => Kind::BlockDevice(item.device()),
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => Kind::Socket,
    };
    Node { kind, mode: item.mode(), uid: 0, gid: 0, at: At::Found(item) }
}

/// The names in a path, without empty ones and `.`.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// A name below a directory; either may be empty.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => directory.to_owned(),
        (false, false) => [directory, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::world::{World, copied};

    #[test]
    fn a_file_of_layers_is_read_whole_or_from_its_beginning() {
        let world = World::new();
        let session = world.session();
        let files = world.context("context", "f a 644 0123456789\nf empty 644\nl link a\nd dir 755");
        let tree = copied(&session, &Tree::empty(), &files, "COPY . /").unwrap();
        let view = session.view(&tree).unwrap();
        let text =
            |found: Result<Option<Vec<u8>>>| found.unwrap().map(|read| String::from_utf8(read).unwrap());
        assert_eq!(text(view.read("/link", 10)).as_deref(), Some("0123456789"));
        assert!(view.read("/a", 9).is_err(), "it is larger");
        for (path, most, want) in [
            ("/link", 4, Some("0123")),
            ("/a", 100, Some("0123456789")),
            ("/a", 0, Some("")),
            ("/empty", 4, Some("")),
            ("/dir", 4, None),
            ("/none", 4, None),
        ] {
            assert_eq!(text(view.read_start(path, most)).as_deref(), want, "{path}");
        }
    }
}
