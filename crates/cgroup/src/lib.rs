//! Limits, freezing, killing and statistics of control groups; version 2 and version 1 behind one interface.

mod check;
mod error;
mod group;
mod hierarchy;
mod plan;
mod stats;

pub use check::{Capabilities, Warning, check};
pub use error::{Error, Result};
pub use group::{Cgroup, Joiner, OomWatch, State};
pub use hierarchy::{Controller, Hierarchy, Version};
pub use plan::{BlockIo, DeviceKind, DeviceRule, Limits, Plan};
pub use stats::{BlockIoEntry, BlockIoStats, CpuStats, MemoryStats, PidsStats, Stats, Usage};
