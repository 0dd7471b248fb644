//! The contestants: how each is set up, asked and cleaned away.

mod docker;
mod podman;
mod runtime;
mod skiff;

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

pub(crate) use docker::Docker;
pub(crate) use podman::Podman;
pub(crate) use runtime::Runtime;
pub(crate) use skiff::Skiff;

use crate::measure::{output, time};

/// An engine with Docker's commands.
pub(crate) trait Engine {
    /// As it is shown.
    fn name(&self) -> &'static str;

    /// The program with its global flags.
    fn command(&self) -> Command;

    /// `NAME ARGUMENTS…`, timed.
    fn time(&self, arguments: &[&str]) -> Result<Duration> {
        time(self.command().args(arguments))
    }

    /// `NAME ARGUMENTS…`, for what it prints.
    fn output(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments))
    }

    /// Makes an image of a root file system.
    fn import(&self, rootfs: &std::path::Path, name: &str) -> Result<()> {
        output(self.command().arg("import").arg(rootfs).arg(name)).map(drop)
    }
}
