//! Files of many archives as one tree, and that as one archive: sorted, each path once.
//!
//! Data is spooled to one nameless file; what is kept in memory are names and owners. An archive is as hostile here as
//! anywhere: the parser of `image` has refused paths that leave the root, no name ever becomes a path of this host, and
//! nothing is put below what is no directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use image::tar::{
    Body, Device, END, Entry, Kind, Limits, Member, Parser, Time, Xattr, padding, write_member,
};

use super::error::BootstrapError as Failure;

/// More bytes than an image is made of.
const BYTES_LIMIT: u64 = 64 << 30;
/// Who owns what no package does.
const OWN: &str = "";

/// See the head of the file.
pub(super) struct Tree {
    spool: File,
    end: u64,
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Top folders whose content lies below `usr`.
    merged: Vec<&'static [u8]>,
}

#[derive(Clone)]
struct Node {
    what: What,
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: Vec<Xattr>,
    /// Whose it is, for errors.
    owner: Arc<str>,
}

#[derive(Clone)]
enum What {
    /// Several names of one file share it.
    File(Arc<Data>),
    Directory,
    Symlink(Vec<u8>),
    CharDevice(Device),
    BlockDevice(Device),
    Fifo,
}

struct Data {
    size: u64,
    /// Offset in the file, offset in the spool, length.
    pieces: Vec<(u64, u64, u64)>,
}

/// What becomes of a file that two packages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// The one that is there stays.
    Keep,
    /// The new one replaces it.
    Replace,
    /// It is an error.
    Refuse,
}

impl Tree {
    /// A root with the links of a merged `usr`, which the packages of no release before 13 bring themselves.
    pub(super) fn new(tmp: &Path, architecture: &str) -> Result<Tree, Failure> {
        let mut merged: Vec<&[u8]> = vec![b"bin", b"lib", b"sbin"];
        if matches!(architecture, "amd64" | "ppc64el" | "mips64el" | "loong64") {
            merged.push(b"lib64");
        }
        let mut tree = Tree { spool: super::spool(tmp)?, end: 0, nodes: BTreeMap::new(), merged: Vec::new() };
        tree.directory("", 0o755);
        tree.directory("usr", 0o755);
        for name in &merged {
            let name = String::from_utf8_lossy(name);
            tree.directory(&format!("usr/{name}"), 0o755);
            tree.symlink(&name, &format!("usr/{name}"));
        }
        tree.merged = merged;
        Ok(tree)
    }

    /// Adds what an archive holds; the paths of it, as they are in the tree. `clash` is asked with the owner of what is
    /// there.
    pub(super) fn add(
        &mut self,
        owner: &str,
        archive: &mut dyn Read,
        clash: &dyn Fn(&str) -> Clash,
    ) -> Result<(), Failure> {
        let failed = |source| Failure::Tar { package: owner.to_owned(), source };
        let start = self.end;
        let name: Arc<str> = owner.into();
        let mut parser = Parser::new(Limits::default());
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = match archive.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let reason = format!("it cannot be decompressed: {source}");
                    return Err(Failure::Contents { package: owner.to_owned(), reason });
                }
            };
            let mut entries = Vec::new();
            let mut take = |entry| {
                entries.push(entry);
                Ok::<(), image::tar::Error>(())
            };
            parser.push(&buffer[..read], &mut take).map_err(failed)?;
            self.spool.write_all_at(&buffer[..read], self.end).map_err(Failure::Stream)?;
            self.end += read as u64;
            if self.end > BYTES_LIMIT {
                return Err(Failure::Contents {
                    package: owner.to_owned(),
                    reason: "it is too large".to_owned(),
                });
            }
            for entry in entries {
                self.take(entry, &name, start, clash)?;
            }
        }
        match parser.finish().map_err(failed)?.terminated {
            true => Ok(()),
            false => {
                Err(Failure::Contents { package: owner.to_owned(), reason: "it is truncated".to_owned() })
            }
        }
    }

    fn take(
        &mut self,
        entry: Entry,
        owner: &Arc<str>,
        start: u64,
        clash: &dyn Fn(&str) -> Clash,
    ) -> Result<(), Failure> {
        let is_directory = matches!(entry.kind, Kind::Directory);
        let path = self.place(entry.path.as_bytes(), is_directory);
        let what = match entry.kind {
            Kind::File(content) => {
                let pieces =
                    content.extents().iter().map(|piece| (piece.offset, start + piece.source, piece.length));
                What::File(Arc::new(Data { size: content.size, pieces: pieces.collect() }))
            }
            Kind::Directory => What::Directory,
            Kind::Symlink(target) => What::Symlink(target.into_vec()),
            Kind::Hardlink(target) => {
                let target = self.place(target.as_bytes(), false);
                match self.nodes.get(&target) {
                    // All names of a file are alike.
                    Some(node) if !matches!(node.what, What::Directory) => {
                        let node = node.clone();
                        return self.put(path, Node { owner: Arc::clone(owner), ..node }, clash);
                    }
                    _ => {
                        let reason = format!("{} is a link to what is not there", shown(&path));
                        return Err(Failure::Contents { package: owner.to_string(), reason });
                    }
                }
            }
            Kind::CharDevice(device) => What::CharDevice(device),
            Kind::BlockDevice(device) => What::BlockDevice(device),
            Kind::Fifo => What::Fifo,
        };
        let Entry { mode, uid, gid, mtime, xattrs, .. } = entry;
        self.put(path, Node { what, mode, uid, gid, mtime, xattrs, owner: Arc::clone(owner) }, clash)
    }

    /// Where something belongs, given that some top folders are links.
    fn place(&self, path: &[u8], is_directory: bool) -> Vec<u8> {
        let (top, below) = match path.iter().position(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], true),
            None => (path, false),
        };
        match self.merged.contains(&top) && (below || is_directory) {
            true => [b"usr/", path].concat(),
            false => path.to_owned(),
        }
    }

    fn put(&mut self, path: Vec<u8>, node: Node, clash: &dyn Fn(&str) -> Clash) -> Result<(), Failure> {
        self.parents(&path, &node.owner)?;
        let is_directory = |node: &Node| matches!(node.what, What::Directory);
        if let Some(there) = self.nodes.get(&path) {
            match (is_directory(there), is_directory(&node)) {
                // The first one says whose it is; those of packages agree.
                (true, true) if &*there.owner != OWN => return Ok(()),
                (true, true) => {}
                (false, true) if matches!(there.what, What::Symlink(_)) => return Ok(()),
                // What the packages of later releases bring themselves.
                (false, false) if self.merged.contains(&path.as_slice()) => return Ok(()),
                (false, false) => match clash(&there.owner) {
                    Clash::Keep => return Ok(()),
                    Clash::Replace => {}
                    Clash::Refuse => {
                        return Err(Failure::Clash {
                            first: there.owner.to_string(),
                            second: node.owner.to_string(),
                            path: shown(&path),
                        });
                    }
                },
                (true, false) | (false, true) => {
                    let reason =
                        format!("{} is a directory in one package and none in another", shown(&path));
                    return Err(Failure::Contents { package: node.owner.to_string(), reason });
                }
            }
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Makes missing parents; refuses those that are no directories.
    fn parents(&mut self, path: &[u8], owner: &Arc<str>) -> Result<(), Failure> {
        let slashes: Vec<usize> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).collect();
        for at in slashes {
            match self.nodes.get(&path[..at]) {
                Some(node) if matches!(node.what, What::Directory) => {}
                Some(_) => {
                    let reason = format!("{} lies below what is no directory", shown(path));
                    return Err(Failure::Contents { package: owner.to_string(), reason });
                }
                None => {
                    self.nodes.insert(path[..at].to_vec(), Node::own(What::Directory, 0o755));
                }
            }
        }
        Ok(())
    }

    /// Puts a directory of root's, unless there is one.
    pub(super) fn directory(&mut self, path: &str, mode: u16) {
        self.insert(path, What::Directory, mode, false);
    }

    /// Puts a directory of somebody's, unless there is one.
    pub(super) fn owned_directory(&mut self, path: &str, mode: u16, id: u32) {
        if !self.contains(path) {
            self.insert(path, What::Directory, mode, false);
            if let Some(node) = self.nodes.get_mut(path.as_bytes()) {
                (node.uid, node.gid) = (id, id);
            }
        }
    }

    /// Puts a link of root's, unless something is there.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path, What::Symlink(target.as_bytes().to_vec()), 0o777, false);
    }

    /// Puts a file of root's, in place of what is there.
    pub(super) fn file(&mut self, path: &str, mode: u16, content: &[u8]) -> Result<(), Failure> {
        self.spool.write_all_at(content, self.end).map_err(Failure::Stream)?;
        let size = content.len() as u64;
        let pieces = if size == 0 { Vec::new() } else { vec![(0, self.end, size)] };
        self.end += size;
        self.insert(path, What::File(Arc::new(Data { size, pieces })), mode, true);
        Ok(())
    }

    fn insert(&mut self, path: &str, what: What, mode: u16, replace: bool) {
        let node = Node::own(what, mode);
        if self.parents(path.as_bytes(), &node.owner).is_ok() && (replace || !self.contains(path)) {
            self.nodes.insert(path.as_bytes().to_vec(), node);
        }
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.as_bytes())
    }

    /// Removes something with all below it.
    pub(super) fn remove(&mut self, path: &str) {
        let path = path.as_bytes();
        self.nodes.retain(|known, _| {
            known != path && !(known.starts_with(path) && known.get(path.len()) == Some(&b'/'))
        });
    }

    /// Puts other content into a file, which keeps its owner and mode.
    pub(super) fn rewrite(&mut self, path: &str, content: &[u8]) -> Result<(), Failure> {
        let Some(node) = self.nodes.get(path.as_bytes()).cloned() else { return Ok(()) };
        self.file(path, node.mode, content)?;
        if let Some(new) = self.nodes.get_mut(path.as_bytes()) {
            *new = Node { what: new.what.clone(), ..node };
        }
        Ok(())
    }

    /// Names of what lies directly in a folder, in order.
    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let below = self.nodes.range(prefix.clone().into_bytes()..).map(|(path, _)| path);
        let below = below.take_while(|path| path.starts_with(prefix.as_bytes()));
        let names = below.map(|path| &path[prefix.len()..]).filter(|name| !name.contains(&b'/'));
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The content of a file that is not larger than `limit`; None where there is none.
    pub(super) fn content(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
        let What::File(data) = &self.nodes.get(path.as_bytes())?.what else { return None };
        let mut bytes = vec![0; usize::try_from(data.size).ok().filter(|_| data.size <= limit)?];
        for (offset, source, length) in &data.pieces {
            let start = usize::try_from(*offset).ok()?;
            let end = start + usize::try_from(*length).ok()?;
            self.spool.read_exact_at(bytes.get_mut(start..end)?, *source).ok()?;
        }
        Some(bytes)
    }

    /// Writes all of it as one archive, in which nothing is younger than `latest`.
    pub(super) fn write(&self, out: &mut dyn Write, latest: i64) -> io::Result<()> {
        let latest = Time { secs: latest, nanos: 0 };
        let mut first_names: BTreeMap<*const Data, &[u8]> = BTreeMap::new();
        let mut buffer = vec![0; 256 << 10];
        for (path, node) in &self.nodes {
            let name = if path.is_empty() { b"." } else { path.as_slice() };
            let mut data = None;
            let holes: Vec<(u64, u64)>;
            let body = match &node.what {
                What::File(shared) => {
                    let first = *first_names.entry(Arc::as_ptr(shared)).or_insert(name);
                    if first == name {
                        data = Some(shared);
                        let stored: u64 = shared.pieces.iter().map(|(_, _, length)| length).sum();
                        holes = shared.pieces.iter().map(|(offset, _, length)| (*offset, *length)).collect();
                        match stored == shared.size {
                            true => Body::File(shared.size),
                            false => Body::Sparse { size: shared.size, pieces: &holes },
                        }
                    } else {
                        Body::Hardlink(first)
                    }
                }
                What::Directory => Body::Directory,
                What::Symlink(target) => Body::Symlink(target),
                What::CharDevice(device) => Body::CharDevice(*device),
                What::BlockDevice(device) => Body::BlockDevice(*device),
                What::Fifo => Body::Fifo,
            };
            let Node { mode, uid, gid, mtime, xattrs, .. } = node;
            let mtime = Time { nanos: 0, ..(*mtime).min(latest) };
            let member =
                Member { path: name, body, mode: u32::from(*mode), uid: *uid, gid: *gid, mtime, xattrs };
            let mut header = Vec::new();
            write_member(&member, &mut header);
            out.write_all(&header)?;
            if let Some(data) = data {
                self.copy(data, out, &mut buffer)?;
            }
        }
        out.write_all(&END)
    }

    fn copy(&self, data: &Data, out: &mut dyn Write, buffer: &mut [u8]) -> io::Result<()> {
        let mut stored = 0;
        for (_, source, length) in &data.pieces {
            let (mut at, end) = (*source, source + length);
            while at < end {
                let take = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
                self.spool.read_exact_at(&mut buffer[..take], at)?;
                out.write_all(&buffer[..take])?;
                at += take as u64;
            }
            stored += length;
        }
        out.write_all(&vec![0; padding(stored)])
    }
}

impl Node {
    fn own(what: What, mode: u16) -> Node {
        let mtime = Time { secs: i64::MAX, nanos: 0 };
        Node { what, mode, uid: 0, gid: 0, mtime, xattrs: Vec::new(), owner: OWN.into() }
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
