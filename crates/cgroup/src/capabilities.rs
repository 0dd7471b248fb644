//! What the kernel of this host can limit.

use std::path::Path;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::{Controller, Hierarchy, Mount};

/// What the kernel can enforce, and which CPUs and memory nodes there are.
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

impl Hierarchy {
    /// What can be limited here. Reads a dozen files: needed only where limits are asked for.
    pub fn capabilities(&self) -> Result<Capabilities> {
        let mut host = Capabilities::default();
        if let Some(mount) = &self.unified {
            add_unified(mount, &mut host)?;
        }
        for mount in &self.legacy {
            add_legacy(mount, &mut host)?;
        }
        host.cpus = list_of("/sys/devices/system/cpu/online")?;
        host.memory_nodes = list_of("/sys/devices/system/node/online").unwrap_or_else(|_| vec![0]);
        Ok(host)
    }
}

fn root(mount: &Mount) -> Result<Dir> {
    Dir::open(&mount.point, Path::new("")).map_err(|errno| Error::Group {
        attempt: "open",
        path: mount.point.clone(),
        errno,
    })
}

/// Limits have no files in version 2's root, so the list of controllers must do.
fn add_unified(mount: &Mount, host: &mut Capabilities) -> Result<()> {
    let root = root(mount)?;
    let list = root.require("cgroup.controllers")?;
    let has = |controller: Controller| {
        controller.unified_name().is_some_and(|name| list.split_whitespace().any(|one| one == name))
    };
    if has(Controller::Memory) {
        (host.memory, host.memory_reservation) = (true, true);
        host.swap = counts_swap(&root)?;
    }
    if has(Controller::Cpu) {
        (host.cpu_shares, host.cpu_quota) = (true, true);
    }
    if has(Controller::Blkio) {
        (host.block_io_weight, host.block_io_throttle) = (true, true);
    }
    host.cpuset |= has(Controller::Cpuset);
    host.pids |= has(Controller::Pids);
    Ok(())
}

/// Whether groups with a memory controller have a limit on swap, too: a kernel may be built or started without.
/// The root itself has no limits, unless it is the root of a namespace. Where there is no group yet, swap is taken to be counted.
fn counts_swap(root: &Dir) -> Result<bool> {
    let names = root.children().map_err(|errno| root.failed("list", "", errno))?;
    let groups = names.iter().filter_map(|name| root.child(name).ok());
    let limited = groups.map(|group| (group.has("memory.max"), group.has("memory.swap.max")));
    let here = (root.has("memory.max"), root.has("memory.swap.max"));
    let known = std::iter::once(here).chain(limited).find(|(memory, _)| *memory);
    Ok(known.is_none_or(|(_, swap)| swap))
}

fn add_legacy(mount: &Mount, host: &mut Capabilities) -> Result<()> {
    let root = root(mount)?;
    for controller in &mount.controllers {
        match controller {
            Controller::Memory => {
                host.memory = root.has("memory.limit_in_bytes");
                host.swap = root.has("memory.memsw.limit_in_bytes");
                host.memory_reservation = root.has("memory.soft_limit_in_bytes");
                host.oom_kill_disable = root.has("memory.oom_control");
                host.swappiness = root.has("memory.swappiness");
            }
            Controller::Cpu => {
                host.cpu_shares = root.has("cpu.shares");
                host.cpu_quota = root.has("cpu.cfs_quota_us");
                host.cpu_realtime = root.has("cpu.rt_runtime_us");
            }
            Controller::Blkio => {
                host.block_io_weight = root.has("blkio.weight") || root.has("blkio.bfq.weight");
                host.block_io_throttle = root.has("blkio.throttle.read_bps_device");
            }
            Controller::Cpuset => host.cpuset = true,
            Controller::Pids => host.pids = true,
            Controller::Cpuacct
            | Controller::Devices
            | Controller::Freezer
            | Controller::Hugetlb
            | Controller::NetCls
            | Controller::NetPrio
            | Controller::Rdma => {}
        }
    }
    Ok(())
}

fn list_of(path: &str) -> Result<Vec<u32>> {
    let text = linux::file::read_to_string(Path::new(path)).map_err(Error::Detect)?;
    parse_list(text.trim())
        .ok_or_else(|| Error::Unreadable { path: path.into(), content: text.chars().take(200).collect() })
}

/// Numbers of a list such as `0-3,7`; `None` if it is not one, or names more than any kernel has CPUs.
pub(crate) fn parse_list(text: &str) -> Option<Vec<u32>> {
    const MOST: u32 = 8192;
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_limit_what_its_files_say() {
        let found = Hierarchy::detect().unwrap();
        let host = found.capabilities().unwrap();
        assert!(
            host.memory && host.memory_reservation && host.pids && host.cpu_shares && host.cpu_quota,
            "{host:?}"
        );
        assert_eq!(host.oom_kill_disable, found.legacy_home(Controller::Memory).is_some(), "version 1 alone");
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert!(host.cpus.len() >= cpus && host.memory_nodes.contains(&0), "{host:?}");
    }

    #[test]
    fn lists_of_cpus_are_read_with_bounds() {
        let cases = [
            ("0", Some(vec![0])),
            ("0-3,7", Some(vec![0, 1, 2, 3, 7])),
            ("3,1-2,2", Some(vec![1, 2, 3])),
            ("", None),
            ("3-1", None),
            ("a", None),
            ("0-4000000000", None),
            ("-1", None),
        ];
        for (text, numbers) in cases {
            assert_eq!(parse_list(text), numbers, "{text:?}");
        }
    }
}
