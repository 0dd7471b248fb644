//! A writable layer that the file system counts, as a project of its own, and keeps from growing.
//!
//! The directories themselves say which project they are in: whoever removes them finds in them what limit is to go too, and
//! no limit is left without a directory.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use linux::file::{self, Named, Result};
use linux::project::{project_of, set_limit, set_project, usage};
use rustix::fs::{AtFlags, CWD, fstatvfs, unlinkat};
use rustix::io::Errno;

/// Ours have this bit; administrators and other engines count from 1.
const OURS: u32 = 0x8000_0000;
/// The number that means none.
const NONE: u32 = u32::MAX;
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
