//! The run directory, occupied: lock, socket and status of one monitor.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::clock;
use crate::error::{Error, Result};
use crate::status::{self, Holder, Lock, Status};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 32;

/// A run directory that is ours. Leaving it in place means dying in it: see [`Seat::vacate`].
#[derive(Debug)]
pub(crate) struct Seat {
    run_dir: PathBuf,
    lock: Lock,
}

impl Seat {
    /// Takes the run directory over, made when missing, for whoever is at the other end of `caller`.
    ///
    /// Who has it for something that does not last is waited for, for as long as the caller waits ([`Error::Gone`]): a
    /// monitor that is about to leave, an observer, a copy of a stopped container's files. A monitor that supervises a
    /// container is [`Error::AlreadyRunning`].
    pub(crate) fn occupy(run_dir: &Path, caller: BorrowedFd<'_>) -> Result<Seat> {
        loop {
            file::create_dir(run_dir, 0o700).map_err(Error::File)?;
            match Lock::take(run_dir, Holder::Monitor) {
                Ok(Some(lock)) => return Ok(Seat { run_dir: run_dir.to_owned(), lock }),
                Ok(None) => {}
                // The one before has removed the directory between the two steps.
                Err(Error::System { errno: Errno::NOENT, .. }) => continue,
                Err(error) => return Err(error),
            }
            if status::is_supervised(run_dir)? {
                return Err(Error::AlreadyRunning);
            }
            // Nothing is asked for: only the end of the other side is told, and without that this is a nap.
            let mut watched = [PollFd::from_borrowed_fd(caller, PollFlags::empty())];
            match rustix::event::poll(&mut watched, Some(&clock::millis(1))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Err(Error::Gone),
                Err(errno) => return Err(Error::System { attempt: "wait for a run directory", errno }),
            }
        }
    }

    /// What a monitor that died here left behind.
    pub(crate) fn leftover(&self) -> Result<Option<Status>> {
        status::read(&self.run_dir)
    }

    /// Makes the control socket. The directory keeps everyone out who is not its owner.
    pub(crate) fn listen(&self) -> Result<OwnedFd> {
        file::remove_if_exists(&self.run_dir.join("control.sock")).map_err(Error::File)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(Error::system("make the control socket"))?;
        with_socket_name(&self.run_dir, |name| rustix::net::bind(&socket, name))
            .map_err(Error::system("bind the control socket"))?;
        rustix::net::listen(&socket, BACKLOG).map_err(Error::system("listen on the control socket"))?;
        Ok(socket)
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub(crate) fn record(&self, status: &Status) -> Result<()> {
        status::write(&self.run_dir, status)
    }

    /// Frees the lock, and removes the run directory unless somebody else has begun to use it.
    pub(crate) fn leave(self) -> Result<()> {
        file::remove_if_exists(&self.run_dir.join("lock")).map_err(Error::File)?;
        match rustix::fs::rmdir(&self.run_dir) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::System { attempt: "remove a run directory", errno }),
        }
    }

    /// Removes the run directory and frees the lock.
    pub(crate) fn vacate(self) -> Result<()> {
        status::clear(&self.run_dir, self.lock)
    }
}

/// Calls `action` with the name of the control socket. A name longer than the kernel takes (108 bytes) goes
/// through a descriptor of the directory.
pub(crate) fn with_socket_name<T>(
    run_dir: &Path,
    action: impl FnOnce(&SocketAddrUnix) -> std::result::Result<T, Errno>,
) -> std::result::Result<T, Errno> {
    if let Ok(name) = SocketAddrUnix::new(run_dir.join("control.sock")) {
        return action(&name);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(run_dir, flags, Mode::empty())?;
    action(&SocketAddrUnix::new(format!("/proc/self/fd/{}/control.sock", directory.as_raw_fd()))?)
}
