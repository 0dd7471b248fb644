//! One line, or a piece of one, on its way into a log.

use super::lines::Part;

/// A stream's name in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        }
    }
}

/// What is logged at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) source: Source,
    /// With its line feed, if it has one.
    pub(crate) text: &'a [u8],
    /// Set where it is a piece of a longer line.
    pub(crate) part: Option<Part<'a>>,
    /// Nanoseconds since 1970; of all pieces of a line, when its first was written.
    pub(crate) time_ns: i64,
}

impl Entry<'_> {
    /// Without its line feed.
    pub(crate) fn line(&self) -> &[u8] {
        self.text.strip_suffix(b"\n").unwrap_or(self.text)
    }
}
