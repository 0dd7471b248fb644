//! The supervisor's side of a start.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::Pid;

use crate::{Error, LaunchPlan, Result};

/// What a process gets as descriptors 0, 1 and 2, unless its plan asks for a terminal.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null` for all three.
    Null,
    /// These; the caller's copies are closed once the process has them.
    Given {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl Exit {
    /// The status as Docker and shells report it: the code, or 128 and the signal's number.
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 | signal,
        }
    }
}

/// Init, cloned but not yet executing its program. Dropping it kills and reaps it.
#[derive(Debug)]
#[must_use]
pub struct ParkedInit {
    child: Running,
}

/// A process that executes its program. Dropping it kills and reaps it; see [`Running::detach`].
#[derive(Debug)]
#[must_use]
pub struct Running {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Clones the first process of `plan`'s container, in new namespaces and in `cgroup`.
///
/// Returns as soon as the supervisor's own work is done, while init still mounts: attach the network to
/// [`ParkedInit::pid`] meanwhile.
pub fn clone_init(plan: &LaunchPlan, cgroup: Option<&cgroup::Cgroup>, stdio: Stdio) -> Result<ParkedInit> {
    drop(stdio);
    let _ = cgroup;
    Err(Error::Unsupported { what: plan.id.clone(), why: "not built yet" })
}

impl ParkedInit {
    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Becomes readable when init ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Waits until init stands at the gate: everything but its program's start has succeeded.
    pub fn wait_parked(&mut self) -> Result<()> {
        Ok(())
    }

    /// The master of the container's terminal, once; waits until init is parked.
    pub fn terminal(&mut self) -> Result<Option<OwnedFd>> {
        self.wait_parked()?;
        Ok(None)
    }

    /// Lets init execute its program; returns once it does, or once it stands at the plan's `start_gate`.
    pub fn release(mut self) -> Result<Running> {
        self.wait_parked()?;
        Ok(self.child)
    }
}

impl Running {
    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Reaps the process, waiting for its end.
    pub fn wait(&mut self) -> Result<Exit> {
        Ok(Exit::Code(0))
    }

    /// Reaps the process if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        Ok(None)
    }

    /// Leaves the process to whoever reaps it (OCI `create` and `run --detach`).
    pub fn detach(self) -> Pid {
        self.pid
    }
}
