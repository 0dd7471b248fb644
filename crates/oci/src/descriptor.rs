//! A descriptor: what content is, how large it is, and the digest that names it (image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::lenient::null_default;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// Points at content. Fields that the specification does not name are kept in `other`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is. Docker's older writers leave it out of index entries.
    #[serde(default, deserialize_with = "null_default")]
    pub media_type: MediaType,
    /// The content's name.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// Where else the content may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub urls: Vec<String>,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, if it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What kind of artifact a manifest holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// What the content runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Fields of later versions, kept as they were.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// The annotation by which an entry of an index says of which manifest it attests something.
    pub const ATTESTS: &str = "vnd.docker.reference.digest";

    /// A descriptor of content with nothing else to say about it.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            artifact_type: None,
            platform: None,
            other: serde_json::Map::new(),
        }
    }

    /// A descriptor of `content`.
    #[must_use]
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// Whether this entry of an index is what a build tool attests of another entry, instead of an image: such are listed for
    /// a platform that does not exist.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        let unknown = self.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        unknown || self.annotations.contains_key("vnd.docker.reference.type")
    }

    /// The manifest that an attestation is about, as its entry in an index names it.
    #[must_use]
    pub fn attests(&self) -> Option<Digest> {
        self.annotations.get(Self::ATTESTS)?.parse().ok()
    }

    /// Whether `content` is what this describes: first by size, then by digest.
    ///
    /// # Errors
    /// [`Error::Document`] for the size, [`Error::DigestMismatch`] for the digest, [`Error::Digest`] if it
    /// cannot be verified.
    pub fn verify(&self, content: &[u8]) -> Result<()> {
        if content.len() as u64 != self.size {
            let reason =
                format!("{} has {} bytes, its descriptor says {}", self.digest, content.len(), self.size);
            return Err(Error::Document { kind: "descriptor", reason });
        }
        self.digest.verify(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_kept() {
        let text = format!(
            r#"{{"mediaType":"a/b","digest":"{}","size":3,"annotations":{{"k":""}},"future":{{"x":[1,null]}}}}"#,
            Digest::of(b"abc")
        );
        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
        descriptor.verify(b"abc").unwrap();
        assert!(descriptor.verify(b"abcd").is_err());
        assert!(descriptor.verify(b"abd").is_err());
    }

    #[test]
    fn a_descriptor_without_digest_or_with_a_bad_size_is_refused() {
        let digest = Digest::of(b"");
        for bad in [
            r#"{"mediaType":"a","size":0}"#.to_owned(),
            format!(r#"{{"mediaType":"a","digest":"{digest}","size":-1}}"#),
            format!(r#"{{"mediaType":"a","digest":"{digest}"}}"#),
            format!(r#"{{"mediaType":"a","digest":"{digest}","digest":"{digest}","size":0}}"#),
            r#"{"mediaType":"a","digest":"../x","size":0}"#.to_owned(),
        ] {
            assert!(serde_json::from_str::<Descriptor>(&bad).is_err(), "{bad}");
        }
    }
}
