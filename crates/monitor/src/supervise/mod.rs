//! Starts one container and supervises it until it has ended: the monitor's own side.
//!
//! Single-threaded and synchronous, so that a cloned child may safely allocate. Whatever the container holds
//! on the host is held by values of one stack frame, and is given back by leaving it.
//!
//! ```text
//! plan ─► run directory, lock ─► control group ─► init cloned ─► status written ─► released ─► event loop
//!                                                  │ mounts meanwhile                            │ init ended
//!   told: Running ◄────────────────────────────────┴─ execs                  drained, recorded ◄─┘
//! ```
//!
//! The plan may also come as late as after the clone: see `ahead`. With a restart policy one run may follow another,
//! in the same run directory and behind the same socket: see `rerun`.

mod ahead;
mod arrival;
mod begin;
mod checkup;
mod clients;
mod container;
mod drift;
mod execs;
mod finish;
mod hooks;
mod input;
mod memfds;
mod outputs;
mod pace;
mod record;
pub(crate) mod requests;
mod rerun;
pub(crate) mod seat;
mod share;
mod turn;
pub(crate) mod volumes;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cgroup::Cgroup;
use linux::signal::{self, SignalFd};
use runtime::plan::{Mount, MountKind, Namespace};
use runtime::trace;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;
use state::Asked;

use crate::clock;
use crate::error::{Error, Result};
use crate::exit::{Exit, LaunchFailure};
use crate::log::Log;
use crate::lost;
use crate::packet;
use crate::plan::MonitorPlan;
use crate::protocol::{Reply, Request};
use crate::restart::Backoff;
use crate::status::Status;
use crate::worker;
use ahead::Ahead;
use arrival::{Message, receive_launch, receive_request};
use begin::{Stage, Started, start};
use clients::{Clients, OWNER};
use container::Container;
use execs::Execs;
use record::Records;
use requests::Attachment;
use seat::Seat;

/// Who writes a mark into the trace.
const WHO: &str = "monitor";

/// Does what the caller that started us asks for in `control`: supervises a container until it has ended and its end is
/// recorded, or works on files of lent ids.
///
/// `control` is our end of the socket pair that the caller made. The process must have no other thread.
pub fn serve(control: OwnedFd) -> Result<()> {
    let signals = arrange_signals()?;
    match receive_request(&control, &signals)? {
        (Request::Work, order) => worker::work(&control, &order),
        first => supervise(control, signals, first),
    }
}

/// Runs a container; `first` is all that the caller needed to say, or what can be made ahead of that.
fn supervise(control: OwnedFd, signals: SignalFd, first: Message) -> Result<()> {
    let mut clients = Clients::default();
    let (ahead, launch) = receive_launch(first, &control, &signals);
    let (plan_file, attachment) = match launch {
        Ok(launch) => launch,
        Err(error) => {
            ahead.into_iter().for_each(Ahead::give_up);
            return Err(error);
        }
    };
    let mut plan: MonitorPlan = packet::unseal(plan_file.as_fd())?;
    enable_trace(plan.trace.as_deref());
    trace::mark(WHO, "plan");
    let ground = Ground::prepare(&plan, ahead, control.as_fd());
    clients.add(control);
    let ground = match ground {
        Ok(ground) => ground,
        Err(error) => {
            clients.reply(OWNER, &requests::failed(error), &[]);
            return Ok(());
        }
    };
    // Whoever finds no run directory of a container that ends with its caller relies on it that none begins any more.
    if plan.ends_with_caller && !clients.get(OWNER).is_some_and(|owner| is_there(owner.socket.as_fd())) {
        ground.give_up();
        return Ok(());
    }
    let Ground { seat, ahead } = ground;
    let filling = volumes::prepare(&mut plan.launch, &plan.container_dir).map_err(LaunchFailure::from);
    let stage = Stage { plan: &plan, seat: &seat, signals: &signals, status: Status::starting(None) };
    let meanwhile = || Ok((plan.log.clone().map(Log::open).transpose()?, seat.listen()?));
    match filling.and_then(|filling| start(&stage, ahead, filling, meanwhile)) {
        Ok((started, (log, listener))) => {
            let mut container = Container::new(&plan, plan_file, seat, listener, signals);
            (container.log, container.clients) = (log, clients);
            container.take_over(started);
            container.begin_checks(&plan);
            container.announce(attachment);
            container.hold(&plan);
            rerun::live(container, plan)
        }
        Err(failure) => finish::never_started(&plan, seat, clients, failure),
    }
}

/// A run directory that is ours, and what else of the container is there already.
struct Ground {
    seat: Seat,
    ahead: Option<(Status, Option<Cgroup>, runtime::Ahead)>,
}

impl Ground {
    /// Takes the run directory over, unless it was made ahead, with what a monitor that died in it may have left
    /// running.
    fn prepare(plan: &MonitorPlan, ahead: Option<Ahead>, caller: BorrowedFd<'_>) -> Result<Ground> {
        if let Some(ahead) = ahead {
            if ahead.fits(plan) {
                let Ahead { init, cgroup, seat, status, .. } = ahead;
                return Ok(Ground { seat, ahead: Some((status, cgroup, init)) });
            }
            ahead.give_up();
        }
        let seat = Seat::occupy(&plan.run_dir, caller)?;
        if let Some(before) = seat.leftover()? {
            lost::kill_remains(before.init, before.cgroup.as_deref())?;
        }
        trace::mark(WHO, "run directory");
        Ok(Ground { seat, ahead: None })
    }

    /// Leaves nothing of it.
    fn give_up(self) {
        let Ground { seat, ahead } = self;
        if let Some((_, cgroup, init)) = ahead {
            // In this order: a group must be empty to be removed.
            drop(init);
            drop(cgroup);
        }
        // What cannot be removed is found by whoever looks next.
        drop(seat.vacate());
    }
}

/// Whether there is still somebody at the other end of a socket.
fn is_there(socket: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    matches!(rustix::event::poll(&mut watched, Some(&clock::millis(0))), Ok(0) | Err(Errno::INTR))
}

/// Keeps the mount namespace of a container that removes itself until this monitor ends.
///
/// The kernel tells of a process's end only after it has taken down what the process was the last to use, and
/// taking down a mount namespace waits for a grace period: 1.5 ms that the caller need not wait for. Where the caller's
/// own files are mounted it does: their file system must be free once the end is told.
fn hold_mounts(plan: &MonitorPlan, init: Pid) -> Option<OwnedFd> {
    let is_ours = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => {
            source.starts_with(&plan.run_dir) || source.starts_with(&plan.container_dir)
        }
        MountKind::New { .. }
        | MountKind::Volume { .. }
        | MountKind::Image { .. }
        | MountKind::File { .. }
        | MountKind::Cgroup => true,
    };
    if !plan.auto_remove || !plan.launch.mounts.iter().all(is_ours) {
        return None;
    }
    let path = format!("/proc/{}/ns/mnt", init.as_raw_nonzero());
    // Without it the end is told a little later, that is all.
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Signals that end a process must not end this one by accident; SIGTERM is passed on as a stop.
fn arrange_signals() -> Result<SignalFd> {
    linux::process::reset_signals().map_err(Error::system("reset signals"))?;
    for number in signal::HARMLESS {
        signal::shrug(*number).map_err(Error::system("arrange signals"))?;
    }
    SignalFd::new(&[signal::TERM]).map_err(Error::system("arrange signals"))
}

/// A trace that cannot be written costs a measurement.
fn enable_trace(path: Option<&Path>) {
    let Some(path) = path else { return };
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        trace::enable(file);
    }
}

impl Container {
    /// One that has no run yet.
    fn new(
        plan: &MonitorPlan,
        plan_file: OwnedFd,
        seat: Seat,
        listener: OwnedFd,
        signals: SignalFd,
    ) -> Container {
        Container {
            seat,
            status: Status::starting(None),
            init: None,
            image_is_shared: false,
            cgroup: None,
            oom: None,
            held: Held::default(),
            stop: plan.stop,
            restart: plan.restart,
            backoff: Backoff::default(),
            limits: None,
            due: None,
            checkup: None,
            auto_remove: plan.auto_remove,
            ends_with_caller: plan.ends_with_caller,
            dies_with_init: plan.launch.namespaces.pid == Namespace::New,
            plan: plan_file,
            has_last_hooks: !plan.launch.hooks.poststop.is_empty(),
            records: Records::new(plan),
            drift: None,
            log: None,
            lost_told_ms: 0,
            outputs: Vec::new(),
            input: None,
            terminal: None,
            listener,
            signals,
            clients: Clients::default(),
            execs: Execs::default(),
            is_unread: false,
        }
    }

    /// Puts a run in the place of the one before.
    fn take_over(&mut self, started: Started) {
        let Started { status, init, image_is_shared, cgroup, drift, streams } = started;
        self.drift = drift;
        (self.status, self.init, self.cgroup) = (status, Some(init), cgroup);
        self.image_is_shared = image_is_shared;
        (self.outputs, self.input, self.terminal) = (streams.outputs, streams.input, streams.terminal);
    }

    /// Connects and tells the caller that started us; then does what could wait until after that.
    fn announce(&mut self, attachment: Option<Attachment>) {
        if let Some(attachment) = attachment {
            // The streams were found to be harmless when they arrived.
            drop(self.connect(OWNER, attachment));
        }
        // Before anyone hears that it runs, for then they look. A status that stays at "starting" is out of date,
        // and no reason to end a container.
        drop(self.seat.record(&self.status));
        // Told by the one who will tell of the end, so that it is told before that.
        self.records.event("start", &[]);
        let pid = self.status.init.map_or(0, |init| init.pid);
        let started_at_ns = self.status.started_at_ns.unwrap_or(0);
        self.clients.reply(OWNER, &Reply::Running { pid, started_at_ns }, &[]);
        trace::mark(WHO, "announced");
        self.oom = self.cgroup.as_ref().and_then(|cgroup| cgroup.oom_watch().ok().flatten());
    }

    /// Keeps, and offers to others, what the run that is on has made.
    fn hold(&mut self, plan: &MonitorPlan) {
        let Some(init) = &self.init else { return };
        let own_image = init.image().filter(|_| !self.image_is_shared);
        let offer = own_image.and_then(|image| share::offer(plan, image));
        self.held = Held { _mounts: hold_mounts(plan, init.pid()), _offer: offer };
    }
}

/// What lasts as long as a run and is of no use to it.
#[derive(Debug, Default)]
struct Held {
    _offer: Option<share::Offer>,
    _mounts: Option<OwnedFd>,
}

impl From<Error> for LaunchFailure {
    fn from(error: Error) -> LaunchFailure {
        let causes = requests::causes(&error);
        let separator = if causes.is_empty() { "" } else { ": " };
        LaunchFailure {
            step: "start".to_owned(),
            message: format!("{error}{separator}{causes}"),
            errno: None,
            exit_code: 128,
        }
    }
}

impl LaunchFailure {
    /// The exit of a container whose program never ran.
    fn exit(&self) -> Exit {
        Exit {
            code: self.exit_code,
            signal: None,
            oom_killed: false,
            started_at_ns: None,
            finished_at_ns: clock::now_ns(),
            lost: false,
            error: Some(self.message.clone()),
            asked: Asked::Nobody,
            restarts: 0,
            log_lines_lost: 0,
        }
    }
}
