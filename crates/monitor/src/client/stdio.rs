//! The caller's streams: which are handed over, and which the caller must copy itself.
//!
//! A container never gets hold of a terminal or a regular file of the host's: a terminal would let it push
//! keystrokes into the caller's session, a file would lend it an open description of the host's. The monitor
//! in turn never touches what could make it wait: a terminal that is stopped, a file on a dead server. So only
//! pipes, sockets and `/dev/null` are handed over; for everything else a pipe is made, and the caller copies
//! between the two in [`Session`], in the thread that waits for the end anyway.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use runtime::plan::TerminalSize;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::client::session::Session;
use crate::error::{Error, Result};
use crate::protocol::Streams;

/// A caller's streams and its wishes about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerStdio<'a> {
    /// None: the container's standard input is not attached.
    pub stdin: Option<BorrowedFd<'a>>,
    /// None: its standard output is not attached.
    pub stdout: Option<BorrowedFd<'a>>,
    /// None: its standard error is not attached. With a terminal there is one output, on `stdout`.
    pub stderr: Option<BorrowedFd<'a>>,
    /// A terminal of the caller's whose size the container's terminal takes over, now and at SIGWINCH. The
    /// caller has put it into raw mode.
    pub terminal: Option<BorrowedFd<'a>>,
    /// The bytes that, typed in a row, detach (Docker: `\x10\x11`); empty: nothing does.
    pub detach_keys: &'a [u8],
    /// A [`linux::signal::SignalFd`]: SIGWINCH resizes, every other signal is sent to the container's init.
    /// While a program is exec'd the others are dropped.
    pub signals: Option<BorrowedFd<'a>>,
}

/// Streams to attach: pipes, sockets or `/dev/null`. Made from a caller's own by [`Self::from_caller`]; whoever
/// fills in pipes itself makes the handed ends non-blocking, or the monitor refuses them.
#[derive(Debug, Default)]
pub struct AttachStdio {
    /// The monitor reads the container's standard input from here.
    pub stdin: Option<OwnedFd>,
    /// The monitor writes the container's standard output here.
    pub stdout: Option<OwnedFd>,
    /// The monitor writes the container's standard error here.
    pub stderr: Option<OwnedFd>,
    /// Size of the caller's terminal, which a new container's terminal has from its start.
    pub terminal_size: Option<TerminalSize>,
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
    /// Size of the caller's terminal, which the program's terminal has from its start.
    pub terminal_size: Option<TerminalSize>,
}

/// What the other side does with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Reads,
    Writes,
}

/// A stream sorted: what to hand over, and our end of it when we copy.
struct Sorted {
    handed: OwnedFd,
    ours: Option<OwnedFd>,
}

impl AttachStdio {
    /// Sorts a caller's streams into those to hand over and those to copy.
    pub fn from_caller<'a>(caller: &CallerStdio<'a>) -> Result<(AttachStdio, Session<'a>)> {
        let mut session = Session::new(*caller);
        let mut sort = |stream: Option<BorrowedFd<'a>>, direction, keys: bool| {
            let Some(stream) = stream else { return Ok(None) };
            let handed = if keys { None } else { reopened(stream, direction)? };
            let sorted = match handed {
                Some(handed) => Sorted { handed, ours: None },
                None => {
                    let sorted = piped(direction)?;
                    set_nonblocking(&sorted.handed)?;
                    sorted
                }
            };
            session.copy(stream, sorted.ours, direction == Direction::Reads);
            Ok::<_, Error>(Some(sorted.handed))
        };
        // Whoever looks for keys in the input must see it pass.
        let stdin = sort(caller.stdin, Direction::Reads, !caller.detach_keys.is_empty())?;
        let stdout = sort(caller.stdout, Direction::Writes, false)?;
        let stderr = sort(caller.stderr, Direction::Writes, false)?;
        session.remember_outputs(caller);
        Ok((AttachStdio { stdin, stdout, stderr, terminal_size: session.terminal_size() }, session))
    }

    pub(crate) fn into_parts(self) -> (Streams, Vec<OwnedFd>) {
        parts(self.stdin, self.stdout, self.stderr)
    }
}

impl ExecStdio {
    /// Sorts a caller's streams into those to hand over and those to copy. With `terminal` (`exec -t`)
    /// nothing is handed over: the program gets a terminal of the container's.
    pub fn from_caller<'a>(caller: &CallerStdio<'a>, terminal: bool) -> Result<(ExecStdio, Session<'a>)> {
        let mut session = Session::new(*caller);
        if terminal {
            let terminal_size = session.terminal_size();
            return Ok((ExecStdio { terminal_size, ..ExecStdio::default() }, session));
        }
        let mut sort = |stream: Option<BorrowedFd<'a>>, direction, keys: bool| {
            let Some(stream) = stream else { return Ok(None) };
            if !keys && may_be_handed_over(stream)? {
                let handed = rustix::io::fcntl_dupfd_cloexec(stream, 3)
                    .map_err(Error::system("duplicate a standard stream"))?;
                return Ok(Some(handed));
            }
            let Sorted { handed, ours } = piped(direction)?;
            session.copy(stream, ours, direction == Direction::Reads);
            Ok::<_, Error>(Some(handed))
        };
        let stdin = sort(caller.stdin, Direction::Reads, !caller.detach_keys.is_empty())?;
        let stdout = sort(caller.stdout, Direction::Writes, false)?;
        let stderr = sort(caller.stderr, Direction::Writes, false)?;
        Ok((ExecStdio { stdin, stdout, stderr, terminal_size: None }, session))
    }

    pub(crate) fn into_parts(self) -> (Streams, Vec<OwnedFd>) {
        parts(self.stdin, self.stdout, self.stderr)
    }
}

/// The stream as the monitor may have it: `/dev/null` and sockets as they are, a pipe through an open
/// description of its own, so that "non-blocking" is not forced upon the caller's. None: it must be copied.
fn reopened(stream: BorrowedFd<'_>, direction: Direction) -> Result<Option<OwnedFd>> {
    if !may_be_handed_over(stream)? {
        return Ok(None);
    }
    let stat = rustix::fs::fstat(stream).map_err(Error::system("examine a standard stream"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return rustix::io::fcntl_dupfd_cloexec(stream, 3)
            .map(Some)
            .map_err(Error::system("duplicate a standard stream"));
    }
    let access = if direction == Direction::Reads { OFlags::RDONLY } else { OFlags::WRONLY };
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    // Refused for a pipe of another user's (`sudo`), or without /proc: then it is copied.
    Ok(rustix::fs::open(format!("/proc/self/fd/{}", stream.as_raw_fd()), flags, Mode::empty()).ok())
}

/// Pipes, sockets and `/dev/null`.
fn may_be_handed_over(stream: BorrowedFd<'_>) -> Result<bool> {
    let stat = match rustix::fs::fstat(stream) {
        Ok(stat) => stat,
        // A caller without this stream: reads find the end, writes fail.
        Err(Errno::BADF) => return Ok(false),
        Err(errno) => return Err(Error::System { attempt: "examine a standard stream", errno }),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => stat.st_rdev == rustix::fs::makedev(1, 3),
        FileType::RegularFile
        | FileType::Directory
        | FileType::Symlink
        | FileType::BlockDevice
        | FileType::Unknown => false,
    })
}

/// A pipe between us and the other side; our end is non-blocking.
fn piped(direction: Direction) -> Result<Sorted> {
    let (reader, writer) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"))?;
    let (handed, ours) = if direction == Direction::Reads { (reader, writer) } else { (writer, reader) };
    set_nonblocking(&ours)?;
    Ok(Sorted { handed, ours: Some(ours) })
}

pub(super) fn set_nonblocking(descriptor: impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(&descriptor).map_err(Error::system("examine a stream"))?;
    rustix::fs::fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK)
        .map_err(Error::system("make a stream non-blocking"))
}

fn parts(
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> (Streams, Vec<OwnedFd>) {
    let streams = Streams { stdin: stdin.is_some(), stdout: stdout.is_some(), stderr: stderr.is_some() };
    (streams, [stdin, stdout, stderr].into_iter().flatten().collect())
}
