//! What a program says, passed on until it ends, as far as it is not too much ([`clip`](super::clip)).

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use build::{Step, Stream};
use monitor::{AttachStdio, Ended, Exit, Running};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::clip::Clip;
use super::error::RunError;
use crate::request::OutputLimits;

/// Bytes that are read at once.
const PORTION: usize = 64 << 10;
/// How often a look is taken at whether the build was cancelled.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const KILL: i32 = 9;

/// Our ends of a program's output.
pub(super) struct Pipes {
    outputs: [Output; 2],
    begun: Instant,
}

/// One of its streams.
struct Output {
    stream: Stream,
    /// None once it has ended.
    pipe: Option<PipeReader>,
    clip: Clip,
}

impl Pipes {
    /// Pipes, and the ends that the program's monitor writes.
    pub(super) fn new(limits: OutputLimits) -> Result<(Pipes, AttachStdio), RunError> {
        let (stdout, theirs) = pipe().map_err(stream_failed)?;
        let (stderr, errors) = pipe().map_err(stream_failed)?;
        let output = |stream, pipe| Output { stream, pipe: Some(pipe), clip: Clip::new(limits) };
        let outputs = [output(Stream::Stdout, stdout), output(Stream::Stderr, stderr)];
        let stdio = AttachStdio { stdout: Some(theirs), stderr: Some(errors), ..AttachStdio::default() };
        Ok((Pipes { outputs, begun: Instant::now() }, stdio))
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
        let open = self.outputs.iter().filter_map(|output| output.pipe.as_ref());
        watched.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match rustix::event::poll(&mut watched, Some(&PATIENCE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        let since = self.begun.elapsed();
        let open = self.outputs.iter_mut().filter(|output| output.pipe.is_some());
        for (output, _) in open.zip(&is_ready[1..]).filter(|(_, is_ready)| **is_ready) {
            output.pass(since, step)?;
        }
        Ok(is_ready[0])
    }

    /// The rest, of which all is there: whoever could write has ended.
    fn finish(mut self, mut ended: Ended, step: &Step<'_>) -> Result<Exit, Errno> {
        let since = self.begun.elapsed();
        let tails = ended.take_tails();
        for (output, tail) in self.outputs.iter_mut().zip([tails.stdout, tails.stderr]) {
            while output.pipe.is_some() {
                output.pass(since, step)?;
            }
            if let Some(tail) = tail {
                output.pass_file(tail, since, step)?;
            }
            let stream = output.stream;
            output.clip.end(&mut |bytes| step.output(stream, bytes));
        }
        // The files are ours to read, and to remove.
        Ok(ended.removed())
    }
}

impl Output {
    /// Passes a portion on; closes the pipe at its end.
    fn pass(&mut self, since: Duration, step: &Step<'_>) -> Result<(), Errno> {
        let Some(open) = &self.pipe else { return Ok(()) };
        let mut portion = vec![0; PORTION];
        match rustix::io::read(open.as_fd(), &mut portion) {
            Ok(0) => self.pipe = None,
            Ok(length) => self.say(&portion[..length], since, step),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    /// Passes on what the pipe had no room for at the end.
    fn pass_file(&mut self, tail: OwnedFd, since: Duration, step: &Step<'_>) -> Result<(), Errno> {
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let mut tail = File::from(tail);
        tail.rewind().map_err(errno)?;
        let mut portion = vec![0; PORTION];
        loop {
            match tail.read(&mut portion).map_err(errno)? {
                0 => return Ok(()),
                length => self.say(&portion[..length], since, step),
            }
        }
    }

    fn say(&mut self, bytes: &[u8], since: Duration, step: &Step<'_>) {
        let stream = self.stream;
        self.clip.say(bytes, since, &mut |bytes| step.output(stream, bytes));
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
