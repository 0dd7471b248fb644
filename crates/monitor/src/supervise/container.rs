//! A running container and everything that may happen to it: the event loop.
//!
//! One thread, one poll. Nothing in here waits for a client, for a stream or for the container; what a turn
//! does for any of them is bounded.

use std::os::fd::{AsFd, OwnedFd};

use cgroup::{Cgroup, Hierarchy, OomWatch};
use linux::signal::{self, SignalFd};
use rustix::event::PollFlags;
use rustix::io::Errno;
use state::Asked;

use crate::clock;
use crate::error::{Error, Result};
use crate::life::{self, Effect, Event};
use crate::log::Log;
use crate::plan::StopPlan;
use crate::protocol::Reply;
use crate::restart::{Backoff, RestartPolicy};
use crate::status::Status;
use crate::supervise::Held;
use crate::supervise::checkup::Checkup;
use crate::supervise::clients::{Clients, OWNER};
use crate::supervise::drift::Drift;
use crate::supervise::execs::Execs;
use crate::supervise::input::Input;
use crate::supervise::outputs::Output;
use crate::supervise::record::Records;
use crate::supervise::seat::Seat;
use crate::supervise::turn::Ready;

/// How often the status says anew how many lines the log has lost.
pub(super) const LOST_EVERY_MS: u64 = 1000;

/// A container whose program runs.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) seat: Seat,
    pub(crate) status: Status,
    /// Its first process; none between two runs.
    pub(crate) init: Option<runtime::Running>,
    /// The mount of the image is another monitor's.
    pub(super) image_is_shared: bool,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) oom: Option<OomWatch>,
    pub(super) held: Held,
    pub(crate) stop: StopPlan,
    pub(crate) restart: RestartPolicy,
    pub(crate) backoff: Backoff,
    /// Of later runs, when they are no longer those of the plan.
    pub(crate) limits: Option<Box<cgroup::Limits>>,
    /// Its health, where that is checked.
    pub(crate) checkup: Option<Box<Checkup>>,
    /// What a client or the clock has brought about.
    pub(crate) due: Option<Due>,
    pub(crate) auto_remove: bool,
    /// Is killed when the caller that started it leaves.
    pub(crate) ends_with_caller: bool,
    /// Whether the kernel ends every process of the container together with its first.
    pub(crate) dies_with_init: bool,
    /// The whole plan, for programs to be exec'd; kept out of our memory until then.
    pub(crate) plan: OwnedFd,
    /// Whether that has hooks for after the end of a run.
    pub(crate) has_last_hooks: bool,
    pub(crate) records: Records,
    /// Asked before every program that the container executes, where it was started so.
    pub(crate) drift: Option<Drift>,
    pub(crate) log: Option<Log>,
    /// When the status last said how many lines are lost.
    pub(crate) lost_told_ms: u64,
    pub(crate) outputs: Vec<Output>,
    pub(crate) input: Option<Input>,
    /// The master of the container's terminal, when it has one.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) listener: OwnedFd,
    pub(crate) signals: SignalFd,
    pub(crate) clients: Clients,
    pub(crate) execs: Execs,
    /// Removes itself, and has lost its reader: is stopped when the caller that started it leaves.
    pub(crate) is_unread: bool,
}

/// Why [`Container::serve`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Init has ended.
    End,
    /// The rest between two runs is over.
    Run,
    /// No other run is wanted any more.
    Leave,
}

impl Container {
    /// Serves until init has ended, or the rest between two runs.
    pub(crate) fn serve(&mut self) -> Result<Due> {
        loop {
            for (ready, flags) in self.wait()? {
                match ready {
                    Ready::Init => return Ok(Due::End),
                    Ready::CheckStarting => self.proceed_check(),
                    Ready::CheckOutput => self.read_check(),
                    Ready::CheckEnded => self.reap_check(),
                    Ready::Oom => self.note_oom(),
                    Ready::Signals => self.obey_signals(),
                    Ready::Listener => self.clients.accept(self.listener.as_fd()),
                    Ready::Client(index) => self.serve_client(index),
                    Ready::Output(index) => self.outputs[index].read(self.log.as_mut()),
                    Ready::Drift => {
                        if let Some(drift) = &mut self.drift {
                            drift.serve(&self.records);
                        }
                    }
                    Ready::Log => {
                        if let Some(log) = &mut self.log {
                            log.serve(flags);
                        }
                    }
                    Ready::Sink(output, sink) => {
                        if let Some(sink) = self.outputs[output].sinks.get_mut(sink) {
                            sink.serve(flags);
                        }
                    }
                    Ready::Input => self.serve_input(flags),
                    Ready::Feed(index) => {
                        if let Some(input) = &mut self.input {
                            input.read(index);
                        }
                    }
                    Ready::Starting(index) => self.execs.proceed(index, &mut self.clients),
                    Ready::Exec(index) => self.execs.reap(index, &mut self.clients, &self.records),
                    Ready::ExecTerminal(index) => self.execs.discard(index),
                }
            }
            self.after_turn();
            if let Some(due) = self.due.take() {
                return Ok(due);
            }
        }
    }

    /// Does what `event` asks for, if the container's phase allows it.
    pub(crate) fn apply(&mut self, event: Event) -> Result<Effect> {
        let (phase, effect) = life::step(self.status.phase, event).map_err(Error::Refused)?;
        self.perform(effect)?;
        if phase != self.status.phase {
            self.status.phase = phase;
            self.seat.record(&self.status)?;
        }
        Ok(effect)
    }

    fn perform(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Signal(number) => self.signal(number),
            Effect::SignalThenThaw(number) => {
                self.signal(number)?;
                self.group("thaw")?.thaw().map_err(Error::cgroup("thaw the container"))?;
                self.resume_checks();
                Ok(())
            }
            Effect::Kill => self.kill(),
            Effect::Freeze => {
                self.suspend_checks();
                let frozen = self
                    .group("freeze")
                    .and_then(|group| group.freeze().map_err(Error::cgroup("freeze the container")));
                if frozen.is_err() {
                    self.resume_checks();
                }
                frozen
            }
            Effect::Thaw => {
                self.group("thaw")?.thaw().map_err(Error::cgroup("thaw the container"))?;
                self.resume_checks();
                Ok(())
            }
            // Init's end comes to nobody by a client or the clock: what is launched and finished here, they have
            // ended the rest of.
            Effect::Launch => {
                self.due = Some(Due::Run);
                Ok(())
            }
            Effect::Finish => {
                self.due = Some(Due::Leave);
                Ok(())
            }
            // The caller's, who knows what to start and whom to tell.
            Effect::None | Effect::Announce | Effect::Exec | Effect::Rest | Effect::Discard => Ok(()),
        }
    }

    fn group(&self, attempt: &'static str) -> Result<&Cgroup> {
        self.cgroup.as_ref().ok_or_else(|| Error::Remote {
            attempt: format!("{attempt} the container"),
            message: "it has no control group".to_owned(),
        })
    }

    /// The control group as it is now, if its limits were changed: whoever did that may have had to make it in further
    /// hierarchies.
    pub(crate) fn grown_cgroup(&self) -> Option<Cgroup> {
        let group = self.cgroup.as_ref().filter(|_| self.limits.is_some())?;
        Hierarchy::detect().and_then(|found| Cgroup::open(&found, group.path())).ok()
    }

    fn signal(&self, number: i32) -> Result<()> {
        let Some(init) = &self.init else { return Ok(()) };
        match linux::process::pidfd_signal(init.pidfd(), number) {
            // It has ended; the loop is about to find out.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(Error::System { attempt: "signal the container", errno }),
        }
    }

    /// Kills everything, whatever becomes of the control group: init's end is the container's.
    pub(crate) fn kill(&self) -> Result<()> {
        let group = self.cgroup.as_ref().map_or(Ok(()), Cgroup::kill_all);
        self.signal(signal::KILL)?;
        group.map_err(Error::cgroup("kill the container"))
    }

    /// The monitor is asked to end, by a shutdown most likely: it asks its container to.
    fn obey_signals(&mut self) {
        while let Ok(Some(number)) = signal::next(self.signals.as_fd()) {
            if number == signal::TERM {
                self.end_by_itself();
            }
        }
    }

    /// Stops without having been asked by a client.
    fn end_by_itself(&mut self) {
        let deadline_ms = self.stop.deadline_ms();
        let event = Event::Stop { signal: self.stop.signal, deadline_ms, asked: Asked::Nobody };
        // There is nobody to tell that this failed.
        drop(self.apply(event));
    }

    fn note_oom(&mut self) {
        if let Some(watch) = &self.oom
            && watch.acknowledge().is_err()
        {
            // It would be ready for ever.
            self.oom = None;
        }
        self.count_oom();
    }

    /// Asks the kernel whether it has killed for lack of memory, and says so once.
    pub(crate) fn count_oom(&mut self) {
        let kills = self.cgroup.as_ref().map_or(Ok(0), Cgroup::oom_kills).unwrap_or(0);
        if kills > 0 && !self.status.oom_killed {
            self.status.oom_killed = true;
            self.records.event("oom", &[]);
            // Whoever reads the status learns of it at the exit at the latest.
            drop(self.seat.record(&self.status));
        }
    }

    /// Takes over how many lines the log could not keep; tells whether there are any.
    pub(crate) fn note_lost_lines(&mut self) -> bool {
        self.status.log_lines_lost = self.log.as_ref().map_or(0, Log::dropped_lines);
        self.status.log_lines_lost > 0
    }

    /// Says how many lines are lost: at once when there are any, and then as often as is of use.
    fn tell_lost_lines(&mut self, now_ms: u64) {
        let known = self.status.log_lines_lost;
        let is_due = known == 0 || now_ms >= self.lost_told_ms + LOST_EVERY_MS;
        if is_due && self.note_lost_lines() && self.status.log_lines_lost > known {
            self.lost_told_ms = now_ms;
            drop(self.seat.record(&self.status));
        }
    }

    fn serve_input(&mut self, flags: PollFlags) {
        let Some(input) = &mut self.input else { return };
        if flags.contains(PollFlags::OUT) {
            input.flush();
        } else {
            input.close();
        }
    }

    /// Forgets what ended in this turn, and does what is due.
    fn after_turn(&mut self) {
        let now_ms = clock::monotonic_ms();
        if let Some(log) = &mut self.log {
            log.work(now_ms);
        }
        if let Some(drift) = &mut self.drift {
            drift.work(&self.records);
        }
        self.tell_lost_lines(now_ms);
        if self.status.phase.deadline_ms().is_some_and(|deadline| now_ms >= deadline) {
            // What fails is tried again later; nobody waits for an answer to this.
            let effect = self.apply(Event::DeadlinePassed { now_ms });
            if matches!(effect, Ok(Effect::Kill)) {
                self.records.event("kill", &[("signal", "9")]);
            }
        }
        if self.clients.lost_freezer() {
            // Refused where somebody was faster, or the container has ended.
            drop(self.apply(Event::Unpause));
        }
        self.check_clock(now_ms);
        self.clients.sweep();
        if self.ends_with_caller && !self.clients.is_connected(OWNER) {
            // What cannot be killed now is killed in a later turn; nobody waits for an answer.
            drop(self.kill());
        }
        self.sweep_outputs(now_ms);
        let clients = &self.clients;
        if let Some(input) = &mut self.input {
            input.sweep(|client| clients.is_connected(client));
        }
        self.execs.sweep(clients);
    }

    /// Tells clients whose readers are gone. The one that the container was started for says what is to follow.
    fn sweep_outputs(&mut self, now_ms: u64) {
        let mut unread = Vec::new();
        for output in &mut self.outputs {
            output.sinks.retain(|sink| self.clients.is_connected(sink.client));
            let gone = output.sweep(now_ms);
            output.is_unread |= gone.contains(&OWNER);
            let ends = output.is_unread && output.sinks.is_empty();
            unread.extend(gone.into_iter().map(|client| (client, ends && client == OWNER)));
        }
        for (client, ends) in unread {
            self.clients.reply(client, &Reply::Unread { ends }, &[]);
        }
        if self.is_unread && !self.clients.is_connected(OWNER) {
            self.is_unread = false;
            self.end_by_itself();
        }
    }

    /// A client says that nobody reads what it has attached.
    ///
    /// A stream that had no reader but the one that the container was started for ends with it, as a pipe does
    /// for a program; who came later only watches. It takes a client that lives to say so: one that was killed
    /// together with its reader leaves the container as it is. The kernel spares a first process the signal
    /// that would end any other, and a shell goes on when it cannot print: one that removes itself, so that
    /// nobody will ever look at it again, is stopped, after the moment that its caller waits for it to end.
    pub(crate) fn hang_up(&mut self, client: u64) {
        self.execs.hang_up(client);
        // A client that copies has found out by itself, and does not know whose pipe it was.
        let is_known = self.outputs.iter().any(|output| output.is_unread);
        for output in &mut self.outputs {
            let before = output.sinks.len();
            if !is_known {
                output.sinks.retain(|sink| sink.client != client);
            }
            let was_read = output.is_unread || output.sinks.len() < before;
            if client != OWNER || !was_read || !output.sinks.is_empty() {
                continue;
            }
            output.close(self.log.as_mut());
            self.is_unread |= self.auto_remove;
            // Without anybody who holds its master, a terminal is hung up.
            if self.terminal.take().is_some() {
                self.input = None;
            }
        }
        if client != OWNER {
            self.clients.reply(client, &Reply::Unread { ends: false }, &[]);
        }
    }
}

impl StopPlan {
    /// When a stop that begins now is over.
    pub(crate) fn deadline_ms(self) -> Option<u64> {
        let seconds = u64::try_from(self.timeout_secs).ok()?;
        Some(clock::monotonic_ms().saturating_add(seconds.saturating_mul(1000)))
    }
}
