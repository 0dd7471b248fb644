//! Kernel parameters, through a procfs of our own.
//!
//! The descriptor comes from fsmount(2), so whatever the container shows at `/proc` cannot redirect the write
//! (CVE-2025-52881); it must be a procfs and the path must stay in it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::failed;
use crate::{InitFailure, Step};

pub(crate) const PROC_MAGIC: i64 = 0x9fa0;

/// Writes each of `sysctls`; `procfs` is a writable procfs mount, or one is made for the occasion.
pub(crate) fn write_all(procfs: Option<&OwnedFd>, sysctls: &[(String, String)]) -> Result<(), InitFailure> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let own;
    let procfs = match procfs {
        Some(procfs) => procfs,
        None => {
            own = own_procfs().map_err(failed(Step::Sysctl, "through /proc"))?;
            &own
        }
    };
    if fstatfs(procfs).map_err(failed(Step::Sysctl, "/proc"))?.f_type != PROC_MAGIC {
        return Err(InitFailure::because(Step::Sysctl, "/proc", "it is not a procfs"));
    }
    sysctls.iter().try_for_each(|(name, value)| {
        write(procfs, &path(name), value).map_err(|errno| {
            let why = if errno == Errno::NOENT { "the kernel has no such parameter here" } else { "" };
            InitFailure::new(Step::Sysctl, format!("{name}={value}"), errno, why)
        })
    })
}

fn own_procfs() -> Result<OwnedFd, Errno> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    match fsconfig_create(&context) {
        Ok(()) => fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()),
        // In a user namespace that shares the host's pid namespace. The root has not changed yet, so this is the
        // host's, and the parameters are those of whoever looks, the container's.
        Err(Errno::PERM) => {
            openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        }
        Err(errno) => Err(errno),
    }
}

fn write(procfs: &OwnedFd, path: &str, value: &str) -> Result<(), Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = openat2(procfs, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    rustix::io::write(file, value.as_bytes()).map(drop)
}

/// `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` are the same: whichever of the two separators
/// comes first separates, the other stands for itself.
fn path(name: &str) -> String {
    let slashes = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if slashes { name.to_owned() } else { name.chars().map(swap).collect() };
    format!("sys/{path}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_separator_of_a_name_decides() {
        for (name, path) in [
            ("kernel.msgmax", "sys/kernel/msgmax"),
            ("net/ipv4/ip_forward", "sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/1.forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net/ipv4/conf/eth0.1/forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
        ] {
            assert_eq!(super::path(name), path);
        }
    }
}
