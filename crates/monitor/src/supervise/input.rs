//! What the container reads: fed by the clients that attached to it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::error::Result;
use crate::supervise::outputs::check_stream;

/// Bytes read at once, and the most that waits for the container.
const PORTION: usize = 16 << 10;

/// The container's standard input, or the writing side of its terminal.
#[derive(Debug)]
pub(crate) struct Input {
    /// None once it is closed.
    pub(crate) to: Option<OwnedFd>,
    /// Read from a client, not yet taken by the container.
    pending: Vec<u8>,
    pub(crate) feeds: Vec<Feed>,
    /// Closes with the first feed that ends.
    once: bool,
    closing: bool,
}

/// A client's end.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) client: u64,
    pub(crate) from: OwnedFd,
    is_socket: bool,
    ended: bool,
}

impl Input {
    /// `once`: the end of the first feed is the end of the input. Never so with a terminal.
    pub(crate) fn new(to: OwnedFd, once: bool) -> Input {
        Input { to: Some(to), pending: Vec::new(), feeds: Vec::new(), once, closing: false }
    }

    /// Connects a client. When the container reads no more, its end is closed, which tells the client.
    pub(crate) fn connect(&mut self, client: u64, from: OwnedFd) -> Result<()> {
        let is_socket = check_stream(&from)?;
        if self.to.is_some() && !self.closing {
            self.feeds.push(Feed { client, from, is_socket, ended: false });
        }
        Ok(())
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads from a feed; called when nothing is pending.
    pub(crate) fn read(&mut self, index: usize) {
        let Some(feed) = self.feeds.get_mut(index) else { return };
        let mut typed = vec![0; PORTION];
        let read = if feed.is_socket {
            rustix::net::recv(&feed.from, &mut typed[..], RecvFlags::DONTWAIT).map(|(length, _)| length)
        } else {
            rustix::io::read(&feed.from, &mut typed)
        };
        match read {
            Ok(length) if length > 0 => {
                self.pending.extend_from_slice(&typed[..length]);
                self.flush();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => feed.ended = true,
        }
    }

    /// Writes what the container takes.
    pub(crate) fn flush(&mut self) {
        while let Some(to) = &self.to {
            if self.pending.is_empty() {
                break;
            }
            match rustix::io::write(to, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The container reads no more.
                Err(_) => self.close(),
            }
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// The container reads no more, or is to read no more.
    pub(crate) fn close(&mut self) {
        self.to = None;
        self.pending = Vec::new();
        self.feeds.clear();
    }

    /// Forgets feeds that have ended or whose client is gone, and closes when that is the end of the input.
    pub(crate) fn sweep(&mut self, is_connected: impl Fn(u64) -> bool) {
        let before = self.feeds.len();
        self.feeds.retain(|feed| !feed.ended && is_connected(feed.client));
        self.closing |= self.once && self.feeds.len() < before;
        if self.closing && self.pending.is_empty() {
            self.close();
        }
    }
}
