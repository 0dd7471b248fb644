//! Rows about the directories of cache mounts (`RUN --mount=type=cache`).
//!
//! ```text
//! <root>/cache/mounts/<key>/      what programs have left; locked (flock) by whoever has it mounted
//! ```
//!
//! The directory is made and locked by who mounts it, and removed by who gets its lock for himself; the row tells what people call
//! it, and when it was used. A directory without a row is one that a dead process has just made, or a row that a loss of power has
//! taken: who lists directories finds it all the same.

use oci::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::{count, stored};
use crate::{Durability, Result, State, nanoseconds, timestamp};

/// What is known of a cache mount.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheMount {
    /// The name of its directory: 64 hexadecimal digits, and `-<n>` after them for all but the first of a private one.
    pub key: String,
    /// What its steps call it, which may be anything.
    pub name: String,
    /// Bytes, when it was last measured.
    pub size: u64,
    /// When it was first used.
    pub made: Timestamp,
    /// When it was last used.
    pub used: Timestamp,
    /// How often it was.
    pub uses: u64,
}

impl State {
    /// Notes that a cache mount is used. To be called before its directory is made, by who is about to mount it.
    pub fn use_cache_mount(&self, key: &str, name: &str) -> Result<()> {
        self.atomically(Durability::Process, || {
            self.query("note the use of a cache mount", |connection| {
                connection
                    .prepare_cached(
                        "INSERT INTO cache_mounts (key, name, size, made, used, uses) VALUES (?1, ?2, 0, ?3, ?3, 1)
                         ON CONFLICT (key) DO UPDATE SET name = excluded.name, used = excluded.used, uses = uses + 1",
                    )?
                    .execute(params![key, name, nanoseconds(crate::now())])
                    .map(drop)
            })
        })
    }

    /// Notes how large a cache mount is after a use.
    pub fn measure_cache_mount(&self, key: &str, size: u64) -> Result<()> {
        self.atomically(Durability::Process, || {
            self.query("note the size of a cache mount", |connection| {
                connection
                    .prepare_cached("UPDATE cache_mounts SET size = ?2, used = ?3 WHERE key = ?1")?
                    .execute(params![key, stored(size), nanoseconds(crate::now())])
                    .map(drop)
            })
        })
    }

    /// One cache mount.
    pub fn cache_mount(&self, key: &str) -> Result<Option<CacheMount>> {
        self.query("look for a cache mount", |connection| {
            connection
                .prepare_cached("SELECT key, name, size, made, used, uses FROM cache_mounts WHERE key = ?1")?
                .query_row([key], read)
                .optional()
        })
    }

    /// Every cache mount, the one that was used last first.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMount>> {
        self.query("list the cache mounts", |connection| {
            connection
                .prepare_cached(
                    "SELECT key, name, size, made, used, uses FROM cache_mounts ORDER BY used DESC, key",
                )?
                .query_map([], read)?
                .collect()
        })
    }

    /// Forgets a cache mount, whose directory is gone; tells whether it was known.
    pub fn remove_cache_mount(&self, key: &str) -> Result<bool> {
        self.freeing(|| {
            self.atomically(Durability::Process, || {
                self.query("forget a cache mount", |connection| {
                    connection
                        .prepare_cached("DELETE FROM cache_mounts WHERE key = ?1")?
                        .execute([key])
                        .map(|removed| removed != 0)
                })
            })
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<CacheMount> {
    Ok(CacheMount {
        key: row.get(0)?,
        name: row.get(1)?,
        size: count(row.get(2)?),
        made: timestamp(row.get(3)?),
        used: timestamp(row.get(4)?),
        uses: count(row.get(5)?),
    })
}
