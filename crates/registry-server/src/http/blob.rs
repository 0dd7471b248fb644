//! Blobs: served whole or in part, and taken from a repository.

use std::fs::File;
use std::sync::Arc;

use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue,
    IF_RANGE, RANGE,
};
use hyper::{HeaderMap, Response, StatusCode};
use oci::Digest;

use super::body::{Body, FilePart};
use super::refusal::{Code, Refusal};
use super::{Answer, Service, empty, has_it, set, set_digest, set_tag};
use crate::cache::fill::Follower;
use crate::names::Repository;
use crate::store::Removed;

/// Where the bytes of a blob are.
pub(super) enum Source {
    Whole(File),
    /// In a file that is still being received.
    Growing(Arc<File>, Follower),
}

impl Service {
    pub(super) fn blob(
        &self,
        name: &Repository,
        digest: &Digest,
        headers: &HeaderMap,
        content: bool,
    ) -> Answer {
        let unknown = || {
            let why = "the repository does not have this blob";
            Refusal::about(Code::BlobUnknown, why, "digest", digest.as_str())
        };
        let blob = self.store.blob(name, digest)?.ok_or_else(unknown)?;
        let file = if content { Some(self.store.open_blob(&blob)?.ok_or_else(unknown)?) } else { None };
        self.serve_blob(digest, headers, blob.size, file.map(Source::Whole))
    }

    /// The answer to a request for a blob of `size` bytes, or for a part of it; without a source, of HEAD.
    pub(super) fn serve_blob(
        &self,
        digest: &Digest,
        headers: &HeaderMap,
        size: u64,
        source: Option<Source>,
    ) -> Answer {
        if has_it(headers, digest) {
            return Ok(described(empty(StatusCode::NOT_MODIFIED), digest));
        }
        let range = match headers.get(IF_RANGE) {
            // Parts are known to GET alone (RFC 9110, section 14.2).
            _ if source.is_none() => Wanted::All,
            Some(tag) if tag.to_str().ok().map(|tag| tag.trim_matches('"')) != Some(digest.as_str()) => {
                Wanted::All
            }
            _ => Wanted::parse(headers.get(RANGE), size),
        };
        let (status, start, end) = match range {
            Wanted::All => (StatusCode::OK, 0, size),
            Wanted::Part(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
            Wanted::Nothing => {
                let total = HeaderValue::from_str(&format!("bytes */{size}"));
                let refusal = Refusal::new(Code::RangeInvalid, format!("the blob has {size} bytes"));
                return Err(match total {
                    Ok(total) => refusal.header(CONTENT_RANGE, total),
                    Err(_) => refusal,
                });
            }
        };
        let part = match source {
            Some(Source::Whole(file)) => Some(FilePart::new(file, start, end, &self.buffers)),
            Some(Source::Growing(file, follower)) => {
                Some(FilePart::growing(file, start, end, &self.buffers, follower))
            }
            None => None,
        };
        if part.is_some() {
            self.metrics.served(end - start);
        }
        let body = part.map_or_else(Body::empty, Body::File);
        let mut response = described(Response::new(body), digest);
        *response.status_mut() = status;
        set(&mut response, CONTENT_LENGTH, &(end - start).to_string());
        set(&mut response, CONTENT_TYPE, "application/octet-stream");
        if status == StatusCode::PARTIAL_CONTENT {
            set(&mut response, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
        }
        Ok(response)
    }

    pub(super) async fn delete_blob(&self, name: &Repository, digest: &Digest) -> Answer {
        match self.store.unlink(name, digest).settled().await? {
            Removed::Yes => Ok(empty(StatusCode::ACCEPTED)),
            Removed::Absent => {
                let why = "the repository does not have this blob";
                Err(Refusal::about(Code::BlobUnknown, why, "digest", digest.as_str()))
            }
            Removed::Used => {
                let why = "a manifest of the repository uses this blob: delete that first";
                Err(Refusal::about(Code::Denied, why, "digest", digest.as_str())
                    .status(StatusCode::METHOD_NOT_ALLOWED))
            }
        }
    }
}

/// What is said of content that never changes.
fn described(mut response: Response<Body>, digest: &Digest) -> Response<Body> {
    set_digest(&mut response, digest);
    set_tag(&mut response, digest);
    set(&mut response, ACCEPT_RANGES, "bytes");
    set(&mut response, CACHE_CONTROL, "private, max-age=31536000, immutable");
    // What was pushed may claim to be a page.
    set(&mut response, HeaderName::from_static("content-security-policy"), "default-src 'none'; sandbox");
    response
}

/// What part of a blob is asked for (RFC 9110, section 14.2).
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From the first to before the second.
    Part(u64, u64),
    /// What is not there.
    Nothing,
}

impl Wanted {
    /// Several ranges, other units and what is no range at all are answered with everything, as the standard allows.
    fn parse(header: Option<&HeaderValue>, size: u64) -> Self {
        let Some(range) =
            header.and_then(|value| value.to_str().ok()).and_then(|text| text.strip_prefix("bytes="))
        else {
            return Self::All;
        };
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let Some((first, last)) = range.trim().split_once('-') else { return Self::All };
        let part = match (first, last) {
            ("", last) => number(last).map(|count| (size.saturating_sub(count), size)),
            (first, "") => number(first).map(|first| (first, size)),
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => Some((first, size.min(last.saturating_add(1)))),
                _ => None,
            },
        };
        match part {
            None => Self::All,
            Some((start, end)) if start < end => Self::Part(start, end),
            Some(_) => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_standard() {
        for (text, size, wanted) in [
            ("bytes=0-3", 10, Wanted::Part(0, 4)),
            ("bytes=3-", 10, Wanted::Part(3, 10)),
            ("bytes=-3", 10, Wanted::Part(7, 10)),
            ("bytes=-30", 10, Wanted::Part(0, 10)),
            ("bytes=9-99", 10, Wanted::Part(9, 10)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=0-", 0, Wanted::Nothing),
            ("bytes=4-3", 10, Wanted::All),
            ("bytes=0-1,3-4", 10, Wanted::All),
            ("bytes=a-b", 10, Wanted::All),
            ("bytes=+1-2", 10, Wanted::All),
            ("bytes=", 10, Wanted::All),
            ("items=0-1", 10, Wanted::All),
            ("bytes=0-18446744073709551615", 10, Wanted::Part(0, 10)),
            ("bytes=99999999999999999999-", 10, Wanted::All),
        ] {
            let header = HeaderValue::from_str(text).unwrap();
            assert_eq!(Wanted::parse(Some(&header), size), wanted, "{text}");
        }
        assert_eq!(Wanted::parse(None, 10), Wanted::All);
    }
}
