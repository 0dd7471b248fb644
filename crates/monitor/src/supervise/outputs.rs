//! What the container prints: read once, kept in the log, passed on to whoever is attached.
//!
//! A client that reads slowly slows the container down, as a pipe would and as Docker does; nothing is lost.
//! Of a client's reader that has gone the program behind it learns as it would in a pipeline: when it next prints.
//! While a client does not read at all, its container waits when it prints (never when it is signalled,
//! stopped or asked for anything else), and other clients of the same stream wait with it, for at most
//! [`STALL_MS`]: then the one that holds up the others is disconnected from the stream.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::clock;
use crate::error::{Error, Result};
use crate::log::{Lines, Log, Source};

/// Bytes read at once.
const PORTION: usize = 32 << 10;
/// Bytes that may wait for one client before the stream is read no further.
const QUEUE_LIMIT: usize = 64 << 10;
/// How long a client may hold up others.
pub(crate) const STALL_MS: u64 = 10_000;
/// The most that is taken from a stream whose writers are dead: more than a pipe holds.
const DRAIN_LIMIT: usize = 8 << 20;

/// One stream of the container's.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) source: Source,
    /// Our end of the pipe, or the terminal's master; None once the stream has ended.
    pub(crate) from: Option<OwnedFd>,
    lines: Lines,
    pub(crate) sinks: Vec<Sink>,
    /// The reader that the container was started for is gone.
    pub(crate) is_unread: bool,
}

/// A client's end of a stream.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) client: u64,
    pub(crate) to: OwnedFd,
    is_socket: bool,
    queue: Vec<u8>,
    /// Since when the queue has been full, without a byte of it taken.
    stalled_since_ms: Option<u64>,
    /// Its reader is gone. Not polled any more, for it would be ready for ever.
    unread: bool,
    /// Something was printed after that, or it failed otherwise.
    closed: bool,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Something,
    NothingYet,
    End,
}

impl Output {
    pub(crate) fn new(source: Source, from: OwnedFd) -> Output {
        Output { source, from: Some(from), lines: Lines::default(), sinks: Vec::new(), is_unread: false }
    }

    /// Whether there is room for what could be read.
    pub(crate) fn has_room(&self) -> bool {
        self.sinks.iter().all(|sink| sink.queue.len() < QUEUE_LIMIT)
    }

    /// Reads a portion and passes it on.
    pub(crate) fn read(&mut self, log: Option<&mut Log>) {
        self.take(log);
    }

    fn take(&mut self, log: Option<&mut Log>) -> (Found, usize) {
        let Some(from) = &self.from else { return (Found::End, 0) };
        let mut said = vec![0; PORTION];
        let length = match rustix::io::read(from, &mut said) {
            Ok(length) if length > 0 => length,
            Err(Errno::INTR) => return (Found::Something, 0),
            Err(Errno::AGAIN) => return (Found::NothingYet, 0),
            // A terminal's master answers EIO once nobody has the terminal open.
            Ok(_) | Err(_) => {
                self.end(log);
                return (Found::End, 0);
            }
        };
        let said = &said[..length];
        if let Some(log) = log {
            log.write(self.source, &mut self.lines, said);
        }
        for sink in &mut self.sinks {
            sink.push(said);
        }
        (Found::Something, length)
    }

    /// The container has closed the stream: clients see the end when their queue is empty.
    fn end(&mut self, log: Option<&mut Log>) {
        self.from = None;
        if let Some(log) = log {
            log.finish(self.source, &mut self.lines);
        }
    }

    /// Takes what is there, once every writer that counts is dead. True when the stream has ended: with a
    /// terminal the rest may take a moment to arrive.
    pub(crate) fn drain(&mut self, mut log: Option<&mut Log>) -> bool {
        let mut taken = 0;
        while taken < DRAIN_LIMIT {
            match self.take(log.as_deref_mut()) {
                (Found::Something, length) => taken += length,
                (Found::NothingYet, _) => return false,
                (Found::End, _) => return true,
            }
        }
        true
    }

    /// Ends the stream for good, writing what is held of a line.
    pub(crate) fn close(&mut self, log: Option<&mut Log>) {
        if self.from.is_some() {
            self.end(log);
        }
    }

    /// Disconnects clients that are done or that have held up others for too long, and those that nobody reads
    /// from: these are answered.
    pub(crate) fn sweep(&mut self, now_ms: u64) -> Vec<u64> {
        let has_ended = self.from.is_none();
        let is_shared = self.sinks.len() > 1;
        self.sinks.retain(|sink| {
            let stalled = is_shared && sink.stall_ends_ms().is_some_and(|end| now_ms >= end);
            !(stalled || (has_ended && sink.queue.is_empty()))
        });
        self.sinks.extract_if(.., |sink| sink.closed).map(|sink| sink.client).collect()
    }

    /// When the next client is to be disconnected for holding up others.
    pub(crate) fn stall_ends_ms(&self) -> Option<u64> {
        if self.sinks.len() < 2 {
            return None;
        }
        self.sinks.iter().filter_map(Sink::stall_ends_ms).min()
    }

    /// What a client has not taken yet; it is connected no longer.
    pub(crate) fn take_queue(&mut self, client: u64) -> Vec<u8> {
        let Some(index) = self.sinks.iter().position(|sink| sink.client == client) else { return Vec::new() };
        self.sinks.swap_remove(index).queue
    }
}

impl Sink {
    /// Refuses what could make us wait: only a non-blocking pipe, a socket or a device that takes all is let in.
    pub(crate) fn new(client: u64, to: OwnedFd) -> Result<Sink> {
        let is_socket = check_stream(&to)?;
        Ok(Sink {
            client,
            to,
            is_socket,
            queue: Vec::new(),
            stalled_since_ms: None,
            unread: false,
            closed: false,
        })
    }

    /// What to poll for; None: nothing.
    pub(crate) fn interest(&self) -> Option<PollFlags> {
        if !self.queue.is_empty() {
            return Some(PollFlags::OUT);
        }
        // Without a queue, only the news that its reader is gone, and that once.
        (!self.unread).then_some(PollFlags::empty())
    }

    /// Serves what a poll has found. The queue may have been written meanwhile, by what was read in the same turn:
    /// then "writable" is no news.
    pub(crate) fn serve(&mut self, found: PollFlags) {
        if !self.queue.is_empty() {
            self.flush();
        } else if found.intersects(PollFlags::ERR | PollFlags::HUP) {
            self.unread = true;
        }
    }

    fn push(&mut self, said: &[u8]) {
        self.queue.extend_from_slice(said);
        self.flush();
    }

    /// Writes what the client takes without making us wait.
    pub(crate) fn flush(&mut self) {
        let before = self.queue.len();
        while !self.queue.is_empty() && !self.closed {
            let written = if self.is_socket {
                rustix::net::send(&self.to, &self.queue, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            } else {
                rustix::io::write(&self.to, &self.queue)
            };
            match written {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => drop(self.queue.drain(..length)),
                Err(Errno::INTR) => {}
                Err(_) => self.closed = true,
            }
        }
        if self.queue.is_empty() {
            self.queue = Vec::new();
        }
        if self.queue.len() < QUEUE_LIMIT || self.queue.len() < before {
            self.stalled_since_ms = None;
        }
        if self.queue.len() >= QUEUE_LIMIT && self.stalled_since_ms.is_none() {
            self.stalled_since_ms = Some(clock::monotonic_ms());
        }
    }

    fn stall_ends_ms(&self) -> Option<u64> {
        self.stalled_since_ms.map(|since| since + STALL_MS)
    }
}

/// Whether a stream can never make us wait; Ok tells whether it is a socket.
pub(crate) fn check_stream(stream: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstat(&stream).map_err(Error::system("examine a client's stream"))?;
    let flags = rustix::fs::fcntl_getfl(&stream).map_err(Error::system("examine a client's stream"))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => Ok(true),
        FileType::Fifo if flags.contains(OFlags::NONBLOCK) => Ok(false),
        FileType::CharacterDevice if stat.st_rdev == rustix::fs::makedev(1, 3) => Ok(false),
        FileType::Fifo
        | FileType::CharacterDevice
        | FileType::RegularFile
        | FileType::Directory
        | FileType::Symlink
        | FileType::BlockDevice
        | FileType::Unknown => {
            Err(Error::Protocol { reason: "a stream is no non-blocking pipe, socket or /dev/null" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::PipeFlags;

    fn sink() -> (OwnedFd, Sink) {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        (reader, Sink::new(1, writer).unwrap())
    }

    #[test]
    fn a_client_whose_queue_was_written_before_it_was_served_is_served_on() {
        let (reader, mut sink) = sink();
        sink.push(b"some");
        assert_eq!(sink.interest(), Some(PollFlags::empty()));
        // It had a queue when it was polled, and none any more.
        sink.serve(PollFlags::OUT);
        assert_eq!(sink.interest(), Some(PollFlags::empty()));
        // More than a pipe holds.
        sink.push(&vec![0; 1 << 20]);
        assert_eq!(sink.interest(), Some(PollFlags::OUT), "what is queued would wait for ever");
        let mut taken = vec![0; 4096];
        while rustix::io::read(&reader, &mut taken).is_ok() {}
        let before = sink.queue.len();
        sink.serve(PollFlags::OUT);
        assert!(sink.queue.len() < before);
    }

    #[test]
    fn a_reader_that_is_gone_is_told_once_and_costs_the_next_write() {
        let (reader, mut sink) = sink();
        drop(reader);
        sink.serve(PollFlags::ERR);
        assert_eq!(sink.interest(), None);
        assert!(!sink.closed);
        sink.push(b"more");
        assert!(sink.closed);
    }
}
