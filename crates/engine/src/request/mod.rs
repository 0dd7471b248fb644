//! What can be asked of the engine: plain data, as the command line or the API server parsed it.
//!
//! Texts that Docker's clients pass on unparsed (`--security-opt`, `-v`, `--ulimit`, …) have one parser here,
//! so that every front end refuses the same things in the same words.

mod build;
mod device;
mod mode;
mod mount;
mod option;
mod resource;
mod restart;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

pub use oci::Healthcheck;
use oci::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use build::EPOCH;
pub use build::{
    Build, BuildContext, BuildLimits, BuildNetwork, CallersSsh, DockerfileSource, Entitlement, Fields,
    NamedContext, OutputLimits, Secret, SshProgram,
};
pub use cdi::is_qualified as is_device_name;
pub use device::{AccessRule, DeviceRate};
pub use mode::{CgroupMode, IpcMode, NetworkMode, PidMode, UserMode, UtsMode};
pub use monitor::{DriftMode, OnUnhealthy, RestartPolicy};
pub use mount::{BindRecursion, MountRequest, MountSource, TmpfsOptions};
pub(crate) use option::parse_bool;
pub use option::{DeviceRequest, LogOptions, Seccomp, SecurityOptions, Ulimit};
pub use resource::{Resources, parse_bytes, parse_cpus, parse_decimal_bytes};
pub use restart::parse_restart;

/// A container to make (`skiff create`, and the first half of `skiff run`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Create {
    /// `name[:tag][@digest]` or an image id, as the user wrote it.
    pub image: String,
    /// `--name`; one is made up when missing.
    pub name: Option<String>,
    /// `os[/architecture[/variant]]`; the image must match.
    pub platform: Option<String>,
    /// `--pull`.
    pub pull: Pull,
    /// The program and what it sees of itself.
    pub process: ProcessOptions,
    /// The world around it.
    pub host: HostOptions,
}

/// When to ask a registry for the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of --pull")]
pub enum Pull {
    Always,
    #[default]
    Missing,
    Never,
}

/// The program of a container: what Docker calls its `Config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessOptions {
    /// Replaces the image's entry point and drops its command; `[""]` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command; empty keeps it.
    pub command: Vec<String>,
    /// `NAME=value`, or `NAME` alone to remove what the image sets; later ones win.
    pub env: Vec<String>,
    /// `user|uid[:group|gid]`; missing or empty is the image's.
    pub user: Option<String>,
    /// Absolute; missing or empty is the image's, or `/`.
    pub workdir: Option<String>,
    /// Missing is the first twelve digits of the id.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Added to the image's labels.
    pub labels: BTreeMap<String, String>,
    /// `-t`: a terminal of the container's own.
    pub tty: bool,
    /// `-i`: standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes when the first attached client leaves.
    pub stdin_once: bool,
    /// What `run` or `start` attaches, as recorded for `inspect`.
    pub attach: AttachStreams,
    /// Name with or without `SIG`, or a number; missing is the image's, or `SIGTERM`.
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and `SIGKILL`; -1 waits for ever. Missing is 10.
    pub stop_timeout: Option<i32>,
    /// How health is checked; what is not set in it is the image's. Missing altogether is the image's, too.
    pub health: Option<Healthcheck>,
}

/// Which of the three standard streams are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names say it")]
pub struct AttachStreams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// The world around a container: what Docker calls its `HostConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostOptions {
    /// `--rm`.
    pub auto_remove: bool,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--on-unhealthy`.
    pub on_unhealthy: OnUnhealthy,
    /// `--privileged`.
    pub privileged: bool,
    /// `--read-only`.
    pub readonly_root: bool,
    /// `--init`.
    pub init: bool,
    /// Names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Names with or without `CAP_`, or `ALL`; dropped before adding.
    pub cap_drop: Vec<String>,
    /// As Docker's clients send them: `no-new-privileges[=bool]`, `seccomp=<JSON>|unconfined|builtin`,
    /// `systempaths=unconfined`, `apparmor=…`, `label=…`. A file name must have been replaced by its content.
    pub security_options: Vec<String>,
    /// `--userns`.
    pub user_mode: UserMode,
    /// `--pid`.
    pub pid_mode: PidMode,
    /// `--ipc`.
    pub ipc_mode: IpcMode,
    /// `--uts`.
    pub uts_mode: UtsMode,
    /// `--cgroupns`.
    pub cgroup_mode: CgroupMode,
    /// `--network`.
    pub network_mode: NetworkMode,
    /// `--group-add`: names or numbers.
    pub group_add: Vec<String>,
    /// `-v`, `--mount`, `--tmpfs`.
    pub mounts: Vec<MountRequest>,
    /// `--device`.
    pub devices: Vec<DeviceRequest>,
    /// `--device` by a name such as `vendor.com/class=name` (CDI).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_devices: Vec<String>,
    /// `--device-cgroup-rule`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_rules: Vec<AccessRule>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`; missing or 0 is 64 MiB.
    pub shm_size: Option<u64>,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Path of the parent control group.
    pub cgroup_parent: Option<String>,
    /// `--cidfile`, recorded for `inspect`; writing it is the front end's business.
    pub cidfile: Option<PathBuf>,
    /// Limits.
    pub resources: Resources,
    /// `--drift`.
    pub drift: DriftMode,
    /// `--log-driver`, `--log-opt`.
    pub log: LogOptions,
    /// `--storage-opt`.
    pub storage: BTreeMap<String, String>,
}

/// `skiff pull`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullImage {
    /// As the user wrote it.
    pub reference: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// `os[/architecture[/variant]]`; missing is the host's.
    pub platform: Option<String>,
    /// Of an index, the images for all platforms.
    pub all_platforms: bool,
}

/// `skiff push`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushImage {
    /// As the user wrote it.
    pub reference: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// `os[/architecture[/variant]]` that the image must be for.
    pub platform: Option<String>,
}

/// `skiff image copy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyImage {
    /// As the user wrote it.
    pub source: String,
    /// As the user wrote it; without a tag it takes that of the source.
    pub target: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// Only the image for this `os[/architecture[/variant]]`.
    pub platform: Option<String>,
    /// Also what refers to it.
    pub referrers: bool,
}

/// `skiff stop`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Missing is the container's stop signal.
    pub signal: Option<String>,
    /// Seconds until `SIGKILL`; negative waits for ever. Missing is the container's.
    pub timeout_secs: Option<i32>,
}

/// `skiff update`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// What is not set stays as it is.
    pub resources: Resources,
    /// Missing stays as it is.
    pub restart: Option<RestartPolicy>,
}

/// `skiff rm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remove {
    /// Kills a running container first.
    pub force: bool,
    /// Also its anonymous volumes. Those have no names of their own yet, and go with their container in any case.
    pub volumes: bool,
    /// A link to another container, not the container.
    pub link: bool,
}

/// What `skiff wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitFor {
    /// Returns at once when it does not run.
    #[default]
    NotRunning,
    /// The end of the run that is on, or else of the next one.
    NextExit,
    /// Gone altogether.
    Removed,
}

/// `skiff ps`: what to list. Further filters are the front end's, over what is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Also those that do not run.
    pub all: bool,
    /// Only the newest so many, running or not.
    pub last: Option<usize>,
}

/// `skiff exec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment: `NAME=value`.
    pub env: Vec<String>,
    /// Missing is the container's.
    pub user: Option<String>,
    /// Missing is the container's.
    pub workdir: Option<String>,
    /// A terminal of its own.
    pub tty: bool,
    /// Standard input is connected.
    pub stdin: bool,
    /// Every capability, no seccomp.
    pub privileged: bool,
    /// Runs without the caller.
    pub detach: bool,
}

/// `skiff logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// Keeps waiting for more until the container exits.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<usize>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only up to this time.
    pub until: Option<Timestamp>,
}

/// `skiff events`.
#[derive(Clone, Debug, Default)]
pub struct Events<'a> {
    /// Also what has happened since this time.
    pub since: Option<Timestamp>,
    /// Ends at this time.
    pub until: Option<Timestamp>,
    /// Names of filters with their values, as Docker has them.
    pub filters: Vec<(String, String)>,
    /// Ends when nobody reads this stream any more.
    pub reader: Option<BorrowedFd<'a>>,
}

/// `skiff rmi`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveImage {
    /// Also when several tags name it, or a stopped container uses it.
    pub force: bool,
    /// Only the images of the name for these platforms (`os[/architecture[/variant]]`); all of it where there are none.
    pub platforms: Vec<String>,
}

/// What lies on the caller's side of a copy.
#[derive(Clone, Copy, Debug)]
pub enum Near<'a> {
    /// An absolute path, as written: what stands at its end counts (`/`, `/.`).
    Path(&'a str),
    /// A tar; into a container it may be compressed.
    Stream(BorrowedFd<'a>),
}

/// `skiff cp` into a container.
#[derive(Clone, Copy, Debug)]
pub struct CopyIn<'a> {
    /// What.
    pub source: Near<'a>,
    /// A path in the container, as written.
    pub target: &'a str,
    /// A link at the end of the source is followed.
    pub follow: bool,
    /// The files keep their owners, instead of becoming root's.
    pub archive: bool,
}

/// `skiff cp` out of a container.
#[derive(Clone, Copy, Debug)]
pub struct CopyOut<'a> {
    /// A path in the container, as written.
    pub source: &'a str,
    /// To where.
    pub target: Near<'a>,
    /// A link at the end of the source is followed.
    pub follow: bool,
    /// The files keep their owners, instead of becoming the caller's, and set-user-id bits.
    pub archive: bool,
}

/// `skiff commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// `repository[:tag]`.
    pub reference: Option<String>,
    /// Who made the image.
    pub author: String,
    /// A note.
    pub message: String,
    /// Dockerfile instructions applied to the configuration.
    pub changes: Vec<String>,
    /// Freezes the container while its files are read.
    pub pause: bool,
}

/// `skiff load`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadImages {
    /// Of an image for several platforms, those to load (`os[/architecture[/variant]]`); none is the host's.
    pub platforms: Vec<String>,
    /// All that the archive holds.
    pub all_platforms: bool,
}

/// `skiff manifest annotate`: what is missing stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the flags")]
pub struct AnnotateManifest {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    pub os_version: Option<String>,
    /// Added to those that it has.
    pub os_features: Vec<String>,
}

/// `skiff import`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// `repository[:tag]`.
    pub reference: Option<String>,
    /// Dockerfile instructions applied to the configuration.
    pub changes: Vec<String>,
    /// Comment; missing is `Imported from <source>`.
    pub message: Option<String>,
    /// Shown in the default comment: a path, or `-`.
    pub source: String,
    /// `os[/architecture[/variant]]`; missing is the host's.
    pub platform: Option<String>,
}

/// `skiff image bootstrap`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    /// `debian:SUITE` or `ubuntu:SUITE`; another name needs a mirror and a keyring.
    pub system: String,
    /// `NAME` or `NAME=VERSION`.
    pub packages: Vec<String>,
    /// `repository[:tag]`; missing is what the system is called.
    pub tag: Option<String>,
    /// What comes along.
    pub variant: Variant,
    /// The archive; missing is the distribution's own, with its suites of corrections.
    pub mirror: Option<String>,
    /// Further suites: `URL SUITE [COMPONENT…]`.
    pub sources: Vec<String>,
    /// Empty is `main`.
    pub components: Vec<String>,
    /// Missing is where the distribution's package puts it.
    pub keyring: Option<PathBuf>,
    /// `os[/architecture[/variant]]`; missing is the host's.
    pub platform: Option<String>,
    /// Takes a Release file that is past its `Valid-Until`.
    pub allow_expired: bool,
    /// Seconds since 1970: when the image was made, and the latest time of a file; missing is the archive's date.
    pub source_date_epoch: Option<i64>,
    /// How long the scripts of packages may take.
    pub timeout: Duration,
}

/// What an image from packages holds beside those that are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// A minimal system with dpkg and apt, configured by the scripts of its packages.
    #[default]
    Minbase,
    /// What they need at run time; no script runs.
    Distroless,
}
