//! What is kept of results, for later builds.

use dockerfile::lower::Node;
use oci::DiffId;

use crate::{Key, Step};

/// What a node has made: one layer upon the file tree of its first input, or upon nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The digest of the layer's tar.
    pub layer: DiffId,
    /// Its bytes.
    pub size: u64,
}

/// Ends when it is dropped.
pub type Claim = Box<dyn Send>;

/// Records by their keys.
///
/// What a cache says of a key may be out of date at once: a layer that is gone by then is one that [`crate::Worker::restore`] does
/// not find, and the node is done anew.
pub trait Cache: Sync {
    /// Why it failed.
    type Error: std::error::Error + Send + 'static;

    /// What is known by a key. Asked for once or twice a node, so it should cost no more than some microseconds.
    ///
    /// # Errors
    /// If nobody can tell.
    fn find(&self, key: &Key) -> Result<Option<Record>, Self::Error>;

    /// Keeps a record under keys, in place of what was known by them. The node is for people, who are told its name and its kind.
    ///
    /// # Errors
    /// If it cannot be written.
    fn keep(&self, keys: &[Key], record: &Record, node: &Node) -> Result<(), Self::Error>;

    /// Waits until nobody else works on this key, in this process or another, and keeps others from doing so. None when the build
    /// was cancelled meanwhile. Called from a thread that may wait, which the step's progress may tell of.
    ///
    /// # Errors
    /// If that cannot be made sure of.
    fn claim(&self, key: &Key, step: &Step<'_>) -> Result<Option<Claim>, Self::Error>;
}
