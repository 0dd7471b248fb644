//! A container whose monitor died: what is left of it is killed, and its end told.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::{file, signal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::clock;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::status::{self, Holder, Lock, Process, Status};

/// How long the kernel may take to end a killed process.
const DYING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A container that is dead for certain, and the right to say so: no other process can start or reap it
/// while this exists.
#[derive(Debug)]
#[must_use]
pub struct Reaped {
    exit: Exit,
    run_dir: PathBuf,
    lock: Lock,
}

impl Reaped {
    /// How it ended: as its monitor last wrote, or lost.
    pub fn exit(&self) -> &Exit {
        &self.exit
    }

    /// Removes the run directory, once the exit is recorded. Dropping instead leaves all this to the next
    /// observer.
    pub fn recorded(self) -> Result<()> {
        status::clear(&self.run_dir, self.lock)
    }
}

/// Takes over from a monitor that died: kills what is left of its container and removes the control group.
///
/// For a container that is observed as lost, or as exited but unrecorded. `cgroup` is its group as its record
/// plans it, for a monitor that died before it wrote a status. None when a monitor has the container after all.
pub fn reap_lost(run_dir: &Path, cgroup: Option<&Path>) -> Result<Option<Reaped>> {
    match Lock::take(run_dir, Holder::Observer) {
        Ok(Some(lock)) => reap(run_dir, lock, cgroup).map(Some),
        Ok(None) | Err(Error::System { errno: Errno::NOENT, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same for whoever is to remove a container, which need not have been started: as long as the answer exists, no
/// monitor can be there. None when somebody else has the run directory.
pub fn claim(run_dir: &Path) -> Result<Option<Reaped>> {
    loop {
        file::create_dir(run_dir, 0o700).map_err(Error::File)?;
        match Lock::take(run_dir, Holder::Observer) {
            Ok(Some(lock)) => return reap(run_dir, lock, None).map(Some),
            Ok(None) => return Ok(None),
            // The one before has removed the directory between the two steps.
            Err(Error::System { errno: Errno::NOENT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

fn reap(run_dir: &Path, lock: Lock, cgroup: Option<&Path>) -> Result<Reaped> {
    let status = status::read(run_dir)?;
    let group = status.as_ref().and_then(|status| status.cgroup.as_deref()).or(cgroup);
    kill_remains(status.as_ref().and_then(|status| status.init), group)?;
    if let Some(status) = &status {
        status::remove_health(run_dir, status)?;
    }
    let exit = match status {
        Some(Status { exit: Some(exit), .. }) => exit,
        Some(Status { started_at_ns, restarts, .. }) => {
            Exit { restarts, ..Exit::lost(started_at_ns, clock::now_ns()) }
        }
        None => Exit::lost(None, clock::now_ns()),
    };
    Ok(Reaped { exit, run_dir: run_dir.to_owned(), lock })
}

/// Kills a container that nobody supervises. What is gone already is as good as killed.
pub(crate) fn kill_remains(init: Option<Process>, cgroup: Option<&Path>) -> Result<()> {
    if let Some(process) = init {
        kill_process(process)?;
    }
    let Some(path) = cgroup else { return Ok(()) };
    let hierarchy = cgroup::Hierarchy::detect().map_err(Error::cgroup("find the control groups"))?;
    match cgroup::Cgroup::open(&hierarchy, path) {
        Ok(group) => group.remove().map_err(Error::cgroup("remove the control group")),
        Err(cgroup::Error::Missing { .. } | cgroup::Error::NotMounted { .. }) => Ok(()),
        Err(source) => Err(Error::cgroup("open the control group")(source)),
    }
}

/// Kills `process` and waits for its end, unless the number names another one by now.
fn kill_process(process: Process) -> Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let pidfd: OwnedFd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(Error::System { attempt: "open the container's first process", errno }),
    };
    // Read after the descriptor was opened: if it agrees now, the descriptor is that process's.
    if start_time(process.pid) != Some(process.start_time) {
        return Ok(());
    }
    match linux::process::pidfd_signal(pidfd.as_fd(), signal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(Error::System { attempt: "kill the container's first process", errno }),
    }
    let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
    match rustix::event::poll(&mut watched, Some(&DYING)) {
        Ok(1..) | Err(Errno::INTR) => Ok(()),
        Ok(_) => {
            Err(Error::System { attempt: "wait for the container's first process", errno: Errno::TIMEDOUT })
        }
        Err(errno) => Err(Error::System { attempt: "wait for the container's first process", errno }),
    }
}

/// When a process began, in clock ticks since boot (field 22 of its `stat`); None when there is none.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = file::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    // The second field is a name in parentheses, which may hold anything; the third comes after the last one.
    let after_name = &stat[stat.iter().rposition(|&byte| byte == b')')? + 1..];
    std::str::from_utf8(after_name).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_start_time_of_a_process_is_told_and_that_of_none_is_not() {
        let own = super::start_time(std::process::id().cast_signed()).unwrap();
        assert!(own > 0);
        assert!(super::start_time(1).unwrap() <= own);
        assert_eq!(super::start_time(i32::MAX), None);
    }
}
