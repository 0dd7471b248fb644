//! The caller's streams during a session: what is attached, raw mode, signals.
//!
//! With a terminal of the container's (`-t`) and standard input attached, the caller's terminal is raw: keys
//! travel as bytes, and only a change of its size is a signal. Otherwise signals are passed on to the container
//! unless `--sig-proxy=false`; those they are about are blocked first, so that none is lost or acts on this
//! program while the container starts.

use std::os::fd::{AsFd, BorrowedFd};

use linux::signal::SignalFd;
use linux::terminal::RawMode;
use monitor::CallerStdio;
use rustix::stdio::{stderr, stdin, stdout};

use crate::error::{Error, Result};

/// What to attach, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// The container has a terminal of its own.
    pub(crate) tty: bool,
    /// Bytes that detach; empty for none.
    pub(crate) detach_keys: &'a [u8],
    /// Signals are passed on.
    pub(crate) sig_proxy: bool,
}

/// The caller's side of one session; dropping it gives the terminal back.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    wish: Wish<'a>,
    terminal: Option<BorrowedFd<'static>>,
    signals: Option<SignalFd>,
    _raw: Option<RawMode>,
}

impl<'a> Caller<'a> {
    /// Takes hold of terminal and signals. A wish for a terminal with standard input needs one there.
    pub(crate) fn new(wish: Wish<'a>) -> Result<Caller<'a>> {
        let is_terminal = |stream: BorrowedFd<'_>| rustix::termios::isatty(stream);
        let mut raw = None;
        let mut terminal = None;
        if wish.tty {
            if wish.stdin && !is_terminal(stdin()) {
                return Err(Error::NoTerminal);
            }
            let candidates = [wish.stdin.then(stdin), wish.stdout.then(stdout)];
            terminal = candidates.into_iter().flatten().find(|stream| is_terminal(*stream));
            if let Some(stream) = terminal.filter(|_| wish.stdin) {
                let failed = |source| Error::System { attempt: "put the terminal into raw mode", source };
                raw = Some(RawMode::enter(stream).map_err(failed)?);
            }
        }
        let numbers: &[i32] = match (raw.is_some(), wish.sig_proxy) {
            (false, true) => &FORWARDED,
            _ if terminal.is_some() => &[linux::signal::WINCH],
            _ => &[],
        };
        let failed = |source| Error::System { attempt: "receive signals", source };
        let signals = if numbers.is_empty() { None } else { Some(SignalFd::new(numbers).map_err(failed)?) };
        Ok(Caller { wish, terminal, signals, _raw: raw })
    }

    /// The streams, for the monitor's client.
    pub(crate) fn stdio(&self) -> CallerStdio<'_> {
        CallerStdio {
            stdin: self.wish.stdin.then(stdin),
            stdout: self.wish.stdout.then(stdout),
            stderr: (self.wish.stderr && !self.wish.tty).then(stderr),
            terminal: self.terminal,
            // Keys are looked for where somebody types.
            detach_keys: if rustix::termios::isatty(stdin()) { self.wish.detach_keys } else { &[] },
            signals: self.signals.as_ref().map(AsFd::as_fd),
        }
    }
}

/// Has signals end this program again, after a session that never began.
pub(crate) fn heed_signals() {
    linux::signal::unblock(&FORWARDED);
}

/// Signals that are passed on: all that can be caught, but those about children and pipes (CHLD, PIPE, URG), those
/// that a fault of this program raises, and those that stop it in the background (TTIN, TTOU).
const FORWARDED: [i32; 17] = [
    1,  // HUP
    2,  // INT
    3,  // QUIT
    10, // USR1
    12, // USR2
    14, // ALRM
    15, // TERM
    16, // STKFLT
    18, // CONT
    20, // TSTP
    24, // XCPU
    25, // XFSZ
    26, // VTALRM
    27, // PROF
    28, // WINCH
    29, // IO
    30, // PWR
];
