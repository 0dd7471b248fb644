//! Writes one layer's changes into an empty directory.
//!
//! The tar's names never become paths here. What is written is the outcome of the merge, in which every
//! name is a plain component of a directory that this code has made itself; it is reached through that
//! directory's descriptor, made with `O_EXCL` or its like, and nothing is ever replaced. So there is no link
//! to follow and no race to win.

use super::Privilege;
use super::ids::Ids;
use crate::error::{Error, Result};
use crate::index::Layer;
use crate::merge::{Body, Change, Changes, Inode};
use crate::stop::Stop;
use crate::tar::{Device, Extent};
use oci::DiffId;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, linkat, mkdirat, mknodat, openat, openat2, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes that the kernel copies between two looks at whether to go on.
const AT_ONCE: usize = 32 << 20;

/// Unpacks the changes of one layer.
pub(super) struct Unpacker<'a> {
    changes: &'a Changes<'a>,
    layers: &'a [Layer<'a>],
    layer: &'a DiffId,
    privilege: Privilege,
    /// Bytes of lower layers that may still be copied.
    budget: &'a Cell<u64>,
    stop: &'a Stop<'a>,
}

/// What is known while the tree is walked.
struct Walk {
    root: OwnedFd,
    /// The path of the directory at hand, below the root.
    path: PathBuf,
    /// The first name of every inode that has several.
    first_names: HashMap<u32, PathBuf>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(
        changes: &'a Changes<'a>,
        layers: &'a [Layer<'a>],
        layer: &'a DiffId,
        privilege: Privilege,
        budget: &'a Cell<u64>,
    ) -> Self {
        Self { changes, layers, layer, privilege, budget, stop: &|| false }
    }

    /// The same, which `stop` ends between two pieces of work.
    pub(super) fn stopped_by(self, stop: &'a Stop<'a>) -> Self {
        Self { stop, ..self }
    }

    /// Makes the directory `target` and unpacks into it; returns it, open.
    pub(super) fn unpack(&self, target: &Path) -> Result<OwnedFd> {
        let at = |action| self.at(action, Path::new("/"));
        rustix::fs::mkdir(target, Mode::RWXU).map_err(at("create"))?;
        let root = rustix::fs::open(target, DIRECTORY, Mode::empty()).map_err(at("open"))?;
        let mut walk = Walk {
            root: rustix::io::fcntl_dupfd_cloexec(&root, 0).map_err(at("duplicate"))?,
            path: PathBuf::new(),
            first_names: HashMap::new(),
        };
        let change = self.changes.root();
        self.fill(&root, &change, &mut walk)?;
        Ok(root)
    }

    /// Fills a directory, and then sets its attributes, which filling would have changed.
    fn fill(&self, directory: &OwnedFd, change: &Change<'_>, walk: &mut Walk) -> Result<()> {
        // As deep as a path may be, which the parser bounds; one descriptor each.
        for child in self.changes.children(change.node) {
            walk.path.push(OsStr::from_bytes(child.name));
            self.add(directory.as_fd(), &child, walk)?;
            walk.path.pop();
        }
        let at = |action| self.at(action, &walk.path);
        if change.is_opaque {
            rustix::fs::fsetxattr(directory, self.opaque_mark(), b"y", XattrFlags::CREATE)
                .map_err(at("mark"))?;
        }
        let Some((_, inode)) = change.inode else { return Ok(()) };
        self.set_attributes(directory.as_fd(), OsStr::new("."), inode, walk)
    }

    fn add(&self, parent: BorrowedFd<'_>, change: &Change<'_>, walk: &mut Walk) -> Result<()> {
        self.go_on().map_err(self.at("create", &walk.path))?;
        let name = OsStr::from_bytes(change.name);
        let Some((number, inode)) = change.inode else {
            return self.whiteout(parent, name).map_err(self.at("mark as deleted", &walk.path));
        };
        if matches!(inode.body, Body::Directory) {
            mkdirat(parent, name, Mode::RWXU).map_err(self.at("create directory", &walk.path))?;
            let directory =
                openat(parent, name, DIRECTORY, Mode::empty()).map_err(self.at("open", &walk.path))?;
            return self.fill(&directory, change, walk);
        }
        if let Some(first) = walk.first_names.get(&number) {
            return self.link(walk, first, parent, name).map_err(self.at("link", &walk.path));
        }
        if self.changes.has_several_names(number) {
            walk.first_names.insert(number, walk.path.clone());
        }
        let made = match inode.body {
            Body::File { size, .. } | Body::Sparse { size, .. } => {
                return self.file(parent, name, inode, size, walk);
            }
            Body::Symlink(target) => symlinkat(OsStr::from_bytes(self.changes.text(target)), parent, name),
            Body::Fifo => mknodat(parent, name, FileType::Fifo, Mode::RUSR, 0),
            Body::CharDevice(_) | Body::BlockDevice(_) if self.privilege != Privilege::Host => {
                tracing::debug!(path = %walk.path.display(), layer = %self.layer, "device node left out, without privilege");
                return self.whiteout(parent, name).map_err(self.at("mark as deleted", &walk.path));
            }
            Body::CharDevice(device) => device_node(parent, name, FileType::CharacterDevice, device),
            Body::BlockDevice(device) => device_node(parent, name, FileType::BlockDevice, device),
            // Done above.
            Body::Directory => Ok(()),
        };
        made.map_err(self.at("create", &walk.path))?;
        self.set_attributes(parent, name, inode, walk)
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        inode: &Inode,
        size: u64,
        walk: &Walk,
    ) -> Result<()> {
        let at = |action| self.at(action, &walk.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(at("create"))?);
        rustix::fs::ftruncate(&file, size).map_err(at("extend"))?;
        let (layer, extents) = self.changes.extents(inode.body);
        let layer = &self.layers[usize::from(layer)];
        if layer.diff_id != self.layer {
            self.spend(extents.iter().map(|extent| extent.length).sum(), walk)?;
        }
        for extent in extents {
            self.copy(layer.tar, &file, extent).map_err(at("write"))?;
        }
        self.set_attributes(parent, name, inode, walk)
    }

    fn go_on(&self) -> Result<(), Errno> {
        if (self.stop)() { Err(Errno::CANCELED) } else { Ok(()) }
    }

    /// Copies a piece of data within the kernel, or by reading and writing where that is not possible.
    fn copy(&self, tar: &File, file: &File, extent: Extent) -> Result<(), Errno> {
        let (mut from, mut to, mut left) = (extent.source, extent.offset, extent.length);
        while left > 0 {
            self.go_on()?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(AT_ONCE);
            match rustix::fs::copy_file_range(tar, Some(&mut from), file, Some(&mut to), most) {
                Ok(0) => return Err(Errno::IO),
                Ok(copied) => left -= copied as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                    return self.copy_by_hand(tar, file, Extent { offset: to, source: from, length: left });
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn copy_by_hand(&self, tar: &File, file: &File, extent: Extent) -> Result<(), Errno> {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut buffer = vec![0; 128 << 10];
        let mut done = 0;
        while done < extent.length {
            self.go_on()?;
            let piece = usize::try_from(extent.length - done).unwrap_or(usize::MAX).min(buffer.len());
            tar.read_exact_at(&mut buffer[..piece], extent.source + done).map_err(errno)?;
            file.write_all_at(&buffer[..piece], extent.offset + done).map_err(errno)?;
            done += piece as u64;
        }
        Ok(())
    }

    /// Counts a copy of a lower layer's file, which costs an attacker one header and us the whole file.
    fn spend(&self, bytes: u64, walk: &Walk) -> Result<()> {
        match self.budget.get().checked_sub(bytes) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(Error::TooLarge {
                entry: format!(
                    "layer {}, entry {}",
                    self.layer,
                    walk.path.as_os_str().as_bytes().escape_ascii()
                ),
                limit: self.budget.get(),
                reason: "hard links to files of lower layers may not copy more than all layers hold",
            }),
        }
    }

    /// Gives another name to a file that was unpacked before.
    fn link(&self, walk: &Walk, first: &Path, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        let (Some(directory), Some(first)) = (first.parent(), first.file_name()) else {
            return Err(Errno::NOENT);
        };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        // All of it was made by this walk; should it have been changed since, the kernel refuses to leave the root.
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = openat2(&walk.root, directory, DIRECTORY | OFlags::PATH, Mode::empty(), below)?;
        linkat(&directory, first, parent, name, AtFlags::empty())
    }

    fn whiteout(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        // This one device number needs no privilege.
        mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
    }

    /// Sets everything but the content of what has just been made, in the order that undoes none of it: a change of
    /// owner clears set-user-id and capabilities, and every change sets the time.
    fn set_attributes(&self, parent: BorrowedFd<'_>, name: &OsStr, inode: &Inode, walk: &Walk) -> Result<()> {
        let at = |action| self.at(action, &walk.path);
        let is_directory = matches!(inode.body, Body::Directory);
        if self.privilege != Privilege::None {
            let (uid, gid) = (Uid::from_raw(inode.uid), Gid::from_raw(inode.gid));
            match chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::INVAL) if self.privilege == Privilege::UserNamespace => {
                    return Err(self.no_such_id(inode, walk));
                }
                Err(errno) => return Err(at("change the owner of")(errno)),
            }
        }
        if !matches!(inode.body, Body::Symlink(_)) {
            let mut mode = u32::from(inode.mode);
            if is_directory && self.privilege == Privilege::None {
                mode |= 0o700;
            }
            // It is no symbolic link, so there is nothing to follow.
            chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
                .map_err(at("change the mode of"))?;
        }
        for xattr in self.changes.xattrs(inode) {
            let needs_root = xattr.name.starts_with(b"trusted.");
            let needs_namespace = xattr.name.starts_with(b"security.");
            match self.privilege {
                Privilege::UserNamespace if needs_root => continue,
                Privilege::None if needs_root || needs_namespace => continue,
                Privilege::Host | Privilege::UserNamespace | Privilege::None => {}
            }
            // There is no call that takes a directory and a name without following links; this is its equal.
            let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
            match rustix::fs::lsetxattr(
                path,
                OsStr::from_bytes(&xattr.name),
                &xattr.value,
                XattrFlags::empty(),
            ) {
                Ok(()) => {}
                // What this file system cannot hold, no layer can demand; Docker passes over it as well.
                Err(Errno::OPNOTSUPP) => {
                    tracing::debug!(path = %walk.path.display(), "the file system holds no such extended attribute");
                }
                Err(Errno::PERM) if needs_namespace && self.privilege == Privilege::UserNamespace => {}
                Err(errno) => return Err(at("set an extended attribute of")(errno)),
            }
        }
        let time = Timespec { tv_sec: inode.mtime.secs, tv_nsec: i64::from(inode.mtime.nanos) };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(at("set the time of"))
    }

    /// The kernel says only that one of the two is beyond its map.
    fn no_such_id(&self, inode: &Inode, walk: &Walk) -> Error {
        let user = (Ids::User, inode.uid, Ids::User.highest());
        let group = (Ids::Group, inode.gid, Ids::Group.highest());
        let (ids, id, highest) = if user.1 > user.2 { user } else { group };
        Error::NoSuchId {
            layer: self.layer.to_string(),
            entry: walk.path.as_os_str().as_bytes().escape_ascii().to_string(),
            ids,
            id,
            highest,
        }
    }

    fn opaque_mark(&self) -> &'static str {
        match self.privilege {
            Privilege::Host => "trusted.overlay.opaque",
            Privilege::UserNamespace | Privilege::None => "user.overlay.opaque",
        }
    }

    /// Names what was attempted, and on which entry.
    fn at<'e>(&'e self, action: &'static str, path: &'e Path) -> impl Fn(Errno) -> Error + 'e {
        move |errno| Error::Unpack {
            layer: self.layer.to_string(),
            action,
            entry: path.as_os_str().as_bytes().escape_ascii().to_string(),
            source: errno.into(),
        }
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn device_node(parent: BorrowedFd<'_>, name: &OsStr, kind: FileType, device: Device) -> Result<(), Errno> {
    let number = rustix::fs::makedev(device.major, device.minor);
    mknodat(parent, name, kind, Mode::RUSR, number)
}
