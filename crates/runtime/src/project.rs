//! A writable layer that the file system counts, as a project of its own, and keeps from growing.
//!
//! The directories themselves say which project they are in: whoever removes them finds in them what limit is to go too, and
//! no limit is left without a directory.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use linux::file::{self, Named, Result};
use linux::project::{project_of, set_limit, set_project, usage};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstatvfs, openat, unlinkat};
use rustix::io::Errno;

use crate::error::failed;
use crate::{InitFailure, Step};

/// Ours have this bit; administrators and other engines count from 1.
const OURS: u32 = 0x8000_0000;
/// The number that means none.
const NONE: u32 = u32::MAX;
/// Bytes for a directory of overlayfs's; xfs makes room for 64 inodes at once.
const ROOM: u64 = 1 << 20;
/// How many numbers may be somebody else's.
const ATTEMPTS: u32 = 64;

/// Makes `upper` and `work` in `folder`, limited together to `bytes`, in a project whose number is `wanted` or near. False, and
/// nothing is left, where the file system does not limit projects.
pub fn limit(folder: &Path, bytes: u64, wanted: u32) -> Result<bool> {
    let (upper, work, half_done) = (folder.join("upper"), folder.join("work"), folder.join("work.new"));
    let opened = file::open(folder)?;
    // Whoever counts what lies here already is not to miss a part of it.
    if !matches!(project_of(&opened), Ok(0)) || usage(&opened, wanted | OURS).is_err() {
        return Ok(false);
    }
    file::create_dir(&upper, 0o755)?;
    file::set_mode(&upper, 0o755)?;
    let directory = file::open(&upper)?;
    let Some(project) = enter(&directory, wanted, bytes).named("limit", &upper)? else {
        let _ = unlinkat(CWD, &upper, AtFlags::REMOVEDIR);
        return Ok(false);
    };
    file::create_dir(&half_done, 0o700)?;
    set_project(file::open(&half_done)?, project).named("limit", &half_done)?;
    // Its name says that all is done.
    file::rename(&half_done, &work)?;
    Ok(true)
}

/// Takes back the limit of the layer in `folder`, if it has one.
pub fn release(folder: &Path) {
    let Ok(directory) = file::open(&folder.join("upper")) else { return };
    if let Some(project) = project_of(&directory).ok().filter(|project| is_ours(*project)) {
        // What cannot be taken back is a number that nobody uses.
        let _ = set_limit(&directory, project, 0);
    }
}

/// Room beyond its limit for a layer that is full: overlayfs makes a directory in it each time it is mounted, when nothing
/// of the container runs. Dropping it takes it back.
pub(crate) struct Room {
    directory: File,
    project: u32,
    bytes: u64,
}

impl Room {
    /// In the layer of `upper`, which may have `bytes`.
    pub(crate) fn make(upper: &Path, bytes: u64) -> std::result::Result<Room, InitFailure> {
        let at = |errno| failed(Step::Root, format!("the limit of {}", upper.display()))(errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(openat(CWD, upper, flags, Mode::empty()).map_err(at)?);
        let project = project_of(&directory).map_err(at)?;
        let room = Room { directory, project, bytes };
        room.limit(bytes + ROOM).map_err(at)?;
        Ok(room)
    }

    /// Takes it back, and makes sure that the limit holds.
    pub(crate) fn take_back(self) -> std::result::Result<(), InitFailure> {
        let at = |errno| failed(Step::Root, "the limit of the writable layer")(errno);
        self.limit(self.bytes).map_err(at)?;
        if is_enforced(&self.directory, self.bytes).map_err(at)? {
            return Ok(());
        }
        let why = "its file system no longer limits projects: mount it with prjquota";
        Err(InitFailure::because(Step::Root, "the limit of the writable layer", why))
    }

    fn limit(&self, bytes: u64) -> rustix::io::Result<()> {
        if is_ours(self.project) { set_limit(&self.directory, self.project, bytes) } else { Err(Errno::SRCH) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What matters was done, or the start has failed.
        let _ = self.limit(self.bytes);
    }
}

fn is_ours(project: u32) -> bool {
    project & OURS != 0
}

/// Gives a directory a project of its own, with a limit. None where the limit would not hold.
fn enter(directory: &File, wanted: u32, bytes: u64) -> rustix::io::Result<Option<u32>> {
    let project = match project_of(directory)? {
        // Somebody was killed here before us.
        project if is_ours(project) => project,
        _ => free_project(directory, wanted)?,
    };
    let entered = set_project(directory, project).and_then(|()| set_limit(directory, project, bytes));
    if entered.is_ok() && is_enforced(directory, bytes)? {
        return Ok(Some(project));
    }
    let _ = set_limit(directory, project, 0);
    match entered {
        // It counts, but limits nothing.
        Ok(()) | Err(Errno::SRCH | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn free_project(directory: impl AsFd, wanted: u32) -> rustix::io::Result<u32> {
    for attempt in 0..ATTEMPTS {
        let project = wanted.wrapping_add(attempt) | OURS;
        let usage = usage(&directory, project)?;
        if project != NONE && (usage.limit, usage.bytes, usage.inodes) == (0, 0, 0) {
            return Ok(project);
        }
    }
    Err(Errno::NOSPC)
}

/// Whether the limit of a directory's project holds: then that is how large its file system says that it is there.
fn is_enforced(directory: &File, bytes: u64) -> rustix::io::Result<bool> {
    let found = fstatvfs(directory)?;
    Ok(found.f_blocks.saturating_mul(found.f_frsize) <= bytes.next_multiple_of(found.f_frsize.max(1)))
}
