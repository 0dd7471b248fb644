//! Health checks of the run that is on: programs in the container, one at a time, and what follows from their results.
//!
//! What decides is in [`crate::health`]; here are the clock, the pipe and the process. Nothing waits: a check that
//! takes too long is killed and left to the reaping of abandoned programs.

use std::os::fd::{AsFd, OwnedFd};

use linux::signal;
use runtime::Stdio;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::clock;
use crate::error::{Error, Result};
use crate::health::{HealthPlan, HealthReport, HealthState, OnUnhealthy, Probe, Said, Schedule, go_duration};
use crate::life::{Effect, Event};
use crate::packet;
use crate::plan::MonitorPlan;
use crate::status;
use crate::supervise::container::Container;
use crate::supervise::execs::Starting;
use crate::supervise::requests::causes;
use crate::supervise::turn::Ready;

/// How long the setting up of a check may take: it does not count as part of the check.
const START_MS: u64 = 30_000;
/// Reads from the pipe of a check that has ended, whose children may go on writing.
const LAST_READS: usize = 64;

/// The checks of one run.
#[derive(Debug)]
pub(crate) struct Checkup {
    schedule: Schedule,
    on_unhealthy: OnUnhealthy,
    command: String,
    report: HealthReport,
    /// When the run began.
    since_ms: u64,
    /// When the next check is due; none while one is on, or while the container is paused.
    next_ms: Option<u64>,
    probe: Option<Probing>,
}

/// A check that is on.
#[derive(Debug)]
struct Probing {
    starting: Option<Starting>,
    program: Option<runtime::Running>,
    output: Option<OwnedFd>,
    said: Said,
    id: String,
    began_ns: i64,
    /// After the container's start.
    since_start_ms: u64,
    deadline_ms: u64,
}

impl Checkup {
    /// That of a run that has just begun.
    pub(crate) fn new(plan: &HealthPlan) -> Box<Checkup> {
        let (schedule, report) = (plan.schedule, HealthReport::new());
        let since_ms = clock::monotonic_ms();
        let next_ms = Some(since_ms.saturating_add(report.next_after_ms(&schedule, 0)));
        let (on_unhealthy, command) = (plan.on_unhealthy, plan.command.clone());
        Box::new(Checkup { schedule, on_unhealthy, command, report, since_ms, next_ms, probe: None })
    }

    /// When there is something to do next, should nothing happen.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.probe.as_ref().map_or(self.next_ms, |probe| Some(probe.deadline_ms))
    }

    pub(crate) fn watch<'a>(&'a self, watched: &mut Vec<(Ready, PollFd<'a>)>) {
        let Some(probe) = &self.probe else { return };
        if let Some(parked) = probe.starting.as_ref().and_then(|starting| starting.parked.as_ref()) {
            watched.push((Ready::CheckStarting, PollFd::new(parked, PollFlags::IN)));
        }
        if let Some(program) = &probe.program {
            watched.push((Ready::CheckEnded, PollFd::from_borrowed_fd(program.pidfd(), PollFlags::IN)));
        }
        if let Some(output) = &probe.output {
            watched.push((Ready::CheckOutput, PollFd::new(output, PollFlags::IN)));
        }
    }

    /// Waits anew for the next check.
    fn wait(&mut self) {
        let now_ms = clock::monotonic_ms();
        let since_ms = now_ms.saturating_sub(self.since_ms);
        self.next_ms = Some(now_ms.saturating_add(self.report.next_after_ms(&self.schedule, since_ms)));
    }
}

impl Probing {
    /// Reads what the check has printed; false when there will be no more.
    fn read(&mut self) -> bool {
        let Some(output) = &self.output else { return false };
        let mut some = [0; 4096];
        match rustix::io::read(output, &mut some) {
            Ok(length) if length > 0 => self.said.push(&some[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            Ok(_) | Err(_) => {
                self.output = None;
                return false;
            }
        }
        true
    }
}

impl Container {
    /// Begins with the checks of a run, if the plan has any.
    pub(super) fn begin_checks(&mut self, plan: &MonitorPlan) {
        let Some(health) = &plan.health else { return };
        let checkup = Checkup::new(health);
        self.status.health = Some(checkup.report.state);
        self.checkup = Some(checkup);
        self.write_report();
    }

    /// Ends the checks of a run, or of a container that is about to be frozen. They begin anew with [`Self::resume_checks`].
    pub(crate) fn suspend_checks(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        checkup.next_ms = None;
        if let Some(program) = checkup.probe.take().and_then(|probe| probe.program) {
            self.execs.abandon(program);
        }
    }

    /// Waits for the next check, which is due an interval from now.
    pub(crate) fn resume_checks(&mut self) {
        if let Some(checkup) = &mut self.checkup {
            checkup.wait();
        }
    }

    /// Does what the clock asks for.
    pub(crate) fn check_clock(&mut self, now_ms: u64) {
        let Some(checkup) = &mut self.checkup else { return };
        if checkup.due_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return;
        }
        match checkup.probe.take() {
            None => {
                checkup.next_ms = None;
                if let Err(error) = self.begin_probe(now_ms) {
                    self.conclude(clock::now_ns(), now_ms, -1, format!("{error}: {}", causes(&error)));
                }
            }
            Some(mut probe) => {
                while probe.read() && !probe.said.is_full() {}
                let timeout_ms = checkup.schedule.timeout_ms;
                let text = match probe.program.take() {
                    Some(program) => {
                        self.execs.abandon(program);
                        let said = probe.said.text();
                        let separator = if said.is_empty() { "" } else { ": " };
                        format!(
                            "Health check exceeded timeout ({}){separator}{said}",
                            go_duration(timeout_ms)
                        )
                    }
                    None => "the health check could not be started in time".to_owned(),
                };
                self.end_probe(&probe, -1, text);
            }
        }
    }

    fn begin_probe(&mut self, now_ms: u64) -> Result<()> {
        let plan = packet::unseal::<MonitorPlan>(self.plan.as_fd())?.health;
        let plan = plan.ok_or(Error::Protocol { reason: "the plan has no health check" })?;
        let (ours, theirs) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"))?;
        super::begin::set_nonblocking(&ours)?;
        let stderr =
            rustix::io::fcntl_dupfd_cloexec(&theirs, 3).map_err(Error::system("duplicate a pipe"))?;
        let stdin = super::requests::open_null()?;
        let id = random_id();
        self.check_event("exec_create", &id, None);
        let stdio = Stdio::Given { stdin, stdout: theirs, stderr };
        let parked = self.begin_program(&plan.process, stdio)?;
        let Some(checkup) = &mut self.checkup else { return Ok(()) };
        checkup.probe = Some(Probing {
            starting: Some(Starting::of_nobody(parked)),
            program: None,
            output: Some(ours),
            said: Said::default(),
            id,
            began_ns: clock::now_ns(),
            since_start_ms: now_ms.saturating_sub(checkup.since_ms),
            deadline_ms: now_ms.saturating_add(START_MS),
        });
        Ok(())
    }

    /// A check that is being set up has something to say.
    pub(crate) fn proceed_check(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        let Some(probe) = &mut checkup.probe else { return };
        let Some(starting) = &mut probe.starting else { return };
        match starting.proceed() {
            Ok(None) => {}
            Ok(Some(program)) => {
                probe.starting = None;
                probe.program = Some(program);
                probe.began_ns = clock::now_ns();
                probe.deadline_ms = clock::monotonic_ms().saturating_add(checkup.schedule.timeout_ms);
                let id = probe.id.clone();
                self.check_event("exec_start", &id, None);
            }
            Err(error) => {
                let text = format!("{error}: {}", causes(&error));
                if let Some(probe) = checkup.probe.take() {
                    self.end_probe(&probe, -1, text);
                }
            }
        }
    }

    pub(crate) fn read_check(&mut self) {
        if let Some(probe) = self.checkup.as_mut().and_then(|checkup| checkup.probe.as_mut()) {
            probe.read();
        }
    }

    /// The program of a check has ended.
    pub(crate) fn reap_check(&mut self) {
        let Some(checkup) = &mut self.checkup else { return };
        let Some(probe) = &mut checkup.probe else { return };
        let Some(program) = &mut probe.program else { return };
        let code = match program.try_wait() {
            Ok(None) => return,
            Ok(Some(exit)) => i32::from(exit.status()),
            Err(_) => -1,
        };
        for _ in 0..LAST_READS {
            if !probe.read() {
                break;
            }
        }
        let text = probe.said.text();
        if let Some(probe) = checkup.probe.take() {
            self.end_probe(&probe, code, text);
        }
    }

    fn end_probe(&mut self, probe: &Probing, code: i32, output: String) {
        self.check_event("exec_die", &probe.id, Some(code));
        self.conclude(probe.began_ns, probe.since_start_ms, code, output);
    }

    /// Takes a result in, tells of it, and does what is to be done about it.
    fn conclude(&mut self, started_at_ns: i64, since_start_ms: u64, code: i32, output: String) {
        let Some(checkup) = &mut self.checkup else { return };
        let probe = Probe { started_at_ns, ended_at_ns: clock::now_ns(), code, output };
        let has_changed = checkup.report.take(&checkup.schedule, probe, since_start_ms);
        checkup.wait();
        let (state, on_unhealthy) = (checkup.report.state, checkup.on_unhealthy);
        self.write_report();
        if !has_changed {
            return;
        }
        self.status.health = Some(state);
        // Whoever reads the status sees the state before; the next change writes it again.
        drop(self.seat.record(&self.status));
        self.records.event(&format!("health_status: {}", state.as_str()), &[]);
        if state == HealthState::Unhealthy {
            self.treat(on_unhealthy);
        }
    }

    fn treat(&mut self, what: OnUnhealthy) {
        let (number, deadline_ms) = (self.stop.signal, self.stop.deadline_ms());
        let event = match what {
            OnUnhealthy::Nothing => return,
            OnUnhealthy::Kill => {
                // What cannot be killed now is found unhealthy again.
                drop(self.kill());
                self.records.event("kill", &[("signal", &signal::KILL.to_string())]);
                return;
            }
            OnUnhealthy::Restart => Event::Renew { signal: number, deadline_ms },
            OnUnhealthy::Stop => Event::Stop { signal: number, deadline_ms, asked: state::Asked::Nobody },
        };
        // Nobody waits for an answer.
        if let Ok(Effect::Signal(_) | Effect::SignalThenThaw(_)) = self.apply(event) {
            self.records.event("kill", &[("signal", &number.to_string())]);
        }
    }

    /// Without it, `inspect` shows older results.
    fn write_report(&self) {
        if let Some(checkup) = &self.checkup {
            drop(status::write_health(self.seat.run_dir(), &checkup.report));
        }
    }

    fn check_event(&self, action: &str, id: &str, code: Option<i32>) {
        let Some(checkup) = &self.checkup else { return };
        let code = code.map(|code| code.to_string());
        let mut more = vec![("execID", id)];
        more.extend(code.as_deref().map(|code| ("exitCode", code)));
        let action =
            if action == "exec_die" { action.to_owned() } else { format!("{action}: {}", checkup.command) };
        self.records.event(&action, &more);
    }
}

/// As the ids of programs that users start.
fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    // Only an id in an event: one that is not random names nothing else either.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
