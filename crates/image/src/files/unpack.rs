//! An archive into a directory, as a copy puts it there.
//!
//! The archive is not trusted: a name in it leads nowhere but below the directory, and unless the rules say otherwise no link
//! is followed on the way, one that the archive itself has made least of all. Data goes from pipe to file within the kernel.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chownat, fchmod, fchown, fsetxattr, ftruncate, futimens, linkat, mkdirat, mknodat, openat,
    openat2, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::{Errno, pwrite, read};
use rustix::pipe::{SpliceFlags, splice};

use super::at;
use crate::error::{Error, Result};
use crate::tar::{self, Entry, Kind, Limits, Parser, Time};

/// Where an archive goes.
#[derive(Debug)]
pub enum Place {
    /// Its members into this directory.
    Into(OwnedFd),
    /// Its one root, whatever it is called there, under a name in a directory.
    As {
        /// The directory.
        parent: OwnedFd,
        /// The name.
        name: Vec<u8>,
    },
    /// What is in its one root, a directory, into this one.
    Contents(OwnedFd),
}

/// Whose the files are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process's.
    Creator,
    /// As the archive says. Where that takes a privilege that this process does not have, its own.
    Kept,
}

/// How an archive is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose the files are to be.
    pub owner: Owner,
    /// Links in directories that were there before are followed. Only for a process that can reach nothing it may not.
    pub follows_links: bool,
    /// Set-user-id and set-group-id bits, and capabilities, are kept.
    pub keeps_privileges: bool,
    /// A directory gives way to something else, with all that is in it, and the reverse; else that is an error.
    pub replaces: bool,
    /// A file has no name until it is whole, where the file system has files without one: whoever is killed leaves no half of any.
    pub whole: bool,
}

/// Unpacks the archive that `from` gives, to its end; returns its size.
///
/// # Errors
/// If it is not whole, or something cannot be made. What was made before stays; a file that is not whole does not.
pub fn unpack(from: BorrowedFd<'_>, place: &Place, rules: Rules) -> Result<u64> {
    let mut input = Input::new(from);
    let mut unpacker = Unpacker { place, rules, last: None, directories: Vec::new() };
    let refused = |source| Error::Archive { entry: "the copy".to_owned(), source };
    let mut parser = Parser::new(Limits::default());
    loop {
        match parser.skippable() {
            None => break,
            Some(0) => {
                let Some(block) = input.block()? else { break };
                let mut found = None;
                let mut take = |entry| {
                    found = Some(entry);
                    Ok::<(), tar::Error>(())
                };
                parser.push(&block, &mut take).map_err(refused)?;
                if let Some(entry) = found {
                    let before = input.position;
                    unpacker.add(&entry, &mut input)?;
                    skip(&mut parser, input.position - before);
                }
            }
            Some(left) => {
                let passed = input.skip(left)?;
                skip(&mut parser, passed);
                if passed < left {
                    break;
                }
            }
        }
    }
    if !parser.finish().map_err(refused)?.terminated {
        let reason = "it has no end, so whoever wrote it did not get to it".to_owned();
        return Err(Error::Entry { entry: "the copy".to_owned(), reason });
    }
    let size = input.position;
    // Whoever writes is to see it read to its end.
    while input.skip(1 << 20)? > 0 {}
    unpacker.finish()?;
    Ok(size)
}

fn skip(parser: &mut Parser, mut count: u64) {
    while count > 0 {
        let step = parser.skip(usize::try_from(count).unwrap_or(usize::MAX));
        if step == 0 {
            return;
        }
        count -= step as u64;
    }
}

/// A file that nobody finds, beside what is to be made; none where there are none.
fn nameless(parent: &OwnedFd) -> Option<OwnedFd> {
    openat(parent, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok()
}

struct Unpacker<'a> {
    place: &'a Place,
    rules: Rules,
    /// The directory that was opened last.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Mode and time of directories, which are set when nothing more is put into them.
    directories: Vec<(Vec<u8>, u32, Time)>,
}

/// A name in a directory.
struct Spot {
    parent: OwnedFd,
    name: Vec<u8>,
}

impl Unpacker<'_> {
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

    fn add(&mut self, entry: &Entry, input: &mut Input<'_>) -> Result<()> {
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

    fn finish(&mut self) -> Result<()> {
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

/// Removes what has a name, with all that is below; no link is followed.
fn remove_tree(spot: &Spot) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    // The directory itself, however it may be called by now.
    let parent = std::path::PathBuf::from(format!("/proc/self/fd/{}", spot.parent.as_raw_fd()));
    linux::file::remove_tree(&parent.join(std::ffi::OsStr::from_bytes(&spot.name)))?;
    Ok(())
}

/// Removes what is below a directory and is not among `kept`, paths with all of their parents; no link is followed.
///
/// # Errors
/// If something cannot be removed.
pub fn prune(directory: &OwnedFd, kept: &std::collections::HashSet<Vec<u8>>) -> Result<()> {
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let at_path: &[u8] = if path.is_empty() { b"." } else { &path };
        let opened = openat2(directory, at_path, flags, Mode::empty(), resolve).map_err(at("open", &path))?;
        let entries = rustix::fs::Dir::read_from(&opened).map_err(at("list", &path))?;
        for entry in entries {
            let entry = entry.map_err(at("list", &path))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let child = if path.is_empty() { name.to_vec() } else { [&path[..], b"/", name].concat() };
            if !kept.contains(&child) {
                let parent = rustix::io::fcntl_dupfd_cloexec(&opened, 0).map_err(at("open", &path))?;
                remove_tree(&Spot { parent, name: name.to_vec() })?;
                continue;
            }
            let stat = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("examine", &child))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(child);
            }
        }
    }
    Ok(())
}

fn overwrite(path: &[u8], reason: &'static str) -> Error {
    Error::Overwrite { path: super::shown(path), reason }
}

/// Who is not root cannot give files away, and copies them all the same.
fn tolerate(owned: Result<(), Errno>) -> Result<(), Errno> {
    match owned {
        Err(Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(()),
        owned => owned,
    }
}

fn times(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) },
    }
}

/// Bytes that are read at once.
const BUFFER: usize = 128 << 10;
/// Data from this size on goes from kernel to kernel.
const LARGE: u64 = 32 << 10;

/// A pipe, socket or file that an archive comes from.
struct Input<'a> {
    from: BorrowedFd<'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the archive that were taken.
    position: u64,
    by_kernel: bool,
}

impl<'a> Input<'a> {
    fn new(from: BorrowedFd<'a>) -> Self {
        // Fewer turns between writer and reader; only a pipe has a size.
        let is_pipe = rustix::pipe::fcntl_setpipe_size(from, 1 << 20).is_ok()
            || rustix::pipe::fcntl_getpipe_size(from).is_ok();
        Self { from, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0, by_kernel: is_pipe }
    }

    /// Reads more behind what is in the buffer; false at the end.
    fn read(&mut self) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match read(self.from, &mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// One block; `None` where the archive ends before.
    fn block(&mut self) -> Result<Option<[u8; 512]>> {
        while self.end - self.start < 512 {
            if !self.read()? {
                return Ok(None);
            }
        }
        let mut block = [0; 512];
        block.copy_from_slice(&self.buffer[self.start..self.start + 512]);
        self.take(512);
        Ok(Some(block))
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// What is in the buffer, at most so much.
    fn held(&self, most: u64) -> usize {
        usize::try_from(most).unwrap_or(usize::MAX).min(self.end - self.start)
    }

    /// Passes over so many bytes; returns how many there were.
    fn skip(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        while left > 0 {
            let held = self.held(left);
            self.take(held);
            left -= held as u64;
            if left > 0 && !self.read()? {
                break;
            }
        }
        Ok(count - left)
    }

    /// Writes so many bytes of the archive into a file.
    fn copy(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64, path: &[u8]) -> Result<()> {
        let (mut to, end) = (offset, offset + length);
        while to < end {
            let held = self.held(end - to);
            if held == 0 && self.by_kernel && end - to >= LARGE {
                match self.splice(file, to, end - to) {
                    Ok(0) => return Err(cut_off(path)),
                    Ok(moved) => to += moved,
                    Err(Errno::INTR) => {}
                    Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => self.by_kernel = false,
                    Err(errno) => return Err(at("write", path)(errno)),
                }
                continue;
            }
            if held == 0 {
                if !self.read()? {
                    return Err(cut_off(path));
                }
                continue;
            }
            let written = pwrite(file, &self.buffer[self.start..self.start + held], to);
            match written {
                Ok(written) => {
                    self.take(written);
                    to += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(at("write", path)(errno)),
            }
        }
        Ok(())
    }

    fn splice(&mut self, file: BorrowedFd<'_>, to: u64, most: u64) -> Result<u64, Errno> {
        let mut offset = to;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(1 << 30);
        let moved = splice(self.from, None, file, Some(&mut offset), most, SpliceFlags::MOVE)?;
        self.position += moved as u64;
        Ok(moved as u64)
    }
}

fn cut_off(path: &[u8]) -> Error {
    at("read", path)(Errno::PIPE)
}

fn failed(errno: Errno) -> Error {
    Error::Read { entry: "the copy".to_owned(), source: errno.into() }
}
