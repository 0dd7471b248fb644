//! Whose run folder it is.
//!
//! What lies in a run folder without a record is ended and removed: two roots that share one would each take what runs
//! for the other for an orphan. So the folder has a link to the root of whoever was there first, and no other root is
//! opened with it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use linux::file;
use rustix::fs::{AtFlags, CWD, readlink, statat, symlink};
use rustix::io::Errno;

use crate::{Error, Result};

/// The link in the run folder.
const OWNER: &str = "root";

/// Makes the run folder when it is missing, as `root`'s; one that is another root's is refused.
pub(crate) fn settle(run: &Path, root: &Path) -> Result<()> {
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
    let Ok(owner) = readlink(link, Vec::new()) else { return Ok(()) };
    let owner = PathBuf::from(OsString::from_vec(owner.into_bytes()));
    if owner == root {
        return Ok(());
    }
    let place = |path: &Path| statat(CWD, path, AtFlags::empty()).map(|stat| (stat.st_dev, stat.st_ino));
    match (place(&owner), place(root)) {
        (Ok(theirs), Ok(ours)) if theirs != ours => {
            Err(Error::RunFolderTaken { run: run.to_owned(), root: owner })
        }
        // The same by another name.
        (Ok(_), _) => Ok(()),
        // Gone, together with everything in it.
        (Err(_), _) => {
            // Whoever is quicker has it; the next command looks again.
            let _taken = rustix::fs::unlink(link).and_then(|()| symlink(root, link));
            Ok(())
        }
    }
}
