//! Copying in one direction, a portion at a time and only when the other side is ready.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Bytes copied at once. With a ready pipe or terminal, writing so few does not wait.
pub(super) const PORTION: usize = 4096;

/// How long the last output of a terminal may take to arrive. Only a program that leaves others behind on its
/// terminal ever keeps us waiting for so long.
const LATE_OUTPUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// One direction of copying between a stream of the caller's and our end of a pipe or terminal.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    pub(super) theirs: BorrowedFd<'a>,
    pub(super) ours: Option<OwnedFd>,
    pub(super) held: Vec<u8>,
    /// Nobody reads what we would write.
    pub(super) unread: bool,
}

/// How far the rest of a stream is waited for.
#[derive(Clone, Copy)]
pub(super) enum UntilWhen {
    /// Not at all.
    Now,
    /// For a moment.
    Late,
    /// Until it ends.
    End,
}

impl<'a> Pump<'a> {
    pub(super) fn new(theirs: BorrowedFd<'a>, ours: OwnedFd) -> Pump<'a> {
        Pump { theirs, ours: Some(ours), held: Vec::new(), unread: false }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.ours.is_none() && self.held.is_empty()
    }

    /// Input: from what is held into our end.
    pub(super) fn write_ours(&mut self, flags: PollFlags) {
        let Some(ours) = &self.ours else { return };
        if flags.contains(PollFlags::ERR) {
            self.ours = None;
            self.held.clear();
            return;
        }
        match rustix::io::write(ours, &self.held) {
            Ok(written) => drop(self.held.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.ours = None;
                self.held.clear();
            }
        }
    }

    /// Output: from our end into what is held.
    pub(super) fn read_ours(&mut self) -> bool {
        let Some(ours) = &self.ours else { return false };
        let mut said = [0; PORTION];
        match rustix::io::read(ours, &mut said) {
            Ok(length) if length > 0 => {
                self.held.extend_from_slice(&said[..length]);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // A terminal's master answers EIO once nobody has the terminal open.
            Ok(_) | Err(_) => {
                self.ours = None;
                false
            }
        }
    }

    pub(super) fn write_theirs(&mut self) {
        match rustix::io::write(self.theirs, &self.held) {
            Ok(written) => drop(self.held.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads any more, or the disk is full: the rest has nowhere to go.
            Err(errno) => {
                self.unread = errno == Errno::PIPE;
                self.held.clear();
                self.ours = None;
            }
        }
    }

    /// Output: copies the rest.
    pub(super) fn drain(&mut self, until: UntilWhen) {
        loop {
            while !self.held.is_empty() {
                wait_one(self.theirs, PollFlags::OUT, None);
                self.write_theirs();
            }
            if self.read_ours() {
                continue;
            }
            let more = match (&self.ours, until) {
                (None, _) | (_, UntilWhen::Now) => false,
                (Some(ours), UntilWhen::End) => wait_one(ours.as_fd(), PollFlags::IN, None),
                (Some(ours), UntilWhen::Late) => wait_one(ours.as_fd(), PollFlags::IN, Some(&LATE_OUTPUT)),
            };
            if !more {
                return;
            }
        }
    }
}

/// Waits for a descriptor; false when it was in vain.
pub(super) fn wait_one(descriptor: BorrowedFd<'_>, flags: PollFlags, timeout: Option<&Timespec>) -> bool {
    match rustix::event::poll(&mut [PollFd::new(&descriptor, flags)], timeout) {
        Ok(0) => false,
        Ok(_) | Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

/// Output that a stream had no room for when the container ended.
pub(super) fn write_tail(stream: Option<BorrowedFd<'_>>, tail: Option<OwnedFd>) {
    let (Some(stream), Some(tail)) = (stream, tail) else { return };
    let mut tail = File::from(tail);
    let Ok(mut stream) = stream.try_clone_to_owned().map(File::from) else { return };
    let mut portion = [0; PORTION];
    // A reader that is gone wants no more; there is nobody else to tell.
    if tail.rewind().is_err() {
        return;
    }
    while let Ok(length @ 1..) = tail.read(&mut portion) {
        if stream.write_all(&portion[..length]).is_err() {
            return;
        }
    }
}
