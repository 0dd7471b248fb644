//! `exec`, `attach` and `resize`: a caller and a running container.

use monitor::{AttachStdio, Connection, ExecHandle, ExecStdio};
use oci::ContainerId;
use runtime::plan::TerminalSize;

use crate::container::Container;
use crate::info::Status;
use crate::request::Exec;
use crate::{Engine, Error, Result, plan};

impl Engine {
    /// Starts a program in a running container.
    ///
    /// `stdio` comes from [`ExecStdio::from_caller`], whose session then copies until the program ends.
    pub fn exec(&self, name: &str, request: &Exec, stdio: ExecStdio) -> Result<ExecHandle> {
        let found = self.running(name, "exec")?;
        let seccomp = if request.privileged { None } else { self.seccomp(&found.spec)? };
        let plan = plan::exec(&found.spec, request, self.facts(), seccomp)?;
        let id = found.id();
        let handle = self.connect(&found)?.exec(&plan, stdio).map_err(|source| {
            if matches!(source, monitor::Error::Gone | monitor::Error::NotRunning) {
                return Error::NotRunning { id: id.clone() };
            }
            Error::Monitor { action: "start a program in", id: id.clone(), source }
        })?;
        self.event("container", &format!("exec_start: {}", request.command.join(" ")), id.as_str(), &[]);
        Ok(handle)
    }

    /// Connects streams to a running container; the session of `stdio` then copies over the connection.
    pub fn attach(&self, name: &str, stdio: AttachStdio) -> Result<(ContainerId, Connection)> {
        let found = self.running(name, "attach")?;
        let mut connection = self.connect(&found)?;
        let failed = |source| Error::Monitor { action: "attach to", id: found.id().clone(), source };
        connection.attach(stdio).map_err(failed)?;
        self.container_event("attach", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok((found.head.id, connection))
    }

    /// Sets the size of a container's terminal.
    pub fn resize(&self, name: &str, size: TerminalSize) -> Result<()> {
        let found = self.container(name)?;
        found.must_run()?;
        let resized = self.connect(&found)?.resize(size);
        resized.map_err(|source| Error::Monitor { action: "resize", id: found.head.id, source })?;
        Ok(())
    }

    /// A container that runs and is not paused.
    fn running(&self, name: &str, action: &'static str) -> Result<Container> {
        let found = self.container(name)?;
        found.must_run()?;
        if found.state.status == Status::Restarting {
            return Err(Error::Restarting { id: found.head.id });
        }
        if found.state.status == Status::Paused {
            return Err(Error::Paused { name: name.to_owned(), action });
        }
        Ok(found)
    }
}
