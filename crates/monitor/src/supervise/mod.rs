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
//! The plan may also come as late as after the clone: see `ahead`.

mod ahead;
mod clients;
mod container;
mod execs;
mod finish;
mod input;
mod outputs;
mod record;
pub(crate) mod requests;
pub(crate) mod seat;
mod share;
mod volumes;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cgroup::{Cgroup, Hierarchy};
use linux::signal::{self, SignalFd};
use runtime::plan::{Mount, MountKind, Namespace};
use runtime::{ParkedInit, Stdio, trace};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use state::Asked;

use crate::clock;
use crate::error::{Error, Result};
use crate::exit::{Exit, LaunchFailure};
use crate::lent;
use crate::life::{Intent, Phase};
use crate::log::{Log, Source};
use crate::lost;
use crate::packet;
use crate::plan::MonitorPlan;
use crate::protocol::{Reply, Request};
use crate::status::{Process, Status};
use ahead::Ahead;
use clients::{Clients, OWNER};
use container::Container;
use execs::Execs;
use input::Input;
use outputs::Output;
use record::Records;
use requests::{Attachment, Given};
use seat::Seat;
use volumes::Filling;

/// Who writes a mark into the trace.
const WHO: &str = "monitor";

/// Does what the caller that started us asks for in `control`: supervises a container until it has ended and its end is
/// recorded, or works on files of lent ids.
///
/// `control` is our end of the socket pair that the caller made. The process must have no other thread.
pub fn serve(control: OwnedFd) -> Result<()> {
    let signals = arrange_signals()?;
    match receive_request(&control, &signals)? {
        (Request::Work, order) => lent::work(&control, &order),
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
    clients.add(control);
    let mut plan: MonitorPlan = packet::unseal(plan_file.as_fd())?;
    enable_trace(plan.trace.as_deref());
    trace::mark(WHO, "plan");
    let ground = match Ground::prepare(&plan, ahead) {
        Ok(ground) => ground,
        Err(error) => {
            clients.reply(OWNER, &requests::failed(error), &[]);
            return Ok(());
        }
    };
    let Ground { seat, ahead } = ground;
    let filling = volumes::prepare(&mut plan).map_err(LaunchFailure::from);
    match filling.and_then(|filling| start(&plan, &seat, ahead, filling, &signals)) {
        Ok(started) => {
            let records = Records::new(&plan);
            let _mounts = hold_mounts(&plan, started.init.pid());
            let shares = !started.image_is_shared;
            let mut container = started.into_container(&plan, seat, plan_file, records, clients, signals);
            container.announce(attachment);
            let own_image = container.init.image().filter(|_| shares);
            let _offer = own_image.and_then(|image| share::offer(&plan, image));
            // Nothing is kept for an idle container that it does not need.
            drop(plan);
            // The caller has gone on.
            drop(container.records.database().map(state::State::tidy));
            linux::memory::trim();
            let trouble = container.serve().err();
            finish::finish(container, trouble)
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
    fn prepare(plan: &MonitorPlan, ahead: Option<Ahead>) -> Result<Ground> {
        if let Some(ahead) = ahead {
            if ahead.fits(plan) {
                let Ahead { init, cgroup, seat, status, .. } = ahead;
                return Ok(Ground { seat, ahead: Some((status, cgroup, init)) });
            }
            ahead.give_up();
        }
        let seat = Seat::occupy(&plan.run_dir)?;
        if let Some(before) = seat.leftover()? {
            lost::kill_remains(before.init, before.cgroup.as_deref())?;
        }
        trace::mark(WHO, "run directory");
        Ok(Ground { seat, ahead: None })
    }
}

/// Keeps the mount namespace of a container that removes itself until this monitor ends.
///
/// The kernel tells of a process's end only after it has taken down what the process was the last to use, and
/// taking down a mount namespace waits for a grace period: 1.5 ms that the caller need not wait for. Where the caller's
/// own files are mounted it does: their file system must be free once the end is told.
fn hold_mounts(plan: &MonitorPlan, init: Pid) -> Option<OwnedFd> {
    let is_ours = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => source.starts_with(&plan.run_dir),
        MountKind::New { .. } | MountKind::Volume { .. } | MountKind::Cgroup => true,
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

/// A request and its descriptors.
type Message = (Request, Vec<OwnedFd>);

/// What the caller that started us sends: maybe what can be made ahead of the plan, then the plan.
fn receive_launch(
    (first, descriptors): Message,
    control: &OwnedFd,
    signals: &SignalFd,
) -> (Option<Ahead>, Result<Launch>) {
    let Request::Prepare(plan) = first else { return (None, read_launch(first, descriptors)) };
    enable_trace(plan.trace.as_deref());
    let ahead = Ahead::make(*plan);
    let launch = receive_request(control, signals);
    (ahead, launch.and_then(|(request, descriptors)| read_launch(request, descriptors)))
}

/// The plan's memfd, and the streams to connect at the start.
type Launch = (OwnedFd, Option<Attachment>);

fn read_launch(request: Request, mut descriptors: Vec<OwnedFd>) -> Result<Launch> {
    let Request::Launch { attach } = request else {
        return Err(Error::Protocol { reason: "the first message is no plan" });
    };
    if descriptors.is_empty() {
        return Err(Error::Protocol { reason: "the first message has no plan" });
    }
    let plan = descriptors.remove(0);
    let given = Given::new(attach.unwrap_or_default(), descriptors)?;
    let attachment = attach.map(|_| Attachment::new(OWNER, given)).transpose()?;
    Ok((plan, attachment))
}

/// A message of the caller's, who may still be writing it; without it there is nothing to do.
fn receive_request(control: &OwnedFd, signals: &SignalFd) -> Result<Message> {
    loop {
        let mut watched = [PollFd::new(control, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) if watched[0].revents().is_empty() => return Err(Error::Gone),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::System { attempt: "wait for a plan", errno }),
        }
    }
    packet::receive(control.as_fd(), RecvFlags::DONTWAIT)?.map_err(|_| Error::Gone)
}

/// A trace that cannot be written costs a measurement.
fn enable_trace(path: Option<&Path>) {
    let Some(path) = path else { return };
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        trace::enable(file);
    }
}

/// A container that has just started, without those who want something from it.
struct Started {
    status: Status,
    init: runtime::Running,
    /// The mount of the image is another monitor's.
    image_is_shared: bool,
    cgroup: Option<Cgroup>,
    log: Option<Log>,
    streams: Streams,
    listener: OwnedFd,
}

/// Our ends of the container's streams.
#[derive(Default)]
struct Streams {
    outputs: Vec<Output>,
    input: Option<Input>,
    terminal: Option<OwnedFd>,
}

/// Makes everything that is not there yet and releases init. On failure, dropping what there is by then gives it back.
fn start(
    plan: &MonitorPlan,
    seat: &Seat,
    ahead: Option<(Status, Option<Cgroup>, runtime::Ahead)>,
    filling: Option<Filling>,
    signals: &SignalFd,
) -> std::result::Result<Started, LaunchFailure> {
    let image = share::find(plan);
    let image_is_shared = image.is_some();
    let (stdio, mut streams) = make_streams(plan)?;
    let (mut status, cgroup, mut parked, is_recorded) = match ahead {
        Some((status, cgroup, init)) => {
            let parked =
                init.launch(&plan.launch, stdio, image).map_err(|error| LaunchFailure::from(&error))?;
            (status, cgroup, parked, true)
        }
        None => {
            let cgroup = make_cgroup(plan)?;
            trace::mark(WHO, "control group");
            let parked = runtime::clone_init(&plan.launch, cgroup.as_ref(), stdio, image)
                .map_err(|error| LaunchFailure::from(&error))?;
            let mut status = Status::starting(cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()));
            status.init = Process::of(parked.pid().as_raw_nonzero().get());
            (status, cgroup, parked, false)
        }
    };
    trace::mark(WHO, "clone");

    // Init mounts meanwhile.
    let log = plan.log.clone().map(Log::open);
    let listener = seat.listen()?;
    if !is_recorded {
        // Before release: whoever finds this, should we die, can still find and kill init.
        seat.record(&status)?;
    }
    trace::mark(WHO, "status");
    let launch = |error: runtime::Error| LaunchFailure::from(&error);
    loop {
        wait_for(&parked, signals)?;
        if parked.advance().map_err(launch)? {
            break;
        }
    }
    if let Some(terminal) = parked.terminal().map_err(launch)? {
        streams.use_terminal(terminal, plan.open_stdin)?;
    }
    trace::mark(WHO, "parked");
    filling.map_or(Ok(()), Filling::finish)?;
    parked.begin_release().map_err(launch)?;
    wait_for(&parked, signals)?;
    let init = parked.finish_release().map_err(launch)?;
    status.started_at_ns = Some(clock::now_ns());
    status.phase = Phase::Running { intent: Intent::Keep };
    trace::mark(WHO, "released");
    Ok(Started { status, init, image_is_shared, cgroup, log, streams, listener })
}

/// Waits until init has something to say. It may take for ever (a bind mount of a server that is gone): the
/// monitor can be told to give up.
fn wait_for(parked: &ParkedInit, signals: &SignalFd) -> std::result::Result<(), LaunchFailure> {
    loop {
        let mut watched = [PollFd::new(parked, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) if watched[0].revents().is_empty() => {
                return Err(Error::Remote {
                    attempt: "start the container".to_owned(),
                    message: "its monitor was asked to end".to_owned(),
                }
                .into());
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::System { attempt: "wait for init", errno }.into()),
        }
    }
}

/// The control group; none where the plan wants none, or where nothing is delegated to this user and nothing is
/// to be limited. Rules for devices are no limit there: whoever is not root can make no device anyway.
fn make_cgroup(plan: &MonitorPlan) -> Result<Option<Cgroup>> {
    let Some(wanted) = &plan.launch.cgroup else { return Ok(None) };
    let made = Hierarchy::detect().and_then(|hierarchy| Cgroup::create(&hierarchy, wanted));
    match made {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(error) if error.is_not_delegated() && !is_limited(&wanted.limits) => Ok(None),
        Err(source) => Err(Error::Cgroup { attempt: "make the control group", source }),
    }
}

fn is_limited(limits: &cgroup::Limits) -> bool {
    *limits != cgroup::Limits { devices: limits.devices.clone(), ..cgroup::Limits::default() }
}

fn make_streams(plan: &MonitorPlan) -> Result<(Stdio, Streams)> {
    if plan.launch.process.terminal.is_some() {
        return Ok((Stdio::Null, Streams::default()));
    }
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"));
    let (stdin, input) = if plan.open_stdin {
        let (theirs, ours) = pipe()?;
        set_nonblocking(&ours)?;
        (theirs, Some(Input::new(ours, plan.stdin_once)))
    } else {
        (requests::open_null()?, None)
    };
    let mut outputs = Vec::with_capacity(2);
    let mut output = |source| {
        let (ours, theirs) = pipe()?;
        set_nonblocking(&ours)?;
        outputs.push(Output::new(source, ours));
        Ok::<_, Error>(theirs)
    };
    let (stdout, stderr) = (output(Source::Stdout)?, output(Source::Stderr)?);
    Ok((Stdio::Given { stdin, stdout, stderr }, Streams { outputs, input, terminal: None }))
}

fn set_nonblocking(descriptor: &OwnedFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(descriptor).map_err(Error::system("examine a stream"))?;
    rustix::fs::fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)
        .map_err(Error::system("make a stream non-blocking"))
}

impl Streams {
    fn use_terminal(&mut self, master: OwnedFd, open_stdin: bool) -> Result<()> {
        set_nonblocking(&master)?;
        let duplicate =
            || rustix::io::fcntl_dupfd_cloexec(&master, 3).map_err(Error::system("duplicate a terminal"));
        self.outputs.push(Output::new(Source::Stdout, duplicate()?));
        if open_stdin {
            self.input = Some(Input::new(duplicate()?, false));
        }
        self.terminal = Some(master);
        Ok(())
    }
}

impl Started {
    fn into_container(
        self,
        plan: &MonitorPlan,
        seat: Seat,
        plan_file: OwnedFd,
        records: Records,
        clients: Clients,
        signals: SignalFd,
    ) -> Container {
        Container {
            seat,
            status: self.status,
            init: self.init,
            cgroup: self.cgroup,
            oom: None,
            stop: plan.stop,
            auto_remove: plan.auto_remove,
            dies_with_init: plan.launch.namespaces.pid == Namespace::New,
            plan: plan_file,
            records,
            log: self.log,
            outputs: self.streams.outputs,
            input: self.streams.input,
            terminal: self.streams.terminal,
            listener: self.listener,
            signals,
            clients,
            execs: Execs::default(),
            is_unread: false,
        }
    }
}

impl Container {
    /// Connects and tells the caller that started us; then does what could wait until after that.
    fn announce(&mut self, attachment: Option<Attachment>) {
        if let Some(attachment) = attachment {
            // The streams were found to be harmless when they arrived.
            drop(self.connect(OWNER, attachment));
        }
        // Before anyone hears that it runs, for then they look. A status that stays at "starting" is out of date,
        // and no reason to end a container.
        drop(self.seat.record(&self.status));
        let pid = self.init.pid().as_raw_nonzero().get();
        let started_at_ns = self.status.started_at_ns.unwrap_or(0);
        self.clients.reply(OWNER, &Reply::Running { pid, started_at_ns }, &[]);
        trace::mark(WHO, "announced");
        self.oom = self.cgroup.as_ref().and_then(|cgroup| cgroup.oom_watch().ok().flatten());
    }
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
        }
    }
}
