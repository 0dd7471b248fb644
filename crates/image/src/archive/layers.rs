//! The layers of what is taken in, each read once and several at the same time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::contents::Found;
use super::plan::{Planned, PlannedLayer};
use crate::error::Result;

/// Layers that have been read and are what was expected.
pub(super) struct Layers(BTreeMap<Key, Found>);

/// What makes two layers of a plan the same: where they are, and what is expected of them.
pub(super) type Key = (String, Option<String>, Option<u64>);

pub(super) fn key(layer: &PlannedLayer) -> Key {
    let diff_id = layer.diff_id.as_ref().map(ToString::to_string);
    (layer.member.clone(), diff_id, layer.blob.as_ref().map(|blob| blob.size))
}

/// How a layer is read; the text says what needs it. `None` puts it off: somebody else is at work on it.
pub(super) type ReadLayer<'a> = dyn Fn(&PlannedLayer, &str, Turn<'_>) -> Result<Option<Found>> + Sync + 'a;

/// Hears of each layer when it has been read.
pub(super) type Tell<'a> = dyn Fn(&PlannedLayer, &Found) + Sync + 'a;

/// What a reader needs to know who may have to wait.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    /// Nothing else is left to do.
    pub(super) may_wait: bool,
    stop: &'a AtomicBool,
}

impl Turn<'_> {
    /// Whether waiting has no point any more, since another layer has failed.
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Layers {
    /// Reads all layers, at most `workers` at once. The first failure stops the others between two layers.
    pub(super) fn read(
        planned: &[Planned],
        workers: usize,
        read: &ReadLayer<'_>,
        tell: &Tell<'_>,
    ) -> Result<Self> {
        let jobs = jobs(planned);
        let queue: Mutex<VecDeque<(usize, bool)>> =
            Mutex::new((0..jobs.len()).map(|job| (job, false)).collect());
        let queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = AtomicBool::new(false);
        let results: Mutex<Vec<(usize, Result<Found>)>> = Mutex::new(Vec::new());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let Some((place, may_wait)) = queue().pop_front() else { break };
                let (needed_by, layer) = jobs[place];
                let result = match read(layer, needed_by, Turn { may_wait, stop: &stop }) {
                    // Behind everything that can be done meanwhile.
                    Ok(None) => {
                        queue().push_back((place, true));
                        continue;
                    }
                    Ok(Some(found)) => {
                        tell(layer, &found);
                        Ok(found)
                    }
                    Err(error) => Err(error),
                };
                if result.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
            }
        };
        thread::scope(|scope| {
            for _ in 1..workers.min(jobs.len()) {
                // With fewer where there are no more to be had.
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(place, _)| *place);
        let pair = |(place, result): (usize, Result<Found>)| result.map(|found| (key(jobs[place].1), found));
        results.into_iter().map(pair).collect::<Result<_>>().map(Self)
    }

    /// What a layer of the plan turned out to be.
    pub(super) fn get(&self, layer: &PlannedLayer) -> Option<&Found> {
        self.0.get(&key(layer))
    }
}

/// Which layers there are, each once: one that several images have, or one image twice, is read once.
fn jobs(planned: &[Planned]) -> Vec<(&str, &PlannedLayer)> {
    let mut jobs: Vec<(&str, &PlannedLayer)> = Vec::new();
    let mut seen = BTreeSet::new();
    for image in planned {
        for layer in &image.layers {
            if seen.insert(key(layer)) {
                jobs.push((&image.entry, layer));
            }
        }
    }
    jobs
}
