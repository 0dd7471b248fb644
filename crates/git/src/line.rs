//! A conversation over one connection, as servers of git's own protocol have it (gitprotocol-pack), behind ssh or not: both sides say what
//! they have to say, one after the other, until one hangs up.
//!
//! What must hold:
//! - Whoever waits for the other side looks every tenth of a second whether anybody still wants it, and gives up after a long silence.
//! - A server does not hang up before it has said all: the end of what comes is an error, in which a program says why.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::Git;
use crate::error::{Error, Result};
use crate::packet::write_packet;
use crate::place::{GIT_PORT, Server};
use crate::ssh::Program;

/// How often it is looked whether to go on.
const GLANCE: Duration = Duration::from_millis(100);

/// A connection on which something is asked.
pub(crate) struct Line<'a> {
    git: &'a Git<'a>,
    from: OwnedFd,
    to: OwnedFd,
    /// What leads there, if it is no connection of ours. It ends with the line.
    program: Option<RefCell<Program>>,
    /// Who is at the other end, for errors.
    server: String,
    /// Whether anything has come.
    has_spoken: Cell<bool>,
}

impl<'a> Line<'a> {
    /// By a program that leads there.
    pub(crate) fn through(git: &'a Git<'a>, server: &Server) -> Result<Self> {
        let (program, from, to) = Program::start(git.ssh, server)?;
        let program = Some(RefCell::new(program));
        Ok(Self { git, from, to, program, server: server.authority(), has_spoken: Cell::new(false) })
    }

    /// By a connection, over which nobody proves who he is.
    pub(crate) fn to_daemon(git: &'a Git<'a>, server: &Server) -> Result<Self> {
        let name = server.authority();
        let failed = |source| Error::Connect { server: name.clone(), source };
        let stream = connected(git, server)?;
        let to = stream.try_clone().map_err(failed)?.into();
        let line = Self {
            git,
            from: stream.into(),
            to,
            program: None,
            server: name.clone(),
            has_spoken: Cell::new(false),
        };
        // Servers that know no further parameters than the host stop reading before the second zero byte.
        let mut request = Vec::new();
        let text = format!("git-upload-pack {}\0host={name}\0\0version=2\0", server.path);
        write_packet(&mut request, text.as_bytes());
        line.say(&request)?;
        Ok(line)
    }

    /// Says something, which is short enough for whatever lies between.
    pub(crate) fn say(&self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            match rustix::io::write(&self.to, text) {
                Ok(written) => text = &text[written..],
                Err(Errno::INTR) => {}
                // What it said before tells why.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(errno) => return Err(Error::Transfer { source: errno.into() }),
            }
        }
        Ok(())
    }

    fn hear(&self, buffer: &mut [u8]) -> Result<usize> {
        let begun = Instant::now();
        loop {
            self.git.go_on()?;
            if self.wait()? {
                match rustix::io::read(&self.from, &mut *buffer) {
                    Ok(0) => return Err(self.hung_up(io::ErrorKind::UnexpectedEof.into())),
                    Ok(read) => {
                        self.has_spoken.set(true);
                        return Ok(read);
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(self.hung_up(errno.into())),
                }
            }
            let silence = self.git.client.patience().silence;
            if begun.elapsed() > silence {
                return Err(Error::Silent { server: self.server.clone(), seconds: silence.as_secs() });
            }
        }
    }

    /// Waits for a moment; whether there is something to hear. What a program says beside is taken.
    fn wait(&self) -> Result<bool> {
        let mut program = self.program.as_ref().map(RefCell::borrow_mut);
        let beside = program.as_ref().and_then(|program| program.said.as_ref());
        let mut watched = vec![PollFd::new(&self.from, PollFlags::IN)];
        watched.extend(beside.map(|beside| PollFd::from_borrowed_fd(beside.as_fd(), PollFlags::IN)));
        let nanos = i64::from(GLANCE.subsec_nanos());
        match rustix::event::poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: nanos })) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::Transfer { source: errno.into() }),
        }
        let is_ready = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (has_come, has_said) = (is_ready(0), is_ready(1));
        if let Some(program) = program.as_mut().filter(|_| has_said) {
            program.listen();
        }
        Ok(has_come)
    }

    /// Why there is nothing more.
    fn hung_up(&self, source: io::Error) -> Error {
        if let Some(program) = &self.program {
            return program.borrow_mut().failure(&self.server);
        }
        if !self.has_spoken.get() {
            return Error::Connect { server: self.server.clone(), source };
        }
        // Another attempt may do.
        let url = format!("git://{}", self.server);
        let cut = registry_client::Error::Exchange { method: "READ".to_owned(), url, source };
        Error::Transfer { source: io::Error::other(cut) }
    }
}

impl Read for &Line<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.hear(buffer).map_err(io::Error::other)
    }
}

/// Connects, to whichever of its addresses answers first in their order. Another thread waits, which ends by itself.
fn connected(git: &Git<'_>, server: &Server) -> Result<TcpStream> {
    let failed = |source| Error::Connect { server: server.authority(), source };
    let (host, port) = (server.host.clone(), server.port.unwrap_or(GIT_PORT));
    let (patience, (send, done)) = (git.client.patience().connect, mpsc::channel());
    std::thread::spawn(move || {
        let connected = (host.as_str(), port).to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in addresses.take(16) {
                match TcpStream::connect_timeout(&address, patience) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        // Who does not want it any more has gone.
        drop(send.send(connected));
    });
    loop {
        git.go_on()?;
        match done.recv_timeout(GLANCE) {
            Ok(connected) => return connected.map_err(failed),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed(io::ErrorKind::Other.into())),
        }
    }
}
