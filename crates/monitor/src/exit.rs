//! How a container ended, or why it never started.

use serde::{Deserialize, Serialize};
use state::Asked;

/// The end of one run of a container, recorded once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128+n after signal n; 126, 127 or 128 when the program could not be started; 255 when lost.
    pub code: i32,
    /// The signal that ended init.
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of the container for lack of memory during this run.
    pub oom_killed: bool,
    /// Nanoseconds since 1970 when the program began; None when it never did.
    pub started_at_ns: Option<i64>,
    /// Nanoseconds since 1970 when it ended.
    pub finished_at_ns: i64,
    /// Its monitor died: nobody knows how it ended.
    pub lost: bool,
    /// Why it could not be started, or that it was lost.
    pub error: Option<String>,
    /// Who asked for it.
    pub asked: Asked,
    /// How often the restart policy had started it again by then.
    pub restarts: u32,
    /// Lines that its log could not keep.
    #[serde(default)]
    pub log_lines_lost: u64,
}

impl Exit {
    /// The exit of a container whose monitor died: nobody knows how it ended.
    pub fn lost(started_at_ns: Option<i64>, finished_at_ns: i64) -> Exit {
        Exit {
            code: 255,
            signal: None,
            oom_killed: false,
            started_at_ns,
            finished_at_ns,
            lost: true,
            error: Some("the container's monitor died; what was left of the container was killed".to_owned()),
            asked: Asked::Nobody,
            restarts: 0,
            log_lines_lost: 0,
        }
    }
}

impl From<&Exit> for state::ExitRecord {
    fn from(exit: &Exit) -> state::ExitRecord {
        state::ExitRecord {
            code: exit.code,
            signal: exit.signal,
            oom_killed: exit.oom_killed,
            started: exit.started_at_ns.map(state::timestamp),
            finished: state::timestamp(exit.finished_at_ns),
            lost: exit.lost,
            error: exit.error.clone(),
            asked: exit.asked,
            restarts: exit.restarts,
            log_lines_lost: exit.log_lines_lost,
        }
    }
}

impl From<&state::ExitRecord> for Exit {
    fn from(record: &state::ExitRecord) -> Exit {
        Exit {
            code: record.code,
            signal: record.signal,
            oom_killed: record.oom_killed,
            started_at_ns: record.started.map(state::nanoseconds),
            finished_at_ns: state::nanoseconds(record.finished),
            lost: record.lost,
            error: record.error.clone(),
            asked: record.asked,
            restarts: record.restarts,
            log_lines_lost: record.log_lines_lost,
        }
    }
}

/// Why a container's program, or a program beside it, could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFailure {
    /// The step of the start that failed: `mount`, `exec`, …
    pub step: String,
    /// What failed on what and why, as a chain of causes on one line.
    pub message: String,
    /// The kernel's reason, when it was one.
    pub errno: Option<i32>,
    /// Docker's exit code for it: 127 not found, 126 found but not startable, 128 everything else.
    pub exit_code: i32,
}

impl std::fmt::Display for LaunchFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for LaunchFailure {}
