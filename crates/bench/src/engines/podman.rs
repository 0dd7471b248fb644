//! Debian's Podman.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Engine;

/// Podman on storage of its own.
pub(crate) struct Podman {
    folder: PathBuf,
}

impl Podman {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.join("podman") })
    }

    pub(crate) fn remove_all(&self) -> Result<()> {
        self.output(&["rm", "-af", "-t", "0"])?;
        self.output(&["rmi", "-af"])?;
        Ok(())
    }
}

impl Engine for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.folder.join("root")).arg("--runroot").arg(self.folder.join("run"));
        command.arg("--tmpdir").arg(self.folder.join("tmp"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    }
}
