//! Streams, terminals and descriptors between the caller and a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::file;
use linux::signal::{self, SignalFd};
use linux::terminal::RawMode;
use runtime::{Exit, Running};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, connect, sendmsg, socket_with,
};
use rustix::process::Pid;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{isatty, tcgetwinsize, tcsetwinsize};

use super::args::Parsed;
use super::error::{Error, Result};
use super::notify::Notify;

/// How many descriptors from 3 on are passed: those of socket activation, then `--preserve-fds`. All must be there: in
/// the place of a missing one something of ours would leak.
pub(super) fn preserved(parsed: &Parsed, activated: u32) -> Result<u32> {
    let count = parsed.number::<u32>("preserve-fds")?.unwrap_or(0).saturating_add(activated);
    for number in 3..count.saturating_add(3) {
        if rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).is_err() {
            return Err(Error::usage(format!("descriptor {number} is to be passed on but is not open")));
        }
    }
    Ok(count)
}

/// `LISTEN_FDS`, where `LISTEN_PID` says that they are meant for this very process and not for one that it descends
/// from (sd_listen_fds(3)).
#[allow(
    clippy::disallowed_methods,
    reason = "the command line reads the environment for everything below it"
)]
pub(super) fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let ours = number("LISTEN_PID") == Some(std::process::id());
    if ours { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

/// Tells the container's first process of the sockets it got.
pub(super) fn pass_listen_fds(environment: &mut Vec<String>, count: u32) {
    if count > 0 {
        environment.retain(|entry| !entry.starts_with("LISTEN_FDS=") && !entry.starts_with("LISTEN_PID="));
        environment.push(format!("LISTEN_FDS={count}"));
        environment.push("LISTEN_PID=1".into());
    }
}

/// Whether an entry of the environment speaks of descriptors, or of a socket, that no further process is given.
pub(super) fn is_for_the_first_process(entry: &str) -> bool {
    ["LISTEN_FDS=", "LISTEN_PID=", "NOTIFY_SOCKET="].iter().any(|name| entry.starts_with(name))
}

/// A terminal needs somebody at its other end.
pub(super) fn check_console(parsed: &Parsed, terminal: bool, detach: bool) -> Result<()> {
    let socket = parsed.value("console-socket").is_some_and(|path| !path.is_empty());
    match (terminal, detach, socket) {
        (true, true, false) => Err(Error::usage(
            "a detached process with a terminal needs --console-socket, which receives the terminal".into(),
        )),
        (_, _, true) if !(terminal && detach) => {
            Err(Error::usage("--console-socket is for a detached process with a terminal".into()))
        }
        _ => Ok(()),
    }
}

/// Writes the process id where the caller asked for it, whole or not at all.
pub(super) fn write_pid_file(parsed: &Parsed, pid: Pid) -> Result<()> {
    let Some(path) = parsed.value("pid-file").filter(|path| !path.is_empty()) else { return Ok(()) };
    let path = Path::new(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let half_done = path.with_file_name(format!(".{name}.{}", std::process::id()));
    file::write(&half_done, pid.as_raw_pid().to_string().as_bytes())?;
    Ok(file::rename(&half_done, path)?)
}

/// The near end of a process's terminal.
pub(super) enum Console {
    /// It has none.
    None,
    /// To be sent to a socket.
    Sent { master: OwnedFd, socket: OwnedFd },
    /// Shown at the caller's own terminal.
    Shown(OwnedFd),
}

impl Console {
    /// To be called before the program begins: what it asks its terminal first is how large that is.
    pub(super) fn new(master: Option<OwnedFd>, socket: Option<&str>, detach: bool) -> Result<Self> {
        match (master, socket.filter(|path| !path.is_empty())) {
            (None, _) => Ok(Self::None),
            (Some(master), Some(path)) if detach => Ok(Self::Sent { master, socket: connect_to(path)? }),
            (Some(master), _) => {
                take_size(stdin(), &master);
                Ok(Self::Shown(master))
            }
        }
    }

    /// Sends the terminal off, where it is to be sent. The receiver gets a name as the message and the descriptor beside it.
    pub(super) fn finish(self) -> Result<()> {
        let Self::Sent { master, socket } = self else { return Ok(()) };
        let fds = [master.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let name = [io::IoSlice::new(b"/dev/ptmx")];
        sendmsg(&socket, &name, &mut ancillary, SendFlags::NOSIGNAL)
            .map_err(Error::system("send the terminal to the console socket"))?;
        Ok(())
    }
}

/// Gives a terminal the size of the caller's. What is no terminal has none, and one that is gone takes none.
fn take_size(own: BorrowedFd<'_>, master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(own) {
        let _ = tcsetwinsize(master, size);
    }
}

fn connect_to(path: &str) -> Result<OwnedFd> {
    let failed = || Error::system(format!("connect to the console socket {path}"));
    let address = SocketAddrUnix::new(path).map_err(failed())?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed())?;
    connect(&socket, &address).map_err(failed())?;
    Ok(socket)
}

/// Signals that are passed on to a process in the foreground.
const FORWARDED: [i32; 12] = [1, 2, 3, 10, 12, 13, 14, 15, 18, 23, 28, 30];
const WINCH: i32 = 28;

/// Stays with a process in the foreground until it ends: passes signals on, and copies between its terminal and the
/// caller's.
pub(super) fn attend(running: &mut Running, console: Console, notify: Option<Notify>) -> Result<Exit> {
    let signals = SignalFd::new(&FORWARDED).map_err(Error::system("receive signals"))?;
    let master = match console {
        Console::Shown(master) => Some(master),
        Console::None | Console::Sent { .. } => None,
    };
    let own = isatty(stdin()).then(stdin);
    let _raw = match (&master, own) {
        (Some(_), Some(terminal)) => {
            Some(RawMode::enter(terminal).map_err(Error::system("put the terminal into raw mode"))?)
        }
        _ => None,
    };
    let mut session = Session { master, own, notify, input: true, output: true };
    session.resize();
    while !session.step(running, &signals)? {}
    session.drain();
    Ok(running.wait()?)
}

struct Session {
    master: Option<OwnedFd>,
    /// The caller's terminal.
    own: Option<BorrowedFd<'static>>,
    /// Until the program has said that it is ready.
    notify: Option<Notify>,
    input: bool,
    output: bool,
}

impl Session {
    /// Waits for one thing to happen; tells whether the process has ended.
    fn step(&mut self, running: &Running, signals: &SignalFd) -> Result<bool> {
        let pidfd = running.pidfd();
        let mut watched = vec![
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        let none = PollFlags::empty();
        if let Some(master) = &self.master {
            watched.push(PollFd::new(master, if self.output { PollFlags::IN } else { none }));
            watched.push(PollFd::from_borrowed_fd(stdin(), if self.input { PollFlags::IN } else { none }));
        }
        let notify = self.notify.as_ref().map(|notify| {
            watched.push(PollFd::new(notify, PollFlags::IN));
            watched.len() - 1
        });
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(Error::system("wait for the process")(errno)),
        }
        let ready: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        drop(watched);
        let is_ready = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        if is_ready(1) {
            self.forward(running, signals)?;
        }
        // The manager goes on watching this command, which stays until the end.
        if notify.is_some_and(is_ready)
            && let Some(notify) = &self.notify
            && notify.pass_on(None)?
        {
            self.notify = None;
        }
        if let Some(master) = &self.master {
            if self.output && is_ready(2) {
                self.output = copy(master.as_fd(), stdout());
            }
            if self.input && is_ready(3) {
                self.input = copy(stdin(), master.as_fd());
            }
        }
        Ok(is_ready(0))
    }

    fn forward(&self, running: &Running, signals: &SignalFd) -> Result<()> {
        while let Some(number) = signal::next(signals.as_fd()).map_err(Error::system("read a signal"))? {
            match (number == WINCH, &self.master) {
                (true, Some(_)) => self.resize(),
                // A process that has just ended gets no more signals.
                _ => {
                    let _ = running.signal(number);
                }
            }
        }
        Ok(())
    }

    /// The process's terminal is as large as the caller's.
    fn resize(&self) {
        if let (Some(master), Some(own)) = (&self.master, self.own) {
            take_size(own, master);
        }
    }

    /// What the process wrote last is still in the terminal.
    fn drain(&mut self) {
        let Some(master) = &self.master else { return };
        let mut watched = [PollFd::new(master, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        while self.output && poll(&mut watched, Some(&now)).is_ok_and(|ready| ready > 0) {
            self.output = copy(master.as_fd(), stdout());
        }
    }
}

/// Copies what is there; false at the end.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 8192];
    let count = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(Errno::INTR | Errno::AGAIN) => return true,
        // The far end of a terminal is closed.
        Err(_) => return false,
    };
    let mut rest = buffer.get(..count).unwrap_or_default();
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
    }
    true
}
