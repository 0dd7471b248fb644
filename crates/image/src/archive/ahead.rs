//! The tree of an image, merged while its layers are still being read.
//!
//! Layers are merged from the base up, as far as they are whole by then. So when the last one is, little more is left to do than
//! to write the index, wherever the others were here before or came earlier. What is wrong with a layer is said by whoever writes
//! the index, who merges it again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, Builder};

use oci::Digest;

use super::contents::Found;
use super::layers::{Key, Layers, ReadLayer, key};
use super::plan::{Config, Planned, PlannedLayer};
use crate::error::Result;
use crate::index::{Ahead, Layer};
use crate::store::Staged;

/// Reads all layers, at most `workers` at once, and merges those of the first image meanwhile.
pub(super) fn read(
    planned: &[Planned],
    workers: usize,
    read: &ReadLayer<'_>,
    staged: &Staged<'_>,
) -> Result<(Layers, Option<Ahead>)> {
    let first = planned.first().filter(|image| image.layers.len() > 1 && !is_indexed(image, staged));
    let Some(image) = first else {
        return Layers::read(planned, workers, read, &|_, _| ()).map(|layers| (layers, None));
    };
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let merging = Builder::new().spawn_scoped(scope, move || merge(&image.layers, &receiver, staged));
        let tell = |layer: &PlannedLayer, found: &Found| drop(sender.send((key(layer), found.clone())));
        let layers = Layers::read(planned, workers, read, &tell);
        drop(sender);
        // Without a thread nothing is ahead.
        let Ok(merging) = merging else { return Ok((layers?, None)) };
        let ahead = merging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((layers?, ahead))
    })
}

fn is_indexed(image: &Planned, staged: &Staged<'_>) -> bool {
    match &image.config {
        Config::Document { bytes, .. } => staged.store().index_path(&Digest::of(bytes)).exists(),
        Config::Legacy(_) => false,
    }
}

/// Merges layers in their order, each when it is told of, until all are or no more are read.
fn merge(layers: &[PlannedLayer], told: &Receiver<(Key, Found)>, staged: &Staged<'_>) -> Option<Ahead> {
    let (mut ahead, mut whole) = (Ahead::default(), BTreeMap::new());
    for layer in layers {
        let wanted = key(layer);
        while !whole.contains_key(&wanted) {
            let Ok((key, found)) = told.recv() else { return Some(ahead) };
            whole.insert(key, found);
        }
        let (ingested, path) = whole.get(&wanted)?;
        let tar = staged.open_staged(&ingested.diff_id, path.as_deref()).ok()?;
        ahead.add(&Layer { diff_id: &ingested.diff_id, tar: &tar }).ok()?;
    }
    Some(ahead)
}
