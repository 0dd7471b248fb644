//! `stats`: what containers use, one look after the other.
//!
//! A share of the processor is a difference of two looks. Nothing else is, and nothing is kept open between two: a
//! thousand containers would need more descriptors than a process may have.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use cgroup::{Gauge, Hierarchy};
use linux::file;
use oci::ContainerId;

use crate::request::List;
use crate::{Engine, Result};

/// What a container uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Missing unless it runs.
    pub reading: Option<Reading>,
}

/// What a running container uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Share of one CPU since the look before, in per cent; missing at the first look.
    pub cpu_percent: Option<f64>,
    /// Bytes of memory, without pages of files that were not used lately.
    pub memory: u64,
    /// Bytes; the machine's where the container has no limit.
    pub memory_limit: u64,
    /// Bytes received and sent by the interfaces of the container's own network, but its loopback.
    pub network: (u64, u64),
    /// Bytes read from and written to block devices; missing where this host does not tell.
    pub block_io: Option<(u64, u64)>,
    /// Processes and threads.
    pub pids: u64,
    /// Lines that the log could not keep.
    pub log_lines_lost: u64,
}

/// A look at the clock of one container's processor time.
#[derive(Clone, Copy, Debug)]
struct Tick {
    at: Instant,
    cpu_ns: u64,
    /// The first process: another one is another run, whose clock began at zero.
    init: i32,
    /// Share of one CPU since the look before.
    percent: Option<f64>,
}

impl Tick {
    fn now(gauge: &Gauge<'_>, init: i32) -> Option<Self> {
        let cpu_ns = gauge.cpu_ns().ok()?;
        Some(Self { at: Instant::now(), cpu_ns, init, percent: None })
    }
}

/// Takes looks at containers.
#[derive(Debug)]
pub struct Sampler<'a> {
    engine: &'a Engine,
    hierarchy: Option<Hierarchy>,
    memory: u64,
    ticks: HashMap<ContainerId, Tick>,
}

/// Whom to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Shares the host's network, which is not its own.
    pub host_network: bool,
}

impl Engine {
    /// Begins to take looks at containers.
    pub fn sampler(&self) -> Sampler<'_> {
        let system = rustix::system::sysinfo();
        Sampler {
            engine: self,
            hierarchy: Hierarchy::detect().ok(),
            memory: system.totalram.saturating_mul(u64::from(system.mem_unit)),
            ticks: HashMap::new(),
        }
    }

    /// The container that `name` stands for, to be looked at.
    pub fn watched(&self, name: &str) -> Result<Watched> {
        let record = self.record(name)?;
        let summary = crate::container::parse_summary(&record.head)?;
        let host_network = summary.network == "host";
        Ok(Watched { id: record.head.id, name: record.head.name.to_string(), host_network })
    }

    /// Every container that runs, or every one; oldest first.
    pub fn all_watched(&self, all: bool) -> Result<Vec<Watched>> {
        let listed = self.list(&List { all, last: None })?;
        let watched = listed.into_iter().rev().map(|one| Watched {
            id: one.id,
            name: one.name.to_string(),
            host_network: one.network == "host",
        });
        Ok(watched.collect())
    }

    /// A value that changes when there may be other containers, or others of them running.
    pub fn generation(&self) -> (u64, u64) {
        let log = rustix::fs::stat(self.config.run.join("events.log"));
        log.map_or((0, 0), |found| (found.st_ino, found.st_size.cast_unsigned()))
    }
}

impl Sampler<'_> {
    /// Looks at the clocks of processor time alone. Two rounds over the same containers are equally far apart for each, which a
    /// round that looks at more is not: it would take longer the further it gets.
    pub fn tick(&mut self, containers: &[Watched]) {
        for one in containers {
            let Some(run) = self.run_of(&one.id) else {
                self.ticks.remove(&one.id);
                continue;
            };
            let Some(now) = self.gauge(&run).and_then(|gauge| Tick::now(&gauge, run.init)) else { continue };
            let before = self.ticks.get(&one.id).filter(|before| before.init == run.init);
            let percent = before.and_then(|before| percent(before, &now));
            self.ticks.insert(one.id.clone(), Tick { percent, ..now });
        }
    }

    /// Looks at each of `containers`. One that was removed is left out.
    pub fn look(&mut self, containers: &[Watched]) -> Result<Vec<Usage>> {
        self.tick(containers);
        let mut seen = Vec::with_capacity(containers.len());
        for one in containers {
            let reading = self.read(one);
            if reading.is_none() && !self.engine.state().has_container(&one.id)? {
                self.ticks.remove(&one.id);
                continue;
            }
            seen.push(Usage { id: one.id.clone(), name: one.name.clone(), reading });
        }
        Ok(seen)
    }

    fn read(&self, one: &Watched) -> Option<Reading> {
        let run = self.run_of(&one.id)?;
        let gauge = self.gauge(&run)?;
        // A group that goes away between two files is a container that has ended.
        let vitals = gauge.vitals().ok()?;
        let tick = self.ticks.get(&one.id).filter(|tick| tick.init == run.init);
        let network = if one.host_network { (0, 0) } else { network_of(run.init) };
        Some(Reading {
            cpu_percent: tick.and_then(|tick| tick.percent),
            memory: vitals.memory.saturating_sub(vitals.inactive_file),
            memory_limit: vitals.memory_limit.map_or(self.memory, |limit| limit.min(self.memory)),
            network,
            block_io: vitals.block_io.or_else(|| block_io_of(&gauge)),
            pids: vitals.pids,
            log_lines_lost: run.log_lines_lost,
        })
    }

    /// The run of a container that is on, as far as its status says.
    fn run_of(&self, id: &ContainerId) -> Option<Run> {
        let status = monitor::status::read(&self.engine.run_directory(id)).ok()??;
        let init = status.init.filter(|_| status.exit.is_none() && status.started_at_ns.is_some())?.pid;
        Some(Run { init, cgroup: status.cgroup, log_lines_lost: status.log_lines_lost })
    }

    fn gauge(&self, run: &Run) -> Option<Gauge<'_>> {
        Gauge::new(self.hierarchy.as_ref()?, run.cgroup.as_ref()?).ok()
    }
}

struct Run {
    init: i32,
    cgroup: Option<PathBuf>,
    log_lines_lost: u64,
}

/// Docker divides by the time that all CPUs had, and multiplies by their number: it is the time that went by.
fn percent(before: &Tick, now: &Tick) -> Option<f64> {
    let elapsed = now.at.duration_since(before.at).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    let used = now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9;
    (elapsed > 0.0).then(|| used / elapsed * 100.0)
}

/// What the interfaces of a process's network namespace have received and sent, but for its loopback.
fn network_of(pid: i32) -> (u64, u64) {
    let path = format!("/proc/{pid}/net/dev");
    file::read_to_string(path.as_ref()).map_or((0, 0), |table| traffic(&table))
}

/// `proc_pid_net(5)`: `name: received packets … sent …`, eight numbers each, below two lines of titles.
fn traffic(table: &str) -> (u64, u64) {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let mut numbers = numbers.split_ascii_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let received = numbers.next()?;
        (name.trim() != "lo").then_some((received, numbers.nth(7)?))
    };
    table
        .lines()
        .filter_map(line)
        .fold((0, 0), |sum, (received, sent)| (sum.0.saturating_add(received), sum.1.saturating_add(sent)))
}

/// Where no controller counts for the group: what its processes have done, with what those did that they have waited for.
/// The first process of a container waits for all that nobody else does.
fn block_io_of(gauge: &Gauge<'_>) -> Option<(u64, u64)> {
    let mut sum = None;
    for pid in gauge.pids().ok()? {
        let path = format!("/proc/{}/io", pid.as_raw_nonzero());
        let Ok(text) = file::read_to_string(path.as_ref()) else { continue };
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        let (read, written) = sum.unwrap_or((0_u64, 0_u64));
        sum = Some((read.saturating_add(of("read_bytes")), written.saturating_add(of("write_bytes"))));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_loopback_is_no_traffic() {
        let table = "Inter-|   Receive                    |  Transmit\n face |bytes    packets errs drop\n    \
                     lo:     900      9    0    0    0     0          0         0      900       9    0    0    0     0       0          0\n  \
                     eth0:    100      1    0    0    0     0          0         0       20       1    0    0    0     0       0          0\n\
                     eth1:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        assert_eq!(traffic(table), (101, 29));
        assert_eq!(traffic("nonsense\nx: 1\n"), (0, 0));
    }

    #[test]
    fn a_share_is_of_the_time_that_went_by() {
        let at = Instant::now();
        let before = Tick { at, cpu_ns: 1_000, init: 1, percent: None };
        let after = |cpu_ns| Tick { at: at + Duration::from_millis(200), cpu_ns, init: 1, percent: None };
        assert_eq!(percent(&before, &after(300_001_000)).map(f64::round), Some(150.0));
        assert_eq!(percent(&before, &after(0)), Some(0.0), "a clock that goes back");
        assert_eq!(percent(&before, &before), None);
    }
}
