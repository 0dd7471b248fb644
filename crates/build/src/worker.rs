//! Who does what a node says.

use dockerfile::lower::Node;
use oci::Digest;

use crate::{Cancel, Event, Record, Stream, Watch};

/// What a source is at present.
#[derive(Clone, Debug)]
pub enum Source<T> {
    /// It is here. Without an identity its content counts where it is selected, and not its name: files of the caller.
    Here {
        /// It.
        tree: T,
        /// What it is, such as an image's config.
        identity: Option<Digest>,
    },
    /// It is made when somebody needs it, by [`Worker::perform`]; this is what one would get: a commit, the digest of a file.
    There {
        /// What it is.
        identity: Digest,
    },
}

/// Does the work of nodes. Called from several threads.
pub trait Worker: Sync {
    /// A file tree that was made or found: cheap to clone.
    type Tree: Clone + Send + Sync;
    /// Why it failed.
    type Error: std::error::Error + Send + 'static;

    /// Looks up a node without inputs: an image, a context, a URL, a repository, a document, nothing.
    ///
    /// # Errors
    /// If it cannot be found.
    fn source(&self, node: &Node, step: &Step<'_>) -> Result<Source<Self::Tree>, Self::Error>;

    /// The digest of what a node gets from the content of some of its inputs, never of its base: those that are given, each at its place.
    /// Asked for where such an input has no name of its own. Equal digests are of equal content, whatever else is given.
    ///
    /// # Errors
    /// As [`Worker::content`].
    fn taken(
        &self,
        node: &Node,
        given: &[Option<Self::Tree>],
        step: &Step<'_>,
    ) -> Result<Digest, Self::Error>;

    /// The digest of all that a node gets from the content of its inputs: of a copy the selected files (path, mode, owner,
    /// content; no times), of a program the layers it runs in and the files that are mounted.
    ///
    /// # Errors
    /// If they cannot be read, or something that is named is not there.
    fn content(&self, node: &Node, inputs: &[Self::Tree], step: &Step<'_>) -> Result<Digest, Self::Error>;

    /// Does it, and has what it made stored for good.
    ///
    /// # Errors
    /// If it fails, or is cancelled.
    fn perform(&self, node: &Node, inputs: &[Self::Tree], step: &Step<'_>) -> Result<Record, Self::Error>;

    /// The tree of a record: its layer upon that of the node's first input, if there is one. None if the layer is gone.
    ///
    /// # Errors
    /// If nobody can tell.
    fn restore(
        &self,
        node: &Node,
        base: Option<&Self::Tree>,
        record: &Record,
    ) -> Result<Option<Self::Tree>, Self::Error>;
}

/// The node that is worked on, for its worker.
pub struct Step<'a> {
    /// Its number in the graph.
    pub number: usize,
    /// Whether to go on.
    pub cancel: &'a Cancel,
    pub(crate) watch: &'a Watch<'a>,
}

impl<'a> Step<'a> {
    /// For a worker that is called without a solver.
    #[must_use]
    pub fn new(number: usize, cancel: &'a Cancel, watch: &'a Watch<'a>) -> Self {
        Self { number, cancel, watch }
    }

    /// A program said something.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        (self.watch)(Event::Output { node: self.number, stream, bytes });
    }

    /// So much is done of something.
    pub fn progress(&self, what: &str, current: u64, total: Option<u64>) {
        (self.watch)(Event::Progress { node: self.number, what, current, total });
    }
}
