//! A socket in a program's container that leads to an agent of the caller's (`RUN --mount=type=ssh`).
//!
//! The agent's own socket is never mounted: it belongs to the caller, agents look at who connects, and programs could reach it by
//! ids that are theirs. So we listen for the program, and connect for it, as the caller. What is between passes as it is;
//! how many connections there are at once is limited.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

use super::error::RunError;

/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 64;

/// A listener. Dropping it ends it; connections end with the program.
pub(super) struct Agent {
    /// Closing it is the word to end.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens at `place`, and leads to `socket`.
    pub(super) fn listen(place: &Path, socket: &Path) -> Result<Agent, RunError> {
        let failed =
            |source| RunError::System { action: "listen for an agent at", path: place.to_owned(), source };
        let listener = bind(place).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (stopped, stop) = io::pipe().map_err(failed)?;
        let socket = socket.to_owned();
        let thread = std::thread::spawn(move || serve(&listener, &stopped, &socket));
        Ok(Agent { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            drop(thread.join());
        }
    }
}

/// Binds a socket, whose path may be longer than the kernel takes.
fn bind(place: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixListener::bind(PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

fn serve(listener: &UnixListener, stopped: &PipeReader, socket: &Path) {
    let count = Arc::new(AtomicUsize::new(0));
    loop {
        let mut watched = [PollFd::new(listener, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        if !watched[1].revents().is_empty() {
            return;
        }
        let Ok((theirs, _)) = listener.accept() else { continue };
        if count.load(Ordering::SeqCst) >= CONNECTIONS {
            continue;
        }
        // An agent that is not there is told by the end of the connection.
        let Ok(ours) = UnixStream::connect(socket) else { continue };
        count.fetch_add(1, Ordering::SeqCst);
        let count = Arc::clone(&count);
        std::thread::spawn(move || {
            lead(theirs, ours);
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Passes on what both sides say until both have ended.
fn lead(theirs: UnixStream, ours: UnixStream) {
    let (Ok(from_theirs), Ok(to_ours)) = (theirs.try_clone(), ours.try_clone()) else { return };
    if theirs.set_nonblocking(false).is_err() {
        return;
    }
    let asking = std::thread::spawn(move || pass(from_theirs, to_ours));
    pass(ours, theirs);
    drop(asking.join());
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let mut portion = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut portion) {
        if to.write_all(&portion[..length]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ends = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}
