//! Downloads that outlive their connections.
//!
//! After a cut the rest is asked for by its range, on the condition (`If-Range`) that it is still the same. A server that sends all
//! of it again, for whatever reason, must send the same beginning: its hash is compared with that of what was read before. So
//! what is read is one version of the content, or an error.

use std::io::{self, Read};

use hyper::body::Bytes;
use oci::{Digest, Hasher};

use super::{Answer, Authorization, Request, Verb, of_disposition, of_url};
use crate::blob::content_range;
use crate::error::{Error, Result, excerpt};
use crate::manifest::mismatch;
use crate::{Client, Url};

/// So many bytes between two cuts are a success, after which attempts are counted anew.
const PROGRESS: u64 = 1 << 20;
/// The longest validator that is kept.
const VALIDATOR_LIMIT: usize = 1 << 10;

/// What is to be downloaded, and what is there of it.
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a Url,
    /// Who we are; told to the origin of `url` alone.
    pub authorization: Option<&'a Authorization>,
    /// The most bytes that are taken.
    pub limit: u64,
    /// What it must be: a SHA-256 or a SHA-512.
    pub checksum: Option<&'a Digest>,
    /// What the caller has already, and would rather not have again.
    pub known: &'a [Known],
}

/// By what a server knows a version of a file that it gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its `ETag`, as it came.
    pub etag: Option<String>,
    /// Its `Last-Modified`, as it came.
    pub last_modified: Option<String>,
}

/// What a server says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Where it came from in the end; its query may hold what is signed.
    pub url: Url,
    /// By what to ask for it again.
    pub known: Known,
    /// When it was changed, in seconds since 1970: what `Last-Modified` says.
    pub modified: Option<u64>,
    /// How many bytes it has.
    pub size: Option<u64>,
    /// Its media type, without parameters, in small letters.
    pub media_type: Option<String>,
    /// What it is called: the name of `Content-Disposition`, else the last part of the path that was asked for.
    pub file_name: Option<String>,
}

/// What came of asking for a file.
#[derive(Debug)]
pub enum Downloaded {
    /// It is the one with this place among [`Download::known`].
    Unchanged {
        /// The place.
        place: usize,
        /// What the server says of it now.
        about: Box<About>,
    },
    /// It is another one.
    New(Box<DownloadReader>),
}

/// The content of a file; an error, never an end, where it is not all of it or not what its checksum names.
#[derive(Debug)]
pub struct DownloadReader {
    client: Client,
    url: Url,
    authorization: Option<Authorization>,
    limit: u64,
    checksum: Option<Digest>,
    about: About,
    /// What a server must say to be believed that a range is one of the same content.
    condition: Option<String>,
    answer: Option<Answer>,
    part: Bytes,
    received: u64,
    hasher: Hasher,
    again: Option<Again>,
    /// Attempts that failed since the last progress, which was here.
    failed: u32,
    progressed: u64,
    digest: Option<Digest>,
}

/// The beginning that comes once more.
struct Again {
    left: u64,
    hasher: Hasher,
}

impl std::fmt::Debug for Again {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes again", self.left)
    }
}

impl Client {
    /// Begins to download a file, unless it is known.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::Missing`]; [`Error::TooMuch`] if it is said to be larger than it may be; [`Error::Checksum`] if
    /// nothing can be checked against that; if the server cannot be asked, or does not give the file.
    pub fn download(&self, download: &Download<'_>) -> Result<Downloaded> {
        let hasher = match download.checksum {
            None => Hasher::sha256(),
            Some(digest) => {
                digest.hasher().ok_or_else(|| Error::Checksum { text: excerpt(digest.as_str()) })?
            }
        };
        let mut answer = self.ask_file(download, &conditions(download.known))?;
        if answer.status() == 304 {
            let about = About::of(&answer, download.url);
            match place_of(&about.known, download.known, true) {
                Some(place) => return Ok(Downloaded::Unchanged { place, about: Box::new(about) }),
                // It does not say which, so that nothing was said.
                None => answer = self.ask_file(download, &[])?,
            }
        }
        if !is_content(answer.status()) {
            return Err(answer.refusal(download.authorization.is_some()));
        }
        let about = About::of(&answer, download.url);
        // Some servers tell the tag, and send the content all the same.
        if let Some(place) = place_of(&about.known, download.known, false) {
            return Ok(Downloaded::Unchanged { place, about: Box::new(about) });
        }
        if about.size.is_some_and(|size| size > download.limit) {
            return Err(Error::TooMuch { url: download.url.shown(), limit: download.limit, what: "bytes" });
        }
        Ok(Downloaded::New(Box::new(DownloadReader {
            client: self.clone(),
            url: download.url.clone(),
            authorization: download.authorization.cloned(),
            limit: download.limit,
            checksum: download.checksum.cloned(),
            condition: condition(&answer, &about),
            about,
            answer: Some(answer),
            part: Bytes::new(),
            received: 0,
            hasher,
            again: None,
            failed: 0,
            progressed: 0,
            digest: None,
        })))
    }

    /// What a server says of a file, without the file. One that does not say it alone is asked for the file, which is not read:
    /// addresses that are signed are often signed for `GET`.
    ///
    /// # Errors
    /// As [`Client::download`].
    pub fn about(&self, url: &Url, authorization: Option<&Authorization>) -> Result<About> {
        let request = Request { verb: Verb::Head, url, authorization, headers: &[], body: &[] };
        let mut answer = self.ask(&request)?;
        if !is_content(answer.status()) && !matches!(answer.status(), 404 | 410) {
            answer = self.ask(&Request { verb: Verb::Get, ..request })?;
        }
        match is_content(answer.status()) {
            true => Ok(About::of(&answer, url)),
            false => Err(answer.refusal(authorization.is_some())),
        }
    }

    fn ask_file(&self, download: &Download<'_>, headers: &[(&'static str, String)]) -> Result<Answer> {
        let Download { url, authorization, .. } = *download;
        self.ask(&Request { verb: Verb::Get, url, authorization, headers, body: &[] })
    }
}

/// Whether an answer is a whole file.
fn is_content(status: u16) -> bool {
    matches!(status, 200..=205 | 207..=299)
}

/// The headers that ask for a file only if it is none of those that are known.
fn conditions(known: &[Known]) -> Vec<(&'static str, String)> {
    let tags: Vec<&str> = known.iter().filter_map(|known| known.etag.as_deref()).collect();
    if !tags.is_empty() {
        return vec![("if-none-match", tags.join(", "))];
    }
    match known {
        [Known { last_modified: Some(time), .. }] => vec![("if-modified-since", time.clone())],
        _ => Vec::new(),
    }
}

/// Which of those that are known is meant. `is_said` if the server says that it is one of them, which may be all that it says.
fn place_of(found: &Known, known: &[Known], is_said: bool) -> Option<usize> {
    let strong = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    if let Some(tag) = found.etag.as_deref().map(strong) {
        return known.iter().position(|known| known.etag.as_deref().map(strong).as_ref() == Some(&tag));
    }
    (is_said && known.len() == 1).then_some(0)
}

impl About {
    fn of(answer: &Answer, asked: &Url) -> Self {
        let text =
            |name: &str| answer.header(name).filter(|text| text.len() <= VALIDATOR_LIMIT && !text.is_empty());
        let last_modified = text("last-modified");
        let media_type = text("content-type")
            .map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
            .filter(|kind| !kind.is_empty());
        let disposition = answer.header("content-disposition").and_then(of_disposition);
        Self {
            url: answer.url().clone(),
            known: Known {
                etag: text("etag").map(str::to_owned),
                last_modified: last_modified.map(str::to_owned),
            },
            modified: last_modified.and_then(crate::backoff::http_date),
            size: answer.inner.length(),
            media_type,
            file_name: disposition.or_else(|| of_url(asked)),
        }
    }
}

/// The validator that tells one version of a file from each other one: a strong tag, or a time of change that was over when the
/// answer was made (RFC 9110, 8.8.2.2).
fn condition(answer: &Answer, about: &About) -> Option<String> {
    if let Some(tag) = &about.known.etag {
        return (!tag.starts_with("W/")).then(|| tag.clone());
    }
    let now = answer.header("date").and_then(crate::backoff::http_date)?;
    about.known.last_modified.clone().filter(|_| about.modified.is_some_and(|then| then < now))
}

impl DownloadReader {
    /// What the server says of the file.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The digest of all of it, with the algorithm of its checksum, else SHA-256; `None` until it was read to its end.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// How many bytes have been read.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Makes sure that there is a part to read; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        let filled = self.try_to_fill();
        if filled.is_err() {
            self.answer = None;
        }
        filled
    }

    fn try_to_fill(&mut self) -> Result<bool> {
        while self.part.is_empty() {
            let Some(answer) = &mut self.answer else {
                // What has failed stays failed.
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it was given up");
                let failed = || Error::Exchange { method: "GET".to_owned(), url: self.url.shown(), source };
                return self.digest.as_ref().map(|_| false).ok_or_else(failed);
            };
            match answer.next() {
                Ok(Some(part)) => self.take(part)?,
                Ok(None) if self.again.is_some() => return Err(self.changed("size", self.received, "less")),
                Ok(None) => {
                    self.answer = None;
                    return self.finish().map(|()| false);
                }
                Err(error) => self.recover(error)?,
            }
        }
        Ok(true)
    }

    fn take(&mut self, mut part: Bytes) -> Result<()> {
        if let Some(again) = &mut self.again {
            let most = usize::try_from(again.left).unwrap_or(usize::MAX).min(part.len());
            let known = part.split_to(most);
            again.hasher.update(&known);
            again.left -= known.len() as u64;
            if again.left > 0 {
                return Ok(());
            }
            let (was, is) = (self.hasher.clone().finish(), again.hasher.clone().finish());
            self.again = None;
            if was != is {
                return Err(self.changed("beginning", was, is));
            }
        }
        self.received += part.len() as u64;
        if self.received > self.limit {
            return Err(Error::TooMuch { url: self.url.shown(), limit: self.limit, what: "bytes" });
        }
        self.hasher.update(&part);
        self.part = part;
        if self.received - self.progressed >= PROGRESS {
            (self.progressed, self.failed) = (self.received, 0);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let found = self.hasher.clone().finish();
        if let Some(wanted) = self.checksum.as_ref().filter(|wanted| **wanted != found) {
            return Err(mismatch(&self.url.shown(), "digest", wanted, found));
        }
        self.digest = Some(found);
        Ok(())
    }

    /// Waits and asks for the rest, unless that would not help.
    fn recover(&mut self, error: Error) -> Result<()> {
        self.answer = None;
        let mut error = error;
        loop {
            self.failed += 1;
            if !self.client.waits_after(&error, self.failed) {
                return Err(error);
            }
            match self.reopen() {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// Asks for what is still missing.
    fn reopen(&mut self) -> Result<()> {
        let mut headers = Vec::new();
        if let (Some(condition), 1..) = (&self.condition, self.received) {
            headers.push(("range", format!("bytes={}-", self.received)));
            headers.push(("if-range", condition.clone()));
        }
        let answer = self.get(&headers)?;
        let answer = match answer.status() {
            206 if !headers.is_empty() => {
                self.check_range(&answer)?;
                self.again = None;
                self.answer = Some(answer);
                return Ok(());
            }
            // Its end may have been all that was cut off.
            416 => self.get(&[])?,
            _ => answer,
        };
        if !is_content(answer.status()) {
            return Err(answer.refusal(self.authorization.is_some()));
        }
        let hasher = self.checksum.as_ref().and_then(Digest::hasher).unwrap_or_else(Hasher::sha256);
        self.again = (self.received > 0).then_some(Again { left: self.received, hasher });
        self.answer = Some(answer);
        Ok(())
    }

    fn get(&self, headers: &[(&'static str, String)]) -> Result<Answer> {
        let authorization = self.authorization.as_ref();
        self.client.ask(&Request { verb: Verb::Get, url: &self.url, authorization, headers, body: &[] })
    }

    /// A range must begin where we are, and be one of what we have read.
    fn check_range(&self, answer: &Answer) -> Result<()> {
        let text = answer.header("content-range").unwrap_or_default();
        let known = self.about.size;
        match content_range(text) {
            Some((first, _, whole))
                if first == self.received && (whole.is_none() || known.is_none() || whole == known) =>
            {
                Ok(())
            }
            _ => Err(Error::Header {
                url: self.url.shown(),
                header: "Content-Range",
                reason: format!(
                    "says {:?}, but bytes from {} on were asked for",
                    excerpt(text),
                    self.received
                ),
            }),
        }
    }

    fn changed(&self, what: &'static str, was: impl ToString, is: impl ToString) -> Error {
        mismatch(&self.url.shown(), what, was.to_string(), is.to_string())
    }
}

impl Read for DownloadReader {
    /// Errors are those of this crate, as [`io::Error::other`] has them.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.fill().map_err(io::Error::other)? {
            return Ok(0);
        }
        let part = self.part.split_to(self.part.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
