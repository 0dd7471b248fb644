//! An answer of a host: its headers, its body part by part, and what it means if it is not what was wanted.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, LINK, RETRY_AFTER};

use crate::backoff::retry_after;
use crate::connection::Streaming;
use crate::error::{Error, Result, excerpt};
use crate::hosts::Host;
use crate::url::Url;

use super::{Key, Session};

/// Bytes of an answer that says why not.
const SAID_LIMIT: u64 = 64 << 10;

/// An answer that has begun.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where it came from in the end.
    pub(crate) url: Url,
    pub(super) method: Method,
    pub(super) streaming: Option<Streaming>,
    pub(super) key: Key,
    pub(super) session: Arc<Session>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {}", self.status, self.url.shown())
    }
}

impl Answer {
    /// A header that must be there, as text.
    pub(crate) fn header(&self, name: HeaderName, shown: &'static str) -> Result<String> {
        let wrong =
            |reason: &str| Error::Header { url: self.url.shown(), header: shown, reason: reason.to_owned() };
        let value = self.headers.get(name).ok_or_else(|| wrong("is missing"))?;
        value.to_str().map(str::to_owned).map_err(|_| wrong("is not text"))
    }

    /// The number that `Content-Length` tells.
    pub(crate) fn length(&self) -> Option<u64> {
        self.headers.get(hyper::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// The page of a list that follows this one, which must be of the same host. It is relative to what was asked for: after a
    /// redirect the registry still means itself.
    pub(crate) fn next_page(&self, asked: &Url) -> Result<Option<Url>> {
        let links = self.headers.get_all(LINK).iter();
        let Some(target) = links.into_iter().find_map(|value| crate::link::next(value.to_str().ok()?)) else {
            return Ok(None);
        };
        let next = asked.join(target)?;
        if next.origin != asked.origin {
            let reason = "which is another host than that of the first page";
            return Err(Error::Redirect { url: self.url.shown(), target: next.shown(), reason });
        }
        Ok(Some(next))
    }

    /// The next part of the body; `None` at its end, where the connection becomes free.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut streaming) = self.streaming.take() else { return Ok(None) };
        match streaming.next() {
            Ok(Some(part)) => {
                self.streaming = Some(streaming);
                Ok(Some(part))
            }
            Ok(None) => {
                self.session.keep(self.key.clone(), streaming.into_connection());
                Ok(None)
            }
            Err(source) => {
                Err(Error::Exchange { method: self.method.to_string(), url: self.url.shown(), source })
            }
        }
    }

    /// The whole body, of at most so many bytes.
    pub(crate) fn read(mut self, limit: u64) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        while let Some(part) = self.next()? {
            content.extend_from_slice(&part);
            if content.len() as u64 > limit {
                return Err(Error::TooMuch { url: self.url.shown(), limit, what: "bytes" });
            }
        }
        Ok(content)
    }

    /// Reads what is left, if it is short, so that the connection can be used again.
    pub(crate) fn discard(self) -> Result<()> {
        self.read(SAID_LIMIT).map(drop)
    }

    /// How many seconds to wait before the next attempt, if it says so.
    fn asked(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        retry_after(text, now).map(|wait| wait.as_secs())
    }

    /// The error that an answer is which no registry gives: its body says nothing to us.
    pub(crate) fn unexpected(self) -> Error {
        let (method, url) = (self.method.to_string(), self.url.shown());
        Error::Status { method, url, status: self.status, retry_after: self.asked(), said: String::new() }
    }

    /// The error that an answer is which is not what was wanted. `what` was asked for.
    pub(crate) fn refusal(self, host: &Host, what: &str) -> Error {
        let (status, url, method) = (self.status, self.url.shown(), self.method.to_string());
        let asked = self.asked();
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let limits: Vec<String> = ["ratelimit-limit", "ratelimit-remaining"]
            .iter()
            .filter_map(|name| Some(format!("{name}: {}", excerpt(header(name)?))))
            .collect();
        let session = Arc::clone(&self.session);
        let body =
            if self.method == Method::HEAD { Vec::new() } else { self.read(SAID_LIMIT).unwrap_or_default() };
        let mut said = said(&body);
        let registry = host.name.clone();
        match status {
            401 | 403 => {
                let anonymous = session.tokens.is_anonymous(&registry);
                Error::Unauthorized { registry, repository: what.to_owned(), anonymous, said }
            }
            404 => Error::NotFound { what: what.to_owned(), registry, said },
            429 => {
                for limit in limits {
                    said = if said.is_empty() { limit } else { format!("{said}; {limit}") };
                }
                Error::RateLimit { url, retry_after: asked, said }
            }
            _ => Error::Status { method, url, status, retry_after: asked, said },
        }
    }
}

/// What the body of an answer says: the errors of the specification (spec.md, "Error codes"), else nothing.
fn said(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Said>,
        /// As token servers say it.
        #[serde(default)]
        details: String,
    }
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return String::new() };
    let errors =
        body.errors.iter().take(3).map(|error| match (error.code.as_str(), error.message.as_str()) {
            (code, "") => code.to_owned(),
            ("", message) => message.to_owned(),
            (code, message) => format!("{code}: {message}"),
        });
    let all: Vec<String> = errors.chain((!body.details.is_empty()).then_some(body.details.clone())).collect();
    excerpt(&all.join("; "))
}
