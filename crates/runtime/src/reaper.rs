//! A minimal init (`--init`): reaps orphans, forwards signals, ends with its program's status.
//!
//! It is this same process, going on as process 1 while a child executes the program: no binary of the host's is shown to the
//! container. It has already given up everything that the program may not have, and it holds no descriptor.

use linux::process::{
    Clone, Cloned, clone, close_from, exit_now, kill, reset_signals, set_signal_mask, wait_signal,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, wait};

use crate::error::failed;
use crate::{InitFailure, Step};

/// Signals that are about this process itself.
const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

/// Comes back in the child that is to execute the program; the caller becomes its reaper.
pub(crate) fn split() -> Result<(), InitFailure> {
    let all: Vec<i32> = (1..=64).collect();
    let at = |errno| failed(Step::Clone, "the program below init")(errno);
    // Blocked before the clone, so that no signal is lost between the two.
    set_signal_mask(&all).map_err(at)?;
    // The program shares this process's user: it must not look into what is still a copy of the supervisor.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at)?;
    match clone(Clone::default()).map_err(at)? {
        Cloned::Child => {
            foreground();
            reset_signals().map_err(at)
        }
        Cloned::Parent { pid, .. } => reap(pid, &all),
    }
}

/// A process group of the program's own, in front of the terminal where there is one.
fn foreground() {
    // Failures leave the program in init's group, where it works as well, without job control.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
}

fn reap(program: Pid, all: &[i32]) -> ! {
    // Also the link: the supervisor learns from the program alone.
    let _ = close_from(0);
    loop {
        match wait_signal(all) {
            Ok(SIGCHLD) => {
                if let Some(status) = reap_ended(program) {
                    exit_now(status);
                }
            }
            Ok(SIGTTIN | SIGTTOU) | Err(_) => {}
            Ok(signal) => {
                // It may have ended just now; then its SIGCHLD is on the way.
                let _ = kill(program, signal);
            }
        }
    }
}

/// Reaps all that have ended; the status when the program is among them.
fn reap_ended(program: Pid) -> Option<u8> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
                ended = code.map(|code| u8::try_from(code & 0xff).unwrap_or(255));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return ended,
        }
    }
}
