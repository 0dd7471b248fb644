//! `list`, `ps` and `events`: what is said about containers.

use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use cgroup::{BlockIoEntry, Cgroup, Stats, Usage};
use oci::runtime::Status;
use rustix::event::{PollFd, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::args::{Command, Flag, Parsed};
use super::container::{self, Record};
use super::error::{Error, Result};
use super::{Global, lifecycle, print};

pub(super) const LIST: Command = Command {
    name: "list",
    about: "List containers",
    usage: "[OPTIONS]",
    flags: &[
        Flag::value("format", "table|json", "form of the list (default table)").short('f'),
        Flag::switch("quiet", "ids alone").short('q'),
    ],
    arguments: (0, 0),
    flags_lead: false,
    run: list,
};

pub(super) const PS: Command = Command {
    name: "ps",
    about: "List the processes of a container",
    usage: "[OPTIONS] ID [PS-OPTION...]",
    flags: &[Flag::value("format", "table|json", "form of the list (default table)").short('f')],
    arguments: (1, usize::MAX),
    flags_lead: true,
    run: ps,
};

pub(super) const EVENTS: Command = Command {
    name: "events",
    about: "Print statistics, and kills for want of memory, as they come",
    usage: "[OPTIONS] ID",
    flags: &[
        Flag::value("interval", "TIME", "between two statistics (default 5s)"),
        Flag::switch("stats", "print statistics once"),
    ],
    arguments: (1, 1),
    flags_lead: false,
    run: events,
};

fn list(global: &Global, parsed: &Parsed) -> Result<u8> {
    let records = records(global)?;
    if parsed.on("quiet") {
        return print(&records.iter().map(|record| format!("{}\n", record.id)).collect::<String>());
    }
    let documents: Vec<Value> =
        records.iter().map(|record| lifecycle::document(global, record)).collect::<Result<_>>()?;
    if wants_json(parsed)? {
        return print(&format!("{}\n", Value::from(documents)));
    }
    let heads = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let cell = |document: &Value, name: &str| {
        let value = &document[name];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let keys = ["id", "pid", "status", "bundle", "created", "owner"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(documents.iter().map(|document| keys.map(|key| cell(document, key))));
    print(&table(&rows))
}

/// Columns three spaces apart, each as wide as its widest cell but for the last.
fn table(rows: &[[String; 6]]) -> String {
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

fn wants_json(parsed: &Parsed) -> Result<bool> {
    match parsed.value("format") {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(Error::usage(format!("--format is {other:?}; it may be table or json"))),
    }
}

/// All containers by name; what is being made or removed this instant is passed over.
fn records(global: &Global) -> Result<Vec<Record>> {
    let folder = match rustix::fs::open(
        &global.root,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(Error::system(format!("list {}", global.root.display()))(errno)),
    };
    let failed = || Error::system(format!("list {}", global.root.display()));
    let mut records = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        match container::load(global, name) {
            Ok(record) => records.push(record),
            Err(Error::Missing { .. } | Error::Id { .. }) => {}
            Err(error) => global.log.warn(&error.chain()),
        }
    }
    records.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(records)
}

fn ps(global: &Global, parsed: &Parsed) -> Result<u8> {
    let record = container::load(global, parsed.id())?;
    let pids: Vec<i32> = record.require_cgroup()?.pids()?.into_iter().map(|pid| pid.as_raw_pid()).collect();
    if wants_json(parsed)? {
        return print(&format!("{}\n", json!(pids)));
    }
    let given = parsed.arguments.get(1..).unwrap_or_default();
    let options = if given.is_empty() { &["-ef".to_owned()][..] } else { given };
    print(&only(&run_ps(options)?, &pids)?)
}

#[allow(clippy::disallowed_methods, reason = "ps(1) is what this command shows")]
fn run_ps(options: &[String]) -> Result<String> {
    let failed = |source| Error::System { attempt: "run ps".into(), source };
    let output = Program::new("ps").args(options).stderr(Stdio::inherit()).output().map_err(failed)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::usage(format!("ps {} ended with {}", options.join(" "), output.status))),
    }
}

/// The head line and the lines of these processes.
fn only(output: &str, pids: &[i32]) -> Result<String> {
    let mut lines = output.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_ascii_whitespace().position(|name| name == "PID") else {
        return Err(Error::usage("the options of ps show no column PID".into()));
    };
    let ours = |line: &&str| {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    Ok([head].into_iter().chain(lines.filter(ours)).map(|line| format!("{line}\n")).collect())
}

fn events(global: &Global, parsed: &Parsed) -> Result<u8> {
    let interval = parsed.value("interval").unwrap_or("5s");
    let Some(interval) = duration(interval) else {
        return Err(Error::usage(format!("--interval is {interval:?}; it may be 500ms, 5s, 1m")));
    };
    let record = container::load(global, parsed.id())?;
    let folder = global.root.join(&record.id);
    let status = record.status(&folder)?;
    if status == Status::Stopped {
        return Err(Error::NotRunning { id: record.id, status });
    }
    let group = record.require_cgroup()?;
    if parsed.on("stats") {
        return print(&event(&record.id, "stats", Some(data(&group.stats()?))));
    }
    watch(&record, &folder, &group, interval)?;
    Ok(0)
}

/// Prints events until the container ends.
fn watch(record: &Record, folder: &Path, group: &Cgroup, interval: Duration) -> Result<()> {
    let oom = group.oom_watch()?;
    let mut kills = group.oom_kills()?;
    let mut due = Instant::now() + interval;
    while record.status(folder)? != Status::Stopped {
        let left = due.saturating_duration_since(Instant::now());
        let limit = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut watched: Vec<PollFd<'_>> =
            oom.iter().map(|watch| PollFd::new(watch, watch.interest())).collect();
        let woken = poll(&mut watched, Some(&limit)).map_err(Error::system("wait for events"))? > 0;
        if woken && let Some(watch) = &oom {
            watch.acknowledge()?;
            let now = group.oom_kills()?;
            if now > kills {
                print(&event(&record.id, "oom", None))?;
            }
            kills = now;
        }
        if Instant::now() >= due {
            print(&event(&record.id, "stats", Some(data(&group.stats()?))))?;
            due += interval;
        }
    }
    Ok(())
}

fn event(id: &str, kind: &str, data: Option<Value>) -> String {
    let mut event = json!({"type": kind, "id": id});
    if let Some(data) = data {
        event["data"] = data;
    }
    format!("{event}\n")
}

/// `500ms`, `5s`, `2m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).filter(|total| *total > 0).map(Duration::from_millis)
}

/// Statistics under the names that readers of this stream know.
fn data(stats: &Stats) -> Value {
    let usage = |usage: &Usage| json!({"limit": usage.limit.unwrap_or(u64::MAX), "usage": usage.now, "max": usage.peak, "failcnt": usage.failures});
    let entry = |entry: &BlockIoEntry| json!({"major": entry.major, "minor": entry.minor, "op": entry.operation, "value": entry.value});
    let entries = |list: &[BlockIoEntry]| list.iter().map(entry).collect::<Vec<_>>();
    let memory = &stats.memory;
    json!({
        "cpu": {
            "usage": {
                "total": stats.cpu.usage_ns,
                "percpu": stats.cpu.per_cpu_ns,
                "kernel": stats.cpu.system_ns,
                "user": stats.cpu.user_ns,
            },
            "throttling": {
                "periods": stats.cpu.periods,
                "throttledPeriods": stats.cpu.throttled_periods,
                "throttledTime": stats.cpu.throttled_ns,
            },
        },
        "memory": {
            "cache": memory.detail.get("cache").or_else(|| memory.detail.get("file")).copied().unwrap_or(0),
            "usage": usage(&memory.memory),
            "swap": usage(&memory.swap),
            "kernel": usage(&memory.kernel),
            "kernelTCP": usage(&memory.kernel_tcp),
            "raw": memory.detail,
        },
        "pids": {"current": stats.pids.now, "limit": stats.pids.limit.unwrap_or(0)},
        "blkio": {
            "ioServiceBytesRecursive": entries(&stats.block_io.bytes),
            "ioServicedRecursive": entries(&stats.block_io.operations),
        },
        "hugetlb": stats.hugepages.iter().map(|(size, pages)| (size.clone(), usage(pages))).collect::<serde_json::Map<_, _>>(),
        "intel_rdt": {},
        "network_interfaces": null,
    })
}
