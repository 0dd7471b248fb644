//! The FIFO that holds init back between `create` and `start` of the OCI command line ([`crate::LaunchPlan::start_gate`]).
//!
//! ```text
//! init                               start
//!   open for writing (blocks) ───┬─── open for reading
//!   write one zero byte ─────────┴──► read it
//!   exec
//! ```

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chmodat, fstat, openat};
use rustix::io::Errno;

use crate::error::failed;
use crate::{Error, InitFailure, Result, Step};

/// Longest that `start` waits for an init that is about to reach its gate.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Lets an init pass that waits at the FIFO `path`. Fails when none comes there within ten seconds.
pub fn release_at(path: &Path) -> Result<()> {
    let failed = |errno| Error::Gate { path: path.to_owned(), errno };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    if FileType::from_raw_mode(fstat(&fifo).map_err(failed)?.st_mode) != FileType::Fifo {
        return Err(failed(Errno::INVAL));
    }
    let mut byte = [0];
    let ready = poll(&mut [PollFd::new(&fifo, PollFlags::IN)], Some(&PATIENCE)).map_err(failed)?;
    match if ready == 0 { Err(Errno::TIMEDOUT) } else { rustix::io::read(&fifo, &mut byte) } {
        Ok(1) => Ok(()),
        Ok(_) => Err(failed(Errno::PIPE)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Lets init open the gate whoever it has become by then; the folder around it is what keeps others away.
pub(crate) fn open_to_all(path: &Path) -> Result<(), InitFailure> {
    let mode = Mode::RUSR | Mode::WUSR | Mode::WGRP | Mode::WOTH;
    chmodat(CWD, path, mode, AtFlags::empty()).map_err(failed(Step::Dialogue, path.display()))
}

/// A gate found while the host's files are still in sight, with the folder to open it through later.
pub(crate) struct Held {
    fifo: OwnedFd,
    descriptors: OwnedFd,
}

impl Held {
    pub(crate) fn open(path: &Path) -> Result<Self, InitFailure> {
        let at = |errno| failed(Step::Dialogue, path.display())(errno);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fifo = openat(CWD, path, flags, Mode::empty()).map_err(at)?;
        if FileType::from_raw_mode(fstat(&fifo).map_err(at)?.st_mode) != FileType::Fifo {
            return Err(InitFailure::because(Step::Dialogue, path.display(), "the start gate is not a FIFO"));
        }
        let descriptors =
            openat(CWD, "/proc/thread-self/fd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
        Ok(Self { fifo, descriptors })
    }

    /// Blocks until `start` opens the other end.
    pub(crate) fn pass(self) -> Result<(), InitFailure> {
        let at = |errno| failed(Step::Dialogue, "the start gate")(errno);
        let name = self.fifo.as_raw_fd().to_string();
        let fifo = loop {
            match openat(&self.descriptors, name.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
                Err(Errno::INTR) => {}
                result => break result.map_err(at)?,
            }
        };
        rustix::io::write(fifo, &[0]).map(drop).map_err(at)
    }
}
