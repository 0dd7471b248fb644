//! Record locks, of both kinds that Linux has: on whole files, and shared ones on a byte.
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

/// Takes the lock on one byte, which need not be there, for this open file; false when somebody else has it.
pub fn lock_byte_for_file(file: impl AsFd, byte: i64) -> Result<bool> {
    let mut lock = libc::flock { l_start: byte, l_len: 1, ..whole_file() };
    granted(control(file, libc::F_OFD_SETLK, &mut lock))
}

/// Joins those who share a lock on one byte, for this open file. False, and nothing is locked, when nobody else has it, or
/// somebody has it for himself.
pub fn join_shared_byte(file: impl AsFd, byte: i64) -> Result<bool> {
    let of_byte = |kind| libc::flock { l_type: short(kind), l_start: byte, l_len: 1, ..whole_file() };
    let mut found = of_byte(libc::F_WRLCK);
    control(&file, libc::F_OFD_GETLK, &mut found)?;
    if i32::from(found.l_type) != libc::F_RDLCK {
        return Ok(false);
    }
    granted(control(&file, libc::F_OFD_SETLK, &mut of_byte(libc::F_RDLCK)))
}

/// Whether a process has the lock for itself, by [`lock_for_process`]; false where nobody has it, or an open file.
pub fn is_locked_by_process(file: impl AsFd) -> Result<bool> {
    let mut lock = whole_file();
    control(file, libc::F_OFD_GETLK, &mut lock)?;
    // A lock of an open file has no process (fcntl(2), F_OFD_GETLK).
    Ok(i32::from(lock.l_type) != libc::F_UNLCK && lock.l_pid != -1)
}

fn try_lock(file: impl AsFd, command: libc::c_int) -> Result<bool> {
    granted(control(file, command, &mut whole_file()))
}

fn granted(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn whole_file() -> libc::flock {
    // SAFETY: flock is plain integers, for which zero is a value: from the start to the end, process id 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = short(libc::F_WRLCK);
    lock
}

fn short(kind: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(kind).unwrap_or(1)
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
        assert!(is_locked(&second).unwrap() && !is_locked_by_process(&second).unwrap());
        assert!(!lock_for_file(&second).unwrap());
        assert!(!lock_for_process(&second).unwrap());
        drop(first);
        assert!(lock_for_process(&second).unwrap());
        assert!(!lock_for_file(again(&file)).unwrap());
        // That closed a descriptor of the file, and with it the process's lock was lost.
        assert!(lock_for_file(&second).unwrap());
    }

    #[test]
    fn a_shared_byte_is_joined_only_where_somebody_has_it() {
        let file = memfd_create(c"lock", MemfdFlags::CLOEXEC).unwrap();
        let (first, second, third) = (again(&file), again(&file), again(&file));
        assert!(!join_shared_byte(&first, 7).unwrap(), "nobody has it");
        let mut shared = libc::flock { l_type: short(libc::F_RDLCK), l_start: 7, l_len: 1, ..whole_file() };
        control(&first, libc::F_OFD_SETLK, &mut shared).unwrap();
        assert!(!join_shared_byte(&second, 8).unwrap(), "another byte");
        assert!(join_shared_byte(&second, 7).unwrap());
        drop(first);
        assert!(join_shared_byte(&third, 7).unwrap(), "the second has it still");
        assert!(is_locked(&file).unwrap());
        drop((second, third));
        assert!(lock_for_file(&file).unwrap());
        assert!(!join_shared_byte(again(&file), 7).unwrap(), "somebody has it for himself");
    }

    #[test]
    fn bytes_are_locked_one_by_one_as_far_out_as_a_file_can_reach() {
        let file = memfd_create(c"lock", MemfdFlags::CLOEXEC).unwrap();
        let (first, second) = (again(&file), again(&file));
        for byte in [0, 7, i64::MAX >> 1] {
            assert!(lock_byte_for_file(&first, byte).unwrap());
            assert!(lock_byte_for_file(&first, byte).unwrap(), "it is its own");
            assert!(!lock_byte_for_file(&second, byte).unwrap());
        }
        assert!(lock_byte_for_file(&second, 8).unwrap());
        drop(first);
        assert!(lock_byte_for_file(&second, 7).unwrap());
    }

    #[test]
    fn a_forked_child_has_no_part_in_its_parents_lock() {
        let file = memfd_create(c"lock", MemfdFlags::CLOEXEC).unwrap();
        assert!(lock_for_process(&file).unwrap());
        match clone(Clone::default()).unwrap() {
            // With a copy of the very descriptor.
            Cloned::Child => {
                let is_seen = is_locked_by_process(&file) == Ok(true);
                exit_now(u8::from(!is_seen || lock_for_process(&file) != Ok(false)))
            }
            Cloned::Parent { pidfd, .. } => {
                let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(0));
            }
        }
    }
}
