//! Sends lines to a server that may be slow, or gone.
//!
//! ```text
//!        ┌──────── answers ────────┐
//!  Down ─┴─► Opening ─ refused ─► Down        push ─► queue ─► send
//!        └──────── hung up ◄────── Up                  full: the container waits, or the oldest is lost
//! ```
//!
//! A server that does not read holds up its container (backpressure), as with Docker. One that is gone is tried again
//! every [`RETRY_MS`]; meanwhile lines wait in the queue, and the container only once that is full. After
//! [`PATIENCE_MS`] it waits no longer: until the server is back its lines are lost to the server, and counted.
//! In non-blocking mode the container never waits: the queue is as large as the user says, and its oldest
//! lines are lost.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::SocketType;

use super::address::{Address, Place, addresses, dial, send};
use super::entry::Entry;
use super::{journal, syslog};
use crate::clock;
use crate::error::{Error, Result};
use crate::plan::{LogReceiver, SyslogPlan};

/// Bytes that may wait in blocking mode before the container does.
const QUEUE_LIMIT: usize = 64 << 10;
/// How long a server may take to answer at the start, and to come back later.
const PATIENCE_MS: u64 = 10_000;
/// How soon a server that is gone is tried again.
const RETRY_MS: u64 = 200;
/// How long the end of a container waits for what is queued.
const CLOSE_MS: u64 = 2000;

/// A server, and what waits for it.
#[derive(Debug)]
pub(crate) struct Receiver {
    route: Route,
    addresses: Vec<Address>,
    link: Link,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// Bytes of the first in the queue that a stream has taken.
    sent: usize,
    /// Bytes; None in blocking mode.
    buffer: Option<usize>,
    /// Since when lines wait for a server that is not there.
    lost_since_ms: Option<u64>,
    /// It was not there for too long: until it is, lines are lost.
    has_given_up: bool,
    /// When the server was lost last.
    last_loss_ms: u64,
    last_push_ms: u64,
    dropped: u64,
}

/// What is said.
#[derive(Debug)]
enum Route {
    Journal { fields: Vec<u8> },
    Syslog { plan: SyslogPlan, pid: i32 },
}

#[derive(Debug)]
enum Link {
    Up {
        socket: OwnedFd,
        kind: SocketType,
    },
    /// Is being answered; and which address comes next if it is not.
    Opening {
        socket: OwnedFd,
        kind: SocketType,
        next: usize,
    },
    Down {
        retry_ms: u64,
    },
}

impl Receiver {
    /// Connects, and waits for that.
    pub(crate) fn connect(receiver: LogReceiver, buffer: Option<u64>) -> Result<Receiver> {
        let (route, addresses) = match receiver {
            LogReceiver::Journal { socket, fields } => {
                let route = Route::Journal { fields: journal::fields(&fields) };
                (route, vec![Address { kind: SocketType::DGRAM, place: Place::Unix(socket) }])
            }
            LogReceiver::Syslog(plan) => {
                let addresses = addresses(&plan.server);
                let pid = rustix::process::getpid().as_raw_nonzero().get();
                (Route::Syslog { plan, pid }, addresses)
            }
        };
        let mut receiver = Receiver {
            route,
            addresses,
            link: Link::Down { retry_ms: 0 },
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            buffer: buffer.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            lost_since_ms: None,
            has_given_up: false,
            last_loss_ms: 0,
            last_push_ms: 0,
            dropped: 0,
        };
        let give_up = clock::monotonic_ms() + PATIENCE_MS;
        receiver.open(0, give_up - PATIENCE_MS).map_err(|errno| receiver.unreachable(errno))?;
        while let Link::Opening { socket, .. } = &receiver.link {
            let now = clock::monotonic_ms();
            if now >= give_up {
                return Err(receiver.unreachable(Errno::TIMEDOUT));
            }
            let left = clock::millis(give_up - now);
            // Whatever came of it, it is looked at.
            let _ready = rustix::event::poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left));
            receiver.conclude(clock::monotonic_ms()).map_err(|errno| receiver.unreachable(errno))?;
        }
        Ok(receiver)
    }

    fn unreachable(&self, errno: Errno) -> Error {
        let place = match (&self.route, self.addresses.last()) {
            (Route::Journal { .. }, _) => "journald is not enabled on this host".to_owned(),
            (_, Some(address)) => address.to_string(),
            (_, None) => "its name has no address".to_owned(),
        };
        Error::Remote {
            attempt: "failed to initialize logging driver".to_owned(),
            message: format!("{place}: {errno}"),
        }
    }

    /// Queues an entry.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let message = match &self.route {
            Route::Journal { fields } => journal::encode(entry, fields),
            // A message without a text says nothing, and Docker does not send it.
            Route::Syslog { .. } if entry.line().is_empty() => return,
            Route::Syslog { plan, pid } => syslog::encode(entry, plan, *pid),
        };
        let now_ms = clock::monotonic_ms();
        // After a rest, a server that was gone gets another chance.
        if now_ms >= self.last_push_ms + PATIENCE_MS {
            (self.has_given_up, self.lost_since_ms) = (false, None);
        }
        self.last_push_ms = now_ms;
        if self.has_given_up {
            self.retry(now_ms);
        }
        if self.has_given_up {
            self.dropped += 1;
            return;
        }
        if !matches!(self.link, Link::Up { .. }) {
            self.lost_since_ms.get_or_insert(now_ms);
        }
        self.queued += message.len();
        self.queue.push_back(message);
        while self.buffer.is_some_and(|limit| self.queued > limit) && self.drop_oldest() {}
    }

    /// One that a stream has half taken is not the oldest that can be lost.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.queue.remove(usize::from(self.sent > 0)) else { return false };
        self.queued -= oldest.len();
        self.dropped += 1;
        true
    }

    pub(crate) fn has_room(&self) -> bool {
        self.buffer.is_some() || self.queued < QUEUE_LIMIT
    }

    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.link {
            Link::Down { .. } => None,
            Link::Opening { socket, .. } => Some((socket.as_fd(), PollFlags::OUT)),
            Link::Up { socket, .. } if !self.queue.is_empty() => Some((socket.as_fd(), PollFlags::OUT)),
            // A stream that was closed takes one more message and loses it: better to know before.
            Link::Up { socket, kind } if *kind == SocketType::STREAM => {
                Some((socket.as_fd(), PollFlags::RDHUP))
            }
            Link::Up { .. } => None,
        }
    }

    pub(crate) fn serve(&mut self, found: PollFlags, now_ms: u64) {
        match &self.link {
            Link::Opening { .. } => {
                // A failure leaves the link down, to be tried again.
                let _open = self.conclude(now_ms);
            }
            Link::Up { kind, .. }
                if *kind == SocketType::STREAM
                    && found.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) =>
            {
                self.lose(now_ms);
            }
            Link::Up { .. } | Link::Down { .. } => {}
        }
        self.flush(now_ms);
    }

    /// When a server that is gone is to be tried again, or waited for no longer.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        if self.queue.is_empty() {
            return None;
        }
        let end = self.lost_since_ms.filter(|_| self.buffer.is_none()).map(|since| since + PATIENCE_MS);
        match &self.link {
            Link::Up { .. } => None,
            Link::Opening { .. } => end,
            Link::Down { retry_ms } => end.into_iter().chain([*retry_ms]).min(),
        }
    }

    pub(crate) fn work(&mut self, now_ms: u64) {
        let has_waited = self.lost_since_ms.is_some_and(|since| now_ms >= since + PATIENCE_MS);
        if has_waited && self.buffer.is_none() && !matches!(self.link, Link::Up { .. }) {
            self.has_given_up = true;
            self.drop_all();
        }
        if !self.queue.is_empty() {
            self.flush(now_ms);
        }
    }

    /// Tries a server that is gone again, if it is time.
    fn retry(&mut self, now_ms: u64) {
        if let Link::Down { retry_ms } = self.link
            && now_ms >= retry_ms
        {
            // It stays down, then.
            let _opened = self.open(0, now_ms);
        }
    }

    fn drop_all(&mut self) {
        self.dropped += self.queue.len() as u64;
        self.queue = VecDeque::new();
        (self.queued, self.sent) = (0, 0);
    }

    /// Sends what the server takes without making us wait.
    pub(crate) fn flush(&mut self, now_ms: u64) {
        if !self.queue.is_empty() {
            self.retry(now_ms);
        }
        while let (Link::Up { socket, kind }, Some(first)) = (&self.link, self.queue.front()) {
            match send(
                socket.as_fd(),
                *kind,
                &first[self.sent..],
                matches!(self.route, Route::Journal { .. }),
            ) {
                Ok(length) if *kind == SocketType::STREAM && self.sent + length < first.len() => {
                    self.sent += length;
                }
                Ok(_) => self.forget_first(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                // Told of what was sent before: a datagram is sent again.
                Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH) if self.is_udp() => {
                    let again = send(socket.as_fd(), *kind, first, false);
                    self.dropped += u64::from(again.is_err());
                    self.forget_first();
                }
                Err(Errno::MSGSIZE) => {
                    self.dropped += 1;
                    self.forget_first();
                }
                Err(_) => self.lose(now_ms),
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    fn is_udp(&self) -> bool {
        matches!(self.addresses.first(), Some(Address { kind: SocketType::DGRAM, place: Place::Net(_) }))
    }

    fn forget_first(&mut self) {
        self.queued -= self.queue.pop_front().map_or(0, |message| message.len());
        self.sent = 0;
    }

    /// The server is gone. What it has half of is sent again as a whole.
    fn lose(&mut self, now_ms: u64) {
        self.sent = 0;
        // One that was replaced is there already; one that hangs up on everybody is not asked without end.
        let soon = if now_ms >= self.last_loss_ms + RETRY_MS { now_ms } else { now_ms + RETRY_MS };
        self.last_loss_ms = now_ms;
        if !self.queue.is_empty() {
            self.lost_since_ms.get_or_insert(now_ms);
        }
        self.link = Link::Down { retry_ms: soon };
        self.retry(now_ms);
    }

    fn note_open(&mut self, socket: OwnedFd, kind: SocketType) {
        (self.lost_since_ms, self.has_given_up) = (None, false);
        self.link = Link::Up { socket, kind };
    }

    /// Tries the addresses from `first` on.
    fn open(&mut self, first: usize, now_ms: u64) -> std::result::Result<(), Errno> {
        let mut failure = Errno::NOENT;
        for index in first..self.addresses.len() {
            match dial(&self.addresses[index]) {
                Ok((socket, is_open)) => {
                    let kind = self.addresses[index].kind;
                    if is_open {
                        self.note_open(socket, kind);
                    } else {
                        self.link = Link::Opening { socket, kind, next: index + 1 };
                    }
                    return Ok(());
                }
                Err(errno) => failure = errno,
            }
        }
        self.link = Link::Down { retry_ms: now_ms + RETRY_MS };
        Err(failure)
    }

    /// Looks at what became of a connection that was being opened.
    fn conclude(&mut self, now_ms: u64) -> std::result::Result<(), Errno> {
        let link = std::mem::replace(&mut self.link, Link::Down { retry_ms: now_ms });
        let Link::Opening { socket, kind, next } = link else {
            self.link = link;
            return Ok(());
        };
        match rustix::net::sockopt::socket_error(&socket) {
            Ok(Ok(())) if rustix::net::getpeername(&socket).is_ok() => {
                self.note_open(socket, kind);
                Ok(())
            }
            Ok(Ok(())) => {
                self.link = Link::Opening { socket, kind, next };
                Ok(())
            }
            Ok(Err(errno)) | Err(errno) => self.open(next, now_ms).map_err(|_| errno),
        }
    }

    /// Sends what is queued before the container's end is told, within [`CLOSE_MS`].
    pub(crate) fn close(&mut self) {
        let give_up = clock::monotonic_ms() + CLOSE_MS;
        loop {
            let now = clock::monotonic_ms();
            self.flush(now);
            if self.queue.is_empty() || now >= give_up {
                break;
            }
            let until = self.due_ms().map_or(give_up, |due| due.min(give_up));
            let timeout = clock::millis(until.saturating_sub(now).max(1));
            let mut watched: Vec<PollFd<'_>> = Vec::new();
            watched.extend(self.interest().map(|(socket, flags)| PollFd::from_borrowed_fd(socket, flags)));
            // Woken for nothing, it looks again.
            let _ready = rustix::event::poll(&mut watched, Some(&timeout));
            if matches!(self.link, Link::Opening { .. }) {
                let _open = self.conclude(clock::monotonic_ms());
            }
        }
        self.drop_all();
    }
}
