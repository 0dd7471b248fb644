//! Whose run folder it is, and which run folder a root has.
//!
//! What lies in a run folder without a record is ended and removed: two roots that share one would each take what runs
//! for the other for an orphan. So the folder has a link to the root of whoever was there first, and no other root is
//! opened with it.
//!
//! A container whose run directory lies elsewhere looks as if it were stopped, and would be started twice, or removed while it
//! runs. So the root has a link to its run folder too. It moves to another folder once nothing is left in the first:
//!
//! | lock | shared | alone |
//! |---|---|---|
//! | `containers/` | whoever works on the root, as long as it does | the move, which never waits for it |

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::file;
use oci::ContainerId;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, readlink, rename, statat, symlink, unlink,
};
use rustix::io::Errno;

use crate::{Error, Result};

/// The link in the run folder.
const OWNER: &str = "root";
/// The link in the root.
const FOLDER: &str = "run";
/// How often a move is tried, for others may be about to end, and how long each try is apart from the next.
const MOVES: (u32, Duration) = (20, Duration::from_millis(5));

/// A root and a run folder that belong together for as long as this exists.
#[derive(Debug)]
pub(crate) struct Territory {
    _shared: Option<OwnedFd>,
}

/// Settles `root`, whose `containers` folder is there, and `run`, which is made when missing, with each other.
pub(crate) fn settle(run: &Path, root: &Path) -> Result<Territory> {
    own_run_folder(run, root)?;
    own_root(run, root)
}

/// One that is another root's is refused.
fn own_run_folder(run: &Path, root: &Path) -> Result<()> {
    let link = run.join(OWNER);
    match symlink(root, &link) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => return refuse_strangers(run, root, &link),
        Err(_) => {}
    }
    file::create_dirs(run, 0o700)
        .map_err(|source| Error::File { action: "make the engine's directories", source })?;
    match symlink(root, &link) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => refuse_strangers(run, root, &link),
        // What follows says better what is wrong with the folder.
        Err(_) => Ok(()),
    }
}

fn refuse_strangers(run: &Path, root: &Path, link: &Path) -> Result<()> {
    let Some(owner) = target(link) else { return Ok(()) };
    if owner == root {
        return Ok(());
    }
    match (place(&owner), place(root)) {
        (Ok(theirs), Ok(ours)) if theirs != ours => {
            Err(Error::RunFolderTaken { run: run.to_owned(), root: owner })
        }
        // The same by another name.
        (Ok(_), _) => Ok(()),
        // Gone, together with everything in it.
        (Err(_), _) => {
            // Whoever is quicker has it; the next command looks again.
            let _taken = unlink(link).and_then(|()| symlink(root, link));
            Ok(())
        }
    }
}

/// A root whose containers run from another folder is refused.
fn own_root(run: &Path, root: &Path) -> Result<Territory> {
    let link = root.join(FOLDER);
    let containers = root.join("containers");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Where nothing can be locked or linked, what follows says better what is wrong with the root.
    let Ok(lock) = rustix::fs::open(&containers, flags, Mode::empty()) else {
        return Ok(Territory { _shared: None });
    };
    let (tries, pause) = MOVES;
    for _ in 0..tries {
        if flock(&lock, FlockOperation::LockShared).is_err() {
            return Ok(Territory { _shared: None });
        }
        let folder = match target(&link) {
            Some(folder) => folder,
            None => match symlink(run, &link) {
                Err(Errno::EXIST) => continue,
                Ok(()) | Err(_) => run.to_owned(),
            },
        };
        if folder == run || is_same_place(&folder, run) {
            return Ok(Territory { _shared: Some(lock) });
        }
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && !has_containers(&folder, root) {
            move_to(run, &link);
        } else {
            std::thread::sleep(pause);
        }
    }
    Err(Error::RootTaken { root: root.to_owned(), run: target(&link).unwrap_or_default() })
}

/// Whether a container of `root` runs from `folder`, or has died there and nobody has cleaned up after it.
fn has_containers(folder: &Path, root: &Path) -> bool {
    if !target(&folder.join(OWNER)).is_some_and(|owner| is_same_place(&owner, root)) {
        return false;
    }
    let Ok(entries) = folder.read_dir() else { return false };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_str().is_some_and(|name| name.parse::<ContainerId>().is_ok()))
}

/// Alone with the root. What fails is seen by who looks at the link again.
fn move_to(run: &Path, link: &Path) {
    let fresh = link.with_extension("new");
    let _leftover = unlink(&fresh);
    let _moved = symlink(run, &fresh).and_then(|()| rename(&fresh, link));
}

fn target(link: &Path) -> Option<PathBuf> {
    let target = readlink(link, Vec::new()).ok()?;
    Some(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

fn is_same_place(one: &Path, other: &Path) -> bool {
    place(one).is_ok_and(|one| place(other) == Ok(one))
}

fn place(path: &Path) -> std::result::Result<(u64, u64), Errno> {
    statat(CWD, path, AtFlags::empty()).map(|stat| (stat.st_dev, stat.st_ino))
}
