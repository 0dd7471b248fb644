//! `rm`: a mark in the record, then the files, then the record, which frees the name and the range of ids.
//!
//! ```text
//! run directory taken ─► marked ─► files removed ─► record removed ─► run directory gone
//!                         removing: the mark, and somebody has the run directory
//!                         dead: the mark, and nobody has it
//! ```
//!
//! What is marked nobody can start, and the next removal goes on with it, as does whoever lists everything. A container that
//! goes by itself (`--rm`) loses its record first, for that costs nothing where somebody waits; whatever dies then leaves
//! files without a record, which [`Engine::sweep`] removes. It looks at the disk before it looks at the records, so that a
//! container that is being made is never taken for garbage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use monitor::life::{self, Event, Intent, Phase};
use monitor::{Connection, Reaped};
use oci::ContainerId;

use crate::container::Container;
use crate::info::Status;
use crate::request::Remove;
use crate::{Engine, Error, Result};

/// How long a start may take before a forced removal no longer waits for it.
const START_LIMIT: Duration = Duration::from_secs(20);

impl Engine {
    /// Removes a container.
    pub fn remove(&self, name: &str, request: &Remove) -> Result<()> {
        let mut found = self.container(name)?;
        if request.link {
            // Links have names below that of the container that has them, and there are none.
            return Err(Error::DefaultLink);
        }
        let mut was_killed = false;
        let seat = loop {
            // One that is being started is as good as running: its monitor works on what would be removed.
            // One whose end is written down is about to leave it, and is waited for.
            let refused = match may_remove(&found, name) {
                Ok(()) if self.is_vacant(found.id())? => None,
                Ok(()) => {
                    Some(Error::ContainerRunning { name: found.head.name.to_string(), state: "running" })
                }
                Err(error @ Error::RemovalInProgress { .. }) => return Err(error),
                Err(error) => Some(error),
            };
            match refused {
                Some(error) if !request.force => return Err(error),
                Some(_) => {
                    self.kill_for_removal(&found)?;
                    was_killed = true;
                }
                None => {}
            }
            let claimed = monitor::claim(&self.run_directory(found.id()));
            let failed = |source| Error::Monitor { action: "clean up after", id: found.id().clone(), source };
            if let Some(seat) = claimed.map_err(failed)? {
                break seat;
            }
            // Somebody was faster: to remove it, to start it, or to copy files.
            found = match self.container(found.id().as_str()) {
                // One with `--rm` goes by itself once we have killed it.
                Err(Error::NoSuchContainer { .. }) if was_killed => return Ok(()),
                Err(Error::NoSuchContainer { .. }) => {
                    return Err(Error::NoSuchContainer { name: name.to_owned() });
                }
                found => found?,
            };
        };
        match self.take_away(&found, name, seat) {
            Err(Error::NoSuchContainer { .. }) if was_killed => Ok(()),
            removed => removed,
        }
    }

    /// Removes a container that does not run, and that nobody can start as long as `seat` exists.
    fn take_away(&self, found: &Container, name: &str, seat: Reaped) -> Result<()> {
        let id = found.id();
        let failed = |source| Error::Monitor { action: "clean up after", id: id.clone(), source };
        let is_known = self.state().begin_removal(id)?;
        // What cannot be removed leaves the mark behind: it is dead.
        let removed = self.remove_files(id).and_then(|()| Ok(self.state().remove_container(id)?));
        seat.recorded().map_err(failed)?;
        removed?;
        if !is_known {
            return Err(Error::NoSuchContainer { name: name.to_owned() });
        }
        self.state().keep_reserve();
        self.container_event("destroy", id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    /// Tries again to remove a container whose removal has failed, or whose remover has died; whether that is done.
    pub(crate) fn is_removed_at_last(&self, id: &ContainerId) -> bool {
        match self.remove(id.as_str(), &Remove::default()) {
            Ok(()) => {
                tracing::debug!(container = %id, "removed what an interrupted removal had left");
                true
            }
            Err(Error::NoSuchContainer { .. }) => true,
            Err(error) => {
                tracing::debug!(container = %id, %error, "it stays dead");
                false
            }
        }
    }

    fn kill_for_removal(&self, found: &Container) -> Result<()> {
        let give_up = Instant::now() + START_LIMIT;
        loop {
            let killed = match self.connect(found) {
                Ok(mut connection) => connection.signal(9).and_then(|_| connection.wait()),
                Err(Error::Monitor { source, .. }) => Err(source),
                Err(error) => return Err(error),
            };
            match killed {
                Ok(ended) => {
                    drop(ended.removed());
                    return Ok(());
                }
                // There is nothing to kill yet, or nothing any more and the monitor is about to go.
                Err(monitor::Error::Refused(_)) if Instant::now() < give_up => {}
                // It ended by itself, or was lost: then this reaps it.
                Err(monitor::Error::Gone | monitor::Error::NotRunning) => {
                    let (_, state) = self.observe(found.head.clone())?;
                    let alive = state.status.is_running() || self.is_starting(found)?;
                    if !alive || Instant::now() > give_up {
                        return Ok(());
                    }
                }
                Err(source) => {
                    return Err(Error::Monitor { action: "kill", id: found.id().clone(), source });
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Forgets a container that was to go by itself and removes what lies on disk of it. Gone already is fine.
    ///
    /// A monitor that a killed caller had just started may be about to take its seat: then this sits there until
    /// the files are gone, and it finds nothing to start.
    pub(crate) fn discard(&self, id: &ContainerId) -> Result<()> {
        let failed = |source| Error::Monitor { action: "clean up after", id: id.clone(), source };
        let seat = monitor::reap_lost(&self.run_directory(id), None).map_err(failed)?;
        self.state().remove_container(id)?;
        self.remove_files(id)?;
        self.state().keep_reserve();
        match seat {
            Some(seat) => seat.recorded().map_err(failed),
            None => Ok(()),
        }
    }

    /// Removes what containers without a record have left: on disk, or running.
    pub(crate) fn sweep(&self, seen: &Seen, known: &BTreeSet<&ContainerId>) {
        self.end_lost_builds();
        for id in seen.running.iter().filter(|id| !known.contains(id)) {
            if let Err(error) = self.end_orphan(id) {
                tracing::warn!(container = %id, %error, "runs without a record and cannot be ended");
            }
        }
        for id in seen.on_disk.iter().filter(|id| !known.contains(id)) {
            // Its monitor may still be at work: it holds the directory's mounts and will remove it itself.
            if self.run_directory(id).exists() {
                continue;
            }
            match self.remove_files(id) {
                Ok(()) => tracing::debug!(container = %id, "removed what an interrupted removal had left"),
                Err(error) => tracing::warn!(container = %id, %error, "cannot remove what is left of it"),
            }
        }
    }

    /// Ends a container that was removed while it was being started, and whose starter did not live to see it.
    fn end_orphan(&self, id: &ContainerId) -> Result<()> {
        let failed = |source| Error::Monitor { action: "end", id: id.clone(), source };
        let directory = self.run_directory(id);
        if !monitor::status::lock_held(&directory).map_err(failed)? {
            let seat = monitor::reap_lost(&directory, None).map_err(failed)?;
            return seat.map_or(Ok(()), |seat| seat.recorded().map_err(failed));
        }
        let status = monitor::status::read(&directory).map_err(failed)?;
        // One that is being made has no record yet; one whose end is written down is about to go.
        let runs = |status: monitor::status::Status| status.exit.is_none() && status.phase != Phase::Starting;
        if status.is_some_and(runs) {
            tracing::warn!(container = %id, "runs without a record: it is killed");
            let killed = Connection::open(&directory).and_then(|mut connection| connection.signal(9));
            killed.map_err(failed)?;
        }
        Ok(())
    }
}

/// What of containers was there before their records were read: in this order, one that is being made is never
/// taken for one that was removed.
pub(crate) struct Seen {
    pub(crate) on_disk: Vec<ContainerId>,
    pub(crate) running: BTreeSet<ContainerId>,
}

/// Whether the state of a container allows its removal.
fn may_remove(found: &Container, name: &str) -> Result<()> {
    let intent = Intent::Keep;
    let phase = match found.state.status {
        Status::Created => Phase::Created,
        Status::Running => Phase::Running { intent },
        Status::Paused => Phase::Paused { intent },
        Status::Restarting => Phase::Restarting { until_ms: 0 },
        Status::Removing => Phase::Removing,
        Status::Exited => Phase::Exited,
        Status::Dead => Phase::Dead,
    };
    match life::step(phase, Event::Remove) {
        Ok(_) => Ok(()),
        Err(refused) if refused.phase == Phase::Removing => {
            Err(Error::RemovalInProgress { name: name.to_owned() })
        }
        Err(refused) => Err(Error::ContainerRunning {
            name: found.head.name.to_string(),
            state: refused.phase.adjective(),
        }),
    }
}
