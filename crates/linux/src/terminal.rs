//! The caller's terminal in raw mode, and back again however the program ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use rustix::io::{Errno, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that passes every key on unchanged. Dropping this gives it its settings back; so does any signal
/// that ends the process but SIGKILL, which includes the SIGABRT of a panic.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

/// What a dying process has to put back. Set once, before the handlers that read it.
static BEFORE: OnceLock<(OwnedFd, libc::termios)> = OnceLock::new();

/// Signals that end a process unless it says otherwise.
const DEADLY: [libc::c_int; 11] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGPIPE,
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
];

impl RawMode {
    /// Switches `terminal` to raw mode. One terminal per process: a second call guards the first one's.
    pub fn enter(terminal: BorrowedFd<'_>) -> Result<RawMode> {
        Self::enter_with(terminal, Termios::make_raw)
    }

    /// Only has it not show what is typed.
    pub fn hide(terminal: BorrowedFd<'_>) -> Result<RawMode> {
        Self::enter_with(terminal, |settings| settings.local_modes.remove(LocalModes::ECHO))
    }

    fn enter_with(terminal: BorrowedFd<'_>, change: fn(&mut Termios)) -> Result<RawMode> {
        let before = tcgetattr(terminal)?;
        let terminal = rustix::io::fcntl_dupfd_cloexec(terminal, 3)?;
        guard(terminal.as_fd())?;
        let mut raw = before.clone();
        change(&mut raw);
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _restored = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Has deadly signals put back the settings that `terminal` has now.
fn guard(terminal: BorrowedFd<'_>) -> Result<()> {
    use std::os::fd::AsRawFd;
    let kept = rustix::io::fcntl_dupfd_cloexec(terminal, 3)?;
    // SAFETY: termios is plain integers, for which zero is a value; the descriptor is open and the structure
    // lives across the call.
    let settings = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(kept.as_raw_fd(), &raw mut settings) != 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        settings
    };
    if BEFORE.set((kept, settings)).is_err() {
        return Ok(());
    }
    for signal in DEADLY {
        // SAFETY: `restore` calls nothing but async-signal-safe functions and reads a value that was set before
        // and never changes; the structure is initialised and lives across the call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = restore as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
    Ok(())
}

/// Puts the settings back and lets the signal do what it does. The handler is gone by now (`SA_RESETHAND`), and
/// the signal blocked until it returns.
extern "C" fn restore(signal: libc::c_int) {
    use std::os::fd::AsRawFd;
    if let Some((terminal, settings)) = BEFORE.get() {
        // SAFETY: tcsetattr(3) and raise(3) are async-signal-safe; the descriptor is never closed.
        unsafe {
            libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, settings);
        }
    }
    // SAFETY: raise(3) is async-signal-safe.
    unsafe {
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[test]
    fn the_settings_come_back_when_the_guard_goes() {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
        let echoes = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(echoes());
        let raw = RawMode::enter(terminal.as_fd()).unwrap();
        assert!(!echoes());
        drop(raw);
        assert!(echoes());
        let hidden = RawMode::hide(terminal.as_fd()).unwrap();
        let lines = || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ICANON);
        assert!(!echoes() && lines());
        drop(hidden);
        assert!(echoes());
        let not_a_terminal = crate::file::open(std::path::Path::new("/dev/null")).unwrap();
        assert!(matches!(RawMode::enter(not_a_terminal.as_fd()), Err(Errno::NOTTY)));
    }
}
