//! A run is begun: control group, streams, init; then init is released.

use std::os::fd::{AsFd, OwnedFd};

use cgroup::{Cgroup, Hierarchy};
use linux::signal::SignalFd;
use runtime::{ParkedInit, Stdio, trace};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::drift::Drift;
use super::input::Input;
use super::outputs::Output;
use super::record::Records;
use super::seat::Seat;
use super::volumes::Filling;
use super::{WHO, hooks, memfds, requests, share};
use crate::clock;
use crate::error::{Error, Result};
use crate::exit::LaunchFailure;
use crate::life::{Intent, Phase};
use crate::log::Source;
use crate::plan::MonitorPlan;
use crate::status::{Process, Status};

/// Where a run is begun.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a MonitorPlan,
    pub(super) seat: &'a Seat,
    pub(super) signals: &'a SignalFd,
    /// What is known of the container already; taken from what was made ahead, where something was.
    pub(super) status: Status,
}

/// A container that has just started, without those who want something from it.
pub(super) struct Started {
    pub(super) status: Status,
    pub(super) init: runtime::Running,
    /// The mount of the image is another monitor's.
    pub(super) image_is_shared: bool,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) drift: Option<Drift>,
    pub(super) streams: Streams,
}

/// Our ends of the container's streams.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) outputs: Vec<Output>,
    pub(super) input: Option<Input>,
    pub(super) terminal: Option<OwnedFd>,
}

/// Makes everything that is not there yet and releases init; does what the caller has to do while init mounts. On
/// failure, dropping what there is by then gives it back.
pub(super) fn start<T>(
    stage: &Stage<'_>,
    ahead: Option<(Status, Option<Cgroup>, runtime::Ahead)>,
    filling: Option<Filling>,
    meanwhile: impl FnOnce() -> Result<T>,
) -> std::result::Result<(Started, T), LaunchFailure> {
    let begun = begin(stage, ahead, filling, meanwhile);
    if begun.is_err() {
        // Why it did not begin is what matters.
        drop(hooks::after_end(stage.plan));
    }
    begun
}

fn begin<T>(
    stage: &Stage<'_>,
    ahead: Option<(Status, Option<Cgroup>, runtime::Ahead)>,
    filling: Option<Filling>,
    meanwhile: impl FnOnce() -> Result<T>,
) -> std::result::Result<(Started, T), LaunchFailure> {
    let Stage { plan, seat, signals, .. } = *stage;
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
            let mut status = stage.status.clone();
            status.cgroup = plan.launch.cgroup.as_ref().map(|cgroup| cgroup.path.clone());
            if status.cgroup.is_some() {
                // Before it is made: whoever finds this, should we die, need not know where it was to be.
                seat.record(&status)?;
            }
            let cgroup = make_cgroup(plan)?;
            trace::mark(WHO, "control group");
            let parked = runtime::clone_init(&plan.launch, cgroup.as_ref(), stdio, image)
                .map_err(|error| LaunchFailure::from(&error))?;
            status.cgroup = cgroup.as_ref().map(|cgroup| cgroup.path().to_owned());
            status.init = Process::of(parked.pid().as_raw_nonzero().get());
            (status, cgroup, parked, false)
        }
    };
    trace::mark(WHO, "clone");

    // Init mounts meanwhile.
    let made = meanwhile()?;
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
    let pid = parked.pid().as_raw_nonzero().get();
    memfds::refuse(plan, pid)?;
    let mut drift = Drift::begin(plan, pid, parked.image())?;
    parked.begin_release().map_err(launch)?;
    match &mut drift {
        None => wait_for(&parked, signals)?,
        Some(drift) => wait_guarded(&parked, signals, drift, &Records::new(plan))?,
    }
    let init = parked.finish_release().map_err(launch)?;
    hooks::after_start(plan, init.pid())?;
    status.started_at_ns = Some(clock::now_ns());
    status.phase = Phase::Running { intent: Intent::Keep };
    trace::mark(WHO, "released");
    Ok((Started { status, init, image_is_shared, cgroup, drift, streams }, made))
}

/// Waits until init has something to say. It may take for ever (a bind mount of a server that is gone): the
/// monitor can be told to give up.
fn wait_for(parked: &ParkedInit, signals: &SignalFd) -> std::result::Result<(), LaunchFailure> {
    wait_guarded_by(parked, signals, None)
}

/// The same while init's own program is asked about.
fn wait_guarded(
    parked: &ParkedInit,
    signals: &SignalFd,
    drift: &mut Drift,
    records: &Records,
) -> std::result::Result<(), LaunchFailure> {
    wait_guarded_by(parked, signals, Some((drift, records)))
}

fn wait_guarded_by(
    parked: &ParkedInit,
    signals: &SignalFd,
    mut guard: Option<(&mut Drift, &Records)>,
) -> std::result::Result<(), LaunchFailure> {
    loop {
        let mut watched = vec![PollFd::new(parked, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        if let Some((drift, _)) = &guard {
            watched.push(PollFd::from_borrowed_fd(drift.as_fd(), PollFlags::IN));
        }
        let outcome = rustix::event::poll(&mut watched, None);
        let is_ready: Vec<bool> = watched.iter().map(|descriptor| !descriptor.revents().is_empty()).collect();
        if let (Some((drift, records)), [false, false, true]) = (&mut guard, &is_ready[..]) {
            drift.serve(records);
            continue;
        }
        match outcome {
            Ok(_) if !is_ready[0] => {
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

pub(super) fn set_nonblocking(descriptor: &OwnedFd) -> Result<()> {
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
