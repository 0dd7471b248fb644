//! What a caller does while a program runs: copying streams, passing signals on, looking for detach keys.
//!
//! One thread, one poll loop. A caller's terminal or file is written in small portions and only when it is
//! ready, so that a stopped terminal does not keep signals from being passed on.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::signal;
use runtime::plan::TerminalSize;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::termios::Winsize;

use crate::client::keys::DetachKeys;
use crate::client::stdio::CallerStdio;
use crate::client::{Connection, Ended, ExecHandle, Received, unexpected};
use crate::error::{Error, Result};
use crate::protocol::{Reply, Request};

/// Bytes copied at once. With a ready pipe or terminal, writing so few does not wait.
const PORTION: usize = 4096;

/// What a caller copies while it waits. Made together with the streams that are handed over.
#[derive(Debug)]
pub struct Session<'a> {
    caller: CallerStdio<'a>,
    keys: DetachKeys<'a>,
    input: Option<Pump<'a>>,
    outputs: Vec<Pump<'a>>,
    /// Where the rest of the container's output goes at its end.
    stdout: Option<BorrowedFd<'a>>,
    stderr: Option<BorrowedFd<'a>>,
}

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd<T> {
    /// The program ended: [`Ended`] for a container, its code for an exec. All output has been written.
    Exited(T),
    /// The user typed the detach keys; the program goes on.
    Detached,
}

/// One direction of copying between a stream of the caller's and our end of a pipe or terminal.
#[derive(Debug)]
struct Pump<'a> {
    theirs: BorrowedFd<'a>,
    ours: Option<OwnedFd>,
    held: Vec<u8>,
}

/// Which descriptor was ready.
#[derive(Clone, Copy)]
enum Ready {
    Connection,
    Signals,
    InputFrom,
    InputTo,
    OutputFrom(usize),
    OutputTo(usize),
}

/// What the session is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    /// A container, which its monitor signals and resizes for us.
    Container,
    /// A program in one, with its terminal's master in our hands when it has one.
    Program(Option<&'a OwnedFd>),
}

/// How long the last output of a terminal may take to arrive. Only a program that leaves others behind on its
/// terminal ever keeps us waiting for so long.
const LATE_OUTPUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Why the loop stopped.
enum Stopped {
    Message,
    Detached,
}

impl<'a> Session<'a> {
    pub(super) fn new(caller: CallerStdio<'a>) -> Session<'a> {
        let keys = DetachKeys::new(caller.detach_keys);
        Session { caller, keys, input: None, outputs: Vec::new(), stdout: None, stderr: None }
    }

    pub(super) fn copy(&mut self, theirs: BorrowedFd<'a>, ours: Option<OwnedFd>, is_input: bool) {
        let Some(ours) = ours else { return };
        let pump = Pump { theirs, ours: Some(ours), held: Vec::new() };
        if is_input {
            self.input = Some(pump);
        } else {
            self.outputs.push(pump);
        }
    }

    pub(super) fn remember_outputs(&mut self, caller: &CallerStdio<'a>) {
        self.stdout = caller.stdout;
        self.stderr = caller.stderr;
    }

    /// Copies until the container ends or the user detaches. `connection` is that of [`crate::Running`], or
    /// one on which [`Connection::attach`] succeeded.
    pub fn run(mut self, connection: &mut Connection) -> Result<SessionEnd<Ended>> {
        if let Some(size) = self.terminal_size() {
            tell(connection, &Request::Resize(size))?;
        }
        let mut ended = connection.take_ended()?;
        while ended.is_none() {
            match self.turn(connection, Subject::Container)? {
                Some(Stopped::Detached) => return Ok(SessionEnd::Detached),
                Some(Stopped::Message) => match connection.receive()? {
                    Received::Ended => ended = connection.take_ended()?,
                    Received::Reply(Reply::Done(_) | Reply::Refused(_) | Reply::Failed { .. }, _) => {}
                    Received::Reply(reply, _) => return Err(unexpected(reply)),
                },
                None => {}
            }
        }
        let mut ended = ended.ok_or(Error::Gone)?;
        self.input = None;
        for output in &mut self.outputs {
            output.drain(UntilWhen::End);
        }
        write_tail(self.stdout, ended.tails.stdout.take());
        write_tail(self.stderr, ended.tails.stderr.take());
        Ok(SessionEnd::Exited(ended))
    }

    /// Copies until the program ends or the user detaches.
    pub fn run_exec(mut self, program: &mut ExecHandle) -> Result<SessionEnd<i32>> {
        let terminal = program.terminal.take();
        if let Some(master) = &terminal {
            self.connect_terminal(master)?;
        }
        let subject = Subject::Program(terminal.as_ref());
        loop {
            match self.turn(&mut program.connection, subject)? {
                Some(Stopped::Detached) => return Ok(SessionEnd::Detached),
                Some(Stopped::Message) => break,
                None => {}
            }
        }
        let code = program.wait()?;
        self.input = None;
        for output in &mut self.outputs {
            // What the program started may live on and hold the other end: it is not waited for.
            output.drain(if terminal.is_some() { UntilWhen::Late } else { UntilWhen::Now });
        }
        Ok(SessionEnd::Exited(code))
    }

    /// A program's terminal is pumped by us, without the monitor in between.
    fn connect_terminal(&mut self, master: &OwnedFd) -> Result<()> {
        super::stdio::set_nonblocking(master)?;
        let duplicate =
            || rustix::io::fcntl_dupfd_cloexec(master, 3).map_err(Error::system("duplicate a terminal"));
        if let Some(stdin) = self.caller.stdin {
            self.copy(stdin, Some(duplicate()?), true);
        }
        if let Some(stdout) = self.caller.stdout {
            self.copy(stdout, Some(duplicate()?), false);
        }
        self.resize_terminal(master);
        Ok(())
    }

    /// Waits for something to do and does it.
    fn turn(&mut self, connection: &mut Connection, subject: Subject<'_>) -> Result<Option<Stopped>> {
        for (ready, flags) in self.wait(connection)? {
            match ready {
                Ready::Connection => return Ok(Some(Stopped::Message)),
                Ready::Signals => self.pass_signals(connection, subject)?,
                Ready::InputFrom => {
                    if self.read_input() {
                        return Ok(Some(Stopped::Detached));
                    }
                }
                Ready::InputTo => {
                    if let Some(input) = &mut self.input {
                        input.write_ours(flags);
                    }
                }
                Ready::OutputFrom(index) => {
                    self.outputs[index].read_ours();
                }
                Ready::OutputTo(index) => self.outputs[index].write_theirs(),
            }
        }
        self.input.take_if(|input| input.is_finished());
        Ok(None)
    }

    fn wait(&self, connection: &Connection) -> Result<Vec<(Ready, PollFlags)>> {
        let mut watched = vec![(Ready::Connection, PollFd::new(connection, PollFlags::IN))];
        if let Some(signals) = &self.caller.signals {
            watched.push((Ready::Signals, PollFd::new(signals, PollFlags::IN)));
        }
        if let Some(Pump { theirs, ours: Some(ours), held }) = &self.input {
            if held.is_empty() {
                watched.push((Ready::InputFrom, PollFd::new(theirs, PollFlags::IN)));
                // Asks for nothing but the news that nobody reads any more.
                watched.push((Ready::InputTo, PollFd::new(ours, PollFlags::empty())));
            } else {
                watched.push((Ready::InputTo, PollFd::new(ours, PollFlags::OUT)));
            }
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if !output.held.is_empty() {
                watched.push((Ready::OutputTo(index), PollFd::new(&output.theirs, PollFlags::OUT)));
            } else if let Some(ours) = &output.ours {
                watched.push((Ready::OutputFrom(index), PollFd::new(ours, PollFlags::IN)));
            }
        }
        let (tokens, mut descriptors): (Vec<Ready>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        loop {
            match rustix::event::poll(&mut descriptors, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::System { attempt: "wait for the container", errno }),
            }
        }
        let ready = tokens.into_iter().zip(&descriptors).map(|(token, fd)| (token, fd.revents()));
        // The message about the end comes last: what was ready with it is copied first.
        let mut ready: Vec<_> = ready.filter(|(_, flags)| !flags.is_empty()).collect();
        ready.reverse();
        Ok(ready)
    }

    fn pass_signals(&self, connection: &mut Connection, subject: Subject<'_>) -> Result<()> {
        let Some(signals) = self.caller.signals else { return Ok(()) };
        while let Some(number) = signal::next(signals).map_err(Error::system("read signals"))? {
            match subject {
                // The answers are read, and passed over, by the loop.
                Subject::Container if number == signal::WINCH => {
                    if let Some(size) = self.terminal_size() {
                        tell(connection, &Request::Resize(size))?;
                    }
                }
                Subject::Container => tell(connection, &Request::Signal { signal: number })?,
                Subject::Program(Some(master)) if number == signal::WINCH => self.resize_terminal(master),
                Subject::Program(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn terminal_size(&self) -> Option<TerminalSize> {
        let size = rustix::termios::tcgetwinsize(self.caller.terminal?).ok()?;
        Some(TerminalSize { columns: size.ws_col, rows: size.ws_row })
    }

    fn resize_terminal(&self, master: &OwnedFd) {
        if let Some(size) = self.terminal_size() {
            let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
            // A terminal whose program has just ended has no use for a size.
            let _set = rustix::termios::tcsetwinsize(master, size);
        }
    }

    /// Reads what the user types; true when that completes the detach keys.
    fn read_input(&mut self) -> bool {
        let Some(input) = &mut self.input else { return false };
        let mut typed = [0; PORTION];
        match rustix::io::read(input.theirs, &mut typed) {
            Err(Errno::INTR | Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                input.ours = None;
                false
            }
            Ok(length) => self.keys.pass(&typed[..length], &mut input.held),
        }
    }
}

impl Pump<'_> {
    fn is_finished(&self) -> bool {
        self.ours.is_none() && self.held.is_empty()
    }

    /// Input: from what is held into our end.
    fn write_ours(&mut self, flags: PollFlags) {
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
    fn read_ours(&mut self) -> bool {
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

    fn write_theirs(&mut self) {
        match rustix::io::write(self.theirs, &self.held) {
            Ok(written) => drop(self.held.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads any more: the rest has nowhere to go.
            Err(_) => {
                self.held.clear();
                self.ours = None;
            }
        }
    }

    /// Output: copies the rest.
    fn drain(&mut self, until: UntilWhen) {
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

/// Sends a request whose answer nobody waits for. To a monitor that is gone there is nothing to say any more: what
/// it has said itself is still to be read.
fn tell(connection: &Connection, request: &Request) -> Result<()> {
    match connection.send(request, &[]) {
        Err(Error::Gone | Error::NotRunning) => Ok(()),
        outcome => outcome,
    }
}

/// How far the rest of a stream is waited for.
#[derive(Clone, Copy)]
enum UntilWhen {
    /// Not at all.
    Now,
    /// For a moment.
    Late,
    /// Until it ends.
    End,
}

/// Waits for a descriptor; false when it was in vain.
fn wait_one(descriptor: BorrowedFd<'_>, flags: PollFlags, timeout: Option<&Timespec>) -> bool {
    match rustix::event::poll(&mut [PollFd::new(&descriptor, flags)], timeout) {
        Ok(0) => false,
        Ok(_) | Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

/// Output that a stream had no room for when the container ended.
fn write_tail(stream: Option<BorrowedFd<'_>>, tail: Option<OwnedFd>) {
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
