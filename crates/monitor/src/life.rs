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
use state::Asked;

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
    LaunchFailed,
    /// A user asks it to end.
    Stop {
        /// The signal that asks.
        signal: i32,
        /// When asking ends; None never.
        deadline_ms: Option<u64>,
        /// Whose wish it is.
        asked: Asked,
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
        Event::Stop { signal, deadline_ms, asked } => {
            let intent = stopped(intent, deadline_ms, asked);
            Ok((Phase::Running { intent }, Effect::Signal(signal)))
        }
        Event::DeadlinePassed { now_ms } => {
            let (intent, effect) = overdue(intent, now_ms);
            Ok((Phase::Running { intent }, effect))
        }
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
        Event::Stop { signal, deadline_ms, asked } => {
            let intent = stopped(intent, deadline_ms, asked);
            Ok((Phase::Running { intent }, Effect::SignalThenThaw(signal)))
        }
        Event::DeadlinePassed { now_ms } => {
            let (intent, effect) = overdue(intent, now_ms);
            Ok((Phase::Paused { intent }, effect))
        }
        Event::Signal { signal: KILL } => Ok((same, Effect::Kill)),
        Event::Signal { signal } => Ok((same, Effect::Signal(signal))),
        Event::Unpause => Ok((Phase::Running { intent }, Effect::Thaw)),
        Event::Start | Event::Launched | Event::LaunchFailed | Event::Pause | Event::Exec | Event::Ended => {
            Err(Refused { phase: same, event })
        }
    }
}

/// A second stop may bring the end nearer, never push it away; nor does a shutdown make a user's wish undone.
fn stopped(intent: Intent, deadline_ms: Option<u64>, asked: Asked) -> Intent {
    let (before_ms, wish) = match intent {
        Intent::Stop { deadline_ms, asked } => (deadline_ms, asked),
        Intent::Keep => (None, Asked::Nobody),
    };
    let deadline_ms = match (before_ms, deadline_ms) {
        (Some(before), Some(new)) => Some(before.min(new)),
        (before, new) => before.or(new),
    };
    Intent::Stop { deadline_ms, asked: if asked == Asked::Nobody { wish } else { asked } }
}

/// The kernel may be slow to end what is killed; then it is killed again.
const KILL_AGAIN_MS: u64 = 10_000;

fn overdue(intent: Intent, now_ms: u64) -> (Intent, Effect) {
    match intent {
        Intent::Stop { deadline_ms: Some(deadline), asked } if now_ms >= deadline => {
            (Intent::Stop { deadline_ms: Some(now_ms.saturating_add(KILL_AGAIN_MS)), asked }, Effect::Kill)
        }
        Intent::Stop { .. } | Intent::Keep => (intent, Effect::None),
    }
}

impl Phase {
    /// When everything is to be killed, if a stop has set it.
    pub fn deadline_ms(self) -> Option<u64> {
        match self {
            Phase::Running { intent: Intent::Stop { deadline_ms, .. } }
            | Phase::Paused { intent: Intent::Stop { deadline_ms, .. } } => deadline_ms,
            Phase::Created
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Paused { .. }
            | Phase::Exited => None,
        }
    }

    /// Who has asked for the end, should it come now.
    pub fn asked(self) -> Asked {
        match self {
            Phase::Running { intent: Intent::Stop { asked, .. } }
            | Phase::Paused { intent: Intent::Stop { asked, .. } } => asked,
            Phase::Created
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Paused { .. }
            | Phase::Exited => Asked::Nobody,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEEP: Intent = Intent::Keep;

    fn until(deadline_ms: u64) -> Intent {
        Intent::Stop { deadline_ms: Some(deadline_ms), asked: Asked::User }
    }

    #[test]
    fn each_event_has_its_effect_where_it_is_possible() {
        let running = |intent| Phase::Running { intent };
        let paused = |intent| Phase::Paused { intent };
        let stop = |deadline_ms| Event::Stop { signal: 15, deadline_ms, asked: Asked::User };
        let again = until(107 + KILL_AGAIN_MS);
        for (phase, event, then, effect) in [
            (Phase::Created, Event::Start, Phase::Starting, Effect::Launch),
            (Phase::Exited, Event::Start, Phase::Starting, Effect::Launch),
            (Phase::Starting, Event::Launched, running(KEEP), Effect::Announce),
            (Phase::Starting, Event::LaunchFailed, Phase::Exited, Effect::Finish),
            (running(KEEP), Event::Pause, paused(KEEP), Effect::Freeze),
            (paused(KEEP), Event::Unpause, running(KEEP), Effect::Thaw),
            (running(KEEP), Event::Signal { signal: 1 }, running(KEEP), Effect::Signal(1)),
            (running(KEEP), Event::Signal { signal: 9 }, running(KEEP), Effect::Kill),
            (paused(KEEP), Event::Signal { signal: 9 }, paused(KEEP), Effect::Kill),
            (running(KEEP), stop(Some(7)), running(until(7)), Effect::Signal(15)),
            (running(until(7)), stop(Some(9)), running(until(7)), Effect::Signal(15)),
            (running(until(7)), stop(Some(3)), running(until(3)), Effect::Signal(15)),
            (running(until(7)), stop(None), running(until(7)), Effect::Signal(15)),
            (paused(KEEP), stop(Some(7)), running(until(7)), Effect::SignalThenThaw(15)),
            (running(until(7)), Event::DeadlinePassed { now_ms: 6 }, running(until(7)), Effect::None),
            (running(until(7)), Event::DeadlinePassed { now_ms: 107 }, running(again), Effect::Kill),
            (paused(until(7)), Event::DeadlinePassed { now_ms: 107 }, paused(again), Effect::Kill),
            (running(until(7)), Event::Ended, Phase::Exited, Effect::Finish),
            (running(KEEP), Event::Exec, running(KEEP), Effect::Exec),
        ] {
            assert_eq!(step(phase, event), Ok((then, effect)), "{event:?} while {phase:?}");
        }
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let paused = Phase::Paused { intent: KEEP };
        let running = Phase::Running { intent: KEEP };
        for (phase, event, text) in [
            (running, Event::Start, "start is impossible: the container is running"),
            (paused, Event::Pause, "pause is impossible: the container is paused"),
            (running, Event::Unpause, "unpause is impossible: the container is running"),
            (paused, Event::Exec, "exec is impossible: the container is paused"),
            (Phase::Exited, Event::Signal { signal: 1 }, "signal is impossible: the container is exited"),
            (Phase::Created, Event::Pause, "pause is impossible: the container is created"),
        ] {
            assert_eq!(step(phase, event).unwrap_err().to_string(), text);
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Start),
            Just(Event::Launched),
            Just(Event::LaunchFailed),
            (1..=64i32, proptest::option::of(0..1000u64)).prop_map(|(signal, deadline_ms)| Event::Stop {
                signal,
                deadline_ms,
                asked: Asked::User
            }),
            (0..1000u64).prop_map(|now_ms| Event::DeadlinePassed { now_ms }),
            (1..=64i32).prop_map(|signal| Event::Signal { signal }),
            Just(Event::Pause),
            Just(Event::Unpause),
            Just(Event::Exec),
            Just(Event::Ended),
        ]
    }

    proptest! {
        /// Follows the frozen state and the stop's deadline by the effects alone, and compares.
        #[test]
        fn effects_and_phases_tell_the_same_story(events in proptest::collection::vec(any_event(), 0..60)) {
            let (mut phase, mut frozen, mut alive) = (Phase::Created, false, false);
            for event in events {
                let before = phase;
                let Ok((then, effect)) = step(phase, event) else { continue };
                phase = then;
                match effect {
                    Effect::Launch => prop_assert!(!alive),
                    Effect::Announce => alive = true,
                    Effect::Freeze => {
                        prop_assert!(alive && !frozen);
                        frozen = true;
                    }
                    Effect::Thaw | Effect::SignalThenThaw(_) => {
                        prop_assert!(alive && frozen);
                        frozen = false;
                    }
                    Effect::Finish => {
                        alive = false;
                        frozen = false;
                    }
                    Effect::Signal(_) | Effect::Kill | Effect::Exec => prop_assert!(alive),
                    Effect::None => {}
                }
                prop_assert_eq!(frozen, matches!(phase, Phase::Paused { .. }));
                prop_assert_eq!(alive, matches!(phase, Phase::Running { .. } | Phase::Paused { .. }));
                // A wish to stop is never forgotten while the container lives, nor its deadline dropped.
                if let (Some(_), true) = (before.deadline_ms(), alive) {
                    prop_assert!(phase.deadline_ms().is_some());
                }
            }
        }

        #[test]
        fn the_end_is_never_refused_once_init_exists(events in proptest::collection::vec(any_event(), 0..20)) {
            let mut phase = Phase::Starting;
            for event in events {
                phase = step(phase, event).map_or(phase, |(then, _)| then);
                if !matches!(phase, Phase::Exited | Phase::Created) {
                    prop_assert_eq!(step(phase, Event::Ended), Ok((Phase::Exited, Effect::Finish)));
                }
            }
        }
    }
}
