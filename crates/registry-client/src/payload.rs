//! What is sent with a request: bytes that are there, or content that is read while it is sent.
//!
//! A stream is read by a thread of its own, for it may come over a connection itself, and an executor cannot run within another.
//! The executor of the connection, which belongs to whoever waits for the answer, waits for that thread, and holds up nobody else.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use oci::{Digest, Hasher};

use crate::error::Result;
use crate::session::locked;

/// Bytes that are read at once.
const PORTION: usize = 256 << 10;
/// Parts that are read before the one before them is sent.
const AHEAD: usize = 4;

/// The content of a request, as often as it must be sent.
#[derive(Clone, Copy)]
pub(crate) enum Sending<'a> {
    /// Bytes; none for most requests.
    Whole(&'a Bytes),
    /// Content that is opened anew for each attempt.
    Stream(&'a dyn Fn() -> Result<Outgoing>),
}

/// The content of one attempt.
pub(crate) enum Payload {
    Whole(Bytes),
    Stream(Outgoing),
}

/// Content that is read while it is sent.
pub(crate) struct Outgoing {
    parts: Receiver<io::Result<Bytes>>,
    /// How much is yet to be sent; until its end where that is not known.
    left: Option<u64>,
    passed: Arc<Passed>,
}

/// What is seen from outside of a stream that is under way.
#[derive(Default)]
pub(crate) struct Passed {
    bytes: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Passed {
    /// How much has been read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Why reading the content has failed.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        locked(&self.failure).take()
    }
}

/// Hashes content that is read in its order, and in parts again.
pub(crate) struct Tally {
    hasher: Hasher,
    seen: u64,
}

impl Tally {
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self { hasher, seen: 0 }
    }

    /// How far the content has been read.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The digest of all that was read.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    pub(crate) fn see(&mut self, at: u64, part: &[u8]) {
        let known = usize::try_from(self.seen.saturating_sub(at)).unwrap_or(usize::MAX);
        if let Some(new) = part.get(known..) {
            self.hasher.update(new);
            self.seen += new.len() as u64;
        }
    }
}

impl Payload {
    /// What has passed of a stream.
    pub(crate) fn passed(&self) -> Option<Arc<Passed>> {
        match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => Some(Arc::clone(&stream.passed)),
        }
    }
}

impl Outgoing {
    /// Begins to read `content`, which is a blob from its byte `at` on, of which `left` bytes are to be sent.
    pub(crate) fn begin(
        content: Box<dyn Read + Send>,
        at: u64,
        left: Option<u64>,
        tally: Arc<Mutex<Tally>>,
    ) -> io::Result<Self> {
        let (parts, taken) = sync_channel(AHEAD);
        let reader = Reader { content, at, left, tally };
        linux::thread::spawn("read a blob", move || reader.run(&parts))?;
        Ok(Self { parts: taken, left, passed: Arc::default() })
    }

    fn next(&mut self) -> io::Result<Bytes> {
        // The end of what is read is the end of its thread.
        let part = self.parts.recv().unwrap_or_else(|_| Ok(Bytes::new()))?;
        if part.is_empty()
            && let Some(missing) = self.left.filter(|missing| *missing > 0)
        {
            let why = format!("the content ends {missing} bytes too soon");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.left = self.left.map(|left| left.saturating_sub(part.len() as u64));
        self.passed.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        Ok(part)
    }
}

/// Reads and hashes ahead of what is sent, until nobody takes it.
struct Reader {
    content: Box<dyn Read + Send>,
    at: u64,
    left: Option<u64>,
    tally: Arc<Mutex<Tally>>,
}

impl Reader {
    fn run(mut self, parts: &SyncSender<io::Result<Bytes>>) {
        loop {
            let part = self.read();
            let is_last = part.as_ref().map_or(true, Bytes::is_empty);
            if parts.send(part).is_err() || is_last {
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let most = self.left.map_or(PORTION, |left| usize::try_from(left).unwrap_or(PORTION).min(PORTION));
        let mut part = vec![0; most];
        let mut filled = 0;
        // A pipe gives little at a time, and each part is a call and, unless its size is known, a frame.
        while filled < most {
            match self.content.read(&mut part[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        part.truncate(filled);
        locked(&self.tally).see(self.at, &part);
        self.at += filled as u64;
        self.left = self.left.map(|left| left - filled as u64);
        Ok(Bytes::from(part))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let part = match &mut *self {
            Self::Whole(bytes) => Ok(std::mem::take(bytes)),
            Self::Stream(stream) => stream.next().map_err(|error| {
                let again = io::Error::new(error.kind(), "the content cannot be read");
                *locked(&stream.passed.failure) = Some(error);
                again
            }),
        };
        Poll::Ready(match part {
            Ok(part) if part.is_empty() => None,
            part => Some(part.map(Frame::data)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
