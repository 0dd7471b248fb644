//! The stages between a layer's blob and its file, each a thread; see the module above.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use linux::thread::spawn_scoped;
use oci::{Descriptor, DiffId, Digest, Hasher};

use super::LAYER_LIMIT;
use super::compression::{Compression, decoder};
use super::space::space;
use super::window::{Window, Windows};
use crate::error::{Error, Result};
use crate::store::Faults;
use crate::tar;

/// Bytes per buffer: large enough that handing it over costs nothing, small enough for a processor's cache.
pub(super) const BUFFER: usize = 256 << 10;
/// Buffers per connection between two stages.
const BUFFERS: usize = 4;
/// Bytes that may follow the end mark of a layer's tar. Writers pad to records of 10 KiB, some to more.
const TRAILER_LIMIT: u64 = 16 << 20;

/// A layer to be read.
pub(crate) struct Layer<'a> {
    /// Its name, for errors.
    pub(crate) name: &'a str,
    /// Its blob, compressed or not.
    pub(crate) blob: &'a mut (dyn Read + Send),
    /// What it must turn out to be.
    pub(crate) expected: Expected<'a>,
    /// Where to write the tar; `None` where it is stored already, and only checked.
    pub(crate) target: Option<&'a Path>,
}

/// What is known about a layer before it is read.
#[derive(Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    /// Its uncompressed digest.
    pub(crate) diff_id: Option<&'a DiffId>,
    /// The blob's digest and size.
    pub(crate) blob: Option<&'a Descriptor>,
    /// The blob's digest where its size is not known.
    pub(crate) blob_digest: Option<&'a Digest>,
}

/// A layer that has been read to its end and is what was expected.
#[derive(Clone, Debug)]
pub(crate) struct Ingested {
    /// Its uncompressed digest.
    pub(crate) diff_id: DiffId,
    /// Its uncompressed size in bytes.
    pub(crate) size: u64,
    /// The blob's size in bytes.
    pub(crate) blob_size: u64,
    /// Whether the tar has its end mark, without which a cut between two entries would not show.
    pub(crate) terminated: bool,
}

/// Why a stage stopped.
enum Stop {
    /// It failed.
    Failed(Error),
    /// A neighbour did, and tells why.
    Neighbour,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<linux::file::Error> for Stop {
    fn from(error: linux::file::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// What goes from stage to stage. A connection that closes without an end was abandoned.
enum Message {
    Data(Vec<u8>),
    End,
}

/// The near end of a connection: buffers go out full and come back empty.
///
/// A stage owns its ends, so that by returning, for whatever reason, it hangs up and its neighbours stop, too.
struct Outlet {
    full: SyncSender<Message>,
    empty: Receiver<Vec<u8>>,
}

/// The far end.
struct Inlet {
    full: Receiver<Message>,
    empty: Sender<Vec<u8>>,
}

fn connection() -> (Outlet, Inlet) {
    let (full, inlet) = sync_channel(BUFFERS);
    let (back, empty) = channel();
    for _ in 0..BUFFERS {
        // Allocated when first filled.
        drop(back.send(Vec::new()));
    }
    (Outlet { full, empty }, Inlet { full: inlet, empty: back })
}

impl Outlet {
    /// An empty buffer, once one is back.
    fn buffer(&self) -> Result<Vec<u8>, Stop> {
        self.empty.recv().map_err(|_| Stop::Neighbour)
    }

    fn send(&self, message: Message) -> Result<(), Stop> {
        self.full.send(message).map_err(|_| Stop::Neighbour)
    }
}

impl Inlet {
    /// The next buffer; `None` at the end.
    fn next(&self) -> Result<Option<Vec<u8>>, Stop> {
        match self.full.recv() {
            Ok(Message::Data(buffer)) => Ok(Some(buffer)),
            Ok(Message::End) => Ok(None),
            Err(_) => Err(Stop::Neighbour),
        }
    }

    /// With its old content: to clear a buffer only to fill it again would cost as much as to copy it.
    fn give_back(&self, buffer: Vec<u8>) {
        // Who does not take it back has read all.
        drop(self.empty.send(buffer));
    }
}

/// Reads a layer to its end through all stages.
pub(crate) fn ingest(layer: Layer<'_>, windows: &Windows, effects: &Faults) -> Result<Ingested> {
    let Layer { name, blob, expected, target } = layer;
    let mut source = Source::new(name, blob, expected)?;
    let compression = Compression::detect(&source.first);
    // A plain blob's digest is that of the layer, so it need not be computed twice.
    if compression == Compression::None
        && expected.diff_id.is_some_and(|id| Some(id.digest()) == source.wanted.as_ref())
    {
        source.hasher = None;
    }
    let window = Window::of(compression, &source.first);
    let _reserved = windows.reserve(window).map_err(|limit| Error::Window {
        entry: name.to_owned(),
        compression,
        window: window.asked(),
        limit,
    })?;
    let file = target.map(|path| effects.create(path, 0o400).map(|file| (file, path))).transpose()?;

    let (to_check, from_source) = connection();
    let (to_write, from_check) = connection();
    // A stage that gets no thread hangs up as one that fails does, and the others end.
    let (read, decoded, checked, written) = thread::scope(|scope| {
        let writer = spawn_scoped(scope, "write a layer", move || write(name, file, from_check, effects))?;
        let checker = spawn_scoped(scope, "check a layer", move || {
            check(name, from_source, to_write, expected.diff_id)
        })?;
        let (read, decoded) = if compression == Compression::None {
            (source.pump(to_check), Ok(()))
        } else {
            let (to_decode, encoded) = connection();
            let decode = spawn_scoped(scope, "decompress a layer", move || {
                decode(name, (compression, window), encoded, to_check)
            })?;
            (source.pump(to_decode), join(decode))
        };
        Ok::<_, Error>((read, decoded, join(checker), join(writer)))
    })?;
    // At most one stage fails by itself, unless the blob is wrong and its content, too: then the blob is what
    // to tell.
    let mut failures = Vec::new();
    let mut keep = |stop| {
        if let Stop::Failed(error) = stop {
            failures.push(error)
        }
    };
    let read = read.map_err(&mut keep).ok();
    let decoded = decoded.map_err(&mut keep).ok();
    let checked = checked.map_err(&mut keep).ok();
    let written = written.map_err(&mut keep).ok();
    match (read, decoded, checked, written) {
        (Some(blob_size), Some(()), Some(checked), Some(())) => Ok(Ingested { blob_size, ..checked }),
        _ => Err(failures.into_iter().next().unwrap_or_else(|| abandoned(name))),
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T, Stop>>) -> Result<T, Stop> {
    // A panic is a defect of ours, which must not look like a defect of the layer.
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn abandoned(name: &str) -> Error {
    Error::Read { entry: name.to_owned(), source: io::Error::other("reading stopped without a reason") }
}

/// The first stage: reads the blob and checks what was declared of it.
struct Source<'a> {
    name: &'a str,
    blob: &'a mut (dyn Read + Send),
    first: Vec<u8>,
    declared: Option<u64>,
    wanted: Option<Digest>,
    hasher: Option<Hasher>,
    size: u64,
}

impl<'a> Source<'a> {
    fn new(name: &'a str, blob: &'a mut (dyn Read + Send), expected: Expected<'_>) -> Result<Self> {
        let wanted = expected.blob.map(|blob| &blob.digest).or(expected.blob_digest).cloned();
        // A digest of an unknown algorithm cannot be checked; the layer's own digest still is.
        let hasher = wanted.as_ref().and_then(Digest::hasher);
        let declared = expected.blob.map(|blob| blob.size);
        let mut source = Self { name, blob, first: Vec::new(), declared, wanted, hasher, size: 0 };
        let mut first = Vec::new();
        source.fill(&mut first)?;
        source.first = first;
        Ok(source)
    }

    /// Fills a buffer unless the blob ends first.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        let failed = |source| Error::Read { entry: self.name.to_owned(), source };
        buffer.resize(BUFFER, 0);
        let filled = fill(self.blob, buffer).map_err(failed)?;
        buffer.truncate(filled);
        self.size += filled as u64;
        match self.declared {
            Some(declared) if self.size > declared => Err(Error::TooLarge {
                entry: self.name.to_owned(),
                limit: declared,
                reason: "that is the size its descriptor declares",
            }),
            _ => Ok(()),
        }
    }

    /// Sends the whole blob on; returns its size.
    fn pump(mut self, outlet: Outlet) -> Result<u64, Stop> {
        let mut buffer = std::mem::take(&mut self.first);
        loop {
            if buffer.is_empty() {
                break;
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer);
            }
            let last = buffer.len() < BUFFER;
            let next = outlet.buffer()?;
            outlet.send(Message::Data(buffer))?;
            if last {
                break;
            }
            buffer = next;
            self.fill(&mut buffer)?;
        }
        if let Some(declared) = self.declared.filter(|declared| *declared != self.size) {
            return Err(mismatch(self.name, "size", declared, self.size).into());
        }
        if let (Some(hasher), Some(wanted)) = (self.hasher.take(), &self.wanted) {
            let found = hasher.finish();
            if found != *wanted {
                return Err(mismatch(self.name, "digest", wanted, found).into());
            }
        }
        outlet.send(Message::End)?;
        Ok(self.size)
    }
}

fn mismatch(name: &str, what: &'static str, expected: impl ToString, found: impl ToString) -> Error {
    Error::Mismatch { entry: name.to_owned(), what, expected: expected.to_string(), found: found.to_string() }
}

/// Reads until `buffer` is full or the source ends; returns how much.
pub(crate) fn fill(source: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The second stage, of compressed layers only.
fn decode(
    name: &str,
    (compression, window): (Compression, Window),
    encoded: Inlet,
    outlet: Outlet,
) -> Result<(), Stop> {
    let failed = |source| Error::decompress(name, compression, window, source);
    let stream =
        EncodedStream { inlet: encoded, current: Vec::new(), position: 0, ended: false, abandoned: false };
    let mut reader = decoder(compression, stream, window).map_err(failed)?;
    loop {
        let mut buffer = outlet.buffer()?;
        buffer.resize(BUFFER, 0);
        let filled = match fill(&mut reader, &mut buffer) {
            Ok(filled) => filled,
            Err(_) if reader.source().abandoned => return Err(Stop::Neighbour),
            Err(error) => return Err(failed(error).into()),
        };
        buffer.truncate(filled);
        if filled > 0 {
            outlet.send(Message::Data(buffer))?;
        }
        if filled < BUFFER {
            break;
        }
    }
    match reader.source().fill_buf() {
        Ok([]) => outlet.send(Message::End),
        Ok(_) => Err(failed(io::Error::other("other data follows the compressed data")).into()),
        Err(_) => Err(Stop::Neighbour),
    }
}

/// What arrives at the decoder, as a stream.
struct EncodedStream {
    inlet: Inlet,
    current: Vec<u8>,
    position: usize,
    ended: bool,
    abandoned: bool,
}

impl Read for EncodedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for EncodedStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() && !self.ended {
            let done = std::mem::take(&mut self.current);
            self.position = 0;
            if done.capacity() > 0 {
                self.inlet.give_back(done);
            }
            match self.inlet.next() {
                Ok(Some(buffer)) => self.current = buffer,
                Ok(None) => self.ended = true,
                Err(_) => {
                    self.abandoned = true;
                    return Err(io::Error::other("abandoned"));
                }
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, taken: usize) {
        self.position += taken;
    }
}

/// The third stage: digest, tar and bounds of the uncompressed layer.
fn check(name: &str, inlet: Inlet, outlet: Outlet, expected: Option<&DiffId>) -> Result<Ingested, Stop> {
    let mut hasher = expected.and_then(|id| id.digest().hasher()).unwrap_or_else(Hasher::sha256);
    let mut parser = tar::Parser::new(tar::Limits::default());
    let refused = |source| Error::Layer { entry: name.to_owned(), source };
    let mut size = 0;
    let mut trailer = 0;
    while let Some(buffer) = inlet.next()? {
        size += buffer.len() as u64;
        if size > LAYER_LIMIT {
            let reason = "no layer may be larger than that";
            return Err(Error::TooLarge { entry: name.to_owned(), limit: LAYER_LIMIT, reason }.into());
        }
        // Behind the end mark there is no limit of the parser's.
        if parser.skippable().is_none() {
            trailer += buffer.len() as u64;
            if trailer > TRAILER_LIMIT {
                let reason = "behind the end mark of its tar there can only be padding";
                return Err(Error::TooLarge {
                    entry: name.to_owned(),
                    limit: size - trailer + TRAILER_LIMIT,
                    reason,
                }
                .into());
            }
        }
        parser.push(&buffer, &mut |_| Ok::<(), tar::Error>(())).map_err(refused)?;
        hasher.update(&buffer);
        let returned = outlet.buffer()?;
        outlet.send(Message::Data(buffer))?;
        inlet.give_back(returned);
    }
    let summary = parser.finish().map_err(refused)?;
    let found = hasher.finish();
    if let Some(expected) = expected
        && found != *expected.digest()
    {
        return Err(mismatch(name, "digest of the uncompressed layer", expected, found).into());
    }
    let diff_id =
        DiffId::try_from(found).map_err(|source| Error::Document { entry: name.to_owned(), source })?;
    outlet.send(Message::End)?;
    let terminated = summary.terminated;
    Ok(Ingested { diff_id, size, blob_size: 0, terminated })
}

/// The last stage. Syncing is left to whoever knows that the layer is good.
fn write(name: &str, file: Option<(File, &Path)>, inlet: Inlet, effects: &Faults) -> Result<(), Stop> {
    let mut written = 0;
    let mut next_check = 0;
    while let Some(buffer) = inlet.next()? {
        if let Some((file, path)) = &file {
            if written >= next_check {
                next_check = written + space(name, file, path)?;
            }
            effects.write(file, &buffer, path)?;
            written += buffer.len() as u64;
        }
        inlet.give_back(buffer);
    }
    Ok(())
}
