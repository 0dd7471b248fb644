//! Whether a build is to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A wish that a build ends, which everybody who works on it sees. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wished: AtomicBool,
    mutex: Mutex<()>,
    changed: Condvar,
}

impl Cancel {
    /// Nobody wants an end yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes the end.
    pub fn cancel(&self) {
        let guard = self.lock();
        self.0.wished.store(true, Ordering::SeqCst);
        drop(guard);
        self.0.changed.notify_all();
    }

    /// Whether somebody has.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.wished.load(Ordering::SeqCst)
    }

    /// Waits so long, or until somebody wishes the end; tells which.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let guard = self.lock();
        let waited = self.0.changed.wait_timeout_while(guard, timeout, |()| !self.is_cancelled());
        drop(waited.map_err(PoisonError::into_inner));
        self.is_cancelled()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
