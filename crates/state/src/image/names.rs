//! Names of images: written, moved, looked up, removed.

use std::collections::BTreeMap;

use oci::{Digest, Reference};
use rusqlite::{OptionalExtension, params};

use super::{digest, reference};
use crate::{Durability, Error, Result, State};

/// A name to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewName<'a> {
    /// The name.
    pub reference: &'a Reference,
    /// What it is to stand for.
    pub image: &'a Digest,
    /// The index by which it leads there, and to images for other platforms.
    pub through: Option<&'a Digest>,
    /// What its registry calls what it leads to, where that is known.
    pub digest: Option<&'a Digest>,
}

/// A name that leads to its image by an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedName {
    /// The name.
    pub reference: Reference,
    /// What it stands for.
    pub image: Digest,
    /// The index, which is a document of the store.
    pub index: Digest,
}

/// A name that pointed elsewhere before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedTag {
    /// The name.
    pub reference: Reference,
    /// The image that had it.
    pub from: Digest,
}

impl State {
    /// Points a name to an image that is known; returns what it pointed to before, if that was another image.
    pub fn tag(&self, name: &NewName<'_>) -> Result<Option<MovedTag>> {
        self.atomically(Durability::Power, || {
            if self.image(name.image)?.is_none() {
                return Err(Error::NoImage { id: name.image.to_string() });
            }
            self.point(name)
        })
    }

    pub(super) fn point(&self, name: &NewName<'_>) -> Result<Option<MovedTag>> {
        let before = self.tagged(name.reference)?;
        let is_known = || -> Result<bool> {
            // What is not said now stays.
            let same = name.digest.is_none() || self.digest_of_name(name.reference)?.as_ref() == name.digest;
            Ok(same && self.index_of(name.reference)?.as_ref() == name.through)
        };
        if before.as_ref() == Some(name.image) && is_known()? {
            return Ok(None);
        }
        self.query("name an image", |connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO tags (reference, image, through, digest) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    name.reference.to_string(),
                    name.image.as_str(),
                    name.through.map(Digest::as_str),
                    name.digest.map(Digest::as_str)
                ])
        })?;
        let moved = before.filter(|from| from != name.image);
        Ok(moved.map(|from| MovedTag { reference: name.reference.clone(), from }))
    }

    /// The index by which a name leads to its image, if there is one.
    pub fn index_of(&self, reference: &Reference) -> Result<Option<Digest>> {
        let found: Option<Option<String>> = self.query("look for the index of a name", |connection| {
            connection
                .prepare_cached("SELECT through FROM tags WHERE reference = ?1")?
                .query_row([reference.to_string()], |row| row.get(0))
                .optional()
        })?;
        found.flatten().map(|text| digest(&text)).transpose()
    }

    /// What the registry of a name calls what it leads to, where that is known.
    pub fn digest_of_name(&self, reference: &Reference) -> Result<Option<Digest>> {
        let found: Option<Option<String>> = self.query("look for the digest of a name", |connection| {
            connection
                .prepare_cached("SELECT digest FROM tags WHERE reference = ?1")?
                .query_row([reference.to_string()], |row| row.get(0))
                .optional()
        })?;
        found.flatten().map(|text| digest(&text)).transpose()
    }

    /// The same for all names for which it is known.
    pub fn digests_of_names(&self) -> Result<BTreeMap<Reference, Digest>> {
        let rows: Vec<(String, String)> = self.query("list the digests of names", |connection| {
            connection
                .prepare_cached("SELECT reference, digest FROM tags WHERE digest IS NOT NULL")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(name, text)| Ok((reference(&name)?, digest(&text)?))).collect()
    }

    /// Every name that leads to its image by an index.
    pub fn indexed_names(&self) -> Result<Vec<IndexedName>> {
        let rows: Vec<(String, String, String)> =
            self.query("list the names with an index", |connection| {
                connection
                .prepare_cached(
                    "SELECT reference, image, through FROM tags WHERE through IS NOT NULL ORDER BY reference",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
            })?;
        let name = |(name, image, index): (String, String, String)| {
            Ok(IndexedName { reference: reference(&name)?, image: digest(&image)?, index: digest(&index)? })
        };
        rows.into_iter().map(name).collect()
    }

    /// The image a name points to.
    pub fn tagged(&self, reference: &Reference) -> Result<Option<Digest>> {
        let found: Option<String> = self.query("look for a name of an image", |connection| {
            connection
                .prepare_cached("SELECT image FROM tags WHERE reference = ?1")?
                .query_row([reference.to_string()], |row| row.get(0))
                .optional()
        })?;
        found.map(|text| digest(&text)).transpose()
    }

    /// Removes a name; tells whether there was one.
    pub fn untag(&self, reference: &Reference) -> Result<bool> {
        self.freeing(|| self.atomically(Durability::Power, || self.delete_tag(reference)))
    }

    pub(super) fn delete_tag(&self, reference: &Reference) -> Result<bool> {
        self.query("remove a name of an image", |connection| {
            connection
                .prepare_cached("DELETE FROM tags WHERE reference = ?1")?
                .execute([reference.to_string()])
                .map(|removed| removed != 0)
        })
    }

    /// Names of one image.
    pub fn tags_of(&self, image: &Digest) -> Result<Vec<Reference>> {
        let texts: Vec<String> = self.query("list the names of an image", |connection| {
            connection
                .prepare_cached("SELECT reference FROM tags WHERE image = ?1 ORDER BY reference")?
                .query_map([image.as_str()], |row| row.get(0))?
                .collect()
        })?;
        texts.iter().map(|text| reference(text)).collect()
    }
}
