//! What a front end shows of a build.

use std::time::Duration;

use build::Stream;
use oci::Digest;

/// Something that is done, as people see it: `[build 2/5] RUN make`, `exporting to image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Its number within the build, which no other has.
    pub id: usize,
    /// Its digest, as BuildKit's clients know vertices.
    pub digest: Digest,
    /// Its name.
    pub name: String,
    /// The numbers of those before it.
    pub inputs: Vec<usize>,
    /// Whether it belongs to the builder, not to the Dockerfile: `[internal] load .dockerignore`.
    pub internal: bool,
}

/// Something that happens to a vertex, which was made known before.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum BuildEvent<'a> {
    /// There is one more.
    Vertex(&'a Vertex),
    /// Work on it has begun.
    Started { id: usize },
    /// The cache had it.
    Cached { id: usize },
    /// A program said something: whole or partial lines.
    Output { id: usize, stream: Stream, bytes: &'a [u8] },
    /// So much of a part is done: `transferring context:`, `extracting sha256:…`. Bytes, or things where `is_count`.
    Progress { id: usize, part: &'a str, current: u64, total: Option<u64>, is_done: bool },
    /// It is done, after so much time of its own.
    Finished { id: usize, ran: Duration },
    /// It failed with this, or was ended because something else did.
    Failed { id: usize, ran: Duration, error: &'a str, is_cancelled: bool },
    /// A check of the Dockerfile that it does not pass.
    Warning { warning: &'a dockerfile::lint::Warning, source: &'a dockerfile::source::Source },
}

/// Hears of what happens, from several threads.
pub type BuildWatch<'a> = dyn Fn(BuildEvent<'_>) + Sync + 'a;
