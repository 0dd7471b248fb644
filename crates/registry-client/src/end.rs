//! The wish that a client ends, which whoever waits for the network hears at once: in an executor, or in a thread that sleeps.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Error, Result};

/// Of one client and its clones. Once wished it stays so.
#[derive(Debug, Default)]
pub(crate) struct End {
    wished: AtomicBool,
    /// For executors, each of which may be another thread's.
    notify: Notify,
    /// For threads.
    guard: Mutex<()>,
    changed: Condvar,
}

/// What an exchange fails with that was ended.
#[derive(Debug, thiserror::Error)]
#[error("it was given up, as its caller wished")]
struct Ended;

impl End {
    pub(crate) fn wish(&self) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.wished.store(true, Ordering::SeqCst);
        drop(guard);
        self.changed.notify_all();
        self.notify.notify_waiters();
    }

    pub(crate) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`Error::Ended`] once it is wished.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_wished() { Err(Error::Ended) } else { Ok(()) }
    }

    /// Sleeps so long, or until it is wished.
    pub(crate) fn sleep(&self, time: Duration) {
        let guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.changed.wait_timeout_while(guard, time, |()| !self.is_wished());
        drop(slept.map_err(PoisonError::into_inner));
    }

    /// Does something unless it is wished first.
    ///
    /// # Errors
    /// That it was.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = T>) -> io::Result<T> {
        let mut notified = std::pin::pin!(self.notify.notified());
        // From here on no wish is missed.
        notified.as_mut().enable();
        if self.is_wished() {
            return Err(ended());
        }
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            notified.as_mut().poll(context).map(|()| Err(ended()))
        })
        .await
    }
}

fn ended() -> io::Error {
    io::Error::other(Ended)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn whoever_waits_hears_of_it_at_once_and_whoever_comes_later_too() {
        let end = Arc::new(End::default());
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let sleeps = scope.spawn(|| end.sleep(Duration::from_secs(60)));
            let waits = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(end.or(std::future::pending::<()>())).unwrap_err().to_string()
            });
            std::thread::sleep(Duration::from_millis(20));
            assert!(!sleeps.is_finished() && !waits.is_finished() && end.check().is_ok());
            end.wish();
            sleeps.join().unwrap();
            assert_eq!(waits.join().unwrap(), "it was given up, as its caller wished");
        });
        end.sleep(Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(end.or(async {})).is_err());
        assert!(matches!(end.check(), Err(Error::Ended)));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
