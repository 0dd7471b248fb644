//! The namespaces of init, and what is set in them that needs no file system: ids, clocks, names, keys.

use std::os::fd::AsFd;

use linux::process::{NEW_CGROUP, NEW_TIME, set_namespaces, unshare_namespaces};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{DumpableBehavior, set_dumpable_behavior, setsid};

use super::{Inherited, order, unexpected};
use crate::error::failed;
use crate::link::Order;
use crate::plan::{MemoryPolicy, Namespace};
use crate::{InitFailure, LaunchPlan, Step, namespaces};

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
pub(super) fn prepare_world(plan: &LaunchPlan) -> Result<(), InitFailure> {
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
