//! Content that somebody reads for as long as it takes, without holding up who collects.

use super::lease::Lease;
use super::scratch::Scratch;
use super::{Live, Store};
use crate::error::Result;

/// Keeps what it names from being collected, for as long as it lives.
#[derive(Debug)]
#[must_use]
pub struct Kept {
    _scratch: Scratch,
    _lease: Lease,
}

impl Store {
    /// Keeps content that is to be read. What is named may be gone already: it is to be looked for after this.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn keep(&self, wanted: &Live) -> Result<Kept> {
        let scratch = Scratch::new(self)?;
        let mut lease = Lease::default();
        lease.add(self, scratch.path(), wanted)?;
        Ok(Kept { _scratch: scratch, _lease: lease })
    }
}
