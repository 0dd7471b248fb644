//! Any web server: what goes into an image without coming from a registry, as an `ADD https://…`, a remote build context or a
//! repository of git do.
//!
//! ```text
//! Address ── parsed from text; a user in it becomes an Authorization
//!    │
//!    ├─► Client::download(Download) ─► Unchanged, or a DownloadReader: resumed after cuts, hashed, bounded
//!    └─► Client::ask(Request)       ─► Answer: one exchange of whatever kind
//! ```
//!
//! Certificates, proxies and patience are those of the client. Credentials, headers and mirrors of its configuration are for
//! registries, and go nowhere from here.
//!
//! What must hold:
//! - An [`Authorization`] goes to the origin (scheme, host and port) that it is for, and nowhere else, whatever redirects say.
//! - Whoever begins with TLS stays with it, over all redirects.
//! - No header of an answer decides how much is read or kept: the caller's limit does.

mod address;
mod download;
mod name;

use std::io::{self, Read};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};

pub use address::{Address, Authorization};
pub use download::{About, Download, DownloadReader, Downloaded, Known};
pub use name::{of_disposition, of_url};

use crate::error::{Error, Result};
use crate::hosts::Host;
use crate::payload::Sending;
use crate::session::{self, Ask, chance};
use crate::{Client, Url};

/// What is done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Its content is wanted.
    Get,
    /// What a `GET` would say of it is wanted.
    Head,
    /// Something is sent there.
    Post,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is done.
    pub verb: Verb,
    /// Where.
    pub url: &'a Url,
    /// Who we are; told to the origin of `url` alone.
    pub authorization: Option<&'a Authorization>,
    /// Headers beside those that every request has. They go along with redirects, so they must be no secrets.
    pub headers: &'a [(&'static str, String)],
    /// What is sent.
    pub body: &'a [u8],
}

/// An answer that has begun; its body is read as a stream, whose cuts are errors.
#[derive(Debug)]
pub struct Answer {
    inner: session::Answer,
    part: Bytes,
}

impl Client {
    /// Asks once, follows redirects, and tries again where it failed for a moment. Any status is an answer but those that
    /// pass (408, 429, 500, 502, 503, 504): these are tried again, and errors at last.
    ///
    /// # Errors
    /// If nobody answers, or a redirect leads where none may.
    pub fn ask(&self, request: &Request<'_>) -> Result<Answer> {
        let mut headers = vec![(hyper::header::ACCEPT_ENCODING, "identity".to_owned())];
        for (name, value) in request.headers {
            let (true, Ok(name)) =
                (HeaderValue::from_str(value).is_ok(), HeaderName::from_bytes(name.as_bytes()))
            else {
                let reason = "a header for it has characters that none may have";
                return Err(Error::Address { text: request.url.shown(), reason });
            };
            headers.push((name, value.clone()));
        }
        let host = Host::nobody(request.url.origin.clone());
        let method = match request.verb {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Post => Method::POST,
        };
        let ask = Ask { method, url: request.url.clone(), host: &host, scope: "", headers: &headers };
        let body = Bytes::copy_from_slice(request.body);
        let shown = request.authorization.map(Authorization::value);
        let inner = self.session.persist(u32::MAX, None, || {
            let answer = self.session.follow(&ask, shown, Sending::Whole(&body))?;
            if crate::error::is_passing(answer.status) {
                return Err(answer.unexpected());
            }
            Ok(answer)
        })?;
        Ok(Answer { inner, part: Bytes::new() })
    }

    /// Waits before what failed is tried again; `false`, at once, where that would be of no use. `failed` attempts have failed,
    /// the last one by `error`.
    #[must_use]
    pub fn waits_after(&self, error: &Error, failed: u32) -> bool {
        if !(error.is_passing() || error.is_unreached()) {
            return false;
        }
        let Some(wait) = self.session.settings.patience.wait(failed, error.asked(), chance()) else {
            return false;
        };
        self.session.wait(wait, failed, None, error);
        true
    }
}

impl Answer {
    /// The status, of three digits.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.inner.status
    }

    /// Where it came from in the end.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.inner.url
    }

    /// A header, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers.get(name)?.to_str().ok()
    }

    /// The error that an answer is which is not the content asked for. `shown` says whether it was told who we are.
    #[must_use]
    pub fn refusal(self, shown: bool) -> Error {
        let (status, url) = (self.inner.status, self.inner.url.shown());
        match status {
            401 | 403 => Error::Denied { url, status, shown },
            404 | 410 => Error::Missing { url, status },
            _ => self.inner.unexpected(),
        }
    }

    /// What comes next; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>> {
        match self.part.is_empty() {
            true => self.inner.next(),
            false => Ok(Some(std::mem::take(&mut self.part))),
        }
    }
}

impl Read for Answer {
    /// Errors are those of this crate, as [`io::Error::other`] has them.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.part.is_empty() {
            self.part = self.inner.next().map_err(io::Error::other)?.unwrap_or_default();
        }
        let part = self.part.split_to(self.part.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
