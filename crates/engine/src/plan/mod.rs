//! From a request to a container, decided in full: pure functions over plain data.
//!
//! [`spec`] merges a request with its image into what is kept ([`ContainerSpec`]) and refuses what cannot be.
//! [`launch()`] turns what was kept into what a monitor enacts. Whatever has to be looked up on the host comes in
//! as [`HostFacts`] and [`Surroundings`], so that every rule can be tested as a table.

mod capability;
mod device;
mod environment;
mod health;
mod identity;
mod launch;
mod limits;
mod log;
mod mounts;
mod named;
pub(crate) mod order;
mod process;
mod quota;
mod spec;
mod sysctl;
mod update;

use std::path::PathBuf;

use runtime::plan::{IdMaps, RootSource, SeccompFilter};

pub(crate) use device::DeviceNode;
pub(crate) use health::{command as health_command, schedule as health_schedule};
pub(crate) use identity::{lent, lent_for_files, needs_range, root_outside};
pub(crate) use launch::{ahead, capabilities, exec, hidden, launch, may_join_ipc, visit};
pub(crate) use limits::{asks_for_any, check as check_limits, check_nodes as check_memory_nodes, limits};
pub use log::LogError;
pub(crate) use log::{LOG_DRIVERS, Subject, log, log_plan};
pub use mounts::Hidden;
pub(crate) use mounts::{Volume, mount_points, volumes};
pub(crate) use named::{DeviceEdits, NamedNode};
pub(crate) use quota::quota;
pub(crate) use spec::{ImageFacts, spec};
pub(crate) use update::merge as merge_update;

/// What is true of the host, for every container alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Missing with root.
    pub(crate) rootless: Option<Rootless>,
    /// CPUs that may be used.
    pub(crate) cpus: u32,
    /// Capabilities that this process may hand on: those it is permitted.
    pub(crate) capabilities: u64,
    /// The host's own name, for `--uts host`.
    pub(crate) hostname: String,
    /// CPUs whose `thermal_throttle` counters are there to be hidden.
    pub(crate) thermal_cpus: u32,
    /// Where control groups are made.
    pub(crate) cgroups: CgroupPlace,
    /// `/dev/mqueue` is there to be bound.
    pub(crate) mqueue: bool,
}

/// An ordinary user, and the ids lent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rootless {
    /// Ids of the caller.
    pub(crate) uid: u32,
    /// Ids of the caller.
    pub(crate) gid: u32,
    /// Ranges of subordinate ids, each its first id and how many (`/etc/subuid`); none where nothing can map them.
    pub(crate) uids: Vec<(u32, u32)>,
    /// The same for groups.
    pub(crate) gids: Vec<(u32, u32)>,
}

/// Where a container's control group is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupPlace {
    /// Below the root of every hierarchy.
    Root,
    /// Below the caller's own group, which was delegated to it.
    Own,
    /// Nowhere: nothing is delegated.
    Nowhere,
}

/// What a start has looked up for one container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surroundings {
    /// Its root file system.
    pub(crate) root: RootSource,
    /// First host id of its range, when it has one.
    pub(crate) id_base: Option<u32>,
    /// The devices it asked for; all of the host's when privileged.
    pub(crate) devices: Vec<DeviceNode>,
    /// What the devices that it has by name change.
    pub(crate) named: DeviceEdits,
    /// The containers whose namespaces it joins.
    pub(crate) joined: Joined,
    /// Its filter.
    pub(crate) seccomp: Option<SeccompFilter>,
    /// Where its `hostname`, `hosts` and `resolv.conf` lie.
    pub(crate) files: PathBuf,
    /// Where its volumes lie, once they are filled.
    pub(crate) volumes: PathBuf,
    /// Its `/dev/shm` on the host, when others may join it.
    pub(crate) shm: PathBuf,
    /// Limits that this kernel can enforce, from [`limits`]; missing when none were asked for.
    pub(crate) limits: Option<cgroup::Limits>,
}

/// Processes of containers whose namespaces are joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Joined {
    /// `--pid container:…`.
    pub(crate) pid: Option<Peer>,
    /// `--ipc container:…`.
    pub(crate) ipc: Option<Peer>,
    /// `--network container:…`.
    pub(crate) network: Option<Peer>,
}

/// A running container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    /// Its first process as the host numbers it.
    pub(crate) pid: i32,
    /// Its id maps; empty when it shares the host's ids.
    pub(crate) maps: IdMaps,
    /// Its `/dev/shm` on the host.
    pub(crate) shm: PathBuf,
}
