//! What every container has something mounted on, added to an image that lacks it, as Docker adds it between image and
//! container: else each container's writable layer would begin with making it. With it comes the empty file by which
//! programs know that they are in a container.
//!
//! What the image has is left as it is: a file where a directory is wanted, a link, a parent that is none. It is for
//! the runtime to make of it what is right for one container.

use super::arena::{self, Body, Inode, NodeId};
use super::{Conflict, Merger};
use crate::tar::Time;

/// Directories and files, by the names of their path.
const POINTS: [(&[&str], Point); 7] = [
    (&[".dockerenv"], Point::Mark),
    (&["dev"], Point::Directory),
    (&["proc"], Point::Directory),
    (&["sys"], Point::Directory),
    (&["etc", "hostname"], Point::File),
    (&["etc", "hosts"], Point::File),
    (&["etc", "resolv.conf"], Point::File),
];

#[derive(Clone, Copy)]
enum Point {
    Directory,
    File,
    Mark,
}

impl Merger {
    /// Adds what is missing. An image at the limit of its names goes without.
    pub(crate) fn add_mount_points(&mut self) {
        for (names, point) in POINTS {
            // No more can go wrong than that limit.
            drop(self.add_mount_point(names, point));
        }
    }

    fn add_mount_point(&mut self, names: &[&str], point: Point) -> Result<(), Conflict> {
        let Some((name, parents)) = names.split_last() else { return Ok(()) };
        let mut directory = arena::ROOT;
        for parent in parents {
            directory = self.find_or_add(directory, parent.as_bytes(), Inode::implied())?;
            if !self.arena.is_directory(directory) {
                return Ok(());
            }
        }
        let inode = match point {
            Point::Directory => Inode::implied(),
            Point::File => empty_file(0o644),
            Point::Mark => empty_file(0o755),
        };
        self.find_or_add(directory, name.as_bytes(), inode).map(drop)
    }

    fn find_or_add(&mut self, directory: NodeId, name: &[u8], inode: Inode) -> Result<NodeId, Conflict> {
        if let Some(found) = self.arena.find(directory, name) {
            return Ok(found);
        }
        let node = self.child(directory, name)?;
        let inode = self.arena.add_inode(inode);
        self.place(node, inode);
        Ok(node)
    }
}

fn empty_file(mode: u16) -> Inode {
    let body = Body::File { layer: 0, source: 0, size: 0 };
    Inode { body, mode, uid: 0, gid: 0, mtime: Time::default(), xattrs: 0 }
}
