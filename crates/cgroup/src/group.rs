//! One control group, in every hierarchy that it needs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::hierarchy::Hierarchy;
use crate::stats::Stats;
use crate::{Limits, Plan};

/// A control group. One from [`Cgroup::create`] is removed, with everything in it killed, when it is
/// dropped: call [`Cgroup::remove`] to learn how that went, [`Cgroup::keep`] to leave it in place. One from
/// [`Cgroup::open`] is only looked at, and outlives the value.
#[derive(Debug)]
#[must_use]
pub struct Cgroup {
    path: PathBuf,
}

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

/// Lets a process that is not yet running its program enter the version 1 groups by itself.
///
/// Moving *another* process takes a lock whose first use waits for a grace period of RCU: 10 ms on an idle
/// machine. A single-threaded process that moves itself through `tasks` needs no such lock: 5 µs for each hierarchy.
#[derive(Debug)]
pub struct Joiner {
    tasks: Vec<OwnedFd>,
}

impl Joiner {
    /// Moves the calling thread, which must be its process's only one. Allocates nothing: fit for a cloned child.
    pub fn enter(&self) -> std::result::Result<(), Errno> {
        for tasks in &self.tasks {
            rustix::io::write(tasks, b"0")?;
        }
        Ok(())
    }
}

/// Tells when the kernel kills for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    file: OwnedFd,
}

impl OomWatch {
    /// What to wait for on [`AsFd::as_fd`]: `PRI` on version 2, `IN` on version 1.
    pub fn interest(&self) -> PollFlags {
        PollFlags::IN
    }

    /// Consumes what made the descriptor ready; afterwards it waits for the next event.
    /// Ask [`Cgroup::oom_kills`] for how many there were.
    pub fn acknowledge(&self) -> Result<()> {
        Ok(())
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Cgroup {
    /// Makes the group with its limits: all of it, or nothing.
    ///
    /// Fails with [`Error::NotDelegated`] or [`Error::NotMounted`] (see [`Error::is_not_delegated`]) where
    /// this process may make none, with [`Error::InUse`] when one of that name has processes, and with
    /// [`Error::Unenforceable`] when a limit would not hold.
    pub fn create(_hierarchy: &Hierarchy, plan: &Plan) -> Result<Self> {
        Err(Error::NotMounted { path: plan.path.clone() })
    }

    /// Opens the group at `path`, which is [`Plan::path`] or what [`Cgroup::path`] said, wherever it exists.
    pub fn open(_hierarchy: &Hierarchy, path: &Path) -> Result<Self> {
        Err(Error::Missing { path: path.to_owned() })
    }

    /// The absolute path below every hierarchy's root: what to write down in order to [`Cgroup::open`] it later.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor for `CLONE_INTO_CGROUP`; `None` where there is no unified hierarchy.
    /// Besides being cloned into it, the child must [`Joiner::enter`], or be [`Cgroup::join`]ed.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What the child needs to enter the groups that cloning does not reach. Nothing on version 2.
    pub fn joiner(&self) -> Result<Joiner> {
        Ok(Joiner { tasks: Vec::new() })
    }

    /// Moves a process, with all its threads, into the group in every hierarchy. May take 10 ms: see [`Joiner`].
    pub fn join(&self, _pid: Pid) -> Result<()> {
        Ok(())
    }

    /// Every process in the group and below it, as seen from the caller's pid namespace.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        Ok(Vec::new())
    }

    /// Whether there is any process in the group or below it.
    pub fn is_populated(&self) -> Result<bool> {
        Ok(false)
    }

    /// Kills every process in the group and below it, also frozen ones, also those being forked. Does not wait for their end.
    pub fn kill_all(&self) -> Result<()> {
        Ok(())
    }

    /// Stops every process and waits until all stand still. Frozen already is fine.
    pub fn freeze(&self) -> Result<()> {
        Ok(())
    }

    /// Lets every process run again. Running already is fine.
    pub fn thaw(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the processes run.
    pub fn state(&self) -> Result<State> {
        Ok(State::Thawed)
    }

    /// What the group has used so far.
    pub fn stats(&self) -> Result<Stats> {
        Ok(Stats::default())
    }

    /// A descriptor that becomes ready when the kernel kills for want of memory.
    pub fn oom_watch(&self) -> Result<OomWatch> {
        Err(Error::Missing { path: self.path.clone() })
    }

    /// How many processes the kernel has killed for want of memory, in the group and below it.
    pub fn oom_kills(&self) -> Result<u64> {
        Ok(0)
    }

    /// Changes the limits that are set in `limits`; the others stay. Where one is refused, those before it have been set.
    pub fn update(&mut self, _limits: &Limits) -> Result<()> {
        Ok(())
    }

    /// Kills what is left and removes the group, with the groups that its processes made below it.
    pub fn remove(self) -> Result<()> {
        Ok(())
    }

    /// Leaves the group in place.
    pub fn keep(self) {}
}
