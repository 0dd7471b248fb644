//! Device nodes and links in the container's `/dev`.
//!
//! Everything is made relative to a descriptor of the directory, and never through a link of the image's
//! (crun CVE-2026-47766). In a user namespace the kernel forbids making nodes: there the supervisor, if it is root on the
//! host, makes the tmpfs for `/dev` with the nodes in it, owned by the ids inside; else the host's own nodes are bound.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::ATTR_RDONLY;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, makedev, mknodat, openat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::umask;

use super::bind::clone_tree;
use super::{attach_at, attribute_bits, new_instance};
use crate::below::{Links, Make, find_or_make, split};
use crate::error::failed;
use crate::plan::{DEFAULT_DEVICES, Device, DeviceKind, IdMap, IdMaps, Mount, MountKind, Namespace};
use crate::root::FileOwner;
use crate::{InitFailure, LaunchPlan, Step};

/// Links that every container has.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Fills `/dev`, unless it is bound from the host; the nodes are there already when the supervisor `filled` it.
pub(crate) fn make_all(root: BorrowedFd<'_>, plan: &LaunchPlan, filled: bool) -> Result<(), InitFailure> {
    let bind = plan.namespaces.user != Namespace::Inherit;
    for device in all(plan) {
        if !(filled && device.path.starts_with("/dev")) {
            make(root, &device, bind)?;
        }
    }
    if is_bound(plan) { Ok(()) } else { make_links(root) }
}

fn is_bound(plan: &LaunchPlan) -> bool {
    plan.mounts
        .iter()
        .any(|mount| mount.target == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. }))
}

/// Those that every container has, and those of the plan.
fn all(plan: &LaunchPlan) -> Vec<Device> {
    let missing = |path: &str| !plan.devices.iter().any(|device| device.path == Path::new(path));
    let defaults =
        DEFAULT_DEVICES.iter().filter(|(path, ..)| !is_bound(plan) && missing(path)).map(default_device);
    defaults.chain(plan.devices.iter().cloned()).collect()
}

/// Which of the plan's mounts the supervisor makes with the devices in it.
pub(crate) fn filled_mount(plan: &LaunchPlan, privileged: bool) -> Option<usize> {
    let new_user = plan.namespaces.user == Namespace::New;
    let at = plan.mounts.iter().rposition(|mount| mount.target == Path::new("/dev"))?;
    let plain =
        matches!(&plan.mounts[at].kind, MountKind::New { fstype, copy_up: false, .. } if fstype == "tmpfs");
    (privileged && new_user && plain && !is_bound(plan)).then_some(at)
}

/// Makes that mount: a tmpfs of the host's, whose nodes work, with everything in it owned by the ids inside.
pub(crate) fn make_filled(plan: &LaunchPlan, mount: &Mount) -> Result<Option<OwnedFd>, InitFailure> {
    let MountKind::New { fstype, source, options, .. } = &mount.kind else { return Ok(None) };
    let (Some(uid), Some(gid)) = (outside(&plan.id_maps.uid, 0), outside(&plan.id_maps.gid, 0)) else {
        return Err(InitFailure::because(Step::Device, "/dev", "id 0 is not mapped"));
    };
    let mut options = options.clone();
    options.extend([format!("uid={uid}"), format!("gid={gid}")]);
    let bits = attribute_bits(&mount.attributes) & !ATTR_RDONLY;
    let tmpfs = new_instance(fstype, source, &options, &IdMaps::default(), bits)
        .map_err(|(option, errno)| InitFailure::new(Step::Mount, "tmpfs for /dev", errno, option))?;
    // Folders on the way too: they are root's inside, and open to all.
    let owner = FileOwner::become_owner(uid, gid)?;
    let own_umask = umask(Mode::empty());
    let made = fill(&tmpfs, plan, (uid, gid));
    umask(own_umask);
    drop(owner);
    made.map(|()| Some(tmpfs))
}

fn fill(tmpfs: &OwnedFd, plan: &LaunchPlan, (uid, gid): (u32, u32)) -> Result<(), InitFailure> {
    for mut device in all(plan).into_iter().filter(|device| device.path.starts_with("/dev")) {
        device.uid = outside(&plan.id_maps.uid, device.uid).unwrap_or(uid);
        device.gid = outside(&plan.id_maps.gid, device.gid).unwrap_or(gid);
        device.path = Path::new("/").join(device.path.strip_prefix("/dev").unwrap_or(&device.path));
        make(tmpfs.as_fd(), &device, false)?;
    }
    Ok(())
}

/// An id of the container's as the host numbers it.
fn outside(maps: &[IdMap], id: u32) -> Option<u32> {
    let map = maps.iter().find(|map| id >= map.inside && id - map.inside < map.count)?;
    map.outside.checked_add(id - map.inside)
}

fn default_device(&(path, major, minor): &(&str, u32, u32)) -> Device {
    Device {
        path: PathBuf::from(path),
        kind: DeviceKind::Char,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        source: PathBuf::from(path),
    }
}

fn make(root: BorrowedFd<'_>, device: &Device, bind: bool) -> Result<(), InitFailure> {
    let at = || failed(Step::Device, device.path.display());
    let (folder, name) = split(&device.path).ok_or_else(|| at()(Errno::INVAL))?;
    let links = if folder.starts_with("/dev") { Links::Refuse } else { Links::Follow };
    let folder = find_or_make(root, folder, Make::Directory, links).map_err(|errno| at()(errno))?;
    if bind && device.kind != DeviceKind::Fifo {
        return bind_node(&folder, name, device).map_err(|errno| at()(errno));
    }
    make_node(&folder, name, device).map_err(|errno| at()(errno))
}

fn make_node(folder: &OwnedFd, name: &Path, device: &Device) -> Result<(), Errno> {
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let number = if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) };
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match mknodat(folder, name, kind, mode, number) {
        // The image brought a node of its own: replaced, so that it is what the plan says.
        Err(Errno::EXIST) => {
            unlinkat(folder, name, AtFlags::empty())?;
            mknodat(folder, name, kind, mode, number)?;
        }
        result => result?,
    }
    // Nobody else is in here yet, so the name still means what was just made.
    if device.uid != 0 || device.gid != 0 {
        let owner = (Some(Uid::from_raw(device.uid)), Some(Gid::from_raw(device.gid)));
        chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(folder, name, mode, AtFlags::empty())?;
    }
    Ok(())
}

fn bind_node(folder: &OwnedFd, name: &Path, device: &Device) -> Result<(), Errno> {
    let clone = clone_tree(&device.source, false)?;
    let stat = fstat(&clone)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let wanted =
        if device.kind == DeviceKind::Char { FileType::CharacterDevice } else { FileType::BlockDevice };
    if kind != wanted || stat.st_rdev != makedev(device.major, device.minor) {
        return Err(Errno::NODEV);
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let target = match openat(folder, name, flags | OFlags::EXCL, Mode::from_raw_mode(0o666)) {
        Err(Errno::EXIST) => {
            openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?
        }
        result => result?,
    };
    attach_at(&clone, target.as_fd())
}

fn make_links(root: BorrowedFd<'_>) -> Result<(), InitFailure> {
    let at = |name: &str| failed(Step::Device, format!("/dev/{name}"));
    let folder = find_or_make(root, Path::new("/dev"), Make::Directory, Links::Refuse).map_err(at(""))?;
    let core = rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok();
    let core = core.then_some(("/proc/kcore", "core"));
    for (target, name) in LINKS.into_iter().chain(core) {
        match symlinkat(target, &folder, name) {
            Err(Errno::EXIST) if name == "ptmx" => {
                // A ptmx node of the image's would open the terminals of another devpts.
                unlinkat(&folder, name, AtFlags::empty()).map_err(at(name))?;
                symlinkat(target, &folder, name).map_err(at(name))?;
            }
            Err(Errno::EXIST) => {}
            result => result.map_err(at(name))?,
        }
    }
    Ok(())
}

/// Binds the terminal's own end, by its descriptor, onto `/dev/console` (CVE-2025-52565).
pub(crate) fn bind_console(root: BorrowedFd<'_>, terminal: &OwnedFd) -> Result<(), InitFailure> {
    let at = || failed(Step::Terminal, "/dev/console");
    let folder =
        find_or_make(root, Path::new("/dev"), Make::Directory, Links::Refuse).map_err(|e| at()(e))?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match openat(&folder, "console", flags, Mode::from_raw_mode(0o620)) {
        Err(Errno::EXIST) => {
            openat(&folder, "console", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }
        result => result,
    }
    .map_err(|e| at()(e))?;
    let tree = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE
        | rustix::mount::OpenTreeFlags::OPEN_TREE_CLOEXEC
        | rustix::mount::OpenTreeFlags::AT_EMPTY_PATH;
    let clone = rustix::mount::open_tree(terminal, "", tree).map_err(|e| at()(e))?;
    attach_at(&clone, &target).map_err(|e| at()(e))
}
