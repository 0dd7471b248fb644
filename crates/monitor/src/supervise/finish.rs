//! The end of a container: its last output, its exit, and who is told.
//!
//! ```text
//! kept              drain ─► status ─► database row ─► control group, run directory removed ─► everyone told
//! auto_remove       drain ─► the caller that started it told ─► status ─► control group removed
//!                          ─► it says Forgotten, or it is gone: then we remove the record ─► files removed
//!                          ─► run directory ─► the others told
//! ```
//!
//! Kept is a container without `--rm`, and any that is being restarted. A kept container's exit is in the database, and nothing of the run is left, before anyone hears of it: a start
//! right after that meets no remains. One that removes itself has no row worth writing: the caller that started
//! it, if it is still there, has the database open and removes the container at once, while we take the control
//! group down. It may be killed at any moment: the kernel closes its socket, and we do all that it did not say
//! it has done. Both may be killed: then the status says `exited`, or a live phase beside a free lock, and the
//! next observer finishes.

use std::os::fd::{AsFd, OwnedFd};

use linux::signal;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use state::Asked;

use crate::clock;
use crate::error::{Error, Result};
use crate::exit::{Exit, LaunchFailure};
use crate::life::Phase;
use crate::packet;
use crate::plan::MonitorPlan;
use crate::protocol::{Reply, Request, Streams};
use crate::status::{self, Status};
use crate::supervise::clients::{Client, Clients, OWNER};
use crate::supervise::container::Container;
use crate::supervise::outputs::Output;
use crate::supervise::record::Records;
use crate::supervise::requests::causes;
use crate::supervise::seat::Seat;

/// How long output may take to arrive from a terminal, or from processes that do not die with init.
const DRAIN_MS: u64 = 1000;
/// How long a caller may take to remove the container before we do.
const REMOVAL_MS: u64 = 10_000;

/// The end of a run whose init has ended, or that can be supervised no longer: all of its output is taken.
pub(crate) fn end_run(container: &mut Container, trouble: Option<Error>) -> Exit {
    let mut exit = container.reap(trouble);
    container.drain();
    if let Some(mut drift) = container.drift.take() {
        drift.finish(&container.records);
    }
    container.count_oom();
    container.note_lost_lines();
    let said = container.run_last_hooks();
    exit.error = exit.error.or(said);
    exit.oom_killed = container.status.oom_killed;
    runtime::trace::mark(super::WHO, "exit");
    container.records.died(&exit);
    exit
}

/// Ends a container that has no run any more: `exit` is its last one's.
pub(crate) fn leave_for_good(mut container: Container, mut exit: Exit) -> Result<()> {
    if let Some(log) = &mut container.log {
        log.close();
        container.note_lost_lines();
    }
    exit.log_lines_lost = container.status.log_lines_lost;
    container.status.phase = Phase::Exited;
    // What cannot be removed keeps the directory, and the next observer removes both.
    drop(status::remove_health(container.seat.run_dir(), &container.status));
    container.status.exit = Some(exit.clone());
    let database = container.records.database().map(ToOwned::to_owned);
    let is_removed = container.auto_remove && exit.asked != Asked::Restart;
    let left = if is_removed { container.leave_removed(&exit) } else { container.leave_kept(&exit) };
    // Nobody waits for us any more: the moment for what would hold up a command. The next one tries it again.
    drop(database.map(|path| state::State::tidy(&path)));
    left
}

/// Ends a container that never ran: nothing is left but the record of why.
pub(crate) fn never_started(
    plan: &MonitorPlan,
    seat: Seat,
    mut clients: Clients,
    failure: LaunchFailure,
) -> Result<()> {
    let exit = failure.exit();
    let records = Records::new(plan);
    let phase = Phase::Exited;
    let noted = seat.record(&Status { phase, exit: Some(exit.clone()), ..Status::starting(None) });
    // As with Docker, nobody is told of the end of what has not begun.
    let recorded = if plan.auto_remove { records.remove() } else { records.record(&exit) };
    let left = leave(seat, recorded.is_ok(), noted);
    clients.reply(OWNER, &Reply::LaunchFailed(failure), &[]);
    left
}

impl Container {
    fn reap(&mut self, trouble: Option<Error>) -> Exit {
        if trouble.is_some() {
            // Whatever is the matter, what is supervised no longer must not go on.
            drop(self.kill());
        }
        let (code, number, error) = match self.init.as_mut().map(runtime::Running::wait).transpose() {
            Ok(None) => (255, None, None),
            Ok(Some(runtime::Exit::Code(code))) => (i32::from(code), None, None),
            Ok(Some(end @ runtime::Exit::Signal(number))) => {
                (i32::from(end.status()), Some(i32::from(number)), None)
            }
            Err(error) => (255, None, Some(format!("{error}: {}", causes(&error)))),
        };
        let error = trouble.map(|trouble| format!("{trouble}: {}", causes(&trouble))).or(error);
        Exit {
            code,
            signal: number,
            oom_killed: false,
            started_at_ns: self.status.started_at_ns,
            finished_at_ns: clock::now_ns(),
            lost: false,
            error,
            asked: self.status.phase.asked(),
            restarts: self.status.restarts,
            log_lines_lost: 0,
        }
    }

    /// Takes all output that belongs to this run. With a pid namespace of its own, every process of the
    /// container is dead by now, and what a pipe holds is all there is. Otherwise the others are killed first.
    fn drain(&mut self) {
        if !self.dies_with_init
            && let Some(cgroup) = &self.cgroup
        {
            // What cannot be killed may go on printing; it has a second.
            drop(cgroup.kill_all());
        }
        let has_late_output = !self.dies_with_init || self.terminal.is_some();
        let give_up = clock::monotonic_ms() + DRAIN_MS;
        loop {
            let mut is_complete = true;
            for output in &mut self.outputs {
                is_complete &= output.drain(self.log.as_mut());
            }
            let now = clock::monotonic_ms();
            if is_complete || !has_late_output || now >= give_up {
                break;
            }
            wait_for_output(&self.outputs, give_up - now);
        }
        for output in &mut self.outputs {
            output.close(self.log.as_mut());
        }
        self.end_execs();
    }

    /// Programs that were started beside init have died with it, or do now.
    fn end_execs(&mut self) {
        self.suspend_checks();
        self.execs.give_up_starting(&mut self.clients);
        for index in 0..self.execs.list.len() {
            if let Some(exec) = self.execs.list.get_mut(index) {
                // One that is dead already needs no signal.
                let _sent = linux::process::pidfd_signal(exec.program.pidfd(), signal::KILL);
                // Its status is asked for again by the reaping below.
                let _ended = rustix::event::poll(
                    &mut [PollFd::from_borrowed_fd(exec.program.pidfd(), PollFlags::IN)],
                    Some(&clock::millis(DRAIN_MS)),
                );
            }
            self.execs.reap(index, &mut self.clients, &self.records);
        }
    }

    fn leave_kept(mut self, exit: &Exit) -> Result<()> {
        let noted = self.seat.record(&self.status);
        let recorded = self.records.record(exit);
        self.release_cgroup();
        self.hear_late_requests(|_| true);
        let left = leave(self.seat, recorded.is_ok(), noted);
        self.clients.accept_last(self.listener.as_fd());
        tell(&mut self.clients, &mut self.outputs, exit, |_| true);
        left
    }

    fn leave_removed(mut self, exit: &Exit) -> Result<()> {
        tell(&mut self.clients, &mut self.outputs, exit, |client| client == OWNER);
        let noted = self.seat.record(&self.status);
        self.release_cgroup();
        let said = self.clients.get(OWNER).and_then(|owner| what_is_removed(&owner.socket));
        let removed = match said {
            Some(Request::Removed) => Ok(()),
            Some(Request::Forgotten) => {
                self.records.remove_files();
                Ok(())
            }
            _ => self.records.remove(),
        };
        self.hear_late_requests(|client| client != OWNER);
        let left = leave(self.seat, removed.is_ok(), noted);
        self.clients.accept_last(self.listener.as_fd());
        tell(&mut self.clients, &mut self.outputs, exit, |client| client != OWNER);
        left
    }

    /// Answers what was asked while the end was on its way: who asks to wait is told with the others, everything
    /// else is refused by the phase.
    fn hear_late_requests(&mut self, included: impl Fn(u64) -> bool) {
        self.clients.accept(self.listener.as_fd());
        for index in 0..self.clients.list.len() {
            if self.clients.list.get(index).is_some_and(|client| included(client.id)) {
                self.serve_client(index);
            }
        }
        self.clients.sweep();
    }

    pub(crate) fn release_cgroup(&mut self) {
        self.oom = None;
        let grown = self.grown_cgroup();
        if let (Some(_), Some(before)) = (&grown, self.cgroup.take_if(|_| grown.is_some())) {
            before.keep();
        }
        if let Some(cgroup) = grown.or(self.cgroup.take()) {
            // A group that cannot be removed is an empty directory; its name is never used again.
            drop(cgroup.remove());
        }
    }
}

/// Leaves the run directory. When the exit is written down nowhere else, its status is all there is: then it
/// stays for the next observer, who does what we could not.
fn leave(seat: Seat, is_written: bool, noted: Result<()>) -> Result<()> {
    if is_written { seat.vacate() } else { noted }
}

/// Tells the exit to those who wait for it and whom `included` names; who that was.
pub(crate) fn tell(
    clients: &mut Clients,
    outputs: &mut [Output],
    exit: &Exit,
    included: impl Fn(u64) -> bool,
) -> Vec<u64> {
    let waits = |client: &Client| (client.waits || client.id == OWNER) && included(client.id);
    let told: Vec<u64> = clients.list.iter().filter(|client| waits(client)).map(|client| client.id).collect();
    for &client in &told {
        let (tails, descriptors) = take_tails(outputs, client);
        let reply = Reply::Ended { exit: exit.clone(), tails };
        clients.reply(client, &reply, &packet::borrow_all(&descriptors));
    }
    told
}

/// What a client had no room for, in a memfd for each stream. Its ends of the streams are closed.
fn take_tails(outputs: &mut [Output], client: u64) -> (Streams, Vec<OwnedFd>) {
    let mut tails = Streams::default();
    let mut descriptors = Vec::new();
    for output in outputs {
        let queue = output.take_queue(client);
        if queue.is_empty() {
            continue;
        }
        // Without memory for it, the log is where this output can be read.
        let Ok(tail) = packet::seal_bytes(&queue) else { continue };
        descriptors.push(tail);
        match output.source {
            crate::log::Source::Stdout => tails.stdout = true,
            crate::log::Source::Stderr => tails.stderr = true,
        }
    }
    (tails, descriptors)
}

/// What the caller says of the container that it has removed, before it goes or takes too long.
fn what_is_removed(owner: &OwnedFd) -> Option<Request> {
    let give_up = clock::monotonic_ms() + REMOVAL_MS;
    loop {
        let left = clock::until(give_up);
        match rustix::event::poll(&mut [PollFd::new(owner, PollFlags::IN)], Some(&left)) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return None,
        }
        match packet::receive(owner.as_fd(), rustix::net::RecvFlags::DONTWAIT) {
            Ok(Ok((said @ (Request::Removed | Request::Forgotten), _))) => return Some(said),
            // Sent before it learned of the exit.
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

fn wait_for_output(outputs: &[Output], timeout_ms: u64) {
    let mut watched: Vec<PollFd<'_>> = outputs
        .iter()
        .filter_map(|output| output.from.as_ref())
        .map(|from| PollFd::new(from, PollFlags::IN))
        .collect();
    // Woken for nothing, the caller looks again.
    let _ready = rustix::event::poll(&mut watched, Some(&clock::millis(timeout_ms)));
}
