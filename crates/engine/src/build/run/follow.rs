//! What a program says, passed on until it ends.

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};

use build::{Step, Stream};
use monitor::{AttachStdio, Ended, Exit, Running};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::RunError;

/// Bytes that are read at once.
const PORTION: usize = 64 << 10;
/// How often a look is taken at whether the build was cancelled.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const KILL: i32 = 9;

/// Our ends of a program's output.
pub(super) struct Pipes {
    outputs: [(Stream, Option<PipeReader>); 2],
}

impl Pipes {
    /// Pipes, and the ends that the program's monitor writes.
    pub(super) fn new() -> Result<(Pipes, AttachStdio), RunError> {
        let (stdout, theirs) = pipe().map_err(stream_failed)?;
        let (stderr, errors) = pipe().map_err(stream_failed)?;
        let outputs = [(Stream::Stdout, Some(stdout)), (Stream::Stderr, Some(stderr))];
        let stdio = AttachStdio { stdout: Some(theirs), stderr: Some(errors), ..AttachStdio::default() };
        Ok((Pipes { outputs }, stdio))
    }

    /// Passes on what the program says until it has ended; kills it when the build is cancelled. How it ended, or that its
    /// monitor is gone.
    pub(super) fn follow(mut self, mut running: Running, step: &Step<'_>) -> Result<Exit, monitor::Error> {
        let mut is_killed = false;
        while !self.wait(&running, step).map_err(system)? {
            if step.cancel.is_cancelled() && !is_killed {
                is_killed = true;
                match running.connection.signal(KILL) {
                    // It has ended, and nothing more will be ready on the connection.
                    Err(monitor::Error::NotRunning) => break,
                    Ok(_) | Err(monitor::Error::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let ended = running.wait_exit()?;
        drop(running);
        self.finish(ended, step).map_err(system)
    }

    /// Waits for something and passes it on; whether the connection has something to say.
    fn wait(&mut self, running: &Running, step: &Step<'_>) -> Result<bool, Errno> {
        let mut watched = vec![PollFd::new(&running.connection, PollFlags::IN)];
        let open = self.outputs.iter().filter_map(|(_, pipe)| pipe.as_ref());
        watched.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match rustix::event::poll(&mut watched, Some(&PATIENCE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        let open = self.outputs.iter_mut().filter(|(_, pipe)| pipe.is_some());
        for ((stream, pipe), _) in open.zip(&is_ready[1..]).filter(|(_, is_ready)| **is_ready) {
            pass(*stream, pipe, step)?;
        }
        Ok(is_ready[0])
    }

    /// The rest, of which all is there: whoever could write has ended.
    fn finish(mut self, mut ended: Ended, step: &Step<'_>) -> Result<Exit, Errno> {
        for (stream, pipe) in &mut self.outputs {
            while pipe.is_some() {
                pass(*stream, pipe, step)?;
            }
        }
        let tails = ended.take_tails();
        for (stream, tail) in [(Stream::Stdout, tails.stdout), (Stream::Stderr, tails.stderr)] {
            if let Some(tail) = tail {
                pass_file(stream, tail, step)?;
            }
        }
        // The files are ours to read, and to remove.
        Ok(ended.removed())
    }
}

/// Passes a portion on; closes the pipe at its end.
fn pass(stream: Stream, pipe: &mut Option<PipeReader>, step: &Step<'_>) -> Result<(), Errno> {
    let Some(open) = pipe else { return Ok(()) };
    let mut portion = vec![0; PORTION];
    match rustix::io::read(open.as_fd(), &mut portion) {
        Ok(0) => *pipe = None,
        Ok(length) => step.output(stream, &portion[..length]),
        Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    Ok(())
}

/// Passes on what the pipe had no room for at the end.
fn pass_file(stream: Stream, tail: OwnedFd, step: &Step<'_>) -> Result<(), Errno> {
    let mut tail = File::from(tail);
    tail.rewind().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut portion = vec![0; PORTION];
    let mut read = || tail.read(&mut portion).map(|length| portion[..length].to_vec());
    loop {
        let said = read().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if said.is_empty() {
            return Ok(());
        }
        step.output(stream, &said);
    }
}

/// Our end, and one that never makes its writer wait.
fn pipe() -> io::Result<(PipeReader, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    let flags = rustix::fs::fcntl_getfl(&theirs)?;
    rustix::fs::fcntl_setfl(&theirs, flags | OFlags::NONBLOCK)?;
    Ok((ours, theirs.into()))
}

fn stream_failed(source: io::Error) -> RunError {
    RunError::System { action: "make", path: "pipe(2)".into(), source }
}

fn system(errno: Errno) -> monitor::Error {
    monitor::Error::System { attempt: "pass on what a program says", errno }
}
