//! Records of what was made, written behind who made it.
//!
//! ```text
//! step made ──keep──► queue ──► its tar synced ──► linked into layers/ ──► layers/ synced ──► its keys written ──► its claim ends
//!    └► the next step begins
//! ```
//!
//! One thread writes, in the order in which steps are done. The order of what it does is what a loss of power is survived by: a row of
//! the database is not synced, and so may be lost, or be there, at any time after it was written; what it names is synced
//! before that, and so is the directory that the layer has its name in. `cli_build_killed` reads that order off the system calls.
//!
//! What must hold:
//! - No record names a layer that is not in the store for good: who writes a record has published the layer.
//! - Who waits for a claim finds the record when he gets it: a claim ends after its record is written.
//! - What this build has kept it finds, written or not.
//! - A build that went well has written all of it. What cannot be written ends it, at the next step or at its end.
//! - Steps are not far ahead of the disk: who keeps more than the queue takes waits. The thread waits for nobody but the disk and the
//!   database, so none of them waits for ever, whoever panics.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{Builder, Scope, scope};

use build::{Cache, Claim, Key, Record, Step};
use dockerfile::lower::Node;
use image::Draft;

use crate::images::failed;
use crate::{Error, Result};

/// Records that may wait to be written.
const WAITING: usize = 64;

/// A claim that two let go of: the step, and who writes its record.
type Shared = Mutex<Claim>;

/// A cache whose records are written by a thread of their own.
pub(super) struct Later<'scope, 'env, C> {
    writer: &'env Writer<'env, C>,
    scope: &'scope Scope<'scope, 'env>,
    /// To the thread, which begins when there is something to write; none if there can be none.
    queue: OnceLock<Option<SyncSender<Made>>>,
    /// Claims of steps that are being done.
    claims: Mutex<HashMap<Key, Weak<Shared>>>,
}

/// What a step has made, and by which keys it is to be found.
struct Made {
    keys: Vec<Key>,
    record: Record,
    node: Node,
    _claims: Vec<Arc<Shared>>,
}

/// Who writes.
struct Writer<'w, C> {
    draft: &'w Draft<'w>,
    cache: &'w C,
    /// What is not written yet.
    waiting: Mutex<HashMap<Key, Record>>,
    failure: Mutex<Failure>,
}

/// Whether something could not be written.
#[derive(Default)]
enum Failure {
    #[default]
    None,
    New(Error),
    Told,
}

/// Does some work with the cache, and returns when all that was kept is written.
pub(super) fn written<C: Cache<Error = Error>, T>(
    draft: &Draft<'_>,
    cache: &C,
    work: impl FnOnce(&Later<'_, '_, C>) -> Result<T>,
) -> Result<T> {
    let (waiting, failure) = Default::default();
    let writer = &Writer { draft, cache, waiting, failure };
    let done =
        scope(|scope| work(&Later { writer, scope, queue: OnceLock::new(), claims: Mutex::default() }))?;
    writer.told().map(|()| done)
}

impl<C: Cache<Error = Error>> Later<'_, '_, C> {
    fn queue(&self) -> Option<&SyncSender<Made>> {
        let begin = || {
            let ((queue, made), writer) = (sync_channel(WAITING), self.writer);
            let thread = Builder::new().name("records".to_owned());
            thread.spawn_scoped(self.scope, move || writer.run(&made)).is_ok().then_some(queue)
        };
        self.queue.get_or_init(begin).as_ref()
    }
}

impl<C: Cache<Error = Error>> Cache for Later<'_, '_, C> {
    type Error = Error;

    fn find(&self, key: &Key) -> Result<Option<Record>> {
        let waiting = lock(&self.writer.waiting).get(key).cloned();
        waiting.map_or_else(|| self.writer.cache.find(key), |record| Ok(Some(record)))
    }

    fn keep(&self, keys: &[Key], record: &Record, node: &Node) -> Result<()> {
        self.writer.told()?;
        let claims = {
            let mut claims = lock(&self.claims);
            keys.iter().filter_map(|key| claims.remove(key)?.upgrade()).collect()
        };
        lock(&self.writer.waiting).extend(keys.iter().map(|key| (key.clone(), record.clone())));
        let made = Made { keys: keys.to_vec(), record: record.clone(), node: node.clone(), _claims: claims };
        let unsent = match self.queue() {
            Some(queue) => queue.send(made).err().map(|unsent| unsent.0),
            None => Some(made),
        };
        if let Some(made) = unsent {
            self.writer.write(made);
            return self.writer.told();
        }
        Ok(())
    }

    fn claim(&self, key: &Key, step: &Step<'_>) -> Result<Option<Claim>> {
        let Some(claim) = self.writer.cache.claim(key, step)? else { return Ok(None) };
        let claim = Arc::new(Mutex::new(claim));
        lock(&self.claims).insert(key.clone(), Arc::downgrade(&claim));
        Ok(Some(Box::new(claim)))
    }
}

impl<C: Cache<Error = Error>> Writer<'_, C> {
    fn run(&self, made: &Receiver<Made>) {
        while let Ok(made) = made.recv() {
            self.write(made);
        }
    }

    fn write(&self, made: Made) {
        if !matches!(*lock(&self.failure), Failure::None) {
            return;
        }
        let published = self.draft.publish(&made.record.layer).map_err(failed("store the layer of a step"));
        let written = published.and_then(|()| self.cache.keep(&made.keys, &made.record, &made.node));
        match written {
            Ok(()) => {
                let mut waiting = lock(&self.waiting);
                made.keys.iter().for_each(|key| drop(waiting.remove(key)));
            }
            Err(error) => *lock(&self.failure) = Failure::New(error),
        }
    }

    /// The failure, if there is one that nobody was told of.
    fn told(&self) -> Result<()> {
        let mut failure = lock(&self.failure);
        match std::mem::replace(&mut *failure, Failure::Told) {
            Failure::None => *failure = Failure::None,
            Failure::New(error) => return Err(error),
            Failure::Told => {}
        }
        Ok(())
    }
}

/// Nothing is half-changed where somebody panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
