//! What can go wrong with the store itself, as opposed to what a client may not do.

use std::path::PathBuf;

use linux::file;

/// A failed attempt on the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be handled.
    #[error("{action}")]
    File {
        /// What it was for.
        action: &'static str,
        /// The attempt.
        #[source]
        source: file::Error,
    },
    /// Another server has the root.
    #[error("{} is served by another process", path.display())]
    Taken {
        /// The root.
        path: PathBuf,
    },
    /// The records could not be read or written.
    #[error("{action}")]
    Records {
        /// What was attempted.
        action: &'static str,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version has made the records.
    #[error("{} has schema {found}, and this version knows {known}: use a later one", path.display())]
    Newer {
        /// `registry.db`.
        path: PathBuf,
        /// What is there.
        found: i64,
        /// What this program writes.
        known: i64,
    },
    /// The thread that writes the records has ended.
    #[error("the store is being closed")]
    Closing,
    /// The kernel has no threads or no randomness.
    #[error("{action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the disk is full, so that a client is told to come back later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = |kind| matches!(kind, std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        match self {
            Self::File { source, .. } => full(source.kind()),
            Self::System { source, .. } => full(source.kind()),
            Self::Records { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Taken { .. } | Self::Newer { .. } | Self::Closing => false,
        }
    }
}

/// The outcome of an attempt on the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives a file's error its purpose.
pub(crate) trait Purpose<T> {
    /// Names the purpose.
    fn to(self, action: &'static str) -> Result<T>;
}

impl<T> Purpose<T> for file::Result<T> {
    fn to(self, action: &'static str) -> Result<T> {
        self.map_err(|source| Error::File { action, source })
    }
}

impl<T> Purpose<T> for rusqlite::Result<T> {
    fn to(self, action: &'static str) -> Result<T> {
        self.map_err(|source| Error::Records { action, source })
    }
}
