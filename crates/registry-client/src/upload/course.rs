//! One blob on its way: begun, sent, asked about after a cut, finished.

use std::io::{self, Read as _};
use std::sync::{Arc, Mutex};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION};
use oci::{Descriptor, Digest, Hasher, MediaType};

use super::{Open, is_named, location, received};
use crate::error::{Error, Result};
use crate::hosts::Host;
use crate::manifest::mismatch;
use crate::payload::{Outgoing, Sending, Tally};
use crate::session::{Answer, Ask, chance, locked};
use crate::url::Url;
use crate::{Need, Repository};

/// What is not larger is sent with the request that finishes it.
const WHOLE: u64 = 1 << 20;
/// Content of a size that nobody knows goes on in pieces of so many bytes once it was cut: each has to say where it ends.
const PIECE: u64 = 8 << 20;
/// The largest piece that a registry may ask for.
const PIECE_LIMIT: u64 = 64 << 20;
/// So many bytes between two cuts are a success, after which attempts are counted anew.
const PROGRESS: u64 = 1 << 20;

/// One blob on its way. Dropping it gives up what has begun.
pub(super) struct Upload<'a> {
    repository: &'a Repository,
    wanted: Option<&'a Descriptor>,
    open: &'a Open<'a>,
    tally: Arc<Mutex<Tally>>,
    place: Option<Place>,
    /// How much the registry has.
    at: u64,
    /// Whether all of it was read, and is there.
    is_sent: bool,
    /// Whether an attempt has failed, so that the registry must be asked what it has.
    is_doubtful: bool,
    /// Whether something has been cut.
    was_cut: bool,
    /// Attempts that failed since the last progress, which was here.
    failed: u32,
    progressed: u64,
}

/// Where an upload lies.
struct Place {
    host: Host,
    url: Url,
    /// What a piece must at least have, unless it is the last (`OCI-Chunk-Min-Length`).
    piece: u64,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        wanted: Option<&'a Descriptor>,
        hasher: Hasher,
        open: &'a Open<'a>,
    ) -> Self {
        Self {
            repository,
            wanted,
            open,
            tally: Arc::new(Mutex::new(Tally::new(hasher))),
            place: None,
            at: 0,
            is_sent: false,
            is_doubtful: false,
            was_cut: false,
            failed: 0,
            progressed: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<(Digest, u64)> {
        loop {
            if self.place.is_none() {
                self.begin()?;
            }
            let error = match self.attempt() {
                Ok(done) => {
                    self.place = None;
                    return Ok(done);
                }
                Err(error) => error,
            };
            let is_gone = matches!(error, Error::NotFound { .. });
            if !(is_gone || error.is_passing() || error.is_unreached()) {
                return Err(error);
            }
            self.recover(error, is_gone)?;
        }
    }

    /// Waits, unless that would not help.
    fn recover(&mut self, error: Error, is_gone: bool) -> Result<()> {
        if self.at >= self.progressed + PROGRESS {
            (self.progressed, self.failed) = (self.at, 0);
        }
        self.failed += 1;
        let patience = &self.repository.session.settings.patience;
        let Some(wait) = patience.wait(self.failed, error.asked(), chance()) else {
            if error.is_unreached() {
                // Nobody is there to be told.
                self.place = None;
            }
            return Err(error);
        };
        let about = self.repository.about.as_ref().or(self.wanted.map(|wanted| &wanted.digest));
        self.repository.session.wait(wait, self.failed, about, &error);
        (self.is_doubtful, self.was_cut) = (true, true);
        if is_gone {
            self.forget();
        }
        Ok(())
    }

    /// The upload is gone: the next one begins with the first byte.
    fn forget(&mut self) {
        self.place = None;
        (self.at, self.progressed, self.is_sent) = (0, 0, false);
    }

    /// Begins an upload with the host that takes pushes.
    fn begin(&mut self) -> Result<()> {
        let repository = self.repository;
        let place = repository.on_hosts(Need::Push, |host| {
            let url = repository.url(host, "blobs/uploads/")?;
            let headers = [(CONTENT_LENGTH, "0".to_owned())];
            let answer = repository.ask(host, Method::POST, url, &headers, (&[202], &repository.name))?;
            let url = location(&answer, host)?;
            let piece = answer.headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok());
            let piece = piece.and_then(|text| text.parse().ok()).unwrap_or(0);
            answer.discard()?;
            Ok(Place { host: host.clone(), url, piece })
        })?;
        self.place = Some(place);
        self.is_doubtful = false;
        Ok(())
    }

    fn attempt(&mut self) -> Result<(Digest, u64)> {
        if self.is_doubtful
            && let Some(done) = self.ask()?
        {
            return Ok(done);
        }
        if let Some(wanted) = self.wanted.filter(|wanted| wanted.size <= WHOLE && self.at == 0) {
            let content = self.read(wanted.size)?;
            return self.finish(&content);
        }
        while !self.is_sent {
            match self.wanted {
                Some(wanted) if self.at >= wanted.size => self.is_sent = true,
                Some(wanted) => self.send_rest(Some(wanted.size - self.at))?,
                None if !self.was_cut => self.send_rest(None)?,
                None => self.send_piece()?,
            }
        }
        self.finish(&Bytes::new())
    }

    /// Asks how much of it is there; returns the whole if it turns out to be finished.
    fn ask(&mut self) -> Result<Option<(Digest, u64)>> {
        // The answer to the last request may have been all that was cut.
        if self.is_sent || self.wanted.is_some_and(|wanted| wanted.size <= WHOLE) {
            let (digest, size) = self.found();
            let descriptor = Descriptor::new(MediaType::default(), digest.clone(), size);
            let target = Repository { is_target: true, ..self.repository.clone() };
            if target.has_blob(&descriptor)? {
                return Ok(Some((digest, size)));
            }
        }
        let answer = self.exchange(Method::GET, None, &[], Sending::Whole(&Bytes::new()))?;
        if answer.status == 404 {
            // Some registries go on with nothing that was cut in the middle of a request.
            answer.discard()?;
            self.forget();
            return self.begin().map(|()| None);
        }
        let answer = self.wanted_status(answer, &[204, 200])?;
        let at = received(&answer)?;
        self.follow(&answer)?;
        answer.discard()?;
        // Nothing at all looks like one byte.
        let Some(at) = at.filter(|at| *at > 1) else {
            if let Some(place) = self.place.take() {
                self.repository.give_up(&place.host, &place.url);
            }
            self.forget();
            return self.begin().map(|()| None);
        };
        self.reach(at)?;
        self.is_doubtful = false;
        Ok(None)
    }

    /// Goes on where the registry says that it is.
    fn reach(&mut self, at: u64) -> Result<()> {
        let seen = locked(&self.tally).seen();
        if at > seen {
            let url = self.shown();
            let reason = format!("says that {at} bytes are there, and {seen} were sent");
            return Err(Error::Header { url, header: "Range", reason });
        }
        self.is_sent = self.is_sent && at == seen;
        self.at = at;
        Ok(())
    }

    /// Streams all that is missing, of which the size may be known.
    fn send_rest(&mut self, left: Option<u64>) -> Result<()> {
        let (at, open, tally) = (self.at, self.open, Arc::clone(&self.tally));
        let url = self.shown();
        let stream = move || {
            let begin = |content| Outgoing::begin(content, at, left, Arc::clone(&tally));
            open(at).and_then(begin).map_err(|source| Error::Content { url: url.clone(), source })
        };
        let mut headers = vec![(CONTENT_TYPE, "application/octet-stream".to_owned())];
        headers.extend(left.map(|left| (CONTENT_RANGE, format!("{at}-{}", at + left - 1))));
        let answer = self.exchange(Method::PATCH, None, &headers, Sending::Stream(&stream))?;
        let end = match left {
            Some(left) => at + left,
            None => locked(&self.tally).seen(),
        };
        self.sent(answer, end)?;
        self.is_sent = true;
        Ok(())
    }

    /// Sends a piece of content whose size is not known.
    fn send_piece(&mut self) -> Result<()> {
        let least = self.place.as_ref().map_or(0, |place| place.piece);
        let size = least.clamp(PIECE, PIECE_LIMIT);
        let piece = self.read(size)?;
        let is_last = (piece.len() as u64) < size;
        if !piece.is_empty() {
            let end = self.at + piece.len() as u64;
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_RANGE, format!("{}-{}", self.at, end - 1)),
            ];
            let answer = self.exchange(Method::PATCH, None, &headers, Sending::Whole(&piece))?;
            self.sent(answer, end)?;
        }
        self.is_sent = is_last;
        Ok(())
    }

    /// At most so many bytes, from where the registry is.
    fn read(&mut self, size: u64) -> Result<Bytes> {
        let failed = |source| Error::Content { url: self.shown(), source };
        let mut content = Vec::new();
        (self.open)(self.at).and_then(|open| open.take(size).read_to_end(&mut content)).map_err(failed)?;
        locked(&self.tally).see(self.at, &content);
        Ok(Bytes::from(content))
    }

    /// What the registry says of a part that it was sent, which ends at `end`.
    fn sent(&mut self, answer: Answer, end: u64) -> Result<()> {
        let answer = self.wanted_status(answer, &[202, 201, 204])?;
        let at = received(&answer)?;
        self.follow(&answer)?;
        answer.discard()?;
        match at {
            Some(at) if at != end && end > 1 => {
                self.reach(at)?;
                let why = io::Error::other(format!("the registry has kept {at} bytes of {end}"));
                Err(Error::Exchange { method: "PATCH".to_owned(), url: self.shown(), source: why })
            }
            _ => {
                self.at = end;
                Ok(())
            }
        }
    }

    /// Names what was sent, with the rest of it.
    fn finish(&mut self, rest: &Bytes) -> Result<(Digest, u64)> {
        let (digest, size) = self.found();
        if let Some(wanted) = self.wanted {
            if size != wanted.size {
                return Err(mismatch(&self.shown(), "size", wanted.size, size));
            }
            if digest != wanted.digest {
                return Err(mismatch(&self.shown(), "digest", &wanted.digest, digest));
            }
        }
        let mut headers = vec![(CONTENT_LENGTH, rest.len().to_string())];
        if !rest.is_empty() {
            headers.push((CONTENT_TYPE, "application/octet-stream".to_owned()));
        }
        let named = Some(("digest", digest.as_str()));
        let answer = self.exchange(Method::PUT, named, &headers, Sending::Whole(rest))?;
        let answer = self.wanted_status(answer, &[201, 204])?;
        is_named(&answer, &digest)?;
        answer.discard()?;
        Ok((digest, size))
    }

    /// Digest and size of what was read.
    fn found(&self) -> (Digest, u64) {
        let tally = locked(&self.tally);
        (tally.digest(), tally.seen())
    }

    fn exchange(
        &self,
        method: Method,
        query: Option<(&str, &str)>,
        headers: &[(HeaderName, String)],
        sending: Sending<'_>,
    ) -> Result<Answer> {
        let Some(place) = &self.place else { return Err(self.lost()) };
        // Whoever may write here may also ask how far it is.
        let scope = self.repository.scope(&Method::PATCH);
        let url = place.url.clone();
        let url = query.map_or(url.clone(), |(name, value)| url.with_query(name, value));
        let ask = Ask { method, url, host: &place.host, scope: &scope, headers };
        self.repository.session.exchange(&ask, sending)
    }

    fn wanted_status(&mut self, answer: Answer, wanted: &[u16]) -> Result<Answer> {
        let Some(place) = &self.place else { return Err(self.lost()) };
        if wanted.contains(&answer.status) {
            return Ok(answer);
        }
        let is_behind = answer.status == 416;
        let refusal = answer.refusal(&place.host, &self.repository.name);
        if is_behind && !self.is_doubtful {
            // It is somewhere else than we believed: it is asked where.
            let source = io::Error::other(refusal.to_string());
            return Err(Error::Exchange { method: "PATCH".to_owned(), url: self.shown(), source });
        }
        Err(refusal)
    }

    /// Where the upload goes on, if an answer says so.
    fn follow(&mut self, answer: &Answer) -> Result<()> {
        if let Some(place) = &mut self.place
            && answer.headers.contains_key(LOCATION)
        {
            place.url = location(answer, &place.host)?;
        }
        Ok(())
    }

    fn lost(&self) -> Error {
        let what = "an upload".to_owned();
        Error::NotFound { what, registry: self.repository.registry.clone(), said: String::new() }
    }

    fn shown(&self) -> String {
        self.place.as_ref().map_or_else(|| format!("{:?}", self.repository), |place| place.url.shown())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.repository.give_up(&place.host, &place.url);
        }
    }
}
