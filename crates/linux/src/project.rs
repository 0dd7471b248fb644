//! Project quotas: a limit on what lies in a directory, where its file system keeps count.
//!
//! Every inode has a project id; a directory with `FS_XFLAG_PROJINHERIT` hands its own on. The file system counts blocks
//! for each id and refuses what goes beyond the id's limit: ext4 with `project` and `prjquota`, xfs with `prjquota`.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// `FS_IOC_FSGETXATTR`, `FS_IOC_FSSETXATTR`
const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820;
const XFLAG_PROJINHERIT: u32 = 0x200;
/// `QCMD(Q_GETQUOTA, PRJQUOTA)`, `QCMD(Q_SETQUOTA, PRJQUOTA)`
const GET_QUOTA: u32 = 0x8000_0702;
const SET_QUOTA: u32 = 0x8000_0802;
/// `QIF_BLIMITS`: only the limits of blocks are set.
const VALID_BLOCK_LIMITS: u32 = 1;
/// Unit of the limits, in bytes.
const UNIT: u64 = 1024;

/// `struct fsxattr`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Quota {
    block_hard_limit: u64,
    block_soft_limit: u64,
    bytes: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// What a file system knows of a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it may have; 0 is any number.
    pub limit: u64,
    /// Bytes that it has.
    pub bytes: u64,
    /// Files that it has.
    pub inodes: u64,
}

/// The project of a file; 0 is none.
pub fn project_of(file: impl AsFd) -> Result<u32> {
    attributes(file).map(|attributes| attributes.project)
}

/// Puts a directory, and what will be made in it, into a project; 0 is none.
pub fn set_project(directory: impl AsFd, project: u32) -> Result<()> {
    let mut attributes = attributes(&directory)?;
    attributes.project = project;
    attributes.flags &= !XFLAG_PROJINHERIT;
    if project != 0 {
        attributes.flags |= XFLAG_PROJINHERIT;
    }
    // SAFETY: the call reads one `fsxattr`, which is what `attributes` is laid out as, and which lives across it.
    checked(unsafe {
        libc::ioctl(directory.as_fd().as_raw_fd(), SET_ATTRIBUTES, std::ptr::from_ref(&attributes))
    })
}

/// What a project has on the file system of `file`; an error where that keeps no count.
pub fn usage(file: impl AsFd, project: u32) -> Result<Usage> {
    let mut quota = Quota::default();
    match control(file, GET_QUOTA, project, &mut quota) {
        Ok(()) => Ok(Usage {
            limit: quota.block_hard_limit.saturating_mul(UNIT),
            bytes: quota.bytes,
            inodes: quota.inodes,
        }),
        // xfs knows nothing of a project without files.
        Err(Errno::NOENT) => Ok(Usage::default()),
        Err(errno) => Err(errno),
    }
}

/// Limits what a project may have on the file system of `file`, rounded up to kilobytes; 0 is no limit.
pub fn set_limit(file: impl AsFd, project: u32, bytes: u64) -> Result<()> {
    let limit = bytes.div_ceil(UNIT);
    let mut quota = Quota {
        block_hard_limit: limit,
        block_soft_limit: limit,
        valid: VALID_BLOCK_LIMITS,
        ..Quota::default()
    };
    control(file, SET_QUOTA, project, &mut quota)
}

fn attributes(file: impl AsFd) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the call fills one `fsxattr`, which is what `attributes` is laid out as, and which lives across it.
    checked(unsafe {
        libc::ioctl(file.as_fd().as_raw_fd(), GET_ATTRIBUTES, std::ptr::from_mut(&mut attributes))
    })?;
    Ok(attributes)
}

fn control(file: impl AsFd, command: u32, project: u32, quota: &mut Quota) -> Result<()> {
    const { assert!(size_of::<Quota>() == 72 && size_of::<Attributes>() == 28) };
    // SAFETY: the commands used here read and write one `if_dqblk`, which is what `quota` is laid out as, and which
    // lives across the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            command,
            project,
            std::ptr::from_mut(quota),
        )
    };
    checked(i32::try_from(result).unwrap_or(-1))
}

fn checked(result: i32) -> Result<()> {
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_projects_says_so() {
        // Memory has none, on any kernel.
        let file = rustix::fs::memfd_create(c"no-project", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(usage(&file, 0x8000_0000).is_err());
        assert!(set_limit(&file, 0x8000_0000, 1 << 20).is_err());
        assert!(!matches!(project_of(&file), Ok(1..)));
    }
}
