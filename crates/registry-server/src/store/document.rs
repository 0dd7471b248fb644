//! What a pushed manifest says, as far as the registry needs to know.

use std::collections::BTreeMap;

use oci::{Algorithm, Descriptor, Digest, MediaType};

use super::records::{Document, NewManifest};

/// Descriptors that one document may hold. The largest images have some hundred layers.
const MOST: usize = 10_000;

/// Why a manifest is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is none.
    #[error(transparent)]
    Document(#[from] oci::Error),
    /// A type that is no manifest's.
    #[error("{0} is not the type of a manifest or an index")]
    Type(String),
    /// What it is sent as and what it says it is.
    #[error("it is sent as {sent} and says it is {said}")]
    TwoTypes {
        /// By Content-Type.
        sent: MediaType,
        /// By its own `mediaType`.
        said: MediaType,
    },
    /// It has more descriptors than anybody needs.
    #[error("it names more than {MOST} others")]
    TooMany,
    /// It names content by a digest that cannot be verified.
    #[error("{0} is not a sha256 or sha512 digest")]
    Algorithm(Digest),
}

impl NewManifest {
    /// Takes apart what was sent as `sent` and has been verified against `digest`.
    ///
    /// # Errors
    /// If it is not a manifest that can be stored.
    pub fn parse(content: Vec<u8>, digest: Digest, sent: &MediaType) -> Result<Self, Unfit> {
        if !sent.as_str().is_empty() && !sent.is_manifest() && !sent.is_index() && !sent.is_legacy_manifest()
        {
            return Err(Unfit::Type(sent.as_str().to_owned()));
        }
        match oci::Document::parse(&content, sent)? {
            oci::Document::Manifest(manifest) => {
                let kind =
                    manifest.artifact_type.clone().unwrap_or_else(|| manifest.config.media_type.clone());
                let needed = std::iter::once(&manifest.config)
                    .chain(manifest.layers.iter().filter(|l| !is_foreign(l)));
                let blobs = needed.map(|needed| (needed.digest.clone(), needed.size)).collect();
                let parts = Parts {
                    said: manifest.media_type,
                    otherwise: MediaType::OCI_MANIFEST,
                    kind: Some(kind),
                    blobs,
                    members: Vec::new(),
                    subject: manifest.subject,
                    annotations: manifest.annotations,
                };
                parts.join(content, digest, sent)
            }
            oci::Document::Index(index) => {
                let parts = Parts {
                    said: index.media_type,
                    otherwise: MediaType::OCI_INDEX,
                    kind: index.artifact_type,
                    blobs: Vec::new(),
                    members: index.manifests.into_iter().map(|member| member.digest).collect(),
                    subject: index.subject,
                    annotations: index.annotations,
                };
                parts.join(content, digest, sent)
            }
        }
    }
}

/// What manifests and indexes have in common.
struct Parts {
    said: Option<MediaType>,
    otherwise: MediaType,
    kind: Option<MediaType>,
    blobs: Vec<(Digest, u64)>,
    members: Vec<Digest>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
}

impl Parts {
    fn join(self, content: Vec<u8>, digest: Digest, sent: &MediaType) -> Result<NewManifest, Unfit> {
        let media_type = match (&self.said, sent.as_str().is_empty()) {
            (Some(said), false) if said != sent => {
                return Err(Unfit::TwoTypes { sent: sent.clone(), said: said.clone() });
            }
            (_, false) => sent.clone(),
            (Some(said), true) => said.clone(),
            (None, true) => self.otherwise,
        };
        if self.blobs.len() + self.members.len() > MOST {
            return Err(Unfit::TooMany);
        }
        let subject = self.subject.map(|subject| subject.digest);
        let digests = self.blobs.iter().map(|(digest, _)| digest).chain(&self.members).chain(&subject);
        for named in digests {
            if named.algorithm() == Algorithm::Other {
                return Err(Unfit::Algorithm(named.clone()));
            }
        }
        // A map of texts always has a form.
        let annotations =
            if self.annotations.is_empty() { None } else { serde_json::to_string(&self.annotations).ok() };
        Ok(NewManifest {
            document: Document { digest, media_type, content },
            blobs: self.blobs,
            members: self.members,
            subject,
            artifact_type: self.kind.map(|kind| kind.as_str().to_owned()).filter(|kind| !kind.is_empty()),
            annotations,
        })
    }
}

/// A layer that its owner serves, and that no registry has to hold.
fn is_foreign(layer: &Descriptor) -> bool {
    let text = layer.media_type.as_str();
    !layer.urls.is_empty() && (text.contains(".nondistributable.") || text.contains(".foreign."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, sent: &MediaType) -> Result<NewManifest, Unfit> {
        NewManifest::parse(text.as_bytes().to_vec(), Digest::of(text.as_bytes()), sent)
    }

    fn descriptor(media_type: &str, more: &str) -> String {
        let digest = Digest::of(media_type.as_bytes());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":7{more}}}"#)
    }

    #[test]
    fn layers_that_their_owner_serves_are_not_needed() {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar", "");
        let foreign = descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            r#","urls":["https://example.com/l"]"#,
        );
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer},{foreign}]}}"#);
        let parsed = parse(&text, &MediaType::OCI_MANIFEST).unwrap();
        assert_eq!(parsed.blobs.len(), 2);
        assert_eq!(parsed.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    }

    #[test]
    fn what_is_sent_as_one_type_and_says_another_is_refused() {
        let text =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        assert!(parse(text, &MediaType::OCI_INDEX).is_ok());
        assert_eq!(parse(text, &MediaType::default()).unwrap().document.media_type, MediaType::OCI_INDEX);
        assert!(matches!(parse(text, &MediaType::DOCKER_LIST), Err(Unfit::TwoTypes { .. })));
        assert!(matches!(parse(text, &MediaType::OCI_MANIFEST), Err(Unfit::Document(_))));
        assert!(matches!(parse(text, &MediaType::from("text/plain")), Err(Unfit::Type(_))));
    }

    #[test]
    fn content_that_cannot_be_verified_is_refused() {
        let text = r#"{"schemaVersion":2,"manifests":[{"digest":"blake3:abc","size":1}]}"#;
        assert!(matches!(parse(text, &MediaType::OCI_INDEX), Err(Unfit::Algorithm(_))));
    }
}
