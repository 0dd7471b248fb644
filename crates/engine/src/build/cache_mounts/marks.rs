//! Who has a cache mounted, written down beside it.
//!
//! A mark is made before the program's monitor is told to start it, and removed when its end was told. What stays belongs to somebody
//! who was killed: its program may run as long as its run directory is there. A monitor that finds its caller dead once it has made
//! that directory starts nothing ([`monitor::MonitorPlan::ends_with_caller`]), so who finds a mark without one need not wait.
//!
//! Marks of the dead are removed under the lock that is its holder's alone: nobody who lives has made one that is not under a lock.

use std::path::{Path, PathBuf};

use linux::file;
use oci::ContainerId;

use super::failed;
use crate::{Engine, Result};

const FOLDER: &str = "users";
/// What the mark of one has at its end that nobody may share the cache with.
const ALONE: &str = "-alone";

/// One that is ours. Dropping it leaves it to others.
pub(super) struct Mark(PathBuf);

impl Mark {
    /// Says that a program is about to have the cache in `folder`.
    pub(super) fn leave(folder: &Path, program: &ContainerId, alone: bool) -> file::Result<Mark> {
        let users = folder.join(FOLDER);
        file::create_dir(&users, 0o700)?;
        let path = users.join(format!("{program}{}", if alone { ALONE } else { "" }));
        file::create_new(&path, 0o600)?;
        Ok(Mark(path))
    }

    /// The program has ended.
    pub(super) fn remove(self) {
        if let Err(error) = file::remove_if_exists(&self.0) {
            // Whoever wants the cache alone finds that nothing runs.
            tracing::debug!(path = %self.0.display(), %error, "a mark is left");
        }
    }
}

/// Whether nobody runs any more whose mark is in `folder`: of all, or of those alone that nobody may share it with. What runs without
/// a monitor is ended. With `all` the lock is the caller's alone, and marks of the dead are removed.
pub(super) fn have_ended(engine: &Engine, folder: &Path, all: bool) -> Result<bool> {
    let mut have = true;
    for Found { path, program, alone } in marks(folder) {
        if !all && !alone {
            continue;
        }
        if engine.has_ended(&program)? {
            if all {
                file::remove_if_exists(&path).map_err(failed)?;
            }
        } else {
            have = false;
        }
    }
    Ok(have)
}

/// Whether anybody runs whose mark is in `folder`.
pub(super) fn has_any(engine: &Engine, folder: &Path) -> bool {
    marks(folder).any(|mark| engine.runs(&mark.program))
}

/// A mark, and what its name says.
struct Found {
    path: PathBuf,
    program: ContainerId,
    alone: bool,
}

fn marks(folder: &Path) -> impl Iterator<Item = Found> {
    let entries = std::fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let program = name.strip_suffix(ALONE);
        let alone = program.is_some();
        Some(Found { path: entry.path(), program: program.unwrap_or(&name).parse().ok()?, alone })
    })
}
