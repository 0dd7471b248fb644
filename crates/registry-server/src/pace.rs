//! How slow a client may be. It is given patience, and gets it back by moving some bytes: so that nobody holds a connection, a
//! descriptor and memory by taking or sending next to nothing, and nobody is cut who is merely slow.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes for which a client gets all of its patience back. Any line is faster.
const LEAST: u64 = 16 << 10;

/// What is left of the patience with a client. Only time that is spent waiting for it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    patience: Duration,
    left: Duration,
    moved: u64,
}

impl Pace {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, left: patience, moved: 0 }
    }

    /// For how long it may be waited now.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// So many bytes have moved, after so long a wait.
    pub(crate) fn moved(&mut self, waited: Duration, bytes: u64) {
        self.left = self.left.saturating_sub(waited);
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= LEAST {
            *self = Self::new(self.patience);
        }
    }
}

/// A connection that fails when its client takes too little of what it is sent.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Pace,
    /// Since when the client has been waited for.
    since: Option<Instant>,
    /// Made once, and set anew for each wait.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, pace: Pace::new(patience), since: None, alarm: None }
    }

    fn check(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = wrote {
            let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
            if let Ok(bytes) = outcome {
                self.pace.moved(waited, bytes as u64);
            }
            return Poll::Ready(outcome);
        }
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.pace.left();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(context).map(|()| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what it is sent"))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, content);
        self.check(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.check(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn bytes_give_patience_back_and_crumbs_do_not() {
        let mut crumbs = Pace::new(PATIENCE);
        for _ in 0..59 {
            crumbs.moved(Duration::from_secs(1), 1);
        }
        assert_eq!(crumbs.left(), Duration::from_secs(1));
        crumbs.moved(Duration::from_secs(2), 1);
        assert_eq!(crumbs.left(), Duration::ZERO);
        let mut slow = Pace::new(PATIENCE);
        for _ in 0..10_000 {
            slow.moved(Duration::from_secs(1), LEAST / 30);
            assert!(slow.left() >= Duration::from_secs(29), "{slow:?}");
        }
        let mut unhindered = Pace::new(PATIENCE);
        unhindered.moved(Duration::ZERO, 1);
        assert_eq!(unhindered.left(), PATIENCE, "time in which nothing was waited for does not count");
    }
}
