//! Which control group hierarchies this system has.
//!
//! Three layouts exist: version 2 alone (one mount for everything), version 1 alone (one mount for each controller or
//! set of them), and hybrid (version 1 for the controllers beside a version 2 mount that has the core files and
//! perhaps a few controllers).
//!
//! This is on the way of every start, so version 2 in its usual place is recognised by one `statfs`. Otherwise
//! `/proc/self/mountinfo` is read, once; the kernel writes it anew for every reader, 1 to 4 µs for each mount.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use linux::file::Named;

use crate::dir::read_bytes;
use crate::error::{Error, Result};

/// A controller of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Controller {
    /// `io` in version 2.
    Blkio,
    Cpu,
    /// Part of `cpu` in version 2.
    Cpuacct,
    Cpuset,
    /// A BPF program in version 2.
    Devices,
    /// A core file in version 2.
    Freezer,
    Hugetlb,
    Memory,
    NetCls,
    NetPrio,
    Pids,
    Rdma,
}

impl Controller {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Blkio, "blkio"),
        (Self::Cpu, "cpu"),
        (Self::Cpuacct, "cpuacct"),
        (Self::Cpuset, "cpuset"),
        (Self::Devices, "devices"),
        (Self::Freezer, "freezer"),
        (Self::Hugetlb, "hugetlb"),
        (Self::Memory, "memory"),
        (Self::NetCls, "net_cls"),
        (Self::NetPrio, "net_prio"),
        (Self::Pids, "pids"),
        (Self::Rdma, "rdma"),
    ];

    /// The version 1 controller of this name.
    pub fn from_legacy_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(controller, _)| *controller)
    }

    /// The name of the version 1 controller.
    pub fn legacy_name(self) -> &'static str {
        Self::ALL.iter().find(|(controller, _)| *controller == self).map_or("", |(_, name)| name)
    }

    /// The name of the version 2 controller; `None` for what version 2 does without one.
    pub fn unified_name(self) -> Option<&'static str> {
        match self {
            Self::Blkio => Some("io"),
            Self::Cpu | Self::Cpuacct => Some("cpu"),
            Self::Cpuset | Self::Hugetlb | Self::Memory | Self::Pids | Self::Rdma => Some(self.legacy_name()),
            Self::Devices | Self::Freezer | Self::NetCls | Self::NetPrio => None,
        }
    }
}

/// Which layout was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1 alone.
    V1,
    /// Version 1 for controllers, version 2 for killing, freezing and cloning into.
    Hybrid,
    /// Version 2 alone.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Version 1 controllers of this hierarchy; empty for the unified one, whose groups each say what they have.
    pub(crate) controllers: Vec<Controller>,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// The group that is visible there, as `/proc/self/cgroup` would name it: `/` unless bind-mounted. `None` is not
    /// looked at yet.
    pub(crate) root: Option<PathBuf>,
}

/// The hierarchies of this system, as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub(crate) unified: Option<Mount>,
    pub(crate) legacy: Vec<Mount>,
}

impl Hierarchy {
    /// Finds the hierarchies. A system without any is not an error here: making a group is.
    pub fn detect() -> Result<Self> {
        if rustix::fs::statfs(USUAL_PLACE).is_ok_and(|found| found.f_type == CGROUP2_MAGIC) {
            let unified = Mount { controllers: Vec::new(), point: USUAL_PLACE.into(), root: None };
            return Ok(Self { unified: Some(unified), legacy: Vec::new() });
        }
        Self::read()
    }

    fn read() -> Result<Self> {
        Ok(Self::parse(&read_proc("/proc/self/mountinfo")?))
    }

    /// Which layout this is; `None` when nothing is mounted.
    pub fn version(&self) -> Option<Version> {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => Some(Version::V2),
            (Some(_), false) => Some(Version::Hybrid),
            (None, false) => Some(Version::V1),
            (None, true) => None,
        }
    }

    /// The version 1 mount that has `controller`.
    pub(crate) fn legacy_home(&self, controller: Controller) -> Option<&Mount> {
        self.legacy.iter().find(|mount| mount.controllers.contains(&controller))
    }

    /// Reads `/proc/self/mountinfo`. Of several mounts of one hierarchy the first counts: it is the system's own.
    fn parse(mountinfo: &[u8]) -> Self {
        let mut found = Self { unified: None, legacy: Vec::new() };
        for line in mountinfo.split(|byte| *byte == b'\n') {
            let Some((kind, mount)) = parse_line(line) else { continue };
            match kind {
                Kind::Unified if found.unified.is_none() => found.unified = Some(mount),
                Kind::Legacy if mount.controllers.iter().all(|one| found.legacy_home(*one).is_none()) => {
                    found.legacy.push(mount);
                }
                Kind::Unified | Kind::Legacy => {}
            }
        }
        found
    }
}

/// Where every distribution mounts control groups.
const USUAL_PLACE: &str = "/sys/fs/cgroup";

/// What `statfs` says of version 2 (`CGROUP2_SUPER_MAGIC`).
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unified,
    Legacy,
}

/// Reads a file of the kernel in as few pieces as it has pages; it has no size that could be asked for.
fn read_proc(path: &str) -> Result<Vec<u8>> {
    let path = Path::new(path);
    let file = linux::file::open(path).map_err(Error::Detect)?;
    read_bytes(&file).named("read", path).map_err(Error::Detect)
}

/// One line: `id parent device root point options [fields] - type source superoptions`.
/// Hierarchies without a controller of ours (`name=systemd`, `perf_event`) are of no use.
fn parse_line(line: &[u8]) -> Option<(Kind, Mount)> {
    let separator = line.windows(3).position(|window| window == b" - ")?;
    let (before, after) = (&line[..separator], &line[separator + 3..]);
    let mut after = after.split(|byte| *byte == b' ');
    let kind = match after.next()? {
        b"cgroup2" => Kind::Unified,
        b"cgroup" => Kind::Legacy,
        _ => return None,
    };
    let options = std::str::from_utf8(after.nth(1)?).ok()?;
    let mut before = before.split(|byte| *byte == b' ').skip(3);
    let (root, point) = (Some(unescape(before.next()?)), unescape(before.next()?));
    let controllers: Vec<_> = match kind {
        Kind::Unified => Vec::new(),
        Kind::Legacy => options.split(',').filter_map(Controller::from_legacy_name).collect(),
    };
    let useful = kind == Kind::Unified || !controllers.is_empty();
    useful.then_some((kind, Mount { controllers, point, root }))
}

/// Undoes the kernel's `\040` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                plain.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => plain.push(*first),
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

/// The version 2 group of this process below `mount`'s point, without a leading slash; `None` when it is not visible there.
pub(crate) fn own_unified_group(mount: &Mount) -> Result<Option<PathBuf>> {
    let root = match &mount.root {
        Some(root) => Some(root.clone()),
        None => {
            Hierarchy::read()?.unified.filter(|found| found.point == mount.point).and_then(|found| found.root)
        }
    };
    let groups = read_proc("/proc/self/cgroup")?;
    Ok(root.and_then(|root| parse_own(&groups, &root)))
}

fn parse_own(groups: &[u8], root: &Path) -> Option<PathBuf> {
    let own = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let own = Path::new(std::ffi::OsStr::from_bytes(own));
    own.strip_prefix(root).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
55 31 0:32 /docker/1 /mnt/a\\040copy rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn hybrid_layout_is_told_apart_and_named_hierarchies_are_left_out() {
        let found = Hierarchy::parse(HYBRID.as_bytes());
        assert_eq!(found.version(), Some(Version::Hybrid));
        assert_eq!(found.legacy.len(), 2);
        assert_eq!(found.legacy[0].controllers, [Controller::Cpu, Controller::Cpuacct]);
        assert_eq!(
            found.legacy_home(Controller::Memory).unwrap().point,
            Path::new("/sys/fs/cgroup/memory"),
            "the first mount of a hierarchy counts"
        );
        assert_eq!(found.unified.unwrap().point, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn version_follows_from_the_mounts() {
        let lines: Vec<&str> = HYBRID.lines().collect();
        let cases = [
            (vec![], None),
            (vec![lines[0]], None),
            (vec![lines[3]], None),
            (vec![lines[1], lines[3]], Some(Version::V1)),
            (vec![lines[4]], Some(Version::V2)),
            (vec![lines[1], lines[4]], Some(Version::Hybrid)),
        ];
        for (lines, version) in cases {
            assert_eq!(Hierarchy::parse(lines.join("\n").as_bytes()).version(), version, "{lines:?}");
        }
    }

    #[test]
    fn the_short_way_finds_what_the_long_one_finds() {
        let (short, long) = (Hierarchy::detect().unwrap(), Hierarchy::read().unwrap());
        assert_eq!(short.version(), long.version());
        assert_eq!(short.unified.map(|mount| mount.point), long.unified.map(|mount| mount.point));
        assert_eq!(short.legacy, long.legacy);
    }

    #[test]
    fn malformed_lines_are_passed_over() {
        for line in ["", " - ", "1 2 3 - cgroup2", "a - cgroup b c", "1 2 3 / - cgroup2 x rw"] {
            assert_eq!(Hierarchy::parse(line.as_bytes()).version(), None, "{line:?}");
        }
    }

    #[test]
    fn escapes_of_mount_points_are_undone() {
        let cases = [("/a", "/a"), ("/a\\040b", "/a b"), ("/\\134", "/\\"), ("/\\9", "/\\9"), ("/\\", "/\\")];
        for (escaped, plain) in cases {
            assert_eq!(unescape(escaped.as_bytes()), Path::new(plain));
        }
    }

    #[test]
    fn own_group_is_translated_to_the_mount() {
        let own = |groups: &[u8], root: &str| parse_own(groups, Path::new(root));
        let groups = b"3:memory:/other\n0::/user.slice/x\n";
        assert_eq!(own(groups, "/"), Some("user.slice/x".into()));
        assert_eq!(own(groups, "/user.slice"), Some("x".into()));
        assert_eq!(own(groups, "/user"), None, "whole components only");
        assert_eq!(own(b"3:memory:/other\n", "/"), None);
    }
}
