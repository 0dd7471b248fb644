//! Where programs of builds run, and what is left there by builds whose monitors were killed with them: every build looks when it
//! begins, and so does whoever looks after all containers.

use std::path::{Path, PathBuf};

use linux::file;
use oci::ContainerId;

use super::error::RunError;
use super::request::refused;
use crate::{Engine, Result, files};

/// Beside the run directories of containers: those who look for containers without a record do not look here.
const FOLDER: &str = "builds";

impl Engine {
    /// The run directory of a program; what it lies in is made when missing.
    pub(super) fn build_run_directory(&self, id: &ContainerId) -> Result<PathBuf> {
        let folder = self.config.run.join(FOLDER);
        let failed = |source| refused(RunError::File { action: "make the folder of running builds", source });
        file::create_dir(&folder, 0o700).map_err(failed)?;
        Ok(folder.join(id.as_str()))
    }

    /// Whether a program of a build is over, by its container's id. One that runs without a monitor is ended.
    pub(in crate::build) fn has_ended(&self, id: &ContainerId) -> Result<bool> {
        let directory = self.config.run.join(FOLDER).join(id.as_str());
        end_lost(&directory, &planned_group(id)).map_err(|source| {
            refused(RunError::Monitor { action: "end a lost program of a build", source })
        })?;
        Ok(!directory.exists())
    }

    /// Whether a program of a build runs, for all that can be seen of it.
    pub(in crate::build) fn runs(&self, id: &ContainerId) -> bool {
        self.config.run.join(FOLDER).join(id.as_str()).exists()
    }

    /// Ends what runs without a monitor: both it and whoever built were killed.
    pub(crate) fn end_lost_builds(&self) {
        let folder = self.config.run.join(FOLDER);
        for id in files::list_ids(&folder).unwrap_or_default() {
            let directory = folder.join(id.as_str());
            if let Err(error) = end_lost(&directory, &planned_group(&id)) {
                tracing::warn!(path = %directory.display(), %error, "a lost program of a build cannot be ended");
            }
        }
    }
}

/// The control group of a program whose monitor died before it wrote one down: monitors do so before they make it, so this is where one
/// of another version would be.
pub(super) fn planned_group(id: &ContainerId) -> PathBuf {
    Path::new("/skiff").join(id.as_str())
}

/// Kills what a monitor has left that died; nothing where one lives.
pub(super) fn end_lost(run_dir: &Path, group: &Path) -> monitor::Result<()> {
    match monitor::reap_lost(run_dir, Some(group))? {
        Some(reaped) => reaped.recorded(),
        None => Ok(()),
    }
}
