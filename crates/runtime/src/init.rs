//! Init's side of a start: from the first instruction after clone3 to the program.
//!
//! Order matters here more than anywhere; each step says what it needs. The dialogue is drawn in the crate's head.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{MountChange, change_mount};
use linux::process::{NEW_CGROUP, NEW_TIME, exit_now, set_namespaces, unshare_namespaces};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid, umask,
};

use crate::error::failed;
use crate::link::{Link, Order, Report};
use crate::mounts::{self, Made, devices};
use crate::plan::{MemoryPolicy, MountKind, Namespace, RootSource};
use crate::program::{self, Program, Streams};
use crate::root::{Layers, Owner, assemble};
use crate::trace::mark;
use crate::{
    InitFailure, LaunchPlan, Step, credentials, gate, hooks, launch, limits, namespaces, pivot, reaper,
    seccomp_listener, sysctl, terminal,
};

/// What init has from before the clone.
pub(crate) struct Inherited<'a> {
    pub(crate) plan: &'a LaunchPlan,
    pub(crate) link: &'a Link,
    pub(crate) joiner: Option<cgroup::Joiner>,
    /// Namespaces to enter, with their `CLONE_NEW*` bits, in order.
    pub(crate) joins: Vec<(OwnedFd, u64)>,
    pub(crate) streams: Option<[OwnedFd; 3]>,
    /// The caller is root on the host: it writes maps and opens what only it can.
    pub(crate) privileged: bool,
}

/// Runs init to its program; what comes back is why it did not get there.
pub(crate) fn run(inherited: &Inherited<'_>) -> InitFailure {
    let Err(failure) = start(inherited);
    failure
}

fn start(inherited: &Inherited<'_>) -> Result<std::convert::Infallible, InitFailure> {
    let Inherited { plan, link, .. } = inherited;
    mark("init", "cloned");
    let own_umask = umask(Mode::empty());
    enter_group(inherited)?;
    limits::raise_own_oom_score(plan.process.oom_score_adj)?;
    program::forget_caller(launch::kept(inherited), plan.process.preserve_fds)?;
    let groups = if plan.mounts.iter().any(|mount| mount.kind == MountKind::Cgroup) {
        mounts::cgroups::own_groups()?
    } else {
        Vec::new()
    };
    enter_namespaces(inherited)?;
    mark("init", "namespaces");
    prepare_world(plan)?;
    let mut made = make_mounts(inherited)?;
    mark("init", "mounts made");
    let Received { root, binds, dev, pid } = receive_mounts(inherited)?;
    mark("init", "root received");
    let filled = dev.is_some();
    if let (Some(at), Some(dev)) = (devices::filled_mount(plan, inherited.privileged), dev) {
        made[at] = Some(Made::new(dev, &plan.mounts[at]));
    }
    let gate = plan.start_gate.as_deref().map(gate::Held::open).transpose()?;
    let labels = hooks_and_labels(plan, pid)?;
    let root = root_mount(inherited, root)?;
    attach_mounts(inherited, &root, &made, binds, &groups)?;
    devices::make_all(root.as_fd(), plan, filled)?;
    sysctl::write_all(own_procfs(plan, &made), &plan.sysctls)?;
    mark("init", "mounts attached");
    let streams = open_streams(inherited, root.as_fd())?;
    mounts::seal(plan, &made)?;
    let places = mounts::hide::Places::new(root.as_fd(), plan, &made);
    mounts::hide::make_readonly(&places, &plan.readonly_paths)?;
    mounts::hide::mask(&places, &plan.masked_paths)?;
    drop(made);
    mark("init", "paths masked");
    hooks_before_pivot(plan, link, pid)?;
    pivot::enter(plan, &root)?;
    mark("init", "pivoted");
    umask(own_umask);
    inherited_settings(plan)?;
    let program = program::settle(&plan.process, root.as_fd(), &streams)?;
    mark("init", "settled");
    park(link, streams)?;
    if let Some(gate) = gate {
        link.send(&Report::AtGate, &[]).map_err(dialogue)?;
        gate.pass()?;
    }
    mark("init", "released");
    program::close_rest(plan.process.preserve_fds)?;
    hooks::run_inside("startContainer", &plan.hooks.start_container, &plan.hooks.state, "created", pid)?;
    if plan.ends_with_supervisor {
        tie(link)?;
    }
    finish(plan, &program, labels)
}

fn dialogue(errno: Errno) -> InitFailure {
    failed(Step::Dialogue, "the start")(errno)
}

/// The next order. A supervisor that is gone takes init along, without a word that nobody would hear.
pub(crate) fn order(link: &Link) -> Result<(Order, Vec<OwnedFd>), InitFailure> {
    match link.receive::<Order>().map_err(dialogue)? {
        Some(message) => Ok(message),
        None => exit_now(1),
    }
}

fn unexpected(order: &Order) -> InitFailure {
    InitFailure::because(Step::Dialogue, format!("{order:?}"), "it came out of turn")
}

/// First of all, while this process is nobody's but the supervisor's.
fn enter_group(inherited: &Inherited<'_>) -> Result<(), InitFailure> {
    let Some(joiner) = &inherited.joiner else { return Ok(()) };
    let path =
        || inherited.plan.cgroup.as_ref().map_or_else(String::new, |plan| plan.path.display().to_string());
    joiner.enter().map_err(|errno| failed(Step::Cgroup, path())(errno))
}

pub(crate) fn enter_namespaces(inherited: &Inherited<'_>) -> Result<(), InitFailure> {
    let Inherited { plan, link, joins, .. } = inherited;
    setsid().map_err(failed(Step::Clone, "a new session"))?;
    if plan.namespaces.user == Namespace::New {
        match order(link)? {
            (Order::Mapped, _) => become_root()?,
            (other, _) => return Err(unexpected(&other)),
        }
    }
    let joins_any =
        namespaces::KINDS.iter().any(|kind| matches!((kind.of)(&plan.namespaces), Namespace::Join(_)));
    if joins_any {
        // Whoever already lives there must not be able to look into this process (CVE-2016-9962).
        undumpable()?;
    }
    for (namespace, kind) in joins {
        set_namespaces(namespace.as_fd(), *kind).map_err(failed(Step::Join, namespace_name(*kind)))?;
    }
    if matches!(plan.namespaces.user, Namespace::Join(_)) {
        become_root()?;
    }
    if plan.namespaces.cgroup == Namespace::New {
        unshare_namespaces(NEW_CGROUP).map_err(failed(Step::Unshare, "cgroup"))?;
    }
    time_offsets(plan)?;
    if joins_any { undumpable() } else { Ok(()) }
}

pub(crate) fn undumpable() -> Result<(), InitFailure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed(Step::Join, "undumpable"))
}

fn namespace_name(kind: u64) -> String {
    namespaces::KINDS
        .iter()
        .find(|known| known.bit == kind)
        .map_or_else(|| format!("{kind:#x}"), |known| known.name.to_owned())
}

/// Id 0 of the user namespace: until now this process is nobody in it, though with all capabilities.
pub(crate) fn become_root() -> Result<(), InitFailure> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let at = |errno| InitFailure::new(Step::IdMap, "becoming root inside", errno, "is id 0 mapped?");
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).map_err(at)?;
    set_thread_res_uid(uid, uid, uid).map_err(at)?;
    match set_thread_groups(&[]) {
        // Denied where the maker of the namespace may map a single group.
        Err(Errno::PERM) => Ok(()),
        result => result.map_err(at),
    }
}

/// Clock offsets, which the kernel takes only until the first process enters: the namespace is made by
/// unshare, which does not enter it, then written to, then entered.
fn time_offsets(plan: &LaunchPlan) -> Result<(), InitFailure> {
    let Some(offsets) = plan.time_offsets.filter(|_| plan.namespaces.time == Namespace::New) else {
        return Ok(());
    };
    let at = |errno| failed(Step::TimeOffsets, "the time namespace")(errno);
    unshare_namespaces(NEW_TIME).map_err(at)?;
    // The change of user has made this process's files root's.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(at)?;
    let file = openat(CWD, "/proc/self/timens_offsets", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at)?;
    let (monotonic, boottime) = (offsets.monotonic, offsets.boottime);
    let text = format!("monotonic {} {}\nboottime {} {}\n", monotonic.0, monotonic.1, boottime.0, boottime.1);
    rustix::io::write(&file, text.as_bytes()).map_err(|errno| {
        InitFailure::new(Step::TimeOffsets, "the clocks", errno, text.trim_end().replace('\n', ", "))
    })?;
    let namespace =
        openat(CWD, "/proc/self/ns/time_for_children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(at)?;
    set_namespaces(namespace.as_fd(), NEW_TIME).map_err(at)
}

/// What needs namespaces and nothing else.
fn prepare_world(plan: &LaunchPlan) -> Result<(), InitFailure> {
    if let Some(hostname) = &plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).map_err(failed(Step::Hostname, hostname))?;
    }
    if let Some(domainname) = &plan.domainname {
        rustix::system::setdomainname(domainname.as_bytes()).map_err(failed(Step::Hostname, domainname))?;
    }
    if plan.loopback && plan.namespaces.network == Namespace::New {
        loopback().map_err(failed(Step::Loopback, "lo"))?;
    }
    if plan.new_session_keyring {
        keyring(plan)?;
    }
    // Nothing that is mounted from here on may reach the host; what the host mounts later may still come in.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
        .map_err(failed(Step::Mount, "propagation of /"))
}

fn loopback() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    linux::process::bring_interface_up(socket.as_fd(), "lo")
}

fn keyring(plan: &LaunchPlan) -> Result<(), InitFailure> {
    let name = std::ffi::CString::new(format!("_ses.{}", plan.id))
        .map_err(|_| failed(Step::Keyring, &plan.id)(Errno::INVAL))?;
    match linux::process::new_session_keyring(&name) {
        // A kernel without keys, or a filter around the whole runtime that hides them: there is nothing to protect.
        Err(Errno::NOSYS) => Ok(()),
        result => result.map_err(failed(Step::Keyring, &plan.id)),
    }
}

/// New file systems, while the supervisor opens the rest.
fn make_mounts(inherited: &Inherited<'_>) -> Result<Vec<Option<Made>>, InitFailure> {
    let plan = inherited.plan;
    let filled = devices::filled_mount(plan, inherited.privileged);
    let make = |(at, mount)| if Some(at) == filled { Ok(None) } else { mounts::make_new(mount, plan) };
    plan.mounts.iter().enumerate().map(make).collect()
}

/// What the supervisor opened.
pub(crate) struct Received {
    pub(crate) root: Option<OwnedFd>,
    pub(crate) binds: Option<Vec<OwnedFd>>,
    dev: Option<OwnedFd>,
    pid: i32,
}

pub(crate) fn receive_mounts(inherited: &Inherited<'_>) -> Result<Received, InitFailure> {
    let (first, _) = order(inherited.link)?;
    let Order::Mounts { root_and_binds, dev, count, pid } = first else { return Err(unexpected(&first)) };
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        match order(inherited.link)? {
            (Order::Descriptors, some) if !some.is_empty() => all.extend(some),
            (other, _) => return Err(unexpected(&other)),
        }
    }
    let dev = if dev { all.pop() } else { None };
    let binds = all.split_off(usize::from(root_and_binds).min(all.len()));
    Ok(Received { root: all.pop(), binds: root_and_binds.then_some(binds), dev, pid })
}

/// Opens what lies on the host and is needed after the root has changed.
fn hooks_and_labels(plan: &LaunchPlan, pid: i32) -> Result<Option<Label>, InitFailure> {
    seccomp_listener::connect(&plan.process, &plan.hooks.state, pid)?;
    Label::open(&plan.process)
}

/// What init mounts itself: for its own ids.
fn own_mounts(inherited: &Inherited<'_>) -> Owner<'static> {
    let in_user_namespace = inherited.plan.namespaces.user != Namespace::Inherit;
    Owner {
        user_namespace: None,
        ids: None,
        unprivileged: in_user_namespace || !inherited.privileged,
        nodev: true,
    }
}

/// Attaches the root over `/` of this mount namespace, where it stays out of sight of path lookups until the pivot.
pub(crate) fn root_mount(
    inherited: &Inherited<'_>,
    received: Option<OwnedFd>,
) -> Result<OwnedFd, InitFailure> {
    let plan = inherited.plan;
    let in_user_namespace = plan.namespaces.user != Namespace::Inherit;
    let owner = Owner {
        nodev: in_user_namespace && !matches!(plan.root.source, RootSource::Directory(_)),
        ..own_mounts(inherited)
    };
    let root = match received {
        Some(root) => root,
        None => assemble(&plan.root.source, None, owner)?.root,
    };
    let slash =
        openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed(Step::Root, "/"))?;
    mounts::attach_at(&root, &slash).map_err(failed(Step::Root, "over /"))?;
    Ok(root)
}

pub(crate) fn attach_mounts(
    inherited: &Inherited<'_>,
    root: &OwnedFd,
    made: &[Option<Made>],
    binds: Option<Vec<OwnedFd>>,
    groups: &[mounts::cgroups::Group],
) -> Result<(), InitFailure> {
    let plan = inherited.plan;
    let binds = open_binds(inherited, binds)?;
    // First of all: what others are about to mount inside is not the image's.
    for (mount, bind) in plan.mounts.iter().zip(&binds) {
        if let (MountKind::Volume { fill: true, .. }, Some(volume)) = (&mount.kind, bind) {
            mounts::copy_up::copy(root.as_fd(), &mount.target, volume.as_fd())?;
        }
    }
    for ((mount, made), bind) in plan.mounts.iter().zip(made).zip(binds) {
        match (&mount.kind, made) {
            (MountKind::New { copy_up, .. }, Some(made)) => {
                if *copy_up {
                    mounts::copy_up::copy(root.as_fd(), &mount.target, made.mount.as_fd())?;
                }
                mounts::attach(root.as_fd(), &made.mount, mount)?;
                if let Some(propagation) = mount.propagation {
                    set_propagation(&made.mount, propagation, &mount.target)?;
                }
            }
            (MountKind::Bind { .. } | MountKind::Volume { .. }, _) => {
                let bind = bind.ok_or_else(|| failed(Step::Mount, mount.target.display())(Errno::BADF))?;
                mounts::attach(root.as_fd(), &bind, mount)?;
            }
            (MountKind::Cgroup, _) => mounts::cgroups::mount(root.as_fd(), plan, mount, groups)?,
            (MountKind::Image { path, .. }, _) => {
                let whole = bind.ok_or_else(|| failed(Step::Mount, mount.target.display())(Errno::BADF))?;
                let part = mounts::part::of_image(mount, whole, path, root.as_fd())?;
                mounts::attach(root.as_fd(), &part, mount)?;
            }
            (MountKind::File { .. }, _) => {
                let file = mounts::part::file(mount, &plan.id_maps, root.as_fd())?;
                mounts::attach(root.as_fd(), &file, mount)?;
            }
            (MountKind::New { .. }, None) => {}
        }
    }
    Ok(())
}

/// What is bound, by mount: opened by the supervisor, or else now.
fn open_binds(
    inherited: &Inherited<'_>,
    received: Option<Vec<OwnedFd>>,
) -> Result<Vec<Option<OwnedFd>>, InitFailure> {
    let plan = inherited.plan;
    let Some(received) = received else {
        let owner = own_mounts(inherited);
        let open = |mount| match mounts::bind::make(mount, None)? {
            Some(bind) => Ok(Some(bind)),
            // What it was made from is let go of at once: here nobody keeps it.
            None => mounts::part::make(mount, owner, &mut Layers::default()),
        };
        return plan.mounts.iter().map(open).collect();
    };
    let mut received = received.into_iter();
    let is_bound = |kind: &MountKind| {
        matches!(kind, MountKind::Bind { .. } | MountKind::Volume { .. } | MountKind::Image { .. })
    };
    Ok(plan.mounts.iter().map(|mount| is_bound(&mount.kind).then(|| received.next()).flatten()).collect())
}

/// The container's own procfs, where it may be written to.
fn own_procfs<'a>(plan: &LaunchPlan, made: &'a [Option<Made>]) -> Option<&'a OwnedFd> {
    let is_proc = |kind: &MountKind| matches!(kind, MountKind::New { fstype, .. } if fstype == "proc");
    let mut all = plan.mounts.iter().zip(made);
    let found = all.find(|(mount, _)| is_proc(&mount.kind) && !mount.attributes.readonly);
    found.and_then(|(_, made)| made.as_ref()).map(|made| &made.mount)
}

pub(crate) fn set_propagation(
    mount: &OwnedFd,
    propagation: crate::plan::Propagation,
    target: &Path,
) -> Result<(), InitFailure> {
    let (propagation, recursive) = mounts::propagation_bits(propagation);
    change_mount(mount, MountChange { propagation, ..MountChange::default() }, recursive)
        .map_err(failed(Step::Mount, format!("propagation of {}", target.display())))
}

fn open_streams<'a>(inherited: &'a Inherited<'_>, root: BorrowedFd<'_>) -> Result<Streams<'a>, InitFailure> {
    let plan = inherited.plan;
    let Some(size) = plan.process.terminal else { return Ok(Streams::Given(inherited.streams.as_ref())) };
    let pair = terminal::allocate(root, size)?;
    devices::bind_console(root, &pair.terminal)?;
    Ok(Streams::Terminal(pair))
}

fn hooks_before_pivot(plan: &LaunchPlan, link: &Link, pid: i32) -> Result<(), InitFailure> {
    if !plan.hooks.prestart.is_empty() || !plan.hooks.create_runtime.is_empty() {
        link.send(&Report::HooksDue, &[]).map_err(dialogue)?;
        match order(link)? {
            (Order::HooksDone, _) => {}
            (other, _) => return Err(unexpected(&other)),
        }
    }
    hooks::run_inside("createContainer", &plan.hooks.create_container, &plan.hooks.state, "creating", pid)
}

/// What every process of the container takes over from the one that started it.
pub(crate) fn inherited_settings(plan: &LaunchPlan) -> Result<(), InitFailure> {
    if let Some(domain) = plan.personality {
        linux::process::set_personality(domain).map_err(failed(Step::Personality, format!("{domain:#x}")))?;
    }
    let Some(MemoryPolicy { mode, nodes }) = &plan.memory_policy else { return Ok(()) };
    linux::memory::set_policy(*mode, nodes).map_err(|errno| {
        let why = match errno {
            Errno::NOSYS => "this kernel knows one memory node only",
            Errno::INVAL => "the mode does not fit these nodes, or they are not all there",
            _ => "",
        };
        InitFailure::new(Step::MemoryPolicy, format!("mode {mode:#x}"), errno, why)
    })
}

/// Tells the supervisor that all is ready, and waits for its word.
fn park(link: &Link, streams: Streams<'_>) -> Result<(), InitFailure> {
    link.send(&Report::Parked, &streams.master()).map_err(dialogue)?;
    drop(streams);
    match order(link)? {
        (Order::Release, _) => Ok(()),
        (other, _) => Err(unexpected(&other)),
    }
}

/// Has the kernel kill this process when its supervisor dies. The user was changed before, which would undo it.
fn tie(link: &Link) -> Result<(), InitFailure> {
    let failed = |errno| failed(Step::Credentials, "the end with the supervisor")(errno);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // One that died before has closed its end, and nobody is told of that any more.
    let mut watched = [PollFd::new(link, PollFlags::empty())];
    match poll(&mut watched, Some(&Timespec::default())) {
        Ok(0) | Err(Errno::INTR) => Ok(()),
        Ok(_) => exit_now(1),
        Err(errno) => Err(failed(errno)),
    }
}

fn finish(
    plan: &LaunchPlan,
    program: &Program,
    label: Option<Label>,
) -> Result<std::convert::Infallible, InitFailure> {
    if let Some(label) = label {
        label.set()?;
    }
    limits::set_own_rlimits(&plan.process.rlimits)?;
    credentials::confine(&plan.process)?;
    if plan.process.reaper {
        reaper::split()?;
    }
    mark("init", "exec");
    Err(program.execute())
}

/// A security label to be set at exec: the kernel's file for it, opened while `/proc` is still the host's.
pub(crate) struct Label {
    file: OwnedFd,
    text: String,
}

impl Label {
    pub(crate) fn open(process: &crate::plan::ProcessPlan) -> Result<Option<Self>, InitFailure> {
        let (paths, text) = match (&process.apparmor_profile, &process.selinux_label) {
            (Some(profile), _) => (
                ["/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"],
                format!("exec {profile}"),
            ),
            (None, Some(label)) => (["/proc/thread-self/attr/exec"; 2], label.clone()),
            (None, None) => return Ok(None),
        };
        let at = failed(Step::Label, &text);
        let open = |path: &str| openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let file = open(paths[0]).or_else(|_| open(paths[1])).map_err(at)?;
        if rustix::fs::fstatfs(&file).map_err(failed(Step::Label, &text))?.f_type != sysctl::PROC_MAGIC {
            return Err(InitFailure::because(Step::Label, text, "/proc is not a procfs"));
        }
        Ok(Some(Self { file, text }))
    }

    pub(crate) fn set(&self) -> Result<(), InitFailure> {
        rustix::io::write(&self.file, self.text.as_bytes()).map(drop).map_err(failed(Step::Label, &self.text))
    }
}
