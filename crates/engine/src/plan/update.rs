//! Limits of a container and what is to be changed of them, by Docker's rules.

use crate::request::{HostOptions, Resources, RestartPolicy, Update};
use crate::{Error, Result};

/// The options of a container after `update`.
pub(crate) fn merge(present: &HostOptions, update: &Update) -> Result<HostOptions> {
    let mut host = present.clone();
    refuse(&host, update)?;
    let Resources { memory, memory_swap, memory_reservation, .. } = update.resources;
    let own = &mut host.resources;
    if memory != 0 && memory_swap == 0 {
        // What was made up from the limit at the time does not follow it.
        own.memory_swap = swap(own);
    }
    let set = |own: &mut i64, value: i64| {
        if value != 0 {
            *own = value;
        }
    };
    set(&mut own.memory, memory);
    set(&mut own.memory_swap, memory_swap);
    set(&mut own.memory_reservation, memory_reservation);
    set(&mut own.nano_cpus, update.resources.nano_cpus);
    set(&mut own.cpu_shares, update.resources.cpu_shares);
    set(&mut own.cpu_period, update.resources.cpu_period);
    set(&mut own.cpu_quota, update.resources.cpu_quota);
    for (own, list) in [
        (&mut own.cpuset_cpus, &update.resources.cpuset_cpus),
        (&mut own.cpuset_mems, &update.resources.cpuset_mems),
    ] {
        if !list.is_empty() {
            own.clone_from(list);
        }
    }
    own.pids_limit = update.resources.pids_limit.or(own.pids_limit);
    if update.resources.blkio_weight != 0 {
        own.blkio_weight = update.resources.blkio_weight;
    }
    host.restart = update.restart.unwrap_or(host.restart);
    Ok(host)
}

/// The limit of memory and swap that is in force; 0 is none.
fn swap(present: &Resources) -> i64 {
    match (present.memory, present.memory_swap) {
        (memory, 0) => memory.saturating_mul(2),
        (_, swap) => swap,
    }
}

fn refuse(host: &HostOptions, update: &Update) -> Result<()> {
    let (present, new) = (&host.resources, &update.resources);
    let conflict = |reason| Err(Error::ConflictingUpdate { reason });
    if new.nano_cpus > 0 && present.cpu_period > 0 {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if new.nano_cpus > 0 && present.cpu_quota > 0 {
        return conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
    }
    if new.cpu_period > 0 && present.nano_cpus > 0 {
        return conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
    }
    if new.cpu_quota > 0 && present.nano_cpus > 0 {
        return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    let swap = swap(present);
    if swap > 0 && new.memory > swap && new.memory_swap == 0 {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    if host.auto_remove && update.restart.is_some_and(|restart| restart != RestartPolicy::No) {
        return conflict("Restart policy cannot be updated because AutoRemove is enabled for the container");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    fn with(present: Resources, new: Resources) -> Result<Resources> {
        let host = HostOptions { resources: present, ..HostOptions::default() };
        merge(&host, &Update { resources: new, restart: None }).map(|host| host.resources)
    }

    #[test]
    fn what_is_not_set_stays() {
        let present =
            Resources { memory: 64 * MIB, cpu_shares: 7, pids_limit: Some(9), ..Resources::default() };
        assert_eq!(with(present.clone(), Resources::default()).unwrap(), present);
        let changed = with(present.clone(), Resources { cpu_shares: 8, ..Resources::default() }).unwrap();
        assert_eq!(changed, Resources { cpu_shares: 8, ..present });
    }

    #[test]
    fn the_limit_of_swap_stays_where_it_was_and_bounds_that_of_memory() {
        let present = Resources { memory: 64 * MIB, ..Resources::default() };
        let memory = |mib: i64| Resources { memory: mib * MIB, ..Resources::default() };
        let changed = with(present.clone(), memory(100)).unwrap();
        assert_eq!((changed.memory, changed.memory_swap), (100 * MIB, 128 * MIB));
        let error = with(present.clone(), memory(129)).unwrap_err().to_string();
        assert!(error.starts_with("Memory limit should be smaller than already set memoryswap"), "{error}");
        let both = Resources { memory_swap: -1, ..memory(200) };
        assert_eq!(with(present, both.clone()).unwrap(), both);
        // Where nothing is limited, nothing is in the way.
        assert_eq!(with(Resources::default(), memory(64)).unwrap(), memory(64));
        let free = Resources { memory: 64 * MIB, memory_swap: -1, ..Resources::default() };
        assert_eq!(with(free, memory(99)).unwrap().memory_swap, -1);
    }

    #[test]
    fn shares_of_time_are_set_one_way_or_the_other() {
        let nano = Resources { nano_cpus: 1_000_000_000, ..Resources::default() };
        let period = Resources { cpu_period: 100_000, ..Resources::default() };
        let quota = Resources { cpu_quota: 50_000, ..Resources::default() };
        for (present, new, what) in [
            (&period, &nano, "Nano CPUs cannot be updated as CPU Period has already been set"),
            (&quota, &nano, "Nano CPUs cannot be updated as CPU Quota has already been set"),
            (&nano, &period, "CPU Period cannot be updated as NanoCPUs has already been set"),
            (&nano, &quota, "CPU Quota cannot be updated as NanoCPUs has already been set"),
        ] {
            let error = with(present.clone(), new.clone()).unwrap_err().to_string();
            assert_eq!(error, format!("Conflicting options: {what}"));
        }
    }

    #[test]
    fn what_removes_itself_cannot_come_back() {
        let host = HostOptions { auto_remove: true, ..HostOptions::default() };
        let to = |restart| Update { restart: Some(restart), ..Update::default() };
        merge(&host, &to(RestartPolicy::Always)).unwrap_err();
        merge(&host, &to(RestartPolicy::No)).unwrap();
    }
}
