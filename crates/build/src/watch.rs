//! What happens during a build.

use std::time::Duration;

/// Something that happens to a node, by its number in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum Event<'a> {
    /// Work has begun: looking for a source, reading what is selected, running.
    Started { node: usize },
    /// It was known, and nothing is done.
    Cached { node: usize },
    /// A program said something.
    Output { node: usize, stream: Stream, bytes: &'a [u8] },
    /// So much of something is done: bytes, if there is a total, or files.
    Progress { node: usize, what: &'a str, current: u64, total: Option<u64> },
    /// It is done.
    Finished { node: usize, ran: Duration },
    /// It failed, or was ended because something else did.
    Ended { node: usize, ran: Duration, cancelled: bool },
}

/// Where a program said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the streams'")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Hears of what happens, from several threads.
pub type Watch<'a> = dyn Fn(Event<'_>) + Sync + 'a;
