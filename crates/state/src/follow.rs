//! Reading the event log, what is there and what comes, without losing or repeating an event where it is put aside.
//!
//! ```text
//! events.log.1     events.log          a writer that opened the log before it was renamed appends to the old one still
//!   aside …          newest
//!      └── read to their ends ──► then the newest, but only as far as it reached before that
//! ```
//!
//! What one writer did keeps its order: it wrote to a newer file after it had written to an older one. So when the end of
//! the newest is looked up first, and the older ones are read to their ends after that, whatever preceded what is read
//! of the newest has been read. A file is known by its inode: it stays open, and may be renamed at any moment.
//!
//! Waiting is the kernel's: inotify tells of every write into the directory of the log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use linux::file::{self, Named};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::event::{Event, EventLog};
use crate::{Error, Result};

/// How many files that were put aside are still looked at: their last writers are gone long before.
const ASIDE: usize = 3;
/// Bytes read at once.
const PORTION: usize = 64 << 10;

/// One reader of a log.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    inotify: OwnedFd,
    /// Put aside, oldest first.
    aside: Vec<Part>,
    newest: Option<Part>,
}

/// A file of the log, read up to an offset.
#[derive(Debug)]
struct Part {
    file: File,
    identity: (u64, u64),
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl EventLog {
    /// Begins to read the log: from its beginning, or with what is appended from now on.
    pub fn follow(&self, from_beginning: bool) -> Result<EventReader> {
        let failed = |source| Error::File { action: "watch the event log", source };
        let path = self.path().to_owned();
        let folder = path.parent().unwrap_or(&path).to_owned();
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .and_then(|inotify| {
                let wanted = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE;
                inotify::add_watch(&inotify, &folder, wanted | WatchFlags::ONLYDIR).map(|_| inotify)
            })
            .named("watch", &folder)
            .map_err(failed)?;
        let mut reader = EventReader { path, inotify, aside: Vec::new(), newest: None };
        reader.open(from_beginning).map_err(failed)?;
        Ok(reader)
    }
}

impl EventReader {
    /// Hands every event to `each` that has come since the last time, in order.
    pub fn read(&mut self, each: &mut dyn FnMut(Event)) -> Result<()> {
        self.read_new(each).map_err(|source| Error::File { action: "read the event log", source })
    }

    /// Forgets what the kernel has told: to be called before [`EventReader::read`], so that nothing is missed between
    /// the two.
    pub fn acknowledge(&self) {
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.inotify, &mut buffer).is_ok_and(|read| read > 0) {}
    }

    fn open(&mut self, from_beginning: bool) -> file::Result<()> {
        loop {
            self.newest = Part::open(&self.path)?;
            if !from_beginning {
                return self.newest.as_mut().map_or(Ok(()), |newest| newest.skip(&self.path));
            }
            let before = Part::open(&self.path_before())?;
            let newest = self.newest.as_ref().map(|newest| newest.identity);
            // Put aside between the two: what was opened first is not the newest any more.
            if identity_at(&self.path)? == newest && before.as_ref().map(|before| before.identity) != newest {
                self.aside = before.into_iter().collect();
                return Ok(());
            }
            if newest.is_none() && identity_at(&self.path)?.is_none() {
                self.aside = before.into_iter().collect();
                return Ok(());
            }
        }
    }

    fn path_before(&self) -> PathBuf {
        self.path.with_extension("log.1")
    }

    fn read_new(&mut self, each: &mut dyn FnMut(Event)) -> file::Result<()> {
        loop {
            let current = identity_at(&self.path)?;
            let known = self.newest.as_ref().map(|newest| newest.identity);
            let end = self.newest.as_ref().map_or(Ok(0), |newest| newest.length(&self.path))?;
            for part in &mut self.aside {
                part.read(u64::MAX, &self.path, each)?;
            }
            if let Some(newest) = &mut self.newest {
                newest.read(end, &self.path, each)?;
            }
            if current.is_none() || current == known {
                return Ok(());
            }
            self.advance()?;
        }
    }

    /// The log has been put aside, perhaps more than once.
    fn advance(&mut self) -> file::Result<()> {
        let Some(next) = Part::open(&self.path)? else { return Ok(()) };
        let before = Part::open(&self.path_before())?;
        self.aside.extend(self.newest.take());
        let is_new = |part: &Part, aside: &[Part]| !aside.iter().any(|known| known.identity == part.identity);
        self.aside.extend(before.filter(|part| part.identity != next.identity && is_new(part, &self.aside)));
        self.newest = Some(next);
        let surplus = self.aside.len().saturating_sub(ASIDE);
        self.aside.drain(..surplus);
        Ok(())
    }
}

/// Ready when the log may have grown.
impl AsFd for EventReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Part {
    fn open(path: &std::path::Path) -> file::Result<Option<Part>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).named("open", path),
        };
        let found = rustix::fs::fstat(&file).named("examine", path)?;
        Ok(Some(Part { file, identity: (found.st_dev, found.st_ino), offset: 0, rest: Vec::new() }))
    }

    fn length(&self, path: &std::path::Path) -> file::Result<u64> {
        Ok(self.file.metadata().named("examine", path)?.len())
    }

    /// Leaves out what is there.
    fn skip(&mut self, path: &std::path::Path) -> file::Result<()> {
        self.offset = self.length(path)?;
        Ok(())
    }

    /// Reads on, up to `end` at most. What is no event is left out: a line that a full disk has cut off.
    fn read(&mut self, end: u64, path: &std::path::Path, each: &mut dyn FnMut(Event)) -> file::Result<()> {
        let mut buffer = vec![0; PORTION];
        self.file.seek(SeekFrom::Start(self.offset)).named("read", path)?;
        while self.offset < end {
            let room = usize::try_from(end - self.offset).unwrap_or(PORTION).min(PORTION);
            let read = match self.file.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).named("read", path),
            };
            self.offset += read as u64;
            let mut new = &buffer[..read];
            while let Some(feed) = new.iter().position(|byte| *byte == b'\n') {
                self.rest.extend_from_slice(&new[..feed]);
                if let Ok(event) = serde_json::from_slice(&self.rest) {
                    each(event);
                }
                self.rest.clear();
                new = &new[feed + 1..];
            }
            self.rest.extend_from_slice(new);
        }
        Ok(())
    }
}

/// Which file has this name now.
fn identity_at(path: &std::path::Path) -> file::Result<Option<(u64, u64)>> {
    match rustix::fs::lstat(path) {
        Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named("examine", path),
    }
}
