//! Whether a build is to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// A wish that a build ends, which everybody who works on it sees. Clones are the same wish; what [`Cancel::child`] makes is one of
/// its own, which this one implies.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wished: AtomicBool,
    children: Mutex<Vec<Weak<Inner>>>,
    changed: Condvar,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Inner>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// Nobody wants an end yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A wish for a part: it comes with this one, and does not bring this one about.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut children = self.0.lock();
        if self.is_cancelled() {
            child.0.wished.store(true, Ordering::SeqCst);
            return child;
        }
        // Those that are gone are removed when the list would grow, so that a wish that lives long stays small.
        if children.len() == children.capacity() {
            children.retain(|child| child.strong_count() > 0);
        }
        children.push(Arc::downgrade(&child.0));
        child
    }

    /// Wishes the end.
    pub fn cancel(&self) {
        let mut left = vec![Arc::clone(&self.0)];
        while let Some(inner) = left.pop() {
            let mut children = inner.lock();
            inner.wished.store(true, Ordering::SeqCst);
            left.extend(children.drain(..).filter_map(|child| child.upgrade()));
            drop(children);
            inner.changed.notify_all();
        }
    }

    /// Whether somebody has.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.wished.load(Ordering::SeqCst)
    }

    /// Waits so long, or until somebody wishes the end; tells which.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let guard = self.0.lock();
        let waited = self.0.changed.wait_timeout_while(guard, timeout, |_| !self.is_cancelled());
        drop(waited.map_err(PoisonError::into_inner));
        self.is_cancelled()
    }
}
