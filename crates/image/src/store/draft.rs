//! Layers that are made here, one after the other, before there is an image that has them.
//!
//! ```text
//! draft.layer() ──written, hashed──► finish: synced, leased, renamed into layers/
//! draft.keep(layers)                 before they are looked for: what is there stays as long as the draft lives
//! ```
//!
//! A layer is in the store, whole and for good, when [`LayerWriter::finish`] returns; nothing names it yet. Whoever made it
//! commits its name, if it is to outlive the draft: until then the draft's lease keeps it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use oci::{DiffId, Hasher};

use super::lease::Lease;
use super::scratch::Scratch;
use super::stacked::Stacked;
use super::{Live, Store, publish};
use crate::archive::LoadedLayer;
use crate::error::{Error, Result};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;

/// See the head of the file. Any thread may use it; dropping it lets go of what nothing names by then.
#[derive(Debug)]
pub struct Draft<'s> {
    store: &'s Store,
    lease: Mutex<Lease>,
    scratch: Scratch,
    pub(super) stacked: Stacked,
}

impl Store {
    /// Begins to make layers.
    ///
    /// # Errors
    /// If there is no room for half-done work.
    pub fn draft(&self) -> Result<Draft<'_>> {
        Ok(Draft {
            store: self,
            lease: Mutex::default(),
            scratch: Scratch::new(self)?,
            stacked: Stacked::default(),
        })
    }
}

impl<'s> Draft<'s> {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Keeps what is named from being collected. To be called before it is looked for.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn keep(&self, wanted: &Live) -> Result<()> {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.add(self.store, self.scratch.path(), wanted)
    }

    /// Keeps layers from being collected.
    ///
    /// # Errors
    /// As [`Draft::keep`].
    pub fn keep_layers<'a>(&self, layers: impl IntoIterator<Item = &'a DiffId>) -> Result<()> {
        let mut wanted = Live::default();
        layers.into_iter().for_each(|layer| wanted.layer(layer));
        self.keep(&wanted)
    }

    /// A path for half-done work, which goes with the draft, whatever is made there.
    #[must_use]
    pub fn fresh(&self, kind: &str) -> PathBuf {
        self.scratch.fresh(kind)
    }

    /// A new layer: its tar is to be written, with its end mark.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn layer(&self) -> Result<LayerWriter<'_, 's>> {
        let path = self.scratch.fresh("layer");
        let file = self.store.effects().create(&path, 0o400)?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(LayerWriter {
            draft: self,
            half_done: HalfDone(path),
            file,
            buffer,
            hasher: Hasher::sha256(),
            size: 0,
        })
    }
}

/// Takes the tar of a layer. Dropping it instead of finishing it removes what there is.
#[derive(Debug)]
pub struct LayerWriter<'d, 's> {
    draft: &'d Draft<'s>,
    half_done: HalfDone,
    file: File,
    buffer: Vec<u8>,
    hasher: Hasher,
    size: u64,
}

/// A file that is removed unless it was renamed.
#[derive(Debug)]
struct HalfDone(PathBuf);

impl Drop for HalfDone {
    fn drop(&mut self) {
        drop(linux::file::remove_if_exists(&self.0));
    }
}

impl LayerWriter<'_, '_> {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.half_done.0
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Publishes the layer; the draft keeps it.
    ///
    /// # Errors
    /// If it cannot be stored for good.
    pub fn finish(mut self) -> Result<LoadedLayer> {
        self.write_out()?;
        let store = self.draft.store;
        let diff_id = DiffId::try_from(self.hasher.finish())
            .map_err(|source| Error::Document { entry: "a new layer".to_owned(), source })?;
        self.draft.keep_layers([&diff_id])?;
        let target = store.layer_path(&diff_id);
        let size = self.size;
        if super::size_of(&target)? != Some(size) {
            store.effects().sync(&self.file, &self.half_done.0)?;
            if store.effects().rename_new(&self.half_done.0, &target)? {
                publish::make_immutable(&target);
            }
        }
        // Even where it was there: whoever renamed it may not have synced the directory yet.
        store.effects().sync_dir(&store.layers())?;
        Ok(LoadedLayer { diff_id, size, blob: None })
    }

    /// Takes so many bytes of a file from an offset on; returns how many it had.
    ///
    /// # Errors
    /// If the file cannot be read, named as `what`, or the layer not be written.
    pub fn take_from(&mut self, file: &File, offset: u64, length: u64, what: &str) -> Result<u64> {
        use std::os::unix::fs::FileExt as _;
        let mut taken = 0;
        while taken < length {
            let filled = self.buffer.len();
            let most = usize::try_from(length - taken).unwrap_or(usize::MAX).min(BUFFER - filled);
            self.buffer.resize(filled + most, 0);
            let read = file.read_at(&mut self.buffer[filled..], offset + taken);
            self.buffer.truncate(filled + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(0) => break,
                Ok(read) => {
                    taken += read as u64;
                    self.size += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { entry: what.to_owned(), source }),
            }
            if self.buffer.len() == BUFFER {
                self.write_out()?;
            }
        }
        Ok(taken)
    }

    fn write_out(&mut self) -> Result<()> {
        let path = &self.half_done.0;
        self.draft.store.effects().write(&self.file, &self.buffer, path)?;
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

impl Write for LayerWriter<'_, '_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let taken = content.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&content[..taken]);
        self.size += taken as u64;
        if self.buffer.len() == BUFFER {
            let path = &self.half_done.0;
            let written = self.draft.store.effects().write(&self.file, &self.buffer, path);
            written.map_err(|error| error.source)?;
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
