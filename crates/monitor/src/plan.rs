//! What a monitor is told about its container, decided in full before it starts.

use std::path::PathBuf;

use runtime::LaunchPlan;
use runtime::plan::Namespaces;
use serde::{Deserialize, Serialize};

use crate::health::HealthPlan;
pub use crate::log::{LogFiles, LogFormat, LogPlan, LogReceiver, SyslogFormat, SyslogPlan, SyslogServer};
use crate::restart::RestartPolicy;

/// Everything one monitor needs: plain data that travels in a sealed memfd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorPlan {
    /// The container's id: 64 hex digits. The exit row and the events carry it.
    pub id: String,
    /// What to start. `launch.process.terminal` decides between a terminal and three pipes.
    pub launch: LaunchPlan,
    /// `<run>/<id>`: made (mode 0700) when missing, removed at exit.
    pub run_dir: PathBuf,
    /// `<root>/containers/<id>`: removed at exit when `auto_remove` and no caller takes the removal over.
    pub container_dir: PathBuf,
    /// Memory that others may share (`--ipc shareable`), which is removed together with it.
    pub shm_dir: Option<PathBuf>,
    /// `<root>/state.db`; receives the exit. None: the exit is told to callers alone.
    pub database: Option<PathBuf>,
    /// `<run>/events.log`; receives what happens to the running container: `start`, `kill`, `die`, ….
    pub event_log: Option<PathBuf>,
    /// Attributes of the container's events: image, name, labels.
    pub event_attributes: Vec<(String, String)>,
    /// Where output is kept and sent; None for neither (`--log-driver none`).
    pub log: Option<LogPlan>,
    /// What becomes of programs that are not part of the image (`--drift`).
    pub drift: DriftMode,
    /// Keeps standard input open although nobody is attached (`-i`); otherwise it is `/dev/null`.
    pub open_stdin: bool,
    /// Closes standard input when the first client that attached to it leaves (`-i` without `-d`).
    pub stdin_once: bool,
    /// How a stop proceeds when the request leaves it open.
    pub stop: StopPlan,
    /// How its health is checked, if it is.
    pub health: Option<HealthPlan>,
    /// What follows the end of a run, once one has begun.
    pub restart: RestartPolicy,
    /// Containers whose namespaces the launch plan joins, by the processes that they had when it was made.
    pub peers: Vec<PeerPlan>,
    /// Removes the container after its exit (`--rm`).
    pub auto_remove: bool,
    /// It lasts no longer than the caller that started it: whose connection closes, however that comes about, has it killed. One
    /// whose caller is gone when it has its run directory does not begin.
    pub ends_with_caller: bool,
    /// Appends one line per step of the start to this file, for measurements.
    pub trace: Option<PathBuf>,
}

/// What of a container can be made before its plan is: see [`crate::Waiting::prepare`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AheadPlan {
    /// As [`MonitorPlan::run_dir`].
    pub run_dir: PathBuf,
    /// None of them joined.
    pub namespaces: Namespaces,
    /// The control group with all of its limits.
    pub cgroup: Option<cgroup::Plan>,
    /// As [`MonitorPlan::trace`].
    pub trace: Option<PathBuf>,
}

/// A container whose namespaces another one joins. Each run of the other joins those that it has by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPlan {
    /// Where its monitor says which its first process is.
    pub run_dir: PathBuf,
    /// The process that stands in the plan's paths (`/proc/<pid>/ns/…`).
    pub pid: i32,
}

/// What becomes of a program that is not part of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// Nobody looks.
    #[default]
    None,
    /// It runs, and an event tells of it.
    Report,
    /// It is refused, and an event tells of it.
    Block,
}

/// How a container is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPlan {
    /// Signal number of `--stop-signal`.
    pub signal: i32,
    /// Seconds of `--stop-timeout` until SIGKILL; negative waits for ever.
    pub timeout_secs: i32,
    /// Whether the signal was chosen, by the user or the image. If so, it is the only one, beside SIGKILL, by which a
    /// user asks for the end; otherwise any signal counts as that.
    pub is_chosen: bool,
}

impl Default for StopPlan {
    fn default() -> StopPlan {
        StopPlan { signal: 15, timeout_secs: 10, is_chosen: false }
    }
}
