//! The file system that layers make together, as the members of one archive.
//!
//! Headers of the layers' tars are read once each; data goes from the layers to the archive, and is never unpacked in between.
//! Names are sorted within their directories, a directory before what is in it; the first name of a file with several has its
//! content. The same layers give the same bytes.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use erofs::Tree as _;
use oci::DiffId;

use super::merged::{Merged, Open};
use super::sink::Sink;
use crate::error::Result;
use crate::merge::Tree;
use crate::stop::Stop;
use crate::store::Store;
use crate::tar::{Body, Device, END, Member, Time, Xattr, write_member};

/// Writes file systems into an archive, each below a directory of its own, or at its root.
pub struct Flattener<'a> {
    sink: Sink<'a>,
    /// The time that everything has; that of the layers if none.
    time: Option<Time>,
    has_devices: bool,
    names: Option<HashSet<Vec<u8>>>,
}

/// A file system at hand.
struct Flat<'t> {
    tree: &'t Tree,
    tars: &'t [File],
    sets: Vec<Vec<Xattr>>,
    /// The first path of each file with several names.
    links: HashMap<u32, Vec<u8>>,
}

impl<'a> Flattener<'a> {
    /// An archive that is written to `out`.
    #[must_use]
    pub fn new(out: BorrowedFd<'a>) -> Self {
        Self { sink: Sink::new(out), time: None, has_devices: true, names: None }
    }

    /// Asks again and again whether to stop, which is an error then. The output may be one that does not block.
    #[must_use]
    pub fn stopping(self, stop: &'a Stop<'a>) -> Self {
        Self { sink: self.sink.stopping(stop), ..self }
    }

    /// Everything has this time.
    #[must_use]
    pub fn with_time(self, time: Option<Time>) -> Self {
        Self { time, ..self }
    }

    /// Leaves devices out, for those who may not make any.
    #[must_use]
    pub fn without_devices(self) -> Self {
        Self { has_devices: false, ..self }
    }

    /// Remembers what was written, for [`Flattener::finish`].
    #[must_use]
    pub fn with_names(self) -> Self {
        Self { names: Some(HashSet::new()), ..self }
    }

    /// Adds what layers make together, bottom first, below `prefix` (empty, or a name).
    ///
    /// # Errors
    /// If a layer is missing or does not fit, or the archive cannot be written.
    pub fn layers(&mut self, store: &Store, layers: &[DiffId], prefix: &[u8]) -> Result<()> {
        let Merged { tree, tars } = Merged::open(store, layers)?;
        let sets = (0..tree.xattr_sets()).map(|set| xattrs(&tree, set)).collect();
        let mut flat = Flat { tree: &tree, tars: &tars, sets, links: HashMap::new() };
        self.tree(&mut flat, prefix)
    }

    /// Adds a directory of our own.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub fn directory(&mut self, path: &[u8]) -> Result<()> {
        self.own(path, 0o755, Body::Directory, b"")
    }

    /// Adds a file of our own.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub fn file(&mut self, path: &[u8], content: &[u8]) -> Result<()> {
        self.own(path, 0o644, Body::File(content.len() as u64), content)
    }

    /// Ends the archive; returns all paths in it, if they were to be remembered.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<HashSet<Vec<u8>>> {
        self.sink.append(|buffer| buffer.extend_from_slice(&END))?;
        self.sink.flush()?;
        Ok(self.names.unwrap_or_default())
    }

    fn remember(&mut self, path: &[u8]) {
        if let Some(names) = &mut self.names {
            names.insert(path.to_vec());
        }
    }

    fn own(&mut self, path: &[u8], mode: u32, body: Body<'_>, content: &[u8]) -> Result<()> {
        self.remember(path);
        let mtime = self.time.unwrap_or_default();
        let member = Member { path, body, mode, uid: 0, gid: 0, mtime, xattrs: &[] };
        self.sink.append(|buffer| {
            write_member(&member, buffer);
            buffer.extend_from_slice(content);
        })?;
        self.sink.pad(content.len() as u64)
    }

    /// Depth first, with a stack of our own: a tree may be deeper than ours.
    fn tree(&mut self, flat: &mut Flat<'_>, prefix: &[u8]) -> Result<()> {
        let mut path = prefix.to_vec();
        let mut stack = vec![Open::new(flat.tree, 0, path.len())];
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
            let is_directory = matches!(flat.tree.inode(number).body, erofs::Body::Directory);
            self.member(flat, &path, number)?;
            if is_directory {
                stack.push(Open::new(flat.tree, number, path.len()));
            }
        }
        Ok(())
    }

    fn member(&mut self, flat: &mut Flat<'_>, path: &[u8], number: u32) -> Result<()> {
        let inode = flat.tree.inode(number);
        let device = |device: erofs::Rdev| Device { major: device.major, minor: device.minor };
        let is_directory = matches!(inode.body, erofs::Body::Directory);
        let first = flat.links.get(&number).cloned();
        if first.is_none() && inode.links > 1 && !is_directory {
            flat.links.insert(number, path.to_vec());
        }
        let mut extents = Vec::new();
        let pieces: Vec<(u64, u64)>;
        let body = match (&first, inode.body) {
            (Some(first), _) => Body::Hardlink(first),
            (None, erofs::Body::File { size }) => {
                flat.tree.extents(number, &mut extents);
                pieces = extents.iter().map(|extent| (extent.offset, extent.length)).collect();
                match pieces.as_slice() {
                    [(0, length)] if *length == size => Body::File(size),
                    [] if size == 0 => Body::File(0),
                    pieces => Body::Sparse { size, pieces },
                }
            }
            (None, erofs::Body::Directory) => Body::Directory,
            (None, erofs::Body::Symlink(target)) => Body::Symlink(target),
            (None, erofs::Body::CharDevice(_) | erofs::Body::BlockDevice(_)) if !self.has_devices => {
                flat.links.remove(&number);
                tracing::debug!(path = %super::shown(path), "left out: it is a device");
                return Ok(());
            }
            (None, erofs::Body::CharDevice(number)) => Body::CharDevice(device(number)),
            (None, erofs::Body::BlockDevice(number)) => Body::BlockDevice(device(number)),
            (None, erofs::Body::Fifo) => Body::Fifo,
            // No tar has one.
            (None, erofs::Body::Socket) => return Ok(()),
        };
        self.remember(path);
        let mtime = Time { secs: inode.mtime.secs, nanos: inode.mtime.nanos };
        let sets = usize::try_from(inode.xattrs).ok().and_then(|set| flat.sets.get(set));
        let member = Member {
            path,
            body,
            mode: u32::from(inode.mode) & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: self.time.unwrap_or(mtime),
            // A further name of a file says nothing about it.
            xattrs: sets.filter(|_| first.is_none()).map_or(&[], Vec::as_slice),
        };
        self.sink.append(|buffer| write_member(&member, buffer))?;
        let mut length = 0;
        for extent in &extents {
            if let Some(tar) = flat.tars.get(usize::from(extent.device)) {
                self.sink.file(tar.as_fd(), extent.source, extent.length, path)?;
                length += extent.length;
            }
        }
        self.sink.pad(length)
    }
}

fn xattrs(tree: &Tree, set: u32) -> Vec<Xattr> {
    let mut all = Vec::new();
    tree.xattr_set(set, &mut |name, value| all.push(Xattr { name: name.into(), value: value.into() }));
    all
}
