//! A tree as members of an archive.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    FileType, Mode, OFlags, SeekFrom, Stat, fgetxattr, flistxattr, fstat, fstatfs, openat, readlinkat, seek,
};
use rustix::io::Errno;

use super::sink::Sink;
use super::stack::{Layer, Stack};
use super::{DEPTH_LIMIT, at};
use crate::error::Result;
use crate::tar::{Body, Device, END, Member, Time, Xattr, write_member};

/// A file with fewer bytes of holes is written whole.
const HOLES: u64 = 64 << 10;
/// A file in more pieces is written whole; the parser takes 65,536.
const PIECES: usize = 65_000;

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Bytes of the archive.
    pub bytes: u64,
    /// Members.
    pub members: u64,
}

/// Which times of change are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Those that the files have.
    #[default]
    Exact,
    /// Whole seconds, and none later than a limit in seconds since 1970, if there is one. Cutting keeps their order.
    Seconds {
        /// The limit.
        latest: Option<i64>,
    },
}

impl Times {
    fn of(self, stat: &Stat) -> Time {
        let exact = time(stat);
        match self {
            Times::Exact => exact,
            Times::Seconds { latest } => {
                Time { secs: latest.map_or(exact.secs, |latest| exact.secs.min(latest)), nanos: 0 }
            }
        }
    }
}

/// Writes members.
pub(super) struct Packer<'a> {
    sink: Sink<'a>,
    times: Times,
    members: u64,
    /// The first path of each file with several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<'a> Packer<'a> {
    pub(super) fn new(out: BorrowedFd<'a>, times: Times) -> Self {
        Self { sink: Sink::new(out), times, members: 0, links: HashMap::new() }
    }

    /// A directory, without what is in it.
    pub(super) fn directory(&mut self, path: &[u8], layer: &Layer, stat: &Stat) -> Result<()> {
        self.member(path, Body::Directory, stat, &xattrs(layer.directory.as_fd()))
    }

    /// What is no directory. One that is gone by now is left out, and so are sockets, which nothing could connect to.
    pub(super) fn other(&mut self, path: &[u8], layer: &Layer, name: &[u8], stat: &Stat) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile {
            return self.file(path, layer, name, stat);
        }
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&key) {
                let first = first.clone();
                return self.member(path, Body::Hardlink(&first), stat, &[]);
            }
            self.links.insert(key, path.to_owned());
        }
        let target;
        let body = match kind {
            FileType::Symlink => {
                target = match readlinkat(&layer.directory, name, Vec::new()) {
                    Ok(target) => target,
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                    Err(errno) => return Err(at("read", path)(errno)),
                };
                Body::Symlink(target.as_bytes())
            }
            FileType::CharacterDevice => Body::CharDevice(device(stat)),
            FileType::BlockDevice => Body::BlockDevice(device(stat)),
            FileType::Fifo => Body::Fifo,
            FileType::Socket | FileType::Unknown | FileType::Directory | FileType::RegularFile => {
                tracing::debug!(path = %super::shown(path), "left out: it is a socket");
                return Ok(());
            }
        };
        self.member(path, body, stat, &[])
    }

    fn file(&mut self, path: &[u8], layer: &Layer, name: &[u8], seen: &Stat) -> Result<()> {
        // Should it have become something else meanwhile: no link is followed, no pipe waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if seen.st_nlink > 1 {
            let key = (seen.st_dev, seen.st_ino);
            if let Some(first) = self.links.get(&key) {
                let first = first.clone();
                return self.member(path, Body::Hardlink(&first), seen, &[]);
            }
        }
        let file = match openat(&layer.directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(at("open", path)(errno)),
        };
        let stat = fstat(&file).map_err(at("examine", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let xattrs = xattrs(file.as_fd());
        match pieces(file.as_fd(), &stat) {
            Some(pieces) => {
                self.member(path, Body::Sparse { size, pieces: &pieces }, &stat, &xattrs)?;
                for (offset, length) in &pieces {
                    self.sink.file(file.as_fd(), *offset, *length, path)?;
                }
                self.sink.pad(pieces.iter().map(|(_, length)| length).sum())
            }
            None => {
                self.member(path, Body::File(size), &stat, &xattrs)?;
                self.sink.file(file.as_fd(), 0, size, path)?;
                self.sink.pad(size)
            }
        }
    }

    /// An empty file that stands for something else.
    pub(super) fn mark(&mut self, path: &[u8]) -> Result<()> {
        self.members += 1;
        let mtime = Time::default();
        let member = Member { path, body: Body::File(0), mode: 0, uid: 0, gid: 0, mtime, xattrs: &[] };
        self.sink.append(|buffer| write_member(&member, buffer))
    }

    fn member(&mut self, path: &[u8], body: Body<'_>, stat: &Stat, xattrs: &[Xattr]) -> Result<()> {
        self.members += 1;
        let member = Member {
            path,
            body,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: self.times.of(stat),
            xattrs,
        };
        self.sink.append(|buffer| write_member(&member, buffer))
    }

    /// The end mark.
    pub(super) fn finish(mut self) -> Result<Packed> {
        self.sink.append(|buffer| buffer.extend_from_slice(&END))?;
        self.sink.flush()?;
        Ok(Packed { bytes: self.sink.taken(), members: self.members })
    }

    /// Everything in a directory, which itself is `path`.
    fn contents(&mut self, stack: &Stack, path: &mut Vec<u8>, depth: usize) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(at("enter", path)(Errno::NAMETOOLONG));
        }
        for (name, layer) in stack.names(path)? {
            let Some(stat) = stack.layers[layer].stat(&name, path)? else { continue };
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                if let Some(inner) = stack.enter(&name, layer, path)? {
                    self.directory(path, &inner.layers[0], &stat)?;
                    if !is_apart(stack, &inner) {
                        self.contents(&inner, path, depth + 1)?;
                    }
                }
            } else {
                self.other(path, &stack.layers[layer], &name, &stat)?;
            }
            path.truncate(length);
        }
        Ok(())
    }
}

/// Packs everything in a stack of layers, merged. The root itself is no member.
///
/// # Errors
/// If a file cannot be read, or the archive not be written.
pub fn export(stack: &Stack, out: BorrowedFd<'_>) -> Result<Packed> {
    let mut packer = Packer::new(out, Times::Exact);
    packer.contents(stack, &mut Vec::new(), 0)?;
    packer.finish()
}

/// What is packed by itself.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A directory with all that is in it.
    Directory(&'a Stack),
    /// Something else, by its name in a directory.
    Other {
        /// The directory.
        parent: &'a Stack,
        /// Its name there.
        name: &'a [u8],
    },
}

/// Packs an item as `path`.
///
/// Of file systems that the kernel makes up (procfs and its like), and of memory, only the directory that they are mounted
/// on is packed, unless they are what is asked for.
///
/// # Errors
/// If it is not there or cannot be read, or the archive not be written.
pub fn pack(item: Item<'_>, path: &[u8], out: BorrowedFd<'_>) -> Result<Packed> {
    let mut packer = Packer::new(out, Times::Exact);
    match item {
        Item::Directory(stack) => {
            let Some(layer) = stack.layers.first() else { return Err(at("open", path)(Errno::NOENT)) };
            let stat = fstat(&layer.directory).map_err(at("examine", path))?;
            packer.directory(path, layer, &stat)?;
            packer.contents(stack, &mut path.to_owned(), 0)?;
        }
        Item::Other { parent, name } => {
            let Some(found) = parent.find(name, path)? else { return Err(at("open", path)(Errno::NOENT)) };
            packer.other(path, &parent.layers[found.layer], name, &found.stat)?;
        }
    }
    packer.finish()
}

/// Whether a directory is where a file system of no lasting content begins.
fn is_apart(outer: &Stack, inner: &Stack) -> bool {
    const APART: [u32; 9] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0102_1994, // tmpfs
        0x1cd1,      // devpts
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x1980_0202, // mqueue
        0xcafe_4a11, // bpf
        0x6462_6720, // debugfs
    ];
    let ([outer], [inner]) = (outer.layers.as_slice(), inner.layers.as_slice()) else { return false };
    let device = |layer: &Layer| fstat(&layer.directory).map(|stat| stat.st_dev);
    let same = device(outer).is_ok_and(|outer| device(inner).is_ok_and(|inner| inner == outer));
    !same
        && fstatfs(&inner.directory)
            .is_ok_and(|found| u32::try_from(found.f_type).is_ok_and(|kind| APART.contains(&kind)))
}

fn device(stat: &Stat) -> Device {
    Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) }
}

/// When a file was modified.
#[must_use]
pub fn time(stat: &Stat) -> Time {
    Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) }
}

/// The pieces of data (offset and length, ascending) of a file with holes worth leaving out.
#[must_use]
pub fn pieces(file: BorrowedFd<'_>, stat: &Stat) -> Option<Vec<(u64, u64)>> {
    let size = u64::try_from(stat.st_size).ok()?;
    let blocks = u64::try_from(stat.st_blocks).ok()?.saturating_mul(512);
    if blocks.saturating_add(HOLES) > size {
        return None;
    }
    let (mut pieces, mut end, mut stored) = (Vec::new(), 0, 0);
    while end < size {
        let start = match seek(file, SeekFrom::Data(end)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        end = seek(file, SeekFrom::Hole(start)).ok()?.min(size);
        if start >= end || pieces.len() == PIECES {
            // It changes under our hands, or is in shreds.
            return None;
        }
        pieces.push((start, end - start));
        stored += end - start;
    }
    (stored + HOLES <= size).then_some(pieces)
}

/// The attributes that belong to a file's content, sorted: those of users, capabilities, and what root keeps, but for an
/// overlay's own marks. Access lists and labels name what exists only where they were made.
#[must_use]
pub fn xattrs(file: BorrowedFd<'_>) -> Vec<Xattr> {
    let mut few = [0; 1024];
    let mut many = Vec::new();
    let names = match flistxattr(file, &mut few[..]) {
        Ok(length) => &few[..length],
        Err(Errno::RANGE) => {
            // The most that there can be.
            many.resize(64 << 10, 0);
            let Ok(length) = flistxattr(file, &mut many[..]) else { return Vec::new() };
            &many[..length]
        }
        Err(_) => return Vec::new(),
    };
    let mut found = Vec::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let Some(kept) = kept_name(name) else { continue };
        let mut value = vec![0; 65_535];
        let Ok(length) = fgetxattr(file, name, &mut value[..]) else { continue };
        value.truncate(length);
        if name == b"security.capability" {
            value = unbound(value);
        }
        found.push(Xattr { name: kept.into(), value: value.into() });
    }
    found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Under which name an attribute is kept. One that an overlay has made room for gets its own name back.
fn kept_name(name: &[u8]) -> Option<Vec<u8>> {
    for prefix in [&b"trusted."[..], b"user."] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return match rest.strip_prefix(b"overlay.") {
                Some(escaped) => escaped.starts_with(b"overlay.").then(|| [prefix, escaped].concat()),
                None => Some(name.to_owned()),
            };
        }
    }
    (name == b"security.capability").then(|| name.to_owned())
}

/// Capabilities without the user namespace to whose root they are bound: those of an image are bound to each container's.
fn unbound(mut value: Vec<u8>) -> Vec<u8> {
    const VERSION_2: u8 = 2;
    const VERSION_3: u8 = 3;
    // Five little-endian words: version and flag, two pairs of sets; in version 3 a sixth, the id of that root.
    if value.len() == 24 && value[3] == VERSION_3 {
        value[3] = VERSION_2;
        value.truncate(20);
    }
    value
}
