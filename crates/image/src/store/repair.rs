//! Puts good content in the place of what is damaged or missing.
//!
//! The good file is made and synced in a scratch directory and renamed over the bad one, so that there is one or the other at
//! any moment. Who has the bad one open, as the mounts of running containers have, keeps it until he opens it anew.

use std::io::Read;
use std::path::{Path, PathBuf};

use linux::file;
use oci::{Descriptor, DiffId, Digest};

use super::{Scratch, Store, collect, derive, publish};
use crate::error::{Error, Result};
use crate::index::Ahead;
use crate::ingest::{Expected, Layer, Windows, ingest};

impl Store {
    /// Puts a document in its place.
    ///
    /// # Errors
    /// If it is not what `digest` names, or cannot be written.
    pub fn replace_blob(&self, digest: &Digest, content: &[u8]) -> Result<()> {
        let path = self.blob_path(digest);
        digest.verify(content).map_err(|source| Error::Document { entry: digest.to_string(), source })?;
        let scratch = Scratch::new(self)?;
        let good = scratch.fresh("document");
        let file = self.effects().create(&good, 0o400)?;
        self.effects().write(&file, content, &good)?;
        self.effects().sync(&file, &good)?;
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        self.effects().create_dir(&directory)?;
        self.put(&good, &path)
    }

    /// Puts a layer in its place, read from its blob.
    ///
    /// # Errors
    /// If the blob is not what `blob` says, or does not hold the layer; or if it cannot be read or written.
    pub fn replace_layer(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        content: &mut (dyn Read + Send),
    ) -> Result<()> {
        let scratch = Scratch::new(self)?;
        let good = scratch.fresh("layer");
        let expected = Expected { diff_id: Some(layer), blob: Some(blob), blob_digest: None };
        let name = blob.digest.to_string();
        let read = Layer { name: &name, blob: content, expected, target: Some(&good) };
        ingest(read, &Windows::default(), self.effects())?;
        self.effects().sync(&file::open(&good)?, &good)?;
        let path = self.layer_path(layer);
        publish::release(&path);
        let put = self.put(&good, &path);
        // The bad one keeps its guard where it could not be replaced.
        publish::make_immutable(&path);
        put
    }

    /// Guards a layer that is there, if it is not: whoever put it in its place may have been killed before he could.
    pub fn guard_layer(&self, layer: &DiffId) {
        publish::make_immutable(&self.layer_path(layer));
    }

    /// Makes the merged index of an image anew from its layers.
    ///
    /// # Errors
    /// As [`Store::index`].
    pub fn replace_index(&self, image: &Digest, layers: &[DiffId]) -> Result<()> {
        let scratch = Scratch::new(self)?;
        let good = scratch.fresh("index");
        derive::write(self, Ahead::default(), (layers, &derive::open_all(self, layers)?), &good)?;
        self.put(&good, &self.index_path(image))
    }

    /// Takes their names from trees that were unpacked from bad layers, so that whoever asks for them next has them unpacked anew.
    /// Who has one mounted keeps it: it stays until it is collected. Returns each with its new name.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub fn replace_trees(&self, trees: &[PathBuf]) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut replaced = Vec::new();
        for tree in trees {
            let Some(name) = tree.file_name().and_then(|name| name.to_str()) else { continue };
            replaced.push((tree.clone(), collect::rename(self, &self.trees(), name, collect::REPLACED)?));
        }
        Ok(replaced)
    }

    /// Gives them their names back, unless they were unpacked anew meanwhile.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub fn restore_trees(&self, replaced: &[(PathBuf, PathBuf)]) -> Result<()> {
        for (tree, renamed) in replaced {
            self.effects().rename_new(renamed, tree)?;
        }
        Ok(())
    }

    /// Renames a synced file over another.
    fn put(&self, good: &Path, path: &Path) -> Result<()> {
        let hold = self.hold()?;
        self.effects().rename(good, path)?;
        if let Some(directory) = path.parent() {
            self.effects().sync_dir(directory)?;
        }
        drop(hold);
        Ok(())
    }
}
