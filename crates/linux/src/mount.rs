//! What `rustix` lacks of the mount interface: mount_setattr(2), and a protected copy of a program.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::mount::{OpenTreeFlags, open_tree};

/// `MOUNT_ATTR_RDONLY`
pub const ATTR_RDONLY: u64 = 0x0000_0001;
/// `MOUNT_ATTR_NOSUID`
pub const ATTR_NOSUID: u64 = 0x0000_0002;
/// `MOUNT_ATTR_NODEV`
pub const ATTR_NODEV: u64 = 0x0000_0004;
/// `MOUNT_ATTR_NOEXEC`
pub const ATTR_NOEXEC: u64 = 0x0000_0008;
/// `MOUNT_ATTR__ATIME`: the bits of the three below, to be cleared when one of them is set.
pub const ATTR_ATIME: u64 = 0x0000_0070;
/// `MOUNT_ATTR_NOATIME`
pub const ATTR_NOATIME: u64 = 0x0000_0010;
/// `MOUNT_ATTR_STRICTATIME`
pub const ATTR_STRICTATIME: u64 = 0x0000_0020;
/// `MOUNT_ATTR_NODIRATIME`
pub const ATTR_NODIRATIME: u64 = 0x0000_0080;
/// `MOUNT_ATTR_IDMAP`
pub const ATTR_IDMAP: u64 = 0x0010_0000;
/// `MOUNT_ATTR_NOSYMFOLLOW`
pub const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// Changes to a mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountChange<'a> {
    /// `ATTR_*` bits to set.
    pub set: u64,
    /// `ATTR_*` bits to clear.
    pub clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
    /// With [`ATTR_IDMAP`]: the user namespace whose maps apply.
    pub user_namespace: Option<BorrowedFd<'a>>,
}

/// `struct mount_attr`, first version.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2) of the mount whose root `mount` is; `recursive` includes everything below.
pub fn change_mount(mount: impl AsFd, change: MountChange<'_>, recursive: bool) -> Result<()> {
    let attributes = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.user_namespace.map_or(0, |fd| u64::from(fd.as_raw_fd().unsigned_abs())),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is the empty string; `attributes` lives across the call and we pass its exact size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// This process's own program on a detached read-only mount, to be executed with
/// [`crate::process::execute_file`].
///
/// A container that gets hold of `/proc/<pid>/exe` of a process executed so can read the program but never write it:
/// the mount is read-only for everyone, also for root (CVE-2019-5736). Needs CAP_SYS_ADMIN; without it the
/// program belongs to someone whom the container cannot become.
pub fn protected_program(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let program = open_tree(rustix::fs::CWD, path, flags)?;
    change_mount(&program, MountChange { set: ATTR_RDONLY, ..MountChange::default() }, false)?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;
    use std::os::fd::AsRawFd;

    #[test]
    fn nobody_writes_to_a_protected_program() {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test clones a mount and needs root: run it as root"
        );
        let path = std::env::temp_dir().join(format!("skiff-test-{}-protected", std::process::id()));
        crate::file::write(&path, b"#!/bin/true\n").unwrap();
        let program = super::protected_program(&path).unwrap();
        let through =
            |flags| openat(CWD, format!("/proc/self/fd/{}", program.as_raw_fd()), flags, Mode::empty());
        assert!(through(OFlags::RDONLY).is_ok());
        assert_eq!(through(OFlags::WRONLY).unwrap_err(), Errno::ROFS);
        assert_eq!(
            rustix::fs::fchmod(through(OFlags::RDONLY).unwrap(), Mode::RWXO).unwrap_err(),
            Errno::ROFS
        );
        crate::file::remove(&path).unwrap();
    }
}
