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

const KILL: i32 = 9;

/// What `event` does to a container. Pure: the caller performs the effect.
///
/// Events of the kernel's and the clock's making (`Ended`, `DeadlinePassed`) come when they come and are
/// never refused once init exists.
pub fn step(phase: Phase, event: Event) -> Result<(Phase, Effect), Refused> {
    match (phase, event) {
        (Phase::Created | Phase::Exited, Event::Start) => Ok((Phase::Starting, Effect::Launch)),
        (Phase::Starting, Event::Launched) => Ok((Phase::Running { intent: Intent::Keep }, Effect::Announce)),
        (Phase::Starting, Event::LaunchFailed { again_ms } | Event::Ended { again_ms }) => {
            Ok(ended(Intent::Keep, again_ms))
        }
        (Phase::Running { intent } | Phase::Paused { intent }, Event::Ended { again_ms }) => {
            Ok(ended(intent, again_ms))
        }
        (Phase::Running { intent }, event) => running(intent, event),
        (Phase::Paused { intent }, event) => paused(intent, event),
        (Phase::Restarting { until_ms }, event) => restarting(until_ms, event),
        (Phase::Created | Phase::Exited | Phase::Dead, Event::Remove) => {
            Ok((Phase::Removing, Effect::Discard))
        }
        (Phase::Removing, Event::RemovalFailed) => Ok((Phase::Dead, Effect::None)),
        (phase, Event::DeadlinePassed { .. }) => Ok((phase, Effect::None)),
        (phase, event) => Err(Refused { phase, event }),
    }
}

/// Who wants it to end has the last word.
fn ended(intent: Intent, again_ms: Option<u64>) -> (Phase, Effect) {
    match (intent, again_ms) {
        (Intent::Keep | Intent::Signalled | Intent::Renew { .. }, Some(until_ms)) => {
            (Phase::Restarting { until_ms }, Effect::Rest)
        }
        (Intent::Keep | Intent::Signalled | Intent::Renew { .. }, None)
        | (Intent::End | Intent::Stop { .. }, _) => (Phase::Exited, Effect::Finish),
    }
}

fn restarting(until_ms: u64, event: Event) -> Result<(Phase, Effect), Refused> {
    let same = Phase::Restarting { until_ms };
    match event {
        // There is nobody to signal: the run that was to come does not.
        Event::Stop { .. } | Event::Signal { ends: true, .. } => Ok((Phase::Exited, Effect::Finish)),
        Event::Signal { ends: false, .. } => Ok((same, Effect::None)),
        Event::DeadlinePassed { now_ms } if now_ms >= until_ms => Ok((Phase::Starting, Effect::Launch)),
        Event::DeadlinePassed { .. } => Ok((same, Effect::None)),
        Event::Start
        | Event::Launched
        | Event::LaunchFailed { .. }
        | Event::Pause
        | Event::Unpause
        | Event::Exec
        | Event::Renew { .. }
        | Event::Remove
        | Event::RemovalFailed
        | Event::Ended { .. } => Err(Refused { phase: same, event }),
    }
}

fn running(intent: Intent, event: Event) -> Result<(Phase, Effect), Refused> {
    let same = Phase::Running { intent };
    match event {
        Event::Stop { signal, deadline_ms, asked } => {
            let intent = stopped(intent, deadline_ms, asked);
            Ok((Phase::Running { intent }, Effect::Signal(signal)))
        }
        // Whoever wants it to end for good has said so before.
        Event::Renew { .. } if matches!(intent, Intent::End | Intent::Renew { .. } | Intent::Stop { .. }) => {
            Ok((same, Effect::None))
        }
        Event::Renew { signal, deadline_ms } => {
            Ok((Phase::Running { intent: Intent::Renew { deadline_ms } }, Effect::Signal(signal)))
        }
        Event::DeadlinePassed { now_ms } => {
            let (intent, effect) = overdue(intent, now_ms);
            Ok((Phase::Running { intent }, effect))
        }
        Event::Signal { signal, ends } => {
            let effect = if signal == KILL { Effect::Kill } else { Effect::Signal(signal) };
            Ok((Phase::Running { intent: signalled(intent, ends) }, effect))
        }
        Event::Pause => Ok((Phase::Paused { intent }, Effect::Freeze)),
        Event::Exec => Ok((same, Effect::Exec)),
        Event::Start
        | Event::Launched
        | Event::LaunchFailed { .. }
        | Event::Unpause
        | Event::Remove
        | Event::RemovalFailed
        | Event::Ended { .. } => Err(Refused { phase: same, event }),
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
        Event::Signal { signal: KILL, ends } => {
            Ok((Phase::Paused { intent: signalled(intent, ends) }, Effect::Kill))
        }
        // As with a stop: it is to hear it.
        Event::Signal { signal, ends: true } => {
            Ok((Phase::Running { intent: signalled(intent, true) }, Effect::SignalThenThaw(signal)))
        }
        Event::Signal { signal, ends: false } => {
            Ok((Phase::Paused { intent: signalled(intent, false) }, Effect::Signal(signal)))
        }
        Event::Unpause => Ok((Phase::Running { intent }, Effect::Thaw)),
        Event::Start
        | Event::Launched
        | Event::LaunchFailed { .. }
        | Event::Pause
        | Event::Exec
        | Event::Renew { .. }
        | Event::Remove
        | Event::RemovalFailed
        | Event::Ended { .. } => Err(Refused { phase: same, event }),
    }
}

/// A second stop may bring the end nearer, never push it away; nor does a shutdown make a user's wish undone.
fn stopped(intent: Intent, deadline_ms: Option<u64>, asked: Asked) -> Intent {
    let before_ms = intent.deadline_ms();
    let deadline_ms = match (before_ms, deadline_ms) {
        (Some(before), Some(new)) => Some(before.min(new)),
        (before, new) => before.or(new),
    };
    Intent::Stop { deadline_ms, asked: if asked == Asked::Nobody { intent.asked() } else { asked } }
}

/// A user's signal is the user's word, whoever has asked for the end before.
fn signalled(intent: Intent, ends: bool) -> Intent {
    match intent {
        Intent::Stop { deadline_ms, asked: Asked::Nobody } => {
            Intent::Stop { deadline_ms, asked: Asked::User }
        }
        Intent::End | Intent::Stop { .. } => intent,
        // The deadline stands: it ends one way or the other.
        Intent::Renew { deadline_ms } if ends => Intent::Stop { deadline_ms, asked: Asked::User },
        Intent::Renew { .. } => intent,
        Intent::Keep | Intent::Signalled if ends => Intent::End,
        Intent::Keep | Intent::Signalled => Intent::Signalled,
    }
}

/// The kernel may be slow to end what is killed; then it is killed again.
const KILL_AGAIN_MS: u64 = 10_000;

fn overdue(intent: Intent, now_ms: u64) -> (Intent, Effect) {
    match intent {
        Intent::Stop { deadline_ms: Some(deadline), asked } if now_ms >= deadline => {
            (Intent::Stop { deadline_ms: Some(now_ms.saturating_add(KILL_AGAIN_MS)), asked }, Effect::Kill)
        }
        Intent::Renew { deadline_ms: Some(deadline) } if now_ms >= deadline => {
            (Intent::Renew { deadline_ms: Some(now_ms.saturating_add(KILL_AGAIN_MS)) }, Effect::Kill)
        }
        Intent::Stop { .. } | Intent::Renew { .. } | Intent::Keep | Intent::Signalled | Intent::End => {
            (intent, Effect::None)
        }
    }
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
        let signal = |signal, ends| Event::Signal { signal, ends };
        let resting = Phase::Restarting { until_ms: 50 };
        let ended = |again_ms| Event::Ended { again_ms };
        let renewing = |deadline_ms| Intent::Renew { deadline_ms: Some(deadline_ms) };
        let renew = Event::Renew { signal: 15, deadline_ms: Some(7) };
        let clock = |now_ms| Event::DeadlinePassed { now_ms };
        for (phase, event, then, effect) in [
            (Phase::Created, Event::Start, Phase::Starting, Effect::Launch),
            (Phase::Exited, Event::Start, Phase::Starting, Effect::Launch),
            (Phase::Starting, Event::Launched, running(KEEP), Effect::Announce),
            (Phase::Starting, Event::LaunchFailed { again_ms: None }, Phase::Exited, Effect::Finish),
            (Phase::Starting, Event::LaunchFailed { again_ms: Some(50) }, resting, Effect::Rest),
            (running(KEEP), Event::Pause, paused(KEEP), Effect::Freeze),
            (paused(KEEP), Event::Unpause, running(KEEP), Effect::Thaw),
            (running(KEEP), signal(1, false), running(Intent::Signalled), Effect::Signal(1)),
            (running(KEEP), signal(15, true), running(Intent::End), Effect::Signal(15)),
            (running(Intent::End), signal(1, false), running(Intent::End), Effect::Signal(1)),
            (running(until(7)), signal(1, true), running(until(7)), Effect::Signal(1)),
            (running(KEEP), signal(9, true), running(Intent::End), Effect::Kill),
            (paused(KEEP), signal(9, true), paused(Intent::End), Effect::Kill),
            (paused(KEEP), signal(15, true), running(Intent::End), Effect::SignalThenThaw(15)),
            (paused(KEEP), signal(1, false), paused(Intent::Signalled), Effect::Signal(1)),
            (running(KEEP), stop(Some(7)), running(until(7)), Effect::Signal(15)),
            (running(until(7)), stop(Some(9)), running(until(7)), Effect::Signal(15)),
            (running(until(7)), stop(Some(3)), running(until(3)), Effect::Signal(15)),
            (running(until(7)), stop(None), running(until(7)), Effect::Signal(15)),
            (paused(KEEP), stop(Some(7)), running(until(7)), Effect::SignalThenThaw(15)),
            (running(until(7)), Event::DeadlinePassed { now_ms: 6 }, running(until(7)), Effect::None),
            (running(until(7)), Event::DeadlinePassed { now_ms: 107 }, running(again), Effect::Kill),
            (paused(until(7)), Event::DeadlinePassed { now_ms: 107 }, paused(again), Effect::Kill),
            (running(until(7)), ended(None), Phase::Exited, Effect::Finish),
            (running(until(7)), ended(Some(50)), Phase::Exited, Effect::Finish),
            (running(Intent::End), ended(Some(50)), Phase::Exited, Effect::Finish),
            (running(Intent::Signalled), ended(Some(50)), resting, Effect::Rest),
            (running(KEEP), ended(Some(50)), resting, Effect::Rest),
            (paused(KEEP), ended(Some(50)), resting, Effect::Rest),
            (running(KEEP), ended(None), Phase::Exited, Effect::Finish),
            (running(KEEP), renew, running(renewing(7)), Effect::Signal(15)),
            (running(until(7)), renew, running(until(7)), Effect::None),
            (running(renewing(7)), ended(Some(50)), resting, Effect::Rest),
            (running(renewing(7)), stop(Some(9)), running(until(7)), Effect::Signal(15)),
            (running(renewing(7)), signal(9, true), running(until(7)), Effect::Kill),
            (running(renewing(7)), clock(107), running(renewing(107 + KILL_AGAIN_MS)), Effect::Kill),
            (running(renewing(7)), Event::Pause, paused(renewing(7)), Effect::Freeze),
            (resting, clock(49), resting, Effect::None),
            (resting, clock(50), Phase::Starting, Effect::Launch),
            (resting, stop(Some(7)), Phase::Exited, Effect::Finish),
            (resting, signal(9, true), Phase::Exited, Effect::Finish),
            (resting, signal(1, false), resting, Effect::None),
            (running(KEEP), Event::Exec, running(KEEP), Effect::Exec),
            (Phase::Created, Event::Remove, Phase::Removing, Effect::Discard),
            (Phase::Exited, Event::Remove, Phase::Removing, Effect::Discard),
            (Phase::Removing, Event::RemovalFailed, Phase::Dead, Effect::None),
            (Phase::Dead, Event::Remove, Phase::Removing, Effect::Discard),
        ] {
            assert_eq!(step(phase, event), Ok((then, effect)), "{event:?} while {phase:?}");
        }
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let paused = Phase::Paused { intent: KEEP };
        let running = Phase::Running { intent: KEEP };
        let resting = Phase::Restarting { until_ms: 1 };
        for (phase, event, text) in [
            (running, Event::Start, "start is impossible: the container is running"),
            (paused, Event::Pause, "pause is impossible: the container is paused"),
            (running, Event::Unpause, "unpause is impossible: the container is running"),
            (paused, Event::Exec, "exec is impossible: the container is paused"),
            (
                Phase::Exited,
                Event::Signal { signal: 1, ends: false },
                "signal is impossible: the container is exited",
            ),
            (Phase::Created, Event::Pause, "pause is impossible: the container is created"),
            (resting, Event::Pause, "pause is impossible: the container is restarting"),
            (resting, Event::Exec, "exec is impossible: the container is restarting"),
            (resting, Event::Start, "start is impossible: the container is restarting"),
            (running, Event::Remove, "removal is impossible: the container is running"),
            (paused, Event::Remove, "removal is impossible: the container is paused"),
            (resting, Event::Remove, "removal is impossible: the container is restarting"),
            (Phase::Starting, Event::Remove, "removal is impossible: the container is starting"),
            (Phase::Removing, Event::Remove, "removal is impossible: the container is removing"),
            (Phase::Removing, Event::Start, "start is impossible: the container is removing"),
            (Phase::Dead, Event::Start, "start is impossible: the container is dead"),
            (Phase::Dead, Event::Exec, "exec is impossible: the container is dead"),
        ] {
            assert_eq!(step(phase, event).unwrap_err().to_string(), text);
        }
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Start),
            Just(Event::Launched),
            again().prop_map(|again_ms| Event::LaunchFailed { again_ms }),
            (1..=64i32, again(), any_asked()).prop_map(|(signal, deadline_ms, asked)| Event::Stop {
                signal,
                deadline_ms,
                asked
            }),
            (0..1000u64).prop_map(|now_ms| Event::DeadlinePassed { now_ms }),
            again().prop_map(|deadline_ms| Event::Renew { signal: 15, deadline_ms }),
            (1..=64i32, any::<bool>()).prop_map(|(signal, ends)| Event::Signal { signal, ends }),
            Just(Event::Pause),
            Just(Event::Unpause),
            Just(Event::Exec),
            Just(Event::Remove),
            Just(Event::RemovalFailed),
            again().prop_map(|again_ms| Event::Ended { again_ms }),
        ]
    }

    fn again() -> impl Strategy<Value = Option<u64>> {
        proptest::option::of(0..1000u64)
    }

    fn any_asked() -> impl Strategy<Value = Asked> {
        prop_oneof![Just(Asked::Nobody), Just(Asked::User), Just(Asked::Restart)]
    }

    proptest! {
        /// Follows the frozen state and the stop's deadline by the effects alone, and compares.
        #[test]
        fn effects_and_phases_tell_the_same_story(events in proptest::collection::vec(any_event(), 0..60)) {
            let (mut phase, mut frozen, mut alive) = (Phase::Created, false, false);
            // Whether somebody has asked for the end of the run that is on.
            let mut unwanted = false;
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
                    Effect::Finish | Effect::Rest => {
                        prop_assert!(effect == Effect::Finish || !unwanted, "a wish was not heard");
                        alive = false;
                        frozen = false;
                        unwanted = false;
                    }
                    Effect::Signal(_) | Effect::Kill | Effect::Exec => prop_assert!(alive),
                    Effect::Discard => prop_assert!(!alive && event == Event::Remove),
                    Effect::None => {}
                }
                let ends = matches!(event, Event::Stop { .. } | Event::Signal { ends: true, .. });
                unwanted |= alive && ends;
                let rests = effect == Effect::Rest
                    || (effect == Effect::None && matches!(before, Phase::Restarting { .. }));
                prop_assert_eq!(matches!(phase, Phase::Restarting { .. }), rests);
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
                let is_over = matches!(phase, Phase::Exited | Phase::Removing | Phase::Dead);
                if !is_over && !matches!(phase, Phase::Created | Phase::Restarting { .. }) {
                    let ended = step(phase, Event::Ended { again_ms: None });
                    prop_assert_eq!(ended, Ok((Phase::Exited, Effect::Finish)));
                }
            }
        }

        /// Whatever has happened: a removal that was begun is gone on with, and nothing else happens to the container.
        #[test]
        fn a_removal_is_never_taken_back(events in proptest::collection::vec(any_event(), 0..60)) {
            let (mut phase, mut begun) = (Phase::Created, false);
            for event in events {
                let Ok((then, effect)) = step(phase, event) else { continue };
                begun |= event == Event::Remove;
                prop_assert_eq!(begun, matches!(then, Phase::Removing | Phase::Dead));
                prop_assert!(!begun || matches!(effect, Effect::Discard | Effect::None));
                phase = then;
            }
        }

        /// Whatever has happened: a stop that is not refused leads to the end.
        #[test]
        fn a_stop_is_the_end_of_it(events in proptest::collection::vec(any_event(), 0..20), again_ms in again()) {
            let mut phase = Phase::Created;
            for event in events {
                phase = step(phase, event).map_or(phase, |(then, _)| then);
            }
            let stop = Event::Stop { signal: 15, deadline_ms: None, asked: Asked::User };
            if let Ok((then, _)) = step(phase, stop) {
                let ended = || step(then, Event::Ended { again_ms }).unwrap().0;
                let last = if then == Phase::Exited { then } else { ended() };
                prop_assert_eq!(last, Phase::Exited);
            }
        }
    }
}
