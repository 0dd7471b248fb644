//! `stop`, `restart`, `kill`, `pause`, `unpause`: what users ask of a running container.

use std::time::Duration;

use monitor::{Asked, Connection};

use crate::container::Container;
use crate::info::Status;
use crate::request::Stop;
use crate::{Engine, Error, Outcome, Result, signal};

/// The signal that ends whoever gets it.
const SIGKILL: i32 = 9;

impl Engine {
    /// Asks a container to end, kills it when it does not in time, and waits for the end.
    pub fn stop(&self, name: &str, request: &Stop) -> Result<Outcome> {
        let found = self.container(name)?;
        self.end(&found, request, Asked::User)
    }

    /// Stops a container if it runs, and starts it. One that was to be removed at its end is not removed in between.
    pub fn restart(&self, name: &str, request: &Stop) -> Result<()> {
        let found = self.container(name)?;
        self.end(&found, request, Asked::Restart)?;
        self.start(found.id().as_str(), None)?;
        self.container_event("restart", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    fn end(&self, found: &Container, request: &Stop, asked: Asked) -> Result<Outcome> {
        let Some(connection) = self.begin_end(found, request, asked)? else { return Ok(Outcome::Unchanged) };
        self.finish_end(found, Some(connection))?;
        Ok(Outcome::Changed)
    }

    /// Asks a container to end. None when there is nothing to wait for: it does not run, or has just ended.
    pub(crate) fn begin_end(
        &self,
        found: &Container,
        request: &Stop,
        asked: Asked,
    ) -> Result<Option<Connection>> {
        let number = request.signal.as_deref().map(signal::parse).transpose()?;
        if !found.state.status.is_running() {
            return Ok(None);
        }
        let timeout =
            request.timeout_secs.map(|seconds| u64::try_from(seconds).ok().map(Duration::from_secs));
        let mut connection = match self.connect(found) {
            Ok(connection) => connection,
            Err(Error::Monitor { source: monitor::Error::NotRunning, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match connection.stop_for(asked, number, timeout) {
            // It ended by itself between the two.
            Err(monitor::Error::Gone | monitor::Error::NotRunning) => Ok(None),
            Err(monitor::Error::Refused(_)) | Ok(_) => Ok(Some(connection)),
            Err(source) => Err(Error::Monitor { action: "stop", id: found.id().clone(), source }),
        }
    }

    /// Waits until a container that was asked to has ended.
    pub(crate) fn finish_end(&self, found: &Container, connection: Option<Connection>) -> Result<()> {
        let waited = match connection.map_or_else(|| self.connect(found), Ok) {
            Ok(mut connection) => connection.wait(),
            Err(Error::Monitor { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        match waited {
            Ok(ended) => drop(ended),
            Err(monitor::Error::NotRunning) => {}
            Err(monitor::Error::Gone) => drop(self.observe(found.head.clone())?),
            Err(source) => {
                return Err(Error::Monitor { action: "stop", id: found.id().clone(), source });
            }
        }
        self.container_event("stop", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    /// Sends a container's first process a signal, and waits for the end where that is sure to come of it.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let number = if signal.is_empty() { SIGKILL } else { signal::parse(signal)? };
        let found = self.container(name)?;
        let not_running =
            || Error::KillNotRunning { name: found.head.name.to_string(), id: found.head.id.clone() };
        if !found.state.status.is_running() {
            return Err(not_running());
        }
        let failed = |source| Error::Monitor { action: "kill", id: found.id().clone(), source };
        let mut connection = self.connect(&found)?;
        match connection.signal(number) {
            // Unchanged: between two runs nobody is there to hear it; at most, the next one does not come.
            Ok(_) => {}
            Err(monitor::Error::Gone | monitor::Error::NotRunning | monitor::Error::Refused(_)) => {
                return Err(not_running());
            }
            Err(source) => return Err(failed(source)),
        }
        if number != SIGKILL {
            return Ok(());
        }
        // Whoever starts or removes it next must not meet it alive.
        match connection.wait() {
            Ok(_) | Err(monitor::Error::Gone | monitor::Error::NotRunning) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Freezes every process of a container.
    pub fn pause(&self, name: &str) -> Result<()> {
        let found = self.container(name)?;
        found.must_run()?;
        if found.state.status == Status::Restarting {
            return Err(Error::Restarting { id: found.head.id });
        }
        if found.state.status == Status::Paused {
            return Err(Error::AlreadyPaused { id: found.head.id });
        }
        let paused = self.connect(&found)?.pause();
        paused.map_err(|source| Error::Monitor { action: "pause", id: found.head.id.clone(), source })?;
        self.container_event("pause", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    /// Thaws them.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let found = self.container(name)?;
        found.must_run()?;
        if found.state.status != Status::Paused {
            return Err(Error::NotPaused { id: found.head.id });
        }
        let thawed = self.connect(&found)?.unpause();
        thawed.map_err(|source| Error::Monitor { action: "unpause", id: found.head.id.clone(), source })?;
        self.container_event("unpause", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    /// A conversation with the monitor of a container.
    pub(crate) fn connect(&self, found: &Container) -> Result<Connection> {
        Connection::open(&self.run_directory(found.id())).map_err(|source| Error::Monitor {
            action: "reach the monitor of",
            id: found.id().clone(),
            source,
        })
    }
}
