//! Removing trees, also those of which files belong to others.
//!
//! Who unpacks in a user namespace leaves files of ids that are its own only there. This crate makes no namespaces, so
//! whoever does lends it a way to have such trees removed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux::file::{self, Named as _};

/// Removes whole trees; what is gone already is no error.
type Remove = dyn Fn(&[PathBuf]) -> io::Result<()> + Send + Sync;

/// Removes trees that this process may not remove itself. By default there is no way to.
#[derive(Clone, Default)]
pub struct Remover(Option<Arc<Remove>>);

impl Remover {
    /// Asks `remove`, once for several trees, where this process's own rights do not suffice.
    pub fn new(remove: impl Fn(&[PathBuf]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(remove)))
    }

    /// Removes `trees`, one after the other and then, together, those that others have files in. One that is not there is
    /// no error.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn remove(&self, trees: &[PathBuf]) -> file::Result<()> {
        let mut kept: Vec<PathBuf> = Vec::new();
        let mut refused = None;
        for tree in trees {
            match file::remove_tree(tree) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    kept.push(tree.clone());
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(refused) = refused else { return Ok(()) };
        match &self.0 {
            Some(remove) => {
                remove(&kept).named("remove", kept.first().map_or(Path::new(""), PathBuf::as_path))
            }
            None => Err(refused),
        }
    }
}

impl fmt::Debug for Remover {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "Remover(lent)" } else { "Remover(none)" })
    }
}
