//! What the engine tells about containers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use monitor::{HealthReport, HealthState};
use oci::{ContainerId, ContainerName, Timestamp};

use crate::plan::Hidden;
use crate::spec::ContainerSpec;

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name, given or made up.
    pub name: ContainerName,
    /// What was asked for and is not in force, one sentence each.
    pub warnings: Vec<String>,
}

/// Docker's seven states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Docker's")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// Docker's word: `created`, `running`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// Whether it is being removed, or its removal has failed.
    pub fn is_leaving(self) -> bool {
        matches!(self, Status::Removing | Status::Dead)
    }

    /// Whether it has processes.
    pub fn is_running(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }
}

/// What a container is doing, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Docker's state.
    pub status: Status,
    /// Its first process as the host numbers it; 0 unless running.
    pub pid: i32,
    /// Of the last run; 0 before the first one.
    pub exit_code: i32,
    /// Whether the kernel killed one of its processes for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started; empty when it could.
    pub error: String,
    /// Of the last run.
    pub started_at: Option<Timestamp>,
    /// Of the last run that ended.
    pub finished_at: Option<Timestamp>,
    /// How often its restart policy has started it since a user did.
    pub restarts: u32,
    /// Lines that its log has lost since it was started; known while it is alive.
    pub log_lines_lost: u64,
    /// How it is, while it runs and where that is checked.
    pub health: Option<HealthState>,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerInfo {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// What it is doing.
    pub state: ContainerState,
    /// The last results of its health checks; missing where there are none, and before its first start.
    pub health: Option<HealthReport>,
    /// How it was configured.
    pub spec: ContainerSpec,
    /// First host id of its range, when it has ids of its own from the pool.
    pub id_base: Option<u32>,
    /// `erofs` or `trees`.
    pub snapshotter: &'static str,
    /// Volumes of its own.
    pub volumes: Vec<VolumeMount>,
    /// Its directory on disk.
    pub directory: PathBuf,
    /// The disk that its writable layer lies in, where it has one of its own.
    pub disk: Option<PathBuf>,
    /// What of the kernel's file systems it does not get.
    pub hidden: Hidden,
    /// Its log; missing with the driver `none`.
    pub log_path: Option<PathBuf>,
    /// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` as files on the host, there while it runs.
    pub hostname_path: PathBuf,
    /// See `hostname_path`.
    pub hosts_path: PathBuf,
    /// See `hostname_path`.
    pub resolv_conf_path: PathBuf,
}

/// A volume that is a container's own and goes with it: the image declares it, and it began with the image's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// On the host; there from the first start on.
    pub source: PathBuf,
    /// Inside.
    pub target: PathBuf,
}

/// One line of `skiff ps`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as the user named it.
    pub image: String,
    /// `sha256:…` of the image.
    pub image_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// What it is doing.
    pub state: ContainerState,
    /// The image's and its own.
    pub labels: BTreeMap<String, String>,
    /// Sources of its bind mounts.
    pub mounts: Vec<String>,
    /// Where its own volumes are mounted.
    pub volumes: Vec<String>,
    /// `none`, `host`, …
    pub network: String,
}
