//! Why a bundle cannot be turned into a plan.

use std::path::PathBuf;

use crate::seccomp::ProfileError;

/// A refusal, which names the field.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// `config.json` cannot be read.
    #[error("read the bundle's {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<linux::file::Error>,
    },
    /// `config.json` is not the JSON of a container.
    #[error("parse {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where.
        #[source]
        source: serde_json::Error,
    },
    /// A required field is absent or empty.
    #[error("config.json has no {field}, which is required")]
    Missing {
        /// Its path in the document.
        field: String,
    },
    /// A value that the specification does not allow.
    #[error("config.json: {field} is {value:?}: {why}")]
    Invalid {
        /// Its path in the document.
        field: String,
        /// As written.
        value: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A value that is right but not to be had here.
    #[error("config.json: {field} is not supported: {why}")]
    Unsupported {
        /// Its path in the document.
        field: String,
        /// What stands against it.
        why: &'static str,
    },
    /// `linux.seccomp` is wrong.
    #[error("config.json: linux.seccomp")]
    Seccomp {
        /// Which rule it breaks.
        #[source]
        source: ProfileError,
    },
}

/// Result of reading a bundle.
pub(super) type Result<T> = std::result::Result<T, SpecError>;

pub(super) fn invalid<T>(field: impl Into<String>, value: impl ToString, why: &'static str) -> Result<T> {
    Err(SpecError::Invalid { field: field.into(), value: value.to_string(), why })
}

pub(super) fn unsupported<T>(field: impl Into<String>, why: &'static str) -> Result<T> {
    Err(SpecError::Unsupported { field: field.into(), why })
}

pub(super) fn missing<T>(field: impl Into<String>) -> Result<T> {
    Err(SpecError::Missing { field: field.into() })
}
