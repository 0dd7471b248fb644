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
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

use super::error::RunError;

/// Connections at once; further ones are closed.
const CONNECTIONS: usize = 64;
/// How long is waited when this process may have no more descriptors: whoever asks then asks the whole time.
const NAP: Duration = Duration::from_millis(20);

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
        let serving = move || serve(&listener, &stopped, &socket);
        let thread =
            linux::thread::spawn("lead to an agent", serving).map_err(|error| failed(error.into()))?;
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
        let Ok((theirs, _)) = listener.accept() else {
            std::thread::sleep(NAP);
            continue;
        };
        let Some(place) = Place::take(&count) else { continue };
        // An agent that is not there is told by the end of the connection, and so is that there are no more threads.
        let Ok(ours) = UnixStream::connect(socket) else { continue };
        let _led = Builder::new().spawn(move || {
            lead(&theirs, &ours);
            drop(place);
        });
    }
}

/// One of the connections that there may be.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// None if all are taken. Nobody else takes any.
    fn take(count: &Arc<AtomicUsize>) -> Option<Place> {
        let is_free = count.load(Ordering::SeqCst) < CONNECTIONS;
        is_free.then(|| {
            count.fetch_add(1, Ordering::SeqCst);
            Place(Arc::clone(count))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Passes on what both sides say until both have ended.
fn lead(theirs: &UnixStream, ours: &UnixStream) {
    if theirs.set_nonblocking(false).is_err() {
        return;
    }
    std::thread::scope(|scope| {
        // Without a thread nobody is answered: both ends close.
        if Builder::new().spawn_scoped(scope, || pass(theirs, ours)).is_ok() {
            pass(ours, theirs);
        }
    });
}

fn pass(mut from: &UnixStream, mut to: &UnixStream) {
    let mut portion = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut portion) {
        if to.write_all(&portion[..length]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ends = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that says again what it is told, until nobody says more.
    fn echo(socket: &Path) {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                std::thread::spawn(move || pass(&connection, &connection));
            }
        });
    }

    /// Says something; whether it was answered, and not by the end of the connection.
    fn is_answered(mut connection: &UnixStream) -> bool {
        let mut answer = [0; 2];
        connection.write_all(b"hi").is_ok() && connection.read_exact(&mut answer).is_ok() && answer == *b"hi"
    }

    #[test]
    fn so_many_are_led_at_once_and_the_next_when_one_has_gone() {
        let folder = testkit::Scratch::new();
        let (socket, place) = (folder.join("agent"), folder.join("place"));
        echo(&socket);
        let agent = Agent::listen(&place, &socket).unwrap();
        let connect = || UnixStream::connect(&place).unwrap();
        let mut led: Vec<UnixStream> = (0..CONNECTIONS).map(|_| connect()).collect();
        assert!(led.iter().all(is_answered));
        assert!(!is_answered(&connect()), "one too many");
        led.pop();
        testkit::wait_until("the place is free", || is_answered(&connect()));
        assert!(led.iter().all(is_answered), "the others go on");
        drop(agent);
        assert!(led.iter().all(is_answered), "those that are led end with their programs");
        assert!(UnixStream::connect(&place).is_err());
    }
}
