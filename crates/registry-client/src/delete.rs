//! Removing manifests and tags (spec.md, "Content management").

use hyper::Method;
use oci::{Digest, MediaType, Reference};

use crate::error::{Error, Result};
use crate::{Need, Repository};

/// What registries answer that do not remove by name: not at all, or as if the tag were a bad digest.
const UNSUPPORTED: [u16; 3] = [400, 405, 501];

impl Repository {
    /// Removes a manifest, and with it every tag that stands for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not there, [`Error::Unsupported`] if the registry removes nothing.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        self.delete(digest.as_str(), "deletes")
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
        let deleted = self.delete_manifest(&put.descriptor.digest);
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
