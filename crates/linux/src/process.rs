//! Making, shaping and replacing processes.

use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// Whether this process lives in the user namespace that the kernel began with: only there is root the host's root. Without a `proc`
/// nobody can tell, and it is taken to be so.
pub fn in_initial_user_namespace() -> bool {
    // The inode's number is part of the kernel's interface (PROC_USER_INIT_INO).
    const INITIAL: u64 = 0xefff_fffd;
    rustix::fs::stat("/proc/self/ns/user").map_or(true, |found| found.st_ino == INITIAL)
}

/// New namespaces for [`clone`], as `CLONE_NEW*` bits; anything else is refused.
pub const NAMESPACES: u64 = NEW_TIME | NEW_NS | NEW_CGROUP | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET;
/// `CLONE_NEWTIME`
pub const NEW_TIME: u64 = 0x0000_0080;
/// `CLONE_NEWNS`
pub const NEW_NS: u64 = 0x0002_0000;
/// `CLONE_NEWCGROUP`
pub const NEW_CGROUP: u64 = 0x0200_0000;
/// `CLONE_NEWUTS`
pub const NEW_UTS: u64 = 0x0400_0000;
/// `CLONE_NEWIPC`
pub const NEW_IPC: u64 = 0x0800_0000;
/// `CLONE_NEWUSER`
pub const NEW_USER: u64 = 0x1000_0000;
/// `CLONE_NEWPID`
pub const NEW_PID: u64 = 0x2000_0000;
/// `CLONE_NEWNET`
pub const NEW_NET: u64 = 0x4000_0000;

const CLONE_PIDFD: u64 = 0x0000_1000;
const CLONE_PARENT: u64 = 0x0000_8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, version 2.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// How to clone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clone<'a> {
    /// New namespaces: bits of [`NAMESPACES`].
    pub namespaces: u64,
    /// The version 2 control group that the child starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Makes the child a sibling: a child of the caller's parent.
    pub sibling: bool,
}

/// Which side of a [`clone`] this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child, in the caller's pid namespace.
        pid: Pid,
        /// The child, for good.
        pidfd: OwnedFd,
    },
}

/// clone3(2) without sharing memory: the child goes on with a copy of everything, as after fork(2).
///
/// The caller must be its process's only thread. Otherwise a lock that another thread held stays locked in
/// the child for ever, which can hang it (and nothing worse: the child's memory is its own).
pub fn clone(how: Clone<'_>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: CLONE_PIDFD | (how.namespaces & NAMESPACES),
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        ..CloneArgs::default()
    };
    if let Some(cgroup) = how.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    if how.sibling {
        // The kernel takes the exit signal from the caller itself.
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    // SAFETY: `args` lives across the call and we pass its exact size; `pidfd` outlives the call. The flags
    // cannot hold CLONE_VM, CLONE_FILES or CLONE_SETTLS, so the child shares no memory with us and keeps our
    // stack and thread pointer as a private copy.
    let mut result =
        unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    if result < 0 && last_errno() == Errno::NOSYS && args.flags == CLONE_PIDFD {
        // Filters hide clone3, whose flags they cannot see. The older call does for what asks for nothing new.
        let flags = CLONE_PIDFD | args.exit_signal;
        // SAFETY: as above; without a stack of its own the child goes on with a private copy of ours, and the third
        // argument is where CLONE_PIDFD stores the descriptor.
        result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) };
    }
    check(result)?;
    let pid = i32::try_from(result).map_err(|_| Errno::OVERFLOW)?;
    let Some(pid) = Pid::from_raw(pid) else { return Ok(Cloned::Child) };
    // SAFETY: with CLONE_PIDFD a successful call stored a new descriptor of ours in `pidfd`.
    Ok(Cloned::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// setns(2) with a namespace's descriptor (or, on a pidfd, several kinds at once).
pub fn set_namespaces(namespace: BorrowedFd<'_>, kinds: u64) -> Result<()> {
    let kinds = libc::c_int::try_from(kinds & NAMESPACES).map_err(|_| Errno::INVAL)?;
    // SAFETY: no memory is passed. Unlike the unsharing of descriptors, a change of namespaces does not
    // invalidate anything that Rust holds.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kinds) }.into())
}

/// unshare(2) of namespaces alone.
pub fn unshare_namespaces(kinds: u64) -> Result<()> {
    let kinds = libc::c_int::try_from(kinds & NAMESPACES).map_err(|_| Errno::INVAL)?;
    // SAFETY: no memory is passed, and namespaces are all that can be unshared.
    check(unsafe { libc::unshare(kinds) }.into())
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn close_from_on_exec(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: no memory is passed, and no descriptor is closed under anyone's hands.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
}

/// Closes every descriptor from `first` on. For a child that keeps no `OwnedFd` it will use again.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: no memory is passed. Descriptors that some value still owns are closed under it: later uses fail
    // with EBADF or reach a descriptor of this same process, never memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// Closes every descriptor from `first` on but `keep`. For a cloned child that will not use, nor drop, any other it got.
pub fn close_all_but(mut first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    for fd in keep {
        if fd > first {
            // SAFETY: no memory is passed; as in `close_from`.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = first.max(fd + 1);
    }
    close_from(first)
}

/// Arguments or an environment in the form that execve(2) takes.
#[derive(Debug)]
pub struct CStringArray {
    // Pointers into `_strings`, whose heap blocks do not move; ends with a null pointer.
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl CStringArray {
    /// `None` when a string has a zero byte.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Option<Self> {
        let strings: Vec<CString> =
            strings.into_iter().map(|string| CString::new(string.as_ref()).ok()).collect::<Option<_>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Some(Self { pointers, _strings: strings })
    }

    /// The array, ending with a null pointer; valid as long as `self`.
    pub(crate) fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}

/// execve(2); returns only to say why it failed.
pub fn execute(program: &CStr, arguments: &CStringArray, environment: &CStringArray) -> Errno {
    // SAFETY: `program` and all strings are terminated and live across the call; both arrays end with null.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_errno()
}

/// execveat(2) of the file `program` itself; returns only to say why it failed.
pub fn execute_file(program: BorrowedFd<'_>, arguments: &CStringArray, environment: &CStringArray) -> Errno {
    // SAFETY: as in `execute`; the path is the empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

/// Ends the process at once, without running anything that the standard library or libc would at exit.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: no memory is passed.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Gives every signal its default action and unblocks all.
pub fn reset_signals() -> Result<()> {
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler. The few numbers that glibc keeps for itself answer EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_signal_mask(&[])
}

/// Blocks exactly `signals`.
pub fn set_signal_mask(signals: &[i32]) -> Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised and lives across the call; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) }.into())
}

/// Waits for one of `signals`, which must be blocked.
pub fn wait_signal(signals: &[i32]) -> Result<i32> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised and lives across the call; no information is asked for.
    let signal = unsafe { libc::sigwaitinfo(&raw const set, ptr::null_mut()) };
    if signal > 0 { Ok(signal) } else { Err(last_errno()) }
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain integers, for which zero is a value; the set lives across each call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// kill(2), with the meaning of -1 (all) that `rustix` leaves out.
pub fn kill_everyone(signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(-1, signal) }.into())
}

/// Sends `signal`, by number, to `pid`.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid.as_raw_pid(), signal) }.into())
}

/// Sends `signal`, by number (realtime signals too), to the process that `pidfd` stands for.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the null pointer asks the kernel to fill the information in.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
}

/// prlimit(2) of another process, by the kernel's number of the resource; `u64::MAX` is infinity.
pub fn set_rlimit(pid: Option<Pid>, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let pid = pid.map_or(0, Pid::as_raw_pid);
    // SAFETY: `limit` lives across the call; the old limit is not asked for.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, ptr::null_mut::<libc::rlimit64>())
    })
}

/// getrlimit(2): soft and hard.
pub fn rlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives across the call; no new limit is passed.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<libc::rlimit64>(), &raw mut limit)
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// setfsuid(2) and setfsgid(2) of the calling thread: whose files it makes. They never fail visibly, so the result is
/// read back. Leaving 0 takes the capabilities over files out of the effective set; they stay permitted.
pub fn set_file_owner(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    let now = unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        // An id that means nobody changes nothing and answers the present one.
        (libc::syscall(libc::SYS_setfsuid, u32::MAX), libc::syscall(libc::SYS_setfsgid, u32::MAX))
    };
    if now == (i64::from(uid), i64::from(gid)) { Ok(()) } else { Err(Errno::PERM) }
}

/// personality(2).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(domain)) })
}

/// Joins a new session keyring of this name.
pub fn new_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is terminated and lives across the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// ioprio_set(2) of a process.
pub fn set_io_priority(pid: Pid, class: u8, priority: u8) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = (libc::c_int::from(class) << 13) | libc::c_int::from(priority);
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid.as_raw_pid(), value) })
}

/// `struct sched_attr`, first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the field names are the kernel's")]
pub struct SchedulerAttributes {
    /// Filled in by [`set_scheduler`].
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// sched_setattr(2) of a process's first thread.
pub fn set_scheduler(pid: Pid, mut attributes: SchedulerAttributes) -> Result<()> {
    attributes.size = 48;
    // SAFETY: `attributes` lives across the call and `size` is its exact size.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw_pid(), &raw const attributes, 0) })
}

/// Attaches a seccomp filter to the calling thread: BPF instructions of eight bytes each.
/// Answers the notification descriptor where `flags` ask for one.
pub fn install_seccomp_filter(program: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    const NEW_LISTENER: u32 = 1 << 3;
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(size_of::<libc::sock_filter>())
        .map(|raw| libc::sock_filter {
            code: u16::from_ne_bytes([raw[0], raw[1]]),
            jt: raw[2],
            jf: raw[3],
            k: u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]),
        })
        .collect();
    let length = libc::c_ushort::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: `filter` and the instructions it points to live across the call, which reads `len` of them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    check(result)?;
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = RawFd::try_from(result).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: with this flag a successful call answers a new descriptor of ours.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// `SIOCSIFFLAGS`, in the type that the C library wants.
const SET_FLAGS: libc::Ioctl = 0x8914;

/// Sets the `IFF_UP` flag of a network interface in the caller's network namespace.
pub fn bring_interface_up(socket: BorrowedFd<'_>, name: &str) -> Result<()> {
    // SAFETY: ifreq is plain integers and bytes, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::INVAL);
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(|_| Errno::INVAL)?;
    request.ifr_ifru.ifru_flags = up;
    // SAFETY: the request reads the name and the flags of `request`, which lives across the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SET_FLAGS, &raw const request) }.into())
}

/// Replaces descriptor `target` (0, 1 or 2) by a copy of `source` that survives exec.
pub fn replace_stdio(source: impl AsFd, target: u8) -> Result<()> {
    let source = source.as_fd().as_raw_fd();
    let target = RawFd::from(target);
    if source == target {
        // dup2 onto itself would leave close-on-exec set.
        // SAFETY: no memory is passed.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }.into());
    }
    // SAFETY: no memory is passed; the standard library never owns descriptors 0 to 2 as `OwnedFd`.
    check(unsafe { libc::dup2(source, target) }.into())
}

fn check(result: libc::c_long) -> Result<()> {
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
