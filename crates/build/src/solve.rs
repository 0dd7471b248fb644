//! The order of things.

use dockerfile::lower::{Graph, Node};

use crate::{Cache, Cancel, Watch, Worker};

/// How a graph is solved.
pub struct Options<'a> {
    /// Programs that run at once.
    pub programs: usize,
    /// Whether a node is to be done anew, whatever is known of it.
    pub anew: &'a (dyn Fn(&Node) -> bool + Sync),
}

/// Why a graph has no solution.
#[derive(Debug)]
pub struct Failure<E> {
    /// At which node; none if the cache failed.
    pub node: Option<usize>,
    /// Why; none if the build was cancelled from outside.
    pub error: Option<E>,
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
