//! `rm`: first the record, which frees the name and the id range, then the files.
//!
//! Whatever dies in between leaves files without a record. [`Engine::sweep`] removes those; it looks at the disk
//! before it looks at the records, so that a container that is being made is never taken for garbage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
        if found.state.status.is_running() || self.is_starting(&found)? {
            if !request.force {
                return Err(Error::ContainerRunning {
                    name: found.head.name.to_string(),
                    state: if found.state.status == Status::Paused { "paused" } else { "running" },
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
    pub(crate) fn discard(&self, id: &ContainerId) -> Result<()> {
        self.state().remove_container(id)?;
        self.remove_files(id)
    }

    /// Removes what containers without a record have left on disk.
    pub(crate) fn sweep(&self, on_disk: &[ContainerId], known: &BTreeSet<&ContainerId>) {
        for id in on_disk.iter().filter(|id| !known.contains(id)) {
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
}
