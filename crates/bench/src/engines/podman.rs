//! Debian's Podman.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Apart, Engine};

/// Podman on storage of its own.
pub(crate) struct Podman {
    folder: PathBuf,
    run: PathBuf,
    apart: Apart,
}

impl Podman {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("podman");
        std::fs::create_dir(&folder)?;
        // Its default of a million open files is more than an unprivileged hard limit allows on some hosts.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
        std::fs::write(folder.join("containers.conf"), settings)?;
        Ok(Self { folder, run: super::run_folder("podman")?, apart: Apart::new()? })
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

    fn apart(&self) -> Option<&Apart> {
        Some(&self.apart)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.arg("--root").arg(self.folder.join("root")).arg("--runroot").arg(&self.run);
        command.arg("--tmpdir").arg(self.run.join("tmp"));
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command
    }
}
