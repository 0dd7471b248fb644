//! `diff` and `export`: what a container has written, and all that it has.

use std::os::fd::BorrowedFd;

pub use image::files::{Change, ChangeKind};

use crate::{Engine, Result};

impl Engine {
    /// What a container changed in its file system since it was made, by path. What is mounted in it does not count.
    pub fn diff(&self, name: &str) -> Result<Vec<Change>> {
        let found = self.container(name)?;
        let layer = self.writable_layer(&found)?;
        // Not made yet: there is no layer above the image's, and the image's own is no change.
        if !self.has_layer(found.id()) {
            return Ok(Vec::new());
        }
        layer.changes()
    }

    /// Writes a container's file system as a tar: merged, without what is mounted in it.
    pub fn export(&self, name: &str, out: BorrowedFd<'_>) -> Result<()> {
        let found = self.container(name)?;
        found.must_stay("export")?;
        self.writable_layer(&found)?.export(out)?;
        self.container_event("export", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }
}
