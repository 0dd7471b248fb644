//! What an event does to a container: the transitions, and nothing else.

use state::Asked;

use super::{Effect, Event, Intent, Phase, Refused};

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
pub(super) const KILL_AGAIN_MS: u64 = 10_000;

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
