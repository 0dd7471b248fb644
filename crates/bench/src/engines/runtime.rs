//! Bare OCI runtimes on a prepared bundle.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::measure::{output, time};

/// crun or runc.
pub(crate) struct Runtime {
    program: &'static str,
    bundle: PathBuf,
    state: PathBuf,
}

impl Runtime {
    pub(crate) fn new(program: &'static str, bundle: &Path, folder: &Path) -> Result<Self> {
        Ok(Self { program, bundle: bundle.to_owned(), state: folder.join(format!("{program}-state")) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(&self.state);
        command
    }

    /// `run` of the bundle's program to its end.
    pub(crate) fn run(&self, name: &str) -> Result<Duration> {
        time(self.command().arg("run").arg("--bundle").arg(&self.bundle).arg(name))
    }

    /// `run --detach` of the bundle's program, which stays until [`Self::delete`].
    pub(crate) fn run_detached(&self, name: &str) -> Result<()> {
        // The container keeps its parent's output open: it must not be a pipe that somebody waits for.
        let mut command = self.command();
        command.arg("run").arg("--detach").arg("--bundle").arg(&self.bundle).arg(name);
        let status = command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        anyhow::ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }

    pub(crate) fn exec(&self, name: &str, program: &str) -> Result<Duration> {
        time(self.command().arg("exec").arg(name).arg(program))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        output(self.command().arg("delete").arg("--force").arg(name)).map(drop)
    }
}
