//! The finished tree, compact and in order, as the index writer walks it.

use super::arena::{Arena, Body, Inode, NONE, ROOT, Text, at};
use crate::tar::{Extent, Time, Xattr};

/// The merged tree of an image.
#[derive(Debug)]
pub struct Tree {
    inodes: Vec<Linked>,
    /// The children of all directories, those of one together and sorted.
    children: Vec<Child>,
    text: Vec<u8>,
    maps: Vec<Box<[Extent]>>,
    xattr_sets: Vec<Box<[Xattr]>>,
}

#[derive(Debug)]
struct Linked {
    inode: Inode,
    links: u32,
    /// Where a directory's children start, and how many there are.
    first: u32,
    count: u32,
}

#[derive(Debug)]
struct Child {
    name: Text,
    inode: u32,
}

impl Tree {
    pub(super) fn new(arena: Arena, xattr_sets: Vec<Box<[Xattr]>>) -> Self {
        let mut tree =
            Self { inodes: Vec::new(), children: Vec::new(), text: Vec::new(), maps: Vec::new(), xattr_sets };
        // Breadth first: a directory's children are numbered when its turn comes.
        let mut numbers = vec![NONE; arena.inodes.len()];
        let mut directories =
            std::collections::VecDeque::from([(ROOT, tree.number(&arena, ROOT, &mut numbers))]);
        let mut sorted = Vec::new();
        while let Some((directory, number)) = directories.pop_front() {
            sorted.extend(arena.children(directory));
            sorted.sort_unstable_by(|&one, &other| arena.name(one).cmp(arena.name(other)));
            let first = tree.children.len();
            let mut subdirectories = 0;
            for node in sorted.drain(..) {
                let inode = tree.number(&arena, node, &mut numbers);
                tree.inodes[at(inode)].links += 1;
                tree.children.push(Child { name: arena.name_text(node), inode });
                if arena.is_directory(node) {
                    directories.push_back((node, inode));
                    subdirectories += 1;
                }
            }
            let count = tree.children.len() - first;
            let directory = &mut tree.inodes[at(number)];
            directory.links = 2 + subdirectories;
            directory.first = u32::try_from(first).unwrap_or(NONE);
            directory.count = u32::try_from(count).unwrap_or(NONE);
        }
        tree.text = arena.text;
        tree.maps = arena.maps;
        tree
    }

    /// The number of a node's inode in this tree, given at first sight.
    fn number(&mut self, arena: &Arena, node: u32, numbers: &mut [u32]) -> u32 {
        let old = arena.nodes[at(node)].inode;
        if numbers[at(old)] == NONE {
            numbers[at(old)] = u32::try_from(self.inodes.len()).unwrap_or(NONE);
            let inode = arena.inodes[at(old)].clone();
            self.inodes.push(Linked { inode, links: 0, first: 0, count: 0 });
        }
        numbers[at(old)]
    }

    fn text(&self, text: Text) -> &[u8] {
        text.of(&self.text)
    }
}

impl erofs::Tree for Tree {
    fn inodes(&self) -> u32 {
        u32::try_from(self.inodes.len()).unwrap_or(NONE)
    }

    fn inode(&self, number: u32) -> erofs::Inode<'_> {
        let Linked { inode, links, .. } = &self.inodes[at(number)];
        let rdev = |device: crate::tar::Device| erofs::Rdev { major: device.major, minor: device.minor };
        erofs::Inode {
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime: erofs_time(inode.mtime),
            links: *links,
            xattrs: inode.xattrs,
            body: match inode.body {
                Body::File { size, .. } | Body::Sparse { size, .. } => erofs::Body::File { size },
                Body::Directory => erofs::Body::Directory,
                Body::Symlink(target) => erofs::Body::Symlink(self.text(target)),
                Body::CharDevice(device) => erofs::Body::CharDevice(rdev(device)),
                Body::BlockDevice(device) => erofs::Body::BlockDevice(rdev(device)),
                Body::Fifo => erofs::Body::Fifo,
            },
        }
    }

    fn children(&self, directory: u32) -> impl Iterator<Item = (&[u8], u32)> {
        let Linked { first, count, .. } = self.inodes[at(directory)];
        self.children[at(first)..at(first) + at(count)]
            .iter()
            .map(|child| (self.text(child.name), child.inode))
    }

    fn extents(&self, file: u32, extents: &mut Vec<erofs::Extent>) {
        extents.clear();
        match self.inodes[at(file)].inode.body {
            Body::File { layer, source, size } if size > 0 => {
                extents.push(erofs::Extent { offset: 0, device: layer, source, length: size });
            }
            Body::Sparse { layer, map, .. } => extents.extend(self.maps[at(map)].iter().map(|extent| {
                let &Extent { offset, source, length } = extent;
                erofs::Extent { offset, device: layer, source, length }
            })),
            Body::File { .. }
            | Body::Directory
            | Body::Symlink(_)
            | Body::CharDevice(_)
            | Body::BlockDevice(_)
            | Body::Fifo => {}
        }
    }

    fn xattr_sets(&self) -> u32 {
        u32::try_from(self.xattr_sets.len()).unwrap_or(NONE)
    }

    fn xattr_set(&self, set: u32, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for xattr in self.xattr_sets.get(at(set)).into_iter().flatten() {
            visit(&xattr.name, &xattr.value);
        }
    }
}

fn erofs_time(time: Time) -> erofs::Time {
    erofs::Time { secs: time.secs, nanos: time.nanos }
}
