//! What can go wrong, in words that engines look for.

use std::io;
use std::path::PathBuf;

use oci::runtime::Status;

pub(super) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{message}")]
    Usage { message: String },
    /// containerd and Podman look for these words.
    #[error("container does not exist: {id:?}")]
    Missing { id: String },
    #[error("container with id exists: {id:?}")]
    Exists { id: String },
    #[error(
        "invalid container id {id:?}: it may hold letters, digits, and the characters `_`, `+`, `-` and `.`"
    )]
    Id { id: String },
    /// containerd looks for these words.
    #[error("container not running: {id:?} is {}", status.as_str())]
    NotRunning { id: String, status: Status },
    #[error("cannot {verb} container {id:?}: it is {}", status.as_str())]
    WrongState { verb: &'static str, id: String, status: Status },
    #[error("{what} is not supported: {why}")]
    Unsupported { what: String, why: &'static str },
    #[error(transparent)]
    Spec(#[from] runtime::bundle::SpecError),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    #[error(transparent)]
    File(#[from] linux::file::Error),
    #[error("{attempt}")]
    System {
        attempt: String,
        #[source]
        source: io::Error,
    },
    #[error("parse {}", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("exec failed")]
    Exec(#[source] Box<Error>),
}

impl Error {
    pub(super) fn usage(message: String) -> Self {
        Self::Usage { message }
    }

    pub(super) fn system(attempt: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let attempt = attempt.into();
        move |errno| Self::System { attempt, source: errno.into() }
    }

    /// The program's exit status: 255 where a further process could not be started, as runc's.
    pub(super) fn status(&self) -> u8 {
        if matches!(self, Self::Exec(_)) { 255 } else { 1 }
    }

    /// The whole chain on one line.
    pub(super) fn chain(&self) -> String {
        linux::chain(self)
    }
}
