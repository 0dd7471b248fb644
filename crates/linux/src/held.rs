//! System calls of other processes that are held until they are answered: the notifications of seccomp(2).
//!
//! Whoever listens sees each call before it is made, in the order in which they come, and lets it be made or does something else
//! meanwhile, such as killing who makes it. The filter is the calling thread's, and of all that it starts from then on.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, Result};

use crate::process::install_seccomp_filter;

/// A system call: its name, and its number on this machine.
pub type Name = (&'static str, c_long);

macro_rules! names {
    ($($name:ident: $number:ident,)*) => { [$((stringify!($name), libc::$number),)*] };
}

/// Calls after which something is there that was not, or is gone, or is told to somebody else.
pub const CHANGES: [Name; 58] = names! {
    write: SYS_write, pwrite64: SYS_pwrite64, writev: SYS_writev, pwritev: SYS_pwritev, pwritev2: SYS_pwritev2,
    sendfile: SYS_sendfile, splice: SYS_splice, copy_file_range: SYS_copy_file_range,
    openat: SYS_openat, openat2: SYS_openat2, mkdirat: SYS_mkdirat, mknodat: SYS_mknodat, symlinkat: SYS_symlinkat,
    linkat: SYS_linkat, renameat: SYS_renameat, renameat2: SYS_renameat2, unlinkat: SYS_unlinkat,
    fsync: SYS_fsync, fdatasync: SYS_fdatasync, syncfs: SYS_syncfs, sync_file_range: SYS_sync_file_range,
    truncate: SYS_truncate, ftruncate: SYS_ftruncate, fallocate: SYS_fallocate,
    fchmod: SYS_fchmod, fchmodat: SYS_fchmodat, fchown: SYS_fchown, fchownat: SYS_fchownat, utimensat: SYS_utimensat,
    setxattr: SYS_setxattr, lsetxattr: SYS_lsetxattr, fsetxattr: SYS_fsetxattr, removexattr: SYS_removexattr,
    lremovexattr: SYS_lremovexattr, fremovexattr: SYS_fremovexattr, ioctl: SYS_ioctl, flock: SYS_flock,
    clone: SYS_clone, clone3: SYS_clone3, execve: SYS_execve, execveat: SYS_execveat, exit_group: SYS_exit_group,
    unshare: SYS_unshare, setns: SYS_setns, kill: SYS_kill, pidfd_send_signal: SYS_pidfd_send_signal,
    mount: SYS_mount, umount2: SYS_umount2, move_mount: SYS_move_mount, open_tree: SYS_open_tree, fsmount: SYS_fsmount,
    fsconfig: SYS_fsconfig, mount_setattr: SYS_mount_setattr, pivot_root: SYS_pivot_root,
    sendto: SYS_sendto, sendmsg: SYS_sendmsg, sendmmsg: SYS_sendmmsg, memfd_create: SYS_memfd_create,
};

/// Those that only some machines have: newer ones have only the kind that takes a directory.
#[cfg(target_arch = "x86_64")]
pub const OLD_CHANGES: [Name; 17] = names! {
    open: SYS_open, creat: SYS_creat, mkdir: SYS_mkdir, mknod: SYS_mknod, symlink: SYS_symlink, link: SYS_link,
    rename: SYS_rename, unlink: SYS_unlink, rmdir: SYS_rmdir, chmod: SYS_chmod, chown: SYS_chown, lchown: SYS_lchown,
    utime: SYS_utime, utimes: SYS_utimes, futimesat: SYS_futimesat, fork: SYS_fork, vfork: SYS_vfork,
};
/// Those that only some machines have: this one has none.
#[cfg(not(target_arch = "x86_64"))]
pub const OLD_CHANGES: [Name; 0] = [];

/// A call that is held.
#[derive(Clone, Copy, Debug)]
pub struct HeldCall {
    id: u64,
    /// Who makes it, in this process's pid namespace.
    pub thread: i32,
    /// Its number.
    pub number: c_long,
    /// What it was given: numbers, and addresses in the memory of who makes it.
    pub arguments: [u64; 6],
}

/// Hears of calls. Dropping it makes those that come fail with `ENOSYS`.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    thread: u32,
    flags: u32,
    number: c_int,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Holds these calls of the calling thread and of all that it starts. Needs `CAP_SYS_ADMIN`, for nobody loses privileges by it.
pub fn hold(calls: impl IntoIterator<Item = c_long>) -> Result<Listener> {
    const NEW_LISTENER: u32 = 1 << 3;
    /// Who waits for an answer hears of no signal but the one that kills, so that no call comes twice.
    const WAIT_KILLABLE: u32 = 1 << 5;
    const NOTIFY: u32 = 0x7fc0_0000;
    const ALLOW: u32 = 0x7fff_0000;
    // Load the number; if it is one of those, the next instruction answers, which is passed over otherwise.
    let mut program = vec![(0x20, 0, 0)];
    for call in calls {
        let number = u32::try_from(call).map_err(|_| Errno::INVAL)?;
        program.extend([(0x15, 1, number), (0x06, 0, NOTIFY)]);
    }
    program.push((0x06, 0, ALLOW));
    let instruction = |(code, skip, value): (u16, u8, u32)| {
        let mut raw = [0; 8];
        raw[..2].copy_from_slice(&code.to_ne_bytes());
        raw[3] = skip;
        raw[4..].copy_from_slice(&value.to_ne_bytes());
        raw
    };
    let program: Vec<u8> = program.into_iter().flat_map(instruction).collect();
    let listener = install_seccomp_filter(&program, NEW_LISTENER | WAIT_KILLABLE)?;
    listener.map(Listener).ok_or(Errno::INVAL)
}

impl Listener {
    /// The next call; none when all have ended who could make one.
    pub fn next(&self) -> Result<Option<HeldCall>> {
        const RECEIVE: u32 = 0xc050_2100;
        loop {
            let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut ready, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !ready[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            let mut notification = Notification::default();
            match self.ask(RECEIVE, (&raw mut notification).cast()) {
                Ok(()) => {}
                // Killed meanwhile.
                Err(Errno::NOENT | Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            let Notification { id, thread, number, arguments, .. } = notification;
            let thread = i32::try_from(thread).map_err(|_| Errno::OVERFLOW)?;
            return Ok(Some(HeldCall { id, thread, number: c_long::from(number), arguments }));
        }
    }

    /// Lets a call be made. Who was killed meanwhile makes none.
    pub fn release(&self, call: HeldCall) -> Result<()> {
        const SEND: u32 = 0xc018_2101;
        const GO_ON: u32 = 1;
        let mut answer = Answer { id: call.id, value: 0, error: 0, flags: GO_ON };
        match self.ask(SEND, (&raw mut answer).cast()) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    fn ask(&self, request: u32, argument: *mut u8) -> Result<()> {
        // SAFETY: both requests read and write a structure of the size that their number says, which lives across the call and to
        // which `argument` points; its fields are plain numbers.
        let result = unsafe { libc::ioctl(self.0.as_fd().as_raw_fd(), request as libc::Ioctl, argument) };
        if result < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests start programs")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_call_is_seen_before_it_is_made_and_not_made_by_who_is_killed() {
        let folder = std::env::temp_dir().join(format!("skiff-test-{}-held", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (sender, listeners) = std::sync::mpsc::channel();
        let place = folder.clone();
        let starter = std::thread::spawn(move || {
            let names = CHANGES.iter().chain(&OLD_CHANGES);
            let made = names.filter(|(name, _)| name.starts_with("mkdir")).map(|(_, number)| *number);
            sender.send(hold(made).unwrap()).unwrap();
            let mut command = Command::new("mkdir");
            command.args(["one", "two"]).current_dir(place).stdin(Stdio::null()).spawn().unwrap()
        });
        let listener = listeners.recv().unwrap();
        let first = listener.next().unwrap().unwrap();
        assert!(!folder.join("one").exists());
        listener.release(first).unwrap();
        let second = listener.next().unwrap().unwrap();
        assert!(folder.join("one").is_dir() && !folder.join("two").exists());
        let mut child = starter.join().unwrap();
        assert_eq!(second.thread, i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        assert!(listener.next().unwrap().is_none(), "somebody goes on");
        child.wait().unwrap();
        assert!(!folder.join("two").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
