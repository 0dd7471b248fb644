//! Blobs, as streams that outlive their connections (spec.md, "Pulling blobs").
//!
//! After a cut the rest is asked for by its range, of the registry itself: the addresses that redirects lead to are signed for
//! minutes. A host that sends the whole blob again has what is known already skipped.

use std::io::{self, Read};
use std::ops::Range;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_RANGE, RANGE};
use oci::{Descriptor, Digest, Hasher, MediaType};

use crate::error::{Error, Result};
use crate::manifest::mismatch;
use crate::session::{Answer, chance};
use crate::{Need, Repository};

/// So many bytes between two cuts are a success, after which attempts are counted anew.
const PROGRESS: u64 = 1 << 20;
/// The size of a blob of which only the digest is known, until a host says it.
const UNKNOWN: u64 = u64::MAX;

/// The content of a blob; an error, never an end, where it is not all of it or not what its digest names.
pub struct BlobReader {
    repository: Repository,
    descriptor: Descriptor,
    answer: Option<Answer>,
    part: Bytes,
    /// Bytes that the current answer still has to skip, as it begins before where we are.
    skip: u64,
    received: u64,
    /// Attempts that failed since the last progress, which was here.
    failed: u32,
    progressed: u64,
    /// Behind the last byte that is wanted.
    end: u64,
    hasher: Option<Hasher>,
    is_checked: bool,
    may_range: bool,
    /// Whether nothing but the range is taken, so that a host without ranges has no answer.
    is_range: bool,
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at {}", self.descriptor.digest, self.received)
    }
}

impl Repository {
    /// The content of a blob. It is asked for at once, so that one that is not there is told here.
    ///
    /// # Errors
    /// If no host has it.
    pub fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        self.open_blob(descriptor, 0..descriptor.size, descriptor.digest.hasher(), false)
    }

    /// The content of a blob behind so many bytes, which the caller has. It is left to the caller to check the digest; size and
    /// completeness are checked all the same.
    ///
    /// # Errors
    /// If no host has it.
    pub fn rest_of_blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        self.open_blob(descriptor, from.min(descriptor.size)..descriptor.size, None, false)
    }

    /// A part of a blob, of a host that gives that alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it would give all of it; or if no host has it.
    pub(crate) fn range_of_blob(&self, descriptor: &Descriptor, range: Range<u64>) -> Result<BlobReader> {
        self.open_blob(descriptor, range, None, true)
    }

    /// A part of a blob, which may be cut out of all of it.
    ///
    /// # Errors
    /// If no host has it.
    pub(crate) fn part_of_blob(&self, descriptor: &Descriptor, range: Range<u64>) -> Result<BlobReader> {
        self.open_blob(descriptor, range, None, false)
    }

    /// A blob of which only the digest is known: its size is what the host says at first. It is left to the caller to check the
    /// digest; size and completeness are checked all the same.
    ///
    /// # Errors
    /// If no host has it, or none says how large it is.
    pub fn blob_by_digest(&self, digest: &Digest) -> Result<BlobReader> {
        let descriptor = Descriptor::new(MediaType::default(), digest.clone(), UNKNOWN);
        self.open_blob(&descriptor, 0..UNKNOWN, None, false)
    }

    fn open_blob(
        &self,
        descriptor: &Descriptor,
        Range { start: from, end }: Range<u64>,
        hasher: Option<Hasher>,
        is_range: bool,
    ) -> Result<BlobReader> {
        let mut reader = BlobReader {
            // Whoever waits for a part of it waits for the blob.
            repository: self.about(self.about.as_ref().unwrap_or(&descriptor.digest)),
            hasher,
            descriptor: descriptor.clone(),
            answer: None,
            part: Bytes::new(),
            skip: 0,
            received: from,
            failed: 0,
            progressed: from,
            is_checked: false,
            may_range: true,
            end,
            is_range,
        };
        if from < descriptor.size || from == 0 {
            reader.reopen()?;
        }
        Ok(reader)
    }

    /// The whole content of a small blob: a config.
    ///
    /// # Errors
    /// If it cannot be had, is larger than `limit`, or is not what it is named.
    pub fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        if descriptor.size > limit {
            return Err(Error::TooMuch { url: descriptor.digest.to_string(), limit, what: "bytes" });
        }
        let mut reader = self.blob(descriptor)?;
        let mut content = Vec::new();
        while reader.fill()? {
            content.append(&mut Vec::from(std::mem::take(&mut reader.part)));
        }
        Ok(content)
    }

    /// Whether the registry has a blob.
    ///
    /// # Errors
    /// If it does not say.
    pub fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        match self.head_blob(&descriptor.digest) {
            Ok(answer) => Ok(answer.length().is_none_or(|length| length == descriptor.size)),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The size of a blob in bytes, as the registry says it.
    ///
    /// # Errors
    /// If it does not have the blob, or does not say.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64> {
        self.head_blob(digest).and_then(|answer| told_size(&answer))
    }

    fn head_blob(&self, digest: &Digest) -> Result<Answer> {
        self.on_hosts(Need::Pull, |host| {
            let url = self.url(host, &format!("blobs/{digest}"))?;
            self.ask(host, Method::HEAD, url, &[], (&[200], digest.as_str()))
        })
    }
}

impl BlobReader {
    /// How many bytes there will be.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.descriptor.size
    }

    /// Asks for what is still missing.
    fn reopen(&mut self) -> Result<()> {
        let Self { repository, descriptor, received, may_range, end, .. } = self;
        let is_range = self.is_range;
        let digest = &descriptor.digest;
        let mut skip = 0;
        let answer = repository.on_hosts(Need::Pull, |host| {
            let url = repository.url(host, &format!("blobs/{digest}"))?;
            let mut headers = vec![
                (ACCEPT, "application/octet-stream, */*".to_owned()),
                (ACCEPT_ENCODING, "identity".to_owned()),
            ];
            if is_range || (*end < descriptor.size && *may_range) {
                headers.push((RANGE, format!("bytes={received}-{}", *end - 1)));
            } else if *received > 0 && *may_range {
                headers.push((RANGE, format!("bytes={received}-")));
            }
            let answer = repository.ask(
                host,
                Method::GET,
                url.clone(),
                &headers,
                (&[200, 206, 416], digest.as_str()),
            )?;
            if is_range && answer.status != 206 {
                let registry = host.name.clone();
                return Err(Error::Unsupported { registry, what: "ranges of blobs", said: String::new() });
            }
            if answer.status == 416 {
                if *received == 0 || !*may_range {
                    return Err(answer.refusal(host, digest.as_str()));
                }
                // It cannot give the rest alone, so it is asked for all of it.
                *may_range = false;
                headers.pop();
                drop(answer.discard());
                let answer = repository.ask(host, Method::GET, url, &headers, (&[200], digest.as_str()))?;
                skip = begins(&answer, *received..*end, descriptor.size)?;
                return Ok(answer);
            }
            if descriptor.size == UNKNOWN {
                descriptor.size = told_size(&answer)?;
                *end = descriptor.size;
            }
            skip = begins(&answer, *received..*end, descriptor.size)?;
            Ok(answer)
        })?;
        self.answer = Some(answer);
        self.skip = skip;
        Ok(())
    }

    /// Makes sure that there is a part to read; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        while self.part.is_empty() {
            if self.received == self.end && self.skip == 0 {
                return self.finish().map(|()| false);
            }
            match self.next_part() {
                Ok(Some(part)) => self.take(part)?,
                Ok(None) => {
                    let url = self.answer.take().map(|answer| answer.url.shown()).unwrap_or_default();
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends too soon");
                    self.recover(Error::Exchange { method: "GET".to_owned(), url, source })?;
                }
                Err(error) => self.recover(error)?,
            }
        }
        Ok(true)
    }

    /// What comes next; `None` at the end.
    pub(crate) fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.fill()?.then(|| std::mem::take(&mut self.part)))
    }

    /// How many bytes of the blob there are up to here.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    fn next_part(&mut self) -> Result<Option<Bytes>> {
        match &mut self.answer {
            Some(answer) => answer.next(),
            None => Ok(None),
        }
    }

    fn take(&mut self, mut part: Bytes) -> Result<()> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(part.len());
        self.skip -= skipped as u64;
        let mut part = part.split_off(skipped);
        if self.is_cut_out() {
            let left = usize::try_from(self.end - self.received).unwrap_or(usize::MAX);
            part.truncate(left);
        }
        let received = self.received + part.len() as u64;
        if received > self.end {
            let found = format!("{received} or more");
            return Err(mismatch(&self.shown(), "size", self.end, found));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&part);
        }
        self.received = received;
        self.part = part;
        if self.received - self.progressed >= PROGRESS {
            (self.progressed, self.failed) = (self.received, 0);
        }
        Ok(())
    }

    /// Waits and asks for the rest, unless that would not help.
    fn recover(&mut self, error: Error) -> Result<()> {
        self.answer = None;
        let mut error = error;
        loop {
            // Who was there a moment ago may be back in a moment.
            if !(error.is_passing() || error.is_unreached()) {
                return Err(error);
            }
            self.failed += 1;
            let patience = &self.repository.session.settings.patience;
            let Some(wait) = patience.wait(self.failed, error.asked(), chance()) else { return Err(error) };
            let session = &self.repository.session;
            session.wait(wait, self.failed, self.repository.about.as_ref(), &error);
            match self.reopen() {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
    }

    /// At the end: nothing may follow, and the digest must be right.
    fn finish(&mut self) -> Result<()> {
        if self.is_checked {
            return Ok(());
        }
        let is_cut_out = self.is_cut_out();
        if let Some(mut answer) = self.answer.take()
            && !is_cut_out
            // A cut behind the last byte cuts nothing off.
            && let Ok(Some(part)) = answer.next()
        {
            let found = self.received + part.len() as u64;
            return Err(mismatch(&self.shown(), "size", self.end, format!("{found} or more")));
        }
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != self.descriptor.digest {
                return Err(mismatch(&self.shown(), "digest", &self.descriptor.digest, found));
            }
        }
        self.is_checked = true;
        Ok(())
    }

    /// Whether the host sends more than the part that is wanted, as it knows no ranges.
    fn is_cut_out(&self) -> bool {
        self.end < self.descriptor.size && self.answer.as_ref().is_some_and(|answer| answer.status == 200)
    }

    fn shown(&self) -> String {
        format!("{:?}: blob {}", self.repository, self.descriptor.digest)
    }
}

fn told_size(answer: &Answer) -> Result<u64> {
    answer.length().filter(|size| *size != UNKNOWN).ok_or_else(|| Error::Header {
        url: answer.url.shown(),
        header: "Content-Length",
        reason: "does not tell the size of a blob".to_owned(),
    })
}

/// How many bytes of an answer come before what was asked for, which are to be skipped. What the headers say of it must be true
/// of a blob of `size` bytes.
fn begins(answer: &Answer, Range { start: received, end }: Range<u64>, size: u64) -> Result<u64> {
    let url = answer.url.shown();
    let length = answer.length();
    if answer.status == 200 {
        return match length {
            Some(length) if length != size => Err(mismatch(&url, "size", size, length)),
            _ => Ok(received),
        };
    }
    let wrong = |reason: String| Error::Header { url: url.clone(), header: "Content-Range", reason };
    let value = answer.header(CONTENT_RANGE, "Content-Range")?;
    let (first, last, whole) = content_range(&value)
        .ok_or_else(|| wrong(format!("makes no sense: {:?}", crate::error::excerpt(&value))))?;
    if whole.is_some_and(|whole| whole != size) {
        return Err(mismatch(&url, "size", size, whole.unwrap_or_default()));
    }
    if first > received || last < received || last >= end {
        return Err(wrong(format!("says {first} to {last}, but {received} to {} was asked for", end - 1)));
    }
    if length.is_some_and(|length| length != last - first + 1) {
        return Err(wrong(format!("says {first} to {last}, and Content-Length another number")));
    }
    Ok(received - first)
}

/// First and last byte, and the size of all where it is told (RFC 9110, 14.4).
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (range, whole) = text.trim().strip_prefix("bytes")?.trim_start_matches([' ', '=']).split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let whole = if whole == "*" { None } else { Some(number(whole)?) };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last, whole))
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.fill().map_err(io::Error::other)? {
            return Ok(0);
        }
        let part = self.part.split_to(self.part.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn ranges_are_read_or_refused() {
        for (text, want) in [
            ("bytes 0-9/10", Some((0, 9, Some(10)))),
            ("bytes 5-5/*", Some((5, 5, None))),
            ("bytes=1-2/3", Some((1, 2, Some(3)))),
            ("bytes 9-0/10", None),
            ("bytes */10", None),
            ("bytes 0-/10", None),
            ("bytes +0-1/10", None),
            ("bytes 0-18446744073709551616/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(text in "\\PC{0,40}|bytes [0-9*/-]{0,30}") {
            if let Some((first, last, _)) = content_range(&text) {
                proptest::prop_assert!(first <= last);
            }
        }
    }
}
