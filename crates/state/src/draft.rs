//! Manifest lists that are being made, until they are pushed or given up (`manifest create`). Nothing of an image is kept by
//! them: the manifests they name lie in registries.

use oci::{Descriptor, Reference};
use rusqlite::params;

use crate::{Durability, Error, Result, State};

/// One manifest of a list that is being made.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftEntry {
    /// Where it was found.
    pub reference: Reference,
    /// What it is, with the platform that the list is to tell.
    pub descriptor: Descriptor,
    /// It, byte for byte.
    pub manifest: Vec<u8>,
}

impl State {
    /// The entries of a list in the order in which they were added; none if there is no such list.
    pub fn draft(&self, list: &Reference) -> Result<Vec<DraftEntry>> {
        let rows: Vec<(String, String, Vec<u8>)> = self.query("read a manifest list", |connection| {
            connection
                .prepare_cached(
                    "SELECT reference, descriptor, manifest FROM drafts WHERE list = ?1 ORDER BY place",
                )?
                .query_map([list.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let malformed =
            |what, source| Error::Malformed { what, subject: format!("manifest list {list}"), source };
        let entry = |(reference, descriptor, manifest): (String, String, Vec<u8>)| {
            Ok(DraftEntry {
                reference: reference
                    .parse()
                    .map_err(|error: oci::Error| malformed("a reference", error.into()))?,
                descriptor: serde_json::from_str(&descriptor)
                    .map_err(|error| malformed("a descriptor", error.into()))?,
                manifest,
            })
        };
        rows.into_iter().map(entry).collect()
    }

    /// Adds entries to a list, behind those it has; one that it has already is replaced where it stands. All or none.
    pub fn put_draft(&self, list: &Reference, entries: &[DraftEntry]) -> Result<()> {
        self.atomically(Durability::Power, || {
            entries.iter().try_for_each(|entry| {
                let descriptor = serde_json::to_string(&entry.descriptor).map_err(|source| {
                    let subject = format!("manifest list {list}");
                    Error::Malformed { what: "a descriptor", subject, source: source.into() }
                })?;
                self.query("write a manifest list", |connection| {
                    connection
                        .prepare_cached(
                            "INSERT INTO drafts (list, reference, place, descriptor, manifest)
                             VALUES (?1, ?2, 1 + (SELECT count(*) FROM drafts WHERE list = ?1), ?3, ?4)
                             ON CONFLICT (list, reference)
                             DO UPDATE SET descriptor = excluded.descriptor, manifest = excluded.manifest",
                        )?
                        .execute(params![
                            list.to_string(),
                            entry.reference.to_string(),
                            descriptor,
                            entry.manifest
                        ])
                        .map(drop)
                })
            })
        })
    }

    /// Gives a list up; tells whether there was one.
    pub fn remove_draft(&self, list: &Reference) -> Result<bool> {
        self.freeing(|| {
            self.atomically(Durability::Power, || {
                self.query("remove a manifest list", |connection| {
                    connection
                        .prepare_cached("DELETE FROM drafts WHERE list = ?1")?
                        .execute([list.to_string()])
                        .map(|removed| removed != 0)
                })
            })
        })
    }
}
