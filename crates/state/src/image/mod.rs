//! Images and the names that point to them. Writing a name is durable; everything else follows from it.

mod names;
mod sources;

use std::collections::BTreeMap;

use oci::{Descriptor, DiffId, Digest, Platform, Reference, Timestamp};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::container::Lookup;
use crate::{Durability, Error, Result, State};

pub use names::{IndexedName, MovedTag, NewName};
pub use sources::LayerSource;

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

/// An image with its names, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedImage {
    /// The image.
    pub image: ImageRecord,
    /// Canonical references to it.
    pub tags: Vec<Reference>,
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

    /// Notes the time at which images have come once more, if nothing else is new: what is known of them and where these names lead.
    /// Else nothing is changed, and false is returned. The content need not be made durable again then: it was before what is
    /// known of it was. The time may be lost with the power.
    pub fn renew_images(&self, images: &[(ImageRecord, &[Reference])]) -> Result<bool> {
        self.atomically(Durability::Process, || {
            let mut renewed = Vec::with_capacity(images.len());
            for (image, tags) in images {
                let Some(known) = self.image(&image.id)? else { return Ok(false) };
                let next = image.clone().with_known(known.clone());
                if (ImageRecord { stored: known.stored, ..next.clone() }) != known {
                    return Ok(false);
                }
                for tag in *tags {
                    let leads_here = self.tagged(tag)?.as_ref() == Some(&image.id);
                    if !leads_here || self.index_of(tag)?.is_some() {
                        return Ok(false);
                    }
                }
                renewed.push(next);
            }
            renewed.iter().try_for_each(|image| self.write_record(image))?;
            Ok(true)
        })
    }

    /// The same as [`State::put_image`] for images that come from `repository`, where their layers are the blobs that their records name. They have
    /// no names by this.
    pub fn put_fetched_images(&self, images: &[ImageRecord], repository: &str) -> Result<()> {
        self.atomically(Durability::Power, || {
            images.iter().try_for_each(|image| self.put_record(image, Some(repository)))
        })
    }

    fn put_record(&self, image: &ImageRecord, repository: Option<&str>) -> Result<()> {
        let known = self.image(&image.id)?;
        let image = &known.map_or_else(|| image.clone(), |known| image.clone().with_known(known));
        if let Some(repository) = repository {
            for layer in &image.layers {
                if let Some(blob) = &layer.blob {
                    self.put_source(&layer.diff_id, blob, repository)?;
                }
            }
        }
        self.write_record(image)
    }

    fn write_record(&self, image: &ImageRecord) -> Result<()> {
        let record = serde_json::to_string(image).map_err(|source| malformed(&image.id, source))?;
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
            self.write_record(&image)
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

    /// Removes images that no name stands for and no container uses. Somebody may have named one of them a moment ago: that one
    /// stays. Tells which are gone.
    pub fn forget_unnamed_images(&self, images: &[Digest]) -> Result<Vec<Digest>> {
        let forget = || {
            let mut gone = Vec::new();
            for id in images {
                let is_wanted = !self.tags_of(id)?.is_empty() || !self.containers_of_image(id)?.is_empty();
                if !is_wanted && self.delete_image(id)? {
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
