//! The mounts of init: what it makes itself, what the supervisor opens for it, and how both come together below the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::mount::{MountChange, change_mount};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Inherited, order, unexpected};
use crate::error::failed;
use crate::link::Order;
use crate::mounts::{self, Made, devices};
use crate::plan::{MountKind, Namespace, Propagation, RootSource};
use crate::root::{Layers, Owner, assemble};
use crate::{InitFailure, LaunchPlan, Step};

/// New file systems, while the supervisor opens the rest.
pub(super) fn make_mounts(inherited: &Inherited<'_>) -> Result<Vec<Option<Made>>, InitFailure> {
    let plan = inherited.plan;
    let filled = devices::filled_mount(plan, inherited.privileged);
    let make = |(at, mount)| if Some(at) == filled { Ok(None) } else { mounts::make_new(mount, plan) };
    plan.mounts.iter().enumerate().map(make).collect()
}

/// What the supervisor opened.
pub(crate) struct Received {
    pub(crate) root: Option<OwnedFd>,
    pub(crate) binds: Option<Vec<OwnedFd>>,
    pub(super) dev: Option<OwnedFd>,
    pub(super) pid: i32,
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
pub(super) fn own_procfs<'a>(plan: &LaunchPlan, made: &'a [Option<Made>]) -> Option<&'a OwnedFd> {
    let is_proc = |kind: &MountKind| matches!(kind, MountKind::New { fstype, .. } if fstype == "proc");
    let mut all = plan.mounts.iter().zip(made);
    let found = all.find(|(mount, _)| is_proc(&mount.kind) && !mount.attributes.readonly);
    found.and_then(|(_, made)| made.as_ref()).map(|made| &made.mount)
}

pub(crate) fn set_propagation(
    mount: &OwnedFd,
    propagation: Propagation,
    target: &Path,
) -> Result<(), InitFailure> {
    let (propagation, recursive) = mounts::propagation_bits(propagation);
    change_mount(mount, MountChange { propagation, ..MountChange::default() }, recursive)
        .map_err(failed(Step::Mount, format!("propagation of {}", target.display())))
}
