//! What a caller does while a program runs: copying streams, passing signals on, looking for detach keys.
//!
//! One thread, one poll loop. A caller's terminal or file is written in small portions and only when it is
//! ready, so that a stopped terminal does not keep signals from being passed on.
//!
//! When nobody reads the caller's output any more, whoever writes learns of it by writing: the monitor, which
//! holds the caller's pipe and tells us, or we ourselves. Then we ask for a hang-up, and end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux::signal;
use runtime::plan::TerminalSize;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::termios::Winsize;

use crate::client::keys::DetachKeys;
use crate::client::pump::{PORTION, Pump, UntilWhen, wait_one, write_tail};
use crate::client::stdio::CallerStdio;
use crate::client::{Connection, Ended, ExecHandle, Received, unexpected};
use crate::clock;
use crate::error::{Error, Result};
use crate::protocol::{Reply, Request};

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
    /// Requests that the monitor has not answered yet.
    unanswered: u32,
}

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd<T> {
    /// The program ended: [`Ended`] for a container, its code for an exec. All output has been written.
    Exited(T),
    /// The user typed the detach keys; the program goes on.
    Detached,
    /// There was output, and nobody to read it: what SIGPIPE ends a program for. How the program ended, if it took
    /// the hint at once.
    Unread(Option<T>),
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

/// How long a program that has lost its reader may take to end before it is left to itself. Most end at once; then
/// the next command meets no remains.
const FAREWELL_MS: u64 = 1000;

/// Why the loop stopped.
enum Stopped {
    Message,
    Detached,
    Unread,
}

impl<'a> Session<'a> {
    pub(super) fn new(caller: CallerStdio<'a>) -> Session<'a> {
        let keys = DetachKeys::new(caller.detach_keys);
        Session { caller, keys, input: None, outputs: Vec::new(), stdout: None, stderr: None, unanswered: 0 }
    }

    pub(super) fn copy(&mut self, theirs: BorrowedFd<'a>, ours: Option<OwnedFd>, is_input: bool) {
        let Some(ours) = ours else { return };
        let pump = Pump::new(theirs, ours);
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
            self.tell(connection, &Request::Resize(size))?;
        }
        let mut ended = connection.take_ended()?;
        // Set once nobody reads: until then the container may take to end.
        let mut farewell_ms = None;
        let farewell = || Some(clock::monotonic_ms() + FAREWELL_MS);
        while ended.is_none() {
            if farewell_ms.is_some_and(|end| clock::monotonic_ms() >= end) {
                return Ok(SessionEnd::Unread(None));
            }
            match self.turn(connection, Subject::Container, farewell_ms)? {
                Some(Stopped::Detached) => {
                    self.hear_answers(connection)?;
                    return Ok(SessionEnd::Detached);
                }
                Some(Stopped::Unread) => {
                    tell(connection, &Request::HangUp)?;
                    farewell_ms = farewell_ms.or_else(farewell);
                }
                Some(Stopped::Message) => match connection.receive()? {
                    Received::Ended => ended = connection.take_ended()?,
                    Received::Reply(Reply::Unread { ends: true }, _) => {
                        tell(connection, &Request::HangUp)?;
                        farewell_ms = farewell_ms.or_else(farewell);
                    }
                    Received::Reply(Reply::Unread { ends: false }, _) => return Ok(SessionEnd::Unread(None)),
                    Received::Reply(Reply::Done(_) | Reply::Refused(_) | Reply::Failed { .. }, _) => {
                        self.unanswered = self.unanswered.saturating_sub(1);
                    }
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
        Ok(if farewell_ms.is_some() { SessionEnd::Unread(Some(ended)) } else { SessionEnd::Exited(ended) })
    }

    /// Lets what was asked for happen before anybody is told that the user has left: events are told by those who act.
    fn hear_answers(&mut self, connection: &mut Connection) -> Result<()> {
        let patience = clock::millis(FAREWELL_MS);
        while self.unanswered > 0 && wait_one(connection.as_fd(), PollFlags::IN, Some(&patience)) {
            match connection.receive()? {
                Received::Reply(Reply::Done(_) | Reply::Refused(_) | Reply::Failed { .. }, _) => {
                    self.unanswered -= 1;
                }
                Received::Reply(..) => {}
                Received::Ended => break,
            }
        }
        Ok(())
    }

    /// Sends a request whose answer is heard later.
    fn tell(&mut self, connection: &Connection, request: &Request) -> Result<()> {
        self.unanswered += 1;
        tell(connection, request)
    }

    /// Copies until the program ends or the user detaches.
    pub fn run_exec(mut self, program: &mut ExecHandle) -> Result<SessionEnd<i32>> {
        let terminal = program.terminal.take();
        if let Some(master) = &terminal {
            self.connect_terminal(master)?;
        }
        loop {
            match self.turn(&mut program.connection, Subject::Program(terminal.as_ref()), None)? {
                Some(Stopped::Detached) => return Ok(SessionEnd::Detached),
                Some(Stopped::Message) => break,
                Some(Stopped::Unread) => {
                    drop(terminal);
                    return self.hang_up(program);
                }
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

    /// Gives a program up whose terminal nobody reads.
    fn hang_up(mut self, program: &mut ExecHandle) -> Result<SessionEnd<i32>> {
        self.input = None;
        self.outputs.clear();
        tell(&program.connection, &Request::HangUp)?;
        let farewell = clock::millis(FAREWELL_MS);
        loop {
            if !wait_one(program.connection.as_fd(), PollFlags::IN, Some(&farewell)) {
                return Ok(SessionEnd::Unread(None));
            }
            match program.connection.receive()? {
                Received::Reply(Reply::ExecEnded { code }, _) => return Ok(SessionEnd::Unread(Some(code))),
                Received::Reply(..) => {}
                Received::Ended => return Ok(SessionEnd::Unread(None)),
            }
        }
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
    fn turn(
        &mut self,
        connection: &mut Connection,
        subject: Subject<'_>,
        until_ms: Option<u64>,
    ) -> Result<Option<Stopped>> {
        for (ready, flags) in self.wait(connection, until_ms)? {
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
        if self.outputs.extract_if(.., |output| output.unread).count() > 0 {
            return Ok(Some(Stopped::Unread));
        }
        Ok(None)
    }

    fn wait(&self, connection: &Connection, until_ms: Option<u64>) -> Result<Vec<(Ready, PollFlags)>> {
        let mut watched = vec![(Ready::Connection, PollFd::new(connection, PollFlags::IN))];
        if let Some(signals) = &self.caller.signals {
            watched.push((Ready::Signals, PollFd::new(signals, PollFlags::IN)));
        }
        if let Some(Pump { theirs, ours: Some(ours), held, .. }) = &self.input {
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
            let left = until_ms.map(clock::until);
            match rustix::event::poll(&mut descriptors, left.as_ref()) {
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

    fn pass_signals(&mut self, connection: &mut Connection, subject: Subject<'_>) -> Result<()> {
        let Some(signals) = self.caller.signals else { return Ok(()) };
        while let Some(number) = signal::next(signals).map_err(Error::system("read signals"))? {
            match subject {
                // The answers are read, and passed over, by the loop.
                Subject::Container if number == signal::WINCH => {
                    if let Some(size) = self.terminal_size() {
                        self.tell(connection, &Request::Resize(size))?;
                    }
                }
                Subject::Container => self.tell(connection, &Request::Signal { signal: number })?,
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

/// Sends a request whose answer nobody waits for. To a monitor that is gone there is nothing to say any more: what
/// it has said itself is still to be read.
fn tell(connection: &Connection, request: &Request) -> Result<()> {
    match connection.send(request, &[]) {
        Err(Error::Gone | Error::NotRunning) => Ok(()),
        outcome => outcome,
    }
}
