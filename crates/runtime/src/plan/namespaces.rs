//! What of the host a container does not share, and how its ids are those of the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where one kind of namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Namespace {
    /// The caller's own.
    #[default]
    Inherit,
    /// A fresh one.
    New,
    /// An existing one, by a path such as `/proc/123/ns/net`.
    Join(PathBuf),
}

/// One choice for each kind that Linux has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the kernel's")]
pub struct Namespaces {
    pub user: Namespace,
    pub mount: Namespace,
    pub pid: Namespace,
    pub network: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
    pub time: Namespace,
}

/// Id maps of a user namespace, in the kernel's order: inside, outside, count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMap>,
    /// Group ids.
    pub gid: Vec<IdMap>,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id outside it.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// Clock offsets of a time namespace (time_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// Seconds and nanoseconds added to the monotonic clock.
    pub monotonic: (i64, u32),
    /// Seconds and nanoseconds added to the boot-time clock.
    pub boottime: (i64, u32),
}
