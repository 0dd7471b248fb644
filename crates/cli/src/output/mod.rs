//! Values to text, and text to standard output and standard error.

pub(crate) mod list;
pub(crate) mod table;
pub(crate) mod units;
pub(crate) mod zone;

use std::io::{self, Write};

use linux::signal;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::flags::help;

/// Writes to standard output. A reader that went away ends the program by SIGPIPE, as it would have if it had not
/// been told to write all the same: nothing is said about it, and a shell knows.
pub(crate) fn print(text: &str) {
    match write(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => signal::end_by(signal::PIPE),
        // Whoever needs to know that all was written uses `write`.
        Ok(()) | Err(_) => {}
    }
}

/// Writes to standard output at once, without a buffer in between.
pub(crate) fn write(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether nobody reads standard output any more.
pub(crate) fn reader_is_gone() -> bool {
    let mut stdout = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())];
    let polled = rustix::event::poll(&mut stdout, Some(&Timespec::default()));
    polled.is_ok() && stdout[0].revents().contains(PollFlags::ERR)
}

/// Writes to standard error.
pub(crate) fn warn(text: &str) {
    // There is nowhere left to say that standard error does not work.
    let _written = io::stderr().write_all(text.as_bytes());
}

/// The same with what a program has said, whatever its characters are.
pub(crate) fn warn_bytes(bytes: &[u8]) {
    let _written = io::stderr().write_all(bytes);
}

/// One line of `skiff: …` on standard error, for a failure that does not end the command.
pub(crate) fn complain(error: &crate::error::Error) {
    warn(&format!("skiff: {}\n", error.chain()));
}

/// The same for one of several things.
pub(crate) fn complain_of(name: &str, error: &crate::error::Error) {
    warn(&format!("skiff: {name}: {}\n", error.chain()));
}

/// Rows of the terminal behind standard output; as many as anybody wants where there is none.
pub(crate) fn height() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or(usize::MAX, |size| match size.ws_row {
        0 => usize::MAX,
        rows => usize::from(rows),
    })
}

/// Columns of the terminal behind standard output, or those of a page.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or(help::DEFAULT_WIDTH, |size| match size.ws_col {
        0 => help::DEFAULT_WIDTH,
        columns => usize::from(columns),
    })
}
