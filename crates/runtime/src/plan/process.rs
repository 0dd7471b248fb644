//! One process: what it is, who it runs as, and what it may do and use.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One process inside a container: its first one, or a later `exec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// Program and arguments; the program is looked up in the `PATH` of `env`, inside the container.
    pub args: Vec<String>,
    /// `NAME=value` entries; `HOME` is added from the user's entry when missing.
    pub env: Vec<String>,
    /// Absolute, inside the container; made when missing and `create_cwd`.
    pub cwd: PathBuf,
    /// Makes a missing working directory, as Docker does for `WORKDIR`.
    pub create_cwd: bool,
    /// Who runs it.
    pub user: User,
    /// File creation mask.
    pub umask: Option<u32>,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// Set before exec.
    pub no_new_privileges: bool,
    /// Installed last.
    pub seccomp: Option<SeccompFilter>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Written to `oom_score_adj`; `None` leaves it as inherited.
    pub oom_score_adj: Option<i32>,
    /// A pseudo-terminal of the container's own, as the controlling terminal.
    pub terminal: Option<TerminalSize>,
    /// `init` reaps and forwards signals (`--init`): the program becomes process 2.
    pub reaper: bool,
    /// I/O priority.
    pub io_priority: Option<IoPriority>,
    /// Scheduling policy.
    pub scheduler: Option<Scheduler>,
    /// CPUs to run on before joining the container's cgroup, and after (`execCPUAffinity`).
    pub cpu_affinity: CpuAffinity,
    /// AppArmor profile for exec.
    pub apparmor_profile: Option<String>,
    /// SELinux label for exec.
    pub selinux_label: Option<String>,
    /// File descriptors 3 to 2+N stay open in the program (`--preserve-fds`).
    pub preserve_fds: u32,
}

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum User {
    /// Numbers, as in an OCI bundle.
    Ids {
        /// User id inside.
        uid: u32,
        /// Group id inside.
        gid: u32,
        /// Supplementary groups inside.
        groups: Vec<u32>,
    },
    /// Docker's `user|uid[:group|gid]`, looked up in the container's `/etc/passwd` and `/etc/group`.
    Named {
        /// As the user or the image wrote it; empty means root.
        spec: String,
        /// `--group-add`: names or numbers.
        extra_groups: Vec<String>,
    },
}

/// The five capability sets, a bit per capability number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of capabilities(7)")]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
    /// Of another user than root, the program begins with none effective or permitted, as if root had changed to that
    /// user: else, under `no_new_privs`, it could gain from a file what it was never to have.
    pub root_alone: bool,
}

/// A seccomp filter, compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeccompFilter {
    /// BPF instructions, eight bytes each in the kernel's byte order.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Receives the notification descriptor (`linux.seccomp.listenerPath`).
    pub listener: Option<SeccompListener>,
}

/// Where a seccomp notification descriptor is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeccompListener {
    /// A unix socket.
    pub path: PathBuf,
    /// Opaque data for the listener.
    pub metadata: String,
}

/// One resource limit; `u64::MAX` is infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Size of a terminal in characters; zero is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names say it")]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

/// ioprio_set(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoPriority {
    /// `IOPRIO_CLASS_*`.
    pub class: u8,
    /// 0 (highest) to 7.
    pub priority: u8,
}

/// sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are those of struct sched_attr")]
pub struct Scheduler {
    pub policy: u32,
    pub nice: i32,
    pub priority: u32,
    pub flags: u64,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with `MPOL_F_*` bits.
    pub mode: u32,
    /// A bit for each memory node, the first 64 nodes in front.
    pub nodes: Vec<u64>,
}

/// `execCPUAffinity`, as lists like `0-3,7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct CpuAffinity {
    pub initial: Option<String>,
    pub r#final: Option<String>,
}
