//! Limits as asked for become limits of a control group, by Docker's rules and in its words.

use cgroup::{DeviceKind, DeviceRule, Limits};

use super::DeviceNode;
use crate::request::{HostOptions, Resources};
use crate::{Error, Result};

/// Processes and threads that a container may have unless told otherwise: plenty for a large server, and an end
/// to a fork bomb.
pub(crate) const DEFAULT_PIDS: i64 = 8192;

const MEMORY_MINIMUM: i64 = 6 << 20;
const PERIOD: i64 = 100_000;

/// Checks `resources` against each other and against `cpus`, the number of CPUs.
pub(crate) fn check(resources: &Resources, cpus: u32) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidLimit { reason });
    let Resources { memory, memory_swap, memory_reservation, .. } = *resources;
    if memory < 0 || memory_reservation < 0 || memory_swap < -1 {
        return invalid("memory limits cannot be negative".to_owned());
    }
    if memory > 0 && memory < MEMORY_MINIMUM {
        return invalid("Minimum memory limit allowed is 6MB".to_owned());
    }
    if memory > 0 && memory_swap > 0 && memory_swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage".to_owned());
    }
    if memory == 0 && memory_swap > 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage".to_owned(),
        );
    }
    if memory_reservation > 0 && memory_reservation < MEMORY_MINIMUM {
        return invalid("Minimum memory reservation allowed is 6MB".to_owned());
    }
    if memory > 0 && memory_reservation > memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned(),
        );
    }
    if let Some(swappiness) = resources.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return invalid(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
    }
    if resources.blkio_weight != 0 && !(10..=1000).contains(&resources.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000".to_owned());
    }
    check_cpu(resources, cpus)
}

fn check_cpu(resources: &Resources, cpus: u32) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidLimit { reason });
    let Resources { nano_cpus, cpu_period, cpu_quota, cpu_shares, .. } = *resources;
    if nano_cpus > 0 && cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
    }
    if nano_cpus > 0 && cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned());
    }
    if nano_cpus < 0 || nano_cpus > i64::from(cpus) * 1_000_000_000 || (1..10_000_000).contains(&nano_cpus) {
        return invalid(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if cpu_shares < 0 {
        return invalid(format!("invalid CPU shares ({cpu_shares}): value must be a positive integer"));
    }
    if cpu_period != 0 && !(1000..=1_000_000).contains(&cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned(),
        );
    }
    if cpu_quota > 0 && cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    for (what, list) in [("cpus", &resources.cpuset_cpus), ("mems", &resources.cpuset_mems)] {
        let Some(highest) = highest_of_list(list) else {
            return invalid(format!("Invalid value {list} for cpuset {what}"));
        };
        if what == "cpus" && highest.is_some_and(|highest| highest >= cpus) {
            let last = cpus.saturating_sub(1);
            return invalid(format!(
                "Requested CPUs are not available - requested {list}, available: 0-{last}"
            ));
        }
    }
    Ok(())
}

/// Checks the memory nodes asked for against those that there are.
pub(crate) fn check_nodes(resources: &Resources, nodes: &[u32]) -> Result<()> {
    let list = &resources.cpuset_mems;
    let highest = highest_of_list(list).flatten();
    if highest <= nodes.iter().max().copied() {
        return Ok(());
    }
    let available: Vec<String> = nodes.iter().map(u32::to_string).collect();
    let available = available.join(",");
    Err(Error::InvalidLimit {
        reason: format!(
            "Requested memory nodes are not available - requested {list}, available: {available}"
        ),
    })
}

/// The highest number of a list like `0-3,7`: missing when it is no list, `Some(None)` when it is empty.
fn highest_of_list(list: &str) -> Option<Option<u32>> {
    if list.is_empty() {
        return Some(None);
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let mut highest = 0;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        highest = highest.max(last);
    }
    Some(Some(highest))
}

/// The limits of a container's control group, without its devices.
pub(crate) fn limits(host: &HostOptions) -> Limits {
    let resources = &host.resources;
    let set = |value: i64| (value != 0).then_some(value);
    let unsigned = |value: i64| set(value).and_then(|value| u64::try_from(value).ok());
    let list = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let memory_and_swap = match (resources.memory, resources.memory_swap) {
        // Docker's default: as much swap as memory.
        (memory, 0) if memory > 0 => Some(memory.saturating_mul(2)),
        (_, swap) => set(swap),
    };
    let (quota, period) = match resources.nano_cpus {
        0 => (set(resources.cpu_quota), unsigned(resources.cpu_period)),
        nano => (Some((nano / 1000 * PERIOD / 1_000_000).max(1000)), u64::try_from(PERIOD).ok()),
    };
    let mut limits = Limits {
        memory: set(resources.memory),
        memory_and_swap,
        memory_reservation: set(resources.memory_reservation),
        swappiness: resources.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        oom_kill_disable: resources.oom_kill_disable,
        cpu_shares: unsigned(resources.cpu_shares),
        cpu_quota: quota,
        cpu_period: period,
        cpuset_cpus: list(&resources.cpuset_cpus),
        cpuset_mems: list(&resources.cpuset_mems),
        pids: match resources.pids_limit {
            None => Some(DEFAULT_PIDS),
            Some(0 | -1) => Some(-1),
            Some(limit) => Some(limit),
        },
        ..Limits::default()
    };
    limits.block_io.weight = (resources.blkio_weight != 0).then_some(resources.blkio_weight);
    limits
}

/// Whether anything is limited beyond what every container is.
pub(crate) fn asks_for_any(resources: &Resources) -> bool {
    *resources != Resources { pids_limit: resources.pids_limit, ..Resources::default() }
}

/// Which devices may be opened. A node alone gives nothing: an image may bring any node it likes.
pub(super) fn device_rules(privileged: bool, devices: &[DeviceNode]) -> Vec<DeviceRule> {
    let rule = |allow, kind, major, minor, access: &str| DeviceRule {
        allow,
        kind,
        major,
        minor,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    if privileged {
        return vec![rule(true, None, None, None, "rwm")];
    }
    let char = |major, minor| rule(true, Some(DeviceKind::Char), Some(major), minor, "rwm");
    let mut rules = vec![
        rule(false, None, None, None, "rwm"),
        rule(true, Some(DeviceKind::Char), None, None, "m"),
        rule(true, Some(DeviceKind::Block), None, None, "m"),
        char(1, Some(3)),
        char(1, Some(5)),
        char(1, Some(7)),
        char(1, Some(8)),
        char(1, Some(9)),
        char(5, Some(0)),
        char(5, Some(1)),
        char(5, Some(2)),
        char(136, None),
    ];
    rules.extend(devices.iter().map(|device| {
        let kind = if device.block { DeviceKind::Block } else { DeviceKind::Char };
        rule(true, Some(kind), Some(device.major), Some(device.minor), &device.permissions)
    }));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(change: impl FnOnce(&mut Resources)) -> String {
        let mut resources = Resources::default();
        change(&mut resources);
        check(&resources, 4).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    const MIB: i64 = 1 << 20;

    #[test]
    fn memory_follows_dockers_rules() {
        assert_eq!(reason(|_| ()), "fine");
        assert_eq!(reason(|r| r.memory = 6 * MIB), "fine");
        assert_eq!(reason(|r| r.memory = 6 * MIB - 1), "Minimum memory limit allowed is 6MB");
        assert_eq!(reason(|r| r.memory = -1), "memory limits cannot be negative");
        assert_eq!(
            reason(|r| (r.memory, r.memory_swap) = (8 * MIB, 7 * MIB)),
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        );
        assert_eq!(reason(|r| (r.memory, r.memory_swap) = (8 * MIB, -1)), "fine");
        assert_eq!(
            reason(|r| r.memory_swap = 7 * MIB),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
        assert_eq!(reason(|r| r.memory_reservation = MIB), "Minimum memory reservation allowed is 6MB");
        assert_eq!(
            reason(|r| (r.memory, r.memory_reservation) = (8 * MIB, 9 * MIB)),
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        );
        assert_eq!(
            reason(|r| r.memory_swappiness = Some(101)),
            "Invalid value: 101, valid memory swappiness range is 0-100"
        );
        assert_eq!(reason(|r| r.blkio_weight = 9), "Range of blkio weight is from 10 to 1000");
    }

    #[test]
    fn cpus_follow_dockers_rules() {
        assert_eq!(reason(|r| r.nano_cpus = 4_000_000_000), "fine");
        for nano in [4_000_000_001, -1, 1] {
            assert_eq!(
                reason(|r| r.nano_cpus = nano),
                "Range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"
            );
        }
        assert_eq!(
            reason(|r| (r.nano_cpus, r.cpu_period) = (1_000_000_000, 1000)),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
        );
        assert_eq!(
            reason(|r| (r.nano_cpus, r.cpu_quota) = (1_000_000_000, 1000)),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        );
        for period in [999, 1_000_001, -5] {
            assert!(reason(|r| r.cpu_period = period).starts_with("CPU cfs period can not be less"));
        }
        assert!(reason(|r| r.cpu_quota = 999).starts_with("CPU cfs quota can not be less"));
        assert_eq!(reason(|r| r.cpu_quota = -1), "fine");
    }

    #[test]
    fn memory_lists_name_nodes_that_there_are() {
        let outcome = |list: &str, nodes: &[u32]| {
            let resources = Resources { cpuset_mems: list.to_owned(), ..Resources::default() };
            check_nodes(&resources, nodes).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        assert_eq!(outcome("", &[]), "fine");
        assert_eq!(outcome("0-1", &[0, 1]), "fine");
        assert_eq!(
            outcome("0,5", &[0, 1]),
            "Requested memory nodes are not available - requested 0,5, available: 0,1"
        );
    }

    #[test]
    fn cpu_lists_name_cpus_that_there_are() {
        for (list, outcome) in [
            ("0-3", "fine"),
            ("0,2-3", "fine"),
            ("4", "Requested CPUs are not available - requested 4, available: 0-3"),
            ("3-1", "Invalid value 3-1 for cpuset cpus"),
            ("a", "Invalid value a for cpuset cpus"),
            ("0-", "Invalid value 0- for cpuset cpus"),
            ("0,,1", "Invalid value 0,,1 for cpuset cpus"),
            ("0\n", "Invalid value 0\n for cpuset cpus"),
        ] {
            assert_eq!(reason(|r| list.clone_into(&mut r.cpuset_cpus)), outcome);
        }
    }

    #[test]
    fn what_is_asked_becomes_limits() {
        let mut host = HostOptions::default();
        assert_eq!(limits(&host).pids, Some(DEFAULT_PIDS));
        assert!(!asks_for_any(&host.resources));
        host.resources = Resources {
            memory: 8 * MIB,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(-1),
            ..Resources::default()
        };
        let found = limits(&host);
        assert_eq!((found.memory, found.memory_and_swap), (Some(8 * MIB), Some(16 * MIB)));
        assert_eq!((found.cpu_quota, found.cpu_period, found.pids), (Some(150_000), Some(100_000), Some(-1)));
        assert!(asks_for_any(&host.resources));
        host.resources.memory_swap = -1;
        assert_eq!(limits(&host).memory_and_swap, Some(-1));
    }

    #[test]
    fn devices_are_denied_before_any_is_allowed() {
        let device = DeviceNode {
            path: "/dev/x".into(),
            source: "/dev/x".into(),
            block: true,
            major: 8,
            minor: 1,
            mode: 0o600,
            uid: 0,
            gid: 0,
            permissions: "r".to_owned(),
        };
        let rules = device_rules(false, &[device]);
        assert!(!rules[0].allow && rules[0].kind.is_none() && rules[0].write);
        let last = rules.last().unwrap();
        assert!(last.allow && last.read && !last.write && !last.mknod && last.major == Some(8));
        assert!(rules[1..].iter().all(|rule| rule.allow));
        assert!(device_rules(true, &[])[0].allow);
    }

    proptest::proptest! {
        #[test]
        fn lists_are_never_a_panic(list in "[0-9,\\-a]{0,12}|\\PC{0,8}") {
            if let Some(Some(highest)) = highest_of_list(&list) {
                proptest::prop_assert!(list.contains(&highest.to_string()) || list.contains('0'));
            }
        }
    }
}
