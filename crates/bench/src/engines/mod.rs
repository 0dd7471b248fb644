//! The contestants: how each is set up, asked and cleaned away.

mod apart;
mod buildah;
mod docker;
mod podman;
mod registry;
mod runtime;
mod skiff;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use apart::Apart;
pub(crate) use buildah::Buildah;
pub(crate) use docker::Docker;
pub(crate) use podman::Podman;
pub(crate) use registry::Registry;
pub(crate) use runtime::Runtime;
pub(crate) use skiff::Skiff;

use crate::measure::{output, time, time_at_once};

/// Where the engines of this bench keep what does not outlive a reboot.
pub(crate) fn run_root() -> PathBuf {
    PathBuf::from(format!("/dev/shm/skiff-bench-{}", std::process::id()))
}

/// One engine's folder there. It lies in memory, as `/run` does on every distribution and not on every test machine.
fn run_folder(name: &str) -> Result<PathBuf> {
    let folder = run_root().join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

/// An engine with Docker's commands.
pub(crate) trait Engine {
    /// As it is shown.
    fn name(&self) -> &'static str;

    /// The program with its global flags.
    fn command(&self) -> Command;

    /// Where its commands are started, if not in the caller.
    fn apart(&self) -> Option<&Apart> {
        None
    }

    /// `NAME ARGUMENTS…`, timed.
    fn time(&self, arguments: &[&str]) -> Result<Duration> {
        let mut command = self.command();
        command.args(arguments);
        match self.apart() {
            Some(apart) => apart.run(move || time(&mut command)),
            None => time(&mut command),
        }
    }

    /// `NAME ARGUMENTS…` for each of `arguments`, at once, timed to the end of the last.
    fn time_at_once(&self, arguments: &[Vec<&str>]) -> Result<Duration> {
        let command = |words: &Vec<&str>| {
            let mut command = self.command();
            command.args(words);
            command
        };
        let mut commands: Vec<Command> = arguments.iter().map(command).collect();
        match self.apart() {
            Some(apart) => apart.run(move || time_at_once(&mut commands)),
            None => time_at_once(&mut commands),
        }
    }

    /// `NAME ARGUMENTS…`, for what it prints.
    fn output(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command();
        command.args(arguments);
        match self.apart() {
            Some(apart) => apart.run(move || output(&mut command)),
            None => output(&mut command),
        }
    }

    /// Makes an image of a root file system.
    fn import(&self, rootfs: &std::path::Path, name: &str) -> Result<()> {
        let rootfs = rootfs.to_str().context("a path that is not UTF-8")?;
        self.output(&["import", rootfs, name]).map(drop)
    }
}
