//! One group in one hierarchy: making it, removing it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::{Controller, Mount};
use crate::path::GroupPath;

/// A group's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Node {
    /// Version 1 controllers of the hierarchy; empty in the unified one.
    pub(crate) controllers: Vec<Controller>,
    /// The group.
    pub(crate) dir: Dir,
    parent: Dir,
    name: OsString,
}

/// How often making a group starts over because its parent was removed meanwhile, or an empty one was in the way.
/// Each time somebody else got ahead of us, which cannot go on for long unless they do nothing else.
const ATTEMPTS: usize = 10_000;

impl Node {
    /// Makes the group, and the groups above it where they are missing.
    ///
    /// An empty group of that name is left from someone who was killed: it is replaced, so that no old limit
    /// holds. One in use is an error.
    pub(crate) fn make(mount: &Mount, path: &GroupPath) -> Result<Self> {
        let parents: PathBuf = path.parents.iter().collect();
        let full = || mount.point.join(&parents).join(&path.name);
        for _ in 0..ATTEMPTS {
            let parent = match Dir::open(&mount.point, &parents) {
                Ok(parent) => parent,
                Err(Errno::NOENT) => match make_parents(mount, &path.parents)? {
                    Some(parent) => parent,
                    None => continue,
                },
                Err(errno) => return Err(refused(full(), errno)),
            };
            match parent.make(&path.name) {
                Ok(()) => return Self::opened(mount, parent, &path.name),
                Err(Errno::EXIST) => match remove(&parent, &path.name) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::BUSY | Errno::NOTEMPTY) => return Err(Error::InUse { path: full() }),
                    Err(errno) => return Err(refused(full(), errno)),
                },
                // The parent was removed between its opening and now.
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(refused(full(), errno)),
            }
        }
        Err(Error::Group { attempt: "make", path: full(), errno: Errno::BUSY })
    }

    /// The group if it exists.
    pub(crate) fn open(mount: &Mount, path: &GroupPath) -> Result<Option<Self>> {
        let parents: PathBuf = path.parents.iter().collect();
        let failed = |errno| Error::Group { attempt: "open", path: mount.point.join(&parents), errno };
        let parent = match Dir::open(&mount.point, &parents) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        match parent.child(&path.name) {
            Ok(dir) => Ok(Some(Self {
                controllers: mount.controllers.clone(),
                dir,
                parent,
                name: path.name.clone(),
            })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn opened(mount: &Mount, parent: Dir, name: &OsString) -> Result<Self> {
        match parent.child(name) {
            Ok(dir) => Ok(Self { controllers: mount.controllers.clone(), dir, parent, name: name.clone() }),
            Err(errno) => {
                let path = parent.path().join(name);
                // The error that made it useless is the one to tell.
                let _ = remove(&parent, name);
                Err(Error::Group { attempt: "open", path, errno })
            }
        }
    }

    /// Removes the group; gone already is fine.
    pub(crate) fn remove(&self) -> std::result::Result<(), Errno> {
        match remove(&self.parent, &self.name) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            other => other,
        }
    }
}

/// Removes the groups of `path` in one hierarchy, the last first, up to the first that is not empty.
pub(crate) fn remove_empty(mount: &Mount, path: &GroupPath) {
    let names: Vec<_> = path.parents.iter().chain([&path.name]).collect();
    for (above, name) in names.iter().enumerate().rev() {
        let parents: PathBuf = names.iter().take(above).collect();
        let Ok(parent) = Dir::open(&mount.point, &parents) else { continue };
        if !matches!(remove(&parent, name), Ok(()) | Err(Errno::NOENT)) {
            return;
        }
    }
}

fn remove(parent: &Dir, name: &OsString) -> std::result::Result<(), Errno> {
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// The groups above ours, made where missing; `None` when one was removed under our hands.
fn make_parents(mount: &Mount, names: &[OsString]) -> Result<Option<Dir>> {
    let mut at =
        Dir::open(&mount.point, Path::new("")).map_err(|errno| refused(mount.point.clone(), errno))?;
    for name in names {
        match at.make(name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
            Err(errno) => return Err(refused(at.path().join(name), errno)),
        }
        at = match at.child(name) {
            Ok(child) => child,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(refused(at.path().join(name), errno)),
        };
    }
    Ok(Some(at))
}

/// Why a group cannot be made: because this process may not, or for another reason.
fn refused(path: PathBuf, errno: Errno) -> Error {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::NotDelegated { path, errno },
        _ => Error::Group { attempt: "make", path, errno },
    }
}
