//! What a writable layer changed: as a list, and as the tar of a layer.
//!
//! | in the upper layer | below | change | in the tar |
//! |---|---|---|---|
//! | anything | nothing | added | itself |
//! | anything | anything | modified | itself |
//! | a whiteout | anything | deleted | `.wh.NAME` |
//! | an opaque directory | a directory | modified, and what is not in it any more deleted | itself and `.wh..wh..opq` |
//! | a mount point that the start of a container made | nothing | none | nothing |
//!
//! A directory of which something changed is in the upper layer too, and so is modified. The root is not told of; it is in
//! the tar when its mode or its owner changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::pack::{Packer, Times};
use super::stack::{Layer, Stack};
use super::{DEPTH_LIMIT, Packed, at};
use crate::error::{Error, Result};

/// One name that changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute.
    pub path: Vec<u8>,
    /// How.
    pub kind: ChangeKind,
}

/// How a name changed; the numbers are Docker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is something else, or has another content or other attributes.
    Modified = 0,
    /// It was not there.
    Added = 1,
    /// It is not there any more.
    Deleted = 2,
}

/// Paths at which the start of a container makes empty files and directories to mount on, which are no changes of its own.
#[derive(Clone, Debug, Default)]
pub struct MountPoints(Vec<Vec<u8>>);

impl MountPoints {
    /// By their absolute paths, as the container sees them.
    pub fn new(paths: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self(paths.into_iter().map(Into::into).collect())
    }

    /// As a tree of names, after the links on the way to them.
    fn tree(&self, merged: &Stack) -> Result<Points> {
        let mut tree = Points::default();
        for path in &self.0 {
            let mut here = &mut tree;
            for name in merged.resolve(path)? {
                here = here.0.entry(name).or_default();
            }
        }
        Ok(tree)
    }
}

/// Names on the way to mount points.
#[derive(Debug, Default)]
struct Points(BTreeMap<Vec<u8>, Points>);

/// All changes of the uppermost layer of a stack against the others, sorted by path.
///
/// # Errors
/// If something cannot be read.
pub fn changes(stack: Stack, mount_points: &MountPoints) -> Result<Vec<Change>> {
    let mut list = List(Vec::new());
    walk(stack, mount_points, &mut list)?;
    list.0.sort_unstable();
    Ok(list.0)
}

/// The same as the tar of a layer; equal changes give equal bytes.
///
/// # Errors
/// If something cannot be read, or the tar not be written.
pub fn layer(stack: Stack, mount_points: &MountPoints, times: Times, out: BorrowedFd<'_>) -> Result<Packed> {
    let mut tar = Tar(Packer::new(out, times));
    walk(stack, mount_points, &mut tar)?;
    tar.0.finish()
}

/// What is made of the changes.
trait Visitor {
    /// A name of the upper layer. Directories come before what is in them.
    fn present(&mut self, entry: &Entry<'_>, kind: ChangeKind) -> Result<()>;
    /// A name that is below and was deleted. `by_directory`: its directory hides all that is below.
    fn deleted(&mut self, path: &[u8], by_directory: bool) -> Result<()>;
    /// The directory that was told of last hides what is below.
    fn opaque(&mut self, path: &[u8]) -> Result<()>;
    /// The root has another mode or owner.
    fn root(&mut self, root: &Layer, stat: &Stat) -> Result<()>;
}

/// A name of the upper layer.
struct Entry<'a> {
    path: &'a [u8],
    name: &'a [u8],
    stat: &'a Stat,
    /// The directory that has the name.
    parent: &'a Layer,
    /// What it stands for, if that is a directory.
    directory: Option<&'a Layer>,
}

struct List(Vec<Change>);

impl List {
    fn add(&mut self, path: &[u8], kind: ChangeKind) {
        self.0.push(Change { path: [b"/", path].concat(), kind });
    }
}

impl Visitor for List {
    fn present(&mut self, entry: &Entry<'_>, kind: ChangeKind) -> Result<()> {
        self.add(entry.path, kind);
        Ok(())
    }

    fn deleted(&mut self, path: &[u8], _by_directory: bool) -> Result<()> {
        self.add(path, ChangeKind::Deleted);
        Ok(())
    }

    fn opaque(&mut self, _path: &[u8]) -> Result<()> {
        Ok(())
    }

    fn root(&mut self, _root: &Layer, _stat: &Stat) -> Result<()> {
        Ok(())
    }
}

struct Tar<'a>(Packer<'a>);

impl Visitor for Tar<'_> {
    fn present(&mut self, entry: &Entry<'_>, _kind: ChangeKind) -> Result<()> {
        if entry.name.starts_with(b".wh.") {
            // In a layer this would be a deletion.
            return Err(Error::Unlayered {
                path: super::shown(entry.path),
                reason: "a name that begins with .wh. is a mark in a layer",
            });
        }
        match entry.directory {
            Some(directory) => self.0.directory(entry.path, directory, entry.stat),
            None => self.0.other(entry.path, entry.parent, entry.name, entry.stat),
        }
    }

    fn deleted(&mut self, path: &[u8], by_directory: bool) -> Result<()> {
        if by_directory {
            return Ok(());
        }
        let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        self.0.mark(&[&path[..name], b".wh.", &path[name..]].concat())
    }

    fn opaque(&mut self, path: &[u8]) -> Result<()> {
        self.0.mark(&[path, b"/.wh..wh..opq"].concat())
    }

    fn root(&mut self, root: &Layer, stat: &Stat) -> Result<()> {
        self.0.directory(b".", root, stat)
    }
}

fn walk(stack: Stack, mount_points: &MountPoints, visitor: &mut dyn Visitor) -> Result<()> {
    let points = mount_points.tree(&stack)?;
    let (Some(upper), lower) = stack.split() else { return Ok(()) };
    let stat = fstat(&upper.directory).map_err(at("examine", b""))?;
    if let Some(below) = lower.layers.first() {
        let below = fstat(&below.directory).map_err(at("examine", b""))?;
        if !is_alike(&stat, &below) {
            visitor.root(&upper, &stat)?;
        }
    }
    let mut walk = Walk { visitor, path: Vec::new() };
    walk.directory(&upper, Some(&lower), Some(&points), (false, 0))
}

struct Walk<'a> {
    visitor: &'a mut dyn Visitor,
    path: Vec<u8>,
}

impl Walk<'_> {
    /// What is in a directory of the upper layer. `covered`: nothing below is seen any more; with it the depth.
    fn directory(
        &mut self,
        upper: &Layer,
        lower: Option<&Stack>,
        points: Option<&Points>,
        (covered, depth): (bool, usize),
    ) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(at("enter", &self.path)(Errno::NAMETOOLONG));
        }
        let names = sorted(upper, &self.path)?;
        for name in &names {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            let points = points.and_then(|points| points.0.get(name));
            self.name(upper, lower, (name, points), (covered, depth))?;
            self.path.truncate(length);
        }
        let Some(lower) = lower.filter(|_| covered) else { return Ok(()) };
        let names: BTreeSet<Vec<u8>> = names.into_iter().collect();
        for (name, _) in lower.names(&self.path)?.into_iter().filter(|(name, _)| !names.contains(name)) {
            self.visitor.deleted(&[&self.path[..], b"/", &name].concat(), true)?;
        }
        Ok(())
    }

    fn name(
        &mut self,
        upper: &Layer,
        lower: Option<&Stack>,
        (name, points): (&[u8], Option<&Points>),
        (covered, depth): (bool, usize),
    ) -> Result<()> {
        let Some(stat) = upper.stat(name, &self.path)? else { return Ok(()) };
        let below = match lower {
            Some(lower) => lower.find(name, &self.path)?,
            None => None,
        };
        if upper.is_whiteout_file(name, &stat) {
            return if below.is_some() { self.visitor.deleted(&self.path, covered) } else { Ok(()) };
        }
        let kind = if below.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let is_point = kind == ChangeKind::Added && stat.st_size == 0 && points.is_some();
            if is_point && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                return Ok(());
            }
            let entry = Entry { path: &self.path, name, stat: &stat, parent: upper, directory: None };
            return self.visitor.present(&entry, kind);
        }
        let Some(directory) = upper.enter(name, &self.path)? else { return Ok(()) };
        let inner = match (lower, &below) {
            (Some(lower), Some(found)) => lower.enter(name, found.layer, &self.path)?,
            _ => None,
        };
        let same = below.as_ref().is_some_and(|below| is_alike(&below.stat, &stat));
        if let Some(points) = points
            && (same || below.is_none())
            && !has_changes(&directory, inner.as_ref(), points, &self.path)?
        {
            return Ok(());
        }
        let entry = Entry { path: &self.path, name, stat: &stat, parent: upper, directory: Some(&directory) };
        self.visitor.present(&entry, kind)?;
        let hides = directory.is_opaque && inner.is_some();
        if hides && !covered {
            self.visitor.opaque(&self.path)?;
        }
        self.directory(&directory, inner.as_ref(), points, (covered || hides, depth + 1))
    }
}

/// Whether anything in a directory on the way to mount points is more than such a point.
fn has_changes(upper: &Layer, lower: Option<&Stack>, points: &Points, path: &[u8]) -> Result<bool> {
    if upper.is_opaque && lower.is_some() {
        return Ok(true);
    }
    for name in sorted(upper, path)? {
        let Some(stat) = upper.stat(&name, path)? else { continue };
        let Some(points) = points.0.get(&name) else { return Ok(true) };
        let below = lower.map(|lower| lower.find(&name, path)).transpose()?.flatten();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::RegularFile && stat.st_size == 0 && below.is_none() {
            continue;
        }
        if kind != FileType::Directory || below.as_ref().is_some_and(|below| !is_alike(&below.stat, &stat)) {
            return Ok(true);
        }
        let Some(directory) = upper.enter(&name, path)? else { continue };
        let inner = match (lower, &below) {
            (Some(lower), Some(found)) => lower.enter(&name, found.layer, path)?,
            _ => None,
        };
        if has_changes(&directory, inner.as_ref(), points, path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether two files have the same kind, mode and owner.
fn is_alike(one: &Stat, other: &Stat) -> bool {
    (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)
}

/// Every name, whiteouts too.
fn sorted(layer: &Layer, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    layer.list(path, &mut |name, _| {
        names.push(name.to_owned());
        Ok(())
    })?;
    names.sort_unstable();
    Ok(names)
}
