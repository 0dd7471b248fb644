//! Where layers can be had again: the repositories that they were seen in.

use oci::{Descriptor, DiffId};
use rusqlite::params;

use super::digest;
use crate::{Result, State};

/// Where a layer can be had.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSource {
    /// `docker.io/library/busybox`.
    pub repository: String,
    /// What it is there.
    pub blob: Descriptor,
}

/// The most places of a layer in one registry that are remembered.
const SOURCES: i64 = 8;

impl State {
    /// Remembers the blob that a layer is in a repository; of each registry the newest places alone.
    pub(super) fn put_source(&self, layer: &DiffId, blob: &Descriptor, repository: &str) -> Result<()> {
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        self.query("record where a layer came from", |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO sources (diff_id, repository, digest, size, media_type, seen)
                     VALUES (?1, ?2, ?3, ?4, ?5,
                         (SELECT coalesce(max(seen), 0) + 1 FROM sources WHERE diff_id = ?1))",
                )?
                .execute(params![
                    layer.as_str(),
                    repository,
                    blob.digest.as_str(),
                    size,
                    blob.media_type.as_str()
                ])?;
            // A registry is what stands before the first slash.
            connection
                .prepare_cached(
                    "DELETE FROM sources WHERE diff_id = ?1
                         AND substr(repository, 1, instr(repository, '/')) = substr(?2, 1, instr(?2, '/'))
                         AND (repository, digest) NOT IN (
                             SELECT repository, digest FROM sources WHERE diff_id = ?1
                                 AND substr(repository, 1, instr(repository, '/')) = substr(?2, 1, instr(?2, '/'))
                             ORDER BY seen DESC LIMIT ?3)",
                )?
                .execute(params![layer.as_str(), repository, SOURCES])
                .map(drop)
        })
    }

    /// The repositories in which a layer is known to be, with the blob that it is there; the newest first.
    pub fn sources_of(&self, layer: &DiffId) -> Result<Vec<LayerSource>> {
        let rows: Vec<(String, String, i64, String)> =
            self.query("look for where a layer came from", |connection| {
                connection
                    .prepare_cached(
                        "SELECT repository, digest, size, media_type FROM sources
                         WHERE diff_id = ?1 ORDER BY seen DESC, repository, digest",
                    )?
                    .query_map([layer.as_str()], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect()
            })?;
        let source = |(repository, text, size, kind): (String, String, i64, String)| {
            let blob =
                Descriptor::new(kind.as_str().into(), digest(&text)?, u64::try_from(size).unwrap_or(0));
            Ok(LayerSource { repository, blob })
        };
        rows.into_iter().map(source).collect()
    }
}
