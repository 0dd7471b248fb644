//! `exec`, `attach` and `resize`: a caller and a running container.

use monitor::{AttachStdio, Connection, ExecHandle, ExecStdio};
use oci::ContainerId;
use runtime::plan::TerminalSize;

use crate::container::Container;
use crate::info::Status;
use crate::request::Exec;
use crate::{Engine, Error, Result, plan};

/// A program that was started in a container.
#[derive(Debug)]
pub struct Executed {
    /// The container's id.
    pub container: ContainerId,
    /// What events call the program.
    pub exec_id: String,
    /// The caller's hold on it; dropping it leaves the program running.
    pub handle: ExecHandle,
}

impl Engine {
    /// Starts a program in a running container.
    ///
    /// `stdio` comes from [`ExecStdio::from_caller`], whose session then copies until the program ends.
    pub fn exec(&self, name: &str, request: &Exec, stdio: ExecStdio) -> Result<Executed> {
        let found = self.running(name, "exec")?;
        let seccomp = if request.privileged { None } else { self.seccomp(&found.spec)? };
        let plan = plan::exec(&found.spec, request, self.facts(), seccomp)?;
        let id = found.id();
        let exec_id = ContainerId::from_bytes(crate::create::random()?).to_string();
        let connection = self.connect(&found)?;
        // Before it runs, for its monitor tells when it ends.
        let command = request.command.join(" ");
        for action in ["exec_create", "exec_start"] {
            self.exec_event(&format!("{action}: {command}"), &found, &exec_id);
        }
        let handle = connection.exec_as(&exec_id, &plan, stdio).map_err(|source| {
            if matches!(source, monitor::Error::Gone | monitor::Error::NotRunning) {
                return Error::NotRunning { id: id.clone() };
            }
            Error::Monitor { action: "start a program in", id: id.clone(), source }
        })?;
        Ok(Executed { container: id.clone(), exec_id, handle })
    }

    /// Tells that the caller of a program has left it to itself.
    pub fn exec_detached(&self, container: &ContainerId, exec_id: &str) -> Result<()> {
        let found = self.container(container.as_str())?;
        self.exec_event("exec_detach", &found, exec_id);
        Ok(())
    }

    /// Tells that whoever was attached to a container has left it to itself.
    pub fn detached(&self, container: &ContainerId) -> Result<()> {
        let found = self.container(container.as_str())?;
        self.container_event("detach", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(())
    }

    fn exec_event(&self, action: &str, found: &Container, exec_id: &str) {
        let (id, name) = (&found.head.id, found.head.name.as_str());
        self.container_event_with(action, id, name, &found.spec, &[("execID", exec_id)]);
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
