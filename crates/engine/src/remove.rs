//! `rm`: first the record, which frees the name and the id range, then the files.
//!
//! Whatever dies in between leaves files without a record. [`Engine::sweep`] removes those; it looks at the disk
//! before it looks at the records, so that a container that is being made is never taken for garbage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use monitor::Connection;
use monitor::life::Phase;
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
        let found = self.container(name)?;
        // One that is being started is as good as running: its monitor works on what would be removed.
        // One whose end is written down is about to leave it, and is waited for.
        if found.state.status.is_running() || !self.is_vacant(found.id())? {
            if !request.force {
                return Err(Error::ContainerRunning {
                    name: found.head.name.to_string(),
                    state: match found.state.status {
                        Status::Paused => "paused",
                        Status::Restarting => "restarting",
                        Status::Created
                        | Status::Running
                        | Status::Removing
                        | Status::Exited
                        | Status::Dead => "running",
                    },
                });
            }
            self.kill_for_removal(&found)?;
        }
        self.discard(found.id())?;
        self.container_event("destroy", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
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

    /// Forgets a container and removes what lies on disk of it. Gone already is fine.
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
