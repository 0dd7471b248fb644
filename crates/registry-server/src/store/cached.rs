//! What is kept of other registries, and may be had from them again: its rows know when a client has asked for them last.
//!
//! Nothing *uses* such a blob: its manifest may be here long before it, and stays when it goes. What is pushed beside it is
//! under the rules of the module above; a blob that is both counts as pushed.

use std::sync::Arc;
use std::time::Duration;

use oci::Digest;
use rusqlite::{Connection, params};

use super::error::Result;
use super::ledger::Pending;
use super::records::{self, NewManifest, Origin};
use super::upload::{Upload, Writer};
use super::{Collected, Finished, Store, milliseconds, now};
use crate::names::{Repository, Tag};

/// Rows that one transaction removes.
const BATCH: u32 = 256;
/// What is left of what may be kept, in percent, after some of it had to go: so that not every blob makes room anew.
const LEFT: u64 = 90;

/// For how long, and how much of other registries is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// What nobody has asked for in so long goes. Forever, where it is missing.
    pub unasked: Option<Duration>,
    /// Bytes of blobs. Beyond them go those that were not asked for longest.
    pub bytes: Option<u64>,
}

impl Store {
    /// Whether any repository has a blob.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn has_anywhere(&self, digest: &Digest) -> Result<bool> {
        self.ledger.read("look for a blob", |records| {
            records.prepare_cached("SELECT 1 FROM blob WHERE digest = ?")?.exists([digest.as_str()])
        })
    }

    /// Links a blob of another repository, of which is known that this one has it too; false where nobody has it any more.
    pub fn adopt(&self, repository: &Repository, digest: &Digest) -> Pending<bool> {
        let (name, digest, now) = (repository.clone(), digest.clone(), now());
        self.ledger.change("link a blob", move |records| {
            records::link_known(records, &name, &digest, now, Origin::Fetched)
        })
    }

    /// Begins to receive a blob of another registry, or goes on behind what is left of an earlier fetch, of which nothing is known:
    /// it may be longer than the blob, and need not be its beginning. One repository's blob is received once at a time.
    ///
    /// # Errors
    /// If no file can be made for it, or what is left cannot be read.
    pub fn begin_fetch(&self, repository: &Repository, digest: &Digest) -> Result<Arc<Upload>> {
        self.uploads.fetch(repository, digest)
    }

    /// Leaves what has come of a blob for the next fetch of it. It expires as any upload does.
    pub fn set_aside(&self, writer: Writer) {
        writer.set_aside(&self.uploads);
    }

    /// As [`Store::finish`], for a blob of another registry.
    ///
    /// # Errors
    /// As there.
    pub fn finish_fetch(&self, repository: &Repository, digest: &Digest, writer: Writer) -> Result<Finished> {
        self.place_blob(repository, digest, writer, Origin::Fetched)
    }

    /// Stores a manifest of another registry and moves `tags` to it, whether what it needs is here or not.
    pub fn put_fetched(&self, repository: &Repository, manifest: NewManifest, tags: Vec<Tag>) -> Pending<()> {
        let (name, now) = (repository.clone(), now());
        self.ledger.change("store a manifest", move |records| {
            let repository = records::repository_made(records, &name)?;
            records::put_named(records, repository, &manifest, &tags, now, Origin::Fetched).map(drop)
        })
    }

    /// Notes that a client has asked for a blob or a manifest.
    pub fn asked(&self, repository: &Repository, digest: &Digest) -> Pending<()> {
        let (name, digest, now) = (repository.clone(), digest.clone(), now());
        self.ledger.change("note what was asked for", move |records| {
            let Some(repository) = records::repository(records, &name)? else { return Ok(()) };
            let values = params![now, repository, digest.as_str()];
            records
                .prepare_cached(
                    "UPDATE link SET cached = ?1 WHERE cached IS NOT NULL AND repository = ?2
                     AND blob = (SELECT id FROM blob WHERE digest = ?3)",
                )?
                .execute(values)?;
            records
                .prepare_cached(
                    "UPDATE manifest SET cached = ?1 WHERE cached IS NOT NULL AND repository = ?2 AND digest = ?3",
                )?
                .execute(values)?;
            Ok(())
        })
    }

    /// Removes what is kept beyond `kept`: manifests, and links of blobs, whose files go with the last link.
    pub(super) fn collect_cached(&self, kept: Kept) -> Result<(u64, u64)> {
        let (mut manifests, mut links) = (0, 0);
        if let Some(age) = kept.unasked {
            let before = now().saturating_sub(milliseconds(age));
            manifests = self.repeat("collect cached manifests", move |records| {
                records
                    .prepare_cached(
                        "DELETE FROM manifest WHERE id IN (SELECT id FROM manifest WHERE cached < ? LIMIT ?)",
                    )?
                    .execute(params![before, BATCH])
            })?;
            links = self.repeat("collect cached blobs", move |records| {
                records
                    .prepare_cached(
                        "DELETE FROM link WHERE (repository, blob) IN
                            (SELECT repository, blob FROM link WHERE cached < ? LIMIT ?)",
                    )?
                    .execute(params![before, BATCH])
            })?;
        }
        if let Some(most) = kept.bytes {
            links += self.unlink_beyond(most)?;
        }
        Ok((manifests, links))
    }

    /// Bytes of other registries' blobs, with those of which only a part has come.
    ///
    /// # Errors
    /// If they cannot be counted.
    pub fn held_of_others(&self) -> Result<u64> {
        Ok(self.ledger.read("count cached blobs", held)?.saturating_add(self.uploads.fetched()?))
    }

    /// Removes of other registries' blobs what was not asked for longest, where they have more than `most` bytes. Whoever reads one
    /// reads it to its end.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub fn make_room(&self, most: u64) -> Result<Collected> {
        let mut collected = Collected { links: self.unlink_beyond(most)?, ..Collected::default() };
        self.collect_blobs(&mut collected)?;
        Ok(collected)
    }

    fn unlink_beyond(&self, most: u64) -> Result<u64> {
        let held = self.ledger.read("count cached blobs", held)?;
        // What broke off and is not gone on with is worth least.
        let halves = self.uploads.discard_fetched(most.saturating_sub(held))?;
        let most = most.saturating_sub(halves);
        self.repeat("make room among cached blobs", move |records| make_room(records, most))
    }

    /// Runs a change until it changes nothing; returns how much it has changed.
    fn repeat(
        &self,
        action: &'static str,
        change: impl Fn(&Connection) -> rusqlite::Result<usize> + Clone + Send + 'static,
    ) -> Result<u64> {
        let mut total = 0;
        loop {
            match self.ledger.change(action, change.clone()).wait()? {
                0 => return Ok(total),
                some => total += some as u64,
            }
        }
    }
}

/// The bytes of blobs that were fetched and not pushed.
fn held(records: &Connection) -> rusqlite::Result<u64> {
    let total: i64 = records
        .prepare_cached(
            "SELECT coalesce(sum(size), 0) FROM blob WHERE id IN (SELECT blob FROM link WHERE cached IS NOT NULL)
             AND id NOT IN (SELECT blob FROM link WHERE cached IS NULL)",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(u64::try_from(total).unwrap_or(0))
}

/// Unlinks the blobs that were not asked for longest, where all of them have more than `most` bytes; returns how many.
fn make_room(records: &Connection, most: u64) -> rusqlite::Result<usize> {
    let total = held(records)?;
    if total <= most {
        return Ok(0);
    }
    let excess = total - most / 100 * LEFT;
    let mut query = records.prepare_cached(
        "SELECT link.repository, link.blob, blob.size FROM link JOIN blob ON blob.id = link.blob
         WHERE cached IS NOT NULL AND blob NOT IN (SELECT blob FROM link WHERE cached IS NULL)
         ORDER BY cached LIMIT ?",
    )?;
    let rows = query.query_map([BATCH], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    })?;
    let (mut freed, mut gone) = (0, 0);
    for row in rows.collect::<rusqlite::Result<Vec<_>>>()? {
        if freed >= excess {
            break;
        }
        let (repository, blob, size) = row;
        let mut delete = records.prepare_cached("DELETE FROM link WHERE repository = ? AND blob = ?")?;
        gone += delete.execute([repository, blob])?;
        // One that another repository has too goes with its last link.
        let is_last = !records.prepare_cached("SELECT 1 FROM link WHERE blob = ?")?.exists([blob])?;
        if is_last {
            freed += u64::try_from(size).unwrap_or(0);
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use oci::MediaType;

    use super::*;
    use crate::names::Reference;
    use crate::store::{Rules, Stored};

    fn repository() -> Repository {
        Repository::parse("a").unwrap()
    }

    fn fetch(store: &Store, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        let mut writer = store.begin_fetch(&repository(), &digest).unwrap().writer_blocking().unwrap();
        writer.append(content).unwrap();
        assert_eq!(store.finish_fetch(&repository(), &digest, writer).unwrap(), Finished::Stored);
        digest
    }

    fn manifest(config: &[u8]) -> NewManifest {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{}","size":{}}},"layers":[]}}"#,
            Digest::of(config),
            config.len()
        );
        let digest = Digest::of(text.as_bytes());
        NewManifest::parse(text.into_bytes(), digest, &MediaType::OCI_MANIFEST).unwrap()
    }

    fn collect(store: &Store, kept: Kept) {
        store.collect(Rules { cached: kept, ..Rules::default() }).unwrap();
    }

    #[test]
    fn what_was_fetched_needs_nothing_and_goes_by_its_age_alone() {
        let scratch = testkit::Scratch::new();
        let store = Store::open(&scratch, Duration::ZERO).unwrap();
        let tag = Tag::parse("v1").unwrap();
        store.put_fetched(&repository(), manifest(b"not here"), vec![tag.clone()]).wait().unwrap();
        let blob = fetch(&store, b"fetched");
        collect(&store, Kept { unasked: Some(Duration::from_secs(60)), bytes: Some(7) });
        assert!(store.blob(&repository(), &blob).unwrap().is_some());
        assert!(store.document(&repository(), &Reference::Tag(tag.clone())).unwrap().is_some());
        collect(&store, Kept { unasked: None, bytes: Some(6) });
        assert!(store.blob(&repository(), &blob).unwrap().is_none(), "there was no room for it");
        assert!(!store.has_anywhere(&blob).unwrap());
        std::thread::sleep(Duration::from_millis(5));
        collect(&store, Kept { unasked: Some(Duration::from_millis(1)), bytes: None });
        assert!(store.document(&repository(), &Reference::Tag(tag)).unwrap().is_none());
    }

    #[test]
    fn room_is_made_of_what_broke_off_before_anything_whole_goes() {
        let scratch = testkit::Scratch::new();
        let store = Store::open(&scratch, Duration::ZERO).unwrap();
        let whole = fetch(&store, b"fetched");
        let begin =
            |digest: &Digest| store.begin_fetch(&repository(), digest).unwrap().writer_blocking().unwrap();
        let (first, second) = (Digest::of(b"first of two"), Digest::of(b"second of two"));
        let mut writer = begin(&first);
        writer.append(b"fir").unwrap();
        store.set_aside(writer);
        // One that is being received is nobody's to remove, and takes room all the same.
        let mut going_on = begin(&second);
        going_on.append(b"secon").unwrap();
        assert_eq!(store.held_of_others().unwrap(), 15);
        store.make_room(15).unwrap();
        assert_eq!(begin(&first).length(), 3);
        store.set_aside(begin(&first));
        store.make_room(14).unwrap();
        assert_eq!(store.held_of_others().unwrap(), 12, "the part that nobody goes on with is gone");
        assert!(store.blob(&repository(), &whole).unwrap().is_some());
        store.make_room(11).unwrap();
        assert!(store.blob(&repository(), &whole).unwrap().is_none());
        going_on.append(b"d of two").unwrap();
        assert_eq!(store.finish_fetch(&repository(), &second, going_on).unwrap(), Finished::Stored);
        assert_eq!(store.held_of_others().unwrap(), 13);
    }

    #[test]
    fn what_is_pushed_keeps_what_was_fetched() {
        let scratch = testkit::Scratch::new();
        let store = Store::open(&scratch, Duration::ZERO).unwrap();
        let config = fetch(&store, b"config");
        store.put_fetched(&repository(), manifest(b"config"), Vec::new()).wait().unwrap();
        let stored = store.put_manifest(&repository(), manifest(b"config"), Vec::new(), false);
        assert_eq!(stored.wait().unwrap(), Stored::Yes);
        // Fetched once more, as by a server that stands in for somebody again.
        fetch(&store, b"config");
        store.put_fetched(&repository(), manifest(b"config"), Vec::new()).wait().unwrap();
        std::thread::sleep(Duration::from_millis(5));
        collect(&store, Kept { unasked: Some(Duration::from_millis(1)), bytes: Some(0) });
        assert!(store.blob(&repository(), &config).unwrap().is_some());
        let digest = manifest(b"config").document.digest;
        assert!(store.document(&repository(), &Reference::Digest(digest)).unwrap().is_some());
    }
}
