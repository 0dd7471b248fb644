//! Skiff itself, as built beside this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Engine;

/// Skiff on a root and a run directory of its own.
pub(crate) struct Skiff {
    program: PathBuf,
    root: PathBuf,
    run: PathBuf,
}

impl Skiff {
    /// Installs the programs from `binaries` below `folder`, as `make install` does.
    pub(crate) fn new(binaries: &Path, folder: &Path) -> Result<Self> {
        let installed = folder.join("bin");
        std::fs::create_dir(&installed)?;
        for program in ["skiff", "skiff-monitor"] {
            let from = binaries.join(program);
            std::fs::copy(&from, installed.join(program))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        let run = super::run_folder("skiff")?;
        Ok(Self { program: installed.join("skiff"), root: folder.join("skiff"), run })
    }

    /// A second Skiff, with nothing in it.
    pub(crate) fn empty(&self, name: &str) -> Self {
        let run = super::run_root().join(name);
        Self { program: self.program.clone(), root: self.root.with_file_name(name), run }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn run_folder(&self) -> &Path {
        &self.run
    }

    /// Removes every container and image, then the folders.
    pub(crate) fn remove_all(&self) -> Result<()> {
        let containers = self.output(&["ps", "-aq"])?;
        for some in containers.lines().collect::<Vec<_>>().chunks(50) {
            self.output(&[&["rm", "-f"], some].concat())?;
        }
        self.output(&["builder", "prune", "-af"])?;
        // Layers are immutable files: only Skiff itself removes them.
        self.output(&["image", "prune", "-af"])?;
        for folder in [&self.root, &self.run] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }
}

impl Engine for Skiff {
    fn name(&self) -> &'static str {
        "skiff"
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).arg("--run").arg(&self.run);
        command
    }
}
