//! The kinds of namespaces, and what a plan does with each.

use std::os::fd::OwnedFd;

use linux::process::{NEW_CGROUP, NEW_IPC, NEW_NET, NEW_NS, NEW_PID, NEW_TIME, NEW_USER, NEW_UTS};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::failed;
use crate::plan::{Namespace, Namespaces};
use crate::{InitFailure, Step};

/// One kind.
pub(crate) struct Kind {
    pub(crate) bit: u64,
    /// As below `/proc/<pid>/ns`.
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Namespaces) -> &Namespace,
}

/// All of them, in the order in which they are joined: the user namespace first, for its capabilities; the mount
/// namespace last, for the paths.
pub(crate) const KINDS: [Kind; 8] = [
    Kind { bit: NEW_USER, name: "user", of: |all| &all.user },
    Kind { bit: NEW_PID, name: "pid", of: |all| &all.pid },
    Kind { bit: NEW_NET, name: "net", of: |all| &all.network },
    Kind { bit: NEW_IPC, name: "ipc", of: |all| &all.ipc },
    Kind { bit: NEW_UTS, name: "uts", of: |all| &all.uts },
    Kind { bit: NEW_CGROUP, name: "cgroup", of: |all| &all.cgroup },
    Kind { bit: NEW_TIME, name: "time", of: |all| &all.time },
    Kind { bit: NEW_NS, name: "mnt", of: |all| &all.mount },
];

/// Bits of the new ones.
pub(crate) fn new_bits(namespaces: &Namespaces) -> u64 {
    KINDS.iter().filter(|kind| *(kind.of)(namespaces) == Namespace::New).fold(0, |bits, kind| bits | kind.bit)
}

/// The joined ones, opened.
pub(crate) fn open_joined(namespaces: &Namespaces) -> Result<Vec<(OwnedFd, u64)>, InitFailure> {
    let mut opened = Vec::new();
    for kind in &KINDS {
        if let Namespace::Join(path) = (kind.of)(namespaces) {
            let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(failed(Step::Join, format!("{} at {}", kind.name, path.display())))?;
            opened.push((file, kind.bit));
        }
    }
    Ok(opened)
}
