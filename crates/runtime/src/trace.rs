//! Time stamps of the start path, for the bench; costs one load per mark when off.
//!
//! One line per mark, `<monotonic nanoseconds> <who> <step>`, in one `write` to a descriptor opened with
//! `O_APPEND` (a file or a memfd), so that supervisor and init share it without a lock.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

static SINK: OnceLock<OwnedFd> = OnceLock::new();

/// Turns marks on for this process and what it clones; the first sink stays.
pub fn enable(sink: OwnedFd) {
    // A second sink is dropped, and that is all there is to say about it.
    drop(SINK.set(sink));
}

/// Records that `who` finished `step`.
pub fn mark(who: &str, step: &str) {
    let Some(sink) = SINK.get() else { return };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let line = format!("{} {who} {step}\n", now.tv_sec * 1_000_000_000 + now.tv_nsec);
    // A lost mark is a hole in a measurement, never a reason to fail a start.
    let _ = rustix::io::write(sink, line.as_bytes());
}

/// The sink, for a program that is executed on purpose with it.
pub fn sink() -> Option<BorrowedFd<'static>> {
    SINK.get().filter(|sink| sink.as_raw_fd() >= 0).map(std::os::fd::AsFd::as_fd)
}
