//! Run after run of one container, as its restart policy wants.
//!
//! ```text
//! run ─► ended ─► exit in the status, group and mounts released, everyone told ─► rest ─► a fresh init by the same plan
//!          │                                                                       │ stopped
//!          └──── nobody wants another one ────► the end (see `finish`) ◄───────────┘
//! ```
//!
//! What stays is the seat with its lock, the socket, the log, and the plan in its memfd. Clients that waited or were
//! attached are told of the end of the run and are gone then, as if it had been the last one; others are served on.
//!
//! A container with a policy has, from its first start on, a row in the database that says it was lost. Nobody reads it
//! while the monitor lives, and its end is written in its place: but after a loss of power it is what tells that the
//! container ran, and that its user did not end it.

use std::os::fd::AsFd;
use std::path::Path;

use runtime::plan::{Namespace, Namespaces};

use crate::clock;
use crate::error::{Error, Result};
use crate::exit::{Exit, LaunchFailure};
use crate::life::{self, Effect, Event, Phase};
use crate::packet;
use crate::plan::{MonitorPlan, PeerPlan};
use crate::restart::{RestartPolicy, RunEnd};
use crate::status::{self, Process, Status};
use crate::supervise::begin::{Stage, start};
use crate::supervise::clients::OWNER;
use crate::supervise::container::{Container, Due};
use crate::supervise::execs::Execs;
use crate::supervise::{Held, finish, volumes};

/// Serves a container that runs, until it has ended for good.
pub(super) fn live(mut container: Container, plan: MonitorPlan) -> Result<()> {
    if container.restart != RestartPolicy::No {
        container.note_begun();
    }
    // Nothing is kept for an idle container that it does not need.
    drop(plan);
    // The caller has gone on.
    drop(container.records.database().map(state::State::tidy));
    linux::memory::trim();
    loop {
        let (exit, trouble) = match container.serve() {
            Ok(Due::End) => (finish::end_run(&mut container, None), false),
            Ok(Due::Run) => match container.run_again() {
                Ok(()) => continue,
                Err(failure) => (container.failed_exit(&failure), false),
            },
            Ok(Due::Leave) => (container.last_exit(), true),
            Err(trouble) => (finish::end_run(&mut container, Some(trouble)), true),
        };
        if trouble || !container.rests_after(&exit) {
            return finish::leave_for_good(container, exit);
        }
    }
}

impl Container {
    /// Writes down what is to be read should nobody be left to write: see the head of this file.
    fn note_begun(&mut self) {
        self.status.last = self.records.exit();
        // Without either, `inspect` knows less, and a boot does not bring the container back.
        drop(self.seat.record(&self.status));
        let started_at_ns = self.status.started_at_ns;
        drop(self.records.record(&Exit::lost(started_at_ns, started_at_ns.unwrap_or(0))));
    }

    /// Another policy, in force from now on.
    pub(super) fn change_policy(&mut self, restart: RestartPolicy) {
        let before = std::mem::replace(&mut self.restart, restart);
        if before == RestartPolicy::No && restart != RestartPolicy::No {
            self.note_begun();
        }
    }

    /// Decides what follows the end of a run, or of an attempt at one. True when another one is to follow: then
    /// everything that was the run's is released, and whoever waited for its end is told.
    fn rests_after(&mut self, exit: &Exit) -> bool {
        let again_ms = self.again_ms(exit);
        let event = match self.status.phase {
            Phase::Starting => Event::LaunchFailed { again_ms },
            Phase::Created
            | Phase::Running { .. }
            | Phase::Paused { .. }
            | Phase::Restarting { .. }
            | Phase::Exited
            | Phase::Removing
            | Phase::Dead => Event::Ended { again_ms },
        };
        let Ok((phase, Effect::Rest)) = life::step(self.status.phase, event) else { return false };
        self.status.phase = phase;
        self.status.restarts += 1;
        self.status.init = None;
        self.status.last = Some(exit.clone());
        self.rest(exit);
        true
    }

    /// When the policy wants another run after one that ended like this.
    fn again_ms(&mut self, exit: &Exit) -> Option<u64> {
        let began = exit.started_at_ns.unwrap_or(exit.finished_at_ns);
        let ran_ms = u64::try_from(exit.finished_at_ns.saturating_sub(began)).unwrap_or(0) / 1_000_000;
        // An attempt that failed did not run, whenever the last one did that succeeded.
        let ran_ms = if self.status.phase == Phase::Starting { 0 } else { ran_ms };
        let end = RunEnd { code: exit.code, ran_ms, was_signalled: exit.asked == state::Asked::User };
        if !self.status.phase.renews() && !self.restart.wants(end, self.status.restarts) {
            return None;
        }
        let (backoff, delay_ms) = self.backoff.after(ran_ms);
        self.backoff = backoff;
        Some(clock::monotonic_ms().saturating_add(delay_ms))
    }

    fn rest(&mut self, exit: &Exit) {
        self.release_cgroup();
        self.status.cgroup = None;
        self.held = Held::default();
        self.init = None;
        self.execs = Execs::default();
        self.checkup = None;
        self.is_unread = false;
        // Before anyone is told, for then they look.
        drop(self.seat.record(&self.status));
        let told = finish::tell(&mut self.clients, &mut self.outputs, exit, |_| true);
        self.clients.list.retain(|client| !told.contains(&client.id));
        (self.outputs, self.input, self.terminal) = (Vec::new(), None, None);
        linux::memory::trim();
    }

    /// Begins another run by the plan.
    fn run_again(&mut self) -> std::result::Result<(), LaunchFailure> {
        let mut plan: MonitorPlan = packet::unseal(self.plan.as_fd())?;
        meet_peers(&mut plan.launch.namespaces, &plan.peers)?;
        if let (Some(limits), Some(group)) = (&self.limits, &mut plan.launch.cgroup) {
            let devices = std::mem::take(&mut group.limits.devices);
            group.limits = cgroup::Limits { devices, ..(**limits).clone() };
        }
        let filling = volumes::prepare(&mut plan.launch, &plan.container_dir)?;
        let status = Status { oom_killed: false, exit: None, ..self.status.clone() };
        let stage = Stage { plan: &plan, seat: &self.seat, signals: &self.signals, status };
        let (started, ()) = start(&stage, None, filling, || Ok(()))?;
        self.take_over(started);
        self.begin_checks(&plan);
        // There is no caller that started this one.
        debug_assert!(self.clients.get(OWNER).is_none(), "whoever started it was told of the first end");
        self.announce(None);
        self.hold(&plan);
        drop(plan);
        linux::memory::trim();
        Ok(())
    }

    /// The end of a run that could not begin.
    fn failed_exit(&self, failure: &LaunchFailure) -> Exit {
        let exit = failure.exit();
        Exit { started_at_ns: self.status.started_at_ns, restarts: self.status.restarts, ..exit }
    }

    /// The end of the run before the one that does not come.
    fn last_exit(&self) -> Exit {
        let lost = || Exit::lost(self.status.started_at_ns, clock::now_ns());
        Exit { restarts: self.status.restarts, ..self.status.last.clone().unwrap_or_else(lost) }
    }
}

/// Replaces the processes of other containers whose namespaces are to be joined by those that they have now: the ones
/// in the plan may be gone, and their numbers may be others' by now.
fn meet_peers(namespaces: &mut Namespaces, peers: &[PeerPlan]) -> Result<()> {
    let Namespaces { user, mount, pid, network, ipc, uts, cgroup, time } = namespaces;
    let mut joined = [user, mount, pid, network, ipc, uts, cgroup, time];
    for peer in peers {
        let init = present(&peer.run_dir)?;
        let (old, new) = (format!("/proc/{}", peer.pid), format!("/proc/{}", init.pid));
        for namespace in &mut joined {
            if let Namespace::Join(path) = &mut **namespace
                && let Ok(rest) = path.strip_prefix(&old)
            {
                *path = Path::new(&new).join(rest);
            }
        }
    }
    Ok(())
}

/// The first process of a container that runs.
fn present(run_dir: &Path) -> Result<Process> {
    let status = if status::lock_held(run_dir)? { status::read(run_dir)? } else { None };
    let runs = |status: &Status| matches!(status.phase, Phase::Running { .. } | Phase::Paused { .. });
    status.filter(runs).and_then(|status| status.init).ok_or_else(|| Error::Remote {
        attempt: "join the namespaces of another container".to_owned(),
        message: "it is not running".to_owned(),
    })
}
