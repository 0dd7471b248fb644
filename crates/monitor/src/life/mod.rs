//! The life of one run of a container, as a pure function.
//!
//! ```text
//! created ──start──► starting ──launched──► running{intent} ◄──pause/unpause──► paused{intent}
//!                     ▲ │ failed               │ ended                             │ ended
//!                 due │ ├──────────────────────┴───────────────┬───────────────────┘
//!                     │ ▼ the policy wants another run         ▼ nobody does, or a user has ended it
//!                 restarting ──stop, or a signal that ends──► exited
//!
//! created, exited, dead ──remove──► removing ──► gone
//!                  ▲ failed ───────────┘
//! ```
//!
//! The monitor owns every transition of a run, the engine those of the removal, which no monitor is there for.
//!
//! A user's stop is an intent of a running container, never a phase of its own: so that no restart policy can mistake
//! the end that follows for one that it is to mend. With a stop a deadline is set, after which everything in the
//! container is killed.

mod step;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use state::Asked;

pub use step::step;

/// Where a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Init is being set up.
    Starting,
    /// Its program runs.
    Running {
        /// What its user wants of it.
        intent: Intent,
    },
    /// Its processes are frozen.
    Paused {
        /// What its user wants of it.
        intent: Intent,
    },
    /// Its run ended, and another one is to begin.
    Restarting {
        /// When: milliseconds of the monotonic clock.
        until_ms: u64,
    },
    /// Its first process ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Its removal has failed, or whoever was at it has died: what is left of it can only be removed.
    Dead,
}

/// What the user wants of a running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// That it runs.
    #[default]
    Keep,
    /// The same, after a signal that asks for something else than the end.
    Signalled,
    /// That it ends, for it was sent the signal that asks for that. It may take its time.
    End,
    /// That it ends, so that another run can begin: for it is not well.
    Renew {
        /// As that of a stop.
        deadline_ms: Option<u64>,
    },
    /// That it ends: by itself until the deadline, then by SIGKILL.
    Stop {
        /// Milliseconds of the monotonic clock; None waits for ever.
        deadline_ms: Option<u64>,
        /// Whose wish it is.
        asked: Asked,
    },
}

/// What happens to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A user starts it.
    Start,
    /// Init executed the program.
    Launched,
    /// Init could not.
    LaunchFailed {
        /// When another attempt is due, where the restart policy wants one.
        again_ms: Option<u64>,
    },
    /// A user asks it to end.
    Stop {
        /// The signal that asks.
        signal: i32,
        /// When asking ends; None never.
        deadline_ms: Option<u64>,
        /// Whose wish it is.
        asked: Asked,
    },
    /// It is not well, and is to end and begin anew.
    Renew {
        /// The signal that asks for the end.
        signal: i32,
        /// When asking ends; None never.
        deadline_ms: Option<u64>,
    },
    /// The clock passed the deadline of a stop, or the end of a rest between two runs.
    DeadlinePassed {
        /// The clock.
        now_ms: u64,
    },
    /// A user sends a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether it is one that asks for the end.
        ends: bool,
    },
    /// A user freezes it.
    Pause,
    /// A user thaws it.
    Unpause,
    /// A user starts a program in it.
    Exec,
    /// A user removes it.
    Remove,
    /// That went wrong partway.
    RemovalFailed,
    /// Init ended.
    Ended {
        /// When the restart policy wants another run, if it does.
        again_ms: Option<u64>,
    },
}

/// What the monitor does about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Make init and release it.
    Launch,
    /// Tell whoever waits that the program runs.
    Announce,
    /// Send init a signal.
    Signal(i32),
    /// Send init a signal, then thaw it: a frozen process acts on none.
    SignalThenThaw(i32),
    /// Kill everything in the container, frozen or not.
    Kill,
    /// Freeze every process.
    Freeze,
    /// Thaw every process.
    Thaw,
    /// Start the program.
    Exec,
    /// Remove its files, then its record: after that there is no container. The engine does it.
    Discard,
    /// Release what the run held, and wait until the next is due.
    Rest,
    /// Record how it ended and release what it held.
    Finish,
}

/// An event that the phase does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{} is impossible: the container is {}", event.noun(), phase.adjective())]
pub struct Refused {
    /// Where the container is.
    pub phase: Phase,
    /// What was refused.
    pub event: Event,
}

impl Intent {
    fn deadline_ms(self) -> Option<u64> {
        match self {
            Intent::Stop { deadline_ms, .. } | Intent::Renew { deadline_ms } => deadline_ms,
            Intent::Keep | Intent::Signalled | Intent::End => None,
        }
    }

    fn asked(self) -> Asked {
        match self {
            Intent::Keep | Intent::Renew { .. } => Asked::Nobody,
            Intent::Signalled | Intent::End => Asked::User,
            Intent::Stop { asked, .. } => asked,
        }
    }
}

impl Phase {
    /// When everything is to be killed, if a stop has set it, or when the next run is due.
    pub fn deadline_ms(self) -> Option<u64> {
        match self {
            Phase::Running { intent } | Phase::Paused { intent } => intent.deadline_ms(),
            Phase::Restarting { until_ms } => Some(until_ms),
            Phase::Created | Phase::Starting | Phase::Exited | Phase::Removing | Phase::Dead => None,
        }
    }

    /// Whether another run is to follow whatever the restart policy says.
    pub fn renews(self) -> bool {
        matches!(
            self,
            Phase::Running { intent: Intent::Renew { .. } } | Phase::Paused { intent: Intent::Renew { .. } }
        )
    }

    /// Who has asked for the end, should it come now.
    pub fn asked(self) -> Asked {
        match self {
            Phase::Running { intent } | Phase::Paused { intent } => intent.asked(),
            Phase::Created
            | Phase::Starting
            | Phase::Restarting { .. }
            | Phase::Exited
            | Phase::Removing
            | Phase::Dead => Asked::Nobody,
        }
    }

    /// The word users see: `running`, `paused`, …
    pub fn adjective(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Starting => "starting",
            Phase::Running { .. } => "running",
            Phase::Paused { .. } => "paused",
            Phase::Restarting { .. } => "restarting",
            Phase::Exited => "exited",
            Phase::Removing => "removing",
            Phase::Dead => "dead",
        }
    }
}

impl Event {
    fn noun(self) -> &'static str {
        match self {
            Event::Start => "start",
            Event::Launched => "launch",
            Event::LaunchFailed { .. } => "failure",
            Event::Stop { .. } => "stop",
            Event::Renew { .. } => "renewal",
            Event::DeadlinePassed { .. } => "deadline",
            Event::Signal { .. } => "signal",
            Event::Pause => "pause",
            Event::Unpause => "unpause",
            Event::Exec => "exec",
            Event::Remove => "removal",
            Event::RemovalFailed => "failure to remove",
            Event::Ended { .. } => "exit",
        }
    }
}
