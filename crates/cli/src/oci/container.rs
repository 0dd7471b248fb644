//! A container's folder: what is known of it between two commands.
//!
//! ```text
//! <root>/<id>/
//!   state.json    replaced whole; absent only for an instant after `create` began
//!   gate          FIFO at which init waits; there until `start` has let it pass
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cgroup::{Cgroup, Hierarchy};
use linux::file;
use oci::runtime::Status;
use runtime::LaunchPlan;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::Global;
use super::error::{Error, Result};

/// What `state.json` holds.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: String,
    pub(super) owner: String,
    pub(super) annotations: BTreeMap<String, String>,
    /// Init, once there is one.
    pub(super) init: Option<Init>,
    /// The control group, absolute once it is made.
    pub(super) cgroup: Option<PathBuf>,
    /// What it was started from: `exec` starts more of the same.
    pub(super) plan: LaunchPlan,
}

/// A process that cannot be taken for another.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Init {
    pub(super) pid: i32,
    /// Clock ticks from boot to its start (proc(5), field 22 of `stat`).
    pub(super) started: u64,
}

/// A container's folder, locked.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing is not enough: a process that was cloned meanwhile has a copy of the descriptor, and keeps the lock for
        // as long as it stands in a paused container. Unlocking one's own lock cannot fail.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Folder {
    /// Makes a container's folder.
    pub(super) fn create(global: &Global, id: &str) -> Result<Self> {
        check_id(id)?;
        file::create_dirs(&global.root, 0o700)?;
        let path = global.root.join(id);
        if !file::create_dir(&path, 0o700)? {
            return Err(Error::Exists { id: id.to_owned() });
        }
        Self::lock(path, id)
    }

    /// Locks the folder of an existing container.
    pub(super) fn open(global: &Global, id: &str) -> Result<Self> {
        check_id(id)?;
        Self::lock(global.root.join(id), id)
    }

    fn lock(path: PathBuf, id: &str) -> Result<Self> {
        let missing = || Error::Missing { id: id.to_owned() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(rustix::io::Errno::NOENT) => return Err(missing()),
            Err(errno) => return Err(Error::system(format!("open {}", path.display()))(errno)),
        };
        loop {
            match flock(&folder, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                result => break result.map_err(Error::system(format!("lock {}", path.display())))?,
            }
        }
        // Whoever held the lock before may have removed the container.
        let same =
            |stat: rustix::fs::Stat| rustix::fs::fstat(&folder).is_ok_and(|own| own.st_ino == stat.st_ino);
        match rustix::fs::stat(&path).is_ok_and(same) {
            true => Ok(Self { path, lock: folder }),
            false => Err(missing()),
        }
    }

    pub(super) fn gate(&self) -> PathBuf {
        self.path.join("gate")
    }

    /// Replaces `state.json`. Not made durable: after a power loss there is no container either.
    pub(super) fn write(&self, record: &Record) -> Result<()> {
        let (path, half_done) = (self.path.join("state.json"), self.path.join("state.json.new"));
        let text = serde_json::to_vec(record).map_err(|source| Error::Json { path: path.clone(), source })?;
        file::write(&half_done, &text)?;
        Ok(file::rename(&half_done, &path)?)
    }

    pub(super) fn read(&self, id: &str) -> Result<Record> {
        read(&self.path, id)
    }

    /// Removes the folder: afterwards there is no such container.
    pub(super) fn remove(self) -> Result<()> {
        file::remove_tree(&self.path)?;
        Ok(())
    }
}

/// Reads a container's state without its lock: what is read is whole, and may change the next instant.
pub(super) fn load(global: &Global, id: &str) -> Result<Record> {
    check_id(id)?;
    read(&global.root.join(id), id)
}

fn read(folder: &Path, id: &str) -> Result<Record> {
    let path = folder.join("state.json");
    match file::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|source| Error::Json { path, source }),
        Err(error) if error.is_missing() => Err(Error::Missing { id: id.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

/// An id becomes the name of a folder.
pub(super) fn check_id(id: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    match !id.is_empty() && id.len() <= 255 && id.chars().all(fine) && id != "." && id != ".." {
        true => Ok(()),
        false => Err(Error::Id { id: id.to_owned() }),
    }
}

impl Record {
    /// Where the container is in its life, found out anew.
    pub(super) fn status(&self, folder: &Path) -> Result<Status> {
        let Some(init) = self.init else { return Ok(Status::Creating) };
        if !init.is_alive() {
            return Ok(Status::Stopped);
        }
        let paused = match self.open_cgroup()? {
            Some(group) => group.state()? != cgroup::State::Thawed,
            None => false,
        };
        Ok(match (paused, folder.join("gate").exists()) {
            (true, _) => Status::Paused,
            (false, true) => Status::Created,
            (false, false) => Status::Running,
        })
    }

    /// The control group, while there is one.
    pub(super) fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let Some(path) = &self.cgroup else { return Ok(None) };
        match Cgroup::open(&Hierarchy::detect()?, path) {
            Ok(group) => Ok(Some(group)),
            Err(cgroup::Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, where it must be there.
    pub(super) fn require_cgroup(&self) -> Result<Cgroup> {
        self.open_cgroup()?.ok_or_else(|| Error::Unsupported {
            what: format!("this on container {:?}", self.id),
            why: "it has no control group",
        })
    }
}

impl Init {
    /// Notes down a process that cannot have been reaped yet.
    pub(super) fn of(pid: Pid) -> Result<Self> {
        let pid = pid.as_raw_pid();
        match stat(pid) {
            Some((_, started)) => Ok(Self { pid, started }),
            None => Err(Error::system(format!("find process {pid}"))(rustix::io::Errno::SRCH)),
        }
    }

    /// Whether it runs: a process that waits to be reaped does not.
    pub(super) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }

    pub(super) fn pid(self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// A hold on the process; `None` when it is gone.
    pub(super) fn open(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Checked once it is held: from here on the number cannot pass to another.
            Ok(pidfd) => Ok(self.is_alive().then_some(pidfd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(Error::system(format!("open process {}", self.pid))(errno)),
        }
    }
}

/// State letter and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = file::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in parentheses, may hold anything.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}
