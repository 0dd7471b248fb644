//! Volumes of the container's own: filled from its image once, before its program first runs.
//!
//! ```text
//! <root>/containers/<id>/volumes.new/<n>   being filled; whoever dies here leaves it to the next start, which begins anew
//!                  ─► volumes/<n>          renamed when init is parked: all of it is there, and no program has run
//! ```

use std::path::{Path, PathBuf};

use linux::file;
use runtime::LaunchPlan;
use runtime::plan::MountKind;
use rustix::fs::{Access, access};

use crate::error::{Error, Result};

/// Volumes that are being filled.
#[derive(Debug)]
pub(crate) struct Filling {
    made: PathBuf,
    whole: PathBuf,
}

/// Makes the volumes of `plan` that are not there yet, and tells the plan to fill them. Takes the container's seat, since
/// only one may.
pub(crate) fn prepare(plan: &mut LaunchPlan, container_dir: &Path) -> Result<Option<Filling>> {
    let sources: Vec<(&mut PathBuf, &mut bool)> = (plan.mounts.iter_mut())
        .filter_map(|mount| match &mut mount.kind {
            MountKind::Volume { source, fill } => Some((source, fill)),
            MountKind::New { .. }
            | MountKind::Bind { .. }
            | MountKind::Image { .. }
            | MountKind::File { .. }
            | MountKind::Cgroup => None,
        })
        .collect();
    if sources.is_empty() {
        return Ok(None);
    }
    let (whole, made) = (container_dir.join("volumes"), container_dir.join("volumes.new"));
    if access(&whole, Access::EXISTS).is_ok() {
        return Ok(None);
    }
    runtime::remove_tree(&made, &plan.id_maps).map_err(Error::File)?;
    make_directory(&made, 0o700).map_err(Error::File)?;
    for (source, fill) in sources {
        let path = made.join(source.file_name().unwrap_or_default());
        make_directory(&path, 0o755).map_err(Error::File)?;
        (*source, *fill) = (path, true);
    }
    Ok(Some(Filling { made, whole }))
}

impl Filling {
    /// Everything has been copied, and the program is about to run.
    pub(crate) fn finish(self) -> Result<()> {
        file::rename(&self.made, &self.whole).map_err(Error::File)
    }
}

/// With this mode, whatever the caller's mask.
fn make_directory(path: &Path, mode: u32) -> file::Result<()> {
    file::create_dir(path, mode)?;
    file::set_mode(path, mode)
}
