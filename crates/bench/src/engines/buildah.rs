//! Debian's buildah, on storage of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Apart, Engine};

/// See the head of the file.
pub(crate) struct Buildah {
    folder: PathBuf,
    run: PathBuf,
    apart: Apart,
}

impl Buildah {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("buildah");
        std::fs::create_dir_all(&folder)?;
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
        std::fs::write(folder.join("containers.conf"), settings)?;
        Ok(Self { folder, run: super::run_folder("buildah")?, apart: Apart::new()? })
    }

    pub(crate) fn remove_all(&self) -> Result<()> {
        self.output(&["rm", "-a"])?;
        self.output(&["rmi", "-af"])?;
        Ok(())
    }
}

impl Engine for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn apart(&self) -> Option<&Apart> {
        Some(&self.apart)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("buildah");
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        command.arg("--root").arg(self.folder.join("root")).arg("--runroot").arg(&self.run);
        command
    }

    fn import(&self, rootfs: &Path, name: &str) -> Result<()> {
        let work = self.output(&["from", "scratch"])?;
        let rootfs = rootfs.to_str().unwrap_or_default();
        self.output(&["add", "-q", &work, rootfs, "/"])?;
        self.output(&["commit", "-q", &work, name])?;
        self.output(&["rm", &work]).map(drop)
    }
}
