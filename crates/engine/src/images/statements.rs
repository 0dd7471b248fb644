//! What is attested of images, as documents: of images that are here, and of those that registries have.
//!
//! ```text
//! name ─► index ─┬► manifest of an image ◄── about ──┐
//!                └► attestation manifest ─► statements ┘  in-toto, by itself or within an envelope (DSSE)
//! ```
//!
//! A statement says of what kind its predicate is by an annotation of its descriptor, so that only what is asked for is read. Whether
//! it is true, nobody has looked: who signed an envelope is not asked.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, Digest, Document, Manifest, Reference};
use registry_client::{Client, Repository};
use serde_json::Value;

use super::failed;
use super::manifests::{images_of, manifest_at, parse, refused};
use super::platforms::{Entry, Listing};
use crate::{Engine, Error, Result};

/// The largest statement that is read of a registry: bills of materials are long.
const STATEMENT_LIMIT: u64 = 64 << 20;
/// The most attestation manifests of one index that are read.
const MANIFESTS_LIMIT: usize = 256;
/// The annotation that says of what kind a predicate is.
const KIND: &str = "in-toto.io/predicate-type";

/// Which predicates are wanted, by their kinds.
pub type WantedPredicates<'w> = &'w dyn Fn(&str) -> bool;

/// What is attested of the images of a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statements {
    /// Whether the name leads to several images, of which each has a platform of its own.
    pub is_several: bool,
    /// By platform, in the order in which they are attested.
    pub platforms: BTreeMap<String, Vec<Predicate>>,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    /// Its kind, by its address: `https://slsa.dev/provenance/v1`.
    pub kind: String,
    /// It.
    pub content: Value,
}

/// What a registry has under a name.
#[derive(Clone, Debug)]
pub struct RemoteImages {
    /// Its name, spelled out.
    pub reference: String,
    /// What the name stands for.
    pub descriptor: Descriptor,
    /// It, byte for byte.
    pub document: Vec<u8>,
    /// Configs of its images by platform, where they were asked for.
    pub configs: BTreeMap<String, Value>,
    /// What is attested of them.
    pub statements: Statements,
}

impl Engine {
    /// What is attested of the images of a name and is here; with a platform, of that one.
    ///
    /// # Errors
    /// If there is no such image, or a statement is none.
    pub fn image_statements(
        &self,
        name: &str,
        platform: Option<&str>,
        wanted: WantedPredicates<'_>,
    ) -> Result<Statements> {
        let (_, reference) = self.resolve_reference(name)?;
        let index = reference.as_ref().map(|reference| self.index_of(reference)).transpose()?.flatten();
        let listing = index.map(|index| self.listing(&index)).transpose()?;
        let mut found = Statements::default();
        if let (Some(listing), None) = (&listing, platform) {
            found.is_several = listing.entries.len() > 1;
            for Entry { platform, manifest, image } in &listing.entries {
                if image.is_some() {
                    let own = self.predicates_here(listing.about(&manifest.digest), wanted)?;
                    found.platforms.insert(platform.to_string(), own);
                }
            }
        }
        if found.platforms.is_empty() {
            let id = self.resolve_for(name, platform)?;
            let platform = self.image_record(&id)?.platform.normalized().to_string();
            // Of a name counts what that name leads to; other names may attest the same image.
            let own = match reference {
                Some(_) => among(listing.as_slice(), &id),
                None => self.statements_of(&id)?,
            };
            found.platforms.insert(platform, self.predicates_here(own.iter(), wanted)?);
        }
        Ok(found)
    }

    fn predicates_here<'s>(
        &self,
        statements: impl Iterator<Item = &'s Descriptor>,
        wanted: WantedPredicates<'_>,
    ) -> Result<Vec<Predicate>> {
        let read = |statement: &Descriptor| {
            self.store.blob(&statement.digest).map_err(failed("read what is attested of the image"))
        };
        predicates(statements, wanted, &read)
    }

    /// What a registry has under a name: what it is, what is attested of its images and, if they are wanted, their configs.
    ///
    /// # Errors
    /// If it cannot be had, or a statement is none.
    pub fn remote_images(
        &self,
        client: &Client,
        name: &str,
        (with_configs, wanted): (bool, WantedPredicates<'_>),
    ) -> Result<RemoteImages> {
        let reference = parse(name)?;
        let repository =
            client.repository(&reference).map_err(|source| refused("inspect", &reference, source))?;
        let top = manifest_at(&repository, &reference, "inspect")?;
        let mut found = RemoteImages {
            reference: reference.to_string(),
            descriptor: top.descriptor.clone(),
            document: top.bytes.clone(),
            configs: BTreeMap::new(),
            statements: Statements::default(),
        };
        let Document::Index(index) = top.document.clone() else {
            found.add(&repository, &reference, (String::new(), &top.bytes), with_configs)?;
            return Ok(found);
        };
        let mut about: BTreeMap<Digest, Vec<Predicate>> = BTreeMap::new();
        let attested = index.manifests.iter().filter(|entry| entry.is_attestation());
        for entry in attested.take(MANIFESTS_LIMIT) {
            let Some(digest) = entry.attests() else { continue };
            about.entry(digest).or_default().extend(there(&repository, &reference, entry, wanted)?);
        }
        let images = images_of(&repository, &reference, top)?;
        found.statements.is_several = images.len() > 1;
        for image in images {
            let platform = image.descriptor.platform.clone().unwrap_or_default().normalized().to_string();
            let own = about.remove(&image.descriptor.digest).unwrap_or_default();
            found.statements.platforms.insert(platform.clone(), own);
            found.add(&repository, &reference, (platform, &image.manifest), with_configs)?;
        }
        Ok(found)
    }

    /// The statements about an image, by the indexes through which names lead to it.
    pub(super) fn statements_of(&self, id: &Digest) -> Result<Vec<Descriptor>> {
        // Each question has the database for itself.
        let (mut indexes, mut listings) = (BTreeSet::new(), Vec::new());
        let tags = self.state().tags_of(id)?;
        for tag in tags {
            indexes.extend(self.state().index_of(&tag)?);
        }
        for index in &indexes {
            listings.push(self.listing(index)?);
        }
        if listings.is_empty() {
            // No name stands for it: it is there for another platform than that of the host.
            listings.extend(self.indexed()?.names.into_iter().map(|(_, _, listing)| listing));
        }
        Ok(among(&listings, id))
    }
}

/// The statements about an image in some indexes, each once.
fn among(listings: &[Listing], id: &Digest) -> Vec<Descriptor> {
    let mut found = BTreeMap::new();
    for listing in listings {
        let is_it = |entry: &&Entry| entry.image.as_ref().is_some_and(|image| image.id == *id);
        for entry in listing.entries.iter().filter(is_it) {
            let own = listing.about(&entry.manifest.digest);
            found.extend(own.map(|statement| (statement.digest.clone(), statement.clone())));
        }
    }
    found.into_values().collect()
}

impl RemoteImages {
    /// Adds the config of an image.
    fn add(
        &mut self,
        repository: &Repository,
        reference: &Reference,
        (platform, manifest): (String, &[u8]),
        is_wanted: bool,
    ) -> Result<()> {
        let manifest =
            Manifest::parse(manifest).ok().filter(|one| is_wanted && one.config.media_type.is_config());
        if let Some(manifest) = manifest {
            let config = repository.small_blob(&manifest.config, oci::CONFIG_LIMIT);
            let config = config.map_err(|source| refused("inspect", reference, source))?;
            self.configs.extend(serde_json::from_slice(&config).ok().map(|config| (platform, config)));
        }
        Ok(())
    }
}

/// What an attestation manifest of a registry leads to.
fn there(
    repository: &Repository,
    reference: &Reference,
    entry: &Descriptor,
    wanted: WantedPredicates<'_>,
) -> Result<Vec<Predicate>> {
    let fetched =
        repository.manifest_of_index(entry).map_err(|source| refused("inspect", reference, source))?;
    let Document::Manifest(manifest) = fetched.document else { return Ok(Vec::new()) };
    let read = |statement: &Descriptor| {
        repository
            .small_blob(statement, STATEMENT_LIMIT)
            .map_err(|source| refused("inspect", reference, source))
    };
    predicates(manifest.layers.iter(), wanted, &read)
}

/// The predicates of statements that are of a wanted kind.
fn predicates<'s>(
    statements: impl Iterator<Item = &'s Descriptor>,
    wanted: WantedPredicates<'_>,
    read: &dyn Fn(&Descriptor) -> Result<Vec<u8>>,
) -> Result<Vec<Predicate>> {
    let mut found = Vec::new();
    for statement in statements {
        let kind = statement.annotations.get(KIND).map(String::as_str).unwrap_or_default();
        let media_type = statement.media_type.as_str();
        let is_wrapped = media_type.starts_with("application/vnd.in-toto.") && media_type.ends_with("+dsse");
        if !wanted(kind) || !(is_wrapped || media_type == "application/vnd.in-toto+json") {
            continue;
        }
        let content = predicate(&read(statement)?, is_wrapped)
            .ok_or_else(|| Error::BadStatement { digest: statement.digest.to_string() })?;
        found.push(Predicate { kind: kind.to_owned(), content });
    }
    Ok(found)
}

/// The predicate of a statement, which may be what an envelope holds.
fn predicate(bytes: &[u8], is_wrapped: bool) -> Option<Value> {
    let mut statement: Value = serde_json::from_slice(bytes).ok()?;
    if is_wrapped {
        let payload = STANDARD.decode(statement.get("payload")?.as_str()?).ok()?;
        statement = serde_json::from_slice(&payload).ok()?;
    }
    Some(statement.get_mut("predicate")?.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_are_read_of_statements_and_of_envelopes() {
        let statement = br#"{"predicate":{"a":1}}"#;
        let envelope = format!(r#"{{"payload":"{}","signatures":[]}}"#, STANDARD.encode(statement));
        let want = Some(serde_json::json!({ "a": 1 }));
        assert_eq!(predicate(statement, false), want);
        assert_eq!(predicate(envelope.as_bytes(), true), want);
        for (bytes, is_wrapped) in
            [(&b"x"[..], false), (b"{}", false), (b"[]", false), (b"{}", true), (br#"{"payload":"!"}"#, true)]
        {
            assert_eq!(predicate(bytes, is_wrapped), None);
        }
    }
}
