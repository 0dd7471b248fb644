//! Layers of an overlay, read as overlayfs merges them, without mounting anything.
//!
//! A directory of the stack is the directory of that path in every layer that has it, uppermost first. What an upper layer
//! marks (overlayfs.rst, "whiteouts and opaque directories") hides what is below:
//!
//! | mark | on | means |
//! |---|---|---|
//! | character device 0/0 | a name | the name is deleted |
//! | `overlay.whiteout`, in a directory with `overlay.opaque` = `x` | an empty file | the same |
//! | `overlay.opaque` = `y` | a directory | nothing of the layers below is in it |
//! | `overlay.redirect` | a directory | it has the name of another one below: refused, as Skiff mounts no overlay that makes them |

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, fgetxattr, openat, statat};
use rustix::io::Errno;

use super::{PATH_LIMIT, at};
use crate::error::{Error, Result};

/// Where the marks of an overlay stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nowhere: a plain tree, in which a device 0/0 is a device.
    None,
    /// `trusted.overlay.*`, as root of the host makes them.
    Trusted,
    /// `user.overlay.*`, as everybody else makes them.
    User,
}

/// A directory of one layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) directory: OwnedFd,
    /// Hides what is below.
    pub(super) is_opaque: bool,
    /// Some files in it may be whiteouts.
    has_marked_files: bool,
    pub(super) marks: Marks,
}

/// A directory of a stack of layers.
#[derive(Debug)]
pub struct Stack {
    /// Uppermost first.
    pub(super) layers: Vec<Layer>,
}

/// What a name in a directory of a stack stands for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stat: Stat,
    /// Which layer of the directory has it.
    pub(super) layer: usize,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Stack {
    /// The roots of layers, uppermost first.
    ///
    /// # Errors
    /// If a root cannot be examined.
    pub fn new(roots: Vec<OwnedFd>, marks: Marks) -> Result<Self> {
        let layers = roots.into_iter().map(|root| Layer::new(root, marks, b"")).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// The roots of layers by their paths, uppermost first.
    ///
    /// # Errors
    /// If one cannot be opened.
    pub fn open<'a>(roots: impl IntoIterator<Item = &'a Path>, marks: Marks) -> Result<Self> {
        let open = |root: &Path| {
            use std::os::unix::ffi::OsStrExt as _;
            openat(CWD, root, DIRECTORY, Mode::empty()).map_err(at("open", root.as_os_str().as_bytes()))
        };
        Self::new(roots.into_iter().map(open).collect::<Result<_>>()?, marks)
    }

    /// What lies below the uppermost layer.
    pub(super) fn split(mut self) -> (Option<Layer>, Self) {
        let rest = self.layers.split_off(self.layers.len().min(1));
        (self.layers.pop(), Self { layers: rest })
    }

    /// The names in the directory, sorted, each with the layer that has it.
    pub(super) fn names(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, usize)>> {
        if let [only] = self.layers.as_slice() {
            let mut names: Vec<(Vec<u8>, usize)> = Vec::new();
            only.list(path, &mut |name, kind| {
                if !only.is_whiteout(name, kind, path)? {
                    names.push((name.to_owned(), 0));
                }
                Ok(())
            })?;
            names.sort_unstable();
            return Ok(names);
        }
        // `None` for a name that is hidden from here on.
        let mut names: BTreeMap<Vec<u8>, Option<usize>> = BTreeMap::new();
        for (number, layer) in self.layers.iter().enumerate() {
            layer.list(path, &mut |name, kind| {
                if !names.contains_key(name) {
                    let here = (!layer.is_whiteout(name, kind, path)?).then_some(number);
                    names.insert(name.to_owned(), here);
                }
                Ok(())
            })?;
        }
        Ok(names.into_iter().filter_map(|(name, layer)| Some((name, layer?))).collect())
    }

    /// What `name` is.
    pub(super) fn find(&self, name: &[u8], path: &[u8]) -> Result<Option<Found>> {
        for (number, layer) in self.layers.iter().enumerate() {
            let Some(stat) = layer.stat(name, path)? else { continue };
            if layer.is_whiteout_file(name, &stat) {
                return Ok(None);
            }
            return Ok(Some(Found { stat, layer: number }));
        }
        Ok(None)
    }

    /// The directory `name`, which the layer `first` has; `None` if it is gone meanwhile.
    pub(super) fn enter(&self, name: &[u8], first: usize, path: &[u8]) -> Result<Option<Self>> {
        let mut layers = Vec::new();
        for layer in &self.layers[first..] {
            let Some(stat) = layer.stat(name, path)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                break;
            }
            let Some(child) = layer.enter(name, path)? else { continue };
            let is_opaque = child.is_opaque;
            layers.push(child);
            if is_opaque {
                break;
            }
        }
        Ok((!layers.is_empty()).then_some(Self { layers }))
    }

    /// The components of `path` after all symbolic links on the way, as far as it exists, taken from here as from `/`.
    pub(super) fn resolve(&self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                continue;
            }
            let target = self.link_at(&done, &name)?;
            done.push(name);
            let Some(target) = target.filter(|_| links < 40) else { continue };
            links += 1;
            done.pop();
            if target.first() == Some(&b'/') {
                done.clear();
            }
            todo.extend(components(&target).rev().map(<[u8]>::to_vec));
        }
        Ok(done)
    }

    /// Where the link `name` in a directory leads; `None` if it is no link.
    fn link_at(&self, directory: &[Vec<u8>], name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut inner: Option<Stack> = None;
        for component in directory {
            let here = inner.as_ref().unwrap_or(self);
            let Some(found) = here.find(component, component)? else { return Ok(None) };
            inner = here.enter(component, found.layer, component)?;
            if inner.is_none() {
                return Ok(None);
            }
        }
        let here = inner.as_ref().unwrap_or(self);
        match here.find(name, name)? {
            Some(found) if FileType::from_raw_mode(found.stat.st_mode) == FileType::Symlink => {
                let directory = &here.layers[found.layer].directory;
                Ok(rustix::fs::readlinkat(directory, name, Vec::new())
                    .ok()
                    .map(std::ffi::CString::into_bytes))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// The names in a path, without empty ones and `.`.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

impl Layer {
    pub(super) fn new(directory: OwnedFd, marks: Marks, path: &[u8]) -> Result<Self> {
        let mut layer = Self { directory, is_opaque: false, has_marked_files: false, marks };
        if marks == Marks::None {
            return Ok(layer);
        }
        let mut value = [0; 8];
        if let Some(length) = layer.mark(layer.directory.as_fd(), "opaque", &mut value) {
            layer.is_opaque = &value[..length] == b"y";
            layer.has_marked_files = &value[..length] == b"x";
        }
        if layer.mark(layer.directory.as_fd(), "redirect", &mut []).is_some() {
            return Err(Error::Unlayered {
                path: super::shown(path),
                reason: "the directory was renamed by an overlay that follows redirects, and so not by Skiff",
            });
        }
        Ok(layer)
    }

    /// The length of a mark's value.
    fn mark(&self, file: BorrowedFd<'_>, name: &str, value: &mut [u8]) -> Option<usize> {
        let name = match self.marks {
            Marks::None => return None,
            Marks::Trusted => format!("trusted.overlay.{name}"),
            Marks::User => format!("user.overlay.{name}"),
        };
        fgetxattr(file, name, value).ok()
    }

    pub(super) fn enter(&self, name: &[u8], path: &[u8]) -> Result<Option<Self>> {
        match openat(&self.directory, name, DIRECTORY, Mode::empty()) {
            Ok(directory) => Self::new(directory, self.marks, path).map(Some),
            // Removed or replaced meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(at("open", path)(errno)),
        }
    }

    pub(super) fn stat(&self, name: &[u8], path: &[u8]) -> Result<Option<Stat>> {
        match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(at("examine", path)(errno)),
        }
    }

    /// Every name in the directory, in no order.
    pub(super) fn list(
        &self,
        path: &[u8],
        visit: &mut dyn FnMut(&[u8], FileType) -> Result<()>,
    ) -> Result<()> {
        // An own descriptor: where the reading stands belongs to the open file.
        let directory = match openat(&self.directory, c".", DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            // Removed meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(at("open", path)(errno)),
        };
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::NOENT) => return Ok(()),
                entry => entry.map_err(at("list", path))?,
            };
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                if path.len() + name.len() >= PATH_LIMIT {
                    return Err(at("list", path)(Errno::NAMETOOLONG));
                }
                visit(name, entry.file_type())?;
            }
        }
        Ok(())
    }

    fn is_whiteout(&self, name: &[u8], kind: FileType, path: &[u8]) -> Result<bool> {
        let may_be = match kind {
            FileType::CharacterDevice | FileType::Unknown => true,
            FileType::RegularFile => self.has_marked_files,
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::BlockDevice => false,
        };
        if self.marks == Marks::None || !may_be {
            return Ok(false);
        }
        Ok(self.stat(name, path)?.is_some_and(|stat| self.is_whiteout_file(name, &stat)))
    }

    pub(super) fn is_whiteout_file(&self, name: &[u8], stat: &Stat) -> bool {
        if self.marks == Marks::None {
            return false;
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile if self.has_marked_files && stat.st_size == 0 => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                openat(&self.directory, name, flags, Mode::empty())
                    .is_ok_and(|file| self.mark(file.as_fd(), "whiteout", &mut []).is_some())
            }
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::BlockDevice
            | FileType::Unknown => false,
        }
    }
}
