//! What is done to the processes of a group: listing, killing, freezing.
//!
//! The unified directory does it in one write each. Version 1 alone needs the freezer and a loop: while everything
//! stands still, nothing forks, so one round of signals reaches everybody; they die when thawed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::dir::{Dir, parse_pids, read_all};
use crate::error::{Error, Result};
use crate::group::Cgroup;
use crate::hierarchy::Controller;
use crate::node::Node;

/// Whether a group's processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They do.
    Thawed,
    /// Some still do.
    Freezing,
    /// None does.
    Frozen,
}

/// How long freezing may take before it is undone: a process in uninterruptible sleep cannot be stopped.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// What freezes a group.
enum Freezer<'group> {
    Unified(&'group Dir),
    Legacy(&'group Dir),
}

impl Cgroup {
    /// Every process in the group and below it, as seen from the caller's pid namespace, in ascending order.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        self.members().map_or(Ok(Vec::new()), |node| pids_below(&node.dir))
    }

    /// Whether there is any process in the group or below it, zombies not counted.
    pub fn is_populated(&self) -> Result<bool> {
        match &self.unified {
            Some(node) => event(&node.dir, "populated"),
            None => self.pids().map(|pids| !pids.is_empty()),
        }
    }

    /// The directory whose list of processes is the group's.
    fn members(&self) -> Option<&Node> {
        let freezer = || self.legacy_node(Controller::Freezer);
        self.unified.as_ref().or_else(freezer).or_else(|| self.legacy.first())
    }

    /// Kills every process in the group and below it, also frozen ones, also those being forked. Does not wait
    /// for their end.
    pub fn kill_all(&self) -> Result<()> {
        if let Some(node) = &self.unified {
            match node.dir.write("cgroup.kill", "1") {
                Ok(()) => return Ok(()),
                // Older than 5.14, or a group that the container has made a threaded one.
                Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
                // Removed already: nobody is in it.
                Err(Errno::NODEV) => return Ok(()),
                Err(errno) => return Err(node.dir.failed("write", "cgroup.kill", errno)),
            }
        }
        let Some(members) = self.members() else { return Ok(()) };
        // Without a freezer, or where it fails, the rounds alone must do.
        let frozen = self.freezer().is_some() && self.freeze().is_ok();
        let killed = kill_each(&members.dir);
        if frozen {
            self.thaw()?;
        }
        killed
    }

    fn freezer(&self) -> Option<Freezer<'_>> {
        match &self.unified {
            Some(node) if node.dir.has("cgroup.freeze") => Some(Freezer::Unified(&node.dir)),
            _ => self.legacy_node(Controller::Freezer).map(|node| Freezer::Legacy(&node.dir)),
        }
    }

    fn require_freezer(&self) -> Result<Freezer<'_>> {
        self.freezer().ok_or_else(|| Error::Unenforceable {
            limit: "freezing".to_owned(),
            reason: "there is neither a freezer controller nor a unified hierarchy that can freeze"
                .to_owned(),
        })
    }

    /// Stops every process and waits until all stand still. Frozen already is fine. What cannot be stopped in
    /// 10 seconds is let go again, and is an error.
    pub fn freeze(&self) -> Result<()> {
        let frozen = match self.require_freezer()? {
            Freezer::Unified(dir) => freeze_unified(dir),
            Freezer::Legacy(dir) => freeze_legacy(dir),
        };
        if frozen.is_err() {
            // The first error is the one to tell.
            drop(self.thaw());
        }
        frozen
    }

    /// Lets every process run again. Running already is fine.
    pub fn thaw(&self) -> Result<()> {
        let (dir, file, value) = match self.require_freezer()? {
            Freezer::Unified(dir) => (dir, "cgroup.freeze", "0"),
            Freezer::Legacy(dir) => (dir, "freezer.state", "THAWED"),
        };
        match dir.write(file, value) {
            // Removed already: nobody is in it.
            Ok(()) | Err(Errno::NODEV) => Ok(()),
            Err(errno) => Err(dir.failed("write", file, errno)),
        }
    }

    /// Whether the processes run; as good as that where the group is gone.
    pub fn state(&self) -> Result<State> {
        match self.freezer() {
            None => Ok(State::Thawed),
            Some(Freezer::Unified(dir)) => match freezer_file(dir, "cgroup.freeze")?.as_deref() {
                None | Some("0") => Ok(State::Thawed),
                Some(_) if event(dir, "frozen")? => Ok(State::Frozen),
                Some(_) => Ok(State::Freezing),
            },
            Some(Freezer::Legacy(dir)) => {
                let Some(state) = freezer_file(dir, "freezer.state")? else { return Ok(State::Thawed) };
                match state.as_str() {
                    "THAWED" => Ok(State::Thawed),
                    "FREEZING" => Ok(State::Freezing),
                    "FROZEN" => Ok(State::Frozen),
                    _ => Err(dir.unreadable("freezer.state", &state)),
                }
            }
        }
    }
}

/// What a file of a freezer says; `None` where the group has been removed.
fn freezer_file(dir: &Dir, file: &str) -> Result<Option<String>> {
    match dir.read(file) {
        Ok(content) => Ok(Some(content.trim().to_owned())),
        Err(Errno::NODEV | Errno::NOENT) => Ok(None),
        Err(errno) => Err(dir.failed("read", file, errno)),
    }
}

fn freeze_unified(dir: &Dir) -> Result<()> {
    dir.write("cgroup.freeze", "1").map_err(|errno| dir.failed("write", "cgroup.freeze", errno))?;
    let failed = |errno| dir.failed("watch", "cgroup.events", errno);
    let events = dir.file("cgroup.events", OFlags::RDONLY).map_err(failed)?;
    let deadline = Instant::now() + FREEZE_LIMIT;
    loop {
        // Reading also marks the events as seen; the next change makes the descriptor ready.
        let content = read_all(&events).map_err(failed)?;
        if content.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::timeout(dir, "frozen", FREEZE_LIMIT));
        }
        let timeout = Timespec::try_from(left).map_err(|_| failed(Errno::INVAL))?;
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Version 1 freezes in the background and tells nobody; asking again helps those along that were just forking.
fn freeze_legacy(dir: &Dir) -> Result<()> {
    let deadline = Instant::now() + FREEZE_LIMIT;
    let mut pause = Duration::from_micros(100);
    loop {
        dir.write("freezer.state", "FROZEN").map_err(|errno| dir.failed("write", "freezer.state", errno))?;
        if dir.require("freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Error::timeout(dir, "frozen", FREEZE_LIMIT));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Signals every process below `dir`, round by round until one finds nobody new.
pub(crate) fn kill_each(dir: &Dir) -> Result<()> {
    const ROUNDS: usize = 100;
    let mut seen: HashSet<Pid> = HashSet::new();
    for _ in 0..ROUNDS {
        let mut found = Vec::new();
        dir.walk(&mut |dir| {
            // A container may have made a group of threads, which names no processes; a signal to a thread's id
            // reaches its process.
            found.extend(members_of(dir, "cgroup.procs")?);
            found.extend(members_of(dir, "cgroup.threads")?);
            Ok(())
        })?;
        found.retain(|pid| !seen.contains(pid));
        if found.is_empty() {
            return Ok(());
        }
        for pid in &found {
            match kill_process(*pid, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(dir.failed("kill the processes of", "", errno)),
            }
        }
        seen.extend(found);
    }
    Ok(())
}

/// The ids in one file of a directory. Version 1 has no list of threads, and version 2 no list of processes in a group of threads.
/// The processes of a group and of those below it.
pub(crate) fn pids_below(dir: &Dir) -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    dir.walk(&mut |dir| {
        pids.extend(members_of(dir, "cgroup.procs")?);
        Ok(())
    })?;
    pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    pids.dedup();
    Ok(pids)
}

fn members_of(dir: &Dir, file: &str) -> Result<Vec<Pid>> {
    match dir.read(file) {
        Ok(content) => Ok(parse_pids(&content).collect()),
        Err(Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(dir.failed("read", file, errno)),
    }
}

/// One flag of `cgroup.events`. A group that is gone has none.
fn event(dir: &Dir, name: &str) -> Result<bool> {
    match dir.read("cgroup.events") {
        Ok(content) => Ok(content.lines().any(|line| line.strip_prefix(name) == Some(" 1"))),
        Err(Errno::NODEV | Errno::NOENT) => Ok(false),
        Err(errno) => Err(dir.failed("read", "cgroup.events", errno)),
    }
}
