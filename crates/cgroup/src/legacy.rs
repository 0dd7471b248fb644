//! Limits as version 1 files. Pure.

use crate::convert::{self, is_page_size};
use crate::error::{Error, Result};
use crate::hierarchy::Controller;
use crate::plan::{BlockIo, Limits};
use crate::setting::Setting;

/// The settings for one version 1 controller. Devices are not among them: see [`crate::devices`].
pub(crate) fn settings(controller: Controller, limits: &Limits) -> Result<Vec<Setting>> {
    match controller {
        Controller::Memory => Ok(memory(limits)),
        Controller::Cpu => Ok(cpu(limits)),
        Controller::Cpuset => Ok(cpuset(limits)),
        Controller::Pids => Ok(pids(limits)),
        Controller::Blkio => Ok(block_io(&limits.block_io)),
        Controller::Hugetlb => hugepages(limits),
        Controller::NetCls => Ok(network_class(limits)),
        Controller::NetPrio => Ok(network_priorities(limits)),
        Controller::Rdma => Ok(rdma(limits)),
        Controller::Cpuacct | Controller::Devices | Controller::Freezer => Ok(Vec::new()),
    }
}

/// Whether a number of bytes is a limit: 0 is runc's and Docker's other word for "as it is".
pub(crate) fn is_set(bytes: &i64) -> bool {
    *bytes != 0
}

/// Collects settings from optional values.
#[derive(Default)]
struct List(Vec<Setting>);

impl List {
    fn add<T: ToString>(&mut self, limit: &'static str, file: &'static str, value: Option<T>) {
        self.0.extend(value.map(|value| Setting::new(limit, file, value)));
    }
}

fn memory(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    list.add("memory.limit", "memory.limit_in_bytes", limits.memory.filter(is_set));
    list.add("memory.swap", "memory.memsw.limit_in_bytes", limits.memory_and_swap.filter(is_set));
    if limits.memory.is_some_and(|bytes| bytes < 0) && limits.memory_and_swap.is_none() {
        // Both together cannot stay below memory alone.
        list.0.push(Setting::new("memory.swap", "memory.memsw.limit_in_bytes", -1).if_present());
    }
    list.add("memory.reservation", "memory.soft_limit_in_bytes", limits.memory_reservation.filter(is_set));
    list.add("memory.kernel", "memory.kmem.limit_in_bytes", limits.kernel_memory.filter(is_set));
    list.add("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", limits.kernel_memory_tcp.filter(is_set));
    list.add("memory.swappiness", "memory.swappiness", limits.swappiness);
    list.add("memory.disableOOMKiller", "memory.oom_control", limits.oom_kill_disable.then_some(1));
    list.0
}

fn cpu(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    // 0 is Docker's word for "as it is"; an idle group has no shares.
    let shares = limits.cpu_shares.filter(|shares| *shares != 0 && limits.cpu_idle != Some(1));
    list.add("cpu.shares", "cpu.shares", shares);
    list.add("cpu.idle", "cpu.idle", limits.cpu_idle);
    list.add("cpu.period", "cpu.cfs_period_us", limits.cpu_period);
    list.add("cpu.quota", "cpu.cfs_quota_us", limits.cpu_quota.map(no_limit_is_minus_one));
    list.add("cpu.burst", "cpu.cfs_burst_us", limits.cpu_burst);
    list.add("cpu.realtimePeriod", "cpu.rt_period_us", limits.cpu_realtime_period);
    list.add("cpu.realtimeRuntime", "cpu.rt_runtime_us", limits.cpu_realtime_runtime);
    list.0
}

/// 0 is Docker's other word for no quota, which the kernel would refuse.
fn no_limit_is_minus_one(quota: i64) -> i64 {
    if quota <= 0 { -1 } else { quota }
}

/// Shared with version 2, whose files have the same names.
pub(crate) fn cpuset(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    list.add("cpu.cpus", "cpuset.cpus", limits.cpuset_cpus.as_ref());
    list.add("cpu.mems", "cpuset.mems", limits.cpuset_mems.as_ref());
    list.0
}

/// Shared with version 2. 0 is Docker's other word for no limit.
pub(crate) fn pids(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    list.add(
        "pids.limit",
        "pids.max",
        limits.pids.map(|limit| convert::or_max(if limit == 0 { -1 } else { limit })),
    );
    list.0
}

fn block_io(limits: &BlockIo) -> Vec<Setting> {
    let one = |limit, file, value: String| Setting::new(limit, file, value);
    let mut list = Vec::new();
    if let Some(weight) = limits.weight.filter(|weight| *weight != 0) {
        list.push(one("blockIO.weight", "blkio.weight", weight.to_string()).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = limits.leaf_weight.filter(|weight| *weight != 0) {
        list.push(one("blockIO.leafWeight", "blkio.leaf_weight", weight.to_string()));
    }
    for (major, minor, weight) in &limits.weight_device {
        let value = format!("{major}:{minor} {weight}");
        let setting = one("blockIO.weightDevice", "blkio.weight_device", value.clone());
        list.push(setting.or("blkio.bfq.weight_device", value));
    }
    for (major, minor, weight) in &limits.leaf_weight_device {
        let value = format!("{major}:{minor} {weight}");
        list.push(one("blockIO.weightDevice.leafWeight", "blkio.leaf_weight_device", value));
    }
    let throttles = [
        (&limits.read_bps, "blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        (&limits.write_bps, "blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        (&limits.read_iops, "blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        (&limits.write_iops, "blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ];
    for (devices, limit, file) in throttles {
        list.extend(
            devices.iter().map(|(major, minor, rate)| one(limit, file, format!("{major}:{minor} {rate}"))),
        );
    }
    list
}

fn hugepages(limits: &Limits) -> Result<Vec<Setting>> {
    hugepages_as(limits, "limit_in_bytes")
}

/// Limits both the pages in use and those promised by `mmap` (`rsvd`, since kernel 5.7), in one file each.
pub(crate) fn hugepages_as(limits: &Limits, suffix: &str) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    for (size, bytes) in &limits.hugepages {
        if !is_page_size(size) {
            return Err(Error::Invalid {
                limit: "hugepageLimits.pageSize",
                value: size.clone(),
                reason: "is not a page size such as 2MB".to_owned(),
            });
        }
        let one = |file: String| Setting::new("hugepageLimits", file, bytes);
        list.push(one(format!("hugetlb.{size}.{suffix}")));
        list.push(one(format!("hugetlb.{size}.rsvd.{suffix}")).if_present());
    }
    Ok(list)
}

fn network_class(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    list.add("network.classID", "net_cls.classid", limits.network_class);
    list.0
}

fn network_priorities(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    for (interface, priority) in &limits.network_priorities {
        list.add("network.priorities", "net_prio.ifpriomap", Some(format!("{interface} {priority}")));
    }
    list.0
}

/// Shared with version 2.
pub(crate) fn rdma(limits: &Limits) -> Vec<Setting> {
    let mut list = List::default();
    for (device, handles, objects) in &limits.rdma {
        let count = |count: Option<u32>| count.map_or_else(|| "max".to_owned(), |count| count.to_string());
        let value = format!("{device} hca_handle={} hca_object={}", count(*handles), count(*objects));
        list.add("rdma", "rdma.max", Some(value));
    }
    list.0
}
