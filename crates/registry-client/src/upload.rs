//! Blobs on their way to a registry (spec.md, "Pushing blobs").
//!
//! ```text
//! POST …/blobs/uploads/?mount=D&from=R ── 201: another repository's blob is this one's, too
//! POST …/blobs/uploads/ ── 202, Location
//!      small:  PUT Location?digest=D, all of it
//!      large:  PATCH Location, read while it is sent; PUT Location?digest=D
//!      cut:    GET Location ── Range: 0-N; PATCH from N + 1 on
//! DELETE Location ── whenever it is given up
//! ```
//!
//! Each answer may name another `Location`. It may lie with another host, to which content is sent, but no credential.
//! What is read is hashed on its way: content that is not what it is named is never finished.

mod course;

use std::io::{self, Read};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, LOCATION, RANGE};
use oci::{Descriptor, Digest, Hasher, MediaType};

use crate::error::{Error, Result, excerpt};
use crate::hosts::Host;
use crate::manifest::{mismatch, told_digest};
use crate::payload::Sending;
use crate::session::{Answer, Ask};
use crate::url::Url;
use crate::{Need, Repository};
use course::Upload;

/// Opens what is to be sent at a byte of it; again after a cut. It must give the same bytes each time.
pub type Open<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

impl Repository {
    /// Sends a blob.
    ///
    /// # Errors
    /// If the registry does not take it, it cannot be read, or is not what `descriptor` says. What was sent is then given up.
    pub fn put_blob(&self, descriptor: &Descriptor, open: &Open<'_>) -> Result<()> {
        let hasher = descriptor.digest.hasher().ok_or_else(|| Error::Header {
            url: descriptor.digest.to_string(),
            header: "digest",
            reason: format!("is by {}, which cannot be computed", descriptor.digest.algorithm_name()),
        })?;
        Upload::new(self, Some(descriptor), hasher, open).run().map(drop)
    }

    /// Sends a blob of which size and digest are known only once it has been read; returns them.
    ///
    /// # Errors
    /// As [`Repository::put_blob`].
    pub fn put_new_blob(&self, open: &Open<'_>) -> Result<(Digest, u64)> {
        Upload::new(self, None, Hasher::sha256(), open).run()
    }

    /// Sends a small blob that is in memory.
    ///
    /// # Errors
    /// As [`Repository::put_blob`].
    pub fn put_bytes(&self, media_type: &MediaType, content: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type.clone(), content);
        let shared = Bytes::copy_from_slice(content);
        let open = |at: u64| -> io::Result<Box<dyn Read + Send>> {
            let mut content = io::Cursor::new(shared.clone());
            content.set_position(at);
            Ok(Box::new(content))
        };
        self.put_blob(&descriptor, &open)?;
        Ok(descriptor)
    }

    /// Has the registry take a blob over from another of its repositories, `from`; `false` if it does not.
    ///
    /// # Errors
    /// If the registry cannot be asked, or lets us do nothing.
    pub fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        let scope = format!("{} repository:{from}:pull", self.scope(&Method::POST));
        let mounted = self.on_hosts(Need::Push, |host| {
            let url = self.url(host, "blobs/uploads/")?;
            let url = url.with_query("mount", digest.as_str()).with_query("from", from);
            let headers = [(CONTENT_LENGTH, "0".to_owned())];
            let ask = Ask { method: Method::POST, url, host, scope: &scope, headers: &headers };
            let answer = self.session.exchange(&ask, Sending::Whole(&Bytes::new()))?;
            match answer.status {
                201 => {
                    is_named(&answer, digest)?;
                    answer.discard().map(|()| true)
                }
                202 => {
                    let url = location(&answer, host)?;
                    drop(answer.discard());
                    self.give_up(host, &url);
                    Ok(false)
                }
                _ => Err(answer.refusal(host, &self.name)),
            }
        });
        match mounted {
            // Who may not read there sends it himself.
            Err(Error::Unauthorized { .. } | Error::NotFound { .. }) => Ok(false),
            mounted => mounted,
        }
    }

    /// Removes an upload that nobody will finish. If that fails, the registry removes it when it finds it old.
    fn give_up(&self, host: &Host, url: &Url) {
        let scope = self.scope(&Method::DELETE);
        let ask = Ask { method: Method::DELETE, url: url.clone(), host, scope: &scope, headers: &[] };
        if let Err(error) =
            self.session.exchange(&ask, Sending::Whole(&Bytes::new())).and_then(Answer::discard)
        {
            tracing::debug!(%error, url = %url.shown(), "an upload stays behind");
        }
    }
}

/// Where an upload goes on: never by a less safe way than it has begun.
fn location(answer: &Answer, host: &Host) -> Result<Url> {
    let target = answer.header(LOCATION, "Location")?;
    let refuse = |reason| Error::Redirect { url: answer.url.shown(), target: excerpt(&target), reason };
    let url = answer.url.join(&target).map_err(|_| refuse("which is no address"))?;
    if host.base.origin.is_secure && !url.origin.is_secure {
        return Err(refuse("which is less safe than where it comes from"));
    }
    Ok(url)
}

/// How many bytes the registry has; `None` if it does not say.
fn received(answer: &Answer) -> Result<Option<u64>> {
    let Some(value) = answer.headers.get(RANGE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    last_byte(text).and_then(|last| last.checked_add(1)).map(Some).ok_or_else(|| Error::Header {
        url: answer.url.shown(),
        header: "Range",
        reason: format!("makes no sense: {:?}", excerpt(text)),
    })
}

/// The last byte of `0-LAST`, which some write as `bytes=0-LAST`.
fn last_byte(text: &str) -> Option<u64> {
    let text = text.trim();
    let last = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let last = last.strip_prefix("0-")?;
    (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit())).then(|| last.parse().ok()).flatten()
}

/// What the registry calls it must be what it is.
fn is_named(answer: &Answer, digest: &Digest) -> Result<()> {
    match told_digest(answer)? {
        Some(told) if told != *digest && told.algorithm_name() == digest.algorithm_name() => {
            Err(mismatch(&answer.url.shown(), "digest", digest, told))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::last_byte;

    #[test]
    fn how_far_an_upload_is_is_read_or_refused() {
        for (text, want) in [
            ("0-0", Some(0)),
            ("0-41", Some(41)),
            ("bytes=0-41", Some(41)),
            ("bytes 0-18446744073709551615", Some(u64::MAX)),
            ("0-18446744073709551616", None),
            ("1-41", None),
            ("0-", None),
            ("0-+1", None),
            ("", None),
        ] {
            assert_eq!(last_byte(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(text in "\\PC{0,40}|(bytes)?[ =]?0-[0-9]{0,25}") {
            proptest::prop_assert!(last_byte(&text).is_none() || text.contains("0-"));
        }
    }
}
