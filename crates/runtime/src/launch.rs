//! The supervisor's side of a start; drawn in the crate's head.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux::process::{
    Clone, Cloned, NEW_CGROUP, NEW_PID, NEW_TIME, NEW_USER, clone, exit_now, set_namespaces,
};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::failed;
use crate::init::{self, Inherited};
use crate::link::{Link, Order, Report};
use crate::plan::{HookState, Hooks, Namespace, ProcessPlan, Rlimit};
use crate::root::{Owner, assemble};
use crate::trace::mark;
use crate::{Error, InitFailure, LaunchPlan, Result, Step, gate, hooks, id_map, mounts, namespaces, program};

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
    /// Nobody is left to kill or reap.
    done: bool,
}

/// What is set from outside just before the program runs, when it can no longer hinder init itself.
#[derive(Debug)]
pub(crate) struct Limits {
    rlimits: Vec<Rlimit>,
    oom_score_adj: Option<i32>,
}

/// Clones the first process of `plan`'s container, in new namespaces and in `cgroup`.
///
/// Returns as soon as the supervisor's own work is done, while init still mounts: attach the network to
/// [`ParkedInit::pid`] meanwhile. The caller must be single-threaded.
pub fn clone_init(plan: &LaunchPlan, cgroup: Option<&cgroup::Cgroup>, stdio: Stdio) -> Result<ParkedInit> {
    check(plan)?;
    let privileged = is_privileged();
    let new_user = plan.namespaces.user == Namespace::New;
    let joins = namespaces::open_joined(&plan.namespaces)?;
    let joiner = cgroup.map(joiner).transpose()?;
    let streams = open_streams(&plan.process, stdio)?;
    if let (true, true, Some(streams)) = (privileged, new_user, &streams) {
        give_to_root_inside(streams, plan);
    }
    if let Some(gate) = &plan.start_gate {
        gate::open_to_all(gate)?;
    }
    let (link, far) = Link::pair().map_err(failed(Step::Dialogue, "the start"))?;

    // The cgroup namespace must be made inside the group; a time namespace with offsets before entering it.
    let mut bits = namespaces::new_bits(&plan.namespaces) & !NEW_CGROUP;
    if plan.time_offsets.is_some() {
        bits &= !NEW_TIME;
    }
    mark("supervisor", "clone");
    let inherited = Inherited { plan, link: far, joiner, joins, streams, privileged };
    let entry = Entry { bits, cgroup: cgroup.and_then(cgroup::Cgroup::clone_target), privileged };
    let child = clone_into(entry, inherited, &link)?;
    mark("supervisor", "cloned");

    let parked = ParkedInit {
        child,
        link,
        hooks: plan.hooks.clone(),
        limits: Limits::of(&plan.process),
        parked: false,
        terminal: None,
    };
    serve(plan, &parked, privileged).map_err(|error| parked.reason(error))?;
    mark("supervisor", "served");
    Ok(parked)
}

/// What the kernel would refuse late or not at all.
fn check(plan: &LaunchPlan) -> Result<()> {
    let refuse = |what: &str, why| Err(Error::Unsupported { what: what.to_owned(), why });
    if plan.namespaces.mount != Namespace::New {
        return refuse("a container without a mount namespace of its own", "its mounts would be the host's");
    }
    let own = |namespace: &Namespace| *namespace != Namespace::Inherit;
    if !own(&plan.namespaces.uts) && (plan.hostname.is_some() || plan.domainname.is_some()) {
        return refuse("a host name", "without a uts namespace it would be the host's");
    }
    if plan.time_offsets.is_some() && plan.namespaces.time != Namespace::New {
        return refuse("a clock offset", "it needs a new time namespace");
    }
    if plan.namespaces.user == Namespace::New && (plan.id_maps.uid.is_empty() || plan.id_maps.gid.is_empty())
    {
        return refuse("a user namespace without id maps", "nobody could run in it");
    }
    if plan.process.reaper && plan.namespaces.pid != Namespace::New {
        return refuse("an init that reaps", "it needs a new pid namespace");
    }
    Ok(())
}

/// Whether this process may do what only root on the host may.
pub(crate) fn is_privileged() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

pub(crate) fn joiner(cgroup: &cgroup::Cgroup) -> Result<cgroup::Joiner> {
    cgroup.joiner().map_err(|error| {
        InitFailure::because(Step::Cgroup, cgroup.path().display(), error.to_string()).into()
    })
}

/// The streams of a process without a terminal, above descriptor 2.
pub(crate) fn open_streams(process: &ProcessPlan, stdio: Stdio) -> Result<Option<[OwnedFd; 3]>> {
    let at = |errno| failed(Step::Descriptors, "standard streams")(errno);
    if process.terminal.is_some() {
        return Ok(None);
    }
    let streams = match stdio {
        Stdio::Inherit => return Ok(None),
        Stdio::Null => {
            let null = || openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
            [null().map_err(at)?, null().map_err(at)?, null().map_err(at)?]
        }
        Stdio::Given { stdin, stdout, stderr } => [stdin, stdout, stderr],
    };
    let [stdin, stdout, stderr] = streams.map(program::above_stdio);
    Ok(Some([stdin.map_err(at)?, stdout.map_err(at)?, stderr.map_err(at)?]))
}

/// Id 0 of the container's user namespace as the host numbers it: user and group.
fn root_outside(plan: &LaunchPlan) -> Option<(u32, u32)> {
    let outside =
        |maps: &[crate::plan::IdMap]| maps.iter().find(|map| map.inside == 0).map(|map| map.outside);
    Some((outside(&plan.id_maps.uid)?, outside(&plan.id_maps.gid)?))
}

/// Pipes become root's inside, which then gives them to the process's user.
fn give_to_root_inside(streams: &[OwnedFd; 3], plan: &LaunchPlan) {
    let outside =
        |maps: &[crate::plan::IdMap]| maps.iter().find(|map| map.inside == 0).map(|map| map.outside);
    let (Some(uid), Some(gid)) = (outside(&plan.id_maps.uid), outside(&plan.id_maps.gid)) else { return };
    for stream in streams {
        if fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
            // A pipe that cannot be given away works all the same, but cannot be opened anew at /dev/stdout.
            let _ = fchown(stream, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        }
    }
}

/// How a process enters its container's namespaces while it is cloned.
#[derive(Clone, Copy)]
struct Entry<'a> {
    bits: u64,
    cgroup: Option<BorrowedFd<'a>>,
    privileged: bool,
}

/// Clones init by the shortest way that the joined namespaces allow:
///
/// - a joined user namespace must own the new ones, and without root on the host it alone gives the right to join
///   a pid namespace: a short-lived process joins both and clones init as its sibling;
/// - a joined pid namespace is only for children: the caller joins it for the time of the clone;
/// - else init is cloned at once and joins what there is to join by itself.
fn clone_into(entry: Entry<'_>, mut inherited: Inherited<'_>, link: &Link) -> Result<Running> {
    let how = Clone { namespaces: entry.bits, cgroup: entry.cgroup, sibling: false };
    let joins = |bit| inherited.joins.iter().any(|(_, kind)| *kind == bit);
    if joins(NEW_USER) || (joins(NEW_PID) && !entry.privileged) {
        return clone_by_intermediate(how, inherited, link);
    }
    let pid_join =
        inherited.joins.iter().position(|(_, kind)| *kind == NEW_PID).map(|at| inherited.joins.remove(at));
    let _guard = pid_join.map(|(namespace, _)| PidNamespace::visit(namespace.as_fd())).transpose()?;
    match clone(how).map_err(failed(Step::Clone, "init"))? {
        Cloned::Child => init::run(inherited),
        Cloned::Parent { pid, pidfd } => Ok(Running { pid, pidfd, done: false }),
    }
}

/// The caller's children are born in another pid namespace until this is dropped.
pub(crate) struct PidNamespace {
    own: OwnedFd,
}

impl PidNamespace {
    pub(crate) fn visit(other: BorrowedFd<'_>) -> Result<Self, InitFailure> {
        let at = |errno| failed(Step::Join, "pid")(errno);
        let own =
            openat(CWD, "/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
        set_namespaces(other, NEW_PID).map_err(at)?;
        Ok(Self { own })
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        // Going back to one's own namespace cannot be refused to someone who could leave it.
        let _ = set_namespaces(self.own.as_fd(), NEW_PID);
    }
}

fn clone_by_intermediate(how: Clone<'_>, mut inherited: Inherited<'_>, link: &Link) -> Result<Running> {
    let at = |errno| failed(Step::Clone, "init, by way of a joined namespace")(errno);
    match clone(Clone { cgroup: how.cgroup, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            let (first, rest): (Vec<_>, Vec<_>) =
                inherited.joins.drain(..).partition(|(_, kind)| [NEW_USER, NEW_PID].contains(kind));
            inherited.joins = rest;
            let joined = init::enter_first(&first);
            let cloned = joined.and_then(|()| {
                clone(Clone { cgroup: None, sibling: true, ..how }).map_err(failed(Step::Clone, "init"))
            });
            let sent = match cloned {
                Ok(Cloned::Child) => init::run(inherited),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    inherited.link.send(&Report::Cloned { pid: pid.as_raw_pid() }, &[pidfd.as_fd()])
                }
                Err(failure) => inherited.link.send(&Report::Failed(failure), &[]),
            };
            exit_now(u8::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            // This copy of init's end must go, or its death would not be seen.
            drop(inherited);
            let answer = link.receive::<Report>().map_err(at);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            match answer? {
                Some((Report::Cloned { pid }, mut descriptors)) if descriptors.len() == 1 => {
                    let pid = Pid::from_raw(pid).ok_or_else(|| at(Errno::SRCH))?;
                    Ok(Running { pid, pidfd: descriptors.remove(0), done: false })
                }
                Some((Report::Failed(failure), _)) => Err(failure.into()),
                _ => Err(Error::Vanished),
            }
        }
    }
}

/// Does for init what only the supervisor can, as early as it can.
fn serve(plan: &LaunchPlan, parked: &ParkedInit, privileged: bool) -> Result<()> {
    let pid = parked.child.pid;
    let talk = |errno| failed(Step::Dialogue, "the start")(errno);
    let new_user = plan.namespaces.user == Namespace::New;
    if new_user {
        id_map::write(pid, &plan.id_maps, privileged)?;
        parked.link.send(&Order::Mapped, &[]).map_err(talk)?;
        mark("supervisor", "ids mapped");
    }
    let user_namespace = match &plan.namespaces.user {
        Namespace::Inherit => None,
        _ if !privileged => None,
        Namespace::New => {
            Some(id_map::open_namespace(pid, "user").map_err(failed(Step::IdMap, "the user namespace"))?)
        }
        Namespace::Join(path) => Some(
            openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(failed(Step::Join, path.display()))?,
        ),
    };
    let owner = Owner {
        user_namespace: user_namespace.as_ref().map(AsFd::as_fd),
        ids: user_namespace.as_ref().and_then(|_| root_outside(plan)),
        unprivileged: false,
        nodev: plan.namespaces.user != Namespace::Inherit && !is_directory(plan),
    };
    // Only root on the host may id-map, and only it can reach folders that are closed to the container's root. Where
    // init is root on the host as well, two cores are still faster than one.
    let root = if privileged { Some(assemble(&plan.root.source, owner)?) } else { None };
    mark("supervisor", "root assembled");
    let mut binds = Vec::new();
    if privileged {
        for mount in &plan.mounts {
            binds.extend(mounts::bind::make(mount, owner.user_namespace)?);
        }
    }
    let all: Vec<BorrowedFd<'_>> = root.iter().chain(&binds).map(AsFd::as_fd).collect();
    let order =
        Order::Mounts { root: root.is_some(), binds: privileged, count: all.len(), pid: pid.as_raw_pid() };
    parked.link.send(&order, &[]).map_err(talk)?;
    parked.link.send_all(&Order::Descriptors, &all).map_err(talk)?;
    Ok(())
}

fn is_directory(plan: &LaunchPlan) -> bool {
    matches!(plan.root.source, crate::plan::RootSource::Directory(_))
}

impl Limits {
    pub(crate) fn of(process: &ProcessPlan) -> Self {
        Self { rlimits: process.rlimits.clone(), oom_score_adj: process.oom_score_adj }
    }

    pub(crate) fn apply(&self, pid: Pid) -> Result<(), InitFailure> {
        for limit in &self.rlimits {
            linux::process::set_rlimit(Some(pid), limit.resource, limit.soft, limit.hard).map_err(
                |errno| {
                    let why =
                        if errno == Errno::PERM { "raising a hard limit needs CAP_SYS_RESOURCE" } else { "" };
                    let subject = format!("{} to {}:{}", rlimit_name(limit.resource), limit.soft, limit.hard);
                    InitFailure::new(Step::Rlimit, subject, errno, why)
                },
            )?;
        }
        let Some(wanted) = self.oom_score_adj else { return Ok(()) };
        let at = |errno| {
            let why = if errno == Errno::ACCESS { "lowering it needs CAP_SYS_RESOURCE" } else { "" };
            InitFailure::new(Step::OomScore, wanted, errno, why)
        };
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        let file = openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
        let mut current = [0; 16];
        let length = rustix::io::read(&file, &mut current).map_err(at)?;
        let wanted = wanted.to_string();
        if current[..length].trim_ascii() == wanted.as_bytes() {
            return Ok(());
        }
        rustix::io::write(&file, wanted.as_bytes()).map(drop).map_err(at)
    }
}

fn rlimit_name(resource: u32) -> String {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let name = usize::try_from(resource).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| resource.to_string(), |name| format!("RLIMIT_{name}"))
}

impl ParkedInit {
    pub(crate) fn new(child: Running, link: Link, limits: Limits) -> Self {
        Self { child, link, hooks: Hooks::default(), limits, parked: false, terminal: None }
    }

    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Becomes readable when init ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Waits until init stands at the gate: everything but its program's start has succeeded. Runs the `prestart` and
    /// `createRuntime` hooks on the way.
    pub fn wait_parked(&mut self) -> Result<()> {
        while !self.parked {
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
        }
        Ok(())
    }

    /// The master of the container's terminal, once; waits until init is parked.
    pub fn terminal(&mut self) -> Result<Option<OwnedFd>> {
        self.wait_parked()?;
        Ok(self.terminal.take())
    }

    /// Lets init execute its program; returns once it does, or once it stands at the plan's `start_gate`.
    pub fn release(mut self) -> Result<Running> {
        self.wait_parked()?;
        self.limits.apply(self.child.pid)?;
        self.send(&Order::Release)?;
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
    fn reason(&self, error: Error) -> Error {
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

impl Running {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, done: false }
    }

    /// Process id in the caller's pid namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
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

/// Everything that init still needs of what it inherited, once it is in its control group.
pub(crate) fn kept<'a>(inherited: &'a Inherited<'_>) -> Vec<BorrowedFd<'a>> {
    let mut kept = vec![inherited.link.as_fd()];
    kept.extend(inherited.joins.iter().map(|(namespace, _)| namespace.as_fd()));
    kept.extend(inherited.streams.iter().flatten().map(AsFd::as_fd));
    debug_assert!(kept.iter().all(|fd| fd.as_raw_fd() > 2), "streams lie above 2");
    kept
}
