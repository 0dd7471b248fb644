//! Statistics from version 2 files.

use super::{BlockIoStats, CpuStats, MemoryStats, Usage, flat, legacy, number};
use crate::dir::Dir;
use crate::error::Result;

pub(super) fn cpu(dir: &Dir) -> Result<CpuStats> {
    let stat = flat(dir, "cpu.stat")?;
    let of = |name: &str| stat.get(name).copied().unwrap_or(0);
    let nanoseconds = |name: &str| of(name).saturating_mul(1000);
    Ok(CpuStats {
        usage_ns: nanoseconds("usage_usec"),
        user_ns: nanoseconds("user_usec"),
        system_ns: nanoseconds("system_usec"),
        per_cpu_ns: Vec::new(),
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_ns: nanoseconds("throttled_usec"),
    })
}

pub(super) fn memory(dir: &Dir) -> Result<MemoryStats> {
    let events = |file: &str, name: &str| Ok(flat(dir, file)?.get(name).copied().unwrap_or(0));
    Ok(MemoryStats {
        memory: Usage { failures: events("memory.events", "max")?, ..usage(dir, "memory")? },
        swap: Usage { failures: events("memory.swap.events", "max")?, ..usage(dir, "memory.swap")? },
        kernel: Usage::default(),
        kernel_tcp: Usage::default(),
        detail: flat(dir, "memory.stat")?,
        oom_kills: 0,
    })
}

/// The three files of everything that version 2 counts and limits. `max` reads as no limit.
fn usage(dir: &Dir, prefix: &str) -> Result<Usage> {
    let of = |suffix: &str| number(dir, &format!("{prefix}.{suffix}"));
    Ok(Usage {
        now: of("current")?.unwrap_or(0),
        peak: of("peak")?.unwrap_or(0),
        limit: of("max")?,
        failures: 0,
    })
}

pub(super) fn block_io(dir: &Dir) -> BlockIoStats {
    dir.read("io.stat").map(|content| legacy::io_stat(&content)).unwrap_or_default()
}

pub(super) fn hugepages(dir: &Dir, size: &str) -> Result<Usage> {
    let prefix = format!("hugetlb.{size}");
    let failures = flat(dir, &format!("{prefix}.events"))?.get("max").copied().unwrap_or(0);
    Ok(Usage { failures, ..usage(dir, &prefix)? })
}
