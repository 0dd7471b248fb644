//! The supervisor's hold on a process: parked, then running.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::error::failed;
use crate::limits::Limits;
use crate::link::{Link, Order, Report};
use crate::plan::{HookState, Hooks, ProcessPlan};
use crate::root::Layers;
use crate::trace::mark;
use crate::{Error, InitFailure, Result, Step, hooks};

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
    link: Link,
    /// Hooks to run beside init, until they have run.
    hooks: Hooks,
    limits: Limits,
    parked: bool,
    terminal: Option<OwnedFd>,
}

/// A process that executes its program. Dropping it kills and reaps it; see [`Running::detach`].
#[derive(Debug)]
#[must_use]
pub struct Running {
    pid: Pid,
    pidfd: OwnedFd,
    layers: Layers,
    /// Nobody is left to kill or reap.
    done: bool,
}

impl ParkedInit {
    pub(crate) fn new(child: Running, link: Link, hooks: Hooks, process: &ProcessPlan) -> Self {
        Self { child, link, hooks, limits: Limits::of(process), parked: false, terminal: None }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Keeps what the root was made from as long as the process.
    pub(crate) fn keep(&mut self, layers: Layers) {
        self.child.layers = layers;
    }

    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Becomes readable when init ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// As [`Running::image`].
    pub fn image(&self) -> Option<BorrowedFd<'_>> {
        self.child.image()
    }

    /// Waits until init stands at the gate: everything but its program's start has succeeded. Runs the `prestart` and
    /// `createRuntime` hooks on the way.
    pub fn wait_parked(&mut self) -> Result<()> {
        while !self.advance()? {}
        Ok(())
    }

    /// Takes the next report of init's; true once init is parked. For a caller that polls [`AsFd::as_fd`] because it
    /// must not wait: when that is readable, nothing but hooks takes time here.
    pub fn advance(&mut self) -> Result<bool> {
        if self.parked {
            return Ok(true);
        }
        match self.receive()? {
            None => return Err(Error::Vanished),
            Some((Report::HooksDue, _)) => {
                let state: &HookState = &self.hooks.state;
                let pid = Some(self.child.pid);
                hooks::run("prestart", &self.hooks.prestart, state, "creating", pid)?;
                hooks::run("createRuntime", &self.hooks.create_runtime, state, "creating", pid)?;
                self.send(&Order::HooksDone)?;
            }
            Some((Report::Parked, mut descriptors)) => {
                self.terminal = descriptors.pop();
                self.parked = true;
                mark("supervisor", "parked");
            }
            Some((report, _)) => return Err(out_of_turn(&report)),
        }
        Ok(self.parked)
    }

    /// The master of the container's terminal, once; waits until init is parked.
    pub fn terminal(&mut self) -> Result<Option<OwnedFd>> {
        self.wait_parked()?;
        Ok(self.terminal.take())
    }

    /// Lets init execute its program; returns once it does, or once it stands at the plan's `start_gate`.
    pub fn release(mut self) -> Result<Running> {
        self.begin_release()?;
        self.finish_release()
    }

    /// The first half of [`Self::release`]: lets init go on. Afterwards the descriptor becomes readable when
    /// [`Self::finish_release`] has nothing to wait for.
    pub fn begin_release(&mut self) -> Result<()> {
        self.wait_parked()?;
        self.limits.apply(self.child.pid)?;
        self.send(&Order::Release)
    }

    /// The second half of [`Self::release`]: waits until the program runs.
    pub fn finish_release(self) -> Result<Running> {
        match self.receive()? {
            // The end: closed by exec. Or by a death, which the caller is about to see.
            None | Some((Report::AtGate, _)) => {}
            Some((report, _)) => {
                return Err(out_of_turn(&report));
            }
        }
        mark("supervisor", "running");
        Ok(self.child)
    }

    /// The next report; a failure is an error.
    fn receive(&self) -> Result<Option<(Report, Vec<OwnedFd>)>> {
        match self.link.receive::<Report>().map_err(failed(Step::Dialogue, "the start"))? {
            Some((Report::Failed(failure), _)) => Err(failure.into()),
            other => Ok(other),
        }
    }

    fn send(&self, order: &Order) -> Result<()> {
        let sent = self.link.send(order, &[]).map_err(failed(Step::Dialogue, "the start"));
        sent.map_err(|failure| self.reason(failure.into()))
    }

    /// Init's own report, where the supervisor failed only because init already had.
    pub(crate) fn reason(&self, error: Error) -> Error {
        let gone = error.init_failure().is_some_and(|failure| {
            [Errno::PIPE, Errno::CONNRESET, Errno::SRCH, Errno::NOENT]
                .iter()
                .any(|errno| errno.raw_os_error() == failure.errno)
                && matches!(failure.step, Step::Dialogue | Step::IdMap)
        });
        match gone.then(|| self.receive()) {
            Some(Err(report)) => report,
            Some(Ok(None)) => Error::Vanished,
            Some(Ok(Some(_))) | None => error,
        }
    }
}

impl AsFd for ParkedInit {
    /// Becomes readable when init reports, and when it ends.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl Running {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, layers: Layers::default(), done: false }
    }

    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The mount of the container's EROFS index, which [`crate::clone_init`] takes for another container of the same
    /// image: what of the image has been read is in memory once for all of them. Some kernels cannot share it.
    pub fn image(&self) -> Option<BorrowedFd<'_>> {
        self.layers.image.as_ref().map(AsFd::as_fd)
    }

    /// Sends a signal by number; a process that has ended is not there to get one (`ESRCH`).
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        linux::process::pidfd_signal(self.pidfd.as_fd(), signal)
    }

    /// Reaps the process, waiting for its end.
    pub fn wait(&mut self) -> Result<Exit> {
        loop {
            if let Some(exit) = self.reap(WaitIdOptions::EXITED)? {
                return Ok(exit);
            }
        }
    }

    /// Reaps the process if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn reap(&mut self, options: WaitIdOptions) -> Result<Option<Exit>> {
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Err(Errno::INTR) => {}
                result => {
                    break result
                        .map_err(failed(Step::Dialogue, format!("process {}", self.pid.as_raw_pid())))?;
                }
            }
        };
        let Some(status) = status else { return Ok(None) };
        self.done = true;
        Ok(Some(exit_of(&status)))
    }

    /// Leaves the process to whoever reaps it (OCI `create` and `run --detach`).
    pub fn detach(mut self) -> Pid {
        self.done = true;
        self.pid
    }
}

fn out_of_turn(report: &Report) -> Error {
    InitFailure::because(Step::Dialogue, format!("{report:?}"), "it came out of turn").into()
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    let byte = |value: i32| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(byte(code)),
        (None, signal) => Exit::Signal(byte(signal.unwrap_or(9))),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // Both fail only when it is already gone.
        let _ = linux::process::pidfd_signal(self.pidfd.as_fd(), 9);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}
