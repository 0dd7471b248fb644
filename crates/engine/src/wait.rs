//! `wait`: how a container ends, as soon as it has.

use std::time::Duration;

use crate::container::Container;
use crate::info::Status;
use crate::request::WaitFor;
use crate::{Engine, Error, Result};

/// How often a change is looked for that nobody announces: the start of a container, and its removal.
const POLL: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits for `condition`; the exit code of the run that fulfils it.
    pub fn wait(&self, name: &str, condition: WaitFor) -> Result<i32> {
        let found = self.container(name)?;
        match condition {
            WaitFor::NotRunning => self.code_at_rest(&found),
            WaitFor::NextExit => self.code_at_rest(&self.wait_started(found)?),
            WaitFor::Removed => self.wait_removed(found),
        }
    }

    /// The exit code of a container, once it does not run.
    fn code_at_rest(&self, found: &Container) -> Result<i32> {
        if found.state.status.is_running() || self.is_starting(found)? {
            return self.wait_ended(found);
        }
        Ok(found.state.exit_code)
    }

    /// Returns when a run is on. A run that begins and ends between two looks is noticed by its exit.
    fn wait_started(&self, found: Container) -> Result<Container> {
        let before = found.state.finished_at;
        let mut found = found;
        while !found.state.status.is_running() && found.state.finished_at == before {
            std::thread::sleep(POLL);
            found = match self.container(found.id().as_str()) {
                // Then there will be no other run.
                Err(Error::NoSuchContainer { .. }) => return Ok(found),
                outcome => outcome?,
            };
        }
        Ok(found)
    }

    /// Whether a monitor has the container, whatever it says of it.
    pub(crate) fn is_starting(&self, found: &Container) -> Result<bool> {
        let directory = self.run_directory(found.id());
        monitor::status::lock_held(&directory).map_err(|source| Error::Monitor {
            action: "observe",
            id: found.id().clone(),
            source,
        })
    }

    /// The exit code of the run that is on, or of the last one where it has just ended. One that is gone with its record
    /// before its monitor could be asked has a code that nobody knows any more, and is an error.
    fn wait_ended(&self, found: &Container) -> Result<i32> {
        let failed = |source| Error::Monitor { action: "wait for", id: found.id().clone(), source };
        // What is at rest has its code, even while somebody has its run directory.
        let rested = |found: &Container| (!found.state.status.is_running()).then_some(found.state.exit_code);
        let mut code = rested(found);
        loop {
            let waited = match self.connect(found) {
                Ok(mut connection) => connection.wait(),
                Err(Error::Monitor { source, .. }) => Err(source),
                Err(error) => return Err(error),
            };
            match waited {
                Ok(ended) => return Ok(ended.exit().code),
                // The monitor is gone: either it had nothing left to do, or it died and the container is lost.
                Err(monitor::Error::Gone | monitor::Error::NotRunning) => {}
                Err(source) => return Err(failed(source)),
            }
            match self.container(found.id().as_str()) {
                Ok(now) if !now.state.status.is_running() && !self.is_starting(&now)? => {
                    return Ok(now.state.exit_code);
                }
                // Somebody starts it, or has begun another run meanwhile.
                Ok(now) => code = rested(&now).or(code),
                Err(error @ Error::NoSuchContainer { .. }) => return code.ok_or(error),
                Err(error) => return Err(error),
            }
            std::thread::sleep(POLL);
        }
    }

    /// The exit code of the last run before it was removed. Each that is seen is waited for, since it may be all that is
    /// ever told of its end.
    fn wait_removed(&self, found: Container) -> Result<i32> {
        let id = found.head.id.clone();
        let mut code = self.code_at_rest(&found)?;
        loop {
            match self.container(id.as_str()) {
                Ok(found) if found.state.status == Status::Created => {}
                Ok(found) => code = self.code_at_rest(&found)?,
                Err(Error::NoSuchContainer { .. }) => return Ok(code),
                Err(error) => return Err(error),
            }
            std::thread::sleep(POLL);
        }
    }
}
