//! `linux.resources`: also what `update --resources` reads.

use std::collections::BTreeMap;

use cgroup::{BlockIo, DeviceKind, DeviceRule, Limits};
use oci::runtime as spec;

use super::error::{Result, invalid, unsupported};

/// Turns limits into the plan's form.
///
/// # Errors
/// The first limit that is wrong or not supported.
pub fn limits(resources: &spec::Resources, warnings: &mut Vec<String>) -> Result<Limits> {
    let mut limits = Limits::default();
    memory(resources.memory.as_ref(), &mut limits, warnings)?;
    cpu(resources.cpu.as_ref(), &mut limits);
    limits.pids = resources.pids.and_then(|pids| pids.limit);
    limits.block_io = block_io(resources.block_io.as_ref())?;
    limits.hugepages =
        resources.hugepage_limits.iter().map(|limit| (limit.page_size.clone(), limit.limit)).collect();
    limits.devices = device_rules(&resources.devices)?;
    limits.unified = unified(&resources.unified)?;
    if let Some(network) = &resources.network {
        limits.network_class = network.class_id;
        limits.network_priorities =
            network.priorities.iter().map(|entry| (entry.name.clone(), entry.priority)).collect();
    }
    limits.rdma = resources
        .rdma
        .iter()
        .map(|(name, rdma)| (name.clone(), rdma.hca_handles, rdma.hca_objects))
        .collect();
    Ok(limits)
}

fn memory(memory: Option<&spec::Memory>, limits: &mut Limits, warnings: &mut Vec<String>) -> Result<()> {
    let Some(memory) = memory else { return Ok(()) };
    if memory.kernel.is_some_and(|bytes| bytes > 0) {
        // Deprecated by the specification; the kernel has no such limit since 5.16.
        warnings.push("config.json: linux.resources.memory.kernel has no effect since Linux 5.16".into());
    }
    if memory.kernel_tcp.is_some_and(|bytes| bytes > 0) {
        return unsupported(
            "linux.resources.memory.kernelTCP",
            "it is deprecated and version 2 has no such limit",
        );
    }
    if memory.check_before_update == Some(true) {
        return unsupported(
            "linux.resources.memory.checkBeforeUpdate",
            "the kernel's own check is all there is",
        );
    }
    if let Some(swappiness) = memory.swappiness.filter(|value| *value > 100) {
        return invalid("linux.resources.memory.swappiness", swappiness, "must be from 0 to 100");
    }
    if memory.use_hierarchy == Some(false) {
        warnings.push("config.json: linux.resources.memory.useHierarchy is always on".into());
    }
    limits.memory = memory.limit;
    limits.memory_and_swap = memory.swap;
    limits.memory_reservation = memory.reservation;
    limits.swappiness = memory.swappiness;
    limits.oom_kill_disable = memory.disable_oom_killer.unwrap_or(false);
    Ok(())
}

fn cpu(cpu: Option<&spec::Cpu>, limits: &mut Limits) {
    let Some(cpu) = cpu else { return };
    // Zero stands for "not set" in what Docker and Podman write.
    limits.cpu_shares = cpu.shares.filter(|shares| *shares != 0);
    limits.cpu_quota = cpu.quota.filter(|quota| *quota != 0);
    limits.cpu_period = cpu.period.filter(|period| *period != 0);
    limits.cpu_burst = cpu.burst;
    limits.cpu_realtime_runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
    limits.cpu_realtime_period = cpu.realtime_period.filter(|period| *period != 0);
    limits.cpu_idle = cpu.idle;
    limits.cpuset_cpus = Some(cpu.cpus.clone()).filter(|list| !list.is_empty());
    limits.cpuset_mems = Some(cpu.mems.clone()).filter(|list| !list.is_empty());
}

fn block_io(block_io: Option<&spec::BlockIo>) -> Result<BlockIo> {
    let Some(document) = block_io else { return Ok(BlockIo::default()) };
    let field = |name: &str| format!("linux.resources.blockIO.{name}");
    let throttle = |name: &str, devices: &[spec::ThrottleDevice]| {
        let entry = |device: &spec::ThrottleDevice| {
            Ok((
                number(&field(name), Some(device.major))?.unwrap_or(0),
                number(&field(name), Some(device.minor))?.unwrap_or(0),
                device.rate,
            ))
        };
        devices.iter().map(entry).collect::<Result<Vec<_>>>()
    };
    let mut weights = (Vec::new(), Vec::new());
    for device in &document.weight_device {
        let major = number(&field("weightDevice"), Some(device.major))?.unwrap_or(0);
        let minor = number(&field("weightDevice"), Some(device.minor))?.unwrap_or(0);
        weights.0.extend(device.weight.map(|weight| (major, minor, weight)));
        weights.1.extend(device.leaf_weight.map(|weight| (major, minor, weight)));
    }
    Ok(BlockIo {
        // Zero stands for "not set" in what Docker writes.
        weight: document.weight.filter(|weight| *weight != 0),
        leaf_weight: document.leaf_weight.filter(|weight| *weight != 0),
        weight_device: weights.0,
        leaf_weight_device: weights.1,
        read_bps: throttle("throttleReadBpsDevice", &document.throttle_read_bps_device)?,
        write_bps: throttle("throttleWriteBpsDevice", &document.throttle_write_bps_device)?,
        read_iops: throttle("throttleReadIOPSDevice", &document.throttle_read_iops_device)?,
        write_iops: throttle("throttleWriteIOPSDevice", &document.throttle_write_iops_device)?,
    })
}

/// A device number; absent or -1 is every number.
fn number(field: &str, value: Option<i64>) -> Result<Option<u32>> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(number) => Ok(Some(number)),
            Err(_) => invalid(field, value, "is no device number"),
        },
    }
}

fn device_rules(rules: &[spec::DeviceRule]) -> Result<Vec<DeviceRule>> {
    let plan_rule = |(index, rule): (usize, &spec::DeviceRule)| {
        let field = |name: &str| format!("linux.resources.devices[{index}].{name}");
        let kind = match rule.kind.as_str() {
            "" | "a" => None,
            "c" => Some(DeviceKind::Char),
            "b" => Some(DeviceKind::Block),
            _ => return invalid(field("type"), &rule.kind, "must be a, b or c"),
        };
        if let Some(letter) = rule.access.chars().find(|letter| !"rwm".contains(*letter)) {
            return invalid(field("access"), letter, "may hold r, w and m");
        }
        Ok(DeviceRule {
            allow: rule.allow,
            kind,
            major: number(&field("major"), rule.major)?,
            minor: number(&field("minor"), rule.minor)?,
            read: rule.access.contains('r'),
            write: rule.access.contains('w'),
            mknod: rule.access.contains('m'),
        })
    };
    rules.iter().enumerate().map(plan_rule).collect()
}

/// Names become file names below the group's directory: one component, of a controller or of `cgroup`.
fn unified(files: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let plan_file = |(name, value): (&String, &String)| {
        if name.contains(['/', '\0']) || !name.contains('.') || name.starts_with('.') {
            return invalid("linux.resources.unified", name, "is no file of a control group");
        }
        Ok((name.clone(), value.clone()))
    };
    files.iter().map(plan_file).collect()
}
