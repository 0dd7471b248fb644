//! Work on many files by all processors at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

use crate::Result;

/// Bytes that each thread reads at once.
const BUFFER: usize = 256 << 10;
/// What is worth a thread of its own: so many things, or so many bytes.
const FEW: usize = 64;
const MUCH: u64 = 4 << 20;

/// Does something with each of some things, which have so many bytes together. Ends at the first failure, which is returned.
pub(super) fn each<T: Sync>(
    things: &[T],
    bytes: u64,
    work: &(dyn Fn(&T, &mut [u8]) -> Result<()> + Sync),
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worth = usize::try_from(bytes / MUCH).unwrap_or(usize::MAX).max(things.len() / FEW).saturating_add(1);
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<crate::Error>> = Mutex::default();
    let all = || {
        let mut buffer = vec![0; BUFFER];
        while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(thing, &mut buffer) {
                next.store(things.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    with_help(threads.min(worth).min(things.len()).saturating_sub(1), &all);
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Does some work that several can share, together with so many others: with fewer where there are no more threads to be had.
pub(super) fn with_help(others: usize, work: &(dyn Fn() + Sync)) {
    scope(|scope| {
        for _ in 0..others {
            if Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}
