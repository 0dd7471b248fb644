//! What a container is doing, told from what its owners left behind.

use crate::exit::Exit;
use crate::life::Phase;
use crate::status::Status;

/// The phase of a container as an observer may report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Never started.
    Created,
    /// Being set up.
    Starting,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Between two runs.
    Restarting,
    /// Ended.
    Exited {
        /// How.
        exit: Exit,
        /// The monitor died before it could write the row: whoever observes this calls
        /// [`crate::reap_lost`], which tells the same exit, and records it.
        unrecorded: bool,
    },
    /// Its monitor died: whoever observes this calls [`crate::reap_lost`] and records the exit.
    Lost,
    /// Somebody is removing it.
    Removing,
    /// Its removal was begun, and nobody is at it: it failed, or died.
    Dead,
}

/// Combines the facts of their four owners. Pure.
///
/// `removing`: the mark of the database. `lock_held`: whether a monitor lives, or whoever removes it
/// ([`crate::status::lock_held`]). `status`: what the monitor last wrote. `recorded`: the exit row of the database. A monitor writes `exited` into its status before it writes the
/// row, and removes the run directory after it; so a free lock with a live phase is a lost container, and
/// one with an exited phase is an exit that may not have reached the database.
///
/// The mark is made and the files are removed under the lock, where no monitor can be: so it stands above all else.
pub fn observe(
    removing: bool,
    lock_held: bool,
    status: Option<&Status>,
    recorded: Option<&Exit>,
) -> Observed {
    if removing {
        return if lock_held { Observed::Removing } else { Observed::Dead };
    }
    let Some(status) = status else {
        return match (lock_held, recorded) {
            (true, _) => Observed::Starting,
            (false, Some(exit)) => Observed::Exited { exit: exit.clone(), unrecorded: false },
            (false, None) => Observed::Created,
        };
    };
    match (&status.exit, status.phase) {
        (Some(exit), _) => {
            Observed::Exited { exit: exit.clone(), unrecorded: !lock_held && recorded != Some(exit) }
        }
        (None, _) if !lock_held => Observed::Lost,
        (None, Phase::Restarting { .. }) => Observed::Restarting,
        // The next run is being set up.
        (None, Phase::Starting) if status.restarts > 0 => Observed::Restarting,
        (None, Phase::Created | Phase::Starting) => Observed::Starting,
        // No monitor writes the last two.
        (None, Phase::Running { .. } | Phase::Exited | Phase::Removing | Phase::Dead) => Observed::Running,
        (None, Phase::Paused { .. }) => Observed::Paused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Intent;

    fn status(phase: Phase, exit: Option<Exit>) -> Status {
        Status {
            phase,
            monitor_pid: 1,
            init: None,
            started_at_ns: Some(1),
            cgroup: None,
            oom_killed: false,
            log_lines_lost: 0,
            restarts: 0,
            last: None,
            health: None,
            exit,
        }
    }

    #[test]
    fn every_combination_of_facts_has_one_reading() {
        let exit = |finished| Exit { lost: false, code: 3, ..Exit::lost(Some(1), finished) };
        let exited = |exit, unrecorded| Observed::Exited { exit, unrecorded };
        let (starting, running) = (Phase::Starting, Phase::Running { intent: Intent::Keep });
        let paused = Phase::Paused { intent: Intent::Keep };
        let resting = Phase::Restarting { until_ms: 7 };
        let again = |phase| Some(Status { restarts: 1, last: Some(exit(1)), ..status(phase, None) });
        for (name, held, status, recorded, expected) in [
            ("never started", false, None, None, Observed::Created),
            ("about to start", true, None, None, Observed::Starting),
            ("about to start again", true, None, Some(exit(1)), Observed::Starting),
            ("ended and tidied up", false, None, Some(exit(1)), exited(exit(1), false)),
            ("starting", true, Some(status(starting, None)), None, Observed::Starting),
            ("running", true, Some(status(running, None)), None, Observed::Running),
            ("running again", true, Some(status(running, None)), Some(exit(1)), Observed::Running),
            ("paused", true, Some(status(paused, None)), None, Observed::Paused),
            ("between two runs", true, again(resting), None, Observed::Restarting),
            ("beginning another run", true, again(starting), Some(exit(1)), Observed::Restarting),
            ("in another run", true, again(running), Some(exit(1)), Observed::Running),
            ("monitor died between two runs", false, again(resting), Some(exit(1)), Observed::Lost),
            ("monitor died starting", false, Some(status(starting, None)), None, Observed::Lost),
            ("monitor died running", false, Some(status(running, None)), None, Observed::Lost),
            ("monitor died in a later run", false, Some(status(paused, None)), Some(exit(1)), Observed::Lost),
            ("ending", true, Some(status(Phase::Exited, Some(exit(2)))), None, exited(exit(2), false)),
            (
                "monitor died before the row",
                false,
                Some(status(Phase::Exited, Some(exit(2)))),
                Some(exit(1)),
                exited(exit(2), true),
            ),
            (
                "monitor died after the row",
                false,
                Some(status(Phase::Exited, Some(exit(2)))),
                Some(exit(2)),
                exited(exit(2), false),
            ),
        ] {
            assert_eq!(observe(false, held, status.as_ref(), recorded.as_ref()), expected, "{name}");
            let removed = if held { Observed::Removing } else { Observed::Dead };
            assert_eq!(observe(true, held, status.as_ref(), recorded.as_ref()), removed, "{name}");
        }
    }

    fn every_phase() -> Vec<Phase> {
        let stop = Intent::Stop { deadline_ms: Some(1), asked: state::Asked::User };
        let intents = [Intent::Keep, Intent::Signalled, Intent::End, stop];
        let mut phases =
            vec![Phase::Created, Phase::Starting, Phase::Restarting { until_ms: 1 }, Phase::Exited];
        phases.extend(intents.map(|intent| Phase::Running { intent }));
        phases.extend(intents.map(|intent| Phase::Paused { intent }));
        phases
    }

    #[test]
    fn no_combination_of_facts_makes_the_dead_live_or_loses_an_end() {
        let exit = |finished| Exit { lost: false, code: 3, ..Exit::lost(Some(1), finished) };
        let mut statuses = vec![None];
        for phase in every_phase() {
            for (ended, restarts) in [(None, 0), (None, 1), (Some(exit(2)), 0), (Some(exit(2)), 1)] {
                statuses.push(Some(Status { restarts, ..status(phase, ended) }));
            }
        }
        let recorded = [None, Some(exit(1)), Some(exit(2)), Some(Exit::lost(Some(1), 1))];
        for (held, status, row) in statuses.iter().flat_map(|status| {
            let rows = recorded.iter().map(move |row| (status, row));
            rows.flat_map(|(status, row)| [(true, status, row), (false, status, row)])
        }) {
            let case = format!("{held} {status:?} {row:?}");
            let seen = observe(false, held, status.as_ref(), row.as_ref());
            let removed = observe(true, held, status.as_ref(), row.as_ref());
            assert_eq!(removed, if held { Observed::Removing } else { Observed::Dead }, "{case}");
            let ended = status.as_ref().and_then(|status| status.exit.as_ref());
            match &seen {
                Observed::Created => assert!(!held && status.is_none() && row.is_none(), "{case}"),
                Observed::Starting | Observed::Running | Observed::Paused | Observed::Restarting => {
                    assert!(held && ended.is_none(), "{case}");
                }
                Observed::Removing | Observed::Dead => panic!("nobody removes it: {case}"),
                Observed::Lost => assert!(!held && status.is_some() && ended.is_none(), "{case}"),
                Observed::Exited { exit, unrecorded } => {
                    assert_eq!(Some(exit), ended.or(row.as_ref()), "{case}");
                    assert_eq!(*unrecorded, !held && ended.is_some() && ended != row.as_ref(), "{case}");
                }
            }
        }
    }
}
