//! Collection of garbage beside running pushes; the invariants are in the head of the module above.
//!
//! Each step is a transaction of bounded size among those of the clients:
//!
//! ```text
//! untagged manifests (only where asked for) ─► links that no manifest uses ─► blobs without a link ─► their files
//! ```

use std::sync::PoisonError;
use std::time::Duration;

use linux::file::{self, Named as _};
use oci::Digest;
use rusqlite::{Connection, params};

use super::error::{Purpose as _, Result};
use super::{Kept, Store, milliseconds, now};
use crate::names::Repository;

/// Rows that one transaction looks at. Clients wait for it, so it is short.
const BATCH: u32 = 256;

/// What is garbage beside what nothing can ever reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// After so long, manifests that no tag, no index and no living subject leads to. Never, unless given: who
    /// pulls by digest needs no tag.
    pub untagged: Option<Duration>,
    /// What of other registries is kept.
    pub cached: Kept,
}

/// What a collection has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests.
    pub manifests: u64,
    /// Links of blobs to repositories.
    pub links: u64,
    /// Blobs, with their files.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Files without a record, left by a server that was killed.
    pub strays: u64,
}

impl Store {
    /// Removes what is garbage. Clients may push and pull meanwhile; two collections at once share the work.
    ///
    /// # Errors
    /// If the records or the files cannot be changed. What was removed until then is gone.
    pub fn collect(&self, rules: Rules) -> Result<Collected> {
        let mut collected = Collected::default();
        if let Some(age) = rules.untagged {
            collected.manifests = self.collect_untagged(age)?;
        }
        self.leases.prune();
        let (manifests, links) = self.collect_cached(rules.cached)?;
        collected.manifests += manifests;
        collected.links = links + self.collect_links()?;
        self.collect_blobs(&mut collected)?;
        self.collect_repositories()?;
        collected.strays = self.collect_strays()?;
        Ok(collected)
    }

    fn collect_untagged(&self, age: Duration) -> Result<u64> {
        let before = now().saturating_sub(milliseconds(age));
        let mut total = 0;
        loop {
            let gone = self.ledger.change("collect manifests", move |records| {
                records.prepare_cached(UNTAGGED)?.execute(params![before, BATCH])
            });
            // An index that went may have been what its manifests were kept for.
            match gone.wait()? {
                0 => return Ok(total),
                gone => total += gone as u64,
            }
        }
    }

    /// Links that no manifest uses and no client relies on.
    fn collect_links(&self) -> Result<u64> {
        let grace = self.leases.grace();
        let before = now().saturating_sub(milliseconds(grace));
        let (mut total, mut last) = (0, (0, 0));
        loop {
            // Held until the removal is committed.
            let leases = self.leases.hold();
            if !leases.is_sure() {
                return Ok(total);
            }
            let candidates =
                self.ledger.read("look for garbage", |records| unused_links(records, before, last))?;
            let Some(end) = candidates.last() else { return Ok(total) };
            last = end.key;
            let garbage =
                candidates.into_iter().filter(|link| !leases.holds(&link.repository, &link.digest, grace));
            let garbage: Vec<(i64, i64)> = garbage.map(|link| link.key).collect();
            let gone =
                self.ledger.change("collect links", move |records| remove_unused(records, &garbage, before));
            total += gone.wait()?;
        }
    }

    /// Blobs that no repository links, rows first.
    pub(super) fn collect_blobs(&self, collected: &mut Collected) -> Result<()> {
        loop {
            let gone = self.ledger.change("collect blobs", |records| {
                let mut query = records.prepare_cached(
                    "DELETE FROM blob WHERE id IN (SELECT id FROM blob WHERE NOT EXISTS
                        (SELECT 1 FROM link WHERE link.blob = blob.id) LIMIT ?) RETURNING file, size",
                )?;
                let rows =
                    query.query_map([BATCH], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            });
            let gone = gone.wait()?;
            if gone.is_empty() {
                return Ok(());
            }
            for (name, size) in gone {
                file::remove_if_exists(&self.place(&name)).to("remove a blob")?;
                collected.blobs += 1;
                collected.bytes += u64::try_from(size).unwrap_or(0);
            }
        }
    }

    /// Names of repositories that hold nothing any more.
    fn collect_repositories(&self) -> Result<()> {
        let gone = self.ledger.change("collect repositories", |records| {
            records.execute(
                "DELETE FROM repository WHERE
                    NOT EXISTS (SELECT 1 FROM link WHERE link.repository = repository.id)
                    AND NOT EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id)",
                [],
            )
        });
        gone.wait().map(drop)
    }

    /// Files without a row. Whoever puts one in place says so first, and goes on saying it until the row is committed: so the
    /// file is seen, then that nobody is about to give it a row, then that it has none.
    fn collect_strays(&self) -> Result<u64> {
        let mut strays = 0;
        for number in 0..=u8::MAX {
            let folder = self.place(&format!("{number:02x}"));
            for entry in std::fs::read_dir(&folder).named("list", &folder).to("look for stray files")? {
                let Ok(name) = entry.map(|entry| entry.file_name()) else { continue };
                let Ok(name) = name.into_string() else { continue };
                let row = format!("{number:02x}/{name}");
                if self.placing.lock().unwrap_or_else(PoisonError::into_inner).contains(&row) {
                    continue;
                }
                let known = self.ledger.read("look for stray files", |records| {
                    records.prepare_cached("SELECT 1 FROM blob WHERE file = ?")?.exists([&row])
                })?;
                if !known {
                    let gone = file::remove_if_exists(&self.place(&row)).to("remove a stray file")?;
                    strays += u64::from(gone);
                }
            }
        }
        Ok(strays)
    }
}

const UNTAGGED: &str = "
    DELETE FROM manifest WHERE id IN (
        SELECT id FROM manifest WHERE since < ?1
        AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.manifest = manifest.id)
        AND NOT EXISTS (SELECT 1 FROM member JOIN manifest parent ON parent.id = member.manifest
            WHERE member.digest = manifest.digest AND parent.repository = manifest.repository)
        AND NOT EXISTS (SELECT 1 FROM manifest about
            WHERE about.repository = manifest.repository AND about.digest = manifest.subject)
        LIMIT ?2)";

struct Unused {
    key: (i64, i64),
    repository: Repository,
    digest: Digest,
}

/// Links after `last` that no manifest uses, not made or mounted since `before`.
fn unused_links(records: &Connection, before: i64, last: (i64, i64)) -> rusqlite::Result<Vec<Unused>> {
    let mut query = records.prepare_cached(
        "SELECT link.repository, link.blob, repository.name, blob.digest FROM link
         JOIN repository ON repository.id = link.repository JOIN blob ON blob.id = link.blob
         WHERE (link.repository, link.blob) > (?1, ?2) AND link.since < ?3 AND link.cached IS NULL AND NOT EXISTS
            (SELECT 1 FROM used WHERE used.repository = link.repository AND used.blob = link.blob)
         ORDER BY link.repository, link.blob LIMIT ?4",
    )?;
    let rows = query.query_map(params![last.0, last.1, before, BATCH], |row| {
        let (name, digest) = (row.get::<_, String>(2)?, row.get::<_, String>(3)?);
        Ok(((row.get(0)?, row.get(1)?), Repository::parse(&name), digest.parse().ok()))
    })?;
    let mut found = Vec::new();
    for row in rows {
        // Nothing else is ever written there.
        if let (key, Some(repository), Some(digest)) = row? {
            found.push(Unused { key, repository, digest });
        }
    }
    Ok(found)
}

/// Removes those of `links` that still nobody uses: what was read may have changed since.
fn remove_unused(records: &Connection, links: &[(i64, i64)], before: i64) -> rusqlite::Result<u64> {
    let mut delete = records.prepare_cached(
        "DELETE FROM link WHERE repository = ?1 AND blob = ?2 AND since < ?3 AND cached IS NULL AND NOT EXISTS
            (SELECT 1 FROM used WHERE used.repository = ?1 AND used.blob = ?2)",
    )?;
    let mut gone = 0;
    for (repository, blob) in links {
        gone += delete.execute(params![repository, blob, before])? as u64;
    }
    Ok(gone)
}
