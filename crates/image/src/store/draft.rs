//! Layers that are made here, one after the other, before there is an image that has them.
//!
//! ```text
//! draft.layer() ──written, hashed──► hand_in: leased, known to the draft ──► publish: synced, in layers/
//! draft.keep(layers)                 before they are looked for: what is there stays as long as the draft lives
//! ```
//!
//! A layer is in the store, whole and for good, when [`Draft::publish`] or [`LayerWriter::finish`] returns; nothing names it yet.
//! Whoever made it commits its name, if it is to outlive the draft: until then the draft's lease keeps it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use oci::DiffId;

use super::layer::LayerWriter;
use super::lease::Lease;
use super::pending::Pending;
use super::scratch::Scratch;
use super::stacked::Stacked;
use super::{Live, Store};
use crate::error::Result;

/// See the head of the file. Any thread may use it; dropping it lets go of what nothing names by then.
#[derive(Debug)]
pub struct Draft<'s> {
    store: &'s Store,
    lease: Mutex<Lease>,
    pub(super) stacked: Stacked,
    // Before the directory that they lie in.
    pub(super) pending: Pending,
    scratch: Scratch,
}

impl Store {
    /// Begins to make layers.
    ///
    /// # Errors
    /// If there is no room for half-done work.
    pub fn draft(&self) -> Result<Draft<'_>> {
        Ok(Draft {
            store: self,
            lease: Mutex::default(),
            stacked: Stacked::default(),
            pending: Pending::default(),
            scratch: Scratch::new(self)?,
        })
    }
}

impl<'s> Draft<'s> {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Keeps what is named from being collected. To be called before it is looked for.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn keep(&self, wanted: &Live) -> Result<()> {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.add(self.store, self.scratch.path(), wanted)
    }

    /// Keeps layers from being collected.
    ///
    /// # Errors
    /// As [`Draft::keep`].
    pub fn keep_layers<'a>(&self, layers: impl IntoIterator<Item = &'a DiffId>) -> Result<()> {
        let mut wanted = Live::default();
        layers.into_iter().for_each(|layer| wanted.layer(layer));
        self.keep(&wanted)
    }

    /// A path for half-done work, which goes with the draft, whatever is made there.
    #[must_use]
    pub fn fresh(&self, kind: &str) -> PathBuf {
        self.scratch.fresh(kind)
    }

    /// A new layer: its tar is to be written, with its end mark.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn layer(&self) -> Result<LayerWriter<'_, 's>> {
        LayerWriter::new(self, self.scratch.fresh("layer"))
    }
}
