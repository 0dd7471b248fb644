//! The callers' side: starting a monitor, and talking to one that runs.
//!
//! Everything here is synchronous and blocking; what a caller copies meanwhile is in [`session`].

mod keys;
mod pump;
pub(crate) mod session;
pub(crate) mod spawn;
pub(crate) mod stdio;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use runtime::plan::{ProcessPlan, TerminalSize};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use state::Asked;

use crate::client::stdio::{AttachStdio, ExecStdio};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::packet::{self, Nothing};
use crate::protocol::{Reply, Request, StopTimeout, Streams};
use crate::restart::RestartPolicy;
use crate::supervise::seat::with_socket_name;

/// What a request that succeeded did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// What was asked.
    Changed,
    /// Nothing: it was so already.
    Unchanged,
}

/// A conversation with the monitor of one container.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    ended: Option<(Exit, Tails)>,
}

/// Output that the attached streams had no room for when the container ended: files to be read from their
/// beginning. [`crate::Session::run`] writes them where they belong; who attaches without one must.
#[derive(Debug, Default)]
pub struct Tails {
    /// The rest of standard output.
    pub stdout: Option<OwnedFd>,
    /// The rest of standard error.
    pub stderr: Option<OwnedFd>,
}

/// A container that ended, and the monitor that waits to hear who removes it.
///
/// A monitor that is to remove its container (`auto_remove`) does so when this is dropped or its holder
/// dies, and leaves it to the holder when that calls [`Ended::removed`] or, but for the files, [`Ended::forgotten`].
#[derive(Debug)]
#[must_use]
pub struct Ended {
    exit: Exit,
    pub(crate) tails: Tails,
    socket: OwnedFd,
}

impl Ended {
    /// How it ended.
    pub fn exit(&self) -> &Exit {
        &self.exit
    }

    /// The rest of the output, for those who attached without a session.
    pub fn into_tails(self) -> Tails {
        self.tails
    }

    /// The same, for those who have something to tell the monitor after that.
    pub fn take_tails(&mut self) -> Tails {
        std::mem::take(&mut self.tails)
    }

    /// Tells the monitor that container directory, record and run directory are gone or somebody else's
    /// affair. A monitor that cannot be told does the same work again, which harms nothing.
    pub fn removed(self) -> Exit {
        self.tell(&Request::Removed)
    }

    /// Tells the monitor that there is no record of the container any more. It removes the files.
    pub fn forgotten(self) -> Exit {
        self.tell(&Request::Forgotten)
    }

    fn tell(self, what: &Request) -> Exit {
        // A monitor that does not hear this does the work again.
        let _told = packet::send(self.socket.as_fd(), what, &[], SendFlags::DONTWAIT);
        self.exit
    }
}

impl Connection {
    /// Connects to the monitor of `run_dir`; [`Error::NotRunning`] when there is none.
    pub fn open(run_dir: &Path) -> Result<Connection> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(Error::system("make a socket"))?;
        match with_socket_name(run_dir, |name| rustix::net::connect(&socket, name)) {
            Ok(()) => Ok(Connection::over(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Err(Error::NotRunning),
            Err(errno) => Err(Error::System { attempt: "connect to the container's monitor", errno }),
        }
    }

    pub(crate) fn over(socket: OwnedFd) -> Connection {
        Connection { socket, ended: None }
    }

    /// Sends init a signal.
    pub fn signal(&mut self, signal: i32) -> Result<Outcome> {
        self.ask(&Request::Signal { signal })
    }

    /// Asks init to end by `signal` and kills everything after `timeout`; both default to the plan's. A
    /// negative timeout of the plan, or `Some(None)`, waits for ever. Returns at once: see [`Self::wait`].
    pub fn stop(&mut self, signal: Option<i32>, timeout: Option<Option<Duration>>) -> Result<Outcome> {
        self.stop_for(Asked::User, signal, timeout)
    }

    /// As [`Self::stop`], with a word on whose wish it is. A container that was to be removed at its end is kept when
    /// it is to be restarted.
    pub fn stop_for(
        &mut self,
        asked: Asked,
        signal: Option<i32>,
        timeout: Option<Option<Duration>>,
    ) -> Result<Outcome> {
        let timeout = timeout.map(|timeout| timeout.map_or(StopTimeout::Never, StopTimeout::After));
        self.ask(&Request::Stop { signal, timeout, asked })
    }

    /// Sets the limits of later runs, and the restart policy. The limits of the run that is on are the caller's to
    /// change, in its control group, after this.
    pub fn update(&mut self, limits: cgroup::Limits, restart: RestartPolicy) -> Result<Outcome> {
        self.ask(&Request::Update { limits: Box::new(limits), restart })
    }

    /// Freezes every process of the container.
    pub fn pause(&mut self) -> Result<Outcome> {
        self.ask(&Request::Pause)
    }

    /// Freezes them until this connection is dropped, or its holder dies, or somebody thaws them.
    pub fn pause_meanwhile(&mut self) -> Result<Outcome> {
        self.ask(&Request::PauseMeanwhile)
    }

    /// Thaws them.
    pub fn unpause(&mut self) -> Result<Outcome> {
        self.ask(&Request::Unpause)
    }

    /// Sets the size of the container's terminal.
    pub fn resize(&mut self, size: TerminalSize) -> Result<Outcome> {
        self.ask(&Request::Resize(size))
    }

    /// Tells the container's new name, for events.
    pub fn rename(&mut self, name: &str) -> Result<Outcome> {
        self.ask(&Request::Rename { name: name.to_owned() })
    }

    /// Connects streams to the container's until this connection closes.
    pub fn attach(&mut self, stdio: AttachStdio) -> Result<Outcome> {
        let (streams, descriptors) = stdio.into_parts();
        self.send(&Request::Attach(streams), &packet::borrow_all(&descriptors))?;
        self.outcome()
    }

    /// Starts a program in the container. The connection serves nothing else from then on.
    pub fn exec(self, plan: &ProcessPlan, stdio: ExecStdio) -> Result<ExecHandle> {
        self.exec_as("", plan, stdio)
    }

    /// The same for a program with an id, whose end becomes an event.
    pub fn exec_as(mut self, id: &str, plan: &ProcessPlan, stdio: ExecStdio) -> Result<ExecHandle> {
        let plan = match stdio.terminal_size.filter(|_| plan.terminal.is_some()) {
            Some(size) => packet::seal(&ProcessPlan { terminal: Some(size), ..plan.clone() })?,
            None => packet::seal(plan)?,
        };
        let (streams, mut descriptors) = stdio.into_parts();
        descriptors.insert(0, plan);
        self.send(&Request::Exec { streams, id: id.to_owned() }, &packet::borrow_all(&descriptors))?;
        drop(descriptors);
        match self.receive()? {
            Received::Reply(Reply::ExecStarted { pid }, mut descriptors) => {
                Ok(ExecHandle { pid, terminal: descriptors.pop(), connection: self })
            }
            Received::Reply(reply, _) => Err(unexpected(reply)),
            Received::Ended => Err(Error::NotRunning),
        }
    }

    /// Waits until the container has ended and its exit is recorded.
    pub fn wait(&mut self) -> Result<Ended> {
        match self.ask(&Request::Wait) {
            Ok(_) => {}
            Err(Error::NotRunning) if self.ended.is_some() => {}
            Err(error) => return Err(error),
        }
        self.ended()
    }

    /// Waits for the exit that an earlier request has asked to be told of.
    pub(crate) fn ended(&mut self) -> Result<Ended> {
        while self.ended.is_none() {
            match self.receive()? {
                Received::Ended => break,
                Received::Reply(Reply::Done(_) | Reply::Refused(_) | Reply::Failed { .. }, _) => {}
                Received::Reply(reply, _) => return Err(unexpected(reply)),
            }
        }
        self.take_ended()?.ok_or(Error::Gone)
    }

    /// The exit, when it has been received.
    pub(crate) fn take_ended(&mut self) -> Result<Option<Ended>> {
        let Some((exit, tails)) = self.ended.take() else { return Ok(None) };
        let socket =
            rustix::io::fcntl_dupfd_cloexec(&self.socket, 0).map_err(Error::system("duplicate a socket"))?;
        Ok(Some(Ended { exit, tails, socket }))
    }

    fn ask(&mut self, request: &Request) -> Result<Outcome> {
        match self.send(request, &[]) {
            Ok(()) => self.outcome(),
            // The monitor is gone, and may have told us why before it went.
            Err(Error::Gone) => loop {
                if let Received::Ended = self.receive()? {
                    return Err(Error::NotRunning);
                }
            },
            Err(error) => Err(error),
        }
    }

    fn outcome(&mut self) -> Result<Outcome> {
        match self.receive()? {
            Received::Reply(Reply::Done(outcome), _) => Ok(outcome),
            Received::Reply(reply, _) => Err(unexpected(reply)),
            Received::Ended => Err(Error::NotRunning),
        }
    }

    pub(crate) fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        if self.ended.is_some() {
            return Err(Error::NotRunning);
        }
        match packet::send(self.socket.as_fd(), request, descriptors, SendFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(Error::Gone),
            Err(errno) => Err(Error::System { attempt: "send to the container's monitor", errno }),
        }
    }

    /// The next message. The exit comes when it comes, between a request and its answer too; then there will
    /// be no answer, for messages keep their order.
    pub(crate) fn receive(&mut self) -> Result<Received> {
        match packet::receive(self.socket.as_fd(), RecvFlags::empty())? {
            Ok((Reply::Ended { exit, tails }, descriptors)) => {
                self.ended = Some((exit, Tails::from_parts(tails, descriptors)));
                Ok(Received::Ended)
            }
            Ok((reply, descriptors)) => Ok(Received::Reply(reply, descriptors)),
            Err(Nothing::Closed | Nothing::NotYet) => Err(Error::Gone),
        }
    }
}

/// A message from a monitor.
pub(crate) enum Received {
    /// An answer.
    Reply(Reply, Vec<OwnedFd>),
    /// The exit, which is kept in the connection.
    Ended,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Tails {
    fn from_parts(streams: Streams, descriptors: Vec<OwnedFd>) -> Tails {
        let mut descriptors = descriptors.into_iter();
        let stdout = streams.stdout.then(|| descriptors.next()).flatten();
        let stderr = streams.stderr.then(|| descriptors.next()).flatten();
        Tails { stdout, stderr }
    }
}

/// A program started in a running container. Dropping this leaves the program running.
#[derive(Debug)]
pub struct ExecHandle {
    /// As the host numbers it.
    pub pid: i32,
    /// The master of its terminal, when it has one: what it prints and reads passes through here.
    pub terminal: Option<OwnedFd>,
    pub(crate) connection: Connection,
}

impl ExecHandle {
    /// Waits until the program has ended; its code, or 128+n after signal n.
    pub fn wait(&mut self) -> Result<i32> {
        match self.connection.receive()? {
            Received::Reply(Reply::ExecEnded { code }, _) => Ok(code),
            Received::Reply(reply, _) => Err(unexpected(reply)),
            Received::Ended => Err(Error::Gone),
        }
    }
}

pub(crate) fn unexpected(reply: Reply) -> Error {
    match reply {
        Reply::Failed { attempt, message } => Error::Remote { attempt, message },
        Reply::Refused(refused) => Error::Refused(refused),
        Reply::AlreadyRunning => Error::AlreadyRunning,
        Reply::LaunchFailed(failure) => Error::Launch(failure),
        Reply::ExecFailed(failure) => Error::Exec(failure),
        Reply::Running { .. }
        | Reply::Done(_)
        | Reply::ExecStarted { .. }
        | Reply::ExecEnded { .. }
        | Reply::Unread { .. }
        | Reply::Found(_)
        | Reply::CopyRefused(_)
        | Reply::Ended { .. } => Error::Protocol { reason: "the monitor answered something else" },
    }
}
