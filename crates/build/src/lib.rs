//! Solves a graph of build operations against a cache and a worker.
//!
//! ```text
//! node ──► is its definition known? ──no──► all inputs ──► known? ──no──► by what reaches it? ──no──► claim ──► by now? ──no──► done, kept
//!              │ yes                                         │ yes             │ yes                              │ yes
//!              └──► its base alone ──► known upon that? ───────┴─────────────────┴──────────────────────────────────┴──► restored
//!                                         │ no: as above
//! ```
//!
//! A node's **definition** is what it does and the definitions of its inputs, down to sources, which the worker names by what
//! they hold at present (the config of an image, a commit, the digest of a file). It is known before anything is run: of a node
//! that the cache knows by it, nothing is needed but the file tree it stands on. Files of the caller have no such name: who takes some
//! of them is defined by what it takes ([`Worker::taken`]).
//!
//! A layer counts only for what it was made for. So results are kept by keys that are finer than definitions, and those decide:
//!
//! | key | made of what is done and | known when |
//! |---|---|---|
//! | definition | the definitions of all inputs | sources were looked for |
//! | upon | the base's layers, the definitions of the others | the base is there |
//! | trees | the layers of all inputs | all inputs are there |
//! | content | what [`Worker::content`] says: files that a copy selects, layers that a program runs in | they were read |
//!
//! No key depends on the clock, on the name of a machine, on a secret or a proxy. What decides over an operation and is no part of it comes
//! in as [`Options::salt`]. What is made is kept by all of them, what is
//! found by one by those above it, so that the next build finds it sooner: the build after any build writes nothing.
//!
//! Whoever hands the cache on wants to hear of all that is known of a graph, also of what no target needed: [`Options::asks_all`].
//!
//! What must hold:
//! - Nothing is run that no target needs, and nothing twice: equal work is one node, equal content is made by one of those that have it,
//!   and two builds of it at once share it by a [`Cache::claim`].
//! - At most [`Options::programs`] programs run at once, and nothing waits for a place but what needs one.
//! - Whatever fails ends the rest: what runs is cancelled, and the first error is the one returned.
//! - No graph is too deep: nothing recurses, and all bookkeeping is linear in nodes and edges.
//! - This crate opens no file, asks no clock but that of steps, and knows neither containers nor databases.
//!
//! ```text
//! reach      what the targets need of a graph
//! schedule   which job is next, without threads; queue has what could be done at once, demand who needs what, survey the rest
//! job        what is done between two looks at the schedule
//! solve      the threads
//! ```

mod cache;
mod cancel;
mod job;
mod key;
mod queue;
mod reach;
mod schedule;
mod solve;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use cache::{Cache, Claim, Record};
pub use cancel::Cancel;
pub use key::Key;
pub use solve::{Failure, Options, Salt, solve};
pub use watch::{Event, Stream, Watch};
pub use worker::{Source, Step, Worker};
