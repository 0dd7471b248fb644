//! The tar of a layer that is made here.
//!
//! ```text
//! maker ──buffer──► written ──buffer──► hashed, and on its way to the disk, by a thread of its own
//! ```
//!
//! The first MiB is hashed by the maker himself: most layers have no more, and handing it over would take longer. Of a large one,
//! most is on the disk by the time that it is synced.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use oci::{DiffId, Hasher};

use super::draft::Draft;
use super::pending::Whole;
use crate::archive::LoadedLayer;
use crate::error::{Error, Result};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;
/// Buffers that may wait to be hashed.
const BUFFERS: usize = 4;
/// Bytes that are hashed by who writes them.
const ALONE: u64 = 1 << 20;
/// Bytes whose way to the disk begins together.
const PORTION: u64 = 4 << 20;

/// Takes the tar of a layer. Dropping it instead of finishing it removes what there is.
#[derive(Debug)]
pub struct LayerWriter<'d, 's> {
    draft: &'d Draft<'s>,
    half_done: HalfDone,
    file: Arc<File>,
    buffer: Box<[u8]>,
    /// How much of the buffer waits to be written.
    filled: usize,
    written: u64,
    hashing: Hashing,
}

/// A file that is removed unless it was renamed.
#[derive(Debug)]
pub(super) struct HalfDone(pub(super) PathBuf);

impl Drop for HalfDone {
    fn drop(&mut self) {
        drop(linux::file::remove_if_exists(&self.0));
    }
}

impl<'d, 's> LayerWriter<'d, 's> {
    /// Begins a layer in a file that is not there yet.
    pub(super) fn new(draft: &'d Draft<'s>, path: PathBuf) -> Result<Self> {
        let file = draft.store().effects().create(&path, 0o400)?;
        Ok(Self {
            draft,
            half_done: HalfDone(path),
            file: Arc::new(file),
            buffer: empty(),
            filled: 0,
            written: 0,
            hashing: Hashing::Here(Hasher::sha256()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.half_done.0
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.written + self.filled as u64
    }

    /// Publishes the layer; the draft keeps it.
    ///
    /// # Errors
    /// If it cannot be stored for good.
    pub fn finish(self) -> Result<LoadedLayer> {
        let draft = self.draft;
        let layer = self.hand_in()?;
        draft.publish(&layer.diff_id)?;
        Ok(layer)
    }

    /// Hands the layer to the draft, which reads it as any other. Nobody else does, and nothing may name it, until
    /// [`Draft::publish`].
    ///
    /// # Errors
    /// If the rest of it cannot be written.
    pub fn hand_in(mut self) -> Result<LoadedLayer> {
        self.write_out()?;
        let Self { draft, half_done, file, written: size, hashing, .. } = self;
        let diff_id = DiffId::try_from(hashing.finish())
            .map_err(|source| Error::Document { entry: "a new layer".to_owned(), source })?;
        draft.keep_layers([&diff_id])?;
        if draft.layer_size(&diff_id)? != Some(size) {
            draft.pending.add(&diff_id, Whole { half_done, file, size });
        }
        Ok(LoadedLayer { diff_id, size, blob: None })
    }

    /// Takes bytes of a file from an offset on, as many as there is room for, and shows them: none at the file's end.
    ///
    /// # Errors
    /// If the file cannot be read, whose path is for that, or the layer not be written.
    pub fn take_from(&mut self, file: &File, (offset, length): (u64, u64), path: &[u8]) -> Result<&[u8]> {
        use std::os::unix::fs::FileExt as _;
        self.make_room()?;
        let start = self.filled;
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(BUFFER - start);
        loop {
            match file.read_at(&mut self.buffer[start..start + most], offset) {
                Ok(read) => {
                    self.filled += read;
                    return Ok(&self.buffer[start..self.filled]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(Error::Read { entry: String::from_utf8_lossy(path).into_owned(), source });
                }
            }
        }
    }

    fn make_room(&mut self) -> linux::file::Result<()> {
        if self.filled == BUFFER { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> linux::file::Result<()> {
        let content = &self.buffer[..self.filled];
        self.draft.store().effects().write(&self.file, content, &self.half_done.0)?;
        self.written += self.filled as u64;
        self.hashing.take(&mut self.buffer, self.filled);
        self.filled = 0;
        if self.written >= ALONE {
            self.hashing.hand_over(&self.file);
        }
        Ok(())
    }
}

impl Write for LayerWriter<'_, '_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.make_room().map_err(|error| error.source)?;
        let taken = content.len().min(BUFFER - self.filled);
        self.buffer[self.filled..self.filled + taken].copy_from_slice(&content[..taken]);
        self.filled += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn empty() -> Box<[u8]> {
    vec![0; BUFFER].into_boxed_slice()
}

/// Who hashes.
#[derive(Debug)]
enum Hashing {
    /// Whoever writes.
    Here(Hasher),
    Behind(Behind),
}

/// A thread that hashes what was written before. It ends when nobody sends it anything more.
#[derive(Debug)]
struct Behind {
    full: SyncSender<(Box<[u8]>, usize)>,
    empty: Receiver<Box<[u8]>>,
    thread: JoinHandle<Hasher>,
}

impl Hashing {
    /// Takes what is at the beginning of a buffer; the buffer may be another one afterwards.
    fn take(&mut self, buffer: &mut Box<[u8]>, filled: usize) {
        match self {
            Hashing::Here(hasher) => hasher.update(&buffer[..filled]),
            Hashing::Behind(behind) => {
                let next = behind.empty.recv().unwrap_or_else(|_| empty());
                // Without its receiver the thread has panicked, which joining it tells.
                drop(behind.full.send((std::mem::replace(buffer, next), filled)));
            }
        }
    }

    /// Leaves the rest to a thread, if there can be one.
    fn hand_over(&mut self, file: &Arc<File>) {
        let Hashing::Here(hasher) = self else { return };
        let (full, inlet) = sync_channel(BUFFERS);
        let (outlet, empty_again) = channel();
        for _ in 0..BUFFERS {
            drop(outlet.send(empty()));
        }
        let (hasher, file) = (hasher.clone(), Arc::clone(file));
        let thread = thread::Builder::new()
            .name("layer".to_owned())
            .spawn(move || behind(hasher, &file, &inlet, &outlet));
        if let Ok(thread) = thread {
            *self = Hashing::Behind(Behind { full, empty: empty_again, thread });
        }
    }

    fn finish(self) -> oci::Digest {
        let hasher = match self {
            Hashing::Here(hasher) => hasher,
            Hashing::Behind(Behind { full, empty: _, thread }) => {
                drop(full);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        hasher.finish()
    }
}

/// What the thread does, from [`ALONE`] bytes of the file on.
fn behind(
    mut hasher: Hasher,
    file: &File,
    full: &Receiver<(Box<[u8]>, usize)>,
    empty: &Sender<Box<[u8]>>,
) -> Hasher {
    let (mut begun, mut written) = (0, ALONE);
    while let Ok((buffer, filled)) = full.recv() {
        hasher.update(&buffer[..filled]);
        drop(empty.send(buffer));
        written += filled as u64;
        if written - begun >= PORTION {
            // Where that fails, the sync has more to do.
            let _begins = linux::writeback::begin(file, begun, written - begun);
            begun = written;
        }
    }
    hasher
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;
    use crate::Store;

    #[test]
    fn whoever_hashes_it_a_layer_is_named_by_its_bytes() {
        let folder = testkit::Scratch::new();
        let store = Store::open(folder.as_ref()).unwrap();
        let draft = store.draft().unwrap();
        let mib = 1 << 20;
        // Less than a buffer, what is hashed by the maker, a bit more, and enough for the disk to begin.
        for size in [0, 1, BUFFER, mib - 1, mib, mib + 1, 2 * mib + 77, 11 * mib] {
            let content: Vec<u8> = (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            let source = folder.join("source");
            linux::file::write(&source, &content).unwrap();
            let source = File::open(&source).unwrap();
            let mut layer = draft.layer().unwrap();
            // By pieces that fit no buffer, from memory and from a file.
            let (mut at, mut piece) = (0, 1);
            while at < size {
                let length = piece.min(size - at);
                if piece % 2 == 0 {
                    layer.write_all(&content[at..at + length]).unwrap();
                } else {
                    let end = at + length;
                    let mut taken = at;
                    while taken < end {
                        let part = (taken as u64, (end - taken) as u64);
                        let bytes = layer.take_from(&source, part, b"source").unwrap();
                        assert!(!bytes.is_empty() && *bytes == content[taken..taken + bytes.len()]);
                        taken += bytes.len();
                    }
                }
                at += length;
                piece = piece * 5 / 2 + 1;
                assert_eq!(layer.size(), at as u64);
            }
            assert_eq!(layer.take_from(&source, (size as u64, 1), b"source").unwrap(), b"", "the end");
            let made = layer.finish().unwrap();
            assert_eq!((made.size, made.diff_id.digest()), (size as u64, &Digest::of(&content)));
            assert!(linux::file::read(&store.layer_path(&made.diff_id)).unwrap() == content, "{size}");
        }
    }

    #[test]
    fn a_layer_that_is_given_up_leaves_nothing() {
        let folder = testkit::Scratch::new();
        let store = Store::open(folder.as_ref()).unwrap();
        let draft = store.draft().unwrap();
        let mut layer = draft.layer().unwrap();
        layer.write_all(&vec![1; 5 << 20]).unwrap();
        let path = layer.path().to_owned();
        assert!(path.exists());
        drop(layer);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(store.layers()).unwrap().count(), 0);
    }
}
