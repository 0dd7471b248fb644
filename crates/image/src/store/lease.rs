//! What somebody who adds content relies on, as long as he lives.
//!
//! ```text
//! tmp/<scratch>/lease     lines of "layer <encoded>", "document <encoded>", "image <encoded>", "stack <encoded>"
//! ```
//!
//! A line is written under a [`Hold`](super::Hold), before its writer looks whether that content is there. So a collector
//! either has finished before he looks, or finds the line. It counts as long as the scratch directory is locked, which is the
//! life of its maker: nothing has to be given back, and whoever is killed relies on nothing any more.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use linux::file;
use rustix::fs::FlockOperation;

use super::{Live, Store, collect, try_lock};
use crate::error::{Error, Result};

/// The name of the file within a scratch directory.
const NAME: &str = "lease";

/// Bytes of a lease: an archive has a few thousand images at most.
const LIMIT: u64 = 64 << 20;

/// A lease that is being written.
#[derive(Debug, Default)]
pub(super) struct Lease {
    file: Option<File>,
    written: Live,
}

impl Lease {
    /// Adds what is not in it yet. `scratch` is locked by the caller.
    pub(super) fn add(&mut self, store: &Store, scratch: &Path, wanted: &Live) -> Result<()> {
        let mut lines = String::new();
        let mut take = |kind: &str, wanted: &HashSet<String>, written: &mut HashSet<String>| {
            for name in wanted {
                if written.insert(name.clone()) {
                    lines.extend([kind, " ", name, "\n"]);
                }
            }
        };
        take("layer", &wanted.layers, &mut self.written.layers);
        take("document", &wanted.documents, &mut self.written.documents);
        take("image", &wanted.images, &mut self.written.images);
        take("stack", &wanted.chains, &mut self.written.chains);
        if lines.is_empty() {
            return Ok(());
        }
        let path = scratch.join(NAME);
        let hold = store.hold()?;
        let file = match self.file.take() {
            Some(file) => file,
            None => store.effects().create(&path, 0o600)?,
        };
        store.effects().write(&file, lines.as_bytes(), &path)?;
        drop(hold);
        self.file = Some(file);
        Ok(())
    }
}

impl Lease {
    /// The layers in it.
    pub(super) fn layers(&self) -> impl Iterator<Item = &String> {
        self.written.layers.iter()
    }
}

impl Store {
    /// The layers that somebody who lives relies on, by the encoded part of their digests. Exact only for who has a
    /// [`Collector`](super::Collector): else somebody may be about to write down another.
    ///
    /// # Errors
    /// If what is written down cannot be read.
    pub fn leased_layers(&self) -> Result<HashSet<String>> {
        Ok(of_the_living(self)?.layers)
    }
}

/// What all who live rely on. Only a collector may ask: nobody writes a lease meanwhile.
pub(super) fn of_the_living(store: &Store) -> Result<Live> {
    let mut live = Live::default();
    let tmp = store.root().join("tmp");
    for name in collect::names(&tmp)? {
        let scratch = tmp.join(name);
        let path = scratch.join(NAME);
        // Before the lock is looked at: whoever has just made the directory could not lock it at that moment.
        let lines = match file::read_bounded(&path, LIMIT) {
            Ok(lines) => lines,
            Err(error) if is_none(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        match try_lock(&scratch, FlockOperation::NonBlockingLockExclusive) {
            Ok(None) => {}
            // Its maker is gone.
            Ok(Some(_)) => continue,
            Err(Error::File(error)) if is_none(&error) => continue,
            Err(error) => return Err(error),
        }
        for line in String::from_utf8_lossy(&lines).lines() {
            let Some((kind, name)) = line.split_once(' ') else { continue };
            match kind {
                "layer" => live.layers.insert(name.to_owned()),
                "document" => live.documents.insert(name.to_owned()),
                "image" => live.images.insert(name.to_owned()),
                "stack" => live.chains.insert(name.to_owned()),
                _ => false,
            };
        }
    }
    Ok(live)
}

/// Gone meanwhile, or a file that is no scratch directory.
fn is_none(error: &file::Error) -> bool {
    error.is_missing() || error.kind() == std::io::ErrorKind::NotADirectory
}
