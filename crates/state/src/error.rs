//! What can go wrong with the database, in words that say what to do.

use std::path::PathBuf;

use oci::ContainerId;

/// A failed attempt on the state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be opened.
    #[error("open the database {}", path.display())]
    Open {
        /// `state.db`.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is not a database, or a damaged one.
    #[error(
        "the database {} is damaged: restore it from a backup, or move it away and load the images again",
        path.display()
    )]
    Damaged {
        /// `state.db`.
        path: PathBuf,
        /// What SQLite found.
        #[source]
        source: rusqlite::Error,
    },
    /// Another process kept the database locked for longer than we wait.
    #[error("the database {} is locked by another process", path.display())]
    Locked {
        /// `state.db`.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The file or its file system cannot be written.
    #[error("the database {} cannot be written: check its owner, its mode and its file system", path.display())]
    ReadOnly {
        /// `state.db`.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// No space left.
    #[error("no space left for the database {}", path.display())]
    Full {
        /// `state.db`.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer Skiff wrote the database.
    #[error(
        "the database {} has schema version {found}, newer than the {known} known to this program: use the newer one",
        path.display()
    )]
    Newer {
        /// `state.db`.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        known: i64,
    },
    /// A statement failed.
    #[error("{action}")]
    Statement {
        /// What it was to do.
        action: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A row holds what no version of this program writes.
    #[error("{what} of {subject} in the database is malformed")]
    Malformed {
        /// Which field.
        what: &'static str,
        /// Whose.
        subject: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name belongs to another container.
    #[error("the name \"/{name}\" is already in use by container \"{by}\"")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        by: ContainerId,
    },
    /// Every range of the pool is in use.
    #[error("all {count} id ranges from {base} are in use: remove containers that are no longer needed")]
    NoRange {
        /// First id of the pool.
        base: u32,
        /// How many ranges it holds.
        count: u32,
    },
    /// An image that a row needs is not there.
    #[error("image {id} is not in the database")]
    NoImage {
        /// Its id.
        id: String,
    },
    /// A file beside the database.
    #[error("{action}")]
    File {
        /// What it was to do.
        action: &'static str,
        /// Why.
        #[source]
        source: linux::file::Error,
    },
}

/// The outcome of an attempt on the state.
pub type Result<T> = std::result::Result<T, Error>;
