//! What clients ask for, and what they are answered.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use runtime::plan::{LaunchPlan, ProcessPlan, TerminalSize};
use runtime::{ParkedInit, Stdio, Target};
use rustix::fs::{Mode, OFlags};
use rustix::termios::Winsize;
use state::Asked;

use crate::client::Outcome;
use crate::clock;
use crate::error::{Error, Result};
use crate::exit::LaunchFailure;
use crate::life::{Effect, Event};
use crate::log::Source;
use crate::packet;
use crate::plan::MonitorPlan;
use crate::protocol::{Reply, Request, StopTimeout, Streams};
use crate::supervise::container::Container;
use crate::supervise::outputs::{Sink, check_stream};
use linux::signal::KILL;

/// Requests of one client that are served in one turn.
const REQUESTS_PER_TURN: usize = 8;
/// Programs that may run beside the container's own.
const EXEC_LIMIT: usize = 256;

impl Container {
    /// Serves what a client asks.
    pub(crate) fn serve_client(&mut self, index: usize) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some(client) = self.clients.list.get_mut(index) else { return };
            let id = client.id;
            let Some((request, descriptors)) = client.request() else { return };
            if let Request::Exec { streams, id: name } = request {
                self.exec(id, name, streams, descriptors);
                continue;
            }
            let reply = match self.answer(id, request, descriptors) {
                Ok(outcome) => Reply::Done(outcome),
                Err(error) => failed(error),
            };
            self.clients.reply(id, &reply, &[]);
        }
    }

    fn answer(&mut self, client: u64, request: Request, descriptors: Vec<OwnedFd>) -> Result<Outcome> {
        match request {
            Request::Signal { signal } => {
                check_signal(signal)?;
                let ends = signal == KILL || !self.stop.is_chosen || signal == self.stop.signal;
                let was_sent = self.init.is_some();
                let effect = self.apply(Event::Signal { signal, ends })?;
                self.note_who_asked(effect, Asked::User);
                if was_sent {
                    // Told by the one who tells of the end, so that it is told before that.
                    self.records.event("kill", &[("signal", &signal.to_string())]);
                }
                if signal == KILL {
                    self.tell_of_the_end(client);
                }
                Ok(if was_sent { Outcome::Changed } else { Outcome::Unchanged })
            }
            Request::Stop { signal, timeout, asked } => {
                let stopped = self.stop(signal, timeout, asked)?;
                self.tell_of_the_end(client);
                Ok(stopped)
            }
            Request::Update { limits, restart } => {
                self.limits = Some(limits);
                self.change_policy(restart);
                Ok(Outcome::Changed)
            }
            Request::Pause => self.apply(Event::Pause).map(|_| Outcome::Changed),
            Request::PauseMeanwhile => {
                self.apply(Event::Pause)?;
                if let Some(client) = self.clients.get(client) {
                    client.freezes = true;
                }
                Ok(Outcome::Changed)
            }
            Request::Unpause => {
                self.clients.list.iter_mut().for_each(|client| client.freezes = false);
                self.apply(Event::Unpause).map(|_| Outcome::Changed)
            }
            Request::Resize(size) => self.resize(size),
            Request::Rename { name } => {
                self.records.rename(&name);
                Ok(Outcome::Changed)
            }
            Request::Attach(_) if self.clients.get(client).is_some_and(|client| client.is_attached) => {
                Err(Error::Protocol { reason: "one connection attaches once" })
            }
            Request::Attach(streams) => {
                let attachment = Attachment::new(client, Given::new(streams, descriptors)?)?;
                self.connect(client, attachment)
            }
            Request::Wait => {
                self.tell_of_the_end(client);
                Ok(Outcome::Changed)
            }
            Request::HangUp => {
                self.hang_up(client);
                Ok(Outcome::Changed)
            }
            Request::Prepare(_)
            | Request::Launch { .. }
            | Request::Work
            | Request::Exec { .. }
            | Request::Removed
            | Request::Forgotten => Err(Error::Protocol { reason: "this request makes no sense now" }),
        }
    }

    fn stop(&mut self, signal: Option<i32>, timeout: Option<StopTimeout>, asked: Asked) -> Result<Outcome> {
        let signal = signal.unwrap_or(self.stop.signal);
        check_signal(signal)?;
        let deadline_ms = match timeout {
            None => self.stop.deadline_ms(),
            Some(StopTimeout::Never) => None,
            Some(StopTimeout::After(duration)) => Some(after(duration)),
        };
        let effect = self.apply(Event::Stop { signal, deadline_ms, asked })?;
        self.note_who_asked(effect, asked);
        if self.init.is_some() {
            self.records.event("kill", &[("signal", &signal.to_string())]);
        }
        Ok(Outcome::Changed)
    }

    /// Also whoever has brought the end about is told, who would ask for that too late.
    fn tell_of_the_end(&mut self, client: u64) {
        if let Some(client) = self.clients.get(client) {
            client.waits = true;
        }
    }

    /// A run that does not come has no end that could say who has asked for that: the one before says it.
    fn note_who_asked(&mut self, effect: Effect, asked: Asked) {
        if effect == Effect::Finish
            && let Some(last) = &mut self.status.last
        {
            last.asked = asked;
        }
    }

    fn resize(&mut self, size: TerminalSize) -> Result<Outcome> {
        let Some(terminal) = &self.terminal else { return Ok(Outcome::Unchanged) };
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal, size)
            .map_err(Error::system("resize the container's terminal"))?;
        self.records
            .event("resize", &[("height", &size.ws_row.to_string()), ("width", &size.ws_col.to_string())]);
        Ok(Outcome::Changed)
    }

    /// Connects a client's streams, until it leaves.
    pub(crate) fn connect(&mut self, client: u64, attachment: Attachment) -> Result<Outcome> {
        self.running()?;
        if let (Some(from), Some(input)) = (attachment.stdin, &mut self.input) {
            input.connect(client, from)?;
        }
        for (source, sink) in [(Source::Stdout, attachment.stdout), (Source::Stderr, attachment.stderr)] {
            // A stream that the container does not have ends at once for the client: its end is dropped here.
            let output =
                self.outputs.iter_mut().find(|output| output.source == source && output.from.is_some());
            if let (Some(output), Some(sink)) = (output, sink) {
                output.sinks.push(sink);
            }
        }
        if let Some(client) = self.clients.get(client) {
            client.is_attached = true;
            client.waits = true;
        }
        Ok(Outcome::Changed)
    }

    /// Begins to start a program. Its client hears of it when it runs.
    fn exec(&mut self, client: u64, id: String, streams: Streams, descriptors: Vec<OwnedFd>) {
        match self.begin_exec(streams, descriptors) {
            Ok(parked) => {
                self.execs.add(parked, client, id);
                if let Some(client) = self.clients.get(client) {
                    client.has_exec = true;
                }
            }
            Err(error) => self.clients.reply(client, &failed(error), &[]),
        }
    }

    fn begin_exec(&mut self, streams: Streams, mut descriptors: Vec<OwnedFd>) -> Result<ParkedInit> {
        self.apply(Event::Exec)?;
        if descriptors.is_empty() {
            return Err(Error::Protocol { reason: "a program has no plan" });
        }
        if self.execs.len() >= EXEC_LIMIT {
            return Err(Error::Remote {
                attempt: "start a program".to_owned(),
                message: format!("{EXEC_LIMIT} are running already"),
            });
        }
        let process: ProcessPlan = packet::unseal(descriptors.remove(0).as_fd())?;
        let stdio = Given::new(streams, descriptors)?.into_stdio()?;
        self.begin_program(&process, stdio)
    }

    /// Begins to start a program beside init.
    pub(crate) fn begin_program(&self, process: &ProcessPlan, stdio: Stdio) -> Result<ParkedInit> {
        let launch: LaunchPlan = packet::unseal::<MonitorPlan>(self.plan.as_fd())?.launch;
        let init = self.running()?;
        let grown = self.grown_cgroup();
        let cgroup = grown.as_ref().or(self.cgroup.as_ref());
        let target = Target { pidfd: init.pidfd(), pid: init.pid(), plan: &launch, cgroup };
        runtime::begin_exec(target, process, stdio).map_err(|error| Error::Exec(LaunchFailure::from(&error)))
    }
}

impl Container {
    /// Its first process, if it has one now.
    fn running(&self) -> Result<&runtime::Running> {
        self.init.as_ref().ok_or(Error::Protocol { reason: "the container is restarting" })
    }
}

/// A client's streams, found to be harmless.
pub(crate) struct Attachment {
    stdin: Option<OwnedFd>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

impl Attachment {
    pub(crate) fn new(client: u64, given: Given) -> Result<Attachment> {
        let sink = |stream: Option<OwnedFd>| stream.map(|to| Sink::new(client, to)).transpose();
        if let Some(from) = &given.stdin {
            check_stream(from)?;
        }
        Ok(Attachment { stdin: given.stdin, stdout: sink(given.stdout)?, stderr: sink(given.stderr)? })
    }
}

/// Descriptors beside a message, by what they are for.
pub(crate) struct Given {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Given {
    pub(crate) fn new(streams: Streams, descriptors: Vec<OwnedFd>) -> Result<Given> {
        let announced = [streams.stdin, streams.stdout, streams.stderr];
        if announced.iter().filter(|&&there| there).count() != descriptors.len() {
            return Err(Error::Protocol { reason: "a message announces other streams than it has" });
        }
        let mut descriptors = descriptors.into_iter();
        let [stdin, stdout, stderr] = announced.map(|there| if there { descriptors.next() } else { None });
        Ok(Given { stdin, stdout, stderr })
    }

    /// What is missing is `/dev/null`.
    fn into_stdio(self) -> Result<Stdio> {
        let fill = |stream: Option<OwnedFd>| stream.map_or_else(open_null, Ok);
        Ok(Stdio::Given { stdin: fill(self.stdin)?, stdout: fill(self.stdout)?, stderr: fill(self.stderr)? })
    }
}

/// `/dev/null` of the host.
pub(crate) fn open_null() -> Result<OwnedFd> {
    rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::system("open /dev/null"))
}

fn check_signal(signal: i32) -> Result<()> {
    if (1..=64).contains(&signal) {
        return Ok(());
    }
    Err(Error::Protocol { reason: "there is no such signal" })
}

fn after(duration: Duration) -> u64 {
    clock::monotonic_ms().saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// How an error travels.
pub(crate) fn failed(error: Error) -> Reply {
    if let Error::Refused(refused) = error {
        return Reply::Refused(refused);
    }
    if let Error::Exec(failure) = error {
        return Reply::ExecFailed(failure);
    }
    if let Error::AlreadyRunning = error {
        return Reply::AlreadyRunning;
    }
    Reply::Failed { attempt: error.to_string(), message: causes(&error) }
}

/// The chain of causes below an error, on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl From<&runtime::Error> for LaunchFailure {
    fn from(error: &runtime::Error) -> LaunchFailure {
        let init = error.init_failure();
        let causes = causes(error);
        let separator = if causes.is_empty() { "" } else { ": " };
        LaunchFailure {
            step: init.map_or_else(|| "start".to_owned(), |failure| failure.step.to_string()),
            message: format!("{error}{separator}{causes}"),
            errno: init.map(|failure| failure.errno).filter(|&errno| errno != 0),
            exit_code: init.and_then(runtime::InitFailure::command_status).map_or(128, i32::from),
        }
    }
}
