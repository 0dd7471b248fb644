//! Record locks on whole files, of both kinds that Linux has.
//!
//! A lock of the *process* is not shared by what the process forks, and is lost when the process closes any
//! descriptor of the file. A lock of the *open file* is shared by every copy of the descriptor, and lasts until the
//! last one is closed. The two kinds exclude each other.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// Takes the lock for this process; false when somebody else has it.
pub fn lock_for_process(file: impl AsFd) -> Result<bool> {
    try_lock(file, libc::F_SETLK)
}

/// Takes the lock for this open file; false when somebody else has it.
pub fn lock_for_file(file: impl AsFd) -> Result<bool> {
    try_lock(file, libc::F_OFD_SETLK)
}

/// Whether anybody has the lock, except through this very descriptor's open file.
pub fn is_locked(file: impl AsFd) -> Result<bool> {
    let mut lock = whole_file();
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn try_lock(file: impl AsFd, command: libc::c_int) -> Result<bool> {
    match control(file, command, &mut whole_file()) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn whole_file() -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is a value: from the start to the end, process id 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(libc::F_WRLCK).unwrap_or(1);
    lock
}

fn control(file: impl AsFd, command: libc::c_int, lock: &mut libc::flock) -> Result<()> {
    // SAFETY: the commands used here read and write one flock, which lives across the call.
    if unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, std::ptr::from_mut(lock)) } < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Clone, Cloned, clone, exit_now};
    use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::OwnedFd;

    fn again(file: &OwnedFd) -> OwnedFd {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn the_two_kinds_exclude_each_other_and_end_as_they_say() {
        let file = memfd_create(c"lock", MemfdFlags::CLOEXEC).unwrap();
        let (first, second) = (again(&file), again(&file));
        assert!(!is_locked(&second).unwrap());
        assert!(lock_for_file(&first).unwrap());
        assert!(is_locked(&second).unwrap());
        assert!(!lock_for_file(&second).unwrap());
        assert!(!lock_for_process(&second).unwrap());
        drop(first);
        assert!(lock_for_process(&second).unwrap());
        assert!(!lock_for_file(again(&file)).unwrap());
        // That closed a descriptor of the file, and with it the process's lock was lost.
        assert!(lock_for_file(&second).unwrap());
    }

    #[test]
    fn a_forked_child_has_no_part_in_its_parents_lock() {
        let file = memfd_create(c"lock", MemfdFlags::CLOEXEC).unwrap();
        assert!(lock_for_process(&file).unwrap());
        match clone(Clone::default()).unwrap() {
            // With a copy of the very descriptor.
            Cloned::Child => exit_now(u8::from(lock_for_process(&file) != Ok(false))),
            Cloned::Parent { pidfd, .. } => {
                let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(0));
            }
        }
    }
}
