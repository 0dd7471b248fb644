//! What the engine tells about the host and itself.

use std::path::PathBuf;

/// `skiff version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of Skiff.
    pub version: &'static str,
    /// Of the kernel (`uname -r`).
    pub kernel: String,
    /// As Docker names it: `amd64`, …
    pub architecture: String,
    /// Version of the database's schema.
    pub schema: i64,
    /// Version of SQLite.
    pub sqlite: String,
}

/// `skiff info`.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Host and program.
    pub version: Version,
    /// Tells this root on this machine from all others: a UUID made of both, the same at every call. Empty where the
    /// machine has no id (`machine-id(5)`).
    pub id: String,
    /// Host name.
    pub name: String,
    /// How many containers there are.
    pub containers: u64,
    /// Of these, running.
    pub running: u64,
    /// Of these, paused.
    pub paused: u64,
    /// Of these, neither.
    pub stopped: u64,
    /// How many images there are.
    pub images: u64,
    /// `erofs` or `trees`.
    pub snapshotter: &'static str,
    /// File system of the root as Docker names it (`extfs`), or its magic number.
    pub backing_filesystem: String,
    /// Log drivers that there are, sorted.
    pub log_drivers: &'static [&'static str],
    /// Where everything lies.
    pub root: PathBuf,
    /// Where running things lie.
    pub run: PathBuf,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Which limits can be set; none where no group can be made.
    pub limits: cgroup::Capabilities,
    /// Whether containers get control groups at all.
    pub has_cgroups: bool,
    /// Whether this host passes IPv4 packets on.
    pub ipv4_forwarding: bool,
    /// Without root.
    pub rootless: bool,
    /// CPUs that may be used.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// `VERSION_ID` of os-release; empty where there is none.
    pub os_version: String,
    /// `linux`.
    pub os_type: &'static str,
    /// As the kernel names it: `x86_64`, …
    pub machine: String,
    /// What is not as it could be, one sentence each.
    pub warnings: Vec<String>,
}
