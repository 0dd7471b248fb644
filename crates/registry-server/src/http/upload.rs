//! Receiving blobs: begun, appended to, finished, mounted, asked about and cancelled (distribution-spec, "Pushing blobs").
//!
//! A body is taken as it comes, in portions of bounded size; each is hashed and written by a thread that may wait for the
//! disk, while the kernel goes on receiving.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE};
use hyper::{HeaderMap, Request, Response, StatusCode};
use oci::{Algorithm, Digest};

use super::body::Body;
use super::refusal::{Code, Refusal};
use super::route::{Query, digest, unknown_upload};
use super::{Answer, Service, created, empty, set};
use crate::auth::Caller;
use crate::auth::rights::Action;
use crate::names::{Repository, UploadId};
use crate::pace::Pace;
use crate::store::{self, Finished, Upload, Writer};

/// Bytes that are taken before they are written.
const PORTION: usize = 512 << 10;
/// Repositories that are looked at to mount a blob from, where the client names none.
const SOURCES: u32 = 64;
/// How long a request waits for another one that writes the same upload: the other one may be a connection that was cut.
const OTHER: Duration = Duration::from_secs(10);

impl Service {
    pub(super) async fn begin_upload(
        &self,
        name: &Repository,
        query: &Query,
        caller: &Caller<'_>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Answer {
        // What cannot be mounted is uploaded. That includes what the client may not read.
        if let Some(Ok(digest)) = query.get("mount").map(digest)
            && let Some(from) = self.source(&digest, query, caller)?
            && self.store.mount(name, &from, &digest).settled().await?
        {
            return Ok(created(&format!("/v2/{name}/blobs/{digest}"), &digest));
        }
        let wanted = query.get("digest").map(digest).transpose()?;
        let algorithm = match (&wanted, query.get("digest-algorithm")) {
            (Some(digest), _) => Some(digest.algorithm()),
            (None, None | Some("sha256")) => Some(Algorithm::Sha256),
            (None, Some("sha512")) => Some(Algorithm::Sha512),
            (None, Some(other)) => {
                let why = "content is named by sha256 or sha512 here";
                return Err(Refusal::about(Code::DigestInvalid, why, "digest-algorithm", other));
            }
        };
        self.limits.check_open(self.store.open_uploads())?;
        let (id, upload) = self.store.begin_upload(name, algorithm)?;
        match wanted {
            None => Ok(progress(StatusCode::ACCEPTED, name, &id, 0)),
            Some(digest) => {
                let _seat = self.limits.seat(peer)?;
                let writer = self.writer(upload, &id).await?;
                match self.receive(writer, request, None).await {
                    Ok(writer) => self.publish(name, digest, writer).await,
                    Err(Stopped { writer, refusal }) => {
                        // Nobody was told its name.
                        if let Some(writer) = writer {
                            self.give_up(writer).await?;
                        }
                        Err(refusal)
                    }
                }
            }
        }
    }

    /// The repository that a blob is to be mounted from: the one that the client names, else one of those that it may read.
    fn source(
        &self,
        digest: &Digest,
        query: &Query,
        caller: &Caller<'_>,
    ) -> Result<Option<Repository>, Refusal> {
        let named = match query.get("from") {
            Some(from) => Repository::parse(from).into_iter().collect(),
            None => self.store.repositories_with(digest, SOURCES)?,
        };
        Ok(named.into_iter().find(|from| caller.may(from, Action::Pull)))
    }

    pub(super) async fn append(
        &self,
        name: &Repository,
        id: &UploadId,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Answer {
        let _seat = self.limits.seat(peer)?;
        let writer = self.writer(self.found(name, id).await?, id).await?;
        let end = expected_end(name, id, request.headers(), writer.length())?;
        let writer = self.receive(writer, request, end).await.map_err(|stopped| stopped.refusal)?;
        Ok(progress(StatusCode::ACCEPTED, name, id, writer.length()))
    }

    pub(super) async fn finish(
        &self,
        name: &Repository,
        id: &UploadId,
        query: &Query,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Answer {
        let Some(text) = query.get("digest") else {
            return Err(Refusal::new(Code::DigestInvalid, "the digest parameter is missing"));
        };
        let digest = digest(text)?;
        let _seat = self.limits.seat(peer)?;
        let writer = self.writer(self.found(name, id).await?, id).await?;
        let end = expected_end(name, id, request.headers(), writer.length())?;
        let writer = self.receive(writer, request, end).await.map_err(|stopped| stopped.refusal)?;
        self.publish(name, digest, writer).await
    }

    pub(super) async fn upload_status(&self, name: &Repository, id: &UploadId) -> Answer {
        let upload = self.found(name, id).await?;
        Ok(progress(StatusCode::NO_CONTENT, name, id, upload.length()))
    }

    pub(super) async fn cancel(&self, name: &Repository, id: &UploadId) -> Answer {
        let writer = self.writer(self.found(name, id).await?, id).await?;
        self.give_up(writer).await?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    async fn found(&self, name: &Repository, id: &UploadId) -> Result<Arc<Upload>, Refusal> {
        let (store, owned, wanted) = (self.store.clone(), name.clone(), id.clone());
        // It may have to be read and hashed first.
        let found = aside(move || store.find_upload(&owned, &wanted)).await??;
        found.ok_or_else(|| unknown_upload(id.as_str()))
    }

    async fn writer(&self, upload: Arc<Upload>, id: &UploadId) -> Result<Writer, Refusal> {
        match tokio::time::timeout(OTHER, upload.writer()).await {
            Ok(writer) => writer.ok_or_else(|| unknown_upload(id.as_str())),
            Err(_) => Err(Refusal::new(Code::BlobUploadInvalid, "another request is sending to this upload")
                .status(StatusCode::CONFLICT)),
        }
    }

    async fn publish(&self, name: &Repository, digest: Digest, writer: Writer) -> Answer {
        let (store, owned, wanted) = (self.store.clone(), name.clone(), digest.clone());
        match aside(move || store.finish(&owned, &wanted, writer)).await?? {
            Finished::Stored => Ok(created(&format!("/v2/{name}/blobs/{digest}"), &digest)),
            Finished::Mismatch { found } => {
                let why = format!("what was received is {found}; the upload is discarded");
                Err(Refusal::about(Code::DigestInvalid, why, "digest", digest.as_str()))
            }
        }
    }

    /// Appends a body, which must end at `end` where that is known. What has come before a failure stays received.
    async fn receive(
        &self,
        mut writer: Writer,
        request: Request<Incoming>,
        end: Option<u64>,
    ) -> Result<Writer, Stopped> {
        let room = end.map_or(u64::MAX, |end| end.saturating_sub(writer.length()));
        let mut receiver = Receiver::new(request.into_body(), room, self.patience);
        loop {
            let pieces = match receiver.next().await {
                Ok(Some(pieces)) => pieces,
                Ok(None) => break,
                Err(refusal) => return Err(Stopped { writer: Some(writer), refusal }),
            };
            self.metrics.received(pieces.iter().map(|piece| piece.len() as u64).sum());
            let written = aside(move || {
                let outcome = pieces.iter().try_for_each(|piece| writer.append(piece));
                (writer, outcome)
            });
            let (back, outcome) = written.await.map_err(|refusal| Stopped { writer: None, refusal })?;
            writer = back;
            if let Err(error) = outcome {
                return Err(Stopped { writer: Some(writer), refusal: error.into() });
            }
        }
        if receiver.overflowed() || end.is_some_and(|end| writer.length() != end) {
            let refusal = Refusal::new(Code::SizeInvalid, "the body is not as long as its Content-Range");
            return Err(Stopped { writer: Some(writer), refusal });
        }
        Ok(writer)
    }

    async fn give_up(&self, writer: Writer) -> Result<(), Refusal> {
        let store = self.store.clone();
        Ok(aside(move || store.cancel(writer)).await??)
    }
}

/// Runs what may wait for the disk where that holds up nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request was given up");
        Refusal::from(store::Error::Closing)
    })
}

/// How far an upload is. Nothing received looks like one byte, as it always has.
fn progress(status: StatusCode, name: &Repository, id: &UploadId, length: u64) -> Response<Body> {
    let mut response = empty(status);
    for (header, value) in progress_headers(name, id, length) {
        set(&mut response, header, &value);
    }
    response
}

fn progress_headers(name: &Repository, id: &UploadId, length: u64) -> [(HeaderName, String); 3] {
    [
        (LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (RANGE, format!("0-{}", length.saturating_sub(1))),
        (HeaderName::from_static("docker-upload-uuid"), id.to_string()),
    ]
}

/// Where the upload ends after a chunk, by its Content-Range, which must begin where the last one has ended.
fn expected_end(
    name: &Repository,
    id: &UploadId,
    headers: &HeaderMap,
    length: u64,
) -> Result<Option<u64>, Refusal> {
    let Some(range) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let parsed = range.to_str().ok().and_then(|text| {
        let text = text.trim();
        // The specification has no unit here; some clients send one, and the whole length behind a slash.
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let (first, last) = text.split('/').next()?.split_once('-')?;
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
    });
    let refuse = |why: String| {
        let refusal = Refusal::new(Code::RangeInvalid, why);
        progress_headers(name, id, length).into_iter().fold(refusal, |refusal, (header, value)| {
            match HeaderValue::from_str(&value) {
                Ok(value) => refusal.header(header, value),
                Err(_) => refusal,
            }
        })
    };
    let Some((first, last)) = parsed.filter(|(first, last)| first <= last && *last < u64::MAX) else {
        return Err(refuse("Content-Range is not FIRST-LAST".to_owned()));
    };
    if first != length {
        return Err(refuse(format!("the next chunk begins at {length}")));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if let Some(announced) = announced.and_then(|text| text.parse::<u64>().ok())
        && announced != last - first + 1
    {
        let why = format!("Content-Range is {} bytes long and Content-Length {announced}", last - first + 1);
        return Err(Refusal::new(Code::SizeInvalid, why));
    }
    Ok(Some(last + 1))
}

/// Why a body was not received to its end.
struct Stopped {
    /// Missing when the writing thread has failed.
    writer: Option<Writer>,
    refusal: Refusal,
}

/// A body in portions.
pub(super) struct Receiver {
    body: Incoming,
    /// How much more may come.
    room: u64,
    overflowed: bool,
    pace: Pace,
}

type Received = Option<Result<Frame<Bytes>, hyper::Error>>;

impl Receiver {
    pub(super) fn new(body: Incoming, room: u64, patience: Duration) -> Self {
        Self { body, room, overflowed: false, pace: Pace::new(patience) }
    }

    /// Whether more came than may.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Waits for what comes next, as long as the client's pace allows.
    async fn wait(&mut self) -> Result<Received, Refusal> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
        let since = Instant::now();
        let frame = tokio::time::timeout(self.pace.left(), frame).await.map_err(|_| {
            Refusal::new(Code::BlobUploadInvalid, "next to nothing came for too long")
                .status(StatusCode::REQUEST_TIMEOUT)
        })?;
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) | None => 0,
        };
        self.pace.moved(since.elapsed(), bytes);
        Ok(frame)
    }

    /// What has come, at least one piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Refusal> {
        let mut pieces = Vec::new();
        let mut length = 0;
        while length < PORTION && !self.overflowed {
            let frame = if pieces.is_empty() {
                self.wait().await?
            } else {
                // What is there already, without waiting for more.
                let ready = std::future::poll_fn(|context| {
                    Poll::Ready(match Pin::new(&mut self.body).poll_frame(context) {
                        Poll::Ready(frame) => Some(frame),
                        Poll::Pending => None,
                    })
                });
                match ready.await {
                    Some(frame) => frame,
                    None => break,
                }
            };
            match frame {
                None => break,
                Some(Err(error)) => {
                    return Err(Refusal::new(Code::BlobUploadInvalid, format!("the body was cut: {error}")));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.len() as u64 > self.room {
                        self.overflowed = true;
                        break;
                    }
                    self.room -= data.len() as u64;
                    length += data.len();
                    if !data.is_empty() {
                        pieces.push(data);
                    }
                }
            }
        }
        Ok((!pieces.is_empty()).then_some(pieces))
    }
}
