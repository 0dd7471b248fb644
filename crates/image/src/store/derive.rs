//! Merged indexes: derived from the layers, so made whenever one is missing.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use linux::file::{self, Named as _};
use oci::{DiffId, Digest};

use super::{Scratch, Store, size_of};
use crate::error::{Error, Result};
use crate::index;
use crate::view::View;

impl Store {
    /// The merged index of an image, made from its layers if it is missing. A mount names the layers' tars in
    /// the same order.
    ///
    /// # Errors
    /// If a layer is missing or damaged, or the index cannot be written.
    pub fn index(&self, image: &Digest, layers: &[DiffId]) -> Result<PathBuf> {
        let path = self.index_path(image);
        if size_of(&path)?.is_some() {
            return Ok(path);
        }
        // Whoever asks has the image in use, so its layers are live and no hold is needed; the index itself
        // might be collected only together with them.
        let scratch = Scratch::new(self)?;
        let half_done = scratch.fresh("index");
        let tars = open_all(self, layers)?;
        write(self, index::Ahead::default(), (layers, &tars), &half_done)?;
        self.effects().rename_new(&half_done, &path)?;
        self.effects().sync_dir(&self.images())?;
        Ok(path)
    }
}

/// Opens a layer of the store.
pub(super) fn open(store: &Store, layer: &DiffId) -> Result<File> {
    match file::open(&store.layer_path(layer)) {
        Ok(file) => Ok(file),
        Err(error) if error.is_missing() => {
            Err(Error::NotStored { what: "layer", digest: layer.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens the layers of an image.
pub(super) fn open_all(store: &Store, layers: &[DiffId]) -> Result<Vec<File>> {
    layers.iter().map(|layer| open(store, layer)).collect()
}

/// Writes and syncs the index of layers with their tars, the lowest of which may be merged already.
pub(super) fn write(
    store: &Store,
    ahead: index::Ahead,
    (layers, tars): (&[DiffId], &[File]),
    path: &Path,
) -> Result<()> {
    let file = store.effects().create(path, 0o400)?;
    let mut out = BufWriter::with_capacity(256 << 10, Effect { store, file: &file, path });
    build(ahead, (layers, tars), &mut out)?;
    out.flush().named("write", path)?;
    drop(out);
    Ok(store.effects().sync(&file, path)?)
}

/// Writes the index of a view of layers, as they are or with the places that every container has something mounted on, for those
/// who do not want it after a loss of power.
pub(super) fn write_unsynced(
    store: &Store,
    view: &View,
    layers: &[DiffId],
    has_mount_points: bool,
    path: &Path,
) -> Result<()> {
    let file = store.effects().create(path, 0o400)?;
    let mut out = BufWriter::with_capacity(256 << 10, Effect { store, file: &file, path });
    let (merger, opened) = view.merged(layers);
    index::write_merged(merger, &opened, has_mount_points, &mut out)
        .map_err(|source| Error::Index { source })?;
    Ok(out.flush().named("write", path)?)
}

/// Builds the index of layers with their tars into `out`; the lowest may be merged already.
pub(super) fn build(
    ahead: index::Ahead,
    (layers, tars): (&[DiffId], &[File]),
    out: &mut impl Write,
) -> Result<()> {
    let opened: Vec<_> =
        layers.iter().zip(tars).map(|(diff_id, tar)| index::Layer { diff_id, tar }).collect();
    index::write_with_mount_points(ahead, &opened, out).map_err(|source| Error::Index { source })?;
    Ok(())
}

/// A file, written through the store's effects.
struct Effect<'a> {
    store: &'a Store,
    file: &'a File,
    path: &'a Path,
}

impl Write for Effect<'_> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.store.effects().write(self.file, content, self.path).map_err(|error| error.source)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
