//! Space kept back for the moment in which there is none left: to remove something takes some, too.
//!
//! ```text
//! <root>/reserve     made with the database; given up when a removal, or opening the database, finds the disk full;
//!                    made again when something has been removed
//! ```

use std::path::{Path, PathBuf};

use linux::file::{self, Named};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::{Error, Result, State};

/// Bytes: the database's log between two checkpoints, its index, and what a journal of the file system takes.
const SIZE: u64 = 512 << 10;

impl State {
    /// Does what frees space in the end, with the reserve if it has to.
    pub(crate) fn freeing<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::Full { .. }) => {
                give_up_reserve(self.path())?;
                work()
            }
            done => done,
        }
    }

    /// Keeps space back again, once something has been removed. Where there is not enough, the next one tries it.
    pub fn keep_reserve(&self) {
        let path = beside(self.path());
        if rustix::fs::access(&path, rustix::fs::Access::EXISTS).is_err() {
            drop(make(&path));
        }
    }
}

/// Lets go of the space that is kept back for `database`. Somebody else may just have done so.
pub(crate) fn give_up_reserve(database: &Path) -> Result<()> {
    let given_up = file::remove_if_exists(&beside(database));
    given_up.map(drop).map_err(|source| Error::File { action: "give up the reserve", source })
}

fn beside(database: &Path) -> PathBuf {
    database.with_file_name("reserve")
}

/// Makes the file of a reserve under another name first, so that one that is there is whole.
fn make(path: &Path) -> file::Result<()> {
    let unnamed = path.with_extension("new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let made = rustix::fs::open(&unnamed, flags, Mode::RUSR | Mode::WUSR).named("make", &unnamed)?;
    match rustix::fs::fallocate(&made, FallocateFlags::empty(), 0, SIZE) {
        Ok(()) => file::rename(&unnamed, path),
        // A file system that cannot set space aside, or that has none.
        Err(errno) => {
            file::remove_if_exists(&unnamed)?;
            Err(errno).named("reserve space in", &unnamed)
        }
    }
}
