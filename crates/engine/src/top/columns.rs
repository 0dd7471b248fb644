//! Columns of `ps`: their names, their titles, and what stands in a cell.

use std::collections::HashMap;
use std::path::Path;

use linux::file;
use oci::Timestamp;

use super::ClockOffset;
use super::calendar::{DAY, Date, elapsed, long_duration};
use super::process::Process;

/// Clock ticks of a second, as `/proc` counts them on every architecture.
const TICKS: u64 = 100;
/// No honest file of names is larger.
const NAMES_LIMIT: u64 = 4 << 20;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A column to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name, as `-o` takes it.
    pub(super) name: &'static str,
    pub(super) title: String,
}

/// Names as `-o` takes them, with the titles that `ps` gives them. Several names may mean the same.
pub(super) const COLUMNS: &[(&str, &str)] = &[
    ("%cpu", "%CPU"),
    ("%mem", "%MEM"),
    ("addr", "ADDR"),
    ("args", "COMMAND"),
    ("bsdstart", "START"),
    ("bsdtime", "TIME"),
    ("c", "C"),
    ("cgroup", "CGROUP"),
    ("class", "CLS"),
    ("cls", "CLS"),
    ("cmd", "CMD"),
    ("comm", "COMMAND"),
    ("command", "COMMAND"),
    ("cputime", "TIME"),
    ("cputimes", "TIME"),
    ("egid", "EGID"),
    ("egroup", "EGROUP"),
    ("etime", "ELAPSED"),
    ("etimes", "ELAPSED"),
    ("euid", "EUID"),
    ("euser", "EUSER"),
    ("exe", "EXE"),
    ("f", "F"),
    ("fgid", "FGID"),
    ("fgroup", "FGROUP"),
    ("flags", "F"),
    ("fname", "COMMAND"),
    ("fuid", "FUID"),
    ("fuser", "FUSER"),
    ("gid", "GID"),
    ("group", "GROUP"),
    ("lstart", "STARTED"),
    ("lwp", "LWP"),
    ("maj_flt", "MAJFL"),
    ("majflt", "MAJFLT"),
    ("min_flt", "MINFL"),
    ("minflt", "MINFLT"),
    ("ni", "NI"),
    ("nice", "NI"),
    ("nlwp", "NLWP"),
    ("opri", "PRI"),
    ("pcpu", "%CPU"),
    ("pgid", "PGID"),
    ("pgrp", "PGRP"),
    ("pid", "PID"),
    ("pmem", "%MEM"),
    ("policy", "POL"),
    ("ppid", "PPID"),
    ("pri", "PRI"),
    ("priority", "PRI"),
    ("psr", "PSR"),
    ("rgid", "RGID"),
    ("rgroup", "RGROUP"),
    ("rss", "RSS"),
    ("rssize", "RSS"),
    ("rsz", "RSZ"),
    ("rtprio", "RTPRIO"),
    ("ruid", "RUID"),
    ("ruser", "RUSER"),
    ("s", "S"),
    ("sess", "SESS"),
    ("session", "SESS"),
    ("sgi_p", "P"),
    ("sgid", "SGID"),
    ("sgroup", "SGROUP"),
    ("sid", "SID"),
    ("start", "STARTED"),
    ("start_time", "START"),
    ("stat", "STAT"),
    ("state", "S"),
    ("stime", "STIME"),
    ("suid", "SUID"),
    ("suser", "SUSER"),
    ("sz", "SZ"),
    ("thcount", "THCNT"),
    ("time", "TIME"),
    ("times", "TIME"),
    ("tname", "TTY"),
    ("tpgid", "TPGID"),
    ("tt", "TT"),
    ("tty", "TT"),
    ("ucmd", "CMD"),
    ("ucomm", "COMMAND"),
    ("uid", "UID"),
    ("uname", "USER"),
    ("user", "USER"),
    ("vsize", "VSZ"),
    ("vsz", "VSZ"),
    ("wchan", "WCHAN"),
];

/// What is the same for every process.
pub(super) struct World<'a> {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    /// Seconds since boot, with a fraction.
    uptime: f64,
    /// Seconds since 1970.
    now: i64,
    /// When this machine was booted, likewise.
    booted: i64,
    memory_kib: u64,
    page_bytes: u64,
    offset: ClockOffset<'a>,
}

impl<'a> World<'a> {
    pub(super) fn look(offset: ClockOffset<'a>) -> World<'a> {
        let uptime = super::read("/proc/uptime").unwrap_or_default();
        let system = rustix::system::sysinfo();
        World {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
            uptime: uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0),
            now: state::now().seconds(),
            booted: booted(),
            memory_kib: (system.totalram.saturating_mul(u64::from(system.mem_unit)) / 1024).max(1),
            page_bytes: rustix::param::page_size() as u64,
            offset,
        }
    }

    /// Seconds that the process has lived.
    fn age(&self, process: &Process) -> i64 {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "whole seconds of uptime"
        )]
        let age = (self.uptime - process.start_ticks as f64 / TICKS as f64) as i64;
        age.max(0)
    }

    /// When it began, by the caller's clock: seconds since 1970 as if the clock were UTC's.
    fn started(&self, process: &Process) -> i64 {
        let after_boot = i64::try_from(process.start_ticks / TICKS).unwrap_or(0);
        self.local(self.booted + after_boot)
    }

    fn local(&self, seconds: i64) -> i64 {
        seconds + (self.offset)(Timestamp::new(seconds, 0).unwrap_or(Timestamp::EPOCH))
    }

    /// Per mille of one CPU over its life.
    fn per_mille(&self, process: &Process) -> u64 {
        let used = (process.user_ticks + process.system_ticks) * 1000 / TICKS;
        used / u64::try_from(self.age(process)).unwrap_or(0).max(1)
    }

    fn user(&self, id: u32) -> String {
        self.users.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn group(&self, id: u32) -> String {
        self.groups.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// As the kernel tells it, once and for all: a difference of two clocks would not stay the same.
fn booted() -> i64 {
    let stat = super::read("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

/// Names by number, of a file like `/etc/passwd`.
fn names(path: &str) -> HashMap<u32, String> {
    let text = file::read_bounded(Path::new(path), NAMES_LIMIT).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    // The first of several names of one number is its name.
    text.lines().rev().filter_map(entry).collect()
}

impl Column {
    /// The column of that name; `title` instead of its own.
    pub(super) fn named(name: &str, title: Option<&str>) -> Option<Column> {
        let lower = name.to_ascii_lowercase();
        let (name, own) = COLUMNS.iter().find(|(known, _)| *known == lower)?;
        Some(Column { name, title: title.unwrap_or(own).to_owned() })
    }

    /// What stands in it for `process`.
    pub(super) fn cell(&self, process: &Process, world: &World<'_>) -> String {
        let text = identity(self.name, process, world)
            .or_else(|| clock(self.name, process, world))
            .or_else(|| amount(self.name, process, world));
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    }
}

/// Who it is.
fn identity(name: &str, process: &Process, world: &World<'_>) -> Option<String> {
    let ([ruid, euid, suid, fuid], [rgid, egid, sgid, fgid]) = (process.uids, process.gids);
    Some(match name {
        "pid" | "lwp" => process.pid.to_string(),
        "ppid" => process.ppid.to_string(),
        "pgid" | "pgrp" => process.pgrp.to_string(),
        "sid" | "sess" | "session" => process.session.to_string(),
        "tpgid" => process.tpgid.to_string(),
        "uid" | "euid" => euid.to_string(),
        "ruid" => ruid.to_string(),
        "suid" => suid.to_string(),
        "fuid" => fuid.to_string(),
        "user" | "euser" | "uname" => world.user(euid),
        "ruser" => world.user(ruid),
        "suser" => world.user(suid),
        "fuser" => world.user(fuid),
        "gid" | "egid" => egid.to_string(),
        "rgid" => rgid.to_string(),
        "sgid" => sgid.to_string(),
        "fgid" => fgid.to_string(),
        "group" | "egroup" => world.group(egid),
        "rgroup" => world.group(rgid),
        "sgroup" => world.group(sgid),
        "fgroup" => world.group(fgid),
        "args" | "cmd" | "command" => process.arguments(),
        "comm" | "ucmd" | "ucomm" => process.command(),
        "fname" => process.command().chars().take(8).collect(),
        "exe" => process.link("exe")?,
        "cgroup" => process
            .file("cgroup")
            .lines()
            .map(|line| line.trim_start_matches("0:"))
            .collect::<Vec<_>>()
            .join(","),
        "tty" | "tt" | "tname" => process.terminal(),
        "s" | "state" => process.state.to_string(),
        "stat" => process.state_with_marks(),
        "wchan" => process.file("wchan").trim_matches('0').to_owned(),
        _ => return None,
    })
}

/// When and how long.
fn clock(name: &str, process: &Process, world: &World<'_>) -> Option<String> {
    let used = i64::try_from((process.user_ticks + process.system_ticks) / TICKS).unwrap_or(i64::MAX);
    let (started, age) = (world.started(process), world.age(process));
    let date = Date::of(started);
    let now = Date::of(world.local(world.now));
    let time =
        |seconds: i64| format!("{:02}:{:02}", seconds.rem_euclid(DAY) / 3600, seconds.rem_euclid(3600) / 60);
    Some(match name {
        "time" | "cputime" => long_duration(used),
        "times" | "cputimes" => used.to_string(),
        "bsdtime" => format!("{}:{:02}", used / 60, used % 60),
        "etime" => elapsed(age),
        "etimes" => age.to_string(),
        // The time on the same day, else the day of the same year, else the year.
        "stime" | "start_time" if (date.year, date.day_of_year) == (now.year, now.day_of_year) => {
            time(started)
        }
        "stime" | "start_time" if date.year == now.year => format!("{}{:02}", MONTHS[date.month], date.day),
        "stime" | "start_time" => date.year.to_string(),
        "start" | "bsdstart" if age < DAY && name == "bsdstart" => time(started),
        "start" if age < DAY => format!("{}:{:02}", time(started), started.rem_euclid(60)),
        "start" | "bsdstart" => format!("{} {:02}", MONTHS[date.month], date.day),
        "lstart" => format!(
            "{} {} {:2} {}:{:02} {}",
            WEEKDAYS[usize::try_from(started.div_euclid(DAY).rem_euclid(7)).unwrap_or(0)],
            MONTHS[date.month],
            date.day,
            time(started),
            started.rem_euclid(60),
            date.year
        ),
        _ => return None,
    })
}

/// How much.
fn amount(name: &str, process: &Process, world: &World<'_>) -> Option<String> {
    let resident = process.resident_kib;
    let per_mille = world.per_mille(process);
    Some(match name {
        "c" => (per_mille / 10).min(99).to_string(),
        "%cpu" | "pcpu" if per_mille > 999 => (per_mille / 10).to_string(),
        "%cpu" | "pcpu" => format!("{}.{}", per_mille / 10, per_mille % 10),
        "%mem" | "pmem" => {
            let share = (resident * 1000 / world.memory_kib).min(999);
            format!("{}.{}", share / 10, share % 10)
        }
        "rss" | "rssize" | "rsz" => resident.to_string(),
        "vsz" | "vsize" => (process.virtual_bytes / 1024).to_string(),
        "sz" => (process.virtual_bytes / world.page_bytes).to_string(),
        "ni" | "nice" if matches!(process.policy, 1 | 2) => "-".to_owned(),
        "ni" | "nice" => process.nice.to_string(),
        "pri" => (39 - process.priority).to_string(),
        "opri" => (process.priority + 60).to_string(),
        "priority" => process.priority.to_string(),
        "psr" | "sgi_p" => process.processor.to_string(),
        "nlwp" | "thcount" => process.threads.to_string(),
        "maj_flt" | "majflt" => process.major_faults.to_string(),
        "min_flt" | "minflt" => process.minor_faults.to_string(),
        // Forked and did not exec; used the superuser's privileges.
        "f" | "flags" => ((process.flags >> 6) & 5).to_string(),
        "rtprio" if process.realtime_priority == 0 => "-".to_owned(),
        "rtprio" => process.realtime_priority.to_string(),
        "class" | "cls" | "policy" => match process.policy {
            0 => "TS",
            1 => "FF",
            2 => "RR",
            3 => "B",
            5 => "IDL",
            6 => "DLN",
            _ => "?",
        }
        .to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, process: &Process, world: &World<'_>) -> String {
        Column::named(name, None).unwrap().cell(process, world)
    }

    #[test]
    fn cells_are_those_of_ps() {
        // 2026-11-21T12:00:00Z; the process began 100 s earlier, and the caller's clock is an hour ahead.
        let world = World {
            users: HashMap::from([(0, "root".to_owned())]),
            groups: HashMap::from([(5, "tty".to_owned())]),
            uptime: 1000.5,
            now: 1_795_262_400,
            booted: 1_795_262_400 - 1000,
            memory_kib: 1 << 20,
            page_bytes: 4096,
            offset: &|_| 3600,
        };
        let process = Process {
            pid: 12,
            comm: "sleep".to_owned(),
            state: 'S',
            start_ticks: 90_000,
            user_ticks: 2500,
            system_ticks: 1250,
            uids: [0, 0, 7, 9],
            gids: [5, 6, 6, 6],
            resident_kib: 102_400,
            virtual_bytes: 1 << 30,
            priority: 20,
            threads: 3,
            ..Process::default()
        };
        for (name, want) in [
            ("pid", "12"),
            ("user", "root"),
            ("uid", "0"),
            ("suser", "7"),
            ("rgroup", "tty"),
            ("egroup", "6"),
            ("comm", "sleep"),
            ("stat", "Sl"),
            ("time", "00:00:37"),
            ("bsdtime", "0:37"),
            ("etime", "01:40"),
            ("etimes", "100"),
            ("stime", "12:58"),
            ("lstart", "Sat Nov 21 12:58:20 2026"),
            ("%cpu", "37.5"),
            ("c", "37"),
            ("%mem", "9.7"),
            ("rss", "102400"),
            ("vsz", "1048576"),
            ("sz", "262144"),
            ("ni", "0"),
            ("pri", "19"),
            ("cls", "TS"),
            ("rtprio", "-"),
            ("nlwp", "3"),
            ("tty", "?"),
        ] {
            assert_eq!(cell(name, &process, &world), want, "{name}");
        }
    }

    #[test]
    fn every_column_has_something_to_show() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let world = World::look(&|_| 0);
        for (name, _) in COLUMNS {
            let shown = cell(name, &own, &world);
            assert!(!shown.is_empty() && !shown.contains(['\n', '\t']), "{name}: {shown:?}");
        }
    }
}
