//! What a group has used, as typed numbers.

use std::collections::BTreeMap;

/// Everything that the kernel counts for one group. What it does not count is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Time on CPUs.
    pub cpu: CpuStats,
    /// Memory and swap.
    pub memory: MemoryStats,
    /// Processes and threads.
    pub pids: PidsStats,
    /// Transfers to and from block devices.
    pub block_io: BlockIoStats,
    /// By page size (`2MB`).
    pub hugepages: BTreeMap<String, Usage>,
}

/// Time on CPUs, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub usage_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// By CPU; version 1 alone.
    pub per_cpu_ns: Vec<u64>,
    /// Enforcement periods gone by, when there is a quota.
    pub periods: u64,
    /// Periods in which the group ran out of quota.
    pub throttled_periods: u64,
    /// Time spent waiting for quota.
    pub throttled_ns: u64,
}

/// Memory and swap, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Memory.
    pub memory: Usage,
    /// Version 1: memory and swap together. Version 2: swap alone.
    pub swap: Usage,
    /// Kernel memory; version 1 alone.
    pub kernel: Usage,
    /// Buffers of TCP sockets; version 1 alone.
    pub kernel_tcp: Usage,
    /// The kernel's `memory.stat`, by its own names.
    pub detail: BTreeMap<String, u64>,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
}

/// One thing that is counted and limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Now.
    pub now: u64,
    /// The most so far; zero where the kernel does not say.
    pub peak: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub now: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
}

/// Transfers to and from block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIoStats {
    /// Bytes.
    pub bytes: Vec<BlockIoEntry>,
    /// Operations.
    pub operations: Vec<BlockIoEntry>,
}

/// One kind of transfer on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockIoEntry {
    /// Of the device.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
    /// `Read`, `Write`, `Discard`, …
    pub operation: String,
    /// Bytes or operations.
    pub value: u64,
}
