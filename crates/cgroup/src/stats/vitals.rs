//! The few numbers that a table of many groups shows, read from as few files as they stand in.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::Pid;

use super::{BlockIoStats, legacy, number, unified};
use crate::control::pids_below;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::group::locate;
use crate::hierarchy::{Controller, Hierarchy, Mount};
use crate::path::GroupPath;

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

/// A group that is looked at now and then. It keeps nothing open between two looks, and opens no more for one than that
/// needs: a table of a thousand groups makes some dozens of calls for each.
#[derive(Debug)]
pub struct Gauge<'a> {
    hierarchy: &'a Hierarchy,
    below: PathBuf,
}

impl<'a> Gauge<'a> {
    /// For the group at `path`, as [`crate::Cgroup::path`] said it. Whether it exists shows at each look.
    pub fn new(hierarchy: &'a Hierarchy, path: &Path) -> Result<Self> {
        let GroupPath { parents, name, .. } = locate(hierarchy, path)?;
        Ok(Self { hierarchy, below: parents.iter().chain([&name]).collect() })
    }

    /// Time on CPUs so far, in nanoseconds.
    pub fn cpu_ns(&self) -> Result<u64> {
        self.cpu_ns_beside(self.unified()?.as_ref())
    }

    /// What a table of many groups shows.
    pub fn vitals(&self) -> Result<Vitals> {
        let unified = self.unified()?;
        let unified = unified.as_ref();
        let mut vitals = Vitals { cpu_ns: self.cpu_ns_beside(unified)?, ..Vitals::default() };
        let legacy_memory = self.legacy(Controller::Memory)?;
        let memory = match (&legacy_memory, unified) {
            (Some(dir), _) => {
                Some((dir, "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"))
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
        if let Some(dir) = self.legacy(Controller::Pids)?.as_ref().or(unified) {
            vitals.pids = number(dir, "pids.current")?.unwrap_or(0);
        }
        vitals.block_io = match (self.legacy(Controller::Blkio)?, unified) {
            (Some(dir), _) => Some(sums(&legacy::block_io(&dir))),
            (None, Some(dir)) if dir.has("io.stat") => Some(sums(&unified::block_io(dir))),
            (None, _) => None,
        };
        Ok(vitals)
    }

    /// The group's processes, with those of the groups below it.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        let dir = match self.unified()? {
            Some(dir) => Some(dir),
            None => self.legacy(Controller::Memory)?,
        };
        dir.map_or(Ok(Vec::new()), |dir| pids_below(&dir))
    }

    /// The unified hierarchy counts it in every group; without one, version 1 does.
    fn cpu_ns_beside(&self, unified: Option<&Dir>) -> Result<u64> {
        if let Some(dir) = unified {
            return Ok(unified::cpu(dir)?.usage_ns);
        }
        let missing = || Error::Missing { path: self.below.clone() };
        let dir = self.legacy(Controller::Cpuacct)?.ok_or_else(missing)?;
        Ok(number(&dir, "cpuacct.usage")?.unwrap_or(0))
    }

    fn unified(&self) -> Result<Option<Dir>> {
        self.hierarchy.unified.as_ref().map_or(Ok(None), |mount| self.open(mount))
    }

    fn legacy(&self, controller: Controller) -> Result<Option<Dir>> {
        self.hierarchy.legacy_home(controller).map_or(Ok(None), |mount| self.open(mount))
    }

    /// The group's directory in one hierarchy, if it has one there.
    fn open(&self, mount: &Mount) -> Result<Option<Dir>> {
        match Dir::open(&mount.point, &self.below) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Error::Group { attempt: "open", path: mount.point.join(&self.below), errno }),
        }
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
