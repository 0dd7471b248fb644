//! The supervisor's side of a start; drawn in the crate's head.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux::process::{NEW_CGROUP, NEW_PID, NEW_TIME, NEW_USER};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};
use rustix::thread::{CapabilitySet, capabilities};

use crate::entry::{Entry, enter};
use crate::error::failed;
use crate::handle::ParkedInit;
use crate::init::{self, Inherited};
use crate::link::{Link, Order};
use crate::plan::{Namespace, ProcessPlan};
use crate::root::{Assembled, Layers, Owner, assemble};
use crate::trace::mark;
use crate::{Error, InitFailure, LaunchPlan, Result, Step, gate, id_map, mounts, namespaces, program};

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

/// Clones the first process of `plan`'s container, in new namespaces and in `cgroup`.
///
/// Returns as soon as the supervisor's own work is done, while init still mounts: attach the network to
/// [`ParkedInit::pid`] meanwhile. `image` is a mount of the plan's EROFS index that another container has shared, by
/// [`Running::image`]; without one, the index is mounted anew. The caller must be single-threaded.
pub fn clone_init(
    plan: &LaunchPlan,
    cgroup: Option<&cgroup::Cgroup>,
    stdio: Stdio,
    image: Option<OwnedFd>,
) -> Result<ParkedInit> {
    check(plan)?;
    let privileged = is_privileged_for(&plan.namespaces, is_directory(plan));
    let joins = namespaces::open_joined(&plan.namespaces)?;
    let joiner = cgroup.map(joiner).transpose()?;
    let streams = prepare_streams(plan, stdio, privileged)?;
    if let Some(gate) = &plan.start_gate {
        gate::open_to_all(gate)?;
    }
    let (link, far) = Link::pair().map_err(failed(Step::Dialogue, "the start"))?;

    // A joined user namespace must own what is new, and a pid namespace is only for children.
    let joins_user = matches!(plan.namespaces.user, Namespace::Join(_));
    let (first, joins): (Vec<_>, Vec<_>) =
        joins.into_iter().partition(|(_, kind)| *kind == NEW_PID || (joins_user && *kind == NEW_USER));
    // The cgroup namespace must be made inside the group; a time namespace with offsets before entering it.
    let mut new = namespaces::new_bits(&plan.namespaces) & !NEW_CGROUP;
    if plan.time_offsets.is_some() {
        new &= !NEW_TIME;
    }
    let entry = Entry {
        new,
        cgroup: cgroup.and_then(cgroup::Cgroup::clone_target),
        first: first.iter().map(|(namespace, kind)| (namespace.as_fd(), *kind)).collect(),
        visits: privileged,
    };
    mark("supervisor", "clone");
    let child = enter(&entry, &link, far, |link| {
        // Init closes what it has no more use for by number; nothing of it may be closed a second time.
        init::run(&ManuallyDrop::new(Inherited { plan, link, joiner, joins, streams, privileged }))
    })?;
    mark("supervisor", "cloned");

    let parked = ParkedInit::new(child, link, plan.hooks.clone(), &plan.process);
    complete(plan, parked, privileged, image)
}

/// The rest of a start, once init has its plan.
pub(crate) fn complete(
    plan: &LaunchPlan,
    mut parked: ParkedInit,
    privileged: bool,
    image: Option<OwnedFd>,
) -> Result<ParkedInit> {
    let layers = serve(plan, &parked, privileged, image).map_err(|error| parked.reason(error))?;
    parked.keep(layers);
    mark("supervisor", "served");
    Ok(parked)
}

/// What the kernel would refuse late or not at all.
pub(crate) fn check(plan: &LaunchPlan) -> Result<()> {
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

/// The same for a container. Root of a user namespace that is not the host's maps no ids of mounts: a container with ids of its own is put
/// together there as without root, but for bundles, whose files are where whoever made them wants them.
pub(crate) fn is_privileged_for(namespaces: &crate::plan::Namespaces, is_bundle: bool) -> bool {
    let is_hosts = is_bundle || namespaces.user == Namespace::Inherit;
    is_privileged() && (is_hosts || linux::process::in_initial_user_namespace())
}

pub(crate) fn joiner(cgroup: &cgroup::Cgroup) -> Result<cgroup::Joiner> {
    cgroup.joiner().map_err(|error| cgroup_failure(cgroup, &error).into())
}

pub(crate) fn cgroup_failure(cgroup: &cgroup::Cgroup, error: &cgroup::Error) -> InitFailure {
    InitFailure::because(Step::Cgroup, cgroup.path().display(), error.to_string())
}

/// The streams of the first process, as they are passed to it.
pub(crate) fn prepare_streams(
    plan: &LaunchPlan,
    stdio: Stdio,
    privileged: bool,
) -> Result<Option<[OwnedFd; 3]>> {
    let streams = open_streams(&plan.process, stdio)?;
    if let (true, Namespace::New, Some(streams)) = (privileged, &plan.namespaces.user, &streams) {
        give_to_root_inside(streams, plan);
    }
    Ok(streams)
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

/// Does for init what only the supervisor can, as early as it can.
fn serve(plan: &LaunchPlan, parked: &ParkedInit, privileged: bool, image: Option<OwnedFd>) -> Result<Layers> {
    let pid = parked.pid();
    let talk = |errno| failed(Step::Dialogue, "the start")(errno);
    let new_user = plan.namespaces.user == Namespace::New;
    if new_user {
        id_map::write(pid, &plan.id_maps, privileged)?;
        parked.link().send(&Order::Mapped, &[]).map_err(talk)?;
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
    let assembled = if privileged { Some(assemble(&plan.root.source, image, owner)?) } else { None };
    let (root, layers) = assembled.map(|Assembled { root, layers }| (root, layers)).unzip();
    let mut layers: Layers = layers.unwrap_or_default();
    mark("supervisor", "root assembled");
    let mut binds = Vec::new();
    if privileged {
        // What a mount shows of an image has no device nodes that work, whatever the root is.
        let guest = Owner { nodev: true, ..owner };
        for mount in &plan.mounts {
            binds.extend(mounts::bind::make(mount, owner.user_namespace)?);
            binds.extend(mounts::part::make(mount, guest, &mut layers)?);
        }
    }
    let filled = mounts::devices::filled_mount(plan, privileged);
    let dev = filled.map(|at| mounts::devices::make_filled(plan, &plan.mounts[at])).transpose()?.flatten();
    let all: Vec<BorrowedFd<'_>> = root.iter().chain(&binds).chain(&dev).map(AsFd::as_fd).collect();
    let order = Order::Mounts {
        root_and_binds: privileged,
        dev: dev.is_some(),
        count: all.len(),
        pid: pid.as_raw_pid(),
    };
    parked.link().send(&order, &[]).map_err(talk)?;
    parked.link().send_all(&Order::Descriptors, &all).map_err(talk)?;
    Ok(layers)
}

fn is_directory(plan: &LaunchPlan) -> bool {
    matches!(plan.root.source, crate::plan::RootSource::Directory(_))
}

/// Everything that init still needs of what it inherited, once it is in its control group.
pub(crate) fn kept<'a>(inherited: &'a Inherited<'_>) -> Vec<BorrowedFd<'a>> {
    let mut kept = vec![inherited.link.as_fd()];
    kept.extend(inherited.joins.iter().map(|(namespace, _)| namespace.as_fd()));
    kept.extend(inherited.streams.iter().flatten().map(AsFd::as_fd));
    debug_assert!(kept.iter().all(|fd| fd.as_raw_fd() > 2), "streams lie above 2");
    kept
}
