//! What callers and the monitor say to each other.
//!
//! One message is one packet of a `SOCK_SEQPACKET` socket: a postcard-encoded [`Request`] or [`Reply`], at
//! most [`PACKET_LIMIT`] bytes, with at most [`DESCRIPTOR_LIMIT`] descriptors beside it. What may be larger
//! (plans) travels in a sealed memfd, whose seals prove that it cannot change or shrink while it is read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::Asked;

use crate::client::Outcome;
use crate::exit::{Exit, LaunchFailure};
use crate::life::Refused;
use crate::plan::AheadPlan;
use crate::restart::RestartPolicy;
use crate::visit::{Found, Refusal};
use runtime::plan::TerminalSize;

/// The largest packet.
pub(crate) const PACKET_LIMIT: usize = 16 << 10;
/// The most descriptors beside one packet.
pub(crate) const DESCRIPTOR_LIMIT: usize = 4;
/// The largest plan in a memfd.
pub(crate) const PLAN_LIMIT: usize = 16 << 20;

/// What a caller asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// To a new monitor, before anything else: what can be made while the plan is.
    Prepare(Box<AheadPlan>),
    /// To a new monitor: go. Descriptors: the plan, then the streams of `attach`.
    Launch { attach: Option<Streams> },
    /// The first message to a new process that is to work on files of lent ids. Descriptor: the order.
    Work,
    /// Sends init a signal.
    Signal { signal: i32 },
    /// Asks init to end, and ends it at the deadline. None: as the container's plan says.
    Stop { signal: Option<i32>, timeout: Option<StopTimeout>, asked: Asked },
    /// Limits and policy from now on. The control group of the run that is on is changed by the one who asks, who may
    /// wait for the kernel; the monitor keeps them for later runs, and knows that the group may have grown.
    Update { limits: Box<cgroup::Limits>, restart: RestartPolicy },
    /// Freezes every process.
    Pause,
    /// Freezes every process until this connection closes, or somebody thaws them.
    PauseMeanwhile,
    /// Thaws every process.
    Unpause,
    /// Sets the size of the container's terminal.
    Resize(TerminalSize),
    /// The container has another name: its events carry it from now on.
    Rename { name: String },
    /// Connects streams. Descriptors: those of the streams, in the order in, out, err.
    Attach(Streams),
    /// Starts a program. Descriptors: the plan, then the streams. The event of its end carries the id, if it has one.
    Exec { streams: Streams, id: String },
    /// Asks to be told of the exit.
    Wait,
    /// The caller has removed the container: the monitor need not.
    Removed,
    /// Nobody reads any more what the client has attached, or what the program that it started prints to its
    /// terminal.
    HangUp,
    /// The record is; the files are the monitor's to remove.
    Forgotten,
}

/// Which of the three streams travel with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// How long a stop waits before it kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StopTimeout {
    Never,
    After(Duration),
}

/// What the monitor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The container's program runs.
    Running { pid: i32, started_at_ns: i64 },
    /// It could not be started.
    LaunchFailed(LaunchFailure),
    /// Another monitor has the container.
    AlreadyRunning,
    /// A request, or an order of work, was carried out.
    Done(Outcome),
    /// A request is impossible now.
    Refused(Refused),
    /// A request failed.
    Failed { attempt: String, message: String },
    /// The program of an exec runs. With a terminal, its master is beside this.
    ExecStarted { pid: i32 },
    /// It could not be started.
    ExecFailed(LaunchFailure),
    /// It ended.
    ExecEnded { code: i32 },
    /// The container printed something, and nobody reads a stream that the client has attached. `ends`: nobody at
    /// all, and the stream ends for the container too if the client says [`Request::HangUp`].
    Unread { ends: bool },
    /// A visitor has found what it is to copy, or where to.
    Found(Found),
    /// It has not, or must not.
    CopyRefused(Refusal),
    /// The container ended. `tails`: output that the attached streams had no room for, one memfd each.
    Ended { exit: Exit, tails: Streams },
}
