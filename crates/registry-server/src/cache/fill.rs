//! Fetching a blob: once, for all who ask meanwhile, to its end whoever goes away.
//!
//! ```text
//! first request ─► a thread: upstream ─► hash, uploads/fetched.… ─► checked, synced, renamed, recorded
//!                                          └─ upstream breaks off, or we are killed: the next request goes on from there
//! every request ─► follows the file as it grows; the last byte of an answer is sent when the digest was found right
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;
use tokio::sync::watch;

use super::{Cache, Failure, Upstream};
use crate::names::Repository;
use crate::reread::reasons;
use crate::store::{self, Finished, Writer};

/// Bytes that are taken from upstream at once.
const PIECE: usize = 256 << 10;

/// How far a fetch is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// What grows, and how large it will be; missing until upstream has answered.
    pub(crate) growing: Option<(Arc<File>, u64)>,
    /// Bytes that are in it.
    pub(crate) received: u64,
    /// The end of it.
    pub(crate) outcome: Option<Result<(), Failure>>,
}

/// Whoever follows a fetch.
pub(crate) type Follower = watch::Receiver<Progress>;

/// The fetches that are under way.
#[derive(Debug, Default)]
pub(crate) struct Fills(Mutex<HashMap<(Repository, Digest), Follower>>);

/// What follows from a request for a blob that is not here.
pub(crate) enum Joined {
    /// It has come meanwhile.
    Here,
    /// It is being fetched.
    Fetching(Follower),
}

impl Cache {
    /// Follows the fetch of a blob, which is begun where nobody has.
    pub(crate) fn fetch(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        name: &Repository,
        digest: &Digest,
    ) -> store::Result<Joined> {
        let key = (name.clone(), digest.clone());
        let mut fills = self.fills.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = fills.get(&key) {
            return Ok(Joined::Fetching(follower.clone()));
        }
        // A fetch leaves the table when its blob is recorded: who comes after it finds the blob.
        if self.store.blob(name, digest)?.is_some() {
            return Ok(Joined::Here);
        }
        let (progress, follower) = watch::channel(Progress::default());
        fills.insert(key.clone(), follower.clone());
        drop(fills);
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        let (cache, upstream) = (Arc::clone(self), Arc::clone(upstream));
        // A task of its own: it outlives the request that has begun it.
        tokio::spawn(async move {
            let outcome = match Arc::clone(&cache.conversations).acquire_owned().await {
                Ok(_seat) => {
                    let (working, key, progress) = (Arc::clone(&cache), key.clone(), progress.clone());
                    let done = tokio::task::spawn_blocking(move || {
                        working.fill(&upstream, &key.0, &key.1, &progress)
                    });
                    done.await.unwrap_or(Err(Failure::Ours))
                }
                Err(_) => Err(Failure::Ours),
            };
            if outcome.is_err() {
                cache.counts.failed.fetch_add(1, Ordering::Relaxed);
            }
            cache.fills.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            progress.send_modify(|progress| progress.outcome = Some(outcome));
        });
        Ok(Joined::Fetching(follower))
    }

    /// Fetches a blob, on a thread that may wait.
    fn fill(
        &self,
        upstream: &Upstream,
        name: &Repository,
        digest: &Digest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), Failure> {
        let refused = |error: registry_client::Error| {
            let failure = Failure::of(&error);
            if failure != Failure::Unknown {
                tracing::warn!("fetch {digest} of {name}: {}", reasons(&error));
            }
            failure
        };
        // Another repository has it: upstream needs only say that this one has it too.
        if self.store.has_anywhere(digest).map_err(ours)? {
            upstream.blob_size(name, digest).map_err(refused)?;
            if self.store.adopt(name, digest).wait().map_err(ours)? {
                return Ok(());
            }
        }
        let upload = self.store.begin_fetch(name, digest).map_err(ours)?;
        let mut writer = upload.writer_blocking().ok_or(Failure::Ours)?;
        let left = writer.length();
        let content = match left {
            0 => upstream.blob(name, digest).map(Some),
            // Whether that was good, the digest tells.
            left => upstream.rest_of_blob(name, digest, left),
        };
        let copied = match content.map_err(refused) {
            Ok(Some(content)) => self.copy(content, &mut writer, progress),
            Ok(None) => Err(Failure::Wrong),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = copied {
            // What has come is good for another attempt, unless it is the reason that there is none, or takes room.
            let is_passing = matches!(failure, Failure::Away | Failure::Limited(_) | Failure::Denied);
            match is_passing && writer.length() > 0 {
                true => {
                    let came = writer.length() - left;
                    self.store.set_aside(writer);
                    self.grew(came);
                }
                false => self.store.cancel(writer).map_err(ours)?,
            }
            return Err(failure);
        }
        let came = writer.length() - left;
        match self.store.finish_fetch(name, digest, writer).map_err(ours)? {
            Finished::Stored => {
                self.grew(came);
                Ok(())
            }
            Finished::Mismatch { found } => {
                tracing::warn!("upstream gives {found} for {digest} of {name}; it is not kept");
                Err(Failure::Wrong)
            }
        }
    }

    fn copy(
        &self,
        mut content: registry_client::BlobReader,
        writer: &mut Writer,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), Failure> {
        let growing = Some((Arc::new(writer.reader().map_err(ours)?), content.size()));
        progress.send_modify(|progress| (progress.growing, progress.received) = (growing, writer.length()));
        let mut buffer = vec![0; PIECE];
        loop {
            let count = content.read(&mut buffer).map_err(|error| {
                tracing::warn!("a fetch was given up: {}", reasons(&error));
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<registry_client::Error>());
                cause.map_or(Failure::Away, Failure::of)
            })?;
            if count == 0 {
                return Ok(());
            }
            writer.append(buffer.get(..count).unwrap_or_default()).map_err(ours)?;
            self.counts.fetched.fetch_add(count as u64, Ordering::Relaxed);
            progress.send_modify(|progress| progress.received += count as u64);
        }
    }
}

/// A fault of the store's, which the log tells.
#[allow(clippy::needless_pass_by_value, reason = "it is what errors are mapped by")]
fn ours(error: store::Error) -> Failure {
    tracing::error!("{}", reasons(&error));
    if error.is_full() { Failure::Full } else { Failure::Ours }
}
