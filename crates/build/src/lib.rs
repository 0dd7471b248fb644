//! Solves a graph of build operations against a cache and a worker.
//!
//! ```text
//!             key of the definition          key of the content
//! node ──► known to the cache? ──no──► inputs ──► known? ──no──► claim ──► known by now? ──no──► the worker does it ──► kept
//!              │ yes                                │ yes                       │ yes
//!              └────────────────────────────────────┴───────────────────────────┴──► the worker restores it
//! ```
//!
//! A node's **definition** is what it does and the definitions of its inputs, down to sources, which the worker names by what
//! they hold at present (the config of an image, a commit, the digest of a file). It is known before anything is run, so of a node
//! whose definition the cache knows nothing is made but the file tree it stands on. A **content** key is made of what reaches the
//! node: the files that a copy selects, the layers that a program runs in. Files of the caller have this key alone. By it a step is
//! found again whose inputs were made anew and came out the same. Neither depends on a time, or on the name of a machine.
//!
//! What must hold:
//! - Nothing is run that no target needs, and nothing twice: equal work is one node, and two builds of it at once share it by a
//!   [`Cache::claim`] of its key.
//! - At most [`Options::programs`] programs run at once, and nothing waits for a place but what needs one.
//! - Whatever fails ends the rest: what runs is cancelled, and the first error is the one returned.
//! - This crate opens no file, asks no clock but that of steps, and knows neither containers nor databases.

mod cache;
mod cancel;
mod key;
mod solve;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

pub use cache::{Cache, Claim, Record};
pub use cancel::Cancel;
pub use key::Key;
pub use solve::{Failure, Options, solve};
pub use watch::{Event, Stream, Watch};
pub use worker::{Source, Step, Worker};
