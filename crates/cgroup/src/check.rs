//! Docker's judgement on limits, before anything is made: what it refuses, what it drops with a warning.
//!
//! For Docker's front ends alone. An OCI bundle means what it says, and what cannot be enforced there is an error.

use crate::capabilities::{Capabilities, parse_list};
use crate::error::{Error, Result};
use crate::{BlockIo, Limits};

/// Below this, a container cannot even start.
const LEAST_MEMORY: i64 = 6 << 20;

/// A limit that was dropped, or that is unwise: the text is for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

/// Checks `limits` against `host` as Docker does at `create`: a value out of range is an error, a limit that the
/// kernel lacks is dropped from the result with a warning, and swap that was not said becomes twice the memory. Pure.
pub fn check(limits: &Limits, host: &Capabilities) -> Result<(Limits, Vec<Warning>)> {
    let mut check = Check { limits: limits.clone(), host, warnings: Vec::new() };
    check.memory()?;
    check.swap()?;
    check.oom_and_swappiness()?;
    check.cpu()?;
    check.cpuset()?;
    check.pids();
    check.block_io()?;
    Ok((check.limits, check.warnings))
}

struct Check<'host> {
    limits: Limits,
    host: &'host Capabilities,
    warnings: Vec<Warning>,
}

fn invalid<T>(limit: &'static str, value: impl ToString, reason: impl Into<String>) -> Result<T> {
    Err(Error::Invalid { limit, value: value.to_string(), reason: reason.into() })
}

impl Check<'_> {
    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(Warning(text.into()));
    }

    fn dropped(&mut self, what: &str) {
        self.warn(format!(
            "The kernel does not support {what}, or its control group is not mounted: ignored."
        ));
    }

    fn memory(&mut self) -> Result<()> {
        let (memory, reservation) = (positive(self.limits.memory), positive(self.limits.memory_reservation));
        match memory {
            Some(bytes) if bytes < LEAST_MEMORY => {
                return invalid("memory.limit", bytes, "is less than 6 MiB");
            }
            Some(_) if !self.host.memory => {
                self.limits.memory = None;
                self.limits.memory_and_swap = None;
                self.dropped("memory limits");
            }
            _ => {}
        }
        match (reservation, memory) {
            (Some(_), _) if !self.host.memory_reservation => {
                self.limits.memory_reservation = None;
                self.dropped("soft limits on memory");
                Ok(())
            }
            (Some(soft), _) if soft < LEAST_MEMORY => {
                invalid("memory.reservation", soft, "is less than 6 MiB")
            }
            (Some(soft), Some(hard)) if soft > hard => {
                invalid("memory.reservation", soft, format!("is more than memory.limit = {hard}"))
            }
            _ => Ok(()),
        }
    }

    fn swap(&mut self) -> Result<()> {
        let memory = positive(self.limits.memory);
        match (memory, self.limits.memory_and_swap.filter(|swap| *swap != 0)) {
            (_, Some(swap)) if swap < -1 => {
                return invalid("memory.swap", swap, "is less than -1, which is no limit");
            }
            (None, Some(swap)) if swap > 0 => return invalid("memory.swap", swap, "needs memory.limit too"),
            (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
                return invalid(
                    "memory.swap",
                    swap,
                    format!("is memory and swap together, and less than memory.limit = {memory}"),
                );
            }
            (Some(memory), None) => self.limits.memory_and_swap = Some(memory.saturating_mul(2)),
            _ => {}
        }
        if memory.is_some() && !self.host.swap {
            if self.limits.memory_and_swap.is_some_and(|swap| swap > 0) {
                self.dropped("limits on swap");
            }
            self.limits.memory_and_swap = None;
        }
        Ok(())
    }

    fn oom_and_swappiness(&mut self) -> Result<()> {
        if self.limits.oom_kill_disable && !self.host.oom_kill_disable {
            self.limits.oom_kill_disable = false;
            self.dropped("switching the OOM killer off");
        }
        if self.limits.oom_kill_disable && positive(self.limits.memory).is_none() {
            self.warn("The OOM killer is switched off without a memory limit: the container can take all of the host's memory.");
        }
        match self.limits.swappiness {
            Some(percent) if percent > 100 => invalid("memory.swappiness", percent, "is more than 100"),
            Some(_) if !self.host.swappiness => {
                self.limits.swappiness = None;
                self.dropped("swappiness of one container");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn cpu(&mut self) -> Result<()> {
        if self.limits.cpu_shares.is_some_and(|shares| shares != 0) && !self.host.cpu_shares {
            self.limits.cpu_shares = None;
            self.dropped("CPU shares");
        }
        let realtime = self.limits.cpu_realtime_runtime.is_some_and(|runtime| runtime != 0)
            || self.limits.cpu_realtime_period.is_some_and(|period| period != 0);
        if realtime && !self.host.cpu_realtime {
            let limit = "cpu.realtimeRuntime".to_owned();
            return Err(Error::Unenforceable {
                limit,
                reason: "the kernel cannot schedule groups in realtime".to_owned(),
            });
        }
        let (period, quota) =
            (self.limits.cpu_period.filter(|period| *period != 0), positive(self.limits.cpu_quota));
        if (period.is_some() || quota.is_some()) && !self.host.cpu_quota {
            (self.limits.cpu_period, self.limits.cpu_quota) = (None, None);
            self.dropped("CPU quotas");
            return Ok(());
        }
        match (period, quota) {
            (Some(period), _) if !(1000..=1_000_000).contains(&period) => {
                invalid("cpu.period", period, "is not between 1000 and 1000000 microseconds")
            }
            (_, Some(quota)) if quota < 1000 => invalid("cpu.quota", quota, "is less than 1000 microseconds"),
            _ => Ok(()),
        }
    }

    fn cpuset(&mut self) -> Result<()> {
        let asked = self.limits.cpuset_cpus.is_some() || self.limits.cpuset_mems.is_some();
        if asked && !self.host.cpuset {
            (self.limits.cpuset_cpus, self.limits.cpuset_mems) = (None, None);
            self.dropped("binding to CPUs");
            return Ok(());
        }
        within("cpu.cpus", self.limits.cpuset_cpus.as_deref(), &self.host.cpus)?;
        within("cpu.mems", self.limits.cpuset_mems.as_deref(), &self.host.memory_nodes)
    }

    fn pids(&mut self) {
        match self.limits.pids {
            Some(..=0) => self.limits.pids = Some(-1),
            Some(_) if !self.host.pids => {
                self.limits.pids = None;
                self.dropped("limits on processes");
            }
            _ => {}
        }
    }

    fn block_io(&mut self) -> Result<()> {
        let asked = &self.limits.block_io;
        let devices = asked.weight_device.iter().map(|(_, _, weight)| *weight);
        let wrong = asked.weight.filter(|weight| *weight != 0).into_iter().chain(devices);
        for weight in wrong {
            if !(10..=1000).contains(&weight) {
                return invalid("blockIO.weight", weight, "is not between 10 and 1000");
            }
        }
        if (asked.weight.is_some_and(|weight| weight != 0) || !asked.weight_device.is_empty())
            && !self.host.block_io_weight
        {
            self.limits.block_io.weight = None;
            self.limits.block_io.weight_device.clear();
            self.dropped("weights of block I/O");
        }
        let BlockIo { read_bps, write_bps, read_iops, write_iops, .. } = &mut self.limits.block_io;
        let throttles = [read_bps, write_bps, read_iops, write_iops];
        if throttles.iter().any(|list| !list.is_empty()) && !self.host.block_io_throttle {
            throttles.into_iter().for_each(Vec::clear);
            self.dropped("limits on block I/O");
        }
        Ok(())
    }
}

fn positive(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value > 0)
}

fn within(limit: &'static str, asked: Option<&str>, there: &[u32]) -> Result<()> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok(()) };
    let Some(numbers) = parse_list(asked) else {
        return invalid(limit, asked, "is not a list such as 0-3,7");
    };
    match numbers.iter().find(|number| !there.contains(number)) {
        Some(missing) => invalid(limit, asked, format!("names {missing}; this host has {there:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able() -> Capabilities {
        Capabilities {
            memory: true,
            swap: true,
            memory_reservation: true,
            oom_kill_disable: true,
            swappiness: true,
            cpu_shares: true,
            cpu_quota: true,
            cpu_realtime: true,
            cpuset: true,
            pids: true,
            block_io_weight: true,
            block_io_throttle: true,
            cpus: vec![0, 1],
            memory_nodes: vec![0],
        }
    }

    const MIB: i64 = 1 << 20;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let none = Limits::default;
        let weight = |weight| BlockIo { weight: Some(weight), ..BlockIo::default() };
        let cases = [
            (Limits { memory: Some(5 * MIB), ..none() }, "memory.limit"),
            (Limits { memory: Some(8 * MIB), memory_and_swap: Some(7 * MIB), ..none() }, "memory.swap"),
            (Limits { memory: Some(8 * MIB), memory_and_swap: Some(-2), ..none() }, "memory.swap"),
            (Limits { memory_and_swap: Some(8 * MIB), ..none() }, "memory.swap"),
            (Limits { memory_reservation: Some(MIB), ..none() }, "memory.reservation"),
            (
                Limits { memory: Some(8 * MIB), memory_reservation: Some(9 * MIB), ..none() },
                "memory.reservation",
            ),
            (Limits { swappiness: Some(101), ..none() }, "memory.swappiness"),
            (Limits { cpu_period: Some(999), ..none() }, "cpu.period"),
            (Limits { cpu_period: Some(1_000_001), ..none() }, "cpu.period"),
            (Limits { cpu_quota: Some(999), ..none() }, "cpu.quota"),
            (Limits { cpuset_cpus: Some("0-2".into()), ..none() }, "cpu.cpus"),
            (Limits { cpuset_cpus: Some("zero".into()), ..none() }, "cpu.cpus"),
            (Limits { cpuset_mems: Some("1".into()), ..none() }, "cpu.mems"),
            (Limits { block_io: weight(9), ..none() }, "blockIO.weight"),
            (Limits { block_io: weight(1001), ..none() }, "blockIO.weight"),
        ];
        for (limits, name) in cases {
            match check(&limits, &able()) {
                Err(Error::Invalid { limit, .. }) => assert_eq!(limit, name),
                other => panic!("{limits:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn good_values_pass_unchanged_and_without_warning() {
        let limits = Limits {
            memory: Some(6 * MIB),
            memory_and_swap: Some(-1),
            memory_reservation: Some(6 * MIB),
            swappiness: Some(0),
            cpu_period: Some(1000),
            cpu_quota: Some(-1),
            cpuset_cpus: Some("0-1".into()),
            pids: Some(10),
            block_io: BlockIo { weight: Some(10), read_bps: vec![(8, 0, 1)], ..BlockIo::default() },
            ..Limits::default()
        };
        assert_eq!(check(&limits, &able()).unwrap(), (limits, Vec::new()));
    }

    #[test]
    fn swap_that_was_not_said_becomes_twice_the_memory() {
        let limits = Limits { memory: Some(64 * MIB), ..Limits::default() };
        assert_eq!(check(&limits, &able()).unwrap().0.memory_and_swap, Some(128 * MIB));
    }

    #[test]
    fn pids_of_zero_or_less_mean_no_limit() {
        for pids in [0, -1, -7] {
            let limits = Limits { pids: Some(pids), ..Limits::default() };
            assert_eq!(check(&limits, &Capabilities::default()).unwrap().0.pids, Some(-1));
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_dropped_with_one_warning_each() {
        let none = Limits::default;
        let throttle = BlockIo { write_iops: vec![(8, 0, 1)], ..BlockIo::default() };
        let weight = BlockIo { weight: Some(500), weight_device: vec![(8, 0, 10)], ..BlockIo::default() };
        let cases = [
            (Limits { memory: Some(64 * MIB), ..none() }, "memory limits"),
            (Limits { memory_reservation: Some(64 * MIB), ..none() }, "soft limits"),
            (Limits { oom_kill_disable: true, ..none() }, "OOM killer"),
            (Limits { swappiness: Some(1), ..none() }, "swappiness"),
            (Limits { cpu_shares: Some(2), ..none() }, "CPU shares"),
            (Limits { cpu_quota: Some(5000), cpu_period: Some(1000), ..none() }, "CPU quotas"),
            (Limits { cpuset_cpus: Some("0".into()), ..none() }, "binding"),
            (Limits { pids: Some(5), ..none() }, "processes"),
            (Limits { block_io: weight, ..none() }, "weights"),
            (Limits { block_io: throttle, ..none() }, "limits on block I/O"),
        ];
        for (limits, word) in cases {
            let (kept, warnings) = check(&limits, &Capabilities::default()).unwrap();
            assert_eq!(kept, none(), "{word}");
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].0.contains(word), "{warnings:?}");
        }
    }

    #[test]
    fn swap_is_dropped_alone_where_only_swap_is_lacking() {
        let host = Capabilities { swap: false, ..able() };
        let limits = Limits { memory: Some(64 * MIB), memory_and_swap: Some(65 * MIB), ..Limits::default() };
        let (kept, warnings) = check(&limits, &host).unwrap();
        assert_eq!((kept.memory, kept.memory_and_swap, warnings.len()), (Some(64 * MIB), None, 1));
    }

    #[test]
    fn no_oom_killer_and_no_limit_is_kept_with_a_warning() {
        let limits = Limits { oom_kill_disable: true, ..Limits::default() };
        let (kept, warnings) = check(&limits, &able()).unwrap();
        assert!(kept.oom_kill_disable);
        assert_eq!(warnings.len(), 1);
    }
}
