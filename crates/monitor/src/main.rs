//! The monitor of one container, or a worker on lent ids; started by the client and of no use to anyone else.

#![allow(clippy::print_stderr, reason = "a program that was started by mistake says so")]

use std::process::ExitCode;

fn main() -> ExitCode {
    // The second descriptor keeps the mount that this program lies on: letting go of it takes time, which
    // nobody waits for when it happens at the very end.
    let Some((control, _mount)) = linux::detach::inherited() else {
        eprintln!("skiff-monitor supervises a container for `skiff run`; it is not run by hand");
        return ExitCode::from(2);
    };
    match monitor::serve(control) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads a message: whoever waits sees the socket close, and looks into the run directory.
        Err(_) => ExitCode::FAILURE,
    }
}
