//! What a container prints: kept in files, and sent to whoever is to get it.
//!
//! ```text
//! read of ≤ 32 KiB ─► Lines (cut into lines of ≤ 16 KiB) ─┬─► store (json-file, local) ─► files
//!                                                         └─► receiver (journald, syslog) ─► socket
//! ```
//!
//! What must hold: nothing here fails the container or makes the monitor wait. What cannot be kept or sent is
//! dropped and counted. While a receiver does not take what it is sent, the container waits when it prints
//! ([`Log::has_room`]), unless its log is non-blocking.

mod address;
mod compress;
mod entry;
mod journal;
pub(crate) mod json;
pub(crate) mod lines;
mod local;
mod plan;
mod receiver;
mod store;
mod syslog;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use crate::clock;
use crate::error::Result;
use entry::Entry;
pub(crate) use entry::Source;
pub(crate) use lines::Lines;
pub use plan::{LogFiles, LogFormat, LogPlan, LogReceiver, SyslogFormat, SyslogPlan, SyslogServer};
use receiver::Receiver;
use store::Store;

/// Everything that gets a container's lines.
#[derive(Debug)]
pub(crate) struct Log {
    store: Option<Store>,
    receiver: Option<Box<Receiver>>,
}

impl Log {
    /// Opens the files and connects to the receiver, which is an error where it does not answer.
    pub(crate) fn open(plan: LogPlan) -> Result<Log> {
        let receiver = plan.receiver.map(|receiver| Receiver::connect(receiver, plan.buffer)).transpose()?;
        Ok(Log { store: plan.files.map(Store::open), receiver: receiver.map(Box::new) })
    }

    /// Takes what a stream said. `lines` keeps what does not end a line yet.
    pub(crate) fn write(&mut self, source: Source, lines: &mut Lines, said: &[u8]) {
        lines.push(said, clock::now_ns(), |cut| self.take(source, cut));
        self.flush();
    }

    /// Takes what a stream left without a line end, once it has ended.
    pub(crate) fn finish(&mut self, source: Source, lines: &mut Lines) {
        lines.finish(clock::now_ns(), |cut| self.take(source, cut));
        self.flush();
    }

    fn take(&mut self, source: Source, cut: lines::Cut<'_>) {
        let entry = Entry { source, text: cut.text, part: cut.part, time_ns: cut.time_ns };
        if let Some(store) = &mut self.store {
            store.append(&entry);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.push(&entry);
        }
    }

    fn flush(&mut self) {
        if let Some(store) = &mut self.store {
            store.flush();
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.flush(clock::monotonic_ms());
        }
    }

    /// Whether more may be read from the container.
    pub(crate) fn has_room(&self) -> bool {
        self.store.as_ref().is_none_or(Store::has_room)
            && self.receiver.as_ref().is_none_or(|receiver| receiver.has_room())
    }

    /// How many lines could not be kept or sent.
    pub(crate) fn dropped_lines(&self) -> u64 {
        let store = self.store.as_ref().map_or(0, Store::dropped_lines);
        store + self.receiver.as_ref().map_or(0, |receiver| receiver.dropped_lines())
    }

    /// What to poll for the receiver.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.receiver.as_ref().and_then(|receiver| receiver.interest())
    }

    /// Serves what a poll has found.
    pub(crate) fn serve(&mut self, found: PollFlags) {
        if let Some(receiver) = &mut self.receiver {
            receiver.serve(found, clock::monotonic_ms());
        }
    }

    /// Whether there is work left that needs no waiting.
    pub(crate) fn is_busy(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_busy)
    }

    /// When something is due, if anything is.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.receiver.as_ref().and_then(|receiver| receiver.due_ms())
    }

    /// Does a little of what can wait, and what is due.
    pub(crate) fn work(&mut self, now_ms: u64) {
        if let Some(store) = &mut self.store {
            store.work();
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.work(now_ms);
        }
    }

    /// Sends what is queued, for as long as that may hold up the container's end. The rest is lost.
    pub(crate) fn close(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.close();
        }
    }
}
