//! What the files of contexts hold, so that nothing is read again that has not changed.
//!
//! ```text
//! context ──► parts 0 … n-1 ──► entries of 72 bytes, by device and inode:
//!                               device, inode, size, modified, changed (8 bytes each, little endian), digest (32)
//! ```
//!
//! An entry lies in the part that its inode and device say, whatever its directory is: a file that has changed costs the writing
//! of one part of some kilobytes, and 50,000 files are read by one query. There are as many parts as make each of them some
//! [`PER_PART`] entries; that number changes when it is off by a factor of four, and then all is written anew.
//!
//! What must hold: an entry is believed only for a file whose size, time of modification and time of change are the same as when it
//! was read. A file that is written twice within one tick of the file system's clock has the same times both times, so what had
//! changed less than [`SETTLED`] before it was read is not kept: it is read again by the next build.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use oci::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{count, stored};
use crate::{Durability, Result, State, nanoseconds, timestamp};

/// Nanoseconds by which a file must have been left alone before it was read.
const SETTLED: i64 = 2_000_000_000;
/// Entries in a part, as they should be.
const PER_PART: usize = 256;
/// The most parts of a context: a part's number ends with its place in 20 bits.
const PARTS: usize = 1 << 16;
/// Bytes of an entry.
const ENTRY: usize = 72;
/// Bytes of its digest.
const DIGEST: usize = 32;
/// The most contexts that are remembered: of each temporary directory that is built from, there is one.
const CONTEXTS: i64 = 128;
/// Nanoseconds for which a context counts as just used: a build that has found everything writes nothing.
const JUST: i64 = 3_600_000_000_000;

/// What tells one state of a file from another without reading it. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileStamp {
    /// The device it is on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When its content was last modified, as anybody may say.
    pub modified: i64,
    /// When anything of it was last changed, as the kernel says.
    pub changed: i64,
}

impl FileStamp {
    /// In which of so many parts it lies.
    fn part(&self, parts: usize) -> usize {
        // Inodes of one directory lie next to each other: mixed, they spread evenly (a step of splitmix64).
        let mixed = (self.inode ^ self.device.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> 32).unwrap_or(0) % parts.max(1)
    }

    fn of(entry: &[u8]) -> Option<FileStamp> {
        let field = |at: usize| Some(u64::from_le_bytes(entry.get(at * 8..)?.first_chunk().copied()?));
        Some(FileStamp {
            device: field(0)?,
            inode: field(1)?,
            size: field(2)?,
            modified: field(3)?.cast_signed(),
            changed: field(4)?.cast_signed(),
        })
    }

    fn write(&self, entries: &mut Vec<u8>) {
        let times = [self.modified.cast_unsigned(), self.changed.cast_unsigned()];
        for field in [self.device, self.inode, self.size].into_iter().chain(times) {
            entries.extend_from_slice(&field.to_le_bytes());
        }
    }
}

/// What a walk has seen of files, by device and inode: none of those that had just changed.
type Seen = BTreeMap<(u64, u64), Option<(FileStamp, [u8; DIGEST])>>;

/// What is known of a context's files. Any thread may ask.
#[derive(Debug)]
pub struct ContextDigests {
    path: PathBuf,
    parts: Vec<Vec<u8>>,
    /// When it was noted that it is used.
    used: i64,
    /// Whether somebody has asked for what is not known: else there is nothing to keep.
    missed: AtomicBool,
}

impl ContextDigests {
    /// The digest of the file with this stamp.
    #[must_use]
    pub fn find(&self, stamp: &FileStamp) -> Option<[u8; DIGEST]> {
        let found = self.entry(stamp);
        if found.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        found
    }

    fn entry(&self, stamp: &FileStamp) -> Option<[u8; DIGEST]> {
        let part = self.parts.get(stamp.part(self.parts.len()))?;
        let (entries, _) = part.as_chunks::<ENTRY>();
        let key = |entry: &[u8; ENTRY]| FileStamp::of(entry).map(|stamp| (stamp.device, stamp.inode));
        let at = entries.binary_search_by_key(&Some((stamp.device, stamp.inode)), key).ok()?;
        let entry = entries.get(at)?;
        (FileStamp::of(entry).as_ref() == Some(stamp)).then(|| entry.last_chunk().copied()).flatten()
    }

    /// How many files are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len() / ENTRY).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts as they should be, and which of them are not what they were, after a walk that has `seen` files.
    fn with(&self, seen: &[(FileStamp, [u8; DIGEST])], began: Timestamp) -> (Vec<Vec<u8>>, Vec<usize>) {
        let wanted = (self.len().max(seen.len()) / PER_PART).next_power_of_two().min(PARTS);
        let have = self.parts.len();
        let stays = have > 0 && (wanted / 4..=wanted.saturating_mul(4)).contains(&have);
        let number = if stays { have } else { wanted };
        let settled = nanoseconds(began).saturating_sub(SETTLED);
        let mut new = vec![Seen::new(); number];
        for (stamp, digest) in seen {
            // One that cannot be kept replaces what is known of an earlier state all the same.
            let entry = (stamp.changed < settled).then_some((*stamp, *digest));
            new[stamp.part(number)].insert((stamp.device, stamp.inode), entry);
        }
        let mut old: Vec<Vec<&[u8; ENTRY]>> = vec![Vec::new(); number];
        for entry in self.parts.iter().flat_map(|part| part.as_chunks::<ENTRY>().0) {
            if let Some(stamp) = FileStamp::of(entry) {
                old[stamp.part(number)].push(entry);
            }
        }
        let parts: Vec<Vec<u8>> = new.into_iter().zip(old).map(|(new, old)| merged(new, &old)).collect();
        let same = |at: &usize| stays && self.parts.get(*at) == parts.get(*at);
        let changed = (0..number).filter(|at| !same(at)).collect();
        (parts, changed)
    }
}

/// A part with what was seen, and what was not: a build reads what its instructions name, and another may name more. What nobody
/// has named for long goes when it is most of a part that is written anyway.
fn merged(mut new: Seen, old: &[&[u8; ENTRY]]) -> Vec<u8> {
    let seen = new.len();
    let known: Vec<(FileStamp, [u8; DIGEST])> = old
        .iter()
        .filter_map(|entry| Some((FileStamp::of(*entry)?, entry.last_chunk().copied()?)))
        .filter(|(stamp, _)| !new.contains_key(&(stamp.device, stamp.inode)))
        .collect();
    if known.len() <= seen + 2 * PER_PART {
        for (stamp, digest) in known {
            new.insert((stamp.device, stamp.inode), Some((stamp, digest)));
        }
    }
    let mut part = Vec::with_capacity(new.len() * ENTRY);
    for (stamp, digest) in new.into_values().flatten() {
        stamp.write(&mut part);
        part.extend_from_slice(&digest);
    }
    part
}

/// A context of which files are known.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownContext {
    /// Its number.
    pub number: i64,
    /// Its directory.
    pub path: PathBuf,
    /// Bytes of what is known.
    pub size: u64,
    /// Since when.
    pub made: Timestamp,
    /// When it was last used, to the hour.
    pub used: Timestamp,
    /// How often something new was learnt.
    pub uses: u64,
}

impl State {
    /// What is known of the files in the context at `path`, which is absolute and without links.
    pub fn context_digests(&self, path: &Path) -> Result<ContextDigests> {
        let found: Option<(i64, i64, i64)> = self.query("look for a context of builds", |connection| {
            connection
                .prepare_cached("SELECT number, parts, used FROM build_contexts WHERE path = ?1")?
                .query_row([path.as_os_str().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        let missed = AtomicBool::new(false);
        let mut known = ContextDigests { path: path.to_owned(), parts: Vec::new(), used: 0, missed };
        let Some((number, parts, used)) = found else { return Ok(known) };
        known.used = used;
        known.parts = vec![Vec::new(); usize::try_from(parts).unwrap_or(0).min(PARTS)];
        let (first, last) = numbers(number);
        self.query("read the digests of a context", |connection| {
            let mut rows = connection.prepare_cached(
                "SELECT number, digests FROM build_context_parts WHERE number BETWEEN ?1 AND ?2",
            )?;
            let mut rows = rows.query([first, last])?;
            while let Some(row) = rows.next()? {
                let at = usize::try_from(row.get::<_, i64>(0)? - first).unwrap_or(usize::MAX);
                if let Some(part) = known.parts.get_mut(at) {
                    *part = row.get(1)?;
                }
            }
            Ok(())
        })?;
        Ok(known)
    }

    /// Keeps what was learnt by a walk that began at `began` and has `seen` files with their digests: those that it found in `known`,
    /// and those that it did not find there and has read. Where it has found all of them, this costs nothing.
    pub fn keep_context_digests(
        &self,
        known: &ContextDigests,
        seen: &[(FileStamp, [u8; DIGEST])],
        began: Timestamp,
    ) -> Result<()> {
        let now = nanoseconds(crate::now());
        let is_noted = now.saturating_sub(known.used) < JUST;
        if is_noted && !known.missed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (parts, changed) = known.with(seen, began);
        if parts.iter().all(Vec::is_empty) && known.is_empty() || changed.is_empty() && is_noted {
            return Ok(());
        }
        self.atomically(Durability::Process, || {
            let (number, has_same_parts) = self.put_context(&known.path, &parts, now)?;
            let all: Vec<usize> = (0..parts.len()).collect();
            if !has_same_parts {
                self.remove_context_parts(number)?;
            }
            let changed = if has_same_parts { &changed } else { &all };
            for at in changed {
                self.query("keep the digests of a context", |connection| {
                    connection
                        .prepare_cached(
                            "INSERT OR REPLACE INTO build_context_parts (number, digests) VALUES (?1, ?2)",
                        )?
                        .execute(params![numbers(number).0 + i64::try_from(*at).unwrap_or(0), parts[*at]])
                })?;
            }
            self.forget_old_contexts()
        })
    }

    /// Notes a context; its number, and whether it had as many parts before: somebody else may have been here meanwhile.
    fn put_context(&self, path: &Path, parts: &[Vec<u8>], now: i64) -> Result<(i64, bool)> {
        let path = path.as_os_str().as_bytes();
        let had: Option<i64> = self.query("look for a context of builds", |connection| {
            connection
                .prepare_cached("SELECT parts FROM build_contexts WHERE path = ?1")?
                .query_row([path], |row| row.get(0))
                .optional()
        })?;
        let number = i64::try_from(parts.len()).unwrap_or(0);
        let size: usize = parts.iter().map(Vec::len).sum();
        let row = self.query("note a context of builds", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO build_contexts (path, parts, size, made, used, uses) VALUES (?1, ?2, ?3, ?4, ?4, 1)
                     ON CONFLICT (path) DO UPDATE SET parts = excluded.parts, size = excluded.size,
                         used = excluded.used, uses = uses + 1
                     RETURNING number",
                )?
                .query_row(params![path, number, stored(size as u64), now], |row| row.get(0))
        })?;
        Ok((row, had == Some(number)))
    }

    fn remove_context_parts(&self, number: i64) -> Result<()> {
        let (first, last) = numbers(number);
        self.query("forget the digests of a context", |connection| {
            connection
                .prepare_cached("DELETE FROM build_context_parts WHERE number BETWEEN ?1 AND ?2")?
                .execute([first, last])
                .map(drop)
        })
    }

    fn forget_old_contexts(&self) -> Result<()> {
        let old: Vec<i64> = self.query("look for old contexts of builds", |connection| {
            connection
                .prepare_cached(
                    "SELECT number FROM build_contexts ORDER BY used DESC, number DESC LIMIT -1 OFFSET ?1",
                )?
                .query_map([CONTEXTS], |row| row.get(0))?
                .collect()
        })?;
        old.into_iter().try_for_each(|number| self.remove_context(number).map(drop))
    }

    /// Every context of which files are known, the one that was used last first.
    pub fn known_contexts(&self) -> Result<Vec<KnownContext>> {
        self.query("list the contexts of builds", |connection| {
            connection
                .prepare_cached(
                    "SELECT number, path, size, made, used, uses FROM build_contexts ORDER BY used DESC, number",
                )?
                .query_map([], |row| {
                    Ok(KnownContext {
                        number: row.get(0)?,
                        path: std::ffi::OsString::from_vec(row.get(1)?).into(),
                        size: count(row.get(2)?),
                        made: timestamp(row.get(3)?),
                        used: timestamp(row.get(4)?),
                        uses: count(row.get(5)?),
                    })
                })?
                .collect()
        })
    }

    /// Forgets what is known of a context's files; tells whether anything was.
    pub fn remove_context(&self, number: i64) -> Result<bool> {
        self.freeing(|| {
            self.atomically(Durability::Process, || {
                self.remove_context_parts(number)?;
                self.query("forget a context of builds", |connection| {
                    connection
                        .prepare_cached("DELETE FROM build_contexts WHERE number = ?1")?
                        .execute([number])
                        .map(|removed| removed != 0)
                })
            })
        })
    }
}

/// The first and the last number that parts of a context may have.
fn numbers(context: i64) -> (i64, i64) {
    let first = context.saturating_mul(1 << 20);
    (first, first.saturating_add((1 << 20) - 1))
}
