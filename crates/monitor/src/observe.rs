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
        /// The monitor died before it could write the row: whoever observes this writes it.
        unrecorded: bool,
    },
    /// Its monitor died: whoever observes this calls [`crate::status::reap_lost`] and records the exit.
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
