//! Manifests: served, stored, and removed.

use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Request, Response, StatusCode};
use oci::{Digest, MANIFEST_LIMIT, MediaType};

use super::body::Body;
use super::refusal::{Code, Refusal};
use super::route::Query;
use super::upload::Receiver;
use super::{Answer, Service, created, empty, has_it, set, set_digest, set_tag};
use crate::names::{Reference, Repository, Tag};
use crate::store::{Document, NewManifest, Removed, Stored, Unfit};

/// Tags that one request may move.
const TAGS: usize = 64;

impl Service {
    pub(super) fn manifest(&self, name: &Repository, reference: &Reference, headers: &HeaderMap) -> Answer {
        match self.store.document(name, reference)? {
            Some(document) => Ok(answer(document, headers)),
            None => Err(unknown(reference)),
        }
    }

    pub(super) async fn put_manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        query: &Query,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Answer {
        let sent = media_type(request.headers());
        let tags = tags(reference, query)?;
        let _seat = self.limits.seat(peer)?;
        let content = whole(Receiver::new(request.into_body(), MANIFEST_LIMIT, self.patience)).await?;
        let digest = match reference {
            Reference::Digest(digest) => {
                digest.verify(&content).map_err(|error| {
                    Refusal::about(Code::DigestInvalid, error.to_string(), "digest", digest.as_str())
                })?;
                digest.clone()
            }
            Reference::Tag(_) => Digest::of(&content),
        };
        let new = NewManifest::parse(content, digest.clone(), &sent)
            .map_err(|unfit: Unfit| Refusal::new(Code::ManifestInvalid, unfit.to_string()))?;
        let subject = new.subject.clone();
        let stored = self.store.put_manifest(name, new, tags.clone(), self.sparse).settled().await?;
        refuse_incomplete(stored)?;
        let mut response = created(&format!("/v2/{name}/manifests/{digest}"), &digest);
        if let Some(subject) = subject {
            set(&mut response, HeaderName::from_static("oci-subject"), subject.as_str());
        }
        if matches!(reference, Reference::Digest(_)) {
            for tag in tags {
                set(&mut response, HeaderName::from_static("oci-tag"), tag.as_str());
            }
        }
        Ok(response)
    }

    pub(super) async fn delete_manifest(&self, name: &Repository, reference: &Reference) -> Answer {
        match self.store.remove(name, reference).settled().await? {
            Removed::Yes => Ok(empty(StatusCode::ACCEPTED)),
            Removed::Absent | Removed::Used => Err(unknown(reference)),
        }
    }
}

/// A manifest, or that the client has it already.
pub(super) fn answer(document: Document, headers: &HeaderMap) -> Response<Body> {
    let mut response = if has_it(headers, &document.digest) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let length = document.content.len();
        let mut response = Response::new(Body::from(document.content));
        set(&mut response, CONTENT_LENGTH, &length.to_string());
        set(&mut response, CONTENT_TYPE, document.media_type.as_str());
        response
    };
    set_digest(&mut response, &document.digest);
    set_tag(&mut response, &document.digest);
    response
}

fn unknown(reference: &Reference) -> Refusal {
    let (what, text) = match reference {
        Reference::Tag(tag) => ("tag", tag.as_str()),
        Reference::Digest(digest) => ("digest", digest.as_str()),
    };
    Refusal::about(Code::ManifestUnknown, "the repository does not have this manifest", what, text)
}

/// The tags that a manifest gets: that of the path, or those of the query beside a digest.
fn tags(reference: &Reference, query: &Query) -> Result<Vec<Tag>, Refusal> {
    let Reference::Digest(_) = reference else {
        return Ok(match reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        });
    };
    let parse =
        |text| Tag::parse(text).ok_or_else(|| Refusal::about(Code::TagInvalid, "not a tag", "tag", text));
    let tags: Vec<Tag> = query.all("tag").map(parse).collect::<Result<_, _>>()?;
    if tags.len() > TAGS {
        let why = format!("at most {TAGS} tags at once");
        return Err(Refusal::new(Code::TagInvalid, why).status(StatusCode::URI_TOO_LONG));
    }
    Ok(tags)
}

/// The type by which a manifest is sent, without parameters; empty where there is none.
fn media_type(headers: &HeaderMap) -> MediaType {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    MediaType::from(text.split(';').next().unwrap_or_default().trim())
}

/// All of a body that may be as large as a manifest.
async fn whole(mut receiver: Receiver) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    while let Some(pieces) = receiver.next().await? {
        pieces.iter().for_each(|piece| content.extend_from_slice(piece));
    }
    if receiver.overflowed() {
        let why = format!("a manifest has at most {MANIFEST_LIMIT} bytes");
        return Err(Refusal::new(Code::SizeInvalid, why).status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(content)
}

/// Tells everything that is missing, so that a client needs to try only once more.
fn refuse_incomplete(stored: Stored) -> Result<(), Refusal> {
    match stored {
        Stored::Yes => Ok(()),
        Stored::Size { digest, said, found } => {
            let why = format!("it says that {digest} has {said} bytes, and it has {found}");
            Err(Refusal::about(Code::ManifestInvalid, why, "digest", digest.as_str()))
        }
        Stored::Missing(missing) => {
            let code = Code::ManifestBlobUnknown;
            let why = "the repository does not have this content; push it first";
            let mut refusal: Option<Refusal> = None;
            for digest in &missing {
                refusal = Some(match refusal {
                    None => Refusal::about(code, why, "digest", digest.as_str()),
                    Some(refusal) => refusal.and(code, why, Some(("digest", digest.as_str()))),
                });
            }
            refusal.map_or(Ok(()), Err)
        }
    }
}
