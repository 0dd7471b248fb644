//! Signals as something to poll for.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, Result};

/// Receives signals that would otherwise act: a signalfd(2), non-blocking and close-on-exec.
///
/// The signals stay blocked in the calling thread, and in what it forks, also after this is dropped.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in the calling thread (and the threads it makes later) and receives them from now on.
    pub fn new(signals: &[i32]) -> Result<SignalFd> {
        // SAFETY: sigset_t is plain integers, for which zero is a value; the set lives across each call.
        let fd = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                libc::sigaddset(&raw mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        // SAFETY: a successful call answers a new descriptor of ours.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps `signals` from the calling thread, which was begun before a [`SignalFd`] of another: they would take their default action by
/// way of it.
pub fn block(signals: &[i32]) {
    change_mask(libc::SIG_BLOCK, signals);
}

/// Lets `signals` reach the calling thread again, once no [`SignalFd`] receives them any more.
pub fn unblock(signals: &[i32]) {
    change_mask(libc::SIG_UNBLOCK, signals);
}

fn change_mask(how: libc::c_int, signals: &[i32]) {
    // SAFETY: sigset_t is plain integers, for which zero is a value; the set lives across each call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(how, &raw const set, ptr::null_mut());
    }
}

/// The next signal that a signalfd holds; None when there is none.
pub fn next(signalfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    loop {
        match rustix::io::read(signalfd, &mut info) {
            Ok(length) if length == info.len() => {
                let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
                return Ok(i32::try_from(number).ok());
            }
            Ok(_) => return Err(Errno::INVAL),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// Has `signal` interrupt nothing and change nothing, without handing "ignored" down to what is executed later.
pub fn shrug(signal: i32) -> Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: the handler does nothing, which is safe at any moment; the structure is initialised (zero is
    // an empty mask) and lives across the call.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Ends this process by `signal`, as its default action does: a shell sees that it was the signal.
pub fn end_by(signal: i32) -> ! {
    // SAFETY: SIG_DFL installs no handler; the set is plain integers, for which zero is a value, and lives across
    // the calls.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    // Not reached by a signal that ends processes; what a shell would say of one.
    std::process::exit(128 + signal)
}

/// Sends `signal` to the calling thread.
pub fn raise(signal: i32) -> Result<()> {
    // SAFETY: no memory is passed, and a thread always exists while it calls.
    match unsafe { libc::pthread_kill(libc::pthread_self(), signal) } {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

/// Signals whose default is to end a process, and which say nothing to one that serves another: hang-up, the
/// keyboard's, timers, a closed pipe, a limit on the size of files.
pub const HARMLESS: &[i32] = &[
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXFSZ,
];

/// Number of the signal `SIGKILL`, which every platform shares.
pub const KILL: i32 = libc::SIGKILL;
/// Number of the signal `SIGPIPE`.
pub const PIPE: i32 = libc::SIGPIPE;
/// Number of the signal `SIGWINCH`.
pub const WINCH: i32 = libc::SIGWINCH;
/// Number of the signal `SIGTERM`.
pub const TERM: i32 = libc::SIGTERM;
/// Number of the signal `SIGHUP`.
pub const HUP: i32 = libc::SIGHUP;
/// Number of the signal `SIGINT`.
pub const INT: i32 = libc::SIGINT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_once() {
        let signals = SignalFd::new(&[libc::SIGUSR2]).unwrap();
        assert_eq!(next(signals.as_fd()).unwrap(), None);
        raise(libc::SIGUSR2).unwrap();
        assert_eq!(next(signals.as_fd()).unwrap(), Some(libc::SIGUSR2));
        assert_eq!(next(signals.as_fd()).unwrap(), None);
    }
}
