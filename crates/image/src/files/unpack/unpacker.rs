//! Puts members of an archive below a directory, one after the other.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chownat, fchmod, fchown, fsetxattr, ftruncate, futimens, linkat, mkdirat, mknodat, openat,
    openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::super::at;
use super::input::Input;
use super::prune::{Spot, remove_tree};
use super::{Owner, Place, Rules};
use crate::error::{Error, Result};
use crate::tar::{self, Entry, Kind, Time};

/// A file that nobody finds, beside what is to be made; none where there are none.
fn nameless(parent: &OwnedFd) -> Option<OwnedFd> {
    openat(parent, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok()
}

/// What is unpacked into, and how far that is.
pub(super) struct Unpacker<'a> {
    place: &'a Place,
    rules: Rules,
    /// The directory that was opened last.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Mode and time of directories, which are set when nothing more is put into them.
    directories: Vec<(Vec<u8>, u32, Time)>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(place: &'a Place, rules: Rules) -> Self {
        Unpacker { place, rules, last: None, directories: Vec::new() }
    }

    fn base(&self) -> &OwnedFd {
        match self.place {
            Place::Into(directory) | Place::Contents(directory) => directory,
            Place::As { parent, .. } => parent,
        }
    }

    /// Where a member belongs, below the base; empty for the base itself.
    fn path(&self, entry: &tar::EntryPath) -> Vec<u8> {
        let mut names: Vec<&[u8]> = entry.components().collect();
        match self.place {
            Place::Into(_) => {}
            Place::Contents(_) => drop(names.drain(..names.len().min(1))),
            Place::As { name, .. } => match names.first_mut() {
                Some(first) => *first = name,
                None => names.push(name),
            },
        }
        names.join(&b'/')
    }

    /// Adds a member, whose data `input` gives next.
    pub(super) fn add(&mut self, entry: &Entry, input: &mut Input<'_>) -> Result<()> {
        let path = self.path(&entry.path);
        if path.is_empty() {
            // The directory is there, and is not what is copied.
            return Ok(());
        }
        let spot = self.spot(&path)?;
        let is_directory = entry.kind == Kind::Directory;
        match statat(&spot.parent, spot.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                if !is_directory && self.rules.replaces {
                    remove_tree(&spot)?;
                } else if !is_directory {
                    return Err(overwrite(&path, "cannot overwrite directory with non-directory"));
                }
            }
            Ok(_) if is_directory && self.rules.replaces => {
                remove_tree(&spot)?;
                let made = mkdirat(&spot.parent, spot.name.as_slice(), Mode::RWXU);
                made.map_err(at("create directory", &path))?;
            }
            Ok(_) if is_directory => {
                return Err(overwrite(&path, "cannot overwrite non-directory with directory"));
            }
            Ok(stat) => match unlinkat(&spot.parent, spot.name.as_slice(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // Something is mounted there, such as one of the files of /etc: it can be written, not replaced.
                Err(Errno::BUSY) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                    return self.write_in_place(&spot, entry, input, &path);
                }
                Err(errno) => return Err(at("replace", &path)(errno)),
            },
            Err(Errno::NOENT) if is_directory => {
                let made = mkdirat(&spot.parent, spot.name.as_slice(), Mode::RWXU);
                made.map_err(at("create directory", &path))?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(at("examine", &path)(errno)),
        }
        self.make(&spot, entry, input, &path)
    }

    fn make(&mut self, spot: &Spot, entry: &Entry, input: &mut Input<'_>, path: &[u8]) -> Result<()> {
        let (parent, name) = (&spot.parent, spot.name.as_slice());
        let node = |kind, device: Option<tar::Device>| {
            let number = device.map_or(0, |device| rustix::fs::makedev(device.major, device.minor));
            mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, number)
        };
        let made = match &entry.kind {
            Kind::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = openat(parent, name, flags, Mode::empty()).map_err(at("open", path))?;
                self.own(directory.as_fd(), entry, path)?;
                self.directories.push((path.to_vec(), self.mode(entry), entry.mtime));
                return Ok(());
            }
            Kind::File(content) => {
                let written = self.file(spot, entry, content, input, path);
                if written.is_err() {
                    // Half a file is none; the first error is the one to tell.
                    let _removed = unlinkat(parent, name, AtFlags::empty());
                }
                return written;
            }
            Kind::Hardlink(target) => {
                let target = self.path(target);
                let first = self.spot(&target)?;
                let linked = linkat(&first.parent, first.name.as_slice(), parent, name, AtFlags::empty());
                return linked.map_err(at("link", path));
            }
            Kind::Symlink(target) => symlinkat(&**target, parent, name),
            Kind::Fifo => node(FileType::Fifo, None),
            Kind::CharDevice(device) => node(FileType::CharacterDevice, Some(*device)),
            Kind::BlockDevice(device) => node(FileType::BlockDevice, Some(*device)),
        };
        made.map_err(at("create", path))?;
        if self.rules.owner == Owner::Kept {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            let owned = chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            tolerate(owned).map_err(at("change the owner of", path))?;
        }
        if !matches!(entry.kind, Kind::Symlink(_)) {
            let mode = Mode::from_raw_mode(self.mode(entry));
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
                .map_err(at("change the mode of", path))?;
        }
        utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(at("set the time of", path))
    }

    fn file(
        &self,
        spot: &Spot,
        entry: &Entry,
        content: &tar::Content,
        input: &mut Input<'_>,
        path: &[u8],
    ) -> Result<()> {
        let nameless = if self.rules.whole { nameless(&spot.parent) } else { None };
        let file = match &nameless {
            Some(file) => file,
            None => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                &openat(&spot.parent, spot.name.as_slice(), flags, Mode::RUSR | Mode::WUSR)
                    .map_err(at("create", path))?
            }
        };
        self.fill(file, content, input, path)?;
        self.own(file.as_fd(), entry, path)?;
        fchmod(file, Mode::from_raw_mode(self.mode(entry))).map_err(at("change the mode of", path))?;
        futimens(file, &times(entry.mtime)).map_err(at("set the time of", path))?;
        if nameless.is_some() {
            let way = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, way, &spot.parent, spot.name.as_slice(), AtFlags::SYMLINK_FOLLOW)
                .map_err(at("create", path))?;
        }
        Ok(())
    }

    fn fill(&self, file: &OwnedFd, content: &tar::Content, input: &mut Input<'_>, path: &[u8]) -> Result<()> {
        let stored: u64 = content.extents().iter().map(|extent| extent.length).sum();
        if stored != content.size {
            ftruncate(file, content.size).map_err(at("extend", path))?;
        }
        for extent in content.extents() {
            let gap = extent.source.saturating_sub(input.position);
            input.skip(gap)?;
            input.copy(file.as_fd(), extent.offset, extent.length, path)?;
        }
        Ok(())
    }

    fn write_in_place(&self, spot: &Spot, entry: &Entry, input: &mut Input<'_>, path: &[u8]) -> Result<()> {
        let Kind::File(content) = &entry.kind else { return Err(at("replace", path)(Errno::BUSY)) };
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(&spot.parent, spot.name.as_slice(), flags, Mode::empty()).map_err(at("open", path))?;
        self.fill(&file, content, input, path)
    }

    /// Owner and attributes of an open file, in the order that undoes none of it.
    fn own(&self, file: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<()> {
        if self.rules.owner == Owner::Kept {
            let owned = fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            tolerate(owned).map_err(at("change the owner of", path))?;
        }
        for xattr in &entry.xattrs {
            let is_capability = &*xattr.name == b"security.capability";
            if !(xattr.name.starts_with(b"user.") || is_capability && self.rules.keeps_privileges) {
                continue;
            }
            match fsetxattr(file, &*xattr.name, &xattr.value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(at("set an extended attribute of", path)(errno)),
            }
        }
        Ok(())
    }

    fn mode(&self, entry: &Entry) -> u32 {
        u32::from(entry.mode) & if self.rules.keeps_privileges { 0o7777 } else { 0o1777 }
    }

    /// The directory that a path's last name is in, made where it is missing.
    fn spot(&mut self, path: &[u8]) -> Result<Spot> {
        let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let spot = |parent| Spot { parent, name: name.to_vec() };
        let duplicate = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(at("open", path));
        if above.is_empty() {
            return Ok(spot(duplicate(self.base())?));
        }
        if let Some((_, directory)) = self.last.as_ref().filter(|(last, _)| last == above) {
            return Ok(spot(duplicate(directory)?));
        }
        let directory = match self.open(above) {
            Err(Errno::NOENT) => self.make_directories(above)?,
            opened => opened.map_err(at("enter", above))?,
        };
        self.last = Some((above.to_vec(), duplicate(&directory)?));
        Ok(spot(directory))
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut resolve = ResolveFlags::NO_MAGICLINKS;
        if !self.rules.follows_links {
            resolve |= ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        }
        for _ in 0..64 {
            match openat2(self.base(), path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Directories that the archive names without describing them.
    fn make_directories(&self, path: &[u8]) -> Result<OwnedFd> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut directory = rustix::io::fcntl_dupfd_cloexec(self.base(), 0).map_err(at("open", path))?;
        let mut start = 0;
        for end in ends.chain([path.len()]) {
            directory = match self.open(&path[..end]) {
                Err(Errno::NOENT) => {
                    let made = mkdirat(&directory, &path[start..end], Mode::from_raw_mode(0o755));
                    made.map_err(at("create directory", &path[..end]))?;
                    self.open(&path[..end])
                }
                opened => opened,
            }
            .map_err(at("enter", &path[..end]))?;
            start = end + 1;
        }
        Ok(directory)
    }

    /// Gives directories their modes and times, when all is in them.
    pub(super) fn finish(&mut self) -> Result<()> {
        // Innermost first: what is set on one may keep us out of it.
        for (path, mode, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            let spot = self.spot(&path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = match openat(&spot.parent, spot.name.as_slice(), flags, Mode::empty()) {
                Ok(directory) => directory,
                // Somebody else has removed it or put something in its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(errno) => return Err(at("open", &path)(errno)),
            };
            fchmod(&directory, Mode::from_raw_mode(mode)).map_err(at("change the mode of", &path))?;
            futimens(&directory, &times(mtime)).map_err(at("set the time of", &path))?;
        }
        Ok(())
    }
}

fn overwrite(path: &[u8], reason: &'static str) -> Error {
    Error::Overwrite { path: super::super::shown(path), reason }
}

/// Who is not root cannot give files away, and copies them all the same.
fn tolerate(owned: Result<(), Errno>) -> Result<(), Errno> {
    match owned {
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(()),
        // Nor can root of a user namespace to an id that is not mapped there.
        Err(Errno::INVAL) if !linux::process::in_initial_user_namespace() => Ok(()),
        owned => owned,
    }
}

fn times(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) },
    }
}
