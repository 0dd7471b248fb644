//! Manifests and indexes (image-spec, manifest.md and image-index.md) and their Docker twins.
//!
//! The same bytes must never be readable as two kinds of document: a registry and a client that disagree
//! about the kind disagree about the content (CVE-2021-41190). A document with members of both kinds is
//! therefore refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::MANIFEST_LIMIT;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::lenient::null_default;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// An image for one platform, or an artifact: a config and layers, base first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own type, where it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact this is, unless an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The image config.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Images of several platforms, in order of preference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own type, where it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact this is, unless an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Manifests, or indexes again.
    #[serde(default, deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
}

/// What a digest in a tag or an index stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Box<Index>),
}

/// What tells the kinds apart, without building either.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a document of which the bytes have been verified. `expected` is the type by which it was found;
    /// an empty type accepts either kind.
    ///
    /// # Errors
    /// If it is too large, not JSON, not of the expected kind, ambiguous, or of a version that is not 2.
    pub fn parse(bytes: &[u8], expected: &MediaType) -> Result<Self> {
        const KIND: &str = "image manifest";
        let size = bytes.len() as u64;
        if size > MANIFEST_LIMIT {
            return Err(Error::TooLarge { kind: KIND, size, limit: MANIFEST_LIMIT });
        }
        let json = |source| Error::Json { kind: KIND, source };
        let shape: Shape = serde_json::from_slice(bytes).map_err(json)?;
        let refuse = |reason: &str| Err(Error::Document { kind: KIND, reason: reason.to_owned() });
        if expected.is_legacy_manifest() || shape.fs_layers.is_some() || shape.schema_version == Some(1) {
            return refuse(
                "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported; ask its author \
                 to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2",
            );
        }
        if shape.schema_version != Some(2) {
            return refuse("schemaVersion is not 2");
        }
        let is_index = shape.manifests.is_some();
        let is_manifest = shape.config.is_some() || shape.layers.is_some();
        if is_index && is_manifest {
            return refuse("it has members of both a manifest and an index");
        }
        if !is_index && !is_manifest {
            return refuse("it has neither a config with layers nor manifests");
        }
        let own = shape.media_type.as_deref().map(MediaType::from).unwrap_or_default();
        for says in [expected, &own] {
            if (says.is_manifest() && is_index) || (says.is_index() && is_manifest) {
                return refuse(&format!("its members are not those of its type {says}"));
            }
        }
        if is_index {
            serde_json::from_slice(bytes).map(|index| Self::Index(Box::new(index))).map_err(json)
        } else {
            serde_json::from_slice(bytes).map(|manifest| Self::Manifest(Box::new(manifest))).map_err(json)
        }
    }
}

impl Manifest {
    /// Parses a document that must be a manifest; see [`Document::parse`].
    ///
    /// # Errors
    /// As [`Document::parse`], or if it is an index.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match Document::parse(bytes, &MediaType::OCI_MANIFEST)? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => {
                Err(Error::Document { kind: "image manifest", reason: "it is an index".to_owned() })
            }
        }
    }
}

impl Index {
    /// Parses a document that must be an index; see [`Document::parse`].
    ///
    /// # Errors
    /// As [`Document::parse`], or if it is a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        match Document::parse(bytes, &MediaType::OCI_INDEX)? {
            Document::Index(index) => Ok(*index),
            Document::Manifest(_) => {
                Err(Error::Document { kind: "image index", reason: "it is a manifest".to_owned() })
            }
        }
    }

    /// The entry that a host of `platform` runs best; among equals the first.
    ///
    /// Entries that name no platform, or `unknown` as attestations do, are not considered.
    #[must_use]
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let ranked =
            self.manifests.iter().filter_map(|entry| Some((platform.rank(entry.platform.as_ref()?)?, entry)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn descriptor(platform: &str) -> String {
        let (os, architecture) = platform.split_once('/').unwrap();
        let digest = Digest::of(platform.as_bytes());
        format!(
            r#"{{"mediaType":"x","digest":"{digest}","size":1,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
        )
    }

    #[test]
    fn documents_of_two_kinds_are_refused() {
        let config = descriptor("linux/amd64");
        let any = MediaType::default();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}]}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), &any), Ok(Document::Manifest(_))));
        assert!(matches!(Document::parse(index.as_bytes(), &any), Ok(Document::Index(_))));
        assert!(matches!(
            Document::parse(index.as_bytes(), &MediaType::OCI_MANIFEST),
            Err(Error::Document { .. })
        ));
        assert!(matches!(
            Document::parse(manifest.as_bytes(), &MediaType::DOCKER_LIST),
            Err(Error::Document { .. })
        ));
        let own = |kind: &str| manifest.replacen('{', &format!(r#"{{"mediaType":"{kind}","#), 1);
        assert!(Document::parse(own(MediaType::DOCKER_MANIFEST.as_str()).as_bytes(), &any).is_ok());
        assert!(Document::parse(own(MediaType::OCI_INDEX.as_str()).as_bytes(), &any).is_err());
        for bad in [
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#),
            r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.to_owned(),
            r#"{"schemaVersion":2}"#.to_owned(),
            r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#.to_owned(),
            format!(r#"{{"config":{config},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":1,"config":{config},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"fsLayers":[]}}"#),
            "[]".to_owned(),
            "{".to_owned(),
            String::new(),
            "[".repeat(100_000),
        ] {
            assert!(Document::parse(bad.as_bytes(), &any).is_err(), "{bad:.80}");
        }
        let large = vec![b' '; usize::try_from(MANIFEST_LIMIT).unwrap() + 1];
        assert!(matches!(Document::parse(&large, &any), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_platform_is_selected_by_rank_and_order() {
        let entries =
            ["unknown/unknown", "linux/arm64", "linux/amd64", "linux/x86_64"].map(descriptor).join(",");
        let index =
            Index::parse(format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#).as_bytes()).unwrap();
        let chosen = |text: &str| index.select(&text.parse().unwrap()).map(|entry| entry.digest.clone());
        assert_eq!(chosen("linux/amd64"), Some(Digest::of(b"linux/amd64")));
        assert_eq!(chosen("linux/arm64"), Some(Digest::of(b"linux/arm64")));
        assert_eq!(chosen("linux/s390x"), None);
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>) {
            drop(Document::parse(&bytes, &MediaType::default()));
        }
    }
}
