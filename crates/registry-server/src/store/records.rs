//! What is asked of the records and what changes them: one function per question, over a connection in a transaction.

use oci::{Digest, MediaType};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::names::{Reference, Repository, Tag};

/// A blob as a repository has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its size in bytes.
    pub size: u64,
    /// Its file's name below `blobs/`.
    pub(crate) file: String,
}

/// A manifest or an index, byte for byte as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its digest, of the algorithm by which it was pushed.
    pub digest: Digest,
    /// As what it was pushed.
    pub media_type: MediaType,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A manifest that names another one as its subject: a row of the answer to "who refers to this?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// What kind of artifact it is: its own word, or its config's type.
    pub artifact_type: Option<String>,
    /// Its annotations as JSON.
    pub annotations: Option<String>,
}

/// A manifest that is to be stored, taken apart.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// What it is, byte for byte.
    pub document: Document,
    /// Blobs that it needs, with the sizes that it says they have.
    pub blobs: Vec<(Digest, u64)>,
    /// Manifests that it needs, being an index.
    pub members: Vec<Digest>,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// Its annotations as JSON.
    pub annotations: Option<String>,
}

/// What became of a manifest that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Yes,
    /// It needs content that its repository does not have.
    Missing(Vec<Digest>),
    /// It says that a blob has another size than it has.
    Size {
        /// The blob.
        digest: Digest,
        /// The size that it says.
        said: u64,
        /// The size that it has.
        found: u64,
    },
}

/// How something came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client has given it.
    Pushed,
    /// It is another registry's, and may be had again.
    Fetched,
}

impl Origin {
    /// What the column `cached` holds: when it was asked for last, of what was fetched.
    fn cached(self, now: i64) -> Option<i64> {
        (self == Self::Fetched).then_some(now)
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Repositories that hold anything.
    pub repositories: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub bytes: u64,
}

/// What became of something that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Yes,
    /// It was not there.
    Absent,
    /// A manifest of its repository needs it.
    Used,
}

/// The number of a repository, if it is known.
pub(crate) fn repository(records: &Connection, name: &Repository) -> rusqlite::Result<Option<i64>> {
    let mut query = records.prepare_cached("SELECT id FROM repository WHERE name = ?")?;
    query.query_row([name.as_str()], |row| row.get(0)).optional()
}

pub(crate) fn repository_made(records: &Connection, name: &Repository) -> rusqlite::Result<i64> {
    if let Some(id) = repository(records, name)? {
        return Ok(id);
    }
    records.prepare_cached("INSERT INTO repository (name) VALUES (?)")?.insert([name.as_str()])
}

/// A blob, if `name` links it.
pub(crate) fn blob(
    records: &Connection,
    name: &Repository,
    digest: &Digest,
) -> rusqlite::Result<Option<Blob>> {
    let mut query = records.prepare_cached(
        "SELECT blob.size, blob.file FROM blob JOIN link ON link.blob = blob.id
         JOIN repository ON repository.id = link.repository WHERE blob.digest = ? AND repository.name = ?",
    )?;
    let found = |row: &rusqlite::Row<'_>| Ok(Blob { size: unsigned(row.get(0)?), file: row.get(1)? });
    query.query_row([digest.as_str(), name.as_str()], found).optional()
}

/// Links a blob that the store has; false where it has none.
pub(crate) fn link_known(
    records: &Connection,
    name: &Repository,
    digest: &Digest,
    now: i64,
    origin: Origin,
) -> rusqlite::Result<bool> {
    let mut query = records.prepare_cached("SELECT id FROM blob WHERE digest = ?")?;
    let Some(blob) = query.query_row([digest.as_str()], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(false);
    };
    let repository = repository_made(records, name)?;
    let mut link = records.prepare_cached(
        "INSERT INTO link (repository, blob, since, cached) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET since = ?3,
            cached = CASE WHEN ?4 IS NULL OR cached IS NULL THEN NULL ELSE ?4 END",
    )?;
    link.execute(params![repository, blob, now, origin.cached(now)])?;
    Ok(true)
}

/// Records a blob whose file is in place, and links it. False where the store had it already: then `file` is not needed.
pub(crate) fn add_blob(
    records: &Connection,
    name: &Repository,
    digest: &Digest,
    blob: &Blob,
    now: i64,
    origin: Origin,
) -> rusqlite::Result<bool> {
    if link_known(records, name, digest, now, origin)? {
        return Ok(false);
    }
    let mut insert = records.prepare_cached("INSERT INTO blob (digest, size, file) VALUES (?, ?, ?)")?;
    insert.execute(params![digest.as_str(), signed(blob.size), blob.file])?;
    link_known(records, name, digest, now, origin)
}

/// Links a blob of `from` in `name`; false where `from` does not have it.
pub(crate) fn mount(
    records: &Connection,
    name: &Repository,
    from: &Repository,
    digest: &Digest,
    now: i64,
) -> rusqlite::Result<bool> {
    if blob(records, from, digest)?.is_none() {
        return Ok(false);
    }
    link_known(records, name, digest, now, Origin::Pushed)
}

/// Takes a blob from a repository. Its file stays until it is collected.
pub(crate) fn unlink(records: &Connection, name: &Repository, digest: &Digest) -> rusqlite::Result<Removed> {
    let mut query = records.prepare_cached(
        "SELECT link.repository, link.blob, EXISTS (SELECT 1 FROM used
            WHERE used.repository = link.repository AND used.blob = link.blob)
         FROM blob JOIN link ON link.blob = blob.id JOIN repository ON repository.id = link.repository
         WHERE blob.digest = ? AND repository.name = ?",
    )?;
    let found = query.query_row([digest.as_str(), name.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
    });
    match found.optional()? {
        None => Ok(Removed::Absent),
        Some((_, _, true)) => Ok(Removed::Used),
        Some((repository, blob, false)) => {
            let mut delete = records.prepare_cached("DELETE FROM link WHERE repository = ? AND blob = ?")?;
            delete.execute([repository, blob])?;
            Ok(Removed::Yes)
        }
    }
}

const DOCUMENT: &str = "SELECT manifest.digest, media_type, content FROM manifest";

/// A manifest by tag or digest.
pub(crate) fn document(
    records: &Connection,
    name: &Repository,
    reference: &Reference,
) -> rusqlite::Result<Option<Document>> {
    let (way, text) = match reference {
        Reference::Digest(digest) => {
            ("WHERE manifest.digest = ?2 AND manifest.repository = ?1", digest.as_str())
        }
        Reference::Tag(tag) => (
            "JOIN tag ON tag.manifest = manifest.id WHERE tag.repository = ?1 AND tag.name = ?2",
            tag.as_str(),
        ),
    };
    let Some(repository) = repository(records, name)? else { return Ok(None) };
    let mut query = records.prepare_cached(&format!("{DOCUMENT} {way}"))?;
    let found = query.query_row(params![repository, text], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Vec<u8>>(2)?))
    });
    let found = found.optional()?;
    // Only digests are ever written there.
    Ok(found.and_then(|(digest, media_type, content)| {
        let media_type = MediaType::from(media_type.as_str());
        Some(Document { digest: digest.parse().ok()?, media_type, content })
    }))
}

/// Stores a manifest and moves tags to it, if all that it needs is there. `sparse` lets an index name manifests that are
/// not.
pub(crate) fn put_manifest(
    records: &Connection,
    name: &Repository,
    new: &NewManifest,
    tags: &[Tag],
    sparse: bool,
    now: i64,
) -> rusqlite::Result<Stored> {
    let (blobs, mut missing) = match blobs_of(records, name, &new.blobs)? {
        Ok(found) => found,
        Err(size) => return Ok(size),
    };
    if !sparse {
        for member in &new.members {
            if document(records, name, &Reference::Digest(member.clone()))?.is_none() {
                missing.push(member.clone());
            }
        }
    }
    if !missing.is_empty() {
        return Ok(Stored::Missing(missing));
    }
    let repository = repository_made(records, name)?;
    let manifest = put_named(records, repository, new, tags, now, Origin::Pushed)?;
    let mut used =
        records.prepare_cached("INSERT OR IGNORE INTO used (repository, blob, manifest) VALUES (?, ?, ?)")?;
    let mut keep = records.prepare_cached(
        "UPDATE link SET cached = NULL WHERE repository = ? AND blob = ? AND cached IS NOT NULL",
    )?;
    for blob in blobs {
        used.execute([repository, blob, manifest])?;
        keep.execute([repository, blob])?;
    }
    Ok(Stored::Yes)
}

/// Stores a manifest, with the members that it names, and moves tags to it, whether what it needs is there or not.
pub(crate) fn put_named(
    records: &Connection,
    repository: i64,
    new: &NewManifest,
    tags: &[Tag],
    now: i64,
    origin: Origin,
) -> rusqlite::Result<i64> {
    let manifest = manifest_row(records, repository, new, now, origin)?;
    let mut member =
        records.prepare_cached("INSERT OR IGNORE INTO member (manifest, digest) VALUES (?, ?)")?;
    for digest in &new.members {
        member.execute(params![manifest, digest.as_str()])?;
    }
    let mut move_tag = records.prepare_cached(
        "INSERT INTO tag (repository, name, manifest) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET manifest = ?3",
    )?;
    for tag in tags {
        move_tag.execute(params![repository, tag.as_str(), manifest])?;
    }
    Ok(manifest)
}

type Found = (Vec<i64>, Vec<Digest>);

/// The numbers of blobs and what is missing, or the blob that has another size than is said.
fn blobs_of(
    records: &Connection,
    name: &Repository,
    blobs: &[(Digest, u64)],
) -> rusqlite::Result<Result<Found, Stored>> {
    let mut query = records.prepare_cached(
        "SELECT blob.id, blob.size FROM blob JOIN link ON link.blob = blob.id
         JOIN repository ON repository.id = link.repository WHERE blob.digest = ? AND repository.name = ?",
    )?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (digest, said) in blobs {
        let row = query.query_row([digest.as_str(), name.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, unsigned(row.get(1)?)))
        });
        match row.optional()? {
            Some((id, size)) if size == *said => found.push(id),
            Some((_, size)) => {
                return Ok(Err(Stored::Size { digest: digest.clone(), said: *said, found: size }));
            }
            None => missing.push(digest.clone()),
        }
    }
    Ok(Ok((found, missing)))
}

fn manifest_row(
    records: &Connection,
    repository: i64,
    new: &NewManifest,
    now: i64,
    origin: Origin,
) -> rusqlite::Result<i64> {
    let mut insert = records.prepare_cached(
        "INSERT INTO manifest
            (repository, digest, media_type, content, since, subject, artifact_type, annotations, cached)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (repository, digest) DO UPDATE SET media_type = ?3, since = ?5,
            cached = CASE WHEN ?9 IS NULL OR cached IS NULL THEN NULL ELSE ?9 END RETURNING id",
    )?;
    let document = &new.document;
    let values = params![
        repository,
        document.digest.as_str(),
        document.media_type.as_str(),
        document.content,
        now,
        new.subject.as_ref().map(Digest::as_str),
        new.artifact_type,
        new.annotations,
        origin.cached(now),
    ];
    insert.query_row(values, |row| row.get(0))
}

/// Removes a tag, or a manifest with all its tags.
pub(crate) fn remove(
    records: &Connection,
    name: &Repository,
    reference: &Reference,
) -> rusqlite::Result<Removed> {
    let Some(repository) = repository(records, name)? else { return Ok(Removed::Absent) };
    let (statement, text) = match reference {
        Reference::Tag(tag) => ("DELETE FROM tag WHERE repository = ? AND name = ?", tag.as_str()),
        Reference::Digest(digest) => {
            ("DELETE FROM manifest WHERE repository = ? AND digest = ?", digest.as_str())
        }
    };
    let gone = records.prepare_cached(statement)?.execute(params![repository, text])?;
    Ok(if gone == 0 { Removed::Absent } else { Removed::Yes })
}

/// A page of a repository's tags after `last`, in the specification's order: without regard to case, then by bytes.
/// `None` where the repository is not known.
pub(crate) fn tags(
    records: &Connection,
    name: &Repository,
    last: &str,
    limit: u32,
) -> rusqlite::Result<Option<Vec<String>>> {
    let Some(repository) = repository(records, name)? else { return Ok(None) };
    let mut query = records.prepare_cached(
        "SELECT name FROM tag WHERE repository = ?1
         AND (name COLLATE NOCASE, name) > (?2, ?2) ORDER BY name COLLATE NOCASE, name LIMIT ?3",
    )?;
    let page = query.query_map(params![repository, last, limit], |row| row.get(0))?;
    page.collect::<rusqlite::Result<_>>().map(Some)
}

/// A page of the repositories that hold a manifest, after `last`.
pub(crate) fn repositories(records: &Connection, last: &str, limit: u32) -> rusqlite::Result<Vec<String>> {
    let mut query = records.prepare_cached(
        "SELECT name FROM repository WHERE name > ?1
         AND EXISTS (SELECT 1 FROM manifest WHERE manifest.repository = repository.id) ORDER BY name LIMIT ?2",
    )?;
    let page = query.query_map(params![last, limit], |row| row.get(0))?;
    page.collect()
}

/// Some repositories that link a blob, by name.
pub(crate) fn repositories_with(
    records: &Connection,
    digest: &Digest,
    limit: u32,
) -> rusqlite::Result<Vec<String>> {
    let mut query = records.prepare_cached(
        "SELECT repository.name FROM repository JOIN link ON link.repository = repository.id
         JOIN blob ON blob.id = link.blob WHERE blob.digest = ? LIMIT ?",
    )?;
    let names = query.query_map(params![digest.as_str(), limit], |row| row.get(0))?;
    names.collect()
}

/// A page of the manifests about `subject`, after the digest `last`, of one kind or of all: at most so many, of about so many
/// bytes, and one more than these bytes hold, which tells that there are more.
pub(crate) fn referrers(
    records: &Connection,
    name: &Repository,
    subject: &Digest,
    kind: Option<&str>,
    last: &str,
    (limit, bytes): (u32, usize),
) -> rusqlite::Result<Vec<Referrer>> {
    let mut query = records.prepare_cached(
        "SELECT digest, media_type, length(content), artifact_type, annotations FROM manifest
         JOIN repository ON repository.id = manifest.repository
         WHERE repository.name = ?1 AND subject = ?2 AND digest > ?3 AND (?4 IS NULL OR artifact_type = ?4)
         ORDER BY digest LIMIT ?5",
    )?;
    let page = query.query_map(params![name.as_str(), subject.as_str(), last, kind, limit], |row| {
        Ok(Referrer {
            digest: row.get(0)?,
            media_type: row.get(1)?,
            size: unsigned(row.get(2)?),
            artifact_type: row.get(3)?,
            annotations: row.get(4)?,
        })
    })?;
    let (mut found, mut held) = (Vec::new(), 0);
    for referrer in page {
        let referrer: Referrer = referrer?;
        held += referrer.annotations.as_ref().map_or(0, String::len);
        found.push(referrer);
        if held > bytes && found.len() > 1 {
            break;
        }
    }
    Ok(found)
}

/// How much there is of everything.
pub(crate) fn totals(records: &Connection) -> rusqlite::Result<Totals> {
    let query = "SELECT (SELECT count(*) FROM repository), (SELECT count(*) FROM manifest),
        (SELECT count(*) FROM blob), (SELECT coalesce(sum(size), 0) FROM blob)";
    records.query_row(query, [], |row| {
        Ok(Totals {
            repositories: unsigned(row.get(0)?),
            manifests: unsigned(row.get(1)?),
            blobs: unsigned(row.get(2)?),
            bytes: unsigned(row.get(3)?),
        })
    })
}

/// SQLite's integers have a sign; sizes do not, and none comes near the limit.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(0)
}
