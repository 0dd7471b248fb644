//! What is true of this host: looked up once per engine, in a few microseconds.

use std::io;
use std::path::Path;

use linux::file;
use rustix::fs::{Access, StatVfsMountFlags};

use crate::plan::{CgroupPlace, HostFacts, Rootless};

/// No honest file of ids is larger.
const SUBID_LIMIT: u64 = 1 << 20;
/// Ranges that a map has beside the user's own id: the kernel takes 340 in all.
const RANGES: usize = 339;

/// Looks everything up.
pub(crate) fn facts() -> HostFacts {
    let rootless = rootless();
    HostFacts {
        cpus: rustix::thread::sched_getaffinity(None).map_or(1, |cpus| cpus.count().max(1)),
        capabilities: rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits()),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        thermal_cpus: thermal_cpus(),
        cgroups: match &rootless {
            None if hierarchy_is_writable() => CgroupPlace::Root,
            None => CgroupPlace::Nowhere,
            Some(_) if own_group_is_writable() => CgroupPlace::Own,
            Some(_) => CgroupPlace::Nowhere,
        },
        mqueue: rustix::fs::access("/dev/mqueue", Access::EXISTS).is_ok(),
        rootless,
    }
}

/// How many CPUs have counters of thermal throttling, which tell one container what another one does.
fn thermal_cpus() -> u32 {
    let present = |cpu: u32| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
        rustix::fs::access(path, Access::EXISTS).is_ok()
    };
    if !present(0) {
        return 0;
    }
    // Possible, not online: a CPU that comes later must be hidden too.
    let text = file::read_to_string(Path::new("/sys/devices/system/cpu/possible")).unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|number| number.parse::<u32>().ok());
    last.unwrap_or(0).saturating_add(1).min(8192)
}

/// The caller, unless it is the host's root. Root of another user namespace is a user to whom all the other ids of that are lent.
pub(crate) fn rootless() -> Option<Rootless> {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0 {
        return (!linux::process::in_initial_user_namespace()).then(root_of_a_namespace);
    }
    let gid = rustix::process::getegid().as_raw();
    let name = user_name(uid);
    let ranges = |path: &str, own: u32| {
        let text = read_bounded(path).unwrap_or_default();
        subordinate(&text, name.as_deref(), uid, own)
    };
    let (uids, gids) = match runtime::helpers_exist() {
        true => (ranges("/etc/subuid", uid), ranges("/etc/subgid", gid)),
        false => (Vec::new(), Vec::new()),
    };
    Some(Rootless { uid, gid, uids, gids })
}

fn root_of_a_namespace() -> Rootless {
    let ranges = |path: &str, own: u32| mapped(&read_bounded(path).unwrap_or_default(), own);
    let gid = rustix::process::getegid().as_raw();
    Rootless { uid: 0, gid, uids: ranges("/proc/self/uid_map", 0), gids: ranges("/proc/self/gid_map", gid) }
}

/// The ids of a user namespace by its map (`inside outside count`), but for the caller's `own`.
fn mapped(text: &str, own: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, count) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        Some((first, count))
    };
    let mut ranges = Vec::new();
    for (first, count) in text.lines().filter_map(range) {
        match own.checked_sub(first).filter(|before| *before < count) {
            // What lies before it and behind it.
            Some(before) => ranges.extend([(first, before), (own + 1, count - before - 1)]),
            None => ranges.push((first, count)),
        }
    }
    ranges.retain(|(_, count)| *count > 0);
    ranges.sort_unstable();
    ranges.truncate(RANGES);
    ranges
}

fn user_name(uid: u32) -> Option<String> {
    let text = read_bounded("/etc/passwd")?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn read_bounded(path: &str) -> Option<String> {
    let bytes = file::read_bounded(Path::new(path), SUBID_LIMIT).ok()?;
    String::from_utf8(bytes).ok()
}

/// The ranges that a file like `/etc/subuid` lends to a user, in its order: `name or id:first:count`.
///
/// In its order, so that what is added at its end moves no id. What the kernel would refuse is left out: ranges that
/// overlap or hold the user's `own` id, more than a map can hold, and ids beyond the last one.
fn subordinate(text: &str, name: Option<&str>, uid: u32, own: u32) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    // Id 0 is the user's own; the highest number of all is no id.
    let mut inside = 1_u32;
    for line in text.lines() {
        let mut fields = line.trim().split(':');
        let Some(owner) = fields.next() else { continue };
        let mut number = || fields.next()?.parse::<u32>().ok();
        let (Some(first), Some(count)) = (number(), number()) else { continue };
        let is_ours = Some(owner) == name || owner.parse() == Ok(uid);
        let (Some(end), Some(end_inside)) = (first.checked_add(count), inside.checked_add(count)) else {
            continue;
        };
        let overlaps = |&(other, others): &(u32, u32)| first < other + others && other < end;
        let holds_own = (first..end).contains(&own);
        if is_ours && count > 0 && ranges.len() < RANGES && !holds_own && !ranges.iter().any(overlaps) {
            ranges.push((first, count));
            inside = end_inside;
        }
    }
    ranges
}

/// Whether there is a hierarchy for root to make groups in: with nothing mounted there, or inside a container of
/// another engine's, containers run without groups.
fn hierarchy_is_writable() -> bool {
    // Version 2 itself, or the tmpfs on which version 1 mounts its hierarchies (linux/magic.h); that one is often
    // read-only, and they are not.
    const VERSION_2: i64 = 0x6367_7270;
    const VERSION_1: i64 = 0x0102_1994;
    let place = "/sys/fs/cgroup";
    match rustix::fs::statfs(place).map(|found| found.f_type) {
        Ok(VERSION_1) => true,
        Ok(VERSION_2) => {
            rustix::fs::statvfs(place).is_ok_and(|found| !found.f_flag.contains(StatVfsMountFlags::RDONLY))
        }
        Ok(_) | Err(_) => false,
    }
}

/// Whether this process may make groups below its own: cgroup version 2 alone, delegated.
fn own_group_is_writable() -> bool {
    let own = || -> io::Result<bool> {
        let text = file::read_to_string(Path::new("/proc/self/cgroup")).map_err(|error| error.source)?;
        let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(false) };
        let group = Path::new("/sys/fs/cgroup").join(path);
        rustix::fs::access(group.join("cgroup.procs"), Access::WRITE_OK)?;
        rustix::fs::access(group, Access::WRITE_OK)?;
        Ok(true)
    };
    own().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let text = "alice:100000:65536\n# c\nbob:165536:65536\nalice:300000:10\nalice:100005:10\n1002:400000:70000\n\
                    bad\nx:4294967295:2\nx:5:0\nx:1:1\n";
        assert_eq!(subordinate(text, Some("alice"), 1000, 1000), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(subordinate(text, None, 1002, 1002), [(400_000, 70_000)]);
        let none: [(u32, u32); 0] = [];
        assert_eq!(
            subordinate(text, Some("x"), 1, 1),
            none,
            "beyond the last id, nothing, and the user's own"
        );
        assert_eq!(subordinate(text, Some("carol"), 1003, 1003), none);
        let many: String = (0..400).map(|number| format!("x:{}:1\n", 1000 + 2 * number)).collect();
        assert_eq!(subordinate(&many, Some("x"), 1, 1).len(), 339);
    }

    #[test]
    fn root_of_a_namespace_has_what_is_mapped_there() {
        for (map, own, ranges) in [
            ("         0       1001          1\n", 0, &[][..]),
            ("         0       1001          1\n         1     100000      65535\n", 0, &[(1, 65_535)]),
            ("         0     100000      65536\n", 0, &[(1, 65_535)]),
            ("         0     100000      65536\n", 5, &[(0, 5), (6, 65_530)]),
            (
                "      1000       1000          1\n         0     100000       1000\n",
                0,
                &[(1, 999), (1000, 1)],
            ),
            ("         0          0 4294967295\n", 0, &[(1, 4_294_967_294)]),
            ("", 0, &[]),
            ("what\n1 2\n", 0, &[]),
        ] {
            assert_eq!(mapped(map, own), ranges, "{map}");
        }
    }

    #[test]
    fn this_host_is_described() {
        let facts = facts();
        assert!(facts.cpus >= 1 && !facts.hostname.is_empty());
    }
}
