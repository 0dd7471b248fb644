//! Limits as version 2 files. Pure.

use crate::convert::{block_io_weight_to_io, or_max, shares_to_weight, swap_alone};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::Controller;
use crate::legacy::{self, is_set};
use crate::plan::{BlockIo, Limits};
use crate::setting::Setting;

/// What holds now, where a file takes two limits at once or one limit depends on another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// `memory.max`; -1 is no limit.
    pub(crate) memory: Option<i64>,
    /// The quota of `cpu.max`, as it reads: a number or `max`.
    pub(crate) cpu_quota: Option<String>,
}

impl Present {
    /// For judging which limits exist, before their values can be judged.
    pub(crate) fn unknown() -> Self {
        Self { memory: Some(0), cpu_quota: None }
    }

    /// What the files of a group say; what they do not say is not limited.
    pub(crate) fn read(dir: &Dir) -> Self {
        let memory = dir.read("memory.max").ok().map(|max| max.trim().parse().unwrap_or(-1));
        let first_word = |max: String| max.split_whitespace().next().map(str::to_owned);
        Self { memory, cpu_quota: dir.read("cpu.max").ok().and_then(first_word) }
    }
}

/// The settings for one version 2 controller.
pub(crate) fn settings(controller: Controller, limits: &Limits, present: &Present) -> Result<Vec<Setting>> {
    match controller {
        Controller::Memory => memory(limits, present),
        Controller::Cpu => cpu(limits, present),
        Controller::Cpuset => Ok(legacy::cpuset(limits)),
        Controller::Pids => Ok(legacy::pids(limits)),
        Controller::Blkio => block_io(&limits.block_io),
        Controller::Hugetlb => legacy::hugepages_as(limits, "max"),
        Controller::Rdma => Ok(legacy::rdma(limits)),
        Controller::NetCls if limits.network_class.is_some() => Err(only_in_version_1(
            "network.classID",
            "mark packets with a firewall rule on the group instead",
        )),
        Controller::NetPrio if !limits.network_priorities.is_empty() => Err(only_in_version_1(
            "network.priorities",
            "set priorities with a firewall rule on the group instead",
        )),
        Controller::Cpuacct
        | Controller::Devices
        | Controller::Freezer
        | Controller::NetCls
        | Controller::NetPrio => Ok(Vec::new()),
    }
}

fn only_in_version_1(limit: &str, advice: &str) -> Error {
    let reason = format!("control groups of version 2 have no such thing; {advice}");
    Error::Unenforceable { limit: limit.to_owned(), reason }
}

fn memory(limits: &Limits, present: &Present) -> Result<Vec<Setting>> {
    let refused = [
        (limits.swappiness.is_some(), "memory.swappiness"),
        (limits.oom_kill_disable, "memory.disableOOMKiller"),
        (limits.kernel_memory.is_some(), "memory.kernel"),
        (limits.kernel_memory_tcp.is_some(), "memory.kernelTCP"),
    ];
    if let Some((_, limit)) = refused.iter().find(|(asked, _)| *asked) {
        return Err(only_in_version_1(limit, "leave it out"));
    }
    let one = |limit, file, value: String| Setting::new(limit, file, value);
    let mut list = Vec::new();
    list.extend(limits.memory.filter(is_set).map(|bytes| one("memory.limit", "memory.max", or_max(bytes))));
    if let Some(together) = limits.memory_and_swap.filter(is_set) {
        let swap =
            swap_alone(together, limits.memory.filter(is_set).or(present.memory)).map_err(|reason| {
                Error::Invalid {
                    limit: "memory.swap",
                    value: together.to_string(),
                    reason: reason.to_owned(),
                }
            })?;
        list.push(one("memory.swap", "memory.swap.max", swap));
    }
    let reservation = limits.memory_reservation.filter(is_set);
    list.extend(reservation.map(|bytes| one("memory.reservation", "memory.low", or_max(bytes))));
    Ok(list)
}

fn cpu(limits: &Limits, present: &Present) -> Result<Vec<Setting>> {
    if limits.cpu_realtime_runtime.is_some_and(|runtime| runtime != 0) {
        return Err(only_in_version_1("cpu.realtimeRuntime", "leave it out"));
    }
    if limits.cpu_realtime_period.is_some_and(|period| period != 0) {
        return Err(only_in_version_1("cpu.realtimePeriod", "leave it out"));
    }
    let one = |limit, file, value: String| Setting::new(limit, file, value);
    let mut list = Vec::new();
    let shares = limits.cpu_shares.filter(|shares| *shares != 0 && limits.cpu_idle != Some(1));
    list.extend(shares.map(|shares| one("cpu.shares", "cpu.weight", shares_to_weight(shares).to_string())));
    list.extend(limits.cpu_idle.map(|idle| one("cpu.idle", "cpu.idle", idle.to_string())));
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let given = limits.cpu_quota.map(|quota| or_max(if quota == 0 { -1 } else { quota }));
        let quota = given.or_else(|| present.cpu_quota.clone()).unwrap_or_else(|| "max".to_owned());
        // The file takes a quota alone too, and then keeps the period that holds.
        let value = limits.cpu_period.map_or_else(|| quota.clone(), |period| format!("{quota} {period}"));
        let limit = if limits.cpu_quota.is_some() { "cpu.quota" } else { "cpu.period" };
        list.push(one(limit, "cpu.max", value));
    }
    list.extend(limits.cpu_burst.map(|burst| one("cpu.burst", "cpu.max.burst", burst.to_string())));
    Ok(list)
}

fn block_io(limits: &BlockIo) -> Result<Vec<Setting>> {
    if limits.leaf_weight.is_some_and(|weight| weight != 0) || !limits.leaf_weight_device.is_empty() {
        return Err(only_in_version_1("blockIO.leafWeight", "leave it out"));
    }
    let one = |limit, file, value: String| Setting::new(limit, file, value);
    let mut list = Vec::new();
    // BFQ has a file of its own with version 1's scale; elsewhere weights are those of the I/O cost model.
    if let Some(weight) = limits.weight.filter(|weight| *weight != 0) {
        let bfq = one("blockIO.weight", "io.bfq.weight", weight.to_string());
        list.push(bfq.or("io.weight", format!("default {}", block_io_weight_to_io(weight))));
    }
    for (major, minor, weight) in &limits.weight_device {
        let bfq = one("blockIO.weightDevice", "io.bfq.weight", format!("{major}:{minor} {weight}"));
        list.push(bfq.or("io.weight", format!("{major}:{minor} {}", block_io_weight_to_io(*weight))));
    }
    let throttles = [
        (&limits.read_bps, "blockIO.throttleReadBpsDevice", "rbps"),
        (&limits.write_bps, "blockIO.throttleWriteBpsDevice", "wbps"),
        (&limits.read_iops, "blockIO.throttleReadIOPSDevice", "riops"),
        (&limits.write_iops, "blockIO.throttleWriteIOPSDevice", "wiops"),
    ];
    for (devices, limit, key) in throttles {
        for (major, minor, rate) in devices {
            // Version 1 lifts a limit with 0, which version 2 would refuse.
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            list.push(one(limit, "io.max", format!("{major}:{minor} {key}={rate}")));
        }
    }
    Ok(list)
}

/// The settings that the user names by file (`linux.resources.unified`), one for each line.
pub(crate) fn named(limits: &Limits) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    for (file, value) in &limits.unified {
        if let Some(reason) = misnamed(file) {
            return Err(Error::Invalid { limit: "unified", value: file.clone(), reason: reason.to_owned() });
        }
        list.extend(value.lines().map(|line| Setting::new("unified", file.clone(), line)));
    }
    Ok(list)
}

/// What is wrong with a file that the user names, if anything: it must be a limit of this one group.
fn misnamed(file: &str) -> Option<&'static str> {
    const ACTIONS: [&str; 6] = [
        "cgroup.freeze",
        "cgroup.kill",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
        "cgroup.type",
    ];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if ACTIONS.contains(&file) {
        return Some("acts on processes and is no limit");
    }
    let named =
        file.split_once('.').is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
    (!named || !file.bytes().all(plain))
        .then_some("is not the name of a control group file such as memory.high")
}

/// The controllers, by version 2's names, that the files named by the user belong to.
pub(crate) fn named_controllers(limits: &Limits) -> impl Iterator<Item = &str> {
    let names = limits.unified.iter().filter_map(|(file, _)| file.split_once('.'));
    names.map(|(controller, _)| controller).filter(|controller| *controller != "cgroup")
}
