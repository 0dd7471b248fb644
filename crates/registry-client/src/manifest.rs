//! Manifests and indexes, by tag and by digest (spec.md, "Pulling manifests", "Pushing manifests").

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use oci::{Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType, Reference};

use crate::error::{Error, Result, excerpt};
use crate::hosts::Host;
use crate::payload::Sending;
use crate::session::{Answer, Ask};
use crate::{Need, Repository};

/// The header by which registries name what they send.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A document of a registry, checked and parsed.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What it is.
    pub descriptor: Descriptor,
    /// As received.
    pub bytes: Vec<u8>,
    /// What it says.
    pub document: Document,
}

/// A document that a registry has taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// What it is.
    pub descriptor: Descriptor,
    /// The digest of what it is about, if the registry keeps track of that itself (`OCI-Subject`).
    pub subject: Option<Digest>,
}

impl Repository {
    /// The manifest or index that the tag or the digest of `reference` names; the digest counts where both are there.
    ///
    /// # Errors
    /// If it cannot be had, or is not what it is named.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched> {
        match reference.digest() {
            Some(digest) => self.manifest_of(digest, None),
            None => self.by_name(Need::Resolve, reference.tag().unwrap_or("latest"), None),
        }
    }

    /// The manifest that an index names, which must be what the index says.
    ///
    /// # Errors
    /// As [`Repository::manifest`].
    pub fn manifest_of_index(&self, descriptor: &Descriptor) -> Result<Fetched> {
        let fetched = self.manifest_of(&descriptor.digest, Some(descriptor))?;
        Ok(fetched)
    }

    /// What a tag of the same repository stands for.
    pub(crate) fn by_tag(&self, tag: &str) -> Result<Fetched> {
        self.by_name(Need::Resolve, tag, None)
    }

    fn manifest_of(&self, digest: &Digest, descriptor: Option<&Descriptor>) -> Result<Fetched> {
        self.by_name(Need::Pull, digest.as_str(), Some((digest, descriptor)))
    }

    fn by_name(
        &self,
        need: Need,
        name: &str,
        expected: Option<(&Digest, Option<&Descriptor>)>,
    ) -> Result<Fetched> {
        self.on_hosts(need, |host| {
            let answer = self.ask_manifest(host, Method::GET, name)?;
            fetched(answer, expected)
        })
    }

    /// What a tag or digest stands for now, without fetching it.
    ///
    /// # Errors
    /// If it cannot be had, or the registry does not tell.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let name = match reference.digest() {
            Some(digest) => digest.as_str(),
            None => reference.tag().unwrap_or("latest"),
        };
        self.on_hosts(Need::Resolve, |host| {
            let answer = self.ask_manifest(host, Method::HEAD, name)?;
            let wrong = |header, reason: &str| Error::Header {
                url: answer.url.shown(),
                header,
                reason: reason.to_owned(),
            };
            let size = answer.length().filter(|size| *size <= MANIFEST_LIMIT);
            let size = size.ok_or_else(|| wrong("Content-Length", "does not tell the size of a manifest"))?;
            let digest = told_digest(&answer)?.ok_or_else(|| wrong("Docker-Content-Digest", "is missing"))?;
            if let Some(wanted) = reference.digest().filter(|wanted| **wanted != digest) {
                return Err(mismatch(&answer.url.shown(), "digest", wanted, &digest));
            }
            Ok(Descriptor::new(media_type(&answer), digest, size))
        })
    }

    /// Puts a manifest or an index there, byte for byte, under the tag or the digest of `reference`; the digest counts where both
    /// are there. What it consists of must be there before. Of one with a subject the registry is told, or a list is kept for it.
    ///
    /// # Errors
    /// If the registry does not take it, or says that it is another one; if the digest of `reference` is not that of `bytes`.
    pub fn put_manifest(&self, reference: &Reference, media_type: &MediaType, bytes: &[u8]) -> Result<Put> {
        let shown = reference.to_string();
        let digest = match reference.digest() {
            Some(wanted) => found_digest(&shown, wanted, bytes)?,
            None => Digest::of(bytes),
        };
        if let Some(wanted) = reference.digest().filter(|wanted| **wanted != digest) {
            return Err(mismatch(&shown, "digest", wanted, digest));
        }
        let name = reference.digest().map_or(reference.tag(), |digest| Some(digest.as_str()));
        let name = name.unwrap_or("latest");
        let put = self.put_bytes_as(name, &digest, media_type, bytes)?;
        // Where the registry keeps no list of what refers to what, whoever pushes does.
        if put.subject.is_none()
            && let Ok(document) = Document::parse(bytes, media_type)
            && let Some((subject, entry)) = crate::referrers::entry(&put.descriptor, &document)
        {
            self.add_referrer(&subject, &entry)?;
        }
        Ok(put)
    }

    pub(crate) fn put_bytes_as(
        &self,
        name: &str,
        digest: &Digest,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<Put> {
        let separator = if name.contains(':') { '@' } else { ':' };
        let what = format!("{}{separator}{name}", self.name);
        if bytes.len() as u64 > MANIFEST_LIMIT {
            return Err(mismatch(&what, "size", format!("at most {MANIFEST_LIMIT}"), bytes.len()));
        }
        let content = Bytes::copy_from_slice(bytes);
        let scope = self.scope(&Method::PUT);
        self.on_hosts(Need::Push, |host| {
            let url = self.url(host, &format!("manifests/{name}"))?;
            let headers = [(CONTENT_TYPE, media_type.to_string())];
            let ask = Ask { method: Method::PUT, url, host, scope: &scope, headers: &headers };
            let answer = self.session.exchange(&ask, Sending::Whole(&content))?;
            if !matches!(answer.status, 200..=202) {
                return Err(answer.refusal(host, &what));
            }
            is_the_same(&answer, digest)?;
            let subject =
                answer.headers.get("oci-subject").and_then(|value| value.to_str().ok()?.parse().ok());
            answer.discard()?;
            let descriptor = Descriptor::new(media_type.clone(), digest.clone(), bytes.len() as u64);
            Ok(Put { descriptor, subject })
        })
    }

    fn ask_manifest(&self, host: &Host, method: Method, name: &str) -> Result<Answer> {
        let url = self.url(host, &format!("manifests/{name}"))?;
        let separator = if name.contains(':') { '@' } else { ':' };
        let what = format!("{}{separator}{name}", self.name);
        self.ask(host, method, url, &[(ACCEPT, accepted())], (&[200], &what))
    }
}

/// Documents of all kinds that are read.
pub(crate) fn accepted() -> String {
    let accepted =
        [MediaType::OCI_INDEX, MediaType::DOCKER_LIST, MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST];
    accepted.each_ref().map(MediaType::as_str).join(", ")
}

/// What the answer to a push names must be what was pushed.
fn is_the_same(answer: &Answer, digest: &Digest) -> Result<()> {
    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let place = location.and_then(|text| text.split('?').next()?.rsplit('/').next()?.parse::<Digest>().ok());
    for found in told_digest(answer)?.into_iter().chain(place) {
        if found.algorithm_name() == digest.algorithm_name() && found != *digest {
            return Err(mismatch(&answer.url.shown(), "digest", digest, found));
        }
    }
    Ok(())
}

/// Reads, checks and parses a document.
fn fetched(answer: Answer, expected: Option<(&Digest, Option<&Descriptor>)>) -> Result<Fetched> {
    let url = answer.url.shown();
    let (told, kind, length) = (told_digest(&answer)?, media_type(&answer), answer.length());
    if let Some(length) = length.filter(|length| *length > MANIFEST_LIMIT) {
        return Err(mismatch(&url, "size", format!("at most {MANIFEST_LIMIT}"), length));
    }
    let bytes = answer.read(MANIFEST_LIMIT)?;
    if let Some(length) = length.filter(|length| *length != bytes.len() as u64) {
        return Err(mismatch(&url, "size", length, bytes.len()));
    }
    // What it is asked for by counts, else what the registry says it sends.
    for wanted in expected.map(|(digest, _)| digest).into_iter().chain(&told) {
        let found = found_digest(&url, wanted, &bytes)?;
        if found != *wanted {
            return Err(mismatch(&url, "digest", wanted, found));
        }
    }
    if let Some((_, Some(descriptor))) = expected {
        if descriptor.size != bytes.len() as u64 {
            return Err(mismatch(&url, "size", descriptor.size, bytes.len()));
        }
        let wanted = &descriptor.media_type;
        if !wanted.as_str().is_empty() && !kind.as_str().is_empty() && *wanted != kind {
            return Err(mismatch(&url, "media type", wanted, &kind));
        }
    }
    let document =
        Document::parse(&bytes, &kind).map_err(|source| Error::Document { url: url.clone(), source })?;
    let media_type = match (&document, kind.as_str()) {
        (Document::Manifest(manifest), "") => manifest.media_type.clone().unwrap_or(MediaType::OCI_MANIFEST),
        (Document::Index(index), "") => index.media_type.clone().unwrap_or(MediaType::OCI_INDEX),
        _ => kind,
    };
    let digest = match expected {
        Some((digest, _)) => digest.clone(),
        None => told.unwrap_or_else(|| Digest::of(&bytes)),
    };
    Ok(Fetched { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes, document })
}

/// The digest of `bytes` by the algorithm of `wanted`.
fn found_digest(url: &str, wanted: &Digest, bytes: &[u8]) -> Result<Digest> {
    let mut hasher = wanted.hasher().ok_or_else(|| Error::Header {
        url: url.to_owned(),
        header: "Docker-Content-Digest",
        reason: format!("is by {}, which cannot be checked", wanted.algorithm_name()),
    })?;
    hasher.update(bytes);
    Ok(hasher.finish())
}

pub(crate) fn told_digest(answer: &Answer) -> Result<Option<Digest>> {
    let Some(value) = answer.headers.get(DIGEST_HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|error| Error::Header {
        url: answer.url.shown(),
        header: "Docker-Content-Digest",
        reason: excerpt(&format!("is none: {error}")),
    })
}

/// The type by which a document is sent; empty where that says nothing, as plain JSON does.
fn media_type(answer: &Answer) -> MediaType {
    let value = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = MediaType::from(value.split(';').next().unwrap_or_default().trim());
    match kind.is_index() || kind.is_manifest() || kind.is_legacy_manifest() {
        true => kind,
        false => MediaType::default(),
    }
}

pub(crate) fn mismatch(
    url: &str,
    what: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> Error {
    let (expected, found) = (expected.to_string(), excerpt(&found.to_string()));
    Error::Mismatch { url: url.to_owned(), what, expected, found }
}
