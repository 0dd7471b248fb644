//! Removing manifests and tags (spec.md, "Content management").
//!
//! What refers to another manifest goes from the list that is kept under that one's tag, too, where the registry keeps none
//! itself (spec.md, "Deleting Manifests"): after the manifest is gone, so that nothing is there that no list tells of.

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::ACCEPT;
use oci::{Digest, Document, MANIFEST_LIMIT, MediaType, Reference};

use crate::error::{Error, Result};
use crate::payload::Sending;
use crate::session::Ask;
use crate::{Need, Repository};

/// What registries answer that do not remove by name: not at all, or as if the tag were a bad digest.
const UNSUPPORTED: [u16; 3] = [400, 405, 501];

impl Repository {
    /// Removes a manifest, and with it every tag that stands for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not there, [`Error::Unsupported`] if the registry removes nothing. The manifest is gone where
    /// the list of what it refers to cannot be written after that.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        let listed = match self.subject_of(digest)? {
            Some(subject) if !self.lists_referrers(&subject)? => Some(subject),
            Some(_) | None => None,
        };
        self.delete(digest.as_str(), "deletes")?;
        listed.map_or(Ok(()), |subject| self.remove_referrer(&subject, digest))
    }

    /// What a manifest of the repository refers to. One that cannot be read refers to nothing.
    fn subject_of(&self, digest: &Digest) -> Result<Option<Digest>> {
        // With the rights that are needed to remove it, so that one token will do.
        let read = self.on_hosts(Need::Push, |host| {
            let url = self.url(host, &format!("manifests/{digest}"))?;
            let headers = [(ACCEPT, crate::manifest::accepted())];
            let scope = self.scope(&Method::DELETE);
            let ask = Ask { method: Method::GET, url, host, scope: &scope, headers: &headers };
            let answer = self.session.exchange(&ask, Sending::Whole(&Bytes::new()))?;
            match answer.status {
                200 => answer.read(MANIFEST_LIMIT),
                _ => Err(answer.refusal(host, digest.as_str())),
            }
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error @ Error::NotFound { .. }) => return Err(error),
            Err(error) => {
                tracing::debug!(%error, %digest, "whatever it refers to is not known");
                return Ok(None);
            }
        };
        // Of other bytes than those that are removed nobody knows what they are.
        let is_meant = digest.hasher().is_some_and(|mut hasher| {
            hasher.update(&bytes);
            hasher.finish() == *digest
        });
        let document = Document::parse(&bytes, &MediaType::default()).ok().filter(|_| is_meant);
        Ok(document.and_then(|document| match document {
            Document::Manifest(manifest) => manifest.subject.map(|subject| subject.digest),
            Document::Index(index) => index.subject.map(|subject| subject.digest),
        }))
    }

    /// Removes a tag, and nothing else. A registry that removes by digest alone is made to by a manifest of its own for the tag,
    /// which is then removed; whatever else stands for the same image stays.
    ///
    /// # Errors
    /// As [`Repository::delete_manifest`].
    pub fn delete_tag(&self, reference: &Reference) -> Result<()> {
        let tag = reference.tag().unwrap_or("latest");
        match self.delete(tag, "the delete of a tag") {
            Err(Error::Unsupported { .. }) => self.delete_by_stand_in(reference, tag),
            done => done,
        }
    }

    fn delete_by_stand_in(&self, reference: &Reference, tag: &str) -> Result<()> {
        let invalid = |_| Error::Address { text: tag.to_owned(), reason: "it is no tag" };
        let by_tag = reference.with_tag(tag).map_err(invalid)?;
        let before = self.manifest(&by_tag)?;
        // One that nobody else has, so that removing it takes nothing from anybody.
        let config = self.put_bytes(&MediaType::OCI_EMPTY, b"{}")?;
        let stand_in = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "artifactType": "application/vnd.skiff.deleted",
            "config": config,
            "layers": [config],
            "annotations": {
                "tag": tag,
                "nonce": format!("{:08x}{:08x}", crate::session::chance(), crate::session::chance()),
            },
        });
        let bytes = stand_in.to_string().into_bytes();
        let put = self.put_manifest(&by_tag, &MediaType::OCI_MANIFEST, &bytes)?;
        let deleted = self.delete(put.descriptor.digest.as_str(), "deletes");
        if deleted.is_err()
            && let Err(error) = self.put_manifest(&by_tag, &before.descriptor.media_type, &before.bytes)
        {
            tracing::warn!(%error, tag, "the tag now stands for an empty manifest");
        }
        deleted
    }

    fn delete(&self, name: &str, what: &'static str) -> Result<()> {
        let separator = if name.contains(':') { '@' } else { ':' };
        let shown = format!("{}{separator}{name}", self.name);
        self.on_hosts(Need::Push, |host| {
            let url = self.url(host, &format!("manifests/{name}"))?;
            match self.ask(host, Method::DELETE, url, &[], (&[202, 200, 204], &shown)) {
                Ok(answer) => answer.discard(),
                Err(Error::Status { status, said, .. }) if UNSUPPORTED.contains(&status) => {
                    Err(Error::Unsupported { registry: host.name.clone(), what, said })
                }
                Err(error) => Err(error),
            }
        })
    }
}
