//! Mounts below the root.
//!
//! Each is made detached, by whoever may, and attached last, to a descriptor of its target:
//!
//! | what | made by | when |
//! |---|---|---|
//! | `proc`, `sysfs`, `tmpfs`, … | init | while the supervisor assembles the root |
//! | bind mounts | the supervisor where the container has a user namespace of its own and the caller is root, else init | meanwhile |
//! | control groups | init | when it is in its group and its cgroup namespace |
//!
//! So a path of the container is never mounted on by name, and a half-made mount is nowhere to be seen.

pub(crate) mod bind;
pub(crate) mod cgroups;
pub(crate) mod copy_up;
pub(crate) mod devices;
pub(crate) mod hide;
mod mapped;
pub(crate) mod part;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{
    ATTR_ATIME, ATTR_NOATIME, ATTR_NODEV, ATTR_NODIRATIME, ATTR_NOEXEC, ATTR_NOSUID, ATTR_NOSYMFOLLOW,
    ATTR_RDONLY, ATTR_STRICTATIME, MountChange, change_mount,
};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::below::{Links, Make, find_or_make};
use crate::error::failed;
use crate::plan::{
    AccessTime, IdMaps, Mount, MountAttributes, MountKind, Namespace, Namespaces, Propagation,
};
use crate::{InitFailure, LaunchPlan, Step};

/// `MS_SLAVE`: takes mounts from its peers and gives them none.
pub(crate) const SLAVE: u64 = 1 << 19;

/// A mount that is ready to be attached.
pub(crate) struct Made {
    pub(crate) mount: OwnedFd,
    /// A tmpfs stays writable until everything below it is in place.
    pub(crate) readonly_later: bool,
}

impl Made {
    /// `mount` made as the plan's `wanted` says, but for its flags.
    pub(crate) fn new(mount: OwnedFd, wanted: &Mount) -> Self {
        Self { mount, readonly_later: wanted.attributes.readonly }
    }
}

/// Makes a new instance of a file system, detached.
pub(crate) fn make_new(mount: &Mount, plan: &LaunchPlan) -> Result<Option<Made>, InitFailure> {
    let MountKind::New { fstype, source, options, .. } = &mount.kind else { return Ok(None) };
    let at = || format!("{fstype} for {}", mount.target.display());
    let attributes = attribute_bits(&mount.attributes);
    let readonly_later = mount.attributes.readonly && fstype == "tmpfs";
    let attributes = if readonly_later { attributes & !ATTR_RDONLY } else { attributes };
    let (option, errno) = match new_instance(fstype, source, options, &plan.id_maps, attributes) {
        Ok(mount) => return Ok(Some(Made { mount, readonly_later })),
        Err(failure) => failure,
    };
    match shared_instance(fstype, &plan.namespaces) {
        Some(source) if errno == Errno::PERM => {
            let clone = bind::clone_tree(source, true).map_err(|errno| failed(Step::Mount, at())(errno))?;
            change_mount(&clone, MountChange { set: attributes, ..MountChange::default() }, true)
                .map_err(|errno| failed(Step::Mount, at())(errno))?;
            Ok(Some(Made { mount: clone, readonly_later: false }))
        }
        _ => Err(InitFailure::new(Step::Mount, at(), errno, option)),
    }
}

/// The host's instance of a file system that shows a namespace. A user namespace may mount it only for a namespace that it
/// owns: where the container shares the host's, it is shown what the host has.
fn shared_instance(fstype: &str, namespaces: &Namespaces) -> Option<&'static Path> {
    let (shown, path) = match fstype {
        "proc" => (&namespaces.pid, "/proc"),
        "sysfs" => (&namespaces.network, "/sys"),
        "mqueue" => (&namespaces.ipc, "/dev/mqueue"),
        _ => return None,
    };
    (namespaces.user != Namespace::Inherit && *shown == Namespace::Inherit).then_some(Path::new(path))
}

/// The detached mount, or the option at fault.
pub(crate) fn new_instance(
    fstype: &str,
    source: &str,
    options: &[String],
    id_maps: &IdMaps,
    attributes: u64,
) -> Result<OwnedFd, (String, Errno)> {
    let plain = |errno| (String::new(), errno);
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain)?;
    if !source.is_empty() {
        fsconfig_set_string(&context, "source", source).map_err(plain)?;
    }
    for option in options {
        if is_unmapped_group(option, id_maps) {
            continue;
        }
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value),
            None => fsconfig_set_flag(&context, option.as_str()),
        }
        .map_err(|errno| (format!("option {option}"), errno))?;
    }
    fsconfig_create(&context).map_err(plain)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, mount_attr_flags(attributes)).map_err(plain)
}

/// The group of terminals (`gid=5`) in a user namespace that does not have it: the option is left out, as the
/// kernel refuses an id that means nobody.
fn is_unmapped_group(option: &str, id_maps: &IdMaps) -> bool {
    let Some(gid) = option.strip_prefix("gid=").and_then(|gid| gid.parse::<u32>().ok()) else { return false };
    !id_maps.gid.is_empty()
        && !id_maps.gid.iter().any(|map| gid >= map.inside && gid - map.inside < map.count)
}

fn mount_attr_flags(bits: u64) -> MountAttrFlags {
    MountAttrFlags::from_bits_retain(u32::try_from(bits).unwrap_or(0))
}

/// The `MOUNT_ATTR_*` bits of the plan's flags.
pub(crate) fn attribute_bits(attributes: &MountAttributes) -> u64 {
    let flags = [
        (attributes.readonly, ATTR_RDONLY),
        (attributes.nosuid, ATTR_NOSUID),
        (attributes.nodev, ATTR_NODEV),
        (attributes.noexec, ATTR_NOEXEC),
        (attributes.nosymfollow, ATTR_NOSYMFOLLOW),
        (attributes.nodiratime, ATTR_NODIRATIME),
    ];
    let access_time = match attributes.access_time {
        AccessTime::Relative => 0,
        AccessTime::Never => ATTR_NOATIME,
        AccessTime::Strict => ATTR_STRICTATIME,
    };
    flags.iter().filter(|(on, _)| *on).fold(access_time, |bits, (_, bit)| bits | bit)
}

/// Sets a bind mount's flags, the `r` forms, and its propagation.
pub(crate) fn apply_attributes(mount: impl AsFd, wanted: &Mount) -> Result<(), Errno> {
    let attributes = &wanted.attributes;
    let mut set = attribute_bits(attributes);
    let mut clear = 0;
    if attributes.access_time != AccessTime::Relative {
        clear |= ATTR_ATIME;
    }
    if let Some((kind, false)) = wanted.propagation.map(propagation_bits) {
        change_mount(
            mount.as_fd(),
            MountChange { set, clear, propagation: kind, ..MountChange::default() },
            false,
        )?;
        set = 0;
        clear = 0;
    }
    if set | clear != 0 {
        change_mount(mount.as_fd(), MountChange { set, clear, ..MountChange::default() }, false)?;
    }
    let recursive_kind =
        wanted.propagation.map(propagation_bits).filter(|(_, all)| *all).map_or(0, |(kind, _)| kind);
    let (set, clear) = (attributes.recursive_set, attributes.recursive_clear);
    if set | clear | recursive_kind == 0 {
        return Ok(());
    }
    change_mount(
        mount.as_fd(),
        MountChange { set, clear, propagation: recursive_kind, ..MountChange::default() },
        true,
    )
}

/// The `MS_*` bit, and whether everything below is meant too.
pub(crate) fn propagation_bits(propagation: Propagation) -> (u64, bool) {
    const UNBINDABLE: u64 = 1 << 17;
    const PRIVATE: u64 = 1 << 18;
    const SHARED: u64 = 1 << 20;
    match propagation {
        Propagation::Private => (PRIVATE, false),
        Propagation::RecursivePrivate => (PRIVATE, true),
        Propagation::Slave => (SLAVE, false),
        Propagation::RecursiveSlave => (SLAVE, true),
        Propagation::Shared => (SHARED, false),
        Propagation::RecursiveShared => (SHARED, true),
        Propagation::Unbindable => (UNBINDABLE, false),
        Propagation::RecursiveUnbindable => (UNBINDABLE, true),
    }
}

/// Attaches `made` at its target below `root`, which is made when missing.
pub(crate) fn attach(root: BorrowedFd<'_>, made: &OwnedFd, mount: &Mount) -> Result<(), InitFailure> {
    let target = target(root, made.as_fd(), mount)?;
    attach_at(made, &target).map_err(|errno| {
        let at = mount.target.display();
        let is_directory = |file: BorrowedFd<'_>| {
            fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        };
        if is_directory(made.as_fd()) == is_directory(target.as_fd()) {
            return failed(Step::Mount, at)(errno);
        }
        let hint = "Are you trying to mount a directory onto a file (or vice-versa)?";
        InitFailure::new(Step::MountOnto, at, Errno::NOTDIR, hint)
    })
}

/// Attaches a detached mount on the file that `target` stands for.
pub(crate) fn attach_at(made: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(made.as_fd(), "", target.as_fd(), "", flags)
}

/// A descriptor of the mount's target.
///
/// What the kernel's own file systems are mounted on must be a plain directory of the image's: a link at
/// `/proc`, `/sys` or `/dev` would send everything that is later meant for them elsewhere (CVE-2019-19921).
fn target(root: BorrowedFd<'_>, made: BorrowedFd<'_>, mount: &Mount) -> Result<OwnedFd, InitFailure> {
    let at = mount.target.display();
    let kind = FileType::from_raw_mode(fstat(made).map_err(failed(Step::Mount, &at))?.st_mode);
    let make = if kind == FileType::Directory { Make::Directory } else { Make::File };
    let links = if is_kernels_own(mount) { Links::Refuse } else { Links::Follow };
    find_or_make(root, &mount.target, make, links).map_err(|errno| {
        let why = if errno == Errno::LOOP && links == Links::Refuse {
            "the root file system has a symbolic link there"
        } else {
            ""
        };
        InitFailure::new(Step::MountPoint, at, errno, why)
    })
}

fn is_kernels_own(mount: &Mount) -> bool {
    match &mount.kind {
        MountKind::Cgroup => true,
        MountKind::New { fstype, .. } => {
            matches!(fstype.as_str(), "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2")
                || mount.target.starts_with("/dev")
        }
        MountKind::Bind { .. }
        | MountKind::Volume { .. }
        | MountKind::Image { .. }
        | MountKind::File { .. } => mount.target == Path::new("/dev"),
    }
}

/// Makes each read-only tmpfs so, now that all is in place.
pub(crate) fn seal(plan: &LaunchPlan, made: &[Option<Made>]) -> Result<(), InitFailure> {
    for (mount, made) in plan.mounts.iter().zip(made) {
        if let Some(Made { mount: tmpfs, readonly_later: true }) = made {
            let change = MountChange { set: ATTR_RDONLY, ..MountChange::default() };
            change_mount(tmpfs, change, false).map_err(failed(Step::ReadOnly, mount.target.display()))?;
        }
    }
    Ok(())
}
