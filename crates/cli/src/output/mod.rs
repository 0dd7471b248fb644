//! Values to text, and text to standard output and standard error.

pub(crate) mod list;
pub(crate) mod table;
pub(crate) mod units;

use std::io::{self, Write};

use crate::flags::help;

/// Writes to standard output. A reader that went away has had enough: nothing is said about it.
pub(crate) fn print(text: &str) {
    // Whoever needs to know that all was written uses `write`.
    let _written = write(text.as_bytes());
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

/// Writes to standard error.
pub(crate) fn warn(text: &str) {
    // There is nowhere left to say that standard error does not work.
    let _written = io::stderr().write_all(text.as_bytes());
}

/// One line of `skiff: …` on standard error, for a failure that does not end the command.
pub(crate) fn complain(error: &crate::error::Error) {
    warn(&format!("skiff: {}\n", error.chain()));
}

/// Columns of the terminal behind standard output, or those of a page.
pub(crate) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    size.map_or(help::DEFAULT_WIDTH, |size| match size.ws_col {
        0 => help::DEFAULT_WIDTH,
        columns => usize::from(columns),
    })
}
