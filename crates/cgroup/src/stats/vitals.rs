//! The few numbers that a table of many groups shows, read from as few files as they stand in.

use super::{BlockIoStats, legacy, number, unified};
use crate::error::Result;
use crate::group::Cgroup;
use crate::hierarchy::Controller;

/// What a group has used, in short. See [`super::Stats`] for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Nanoseconds on CPUs so far.
    pub cpu_ns: u64,
    /// Bytes of memory in use.
    pub memory: u64,
    /// Of these, pages of files that were not used lately: the kernel takes them back first.
    pub inactive_file: u64,
    /// Bytes; `None` is no limit.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from and written to block devices; `None` where no controller counts them for this group.
    pub block_io: Option<(u64, u64)>,
}

impl Cgroup {
    /// Time on CPUs so far, in nanoseconds.
    pub fn cpu_ns(&self) -> Result<u64> {
        if let Some(node) = self.legacy_node(Controller::Cpuacct) {
            return Ok(number(&node.dir, "cpuacct.usage")?.unwrap_or(0));
        }
        self.unified.as_ref().map_or(Ok(0), |node| Ok(unified::cpu(&node.dir)?.usage_ns))
    }

    /// What a table of many groups shows.
    pub fn vitals(&self) -> Result<Vitals> {
        let mut vitals = Vitals { cpu_ns: self.cpu_ns()?, ..Vitals::default() };
        let unified = self.unified.as_ref().map(|node| &node.dir);
        let memory = match (self.legacy_node(Controller::Memory), unified) {
            (Some(node), _) => {
                Some((&node.dir, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"))
            }
            (None, Some(dir)) => Some((dir, "memory.current", "memory.max", "inactive_file")),
            (None, None) => None,
        };
        if let Some((dir, usage, limit, inactive)) = memory {
            vitals.memory = number(dir, usage)?.unwrap_or(0);
            vitals.memory_limit = number(dir, limit)?.filter(|limit| *limit < legacy::UNLIMITED);
            let stat = dir.read("memory.stat").unwrap_or_default();
            vitals.inactive_file = field(&stat, inactive);
        }
        if let Some(dir) = self.legacy_node(Controller::Pids).map(|node| &node.dir).or(unified) {
            vitals.pids = number(dir, "pids.current")?.unwrap_or(0);
        }
        vitals.block_io = match (self.legacy_node(Controller::Blkio), unified) {
            (Some(node), _) => Some(sums(&legacy::block_io(&node.dir))),
            (None, Some(dir)) if dir.has("io.stat") => Some(sums(&unified::block_io(dir))),
            (None, _) => None,
        };
        Ok(vitals)
    }
}

/// The number behind `name` in lines of names and numbers.
fn field(stat: &str, name: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes read and written, on all devices.
fn sums(stats: &BlockIoStats) -> (u64, u64) {
    let of = |wanted: &str| {
        let entries = stats.bytes.iter().filter(|entry| entry.operation == wanted);
        entries.fold(0_u64, |sum, entry| sum.saturating_add(entry.value))
    };
    (of("Read"), of("Write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let stat = "inactive_file_x 1\ntotal_inactive_file 7\ninactive_file 5\nbad\n";
        assert_eq!(
            (field(stat, "inactive_file"), field(stat, "total_inactive_file"), field(stat, "none")),
            (5, 7, 0)
        );
    }

    #[test]
    fn transfers_are_summed_over_devices() {
        let stats =
            legacy::io_stat("8:0 rbytes=4096 wbytes=10 rios=1 wios=2\n8:16 rbytes=4 wbytes=1 dbytes=9\n");
        assert_eq!(sums(&stats), (4100, 11));
    }
}
