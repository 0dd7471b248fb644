//! What a control group should be, as plain data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A control group to make: where, and with which limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Path below every hierarchy's root (`/skiff/<id>`), or below the caller's own group when relative.
    pub path: PathBuf,
    /// Limits to set.
    pub limits: Limits,
}

/// Limits of one group. `None` leaves the kernel's default. Units are those of the OCI runtime
/// specification (config-linux.md, "Control groups"): bytes, microseconds, version 1 shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; -1 is no limit.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memory_and_swap: Option<i64>,
    /// Soft limit in bytes.
    pub memory_reservation: Option<i64>,
    /// Refuse an update that lowers `memory` below what is in use, instead of letting the kernel kill.
    pub memory_check_before_update: bool,
    /// Bytes of kernel memory; -1 is no limit. Version 1 alone, and not in newer kernels.
    pub kernel_memory: Option<i64>,
    /// Bytes of TCP buffers; -1 is no limit. Version 1 alone.
    pub kernel_memory_tcp: Option<i64>,
    /// 0 to 100. Version 1 alone.
    pub swappiness: Option<u64>,
    /// Version 1 alone: no OOM killer.
    pub oom_kill_disable: bool,
    /// Relative weight, 2 to 262144, default 1024.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time per period; -1 is no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds that may be saved up.
    pub cpu_burst: Option<u64>,
    /// Microseconds of realtime per period (version 1 alone).
    pub cpu_realtime_runtime: Option<i64>,
    /// Microseconds (version 1 alone).
    pub cpu_realtime_period: Option<u64>,
    /// 1 makes the group SCHED_IDLE.
    pub cpu_idle: Option<i64>,
    /// A list like `0-3,7`.
    pub cpuset_cpus: Option<String>,
    /// A list like `0-3,7`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 is no limit.
    pub pids: Option<i64>,
    /// Block I/O.
    pub block_io: BlockIo,
    /// Bytes by page size (`2MB`).
    pub hugepages: Vec<(String, u64)>,
    /// Device access, in order, the last match wins; empty leaves all devices allowed.
    pub devices: Vec<DeviceRule>,
    /// Further version 2 files and their contents (`linux.resources.unified`).
    pub unified: Vec<(String, String)>,
    /// Version 1 `net_cls.classid`.
    pub network_class: Option<u32>,
    /// Version 1 `net_prio.ifpriomap`.
    pub network_priorities: Vec<(String, u32)>,
    /// RDMA handles and objects by device.
    pub rdma: Vec<(String, Option<u32>, Option<u32>)>,
}

/// Block I/O weights and limits by device (major, minor, value).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct BlockIo {
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
    pub weight_device: Vec<(u32, u32, u16)>,
    pub leaf_weight_device: Vec<(u32, u32, u16)>,
    pub read_bps: Vec<(u32, u32, u64)>,
    pub write_bps: Vec<(u32, u32, u64)>,
    pub read_iops: Vec<(u32, u32, u64)>,
    pub write_iops: Vec<(u32, u32, u64)>,
}

/// Allows or denies access to devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allow, or else deny.
    pub allow: bool,
    /// `None` is both kinds.
    pub kind: Option<DeviceKind>,
    /// `None` is every number.
    pub major: Option<u32>,
    /// `None` is every number.
    pub minor: Option<u32>,
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
    /// May make nodes.
    pub mknod: bool,
}

/// Kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum DeviceKind {
    Block,
    Char,
}
