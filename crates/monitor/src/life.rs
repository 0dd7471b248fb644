//! The life of one run of a container, as a pure function.
//!
//! ```text
//! created ──start──► starting ──launched──► running{intent} ◄──pause/unpause──► paused{intent}
//!                       │ failed               │ ended                             │ ended
//!                       └──────────────────► exited ◄──────────────────────────────┘
//! ```
//!
//! A user's stop is an intent of a running container, never a phase of its own: what it changes is that a
//! deadline is set, after which everything in the container is killed.

use serde::{Deserialize, Serialize};

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
    /// Its first process ended.
    Exited,
}

/// What the user wants of a running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// That it runs.
    #[default]
    Keep,
    /// That it ends: by itself until the deadline, then by SIGKILL.
    Stop {
        /// Milliseconds of the monotonic clock; None waits for ever.
        deadline_ms: Option<u64>,
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
    LaunchFailed,
    /// A user asks it to end.
    Stop {
        /// The signal that asks.
        signal: i32,
        /// When asking ends; None never.
        deadline_ms: Option<u64>,
    },
    /// The clock passed the deadline of a stop.
    DeadlinePassed {
        /// The clock.
        now_ms: u64,
    },
    /// A user sends a signal.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// A user freezes it.
    Pause,
    /// A user thaws it.
    Unpause,
    /// A user starts a program in it.
    Exec,
    /// Init ended.
    Ended,
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

const KILL: i32 = 9;

/// What `event` does to a container. Pure: the caller performs the effect.
///
/// Events of the kernel's and the clock's making (`Ended`, `DeadlinePassed`) come when they come and are
/// never refused once init exists.
pub fn step(phase: Phase, event: Event) -> Result<(Phase, Effect), Refused> {
    match (phase, event) {
        (Phase::Created | Phase::Exited, Event::Start) => Ok((Phase::Starting, Effect::Launch)),
        (Phase::Starting, Event::Launched) => Ok((Phase::Running { intent: Intent::Keep }, Effect::Announce)),
        (Phase::Starting, Event::LaunchFailed | Event::Ended) => Ok((Phase::Exited, Effect::Finish)),
        (Phase::Running { .. } | Phase::Paused { .. }, Event::Ended) => Ok((Phase::Exited, Effect::Finish)),
        (Phase::Running { intent }, event) => running(intent, event),
        (Phase::Paused { intent }, event) => paused(intent, event),
        (phase, Event::DeadlinePassed { .. }) => Ok((phase, Effect::None)),
        (phase, event) => Err(Refused { phase, event }),
    }
}

fn running(intent: Intent, event: Event) -> Result<(Phase, Effect), Refused> {
    let same = Phase::Running { intent };
    match event {
        Event::Stop { signal, deadline_ms } => {
            let intent = Intent::Stop { deadline_ms: earlier(intent, deadline_ms) };
            Ok((Phase::Running { intent }, Effect::Signal(signal)))
        }
        Event::DeadlinePassed { now_ms } => Ok((same, overdue(intent, now_ms))),
        Event::Signal { signal: KILL } => Ok((same, Effect::Kill)),
        Event::Signal { signal } => Ok((same, Effect::Signal(signal))),
        Event::Pause => Ok((Phase::Paused { intent }, Effect::Freeze)),
        Event::Exec => Ok((same, Effect::Exec)),
        Event::Start | Event::Launched | Event::LaunchFailed | Event::Unpause | Event::Ended => {
            Err(Refused { phase: same, event })
        }
    }
}

fn paused(intent: Intent, event: Event) -> Result<(Phase, Effect), Refused> {
    let same = Phase::Paused { intent };
    match event {
        // A stop that a frozen process cannot hear would always end in SIGKILL.
        Event::Stop { signal, deadline_ms } => {
            let intent = Intent::Stop { deadline_ms: earlier(intent, deadline_ms) };
            Ok((Phase::Running { intent }, Effect::SignalThenThaw(signal)))
        }
        Event::DeadlinePassed { now_ms } => Ok((same, overdue(intent, now_ms))),
        Event::Signal { signal: KILL } => Ok((same, Effect::Kill)),
        Event::Signal { signal } => Ok((same, Effect::Signal(signal))),
        Event::Unpause => Ok((Phase::Running { intent }, Effect::Thaw)),
        Event::Start | Event::Launched | Event::LaunchFailed | Event::Pause | Event::Exec | Event::Ended => {
            Err(Refused { phase: same, event })
        }
    }
}

/// A second stop may bring the end nearer, never push it away.
fn earlier(intent: Intent, deadline_ms: Option<u64>) -> Option<u64> {
    match intent {
        Intent::Stop { deadline_ms: Some(before) } => Some(deadline_ms.map_or(before, |new| new.min(before))),
        Intent::Stop { deadline_ms: None } | Intent::Keep => deadline_ms,
    }
}

fn overdue(intent: Intent, now_ms: u64) -> Effect {
    match intent {
        Intent::Stop { deadline_ms: Some(deadline) } if now_ms >= deadline => Effect::Kill,
        Intent::Stop { .. } | Intent::Keep => Effect::None,
    }
}

impl Phase {
    /// When everything is to be killed, if a stop has set it.
    pub fn deadline_ms(self) -> Option<u64> {
        match self {
            Phase::Running { intent: Intent::Stop { deadline_ms } }
            | Phase::Paused { intent: Intent::Stop { deadline_ms } } => deadline_ms,
            Phase::Created
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Paused { .. }
            | Phase::Exited => None,
        }
    }

    /// The word users see: `running`, `paused`, …
    pub fn adjective(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Starting => "starting",
            Phase::Running { .. } => "running",
            Phase::Paused { .. } => "paused",
            Phase::Exited => "exited",
        }
    }
}

impl Event {
    fn noun(self) -> &'static str {
        match self {
            Event::Start => "start",
            Event::Launched => "launch",
            Event::LaunchFailed => "failure",
            Event::Stop { .. } => "stop",
            Event::DeadlinePassed { .. } => "deadline",
            Event::Signal { .. } => "signal",
            Event::Pause => "pause",
            Event::Unpause => "unpause",
            Event::Exec => "exec",
            Event::Ended => "exit",
        }
    }
}
