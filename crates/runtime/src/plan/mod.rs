//! What to start, decided in full before anything is touched.
//!
//! A plan is plain data: the engine (or an OCI bundle) is turned into one by pure code, it travels to the
//! monitor in a sealed memfd, and [`crate::init`] enacts it. Nothing in here names an image or a database.
//! Text is UTF-8; whoever builds a plan refuses anything else at the border.

mod hooks;
mod mount;
mod namespaces;
mod process;
mod root;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use hooks::{Hook, HookState, Hooks};
pub use mount::{
    AccessTime, Content, DEFAULT_DEVICES, Device, DeviceKind, Mount, MountAttributes, MountIdMap, MountKind,
    Propagation,
};
pub use namespaces::{IdMap, IdMaps, Namespace, Namespaces, TimeOffsets};
pub use process::{
    Capabilities, CpuAffinity, IoPriority, MemoryPolicy, ProcessPlan, Rlimit, Scheduler, SeccompFilter,
    SeccompListener, TerminalSize, User,
};
pub use root::{Root, RootSource, Writable, WritableLimit};

/// One container: its world and its first process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchPlan {
    /// Names the container in errors; never used as a path.
    pub id: String,
    /// Which namespaces are new, joined or the caller's.
    pub namespaces: Namespaces,
    /// Id maps of a new user namespace; empty when there is none.
    pub id_maps: IdMaps,
    /// What the container sees as `/`.
    pub root: Root,
    /// Mounts below the root, in order.
    pub mounts: Vec<Mount>,
    /// Device nodes to make (or to bind from the host where the kernel forbids making them).
    pub devices: Vec<Device>,
    /// Hidden: a file behind `/dev/null`, a directory behind an empty read-only tmpfs. Missing ones are skipped.
    pub masked_paths: Vec<PathBuf>,
    /// Bound onto themselves read-only. Missing ones are skipped.
    pub readonly_paths: Vec<PathBuf>,
    /// Set in a new uts namespace.
    pub hostname: Option<String>,
    /// NIS domain name, set in a new uts namespace.
    pub domainname: Option<String>,
    /// Kernel parameters (`net.ipv4.ip_forward`), each inside a namespace of the container's own.
    pub sysctls: Vec<(String, String)>,
    /// Clock offsets of a new time namespace.
    pub time_offsets: Option<TimeOffsets>,
    /// The control group, or none where the caller may not make one.
    pub cgroup: Option<cgroup::Plan>,
    /// The first process.
    pub process: ProcessPlan,
    /// Programs to run around the container's life (OCI runtime specification, config.md, POSIX-platform hooks).
    pub hooks: Hooks,
    /// Execution domain of the container (`linux.personality`).
    pub personality: Option<u32>,
    /// On which memory nodes the container's memory lies (`linux.memoryPolicy`).
    pub memory_policy: Option<MemoryPolicy>,
    /// Brings `lo` up in a new network namespace.
    pub loopback: bool,
    /// A new session keyring for the container, as runc makes one.
    pub new_session_keyring: bool,
    /// Puts the root over the old one and changes to it by `chroot`, for an old root on the initial ramdisk, which
    /// `pivot_root` refuses.
    pub no_pivot: bool,
    /// A FIFO, on the host, that holds init back across `create` and `start` of the OCI command line: made by
    /// the caller, opened (`O_PATH`) before the root changes. Once released and fully set up, with only the
    /// `startContainer` hooks and exec left, init opens it for writing, which blocks until `start` opens it for reading
    /// ([`crate::release_at`]), writes one zero byte and goes on.
    pub start_gate: Option<PathBuf>,
    /// The kernel kills the first process when its supervisor dies, however that dies: for what nobody wants without it. A
    /// program that gains privileges by its exec (set-user-id) is let off by the kernel, which prctl(2) tells of
    /// `PR_SET_PDEATHSIG`.
    pub ends_with_supervisor: bool,
}
