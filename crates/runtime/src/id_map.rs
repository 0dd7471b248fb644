//! Id maps: writing a container's, and user namespaces made only to carry maps.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use linux::process::{Clone, Cloned, NEW_USER, clone, exit_now};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getegid, geteuid, waitid};
use rustix::thread::CapabilitySet;

use crate::error::failed;
use crate::link::{Link, Order};
use crate::plan::{IdMap, IdMaps};
use crate::{InitFailure, Step};

/// Writes the maps of `pid`'s user namespace.
///
/// A caller who may set ids, as root may also in a user namespace of less than all ids, writes them itself. Otherwise the kernel lets a process map its own id alone; for more,
/// `newuidmap` and `newgidmap` check `/etc/subuid` and `/etc/subgid` and write in its stead.
pub(crate) fn write(pid: Pid, maps: &IdMaps, privileged: bool) -> Result<(), InitFailure> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if privileged || may_set_ids() {
        write_file(pid, "gid_map", &lines(&maps.gid))?;
        return write_file(pid, "uid_map", &lines(&maps.uid));
    }
    if is_only(&maps.gid, gid) {
        write_file(pid, "setgroups", "deny")?;
        write_file(pid, "gid_map", &lines(&maps.gid))?;
    } else {
        ask_helper("newgidmap", pid, &maps.gid)?;
    }
    if is_only(&maps.uid, uid) {
        return write_file(pid, "uid_map", &lines(&maps.uid));
    }
    ask_helper("newuidmap", pid, &maps.uid)
}

fn may_set_ids() -> bool {
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(wanted))
}

fn is_only(maps: &[IdMap], own: u32) -> bool {
    matches!(maps, [map] if map.count == 1 && map.outside == own)
}

fn lines(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count)).collect()
}

fn write_file(pid: Pid, name: &str, text: &str) -> Result<(), InitFailure> {
    let path = format!("/proc/{}/{name}", pid.as_raw_pid());
    let write = || {
        let file = openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // The kernel takes a map in one write or not at all.
        rustix::io::write(file, text.as_bytes())
    };
    write()
        .map(drop)
        .map_err(|errno| InitFailure::new(Step::IdMap, name, errno, text.trim_end().replace('\n', ", ")))
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one helper program: only it may map subordinate ids without root"
)]
fn ask_helper(name: &str, pid: Pid, maps: &[IdMap]) -> Result<(), InitFailure> {
    let numbers =
        maps.iter().flat_map(|map| [map.inside, map.outside, map.count]).map(|number| number.to_string());
    let program = helper(name).ok_or_else(|| {
        InitFailure::because(Step::IdMap, name, "not found; install the uidmap package to run without root")
    })?;
    let output = Command::new(program)
        .arg(pid.as_raw_pid().to_string())
        .args(numbers)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| InitFailure::because(Step::IdMap, name, error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(InitFailure::because(Step::IdMap, name, format!("{said} (see /etc/subuid and /etc/subgid)")))
}

fn helper(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(name))
        .find(|path| path.exists())
}

/// Whether this host has the programs that map subordinate ids; without them, ids that are lent are of no use.
pub fn helpers_exist() -> bool {
    helper("newuidmap").is_some() && helper("newgidmap").is_some()
}

/// A user namespace with `maps` and no process in it, for id-mapped mounts.
pub(crate) fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, InitFailure> {
    let at = |errno| failed(Step::IdMap, "a user namespace for a mount")(errno);
    let (near, far) = Link::pair().map_err(at)?;
    match clone(Clone { namespaces: NEW_USER, ..Clone::default() }).map_err(at)? {
        Cloned::Child => {
            drop(near);
            // Until the other side lets go: that is all this process is for.
            drop(far.receive::<Order>());
            exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(far);
            let namespace = write(pid, maps, true).and_then(|()| open_namespace(pid, "user").map_err(at));
            drop(near);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            namespace
        }
    }
}

/// Opens a namespace of a process by its kind's name below `/proc/<pid>/ns`.
pub(crate) fn open_namespace(pid: Pid, kind: &str) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{}/ns/{kind}", pid.as_raw_pid());
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
