//! What is attested of an image: a manifest of in-toto statements beside it in its index.
//!
//! A statement names what it is about by the digest of the image's manifest. Elsewhere the same image may have another manifest: an
//! archive holds layers uncompressed, a push compresses them. There the statement names that one. Nothing in it is signed; what would be (an envelope
//! around a statement) is not touched, and stays about what it was about.

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, ImageConfig, Manifest, MediaType};
use serde_json::Value;

use super::contents::Contents;
use crate::error::{Error, Result};
use crate::store::Store;

/// A statement that stands for itself.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The most statements of one image.
const STATEMENTS_LIMIT: usize = 64;

/// All of one entry.
#[derive(Clone, Debug)]
pub struct Attested {
    /// What the index says of it.
    pub entry: Descriptor,
    /// The manifest that it is about.
    pub subject: Digest,
    manifest: Manifest,
    /// The manifest, its config and the statements.
    pub documents: BTreeMap<Digest, Vec<u8>>,
}

impl Attested {
    /// What an entry of an index leads to in the store; none unless all of it is there.
    #[must_use]
    pub fn read(store: &Store, entry: &Descriptor) -> Option<Self> {
        Self::collect(entry, &mut |blob| store.blob(&blob.digest).ok())
    }

    /// What an entry of an index leads to in an archive; none unless all of it is there.
    pub(super) fn find(contents: &Contents, entry: &Descriptor) -> Option<Self> {
        Self::collect(entry, &mut |blob| contents.attested(blob))
    }

    fn collect(entry: &Descriptor, read: &mut dyn FnMut(&Descriptor) -> Option<Vec<u8>>) -> Option<Self> {
        if !entry.is_attestation() {
            return None;
        }
        let subject = entry.attests()?;
        let bytes = read(entry)?;
        let manifest =
            Manifest::parse(&bytes).ok().filter(|manifest| manifest.layers.len() <= STATEMENTS_LIMIT)?;
        let mut documents = BTreeMap::from([(entry.digest.clone(), bytes)]);
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            documents.insert(blob.digest.clone(), read(blob)?);
        }
        Some(Self { entry: entry.clone(), subject, manifest, documents })
    }

    /// What the manifest names: its config and the statements.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.manifest.config).chain(&self.manifest.layers)
    }

    /// The same of another manifest of the same image.
    ///
    /// # Errors
    /// If what says it cannot be written as JSON.
    pub fn about(mut self, subject: &Descriptor) -> Result<Self> {
        if self.subject == subject.digest {
            return Ok(self);
        }
        let before = self.subject.clone();
        self.documents.remove(&self.entry.digest);
        for layer in &mut self.manifest.layers {
            let Some(statement) = self.documents.get(&layer.digest) else { continue };
            if layer.media_type.as_str() != STATEMENT {
                continue;
            }
            let Some(bytes) = restated(statement, &before, &subject.digest) else { continue };
            let annotations = std::mem::take(&mut layer.annotations);
            *layer = Descriptor { annotations, ..Descriptor::of(MediaType::from(STATEMENT), &bytes) };
            self.documents.insert(layer.digest.clone(), bytes);
        }
        self.describe_layers();
        if let Some(about) = self.manifest.subject.as_mut().filter(|about| about.digest == before) {
            *about = Descriptor::new(subject.media_type.clone(), subject.digest.clone(), subject.size);
        }
        let json = |source| Error::Json { entry: "what is attested of an image".to_owned(), source };
        let bytes = serde_json::to_vec(&self.manifest).map_err(json)?;
        let digest = Digest::of(&bytes);
        self.entry.annotations.insert(Descriptor::ATTESTS.to_owned(), subject.digest.to_string());
        (self.entry.size, self.entry.digest) = (bytes.len() as u64, digest.clone());
        (self.entry.data, self.subject) = (None, subject.digest.clone());
        self.documents.insert(digest, bytes);
        let kept: Vec<Digest> =
            self.blobs().map(|blob| blob.digest.clone()).chain([self.entry.digest.clone()]).collect();
        self.documents.retain(|digest, _| kept.contains(digest));
        Ok(self)
    }

    /// A config that is an image's names the statements as its layers.
    fn describe_layers(&mut self) {
        let config = &self.manifest.config;
        let parsed = self.documents.get(&config.digest).and_then(|bytes| ImageConfig::parse(bytes).ok());
        let Some(mut parsed) = parsed.filter(|_| config.media_type.is_config()) else { return };
        parsed.rootfs.diff_ids =
            self.manifest.layers.iter().filter_map(|layer| layer.digest.clone().try_into().ok()).collect();
        let bytes = parsed.to_bytes();
        self.manifest.config = Descriptor::of(config.media_type.clone(), &bytes);
        self.documents.insert(self.manifest.config.digest.clone(), bytes);
    }
}

/// A statement about `now`, where it was about `before`; none if it was not.
fn restated(statement: &[u8], before: &Digest, now: &Digest) -> Option<Vec<u8>> {
    let mut statement: Value = serde_json::from_slice(statement).ok()?;
    let mut found = false;
    for subject in statement.get_mut("subject")?.as_array_mut()? {
        let Some(digests) = subject.get_mut("digest").and_then(Value::as_object_mut) else { continue };
        let is_it = digests.get(before.algorithm_name()).is_some_and(|digest| digest == before.encoded());
        if is_it {
            digests.remove(before.algorithm_name());
            digests.insert(now.algorithm_name().to_owned(), now.encoded().into());
            found = true;
        }
    }
    found.then(|| statement.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_about_another_digest_only_where_it_was_about_that() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let statement = |digest: &Digest| {
            format!(
                r#"{{"subject":[{{"digest":{{"sha256":"{}"}},"name":"n"}},{{"name":"o"}}]}}"#,
                digest.encoded()
            )
        };
        let restated_as = restated(statement(&one).as_bytes(), &one, &two).unwrap();
        assert_eq!(String::from_utf8(restated_as).unwrap(), statement(&two));
        assert_eq!(restated(statement(&two).as_bytes(), &one, &two), None);
        for bad in ["", "{", "[]", r#"{"subject":{}}"#, r#"{"subject":[1]}"#] {
            assert_eq!(restated(bad.as_bytes(), &one, &two), None, "{bad}");
        }
    }
}
