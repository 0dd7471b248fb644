//! Standing in for other registries: what a client asks for is fetched once, checked, kept, and served from here.
//!
//! ```text
//! a tag ──────────► HEAD upstream, unless it was asked a moment ago ─► the same: from the store; else fetched by its digest
//! a digest, a blob ─► from the store, else fetched: one fetch, however many clients ask meanwhile ([`fill`])
//! ```
//!
//! What must hold: clients learn nothing of our credential, and upstream nothing of theirs; nothing is kept, and no answer is
//! whole, before its digest was checked; where upstream does not answer, what is here is served, and said to be stale.

pub(crate) mod fill;
pub(crate) mod rules;
mod upstream;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use oci::Digest;
use registry_client::{Error as ClientError, Fetched};
use tokio::sync::Semaphore;

use crate::http::refusal::{Code, Refusal};
use crate::names::{Reference, Repository};
use crate::reread::{Reread, reasons};
use crate::store::{NewManifest, Store};
use fill::Fills;
use rules::Rules;
use upstream::News;
pub(crate) use upstream::Upstream;

/// Conversations with upstream at once, each on a thread that waits; beyond these, requests wait for one.
const CONVERSATIONS: usize = 24;
/// Notes in memory about tags and content. Beyond that all are forgotten, and upstream is asked once more.
const NOTES: usize = 100_000;
/// How exactly is known when something was asked for last, at most.
const EXACTNESS: Duration = Duration::from_secs(60 * 60);

/// The registries that are stood in for, and what is known of them.
#[derive(Debug)]
pub(crate) struct Cache {
    rules: Reread<Rules>,
    store: Arc<Store>,
    fills: Fills,
    conversations: Arc<Semaphore>,
    /// When it was last noted that a client wants something.
    asked: Notes<(Repository, Digest)>,
    /// Whoever asks upstream for a manifest, so that others wait for the answer.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Bytes that are kept, about: what comes is added, and whoever removes something counts anew.
    held: AtomicU64,
    /// Told when these are too many.
    crowded: tokio::sync::Notify,
    pub(crate) counts: Counts,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Served from the store.
    pub(crate) hits: AtomicU64,
    /// Fetched.
    pub(crate) misses: AtomicU64,
    /// Served from the store because upstream did not answer.
    pub(crate) stale: AtomicU64,
    /// Fetches that failed.
    pub(crate) failed: AtomicU64,
    /// Bytes of blobs that came from upstream.
    pub(crate) fetched: AtomicU64,
}

/// Why something could not be had from upstream. The log says more than a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Upstream does not have it.
    Unknown,
    /// Upstream does not let us.
    Denied,
    /// Upstream takes no more requests for now; perhaps so many seconds.
    Limited(Option<u64>),
    /// Upstream does not answer, or answers that it cannot.
    Away,
    /// What upstream gives is not what it should be.
    Wrong,
    /// There is no room for it.
    Full,
    /// It is our own fault.
    Ours,
}

/// A manifest as it was found.
pub(crate) struct Found {
    pub(crate) document: crate::store::Document,
    /// Whether upstream could not be asked whether it is still so.
    pub(crate) is_stale: bool,
}

impl Cache {
    pub(crate) fn new(rules: Reread<Rules>, store: Arc<Store>) -> Self {
        Self {
            rules,
            store,
            fills: Fills::default(),
            conversations: Arc::new(Semaphore::new(CONVERSATIONS)),
            asked: Notes::default(),
            turns: Mutex::default(),
            held: AtomicU64::new(0),
            crowded: tokio::sync::Notify::new(),
            counts: Counts::default(),
        }
    }

    /// Whom it stands in for by now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.current()
    }

    /// Reads again whom it stands in for.
    pub(crate) fn refresh(&self) {
        self.rules.refresh();
    }

    /// More is kept now.
    fn grew(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        if self.excess_over().is_some() {
            self.crowded.notify_one();
        }
    }

    /// How much is to be kept, where it is more.
    pub(crate) fn excess_over(&self) -> Option<u64> {
        self.rules().kept.bytes.filter(|most| self.held.load(Ordering::Relaxed) > *most)
    }

    /// Waits until more is kept than is to be.
    pub(crate) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Counts what is kept.
    pub(crate) fn recount(&self) -> crate::store::Result<()> {
        let before = self.held.load(Ordering::Relaxed);
        let found = self.store.held_of_others()?;
        // What has come meanwhile may count twice, until the next time, and never not at all.
        self.held.fetch_add(found.wrapping_sub(before), Ordering::Relaxed);
        Ok(())
    }

    /// A manifest, from here or from upstream.
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        name: &Repository,
        reference: &Reference,
    ) -> Result<Found, Refusal> {
        let arrived = Instant::now();
        if let Some(document) = self.known(upstream, name, reference, arrived)? {
            return Ok(self.hit(name, document));
        }
        let turn = self.turn(format!("{name} {reference}"));
        let _held = turn.lock().await;
        // Somebody else may have asked while we waited.
        if let Some(document) = self.known(upstream, name, reference, arrived)? {
            return Ok(self.hit(name, document));
        }
        let here = self.store.document(name, reference)?;
        if upstream.is_silent()
            && let Some(document) = here
        {
            return Ok(self.stale(document));
        }
        let known = here.as_ref().map(|document| document.digest.clone());
        let (asked, wanted) = (Arc::clone(upstream), (name.clone(), reference.clone()));
        match self.converse(upstream, move || asked.look(&wanted.0, &wanted.1, known.as_ref())).await? {
            Ok(News::Same) => {
                upstream.note_compared(name, reference);
                let document = here.ok_or_else(|| Refusal::from(Failure::Ours))?;
                Ok(self.hit(name, document))
            }
            Ok(News::Moved(fetched)) => {
                self.counts.misses.fetch_add(1, Ordering::Relaxed);
                let document = self.keep(name, reference, *fetched).await?;
                upstream.note_compared(name, reference);
                Ok(Found { document, is_stale: false })
            }
            Err(failure @ (Failure::Away | Failure::Limited(_))) => match here {
                Some(document) => Ok(self.stale(document)),
                None => Err(failure.into()),
            },
            Err(failure) => {
                if let (Failure::Unknown, Reference::Tag(_), Some(_)) = (failure, reference, &here) {
                    // It was taken away there, so it does not come back when upstream is not to be asked.
                    self.store.remove(name, reference).settled().await?;
                }
                Err(failure.into())
            }
        }
    }

    /// What need not be asked of upstream: content by its digest, and tags that were compared since `arrived` or a moment
    /// before it.
    fn known(
        &self,
        upstream: &Upstream,
        name: &Repository,
        reference: &Reference,
        arrived: Instant,
    ) -> Result<Option<crate::store::Document>, Refusal> {
        if let Reference::Tag(tag) = reference {
            let compared = upstream.compared.of(&(name.clone(), tag.clone()));
            if compared.is_none_or(|compared| compared + upstream.tag_ttl < arrived) {
                return Ok(None);
            }
        }
        Ok(self.store.document(name, reference)?)
    }

    fn hit(&self, name: &Repository, document: crate::store::Document) -> Found {
        self.counts.hits.fetch_add(1, Ordering::Relaxed);
        self.note_asked(name, &document.digest);
        Found { document, is_stale: false }
    }

    fn stale(&self, document: crate::store::Document) -> Found {
        self.counts.stale.fetch_add(1, Ordering::Relaxed);
        Found { document, is_stale: true }
    }

    /// Stores what upstream has given.
    async fn keep(
        &self,
        name: &Repository,
        reference: &Reference,
        fetched: Fetched,
    ) -> Result<crate::store::Document, Refusal> {
        let (digest, media_type) = (fetched.descriptor.digest, fetched.descriptor.media_type);
        let new = NewManifest::parse(fetched.bytes, digest, &media_type).map_err(|unfit| {
            tracing::warn!("upstream's {name} {reference} cannot be kept: {unfit}");
            Refusal::from(Failure::Wrong)
        })?;
        let document = new.document.clone();
        let tags = match reference {
            Reference::Tag(tag) => vec![tag.clone()],
            Reference::Digest(_) => Vec::new(),
        };
        self.store.put_fetched(name, new, tags).settled().await?;
        Ok(document)
    }

    /// Notes that a client wants what is kept, so that it is kept on.
    pub(crate) fn note_asked(&self, name: &Repository, digest: &Digest) {
        let key = (name.clone(), digest.clone());
        let exactness = self.rules().kept.unasked.map_or(EXACTNESS, |age| (age / 8).min(EXACTNESS));
        if self.asked.of(&key).is_none_or(|noted| noted.elapsed() >= exactness) {
            self.asked.set(key);
            // Nobody waits for it, and nothing is lost without it.
            drop(self.store.asked(name, digest));
        }
    }

    fn turn(&self, key: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= 256 {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(key).or_default())
    }

    /// Speaks with upstream where waiting holds up nobody.
    pub(crate) async fn converse<T: Send + 'static>(
        &self,
        upstream: &Upstream,
        work: impl FnOnce() -> Result<T, ClientError> + Send + 'static,
    ) -> Result<Result<T, Failure>, Refusal> {
        let ended = |_| Refusal::from(crate::store::Error::Closing);
        let _seat = self.conversations.acquire().await.map_err(ended)?;
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|_| Refusal::from(crate::store::Error::Closing))?;
        let failure = done.as_ref().err().map(Failure::of);
        upstream.heard(failure);
        Ok(done.map_err(|error| {
            let failure = Failure::of(&error);
            if failure != Failure::Unknown {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("upstream: {}", reasons(&error));
            }
            failure
        }))
    }
}

impl Failure {
    fn of(error: &ClientError) -> Self {
        use ClientError as Of;
        if let Of::RateLimit { retry_after, .. } = error {
            return Self::Limited(*retry_after);
        }
        let is_away =
            matches!(error, Of::Connect { .. } | Of::Exchange { .. } | Of::Tls { .. } | Of::Proxy { .. });
        if is_away || matches!(error, Of::Status { status: 500.., .. }) {
            Self::Away
        } else if matches!(error, Of::NotFound { .. }) {
            Self::Unknown
        } else if matches!(error, Of::Unauthorized { .. }) {
            Self::Denied
        } else {
            Self::Wrong
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unknown => Self::new(Code::ManifestUnknown, "upstream does not have it"),
            Failure::Denied => Self::new(Code::Denied, "upstream does not let this registry have it"),
            Failure::Limited(seconds) => {
                let seconds = HeaderValue::from(seconds.unwrap_or(1));
                Self::new(Code::TooManyRequests, "upstream takes no more requests for now")
                    .header(RETRY_AFTER, seconds)
            }
            Failure::Away => {
                Self::new(Code::Unknown, "upstream does not answer").status(StatusCode::BAD_GATEWAY)
            }
            Failure::Wrong => Self::new(Code::Unknown, "what upstream gives is not what it should be")
                .status(StatusCode::BAD_GATEWAY),
            Failure::Full => {
                Self::new(Code::Unknown, "no space left for it").status(StatusCode::INSUFFICIENT_STORAGE)
            }
            Failure::Ours => Self::new(Code::Unknown, "the registry could not do it; its log says why"),
        }
    }
}

/// When something happened last, in memory of a bounded size.
#[derive(Debug)]
struct Notes<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Notes<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: std::hash::Hash + Eq> Notes<K> {
    fn of(&self, key: &K) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn set(&self, key: K) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= NOTES {
            notes.clear();
        }
        notes.insert(key, Instant::now());
    }
}
