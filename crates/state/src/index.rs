//! The database's index, kept in being between commands.
//!
//! SQLite's index of the log (`state.db-shm`) is shared memory of those who have the database open. Whoever opens it while
//! nobody else has it cuts the index off and makes it anew, for which it reads the whole log and needs some free space:
//! on a full disk, even a command that only looks would fail. A monitor that counts as one of them, without a
//! connection and its memory, spares every command both for as long as its container runs.
//!
//! Each of them shares a lock on one byte of the index (SQLite calls it the dead man's switch). Only somebody who finds it
//! shared may join: an index that nobody had may be an old one, from before a loss of power.

use std::os::fd::OwnedFd;
use std::path::Path;

use linux::lock;
use rustix::fs::{Mode, OFlags};

use crate::State;

/// `UNIX_SHM_DMS` of SQLite's `os_unix.c`: it lies behind the locks of the log, which end at byte 128.
const SWITCH: i64 = 128;

/// A part in keeping the index; dropping it ends that.
#[derive(Debug)]
pub struct IndexShare {
    _index: OwnedFd,
}

impl State {
    /// Takes part in keeping the index of `database`, if somebody has it open just now. There is no harm where that fails.
    pub fn share_index(database: &Path) -> Option<IndexShare> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let index = rustix::fs::open(database.with_extension("db-shm"), flags, Mode::empty()).ok()?;
        let joined = lock::join_shared_byte(&index, SWITCH).unwrap_or(false);
        joined.then_some(IndexShare { _index: index })
    }
}
