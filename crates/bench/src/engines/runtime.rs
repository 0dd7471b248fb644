//! Bare OCI runtimes on a prepared bundle.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::apart::Apart;
use crate::measure::{output, time};

/// crun or runc.
pub(crate) struct Runtime {
    program: &'static str,
    bundle: PathBuf,
    state: PathBuf,
    apart: Apart,
}

impl Runtime {
    pub(crate) fn new(program: &'static str, bundle: &Path) -> Result<Self> {
        let apart = Apart::new()?;
        let state = super::run_folder(program)?;
        Ok(Self { program, bundle: bundle.to_owned(), state, apart })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(&self.state);
        command
    }

    /// `run` of the bundle's program to its end.
    pub(crate) fn run(&self, name: &str) -> Result<Duration> {
        let mut command = self.command();
        command.arg("run").arg("--bundle").arg(&self.bundle).arg(name);
        self.apart.run(move || time(&mut command))
    }

    /// `run --detach` of the bundle's program, which stays until [`Self::delete`].
    pub(crate) fn run_detached(&self, name: &str) -> Result<()> {
        // The container keeps its parent's output open: it must not be a pipe that somebody waits for.
        let mut command = self.command();
        command.arg("run").arg("--detach").arg("--bundle").arg(&self.bundle).arg(name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.apart.run(move || {
            let status = command.status()?;
            ensure!(status.success(), "{command:?}: {status}");
            Ok(())
        })
    }

    pub(crate) fn exec(&self, name: &str, program: &str) -> Result<Duration> {
        let mut command = self.command();
        command.arg("exec").arg(name).arg(program);
        self.apart.run(move || time(&mut command))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let mut command = self.command();
        command.arg("delete").arg("--force").arg(name);
        self.apart.run(move || output(&mut command).map(drop))
    }
}
