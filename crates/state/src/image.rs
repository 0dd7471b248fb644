//! Images and the names that point to them. Writing a name is durable; everything else follows from it.

use std::collections::BTreeMap;

use oci::{Descriptor, DiffId, Digest, Platform, Reference, Timestamp};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::container::Lookup;
use crate::{Durability, Error, Result, State};

/// What is known of an image beside its blobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its configuration.
    pub id: Digest,
    /// Its manifest as it came, when it came with one.
    pub manifest: Option<Descriptor>,
    /// Repositories in which that manifest is known (`docker.io/library/busybox`).
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Names with a digest under which registries gave it: that of its manifest, or of an index that leads there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Reference>,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made, as it says itself.
    pub created: Option<Timestamp>,
    /// When it came here.
    pub stored: Timestamp,
    /// Bytes of all layers.
    pub size: u64,
    /// Base first.
    pub layers: Vec<LayerRecord>,
    /// Documents about it that are kept with it and go with it to registries, where each becomes a referrer of its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attached: Vec<Descriptor>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed tar, which is its name in the store.
    pub diff_id: DiffId,
    /// Bytes of the uncompressed tar.
    pub size: u64,
    /// The blob that it was where it came from; the tar itself where a manifest names it so. Missing where it came in a
    /// docker-archive, or was made here.
    pub blob: Option<Descriptor>,
}

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

/// An image with its names, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedImage {
    /// The image.
    pub image: ImageRecord,
    /// Canonical references to it.
    pub tags: Vec<Reference>,
}

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
    /// Makes an image known, with names for it; returns the names that other images lost. Content must be on disk
    /// before, and be durable: this is what makes it reachable.
    ///
    /// What is known of the image from before, and not said now, stays: its manifest, and where it has been found.
    pub fn put_image(&self, image: &ImageRecord, tags: &[Reference]) -> Result<Vec<MovedTag>> {
        self.atomically(Durability::Power, || {
            self.put_record(image, None)?;
            let name = |reference| NewName { reference, image: &image.id, through: None, digest: None };
            let names = tags.iter().map(name);
            names.filter_map(|name| self.point(&name).transpose()).collect()
        })
    }

    /// The same for images that come from `repository`, where their layers are the blobs that their records name. They have
    /// no names by this.
    pub fn put_fetched_images(&self, images: &[ImageRecord], repository: &str) -> Result<()> {
        self.atomically(Durability::Power, || {
            images.iter().try_for_each(|image| self.put_record(image, Some(repository)))
        })
    }

    fn put_record(&self, image: &ImageRecord, repository: Option<&str>) -> Result<()> {
        let known = self.image(&image.id)?;
        let image = &known.map_or_else(|| image.clone(), |known| image.clone().with_known(known));
        let record = serde_json::to_string(image).map_err(|source| malformed(&image.id, source))?;
        if let Some(repository) = repository {
            for layer in &image.layers {
                if let Some(blob) = &layer.blob {
                    self.put_source(&layer.diff_id, blob, repository)?;
                }
            }
        }
        self.query("record an image", |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO images (id, record) VALUES (?1, ?2)")?
                .execute(params![image.id.as_str(), record])
                .map(drop)
        })
    }

    /// Remembers that a registry has an image under the name `tag`, what it calls what that leads to, and that it has the
    /// image's layers as `blobs` there. An image that is gone meanwhile is not missed.
    pub fn put_pushed(
        &self,
        id: &Digest,
        (tag, digest): (&Reference, &Digest),
        blobs: &[(DiffId, Descriptor)],
    ) -> Result<()> {
        let reference = &tag.with_digest(digest.clone());
        self.atomically(Durability::Power, || {
            let Some(mut image) = self.image(id)? else { return Ok(()) };
            if !image.digests.contains(reference) {
                image.digests.push(reference.clone());
            }
            self.query("record the digest of a name", |connection| {
                connection
                    .prepare_cached("UPDATE tags SET digest = ?1 WHERE reference = ?2 AND image = ?3")?
                    .execute(params![digest.as_str(), tag.to_string(), id.as_str()])
                    .map(drop)
            })?;
            for (layer, blob) in blobs {
                self.put_source(layer, blob, &reference.name())?;
            }
            let record = serde_json::to_string(&image).map_err(|source| malformed(id, source))?;
            self.query("record an image", |connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO images (id, record) VALUES (?1, ?2)")?
                    .execute(params![id.as_str(), record])
                    .map(drop)
            })
        })
    }

    /// Points a name to an image that is known; returns what it pointed to before, if that was another image.
    pub fn tag(&self, name: &NewName<'_>) -> Result<Option<MovedTag>> {
        self.atomically(Durability::Power, || {
            if self.image(name.image)?.is_none() {
                return Err(Error::NoImage { id: name.image.to_string() });
            }
            self.point(name)
        })
    }

    fn point(&self, name: &NewName<'_>) -> Result<Option<MovedTag>> {
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

    fn delete_tag(&self, reference: &Reference) -> Result<bool> {
        self.query("remove a name of an image", |connection| {
            connection
                .prepare_cached("DELETE FROM tags WHERE reference = ?1")?
                .execute([reference.to_string()])
                .map(|removed| removed != 0)
        })
    }

    /// Removes names; and images, with every other name of them, unless a container uses them or they are to be kept, which
    /// is what stands beside them. Tells which are gone. Their content may be removed after this.
    pub fn forget_images(&self, names: &[Reference], images: &[(Digest, bool)]) -> Result<Vec<Digest>> {
        let forget = || {
            for name in names {
                self.delete_tag(name)?;
            }
            let mut gone = Vec::new();
            for (id, kept) in images {
                // Looked at within the transaction: a container may have been made meanwhile.
                if !kept && self.containers_of_image(id)?.is_empty() && self.delete_image(id)? {
                    gone.push(id.clone());
                }
            }
            Ok(gone)
        };
        self.freeing(|| self.atomically(Durability::Power, forget))
    }

    /// One image.
    pub fn image(&self, id: &Digest) -> Result<Option<ImageRecord>> {
        let found: Option<String> = self.query("read an image", |connection| {
            connection
                .prepare_cached("SELECT record FROM images WHERE id = ?1")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()
        })?;
        found.map(|text| record(id.as_str(), &text)).transpose()
    }

    /// The image whose id begins with the hex digits `prefix`.
    pub fn find_image(&self, prefix: &str) -> Result<Lookup<Digest>> {
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Lookup::Missing);
        }
        let ids: Vec<String> = self.query("look for an image by id", |connection| {
            connection
                .prepare_cached("SELECT id FROM images WHERE id BETWEEN ?1 AND ?1 || 'g' LIMIT 2")?
                .query_map([format!("sha256:{}", prefix.to_ascii_lowercase())], |row| row.get(0))?
                .collect()
        })?;
        match &ids[..] {
            [] => Ok(Lookup::Missing),
            [id] => Ok(Lookup::Found(digest(id)?)),
            _ => Ok(Lookup::Ambiguous),
        }
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

    /// Every image with its names.
    pub fn images(&self) -> Result<Vec<NamedImage>> {
        let rows: Vec<(String, String)> = self.query("list images", |connection| {
            connection
                .prepare_cached("SELECT id, record FROM images ORDER BY id")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let names: Vec<(String, String)> = self.query("list the names of images", |connection| {
            connection
                .prepare_cached("SELECT image, reference FROM tags ORDER BY image, reference")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let mut names = names.into_iter().peekable();
        let mut images = Vec::with_capacity(rows.len());
        for (id, text) in rows {
            let mut tags = Vec::new();
            while let Some((_, name)) = names.next_if(|(image, _)| *image <= id) {
                tags.push(reference(&name)?);
            }
            images.push(NamedImage { image: record(&id, &text)?, tags });
        }
        Ok(images)
    }

    /// When the last container of each image was removed, to the hour. Those that never had one are missing.
    pub fn image_uses(&self) -> Result<BTreeMap<String, Timestamp>> {
        let rows: Vec<(String, i64)> = self.query("list the last uses of images", |connection| {
            connection
                .prepare_cached("SELECT image, used FROM image_uses")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let time = |seconds| Timestamp::new(seconds, 0).unwrap_or(Timestamp::EPOCH);
        Ok(rows.into_iter().map(|(image, used)| (image, time(used))).collect())
    }

    /// Forgets an image and every name of it; tells whether it was known. Its content may be removed after this.
    pub fn remove_image(&self, id: &Digest) -> Result<bool> {
        self.freeing(|| self.atomically(Durability::Power, || self.delete_image(id)))
    }

    fn delete_image(&self, id: &Digest) -> Result<bool> {
        self.query("remove an image", |connection| {
            connection.prepare_cached("DELETE FROM tags WHERE image = ?1")?.execute([id.as_str()])?;
            connection.prepare_cached("DELETE FROM image_uses WHERE image = ?1")?.execute([id.as_str()])?;
            let removed =
                connection.prepare_cached("DELETE FROM images WHERE id = ?1")?.execute([id.as_str()])?;
            connection
                .prepare_cached(
                    "DELETE FROM sources WHERE diff_id NOT IN (SELECT json_extract(layer.value, '$.diff_id')
                     FROM images, json_each(images.record, '$.layers') AS layer)",
                )?
                .execute([])?;
            Ok(removed != 0)
        })
    }

    /// Remembers the blob that a layer is in a repository; of each registry the newest places alone.
    fn put_source(&self, layer: &DiffId, blob: &Descriptor, repository: &str) -> Result<()> {
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

impl ImageRecord {
    /// With what was known before and is not said now.
    fn with_known(mut self, known: ImageRecord) -> Self {
        self.manifest = self.manifest.or(known.manifest);
        let repositories = known.repositories.into_iter().filter(|name| !self.repositories.contains(name));
        let repositories: Vec<_> = repositories.collect();
        self.repositories.extend(repositories);
        let digests: Vec<_> = known.digests.into_iter().filter(|name| !self.digests.contains(name)).collect();
        self.digests.extend(digests);
        let attached: Vec<_> =
            known.attached.into_iter().filter(|one| !self.attached.contains(one)).collect();
        self.attached.extend(attached);
        for (layer, known) in self.layers.iter_mut().zip(known.layers) {
            if layer.diff_id == known.diff_id && layer.blob.is_none() {
                layer.blob = known.blob;
            }
        }
        self
    }
}

fn record(id: &str, text: &str) -> Result<ImageRecord> {
    serde_json::from_str(text).map_err(|source| malformed(&id, source))
}

fn malformed(id: &dyn std::fmt::Display, source: serde_json::Error) -> Error {
    Error::Malformed { what: "the record", subject: format!("image {id}"), source: source.into() }
}

fn digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|source: oci::Error| Error::Malformed {
        what: "the id",
        subject: format!("image {text}"),
        source: source.into(),
    })
}

fn reference(text: &str) -> Result<Reference> {
    text.parse().map_err(|source: oci::Error| Error::Malformed {
        what: "the name",
        subject: text.to_owned(),
        source: source.into(),
    })
}
