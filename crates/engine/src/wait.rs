//! `wait`: how a container ends, as soon as it has.

use std::time::Duration;

use oci::ContainerId;

use crate::container::Container;
use crate::info::Status;
use crate::request::WaitFor;
use crate::{Engine, Error, Result};

/// How often a change is looked for that nobody announces: the start of a container, and its removal.
const POLL: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits for `condition`; the exit code of the run that fulfils it.
    pub fn wait(&self, name: &str, condition: WaitFor) -> Result<i32> {
        let mut found = self.container(name)?;
        if condition == WaitFor::NextExit {
            found = self.wait_started(found)?;
        }
        let mut code = found.state.exit_code;
        if found.state.status.is_running() || self.is_starting(&found)? {
            code = self.wait_ended(&found)?;
        }
        if condition == WaitFor::Removed {
            code = self.wait_removed(found.id(), code)?;
        }
        Ok(code)
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

    fn wait_ended(&self, found: &Container) -> Result<i32> {
        let failed = |source| Error::Monitor { action: "wait for", id: found.id().clone(), source };
        let waited = match self.connect(found) {
            Ok(mut connection) => connection.wait(),
            Err(Error::Monitor { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        match waited {
            Ok(ended) => Ok(ended.exit().code),
            // The monitor is gone: either it had nothing left to do, or it died and the container is lost.
            Err(monitor::Error::Gone | monitor::Error::NotRunning) => self.code_after(found),
            Err(source) => Err(failed(source)),
        }
    }

    fn code_after(&self, found: &Container) -> Result<i32> {
        loop {
            let (_, state) = self.observe(found.head.clone())?;
            if !state.status.is_running() && !self.is_starting(found)? {
                return Ok(state.exit_code);
            }
            std::thread::sleep(POLL);
        }
    }

    fn wait_removed(&self, id: &ContainerId, mut code: i32) -> Result<i32> {
        loop {
            match self.container(id.as_str()) {
                Ok(found) if found.state.status == Status::Exited => code = found.state.exit_code,
                Ok(_) => {}
                Err(Error::NoSuchContainer { .. }) => return Ok(code),
                Err(error) => return Err(error),
            }
            std::thread::sleep(POLL);
        }
    }
}
