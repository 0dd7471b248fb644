//! Supervises one container: life cycle, logs, attach, exec; plus its client.
//!
//! Each container has a monitor process of its own, so that no daemon stands between containers and nothing
//! but the kernel can take two of them down at once. Whoever starts a container ([`spawn`]) hands a
//! [`MonitorPlan`] to a fresh `skiff-monitor` process and may die afterwards; whoever wants something from a
//! running one asks through its socket ([`Connection`]).
//!
//! ```text
//!   caller ──spawn──► skiff-monitor ──clone──► init ──exec──► the program
//!     ▲   socketpair      │ │ │                  │ stdout, stderr, stdin or terminal
//!     └──── Running ──────┘ │ └───── pipes ──────┘
//!          … Exited         │
//!   others ─ control.sock ──┘         run/<id>/{status,lock,control.sock}
//! ```
//!
//! The same program, started anew, works on files of ids that are lent to an ordinary user ([`lent`]).
//!
//! What must hold:
//! - A monitor holds the lock of its run directory for as long as it lives, and no other process ever holds
//!   it. A free lock beside a status that says `running` means a lost container ([`observe`](fn@observe)).
//! - The status is on disk before init is released, so whoever finds the run directory can find init.
//! - No client can make the monitor wait, allocate without bound, or end.

mod client;
mod clock;
mod error;
mod exit;
mod health;
pub mod lent;
pub mod life;
mod log;
mod lost;
mod observe;
mod packet;
mod plan;
mod protocol;
mod restart;
pub mod status;
mod supervise;
pub mod visit;
mod worker;

pub use client::session::{Session, SessionEnd};
pub use client::spawn::{Running, Starting, Waiting, prepare, spawn};
pub use client::stdio::{AttachStdio, CallerStdio, ExecStdio};
pub use client::{Connection, Ended, ExecHandle, Outcome, Tails};
pub use error::{Error, Result};
pub use exit::{Exit, LaunchFailure};
pub use health::{HealthPlan, HealthReport, HealthState, OnUnhealthy, Probe, Schedule};
pub use lost::{Reaped, claim, reap_lost};
pub use observe::{Observed, observe};
pub use plan::{AheadPlan, DriftMode, MonitorPlan, PeerPlan, StopPlan};
pub use plan::{LogFiles, LogFormat, LogPlan, LogReceiver, SyslogFormat, SyslogPlan, SyslogServer};
pub use restart::{Backoff, RestartPolicy, RunEnd};
pub use state::Asked;
pub use supervise::serve;
