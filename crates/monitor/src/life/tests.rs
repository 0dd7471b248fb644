//! Every transition by name, and what holds for all of them.

use proptest::prelude::*;

use super::step::KILL_AGAIN_MS;
use super::*;

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
