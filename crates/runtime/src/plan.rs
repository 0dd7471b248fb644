//! What to start, decided in full before anything is touched.
//!
//! A plan is plain data: the engine (or an OCI bundle) is turned into one by pure code, it travels to the
//! monitor in a sealed memfd, and [`crate::init`] enacts it. Nothing in here names an image or a database.
//! Text is UTF-8; whoever builds a plan refuses anything else at the border.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// Where one kind of namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Namespace {
    /// The caller's own.
    #[default]
    Inherit,
    /// A fresh one.
    New,
    /// An existing one, by a path such as `/proc/123/ns/net`.
    Join(PathBuf),
}

/// One choice for each kind that Linux has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the kernel's")]
pub struct Namespaces {
    pub user: Namespace,
    pub mount: Namespace,
    pub pid: Namespace,
    pub network: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
    pub time: Namespace,
}

/// Id maps of a user namespace, in the kernel's order: inside, outside, count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMap>,
    /// Group ids.
    pub gid: Vec<IdMap>,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id outside it.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// The container's root file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Where it comes from.
    pub source: RootSource,
    /// Mounted read-only once everything below it is in place.
    pub readonly: bool,
    /// Propagation of the root mount (`linux.rootfsPropagation`).
    pub propagation: Propagation,
}

/// How the root file system is put together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RootSource {
    /// A directory that is already a whole root file system, as in an OCI bundle.
    Directory(PathBuf),
    /// An EROFS index over layer tars, id-mapped into a new user namespace, under an overlay.
    Erofs {
        /// `images/<id>.erofs`.
        index: PathBuf,
        /// Layer tars, in the order of the index's device table.
        devices: Vec<PathBuf>,
        /// Where writes go; without it the image itself is the root, read-only.
        writable: Option<Writable>,
    },
    /// Unpacked layers, uppermost first, under an overlay.
    Trees {
        /// `trees/<chainid>` directories.
        layers: Vec<PathBuf>,
        /// Where writes go.
        writable: Option<Writable>,
    },
}

impl RootSource {
    /// Where writes go.
    pub fn writable(&self) -> Option<&Writable> {
        match self {
            Self::Directory(_) => None,
            Self::Erofs { writable, .. } | Self::Trees { writable, .. } => writable.as_ref(),
        }
    }
}

/// An overlay's writable layer: its two directories, on one file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are overlayfs's")]
pub struct Writable {
    pub upper: PathBuf,
    pub work: PathBuf,
    /// Nobody wants the layer after a loss of power: nothing in it is synced, neither when a program asks for it nor
    /// at the end, when the kernel would sync the whole file system that holds the layer.
    pub volatile: bool,
    /// What keeps it from growing, where something does.
    pub limit: Option<WritableLimit>,
}

/// How a writable layer is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WritableLimit {
    /// It lies in an ext4 file system of its own, in this file: the two directories are in that one's root.
    Disk(PathBuf),
    /// The file system that it lies on counts it, and refuses what is beyond so many bytes.
    Project(u64),
}

/// One mount below the root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, inside the container; resolved below the root, made when missing.
    pub target: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Per-mount flags.
    pub attributes: MountAttributes,
    /// Propagation set after mounting.
    pub propagation: Option<Propagation>,
    /// Id-maps the mount: with the container's maps, or with maps of its own.
    pub id_map: MountIdMap,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A new instance of a file system (`proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, …).
    New {
        /// The kernel's name of the file system.
        fstype: String,
        /// Shown in mountinfo.
        source: String,
        /// `key=value` or bare flags of the file system itself.
        options: Vec<String>,
        /// For tmpfs: starts with what the root has at the target.
        copy_up: bool,
    },
    /// A file or directory of the caller's.
    Bind {
        /// Absolute, on the host.
        source: PathBuf,
        /// With everything mounted below it.
        recursive: bool,
    },
    /// A directory that is the container's own.
    Volume {
        /// Absolute, on the host; a directory that nothing else uses.
        source: PathBuf,
        /// It is empty, and starts with what the root has at the target, before anything is mounted there.
        fill: bool,
    },
    /// A file or directory of an image's file system, which is mounted for this alone, with its ids as the root's.
    Image {
        /// Where the file system comes from.
        source: RootSource,
        /// Absolute, from its root; links do not lead out of it.
        path: PathBuf,
    },
    /// A file in memory.
    File {
        /// What is in it.
        content: Content,
        /// Permission bits.
        mode: u32,
        /// Owner inside.
        uid: u32,
        /// Group inside.
        gid: u32,
    },
    /// The container's own part of the cgroup hierarchies.
    Cgroup,
}

/// What a file holds that is nobody else's business: it is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(Vec<u8>);

impl Content {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Content {
        Content(bytes.to_vec())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content")
    }
}

/// Per-mount flags; `recursive` extends them to everything below a bind mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are those of mount(8)")]
pub struct MountAttributes {
    pub readonly: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub nosymfollow: bool,
    pub access_time: AccessTime,
    pub nodiratime: bool,
    /// Flags set with the `r` forms (`rro`, `rnosuid`, …), as mount_setattr(2) bits to set and to clear.
    pub recursive_set: u64,
    /// See `recursive_set`.
    pub recursive_clear: u64,
}

/// When reading updates a time stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mount(8)")]
pub enum AccessTime {
    #[default]
    Relative,
    Never,
    Strict,
}

/// How mount events travel between peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mount(8)")]
pub enum Propagation {
    #[default]
    Private,
    RecursivePrivate,
    Slave,
    RecursiveSlave,
    Shared,
    RecursiveShared,
    Unbindable,
    RecursiveUnbindable,
}

/// Whether and how a mount is id-mapped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum MountIdMap {
    /// Ids as they are on disk.
    #[default]
    None,
    /// The container's own maps: id 0 on disk is id 0 inside.
    Container,
    /// Maps of the mount's own (OCI `mounts[].uidMappings`).
    Own {
        /// The maps; inside is the id on disk.
        maps: IdMaps,
        /// Also everything below (`ridmap`).
        recursive: bool,
    },
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute, inside the container.
    pub path: PathBuf,
    /// Character, block or fifo.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// The host's node, bound where a node cannot be made.
    pub source: PathBuf,
}

/// Kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mknod(1)")]
pub enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// Clock offsets of a time namespace (time_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// Seconds and nanoseconds added to the monotonic clock.
    pub monotonic: (i64, u32),
    /// Seconds and nanoseconds added to the boot-time clock.
    pub boottime: (i64, u32),
}

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

/// Programs run around the container's life, with the state document on standard input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    /// What the state document says beyond id, status and process.
    pub state: HookState,
}

/// The part of the state document (runtime specification, runtime.md, "State") that does not change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HookState {
    /// `ociVersion`; empty stands for the version this crate implements.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// `annotations`.
    pub annotations: Vec<(String, String)>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// `argv`, with the name in front; empty means the path alone.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Killed after so many seconds.
    pub timeout_secs: Option<u32>,
}
