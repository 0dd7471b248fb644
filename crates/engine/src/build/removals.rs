//! Files that programs have left behind, removed while the build goes on: a program may leave a hundred thousand.
//!
//! They lie among the half-done work of the build. So what is not removed when it is killed goes as all of that does.
//!
//! What must hold:
//! - Each is removed when this is dropped, or was tried: whoever drops it has none of it left but what nobody can remove.
//! - Programs are not far ahead of the removal, as what waits for it takes room on the disk: who has more removed than the queue
//!   takes waits.
//! - Of one that cannot be removed the others hear nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use image::store::Remover;

/// Directories that may wait to be removed.
const WAITING: usize = 64;

/// Who removes. Dropping it waits for him.
#[derive(Debug)]
pub(super) struct Removals {
    remover: Remover,
    thread: Mutex<Option<Thread>>,
}

/// Begins when there is something to remove.
#[derive(Debug)]
struct Thread {
    queue: SyncSender<PathBuf>,
    handle: JoinHandle<()>,
}

impl Removals {
    pub(super) fn new(remover: Remover) -> Removals {
        Removals { remover, thread: Mutex::default() }
    }

    /// Has a directory removed.
    pub(super) fn remove(&self, path: PathBuf) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = begin(&self.remover);
        }
        let unsent = match &*thread {
            Some(Thread { queue, .. }) => queue.send(path).err().map(|unsent| unsent.0),
            // It takes a thread to have one.
            None => Some(path),
        };
        drop(thread);
        if let Some(path) = unsent {
            remove(&self.remover, &path);
        }
    }
}

impl Drop for Removals {
    fn drop(&mut self) {
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Thread { queue, handle }) = thread {
            drop(queue);
            // Had it panicked, the rest would go with the draft.
            drop(handle.join());
        }
    }
}

fn begin(remover: &Remover) -> Option<Thread> {
    let (queue, paths) = sync_channel::<PathBuf>(WAITING);
    let remover = remover.clone();
    let thread = Builder::new().name("removals".to_owned());
    let handle = thread.spawn(move || paths.iter().for_each(|path| remove(&remover, &path))).ok()?;
    Some(Thread { queue, handle })
}

fn remove(remover: &Remover, path: &Path) {
    if let Err(error) = remover.remove(&[path.to_owned()]) {
        // It goes with the draft.
        tracing::debug!(path = %path.display(), %error, "left for later");
    }
}

#[cfg(test)]
mod tests;
