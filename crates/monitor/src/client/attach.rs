//! The caller's streams: which are handed over, and what the caller must copy itself.
//!
//! A container never gets hold of a terminal or a regular file of the host's: a terminal would let it push
//! keystrokes into the caller's session, a file would lend it an open description of the host's. The monitor
//! in turn never touches what could make it wait: a terminal that is stopped, a file on a dead server. So only
//! pipes, sockets and `/dev/null` are handed over as they are; for everything else a pipe is made, and the
//! caller copies between the two in [`Session::run`], in the thread that waits for the end anyway.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::client::{Connection, Ended, ExecHandle};
use crate::error::Result;
use crate::protocol::Streams;

/// A caller's streams and its wishes about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerStdio<'a> {
    /// None: the container's standard input is not attached.
    pub stdin: Option<BorrowedFd<'a>>,
    /// None: its standard output is not attached.
    pub stdout: Option<BorrowedFd<'a>>,
    /// None: its standard error is not attached. Unused with a terminal, which has one output.
    pub stderr: Option<BorrowedFd<'a>>,
    /// A terminal of the caller's whose size the container's terminal takes over, now and at SIGWINCH. The
    /// caller has put it into raw mode.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The bytes that, typed in a row, detach (Docker: `\x10\x11`); empty: nothing does.
    pub detach_keys: &'a [u8],
    /// A signalfd: SIGWINCH resizes, every other signal is sent to the container's init.
    pub signals: Option<BorrowedFd<'a>>,
}

/// Streams to attach: pipes, sockets or `/dev/null`.
#[derive(Debug, Default)]
pub struct AttachStdio {
    /// The monitor reads the container's standard input from here.
    pub stdin: Option<OwnedFd>,
    /// The monitor writes the container's standard output here.
    pub stdout: Option<OwnedFd>,
    /// The monitor writes the container's standard error here.
    pub stderr: Option<OwnedFd>,
}

/// Streams of a program to exec: pipes, sockets or `/dev/null`; what is missing is `/dev/null`.
#[derive(Debug, Default)]
pub struct ExecStdio {
    /// Its standard input.
    pub stdin: Option<OwnedFd>,
    /// Its standard output.
    pub stdout: Option<OwnedFd>,
    /// Its standard error.
    pub stderr: Option<OwnedFd>,
}

/// What a caller copies while it waits.
#[derive(Debug)]
pub struct Session<'a> {
    caller: CallerStdio<'a>,
    _pumps: PhantomData<&'a ()>,
}

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd<T> {
    /// The program ended: [`Ended`] for a container, its code for an exec. All output has been written.
    Exited(T),
    /// The user typed the detach keys; the program goes on.
    Detached,
}

impl AttachStdio {
    /// Sorts a caller's streams into those to hand over and those to copy.
    pub fn from_caller<'a>(caller: &CallerStdio<'a>) -> Result<(AttachStdio, Session<'a>)> {
        Ok((AttachStdio::default(), Session { caller: *caller, _pumps: PhantomData }))
    }

    pub(crate) fn into_parts(self) -> (Streams, Vec<OwnedFd>) {
        parts(self.stdin, self.stdout, self.stderr)
    }
}

impl ExecStdio {
    /// Sorts a caller's streams into those to hand over and those to copy. With `terminal` (`exec -t`)
    /// nothing is handed over: the program gets a terminal of the container's.
    pub fn from_caller<'a>(caller: &CallerStdio<'a>, terminal: bool) -> Result<(ExecStdio, Session<'a>)> {
        let _ = terminal;
        Ok((ExecStdio::default(), Session { caller: *caller, _pumps: PhantomData }))
    }

    pub(crate) fn into_parts(self) -> (Streams, Vec<OwnedFd>) {
        parts(self.stdin, self.stdout, self.stderr)
    }
}

impl Session<'_> {
    /// Copies until the container ends or the user detaches. `connection` is that of [`crate::Running`], or
    /// one on which [`Connection::attach`] succeeded.
    pub fn run(self, connection: &mut Connection) -> Result<SessionEnd<Ended>> {
        let _ = self.caller;
        connection.ended().map(SessionEnd::Exited)
    }

    /// Copies until the program ends or the user detaches.
    pub fn run_exec(self, program: &mut ExecHandle) -> Result<SessionEnd<i32>> {
        program.wait().map(SessionEnd::Exited)
    }
}

fn parts(
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> (Streams, Vec<OwnedFd>) {
    let streams = Streams { stdin: stdin.is_some(), stdout: stdout.is_some(), stderr: stderr.is_some() };
    (streams, [stdin, stdout, stderr].into_iter().flatten().collect())
}
