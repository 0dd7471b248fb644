//! When the kernel kills for want of memory.
//!
//! Version 2 has a file with counters that can be polled; version 1 has an eventfd to be registered and a counter
//! in `memory.oom_control` that, unlike version 2's, does not include the groups below.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::dir::{Dir, read_all};
use crate::error::{Error, Result};
use crate::group::Cgroup;
use crate::hierarchy::Controller;

/// Tells when the kernel kills for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// `memory.events` itself.
    Events,
    /// An eventfd that the kernel adds to.
    Eventfd,
}

const EVENTS: &str = "memory.events";
const CONTROL: &str = "memory.oom_control";

impl OomWatch {
    /// What to wait for on [`AsFd::as_fd`]: `PRI` on version 2, `IN` on version 1.
    pub fn interest(&self) -> PollFlags {
        match self.source {
            Source::Events => PollFlags::PRI,
            Source::Eventfd => PollFlags::IN,
        }
    }

    /// Consumes what made the descriptor ready; afterwards it waits for the next event. It may also become ready
    /// without a kill (version 2: any counter of `memory.events`; version 1: the group's removal), so ask
    /// [`Cgroup::oom_kills`].
    pub fn acknowledge(&self) -> Result<()> {
        let consumed = match self.source {
            Source::Events => read_all(&self.fd).map(drop),
            Source::Eventfd => rustix::io::read(&self.fd, &mut [0; 8]).map(drop),
        };
        match consumed {
            // Nothing was pending, or the group is gone.
            Ok(()) | Err(Errno::AGAIN | Errno::NODEV) => Ok(()),
            Err(errno) => Err(Error::Group { attempt: "acknowledge", path: EVENTS.into(), errno }),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// A descriptor that becomes ready when the kernel kills for want of memory; `None` without a memory controller.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>> {
        if let Some(node) = self.legacy_node(Controller::Memory) {
            return watch_legacy(&node.dir).map(Some);
        }
        let Some(node) = &self.unified else { return Ok(None) };
        match node.dir.file(EVENTS, OFlags::RDONLY) {
            Ok(fd) => {
                // Changes count from the last reading.
                read_all(&fd).map_err(|errno| node.dir.failed("read", EVENTS, errno))?;
                Ok(Some(OomWatch { fd, source: Source::Events }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(node.dir.failed("open", EVENTS, errno)),
        }
    }

    /// How many processes the kernel has killed for want of memory, in the group and below it.
    pub fn oom_kills(&self) -> Result<u64> {
        if let Some(node) = self.legacy_node(Controller::Memory) {
            let mut kills = 0;
            node.dir.walk(&mut |dir| {
                kills += counted(dir, CONTROL)?;
                Ok(())
            })?;
            return Ok(kills);
        }
        self.unified.as_ref().map_or(Ok(0), |node| counted(&node.dir, EVENTS))
    }
}

fn watch_legacy(dir: &Dir) -> Result<OomWatch> {
    let failed = |file| move |errno| dir.failed("watch", file, errno);
    let control = dir.file(CONTROL, OFlags::RDONLY).map_err(failed(CONTROL))?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed(CONTROL))?;
    let registration = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
    // The registration lasts as long as the eventfd; the other descriptor only named the file.
    dir.write("cgroup.event_control", &registration).map_err(failed("cgroup.event_control"))?;
    Ok(OomWatch { fd, source: Source::Eventfd })
}

/// The number behind `oom_kill`. A group without memory controller, or one that is gone, has none.
fn counted(dir: &Dir, file: &str) -> Result<u64> {
    let content = match dir.read(file) {
        Ok(content) => content,
        Err(Errno::NOENT | Errno::NODEV) => return Ok(0),
        Err(errno) => return Err(dir.failed("read", file, errno)),
    };
    let number = content.lines().find_map(|line| line.strip_prefix("oom_kill "));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| dir.unreadable(file, &content))
}
