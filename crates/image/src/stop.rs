//! Work that takes long, and that its caller may not want any more.

use std::io::{self, Write};

/// Whether to stop; asked often, by any thread.
pub type Stop<'a> = dyn Fn() -> bool + Sync + 'a;

/// What work ends with that was stopped.
#[derive(Debug, thiserror::Error)]
#[error("it was stopped")]
struct Stopped;

/// # Errors
/// If it is to stop.
pub(crate) fn check(stop: &Stop<'_>) -> io::Result<()> {
    if stop() { Err(io::Error::other(Stopped)) } else { Ok(()) }
}

/// A writer that takes nothing more once it is to stop.
pub struct Stopping<'a, W> {
    out: W,
    stop: &'a Stop<'a>,
}

impl<'a, W: Write> Stopping<'a, W> {
    /// Writes to `out`.
    pub fn new(out: W, stop: &'a Stop<'a>) -> Self {
        Self { out, stop }
    }
}

impl<W: Write> Write for Stopping<'_, W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        check(self.stop)?;
        self.out.write(content)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
