//! What refers to a manifest: signatures, attestations, documents (spec.md, "Listing Referrers").
//!
//! A registry that keeps no such list has it as an index under a tag made of the digest, `sha256-<hex>`, which whoever pushes
//! keeps up (spec.md, "Referrers Tag Schema").

use hyper::Method;
use hyper::header::ACCEPT;
use oci::{Descriptor, Digest, Document, Index, MANIFEST_LIMIT, MediaType};

use crate::error::{Error, Result};
use crate::{Need, Repository};

/// The most pages of a list, and the most entries.
const PAGES_LIMIT: usize = 1000;
const LIMIT: usize = 10_000;
/// Bytes of all pages. Entries have annotations, and a page may be as large as a manifest.
const BYTES_LIMIT: u64 = 16 * MANIFEST_LIMIT;
/// How often an entry is written that somebody else's overwrites.
const ATTEMPTS: u32 = 5;

impl Repository {
    /// Descriptors of all manifests that refer to `digest`; of one type of artifacts where that is given. None is no error.
    ///
    /// # Errors
    /// If the list cannot be had, is too long, or is none.
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let mut found = match self.listed_referrers(digest, artifact_type)? {
            Some(found) => found,
            None => self.tagged_referrers(digest)?,
        };
        // Whether the registry has filtered them is its own affair.
        if let Some(wanted) = artifact_type {
            found.retain(|entry| entry.artifact_type.as_ref().is_some_and(|kind| kind.as_str() == wanted));
        }
        Ok(found)
    }

    /// What the registry lists; `None` where it keeps no lists.
    fn listed_referrers(&self, digest: &Digest, kind: Option<&str>) -> Result<Option<Vec<Descriptor>>> {
        let listed = self.on_hosts(Need::Resolve, |host| {
            let mut found: Vec<Descriptor> = Vec::new();
            let mut left = BYTES_LIMIT;
            let mut url = self.url(host, &format!("referrers/{digest}"))?;
            if let Some(kind) = kind {
                url = url.with_query("artifactType", kind);
            }
            for _ in 0..PAGES_LIMIT {
                let headers = [(ACCEPT, MediaType::OCI_INDEX.to_string())];
                let answer = self.ask(host, Method::GET, url.clone(), &headers, (&[200], digest.as_str()))?;
                let next = answer.next_page(&url)?;
                let shown = answer.url.shown();
                let bytes = answer.read(MANIFEST_LIMIT)?;
                left = left.checked_sub(bytes.len() as u64).ok_or_else(|| Error::TooMuch {
                    url: shown.clone(),
                    limit: BYTES_LIMIT,
                    what: "bytes",
                })?;
                let page =
                    Index::parse(&bytes).map_err(|source| Error::Document { url: shown.clone(), source })?;
                let is_empty = page.manifests.is_empty();
                found.extend(page.manifests);
                if found.len() > LIMIT {
                    return Err(Error::TooMuch { url: shown, limit: LIMIT as u64, what: "referrers" });
                }
                match next {
                    Some(next) if !is_empty && next != url => url = next,
                    _ => return Ok(found),
                }
            }
            Err(Error::TooMuch { url: url.shown(), limit: PAGES_LIMIT as u64, what: "pages" })
        });
        match listed {
            Ok(found) => Ok(Some(found)),
            // As old ones answer whose routes know no such word.
            Err(Error::NotFound { .. } | Error::Status { status: 400 | 405 | 501, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the registry itself keeps the list of what refers to a manifest.
    pub(crate) fn lists_referrers(&self, digest: &Digest) -> Result<bool> {
        Ok(self.listed_referrers(digest, None)?.is_some())
    }

    /// What stands under the tag of the digest.
    fn tagged_referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        match self.by_tag(&tag_of(digest)) {
            Ok(fetched) => match fetched.document {
                Document::Index(index) => Ok(index.manifests),
                Document::Manifest(_) => Err(self.no_list(digest)),
            },
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Notes in the index under the tag that a manifest refers to `subject`, which the registry does not do itself.
    pub(crate) fn add_referrer(&self, subject: &Digest, entry: &Descriptor) -> Result<()> {
        let is_there = |list: &[Descriptor]| list.iter().any(|known| known.digest == entry.digest);
        self.rewrite_list(subject, &is_there, &|list| list.push(entry.clone()))
    }

    /// Takes a manifest that is gone out of the index under the tag of what it referred to.
    pub(crate) fn remove_referrer(&self, subject: &Digest, gone: &Digest) -> Result<()> {
        let is_gone = |list: &[Descriptor]| list.iter().all(|known| known.digest != *gone);
        self.rewrite_list(subject, &is_gone, &|list| list.retain(|known| known.digest != *gone))
    }

    /// Changes the list under a tag until it is as wanted.
    fn rewrite_list(
        &self,
        subject: &Digest,
        is_as_wanted: &dyn Fn(&[Descriptor]) -> bool,
        change: &dyn Fn(&mut Vec<Descriptor>),
    ) -> Result<()> {
        let tag = tag_of(subject);
        for _ in 0..ATTEMPTS {
            let mut manifests = self.tagged_referrers(subject)?;
            if is_as_wanted(&manifests) {
                return Ok(());
            }
            change(&mut manifests);
            if manifests.len() > LIMIT {
                let url = format!("{}:{tag}", self.name);
                return Err(Error::TooMuch { url, limit: LIMIT as u64, what: "referrers" });
            }
            let index = Index {
                schema_version: 2,
                media_type: Some(MediaType::OCI_INDEX),
                artifact_type: None,
                manifests,
                subject: None,
                annotations: std::collections::BTreeMap::new(),
            };
            let bytes = serde_json::to_vec(&index)
                .map_err(|source| Error::Json { url: format!("{}:{tag}", self.name), source })?;
            // Somebody else may write at the same time; whether ours has stayed shows when it is read again.
            self.put_bytes_as(&tag, &Digest::of(&bytes), &MediaType::OCI_INDEX, &bytes)?;
        }
        match is_as_wanted(&self.tagged_referrers(subject)?) {
            true => Ok(()),
            false => Err(self.no_list(subject)),
        }
    }

    fn no_list(&self, subject: &Digest) -> Error {
        let (what, said) = ("a list of what refers to a manifest", tag_of(subject));
        Error::Unsupported { registry: self.registry.clone(), what, said: format!("see the tag {said}") }
    }
}

/// What a manifest is in the list of another one.
pub(crate) fn entry(descriptor: &Descriptor, document: &Document) -> Option<(Digest, Descriptor)> {
    let (subject, kind, annotations) = match document {
        Document::Manifest(manifest) => {
            let kind = manifest.artifact_type.clone().filter(|kind| !kind.as_str().is_empty());
            let kind = kind.unwrap_or_else(|| manifest.config.media_type.clone());
            (manifest.subject.as_ref()?, Some(kind), &manifest.annotations)
        }
        Document::Index(index) => (index.subject.as_ref()?, index.artifact_type.clone(), &index.annotations),
    };
    let entry = Descriptor { artifact_type: kind, annotations: annotations.clone(), ..descriptor.clone() };
    Some((subject.digest.clone(), entry))
}

/// The tag under which the list of a digest stands.
fn tag_of(digest: &Digest) -> String {
    let part = |text: &str, limit: usize| -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        text.chars().take(limit).map(|c| if allowed(c) { c } else { '-' }).collect()
    };
    format!("{}-{}", part(digest.algorithm_name(), 32), part(digest.encoded(), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_digest_is_one() {
        let short: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        assert_eq!(tag_of(&short), format!("sha256-{}", "a".repeat(64)));
        let long: Digest = format!("sha512:{}", "b".repeat(128)).parse().unwrap();
        assert_eq!(tag_of(&long), format!("sha512-{}", "b".repeat(64)));
    }
}
