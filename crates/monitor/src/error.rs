//! What can go wrong between a caller and a monitor.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::exit::LaunchFailure;
use crate::life::Refused;

/// The outcome of talking to a monitor, or of being one.
pub type Result<T> = std::result::Result<T, Error>;

/// An attempt and its subject; the source says why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The monitor binary could not be started.
    #[error("start the monitor {}", program.display())]
    Spawn {
        /// The binary.
        program: PathBuf,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// The container's program could not be started.
    #[error("start the container")]
    Launch(#[source] LaunchFailure),
    /// A program could not be started in a running container.
    #[error("start a program in the container")]
    Exec(#[source] LaunchFailure),
    /// The container has a monitor already.
    #[error("the container is already running")]
    AlreadyRunning,
    /// No monitor listens: the container is not running.
    #[error("the container is not running")]
    NotRunning,
    /// The monitor went away before it answered; what became of the container is in its run directory.
    #[error("the container's monitor ended without an answer")]
    Gone,
    /// The container's phase does not allow the request.
    #[error("the container refuses")]
    Refused(#[source] Refused),
    /// The other side does not speak this protocol, or is not who it should be.
    #[error("talk to the monitor: {reason}")]
    Protocol {
        /// What was wrong.
        reason: &'static str,
    },
    /// The monitor could not do what was asked.
    #[error("{attempt}: {message}")]
    Remote {
        /// What the monitor attempted.
        attempt: String,
        /// Why it failed.
        message: String,
    },
    /// A system call failed.
    #[error("{attempt}")]
    System {
        /// What was attempted, on what.
        attempt: &'static str,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// A control group failed.
    #[error("{attempt}")]
    Cgroup {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: cgroup::Error,
    },
    /// The runtime failed.
    #[error("{attempt}")]
    Runtime {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        source: runtime::Error,
    },
    /// A file of ours failed.
    #[error("keep the container's files")]
    File(#[source] linux::file::Error),
    /// A status that does not parse.
    #[error("read {}", path.display())]
    Status {
        /// The status file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Docker's exit code of a failed start; None when this is no failure to start.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Error::Launch(failure) | Error::Exec(failure) => Some(failure.exit_code),
            Error::Spawn { .. }
            | Error::AlreadyRunning
            | Error::NotRunning
            | Error::Gone
            | Error::Refused(_)
            | Error::Protocol { .. }
            | Error::Remote { .. }
            | Error::System { .. }
            | Error::Cgroup { .. }
            | Error::Runtime { .. }
            | Error::File(_)
            | Error::Status { .. } => None,
        }
    }

    pub(crate) fn system(attempt: &'static str) -> impl FnOnce(Errno) -> Error {
        move |errno| Error::System { attempt, errno }
    }

    pub(crate) fn cgroup(attempt: &'static str) -> impl FnOnce(cgroup::Error) -> Error {
        move |source| Error::Cgroup { attempt, source }
    }
}
