//! Limits, freezing, killing and statistics of control groups; version 2 and version 1 behind one interface.
//!
//! A [`Plan`] says what a group should be, as plain data; [`Cgroup::create`] makes it, all of it or nothing. A process enters by
//! being cloned into it (`CLONE_INTO_CGROUP`, [`Cgroup::clone_target`]) and, where there are version 1 hierarchies,
//! by a write of its own to each ([`Joiner`]): moving another process costs 10 ms on an idle machine. Whoever did
//! not make a group finds everything again from its path ([`Cgroup::open`]).
//!
//! Limits are in the words and units of the OCI runtime specification, which are version 1's. Pure code turns them
//! into settings (`legacy`, `unified`: one value for one file); `apply` decides which hierarchy holds which,
//! and writes. Device rules become version 1 exceptions (`devices`) or a BPF program (`device_program`). A
//! limit that the kernel cannot enforce is [`Error::Unenforceable`]; what Docker drops with a warning instead is
//! decided by [`check()`], which its front end calls first.
//!
//! What must hold: nothing is made or removed outside the path that was asked for (no `..`, no link is followed);
//! a group that could not be made in full is gone; a removed one leaves no process behind.

mod apply;
mod below;
mod capabilities;
mod check;
mod control;
mod convert;
mod delegate;
mod device_program;
mod devices;
mod dir;
mod error;
mod group;
mod hierarchy;
mod inherit;
mod legacy;
mod node;
mod oom;
mod path;
mod plan;
mod setting;
mod stats;
#[cfg(test)]
mod tests;
mod unified;

pub use below::Below;
pub use capabilities::Capabilities;
pub use check::{Warning, check};
pub use control::State;
pub use error::{Error, Result};
pub use group::{Cgroup, Joiner};
pub use hierarchy::{Controller, Hierarchy, Version};
pub use oom::OomWatch;
pub use path::SystemdPath;
pub use plan::{BlockIo, DeviceKind, DeviceRule, Limits, Plan};
pub use stats::{BlockIoEntry, BlockIoStats, CpuStats, Gauge, MemoryStats, PidsStats, Stats, Usage, Vitals};
