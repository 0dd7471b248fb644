//! A file that is written beside its place until it is whole: a failure leaves what was there.

use std::fs::File;
use std::path::PathBuf;

use crate::context::absolute;
use crate::error::Result;

/// Dropping this removes it.
pub(crate) struct Partial {
    pub(crate) file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Partial {
    /// Begins a file that is to replace `path`.
    pub(crate) fn create(path: &str) -> Result<Partial> {
        let target = absolute(path)?;
        let mut path = target.clone().into_os_string();
        path.push(format!(".skiff-{}", std::process::id()));
        let path = PathBuf::from(path);
        Ok(Partial { file: linux::file::create_new(&path, 0o600)?, path, target })
    }

    /// Puts it in its place.
    pub(crate) fn finish(self) -> Result<()> {
        linux::file::rename(&self.path, &self.target)?;
        // There is nothing left to remove.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The failure that brought us here is the one to report.
        let _removed = linux::file::remove(&self.path);
    }
}
