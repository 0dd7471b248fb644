//! `logs`: the lines of a container's log, across rotated files, and on as they come.
//!
//! ```text
//! files (which there are) ─► reader (cut into entries) ─► json | local (taken apart) ─► Filter ─► sink
//!          tail (where the last n lines begin) ─┘
//! ```
//!
//! A log that holds something else than entries, as a power loss may leave it, is read on behind that.

mod files;
mod json;
mod local;
mod reader;
mod tail;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};

use linux::file::{self, Named};
use oci::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::container::Container;
use crate::info::LogLine;
use crate::request::Logs;
use crate::{Engine, Error, Result, plan};
pub(crate) use json::attributes as json_attributes;
pub(crate) use local::attributes as local_attributes;
use reader::Reader;

/// How long nothing may happen before the container is looked at again.
const PATIENCE_NS: i64 = 250_000_000;

/// How the entries of a log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Local,
}

impl Format {
    fn parse<'a>(self, entry: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<LogLine<'a>> {
        match self {
            Format::Json => json::parse(entry, scratch),
            Format::Local => local::parse(entry, scratch),
        }
    }
}

impl Engine {
    /// Gives `sink` one line after another, until it says false or there are no more. While a log is followed and
    /// nothing more has come yet, it is asked with None.
    pub fn logs(
        &self,
        name: &str,
        request: &Logs,
        sink: &mut dyn FnMut(Option<LogLine<'_>>) -> bool,
    ) -> Result<()> {
        let found = self.container(name)?;
        if found.state.status.is_leaving() {
            return Err(Error::RemovedToRead);
        }
        let logging = plan::log(&found.spec.host.log).map_err(|source| Error::Logging { source })?;
        let kept = logging.kept.ok_or(Error::NoLog)?;
        let format = kept.format;
        let failed = |source| Error::File { action: "read the container's log", source };
        let path = kept.path(&self.directory(found.id()));
        // Watching begins before reading, so that nothing falls in between.
        let watch = if request.follow { Some(self.watch(&found).map_err(failed)?) } else { None };
        let mut reader = Reader::open(&path, format).map_err(failed)?;
        if let Some(count) = request.tail {
            reader.seek_tail(count as u64).map_err(failed)?;
        }
        let mut filter = Filter::new(request, format, sink);
        reader.read_all(!request.follow, &mut |entry| filter.pass(entry)).map_err(failed)?;
        let Some(watch) = watch else { return Ok(()) };
        while !filter.done {
            // In this order: what was written before it ended is read after that was seen.
            let ended = !self.is_alive(&found)? || filter.is_past_its_end();
            reader.read_all(ended, &mut |entry| filter.pass(entry)).map_err(failed)?;
            if ended {
                return Ok(());
            }
            filter.done |= !(filter.sink)(None);
            watch.wait();
        }
        Ok(())
    }

    fn is_alive(&self, found: &Container) -> Result<bool> {
        monitor::status::lock_held(&self.run_directory(found.id())).map_err(|source| Error::Monitor {
            action: "observe",
            id: found.id().clone(),
            source,
        })
    }

    fn watch(&self, found: &Container) -> file::Result<Watch> {
        let directory = self.directory(found.id());
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .named("watch", &directory)?;
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, &directory, flags).named("watch", &directory)?;
        // There only while it runs: its status is renamed into place, and all of it goes at the end.
        let ends =
            inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE | inotify::WatchFlags::DELETE_SELF;
        // Gone already is an end too, and is found out without being watched.
        let _: std::result::Result<i32, _> = inotify::add_watch(&watch, self.run_directory(found.id()), ends);
        Ok(Watch(watch))
    }
}

/// Something happened in the container's directories.
struct Watch(OwnedFd);

impl Watch {
    fn wait(&self) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: PATIENCE_NS };
        // Any outcome leads to another look.
        let _: std::result::Result<usize, _> =
            poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::IN)], Some(&timeout));
        let mut events = [0; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|length| length > 0) {}
    }
}

/// Passes on what was asked for.
struct Filter<'a> {
    request: &'a Logs,
    format: Format,
    sink: &'a mut dyn FnMut(Option<LogLine<'_>>) -> bool,
    scratch: Vec<u8>,
    done: bool,
}

impl<'a> Filter<'a> {
    fn new(
        request: &'a Logs,
        format: Format,
        sink: &'a mut dyn FnMut(Option<LogLine<'_>>) -> bool,
    ) -> Filter<'a> {
        Filter { request, format, sink, scratch: Vec::new(), done: false }
    }

    /// Takes an entry of a log; whether more are wanted. What is none is passed over.
    fn pass(&mut self, entry: &[u8]) -> bool {
        if self.done {
            return false;
        }
        let Some(line) = self.format.parse(entry, &mut self.scratch) else { return true };
        let (since, until) = (self.request.since, self.request.until);
        if since.is_some() || until.is_some() {
            let Some(time) = line.time.timestamp() else { return true };
            if since.is_some_and(|since| time < since) {
                return true;
            }
            self.done = until.is_some_and(|until| time > until);
        }
        self.done = self.done || !(self.sink)(Some(line));
        !self.done
    }

    /// Whether nothing that is still to be written is wanted.
    fn is_past_its_end(&self) -> bool {
        self.request.until.is_some_and(|until| Timestamp::from(std::time::SystemTime::now()) > until)
    }
}
