//! Bodies of answers: bytes, or a part of a file.
//!
//! What the page cache holds of a file the kernel sends by itself, where nobody encrypts it ([`crate::direct`]). Else a file is read
//! in large pieces into buffers that all answers share: what the page cache holds at once, in the task that sends it; only what
//! must come from the disk is read by a thread that may wait.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::cache::fill::Follower;
use crate::direct::{self, Pieces};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// Buffers that are kept when nobody needs them.
const SPARE: usize = 16;
/// What is smaller is sooner read and sent with its head.
const LEAST_DIRECT: u64 = 64 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Option<Bytes>),
    File(FilePart),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::Bytes(None)
    }
}

impl Body {
    /// Has what can be sent without passing through here sent so.
    pub(crate) fn send_by(&mut self, pieces: &Arc<Pieces>) {
        if let Self::File(part) = self {
            part.direct = Some(Arc::clone(pieces));
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(content: Vec<u8>) -> Self {
        Self::Bytes((!content.is_empty()).then(|| content.into()))
    }
}

/// What is left to send of a file.
#[derive(Debug)]
pub(crate) struct FilePart {
    file: Arc<File>,
    at: u64,
    end: u64,
    buffers: Arc<Buffers>,
    waiting: Option<JoinHandle<io::Result<Lent>>>,
    /// Whoever sends pieces of files as they are.
    direct: Option<Arc<Pieces>>,
    /// Of a file that is not whole yet: whoever tells how far it is.
    growth: Option<Growth>,
}

/// How far a file has grown by now.
struct Growth {
    follower: Option<Follower>,
    changed: Option<Pin<Box<dyn Future<Output = Option<Follower>> + Send>>>,
}

impl std::fmt::Debug for Growth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("growing")
    }
}

impl Growth {
    /// Up to where a part that ends at `end` can be sent, once that is beyond `at`. The last byte is not sent before the whole is
    /// known to be right, so that no answer ever looks whole that is not.
    fn poll_beyond(&mut self, at: u64, end: u64, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            if let Some(changed) = self.changed.as_mut() {
                self.follower = std::task::ready!(changed.as_mut().poll(context));
                self.changed = None;
            }
            let Some(mut follower) = self.follower.take() else {
                return Poll::Ready(Err(io::Error::other("a fetch was given up")));
            };
            let (received, outcome) = {
                let progress = follower.borrow_and_update();
                (progress.received, progress.outcome)
            };
            let until = match outcome {
                Some(Ok(())) => end,
                Some(Err(failure)) => {
                    return Poll::Ready(Err(io::Error::other(format!("a fetch has failed: {failure:?}"))));
                }
                None => received.min(end.saturating_sub(1)),
            };
            if until > at {
                self.follower = Some(follower);
                return Poll::Ready(Ok(until));
            }
            self.changed = Some(Box::pin(async move {
                // Whoever fetches says how it ends before it goes.
                follower.changed().await.is_ok().then_some(follower)
            }));
        }
    }
}

impl FilePart {
    /// The bytes of `file` from `start` to before `end`.
    pub(crate) fn new(file: File, start: u64, end: u64, buffers: &Arc<Buffers>) -> Self {
        let file = Arc::new(file);
        Self { file, at: start, end, buffers: buffers.clone(), waiting: None, direct: None, growth: None }
    }

    /// The same of a file that grows, as `follower` tells.
    pub(crate) fn growing(
        file: Arc<File>,
        start: u64,
        end: u64,
        buffers: &Arc<Buffers>,
        follower: Follower,
    ) -> Self {
        let growth = Some(Growth { follower: Some(follower), changed: None });
        Self { file, at: start, end, buffers: buffers.clone(), waiting: None, direct: None, growth }
    }

    /// A piece that need not pass through here.
    fn direct_piece(&mut self) -> Option<Bytes> {
        let pieces = self.direct.as_ref().filter(|_| self.growth.is_none() && self.waiting.is_none())?;
        let length = (self.end - self.at).min(direct::PIECE as u64);
        if length < LEAST_DIRECT || !linux::pages::are_cached(&self.file, self.at, length) {
            return None;
        }
        let piece = pieces.add(&self.file, self.at, usize::try_from(length).ok()?);
        self.at += length;
        Some(piece)
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.at >= self.end {
            return Poll::Ready(None);
        }
        if let Some(piece) = self.direct_piece() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let read = match self.waiting.as_mut() {
            Some(waiting) => {
                let read = std::task::ready!(Pin::new(waiting).poll(context));
                self.waiting = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
            None => {
                let until = match &mut self.growth {
                    None => self.end,
                    Some(growth) => match std::task::ready!(growth.poll_beyond(self.at, self.end, context)) {
                        Ok(until) => until,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    },
                };
                let mut lent = Buffers::lend(&self.buffers, until - self.at);
                match lent.read_cached(&self.file, self.at) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let (file, at) = (self.file.clone(), self.at);
                        self.waiting = Some(tokio::task::spawn_blocking(move || {
                            lent.length = file.read_at(&mut lent.buffer, at)?.min(lent.wanted);
                            Ok(lent)
                        }));
                        return self.poll_piece(context);
                    }
                    Err(error) => Err(error),
                    Ok(()) => Ok(lent),
                }
            }
        };
        Poll::Ready(Some(read.and_then(|lent| {
            if lent.length == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a blob is shorter than its record says",
                ));
            }
            self.at += lent.length as u64;
            Ok(Bytes::from_owner(lent))
        })))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(part) => {
                part.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::File(part) => part.at >= part.end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File(part) => part.end - part.at,
        })
    }
}

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer in use, that goes back when its bytes are sent.
#[derive(Debug)]
struct Lent {
    buffer: Vec<u8>,
    length: usize,
    wanted: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    fn lend(home: &Arc<Self>, wanted: u64) -> Lent {
        let spare = home.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = spare.unwrap_or_else(|| vec![0; PIECE]);
        let wanted = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
        Lent { buffer, length: 0, wanted, home: home.clone() }
    }
}

impl Lent {
    /// Reads what is in memory; `WouldBlock` where that is nothing.
    fn read_cached(&mut self, file: &File, at: u64) -> io::Result<()> {
        let buffer = self.buffer.get_mut(..self.wanted).unwrap_or_default();
        let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT);
        match read {
            Ok(length) => {
                self.length = length;
                Ok(())
            }
            // A file system that cannot tell.
            Err(Errno::OPNOTSUPP | Errno::AGAIN | Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}
