//! Starting a program that its starter neither waits for nor takes along.
//!
//! ```text
//! caller ─clone(VM|VFORK)─► child: setsid ─clone(VM|VFORK)─► grandchild: descriptors, execveat
//!   waits in the kernel       waits in the kernel              │ (the program)
//!   ◄──────────── exits ──────◄────────────── exec ────────────┘
//! ```
//!
//! The program is nobody's child (whoever adopts orphans reaps it), in a session without a terminal that it
//! does not lead, so that it can never get one. Memory is shared instead of copied until the exec, which makes
//! the start as cheap from a large process as from a small one, and is sound from a threaded one.

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::io::{Errno, Result};

use crate::process::CStringArray;

/// Bytes of stack for each of the two short-lived processes.
const STACK: usize = 32 << 10;
/// Descriptors are moved out of the way of the numbers they are to get.
const ABOVE_TARGETS: RawFd = 16;

/// A program to start.
#[derive(Clone, Copy, Debug)]
pub struct Detached<'a> {
    /// The file itself; see [`crate::mount::protected_program`].
    pub program: BorrowedFd<'a>,
    /// `argv`.
    pub arguments: &'a CStringArray,
    /// The whole environment.
    pub environment: &'a CStringArray,
    /// Descriptors 0, 1 and 2.
    pub null: BorrowedFd<'a>,
    /// Descriptors 3 and up, in order; at most eight. No other stays open.
    pub descriptors: &'a [BorrowedFd<'a>],
}

/// What the two processes are told, in memory that they share with the caller, which stands still meanwhile.
struct Shared {
    program: RawFd,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    null: RawFd,
    descriptors: [RawFd; 8],
    count: usize,
    inner_stack: *mut u8,
    root: *const libc::c_char,
    /// The first failure; 0 while there is none.
    errno: AtomicI32,
}

/// Starts `what` in `/` with no signal blocked; returns once it executes.
pub fn spawn(what: Detached<'_>) -> Result<()> {
    if what.descriptors.len() > 8 {
        return Err(Errno::INVAL);
    }
    let moved: Vec<OwnedFd> = [what.program, what.null]
        .iter()
        .chain(what.descriptors)
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, ABOVE_TARGETS))
        .collect::<Result<_>>()?;
    let mut descriptors = [-1; 8];
    for (slot, fd) in descriptors.iter_mut().zip(&moved[2..]) {
        *slot = fd.as_raw_fd();
    }
    let mut outer_stack = vec![0u8; STACK];
    let mut inner_stack = vec![0u8; STACK];
    let shared = Shared {
        program: moved[0].as_raw_fd(),
        arguments: what.arguments.as_ptr(),
        environment: what.environment.as_ptr(),
        null: moved[1].as_raw_fd(),
        descriptors,
        count: what.descriptors.len(),
        inner_stack: top(&mut inner_stack),
        root: ROOT.as_ptr(),
        errno: AtomicI32::new(0),
    };
    let outcome = with_signals_blocked(|| clone_and_wait(&shared, top(&mut outer_stack)));
    drop(moved);
    outcome?;
    match shared.errno.load(Ordering::Relaxed) {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Descriptors 3 and 4, which [`spawn`] gave to this program; None when they are not there or were taken before.
///
/// To be called first of all, before anything else can have made a descriptor of such a number.
pub fn inherited() -> Option<(OwnedFd, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    let take = |number: RawFd| {
        // SAFETY: setting a flag passes no memory; it fails when there is no such descriptor.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return None;
        }
        // SAFETY: the descriptor is open, as the call above has shown, and nobody else owns it: it was not made
        // by this program but inherited, and `TAKEN` lets each number be taken once.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    };
    Some((take(3)?, take(4)?))
}

const ROOT: &CStr = c"/";

/// The first usable address of a stack, which grows down and is aligned as the ABI demands.
fn top(stack: &mut [u8]) -> *mut u8 {
    let end = stack.as_mut_ptr_range().end;
    // At most fifteen bytes below the end of a block of [`STACK`] bytes.
    end.wrapping_sub(end.addr() % 16)
}

fn clone_and_wait(shared: &Shared, stack: *mut u8) -> Result<()> {
    // No exit signal: the caller may handle or ignore SIGCHLD for children of its own.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: `outer` gets a stack of its own, which lives until the child has ended: CLONE_VFORK holds us back
    // until then. `shared` outlives it for the same reason; it is only read, except for an atomic. No signal
    // handler can run in the child, for all signals are blocked, and `outer` does nothing but system calls.
    let child = unsafe { libc::clone(outer, stack.cast(), flags, ptr::from_ref(shared).cast_mut().cast()) };
    if child < 0 {
        return Err(last_errno());
    }
    loop {
        // SAFETY: no status is asked for. `child` is our child, unreaped, so the number is still its own.
        let reaped = unsafe { libc::waitpid(child, ptr::null_mut(), libc::__WALL) };
        if reaped == child {
            return Ok(());
        }
        let errno = last_errno();
        if errno != Errno::INTR {
            return Err(errno);
        }
    }
}

/// The child: leaves the session, starts the grandchild, ends.
extern "C" fn outer(shared: *mut c_void) -> c_int {
    // SAFETY: this is the pointer that `clone_and_wait` passed, valid while it stands still.
    let shared = unsafe { &*shared.cast::<Shared>() };
    // SAFETY: system calls on plain values. `inner` gets a stack of its own that outlives it, and we stand
    // still until it has executed or ended. _exit runs no handler of the caller's.
    unsafe {
        if libc::setsid() < 0 {
            shared.errno.store(errno(), Ordering::Relaxed);
            libc::_exit(1);
        }
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let argument = ptr::from_ref(shared).cast_mut().cast();
        if libc::clone(inner, shared.inner_stack.cast(), flags, argument) < 0 {
            shared.errno.store(errno(), Ordering::Relaxed);
        }
        libc::_exit(0)
    }
}

/// The grandchild: arranges descriptors and becomes the program.
extern "C" fn inner(shared: *mut c_void) -> c_int {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: as in `outer`.
    let shared = unsafe { &*shared.cast::<Shared>() };
    // SAFETY: system calls on plain values, on a table of descriptors that is ours alone; the strings and
    // arrays are terminated and live in the caller, which stands still until we have executed or ended.
    unsafe {
        let mut done = true;
        for target in 0..3 {
            done = done && libc::dup2(shared.null, target) >= 0;
        }
        let mut target = 3;
        for &source in &shared.descriptors[..shared.count] {
            done = done && libc::dup2(source, target) >= 0;
            target += 1;
        }
        done = done
            && libc::syscall(libc::SYS_close_range, target, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) >= 0
            && libc::chdir(shared.root) >= 0;
        if done {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
            libc::syscall(
                libc::SYS_execveat,
                shared.program,
                c"".as_ptr(),
                shared.arguments,
                shared.environment,
                libc::AT_EMPTY_PATH,
            );
        }
        shared.errno.store(errno(), Ordering::Relaxed);
        libc::_exit(127)
    }
}

fn with_signals_blocked<T>(action: impl FnOnce() -> T) -> T {
    // SAFETY: sigset_t is plain integers, for which zero is a value; both sets live across the calls, which
    // change the mask of this thread alone.
    let before = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let outcome = action();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    outcome
}

/// The calling thread's errno, without anything that might allocate.
fn errno() -> c_int {
    // SAFETY: glibc answers a pointer to the thread's own errno. After CLONE_VM that is the caller's, which
    // stands still.
    unsafe { *libc::__errno_location() }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(errno())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    fn open(path: &str) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    fn run(script: &str) -> String {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let shell = open("/bin/sh");
        spawn(Detached {
            program: shell.as_fd(),
            arguments: &CStringArray::new(["sh", "-c", script]).unwrap(),
            environment: &CStringArray::new(["ONLY=this"]).unwrap(),
            null: open("/dev/null").as_fd(),
            descriptors: &[writer.as_fd()],
        })
        .unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        said
    }

    #[test]
    fn the_program_gets_its_descriptors_and_no_other() {
        let inheritable = open("/dev/zero");
        rustix::io::fcntl_setfd(&inheritable, rustix::io::FdFlags::empty()).unwrap();
        let said = run("ls -l /proc/$$/fd >&3");
        assert_eq!(said.matches("-> /dev/null").count(), 3, "{said}");
        assert!(!said.contains("/dev/zero"), "{said}");
    }

    #[test]
    fn the_program_is_in_a_session_of_its_own_and_no_child_of_ours() {
        let said = run("cut -d' ' -f4,6 /proc/$$/stat >&3; pwd >&3; env >&3");
        let mut lines = said.lines();
        let mut stat = lines.next().unwrap().split(' ');
        assert_ne!(stat.next().unwrap(), std::process::id().to_string());
        let session: i32 = stat.next().unwrap().parse().unwrap();
        // SAFETY: no memory is passed.
        assert_ne!(session, unsafe { libc::getsid(0) });
        assert_eq!(lines.next(), Some("/"));
        assert!(said.contains("ONLY=this"), "{said}");
    }

    #[test]
    fn what_cannot_be_executed_is_told_with_the_kernels_reason() {
        let mut text = tempfile();
        text.write_all(b"no program").unwrap();
        rustix::fs::fchmod(&text, rustix::fs::Mode::RWXU).unwrap();
        let argv = CStringArray::new(["x"]).unwrap();
        let outcome = spawn(Detached {
            program: text.as_fd(),
            arguments: &argv,
            environment: &CStringArray::new::<&str>([]).unwrap(),
            null: open("/dev/null").as_fd(),
            descriptors: &[],
        });
        assert!(matches!(outcome, Err(Errno::NOEXEC | Errno::TXTBSY)), "{outcome:?}");
    }

    fn tempfile() -> std::fs::File {
        let fd = rustix::fs::memfd_create(c"program", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        fd.into()
    }
}
