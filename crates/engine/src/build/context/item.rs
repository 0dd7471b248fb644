//! What was seen at a path of a context.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use dockerfile::ignore::Parents;
use image::tar::{Device, Time, Xattr};
use oci::Digest;
use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat, readlinkat, statat};
use rustix::io::Errno;

use super::names::Slot;
use super::{Files, Hashed, Identity, Names, Seen};
use crate::Result;
use crate::build::copy::CopyError;

/// The deepest path and the longest, as layers have them.
const DEPTH_LIMIT: usize = 512;
const PATH_LIMIT: usize = 4095;

/// A name of a context, as it was when it was first looked at.
#[derive(Debug)]
pub(in crate::build) struct Item {
    /// Relative to the context's root, which has none.
    pub(super) path: Box<[u8]>,
    pub(super) kind: FileType,
    mode: u32,
    pub(super) identity: Identity,
    links: u64,
    device: Device,
    /// Of a directory alone: most names are files, of which there may be a million.
    directory: Option<Box<Directory>>,
    target: OnceLock<Box<[u8]>>,
    pub(super) hashed: OnceLock<Hashed>,
}

/// What else there is to know of a directory.
#[derive(Debug)]
struct Directory {
    /// The ignore file leaves it out; it is here because something below it may not be.
    left_out: bool,
    /// What the ignore file says so far, for what is in it.
    parents: Parents,
    inside: Mutex<Inside>,
}

/// What is known of what is in a directory.
#[derive(Debug, Default)]
struct Inside {
    all: Option<Names>,
    /// Names that were asked for one by one.
    some: HashMap<Box<[u8]>, Option<Seen>>,
}

impl Item {
    /// `parents` and `left_out` are what the ignore file says, which matters for directories.
    pub(super) fn new(path: Vec<u8>, stat: &Stat, left_out: bool, parents: Parents) -> Self {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let device =
            Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        let directory = || Box::new(Directory { left_out, parents, inside: Mutex::default() });
        Self {
            path: path.into(),
            kind,
            mode: stat.st_mode & 0o7777,
            identity: Identity::of(stat),
            links: stat.st_nlink,
            device,
            directory: (kind == FileType::Directory).then(directory),
            target: OnceLock::new(),
            hashed: OnceLock::new(),
        }
    }

    /// Its path, relative to the context's root.
    pub(in crate::build) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its own name.
    pub(in crate::build) fn name(&self) -> &[u8] {
        let start = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &self.path[start..]
    }

    fn is_left_out(&self) -> bool {
        self.directory.as_ref().is_some_and(|directory| directory.left_out)
    }

    pub(in crate::build) fn kind(&self) -> FileType {
        self.kind
    }

    /// Permission bits with set-user-id, set-group-id and sticky.
    pub(in crate::build) fn mode(&self) -> u32 {
        self.mode
    }

    /// As it was when it was hashed, or else first seen.
    pub(in crate::build) fn identity(&self) -> &Identity {
        self.hashed.get().map_or(&self.identity, |hashed| &hashed.identity)
    }

    pub(in crate::build) fn device(&self) -> Device {
        self.device
    }

    pub(in crate::build) fn mtime(&self) -> Time {
        let (secs, nanos) = self.identity().modified;
        Time { secs, nanos }
    }

    /// Of its content, once it was hashed.
    pub(in crate::build) fn digest(&self) -> Option<&Digest> {
        self.hashed.get().map(|hashed| &hashed.digest)
    }

    /// The attributes that are copied, once it was hashed.
    pub(in crate::build) fn xattrs(&self) -> Vec<Xattr> {
        self.hashed.get().map(|hashed| hashed.xattrs.to_vec()).unwrap_or_default()
    }

    /// Device and inode of a file that has several names.
    pub(in crate::build) fn shared_inode(&self) -> Option<(u64, u64)> {
        let is_shared = self.links > 1 && self.kind != FileType::Directory;
        is_shared.then_some((self.identity.device, self.identity.inode))
    }
}

impl Files {
    /// A name in a directory; none if it is not there or left out.
    pub(in crate::build) fn find(&self, directory: &Item, name: &[u8]) -> Result<Option<Seen>> {
        let mut inside = self.inside(directory)?;
        if let Some(all) = &inside.all {
            return Ok(all.find(name));
        }
        if let Some(known) = inside.some.get(name) {
            return Ok(known.clone());
        }
        let opened = match self.open_at(&directory.path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(opened) => opened,
            Err(errno) => return Err(self.failed("open", &directory.path)(errno).into()),
        };
        let found = self.item(directory, opened.as_fd(), name)?;
        // What it might have below it that is not left out is seen from its own list.
        drop(opened);
        let found = match found {
            Some(item) if item.is_left_out() && !self.has_wanted(&item)? => None,
            found => found.map(Seen::from),
        };
        inside.some.insert(name.into(), found.clone());
        Ok(found)
    }

    /// What is in a directory, sorted by name, but for what is left out.
    pub(in crate::build) fn list(&self, directory: &Item) -> Result<Names> {
        let mut inside = self.inside(directory)?;
        if let Some(all) = &inside.all {
            return Ok(all.clone());
        }
        let mut found = self.read_directory(directory, &inside.some)?;
        if found.iter().any(|item| item.is_left_out()) {
            let mut kept = Vec::with_capacity(found.len());
            for item in found {
                if !item.is_left_out() || self.has_wanted(&item)? {
                    kept.push(item);
                }
            }
            found = kept;
        }
        let all = Names::new(found);
        inside.all = Some(all.clone());
        Ok(all)
    }

    /// What is known of what is in a directory; an error for anything else.
    fn inside<'i>(&self, item: &'i Item) -> Result<MutexGuard<'i, Inside>> {
        let Some(directory) = &item.directory else {
            return Err(self.failed("open", &item.path)(Errno::NOTDIR).into());
        };
        Ok(directory.inside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at all that is in a directory, but for sockets, which there is nothing to connect to.
    fn read_directory(
        &self,
        directory: &Item,
        known: &HashMap<Box<[u8]>, Option<Seen>>,
    ) -> Result<Vec<Slot>> {
        let opened = self
            .open_at(&directory.path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(self.failed("open", &directory.path))?;
        // Sorted before they are looked at: mostly that is the order in which they were made, and lie in memory and on the disk.
        let (mut text, mut names) = (Vec::new(), Vec::new());
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut entries = RawDir::new(&opened, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(self.failed("list", &directory.path))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." && entry.file_type() != FileType::Socket {
                let start = text.len();
                text.extend_from_slice(name);
                names.push(start..text.len());
            }
        }
        names.sort_unstable_by(|one, other| text[one.clone()].cmp(&text[other.clone()]));
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let name = &text[name];
            let item = match known.get(name) {
                Some(known) => known.clone().map(Slot::Before),
                None => self.item(directory, opened.as_fd(), name)?.map(Slot::Here),
            };
            found.extend(item.filter(|item| item.kind != FileType::Socket));
        }
        Ok(found)
    }

    /// A name in a directory that is open; none if it is gone, or left out with all that may be below it.
    fn item(&self, directory: &Item, opened: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Item>> {
        let mut path = Vec::with_capacity(directory.path.len() + 1 + name.len());
        path.extend_from_slice(&directory.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let (left_out, parents) = match &directory.directory {
            Some(directory) if !self.ignored.is_empty() => self.ignored.walk(&path, &directory.parents),
            _ => (false, Parents::default()),
        };
        if left_out && self.ignored.prunes(&path, true) {
            return Ok(None);
        }
        let stat = match statat(opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(self.failed("examine", &path)(errno).into()),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if left_out && !is_directory {
            return Ok(None);
        }
        let depth = path.iter().filter(|byte| **byte == b'/').count();
        if path.len() > PATH_LIMIT || depth >= DEPTH_LIMIT {
            return Err(self.failed("enter", &path)(Errno::NAMETOOLONG).into());
        }
        Ok(Some(Item::new(path, &stat, left_out, parents)))
    }

    /// Whether a directory that is left out has something in it that is not.
    fn has_wanted(&self, directory: &Item) -> Result<bool> {
        Ok(self.list(directory)?.len() > 0)
    }

    /// Where a link leads.
    pub(in crate::build) fn target(&self, link: &Item) -> Result<Box<[u8]>> {
        if let Some(target) = link.target.get() {
            return Ok(target.clone());
        }
        let read = || -> rustix::io::Result<Vec<u8>> {
            // The link itself, which an empty path then stands for.
            let opened = self.open_at(&link.path, OFlags::PATH)?;
            Ok(readlinkat(opened, c"", Vec::new())?.into_bytes())
        };
        let target = read().map_err(|errno| match errno {
            Errno::INVAL => CopyError::Changed { path: super::shown(&link.path) },
            errno => self.failed("read", &link.path)(errno),
        })?;
        Ok(link.target.get_or_init(|| target.into()).clone())
    }
}
