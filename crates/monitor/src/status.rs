//! The run directory: `status`, `lock` and `control.sock` of one container.
//!
//! `status` is renamed into place on tmpfs, so a reader finds a whole one. `lock` carries a record lock of the
//! monitor's process: of all locks that Linux has it is the one that a forked child does not share, so that neither
//! init nor an exec'd program keeps it alive, at no moment. It can be tested without being taken for a moment.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linux::{file, lock};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::health::{HealthReport, HealthState};
use crate::life::Phase;

/// No honest status is larger: the bound on what is read.
const STATUS_LIMIT: u64 = 64 << 10;
/// Five results of four kilobytes, each byte of which may be written as six.
const HEALTH_LIMIT: u64 = 256 << 10;

/// What a monitor last wrote about its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where the container is.
    pub phase: Phase,
    /// The monitor's own process id.
    pub monitor_pid: i32,
    /// The container's first process; None before it is cloned.
    pub init: Option<Process>,
    /// Nanoseconds since 1970 when the program began.
    pub started_at_ns: Option<i64>,
    /// Its control group, as planned; None when it has none.
    pub cgroup: Option<PathBuf>,
    /// Whether the kernel has killed a process of it for lack of memory.
    pub oom_killed: bool,
    /// Lines that the log could not keep, for want of space most likely; exact only at the end.
    pub log_lines_lost: u64,
    /// How often the restart policy has begun another run.
    #[serde(default)]
    pub restarts: u32,
    /// How the run before ended, where the monitor knows: with a restart policy.
    #[serde(default)]
    pub last: Option<Exit>,
    /// How it is, where that is checked.
    #[serde(default)]
    pub health: Option<HealthState>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// A process that a recycled process id cannot be mistaken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As the host numbers it.
    pub pid: i32,
    /// Clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub start_time: u64,
}

impl Status {
    /// That of a container that this process is about to make.
    pub(crate) fn starting(cgroup: Option<PathBuf>) -> Status {
        Status {
            phase: Phase::Starting,
            monitor_pid: rustix::process::getpid().as_raw_nonzero().get(),
            init: None,
            started_at_ns: None,
            cgroup,
            oom_killed: false,
            log_lines_lost: 0,
            restarts: 0,
            last: None,
            health: None,
            exit: None,
        }
    }
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> Option<Process> {
        crate::lost::start_time(pid).map(|start_time| Process { pid, start_time })
    }
}

/// What the monitor of `run_dir` last wrote; None when there is nothing.
pub fn read(run_dir: &Path) -> Result<Option<Status>> {
    let path = run_dir.join("status");
    match file::read_bounded(&path, STATUS_LIMIT) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| Error::Status { path, source }),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Error::File(error)),
    }
}

/// Puts `status` in the place of the one before it. No sync: a reboot clears the run directory anyway.
pub fn write(run_dir: &Path, status: &Status) -> Result<()> {
    let path = run_dir.join("status");
    let text = serde_json::to_vec(status).map_err(|source| Error::Status { path: path.clone(), source })?;
    let half_done = run_dir.join("status.new");
    file::write(&half_done, &text).map_err(Error::File)?;
    file::rename(&half_done, &path).map_err(Error::File)
}

/// The results of health checks, as far as they are kept; None when there are none.
pub fn read_health(run_dir: &Path) -> Result<Option<HealthReport>> {
    let path = run_dir.join("health");
    match file::read_bounded(&path, HEALTH_LIMIT) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|source| Error::Status { path, source }),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Error::File(error)),
    }
}

pub(crate) fn write_health(run_dir: &Path, report: &HealthReport) -> Result<()> {
    let path = run_dir.join("health");
    let text = serde_json::to_vec(report).map_err(|source| Error::Status { path: path.clone(), source })?;
    let half_done = run_dir.join("health.new");
    file::write(&half_done, &text).map_err(Error::File)?;
    file::rename(&half_done, &path).map_err(Error::File)
}

/// Removes what [`write_health`] has left, where `status` says that there is something.
pub(crate) fn remove_health(run_dir: &Path, status: &Status) -> Result<()> {
    if status.health.is_none() {
        return Ok(());
    }
    for name in ["health", "health.new"] {
        file::remove_if_exists(&run_dir.join(name)).map_err(Error::File)?;
    }
    Ok(())
}

/// Whether somebody has `run_dir`: a monitor, or for a while an observer or a copy of files.
pub fn lock_held(run_dir: &Path) -> Result<bool> {
    let Some(lock) = open_lock(run_dir)? else { return Ok(false) };
    lock::is_locked(&lock).map_err(Error::system(TEST))
}

/// Whether a monitor in `run_dir` supervises a container that has not ended. Whoever else has the directory leaves it
/// soon, or as soon as it has done what it came for.
pub fn is_supervised(run_dir: &Path) -> Result<bool> {
    let Some(lock) = open_lock(run_dir)? else { return Ok(false) };
    // A status tells nothing about an observer, who has come because its monitor has died.
    let by_process = lock::is_locked_by_process(&lock).map_err(Error::system(TEST))?;
    Ok(by_process && read(run_dir)?.is_some_and(|status| status.exit.is_none()))
}

const TEST: &str = "test the lock of a run directory";

fn open_lock(run_dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::open(run_dir.join("lock"), flags, Mode::empty()) {
        Ok(lock) => Ok(Some(lock)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::System { attempt: "open the lock of a run directory", errno }),
    }
}

/// The lock of a run directory, held. It is free again when this process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: OwnedFd,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A monitor: the process, without what it forks. It must not open the lock a second time, for closing that
    /// would free it.
    Monitor,
    /// An observer, whose process may have other threads that observe the same container: the open file.
    Observer,
}

impl Lock {
    /// Takes the lock; None when somebody else holds it.
    ///
    /// The file is never removed before the directory is, and a lock on a file that has lost its name is
    /// worth nothing: so the name is checked after the lock is taken.
    pub(crate) fn take(run_dir: &Path, holder: Holder) -> Result<Option<Lock>> {
        let path = run_dir.join("lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        loop {
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(Error::system("make the lock of a run directory"))?;
            let taken = match holder {
                Holder::Monitor => lock::lock_for_process(&file),
                Holder::Observer => lock::lock_for_file(&file),
            };
            if !taken.map_err(Error::system("lock a run directory"))? {
                return Ok(None);
            }
            let held = rustix::fs::fstat(&file).map_err(Error::system("examine a lock"))?;
            match rustix::fs::stat(&path) {
                Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                    return Ok(Some(Lock { _file: file }));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::System { attempt: "examine a lock", errno }),
            }
        }
    }
}

/// Removes the run directory that `lock` guards, then frees the lock.
///
/// The lock's name goes last: until then no other monitor can believe the directory to be its own. One that
/// makes a lock of its own right after that keeps the directory, which is then not empty. The first three are
/// what the container had bound below its `/etc`; whoever plans it puts them here.
pub(crate) fn clear(run_dir: &Path, lock: Lock) -> Result<()> {
    let names = ["hostname", "hosts", "resolv.conf", "status", "status.new", "control.sock", "lock"];
    for name in names {
        file::remove_if_exists(&run_dir.join(name)).map_err(Error::File)?;
    }
    drop(lock);
    match rustix::fs::rmdir(run_dir) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::System { attempt: "remove a run directory", errno }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

    use super::*;
    use crate::life::Intent;
    use testkit::Scratch;

    fn sample() -> Status {
        Status {
            phase: Phase::Running {
                intent: Intent::Stop { deadline_ms: Some(5), asked: state::Asked::User },
            },
            monitor_pid: 7,
            init: Some(Process { pid: 8, start_time: 9 }),
            started_at_ns: Some(10),
            cgroup: Some(PathBuf::from("/skiff/x")),
            oom_killed: true,
            log_lines_lost: 0,
            restarts: 0,
            last: None,
            health: None,
            exit: None,
        }
    }

    #[test]
    fn a_status_is_read_as_it_was_written_and_its_absence_is_no_error() {
        let dir = Scratch::new();
        assert_eq!(read(&dir).unwrap(), None);
        write(&dir, &sample()).unwrap();
        assert_eq!(read(&dir).unwrap(), Some(sample()));
    }

    #[test]
    fn a_status_that_is_none_is_an_error_that_names_the_file() {
        let dir = Scratch::new();
        std::fs::write(dir.join("status"), "{\"phase\":").unwrap();
        assert_eq!(read(&dir).unwrap_err().to_string(), format!("read {}/status", dir.display()));
        std::fs::write(dir.join("status"), vec![b' '; 100_000]).unwrap();
        assert!(matches!(read(&dir), Err(Error::File(_))));
    }

    #[test]
    fn a_lock_is_seen_and_goes_with_its_directory() {
        let dir = Scratch::new();
        assert!(!lock_held(&dir).unwrap());
        let lock = Lock::take(&dir, Holder::Observer).unwrap().unwrap();
        assert!(lock_held(&dir).unwrap());
        assert!(Lock::take(&dir, Holder::Observer).unwrap().is_none());
        assert!(Lock::take(&dir, Holder::Monitor).unwrap().is_none());
        write(&dir, &sample()).unwrap();
        clear(&dir, lock).unwrap();
        assert!(!dir.exists());
    }
}
