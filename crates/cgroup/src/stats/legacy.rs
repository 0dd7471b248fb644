//! Statistics from version 1 files.

use super::{BlockIoEntry, BlockIoStats, CpuStats, MemoryStats, PidsStats, Usage, flat, number, pairs};
use crate::dir::Dir;
use crate::error::Result;

/// Version 1 says "no limit" by the largest number of whole pages.
pub(super) const UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;

/// What `cpuacct` counts.
pub(super) fn cpu_usage(dir: &Dir, cpu: &mut CpuStats) -> Result<()> {
    cpu.usage_ns = number(dir, "cpuacct.usage")?.unwrap_or(0);
    cpu.user_ns = number(dir, "cpuacct.usage_user")?.unwrap_or(0);
    cpu.system_ns = number(dir, "cpuacct.usage_sys")?.unwrap_or(0);
    if let Ok(each) = dir.read("cpuacct.usage_percpu") {
        cpu.per_cpu_ns = each.split_whitespace().filter_map(|one| one.parse().ok()).collect();
    }
    Ok(())
}

/// What `cpu` counts.
pub(super) fn cpu_throttling(dir: &Dir, cpu: &mut CpuStats) -> Result<()> {
    let stat = flat(dir, "cpu.stat")?;
    let of = |name: &str| stat.get(name).copied().unwrap_or(0);
    (cpu.periods, cpu.throttled_periods, cpu.throttled_ns) =
        (of("nr_periods"), of("nr_throttled"), of("throttled_time"));
    Ok(())
}

pub(super) fn memory(dir: &Dir) -> Result<MemoryStats> {
    Ok(MemoryStats {
        memory: usage(dir, "memory")?,
        swap: usage(dir, "memory.memsw")?,
        kernel: usage(dir, "memory.kmem")?,
        kernel_tcp: usage(dir, "memory.kmem.tcp")?,
        detail: flat(dir, "memory.stat")?,
        oom_kills: 0,
    })
}

/// The four files of everything that version 1 counts and limits.
fn usage(dir: &Dir, prefix: &str) -> Result<Usage> {
    let of = |suffix: &str| number(dir, &format!("{prefix}.{suffix}"));
    Ok(Usage {
        now: of("usage_in_bytes")?.unwrap_or(0),
        peak: of("max_usage_in_bytes")?.unwrap_or(0),
        limit: of("limit_in_bytes")?.filter(|limit| *limit < UNLIMITED),
        failures: of("failcnt")?.unwrap_or(0),
    })
}

/// Shared with version 2, whose file is the same.
pub(super) fn pids(dir: &Dir) -> Result<PidsStats> {
    Ok(PidsStats { now: number(dir, "pids.current")?.unwrap_or(0), limit: number(dir, "pids.max")? })
}

/// BFQ counts what it schedules, the throttle layer what passes it; the former is what users mean, where it is in use.
pub(super) fn block_io(dir: &Dir) -> BlockIoStats {
    let first = |files: [&str; 2]| {
        let mut all =
            files.iter().map(|file| dir.read(file).map(|content| entries(&content)).unwrap_or_default());
        all.find(|entries: &Vec<_>| !entries.is_empty()).unwrap_or_default()
    };
    BlockIoStats {
        bytes: first(["blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive"]),
        operations: first(["blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive"]),
    }
}

/// Lines such as `8:0 Read 4096`, and a total at the end.
fn entries(content: &str) -> Vec<BlockIoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let operation = words.next()?.to_owned();
        let value = words.next()?.parse().ok()?;
        Some(BlockIoEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, operation, value })
    };
    content.lines().filter_map(entry).collect()
}

pub(super) fn hugepages(dir: &Dir, size: &str) -> Result<Usage> {
    usage(dir, &format!("hugetlb.{size}"))
}

/// Version 2's `io.stat`: lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
pub(super) fn io_stat(content: &str) -> BlockIoStats {
    let mut stats = BlockIoStats::default();
    for line in content.lines() {
        let Some((device, counters)) = line.split_once(' ') else { continue };
        let Some((major, minor)) = device.split_once(':') else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (name, value) in pairs(counters) {
            let (list, operation) = match name {
                "rbytes" => (&mut stats.bytes, "Read"),
                "wbytes" => (&mut stats.bytes, "Write"),
                "dbytes" => (&mut stats.bytes, "Discard"),
                "rios" => (&mut stats.operations, "Read"),
                "wios" => (&mut stats.operations, "Write"),
                "dios" => (&mut stats.operations, "Discard"),
                _ => continue,
            };
            list.push(BlockIoEntry { major, minor, operation: operation.to_owned(), value });
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_block_io_counters_read_alike() {
        let old = entries("8:0 Read 4096\n8:0 Write 10\n8:0 Async 1\nTotal 4106\n");
        let new = io_stat("8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n254:16 \nmangled\n");
        assert_eq!(old.len(), 3, "the total is no device");
        assert_eq!(old[..2], new.bytes[..2]);
        assert_eq!(new.operations[1].value, 2);
    }
}
