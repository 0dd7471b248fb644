//! What can go wrong with a control group, each with what was attempted and on what.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::dir::Dir;

/// The outcome of an attempt on a control group.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a control group could not be made, changed, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan's path cannot name a group.
    #[error("control group path {} {reason}", path.display())]
    Path {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it, to be read after the path.
        reason: &'static str,
    },
    /// The path is systemd's (`slice:prefix:name`), or systemd was asked for.
    #[error(
        "control group {path:?} is to be made by systemd, which this version cannot ask; name a path such as /skiff/ID and leave out --systemd-cgroup"
    )]
    Systemd {
        /// As it was given.
        path: String,
    },
    /// No control group file system is mounted, or none below which our own group can be found.
    #[error("no control group hierarchy is mounted that could hold {}", path.display())]
    NotMounted {
        /// The group that was wanted.
        path: PathBuf,
    },
    /// The kernel lets this process make no group there: nothing was delegated to it.
    #[error("control group {} is not delegated to this user", path.display())]
    NotDelegated {
        /// The directory that could not be made or written.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// There is a group of that name with processes or groups in it.
    #[error("control group {} is in use by other processes", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
    },
    /// There is no such group.
    #[error("control group {} does not exist", path.display())]
    Missing {
        /// The group that was looked for.
        path: PathBuf,
    },
    /// A controller was named that has no version 1 hierarchy here.
    #[error("controller {controller} has no version 1 hierarchy here; name a path without a controller")]
    NoController {
        /// Its version 1 name.
        controller: &'static str,
    },
    /// This kernel, or this hierarchy, cannot enforce a limit that was asked for.
    #[error("limit {limit} cannot be enforced here: {reason}")]
    Unenforceable {
        /// The limit by its name in the OCI runtime specification (`memory.swap`).
        limit: String,
        /// Why, and what would help.
        reason: String,
    },
    /// A limit's value makes no sense anywhere.
    #[error("limit {limit} = {value} {reason}")]
    Invalid {
        /// The limit by its name in the OCI runtime specification.
        limit: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong with it, to be read after the value.
        reason: String,
    },
    /// The kernel refused a limit's value.
    #[error("set limit {limit}: write {value:?} to {}", file.display())]
    Set {
        /// The limit by its name in the OCI runtime specification.
        limit: &'static str,
        /// The kernel's file.
        file: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// A step on one group failed.
    #[error("{attempt} {}", path.display())]
    Group {
        /// A verb: `make`, `open`, `read`, …
        attempt: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// A file of the kernel does not read as it should.
    #[error("cannot make sense of {}: {content:?}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it says.
        content: String,
    },
    /// The device program could not be loaded or attached by root.
    #[error("{attempt} the device program of control group {}", path.display())]
    DeviceProgram {
        /// `load`, `attach`, …
        attempt: &'static str,
        /// The group's directory.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        errno: Errno,
    },
    /// The kernel did not get there in time.
    #[error("control group {} was not {state} within {waited_ms} ms", path.display())]
    Timeout {
        /// The group's directory.
        path: PathBuf,
        /// `frozen`, `thawed`, `empty`.
        state: &'static str,
        /// How long we waited.
        waited_ms: u64,
    },
    /// What `/proc` says of us could not be read.
    #[error("find the control groups of this process")]
    Detect(#[source] linux::file::Error),
}

impl Error {
    pub(crate) fn timeout(dir: &Dir, state: &'static str, waited: Duration) -> Self {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        Self::Timeout { path: dir.path().to_owned(), state, waited_ms }
    }

    /// Whether the caller may go on without a group: it has no right to make one, or there is nowhere to
    /// make it. This is the ordinary state of a user without root to whom nothing is delegated.
    pub fn is_not_delegated(&self) -> bool {
        matches!(self, Self::NotDelegated { .. } | Self::NotMounted { .. })
    }
}
