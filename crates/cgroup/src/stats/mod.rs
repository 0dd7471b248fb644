//! What a group has used, as typed numbers.
//!
//! Each controller is read where it is: in its version 1 hierarchy, or else in the unified one. A file that a kernel
//! lacks reads as zero; one that makes no sense is an error.

mod legacy;
mod unified;
mod vitals;

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::Result;
use crate::group::Cgroup;
use crate::hierarchy::Controller;

pub use vitals::{Gauge, Vitals};

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

impl Cgroup {
    /// What the group has used so far.
    pub fn stats(&self) -> Result<Stats> {
        let unified = self.unified.as_ref().map(|node| &node.dir);
        let legacy = |controller| self.legacy_node(controller).map(|node| &node.dir);
        let mut stats = Stats::default();
        if let Some(dir) = unified.filter(|_| legacy(Controller::Cpuacct).is_none()) {
            stats.cpu = unified::cpu(dir)?;
        }
        if let Some(dir) = legacy(Controller::Cpuacct) {
            legacy::cpu_usage(dir, &mut stats.cpu)?;
        }
        if let Some(dir) = legacy(Controller::Cpu) {
            legacy::cpu_throttling(dir, &mut stats.cpu)?;
        }
        match (legacy(Controller::Memory), unified) {
            (Some(dir), _) => stats.memory = legacy::memory(dir)?,
            (None, Some(dir)) => stats.memory = unified::memory(dir)?,
            (None, None) => {}
        }
        stats.memory.oom_kills = self.oom_kills()?;
        if let Some(dir) = legacy(Controller::Pids).or(unified) {
            stats.pids = legacy::pids(dir)?;
        }
        match (legacy(Controller::Blkio), unified) {
            (Some(dir), _) => stats.block_io = legacy::block_io(dir),
            (None, Some(dir)) => stats.block_io = unified::block_io(dir),
            (None, None) => {}
        }
        match (legacy(Controller::Hugetlb), unified) {
            (Some(dir), _) => stats.hugepages = by_page_size(dir, legacy::hugepages)?,
            (None, Some(dir)) => stats.hugepages = by_page_size(dir, unified::hugepages)?,
            (None, None) => {}
        }
        Ok(stats)
    }

    /// Bytes of memory in use.
    pub(crate) fn memory_in_use(&self) -> Result<u64> {
        let legacy = self.legacy_node(Controller::Memory).map(|node| (&node.dir, "memory.usage_in_bytes"));
        let place = legacy.or_else(|| self.unified.as_ref().map(|node| (&node.dir, "memory.current")));
        place.map_or(Ok(None), |(dir, file)| number(dir, file)).map(Option::unwrap_or_default)
    }
}

/// Page sizes are those that the kernel has files for.
fn by_page_size(dir: &Dir, read: fn(&Dir, &str) -> Result<Usage>) -> Result<BTreeMap<String, Usage>> {
    let names = dir.file_names().map_err(|errno| dir.failed("list", "", errno))?;
    let sizes = names.iter().filter_map(|name| {
        let (size, file) = name.strip_prefix("hugetlb.")?.split_once('.')?;
        ["max", "limit_in_bytes"].contains(&file).then_some(size)
    });
    sizes.map(|size| read(dir, size).map(|usage| (size.to_owned(), usage))).collect()
}

/// A file that holds one number; `None` is `max`, or no such file.
fn number(dir: &Dir, file: &str) -> Result<Option<u64>> {
    let content = match dir.read_line(file) {
        Ok(content) => content,
        // Swap's files are there without swap accounting, and then cannot be read.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(dir.failed("read", file, errno)),
    };
    match content.trim() {
        "max" => Ok(None),
        // A counter may be below zero for a moment, as CPUs keep their own share of it.
        text if text.starts_with('-') => Ok(Some(0)),
        text => text.parse().map(Some).map_err(|_| dir.unreadable(file, &content)),
    }
}

/// A file of lines that each hold a name and a number.
fn flat(dir: &Dir, file: &str) -> Result<BTreeMap<String, u64>> {
    let content = match dir.read(file) {
        Ok(content) => content,
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(dir.failed("read", file, errno)),
    };
    let line = |line: &str| {
        line.split_once(' ').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
    };
    Ok(content.lines().filter_map(line).collect())
}

/// `name=value` pairs; those that are no number are left out.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.split_whitespace().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name, value.parse().ok()?))
    })
}
