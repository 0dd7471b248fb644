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
}

/// Combines the facts of their four owners. Pure.
///
/// `lock_held`: whether a monitor lives ([`crate::status::lock_held`]). `status`: what it last wrote.
/// `recorded`: the exit row of the database. A monitor writes `exited` into its status before it writes the
/// row, and removes the run directory after it; so a free lock with a live phase is a lost container, and
/// one with an exited phase is an exit that may not have reached the database.
pub fn observe(lock_held: bool, status: Option<&Status>, recorded: Option<&Exit>) -> Observed {
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
        (None, Phase::Created | Phase::Starting) => Observed::Starting,
        (None, Phase::Running { .. } | Phase::Exited) => Observed::Running,
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
            exit,
        }
    }

    #[test]
    fn every_combination_of_facts_has_one_reading() {
        let exit = |finished| Exit { lost: false, code: 3, ..Exit::lost(Some(1), finished) };
        let exited = |exit, unrecorded| Observed::Exited { exit, unrecorded };
        let (starting, running) = (Phase::Starting, Phase::Running { intent: Intent::Keep });
        let paused = Phase::Paused { intent: Intent::Keep };
        for (name, held, status, recorded, expected) in [
            ("never started", false, None, None, Observed::Created),
            ("about to start", true, None, None, Observed::Starting),
            ("about to start again", true, None, Some(exit(1)), Observed::Starting),
            ("ended and tidied up", false, None, Some(exit(1)), exited(exit(1), false)),
            ("starting", true, Some(status(starting, None)), None, Observed::Starting),
            ("running", true, Some(status(running, None)), None, Observed::Running),
            ("running again", true, Some(status(running, None)), Some(exit(1)), Observed::Running),
            ("paused", true, Some(status(paused, None)), None, Observed::Paused),
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
            assert_eq!(observe(held, status.as_ref(), recorded.as_ref()), expected, "{name}");
        }
    }
}
