//! Large blobs, read by several connections where one is slow: many registries, and lines to them, give each connection only so
//! much.
//!
//! ```text
//! 0 ───────── position ──────────── until ├─ part ─┤├─ part ─┤├─ part ─┤ next ───────────── size
//!  read already   │   own stream        │   a lane each, kept here         nobody's yet
//! ```
//!
//! A blob begins as one stream, to its end, which is all there is to it for a line that is faster than whoever reads. Only one who
//! had to wait for most of the time gets lanes: each is a thread with a connection of its own that takes the next part, until there
//! are no more. Parts are read in their order, so whoever reads sees one stream, and keeps of it what he will; what comes ahead of
//! him lies in memory, at most one part more than there are lanes. The own stream ends where the first part begins, once that has
//! come; a host that gives no ranges leaves it as it is.
//!
//! A lane that fails leaves the rest of its part to the reader, who asks for it himself and says why where it cannot be had; one
//! that is lied to ends the reading.

mod lanes;

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use oci::Descriptor;

use crate::Repository;
use crate::blob::BlobReader;
use crate::error::Result;
use crate::session::Session;
use lanes::{Shared, Turn};

/// Waits that are a reason for another lane, if they are most of the time.
const WAITED: Duration = Duration::from_millis(100);
/// After so long it is looked anew how much of the time is spent waiting.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// When one blob is read by several connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// The most connections by which the blobs of one client are read; those of blobs that are read side by side count. With one
    /// a blob is one stream.
    pub connections: usize,
    /// The size in bytes of the smallest blob for which it is worth it.
    pub from: u64,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { connections: 4, from: 64 << 20 }
    }
}

/// The content of a blob, in its order. An error, never an end, where it is not all of it; its digest is left to the caller.
pub struct RangedReader {
    shared: Arc<Shared>,
    /// What is read here: up to the next part, or to the end.
    own: Option<Own>,
    /// What has come and is not read yet; the position is behind it.
    bytes: Bytes,
    position: u64,
    pace: Pace,
}

struct Own {
    reader: BlobReader,
    /// What it has brought of the next part, should that not come.
    ahead: Bytes,
    _seat: Seat,
}

/// How much of the time was spent waiting.
struct Pace {
    since: Instant,
    waited: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), waited: Duration::ZERO }
    }
}

/// One of the connections by which blobs are read. Dropping it makes room for another one.
struct Seat(Arc<Session>);

impl Seat {
    /// One more than there may be, if need be.
    fn take(session: &Arc<Session>) -> Self {
        session.reading.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(session))
    }

    /// One that is free.
    fn free(session: &Arc<Session>) -> Option<Self> {
        let most = session.settings.ranges.connections;
        let taken = |taken| (taken < most).then_some(taken + 1);
        session.reading.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken).ok()?;
        Some(Self(Arc::clone(session)))
    }

    /// Whether there are more than there may be, since blobs were begun.
    fn is_surplus(&self) -> bool {
        self.0.reading.load(Ordering::SeqCst) > self.0.settings.ranges.connections
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Repository {
    /// The content of a blob behind so many bytes, which the caller has, by several connections where it is large and one is
    /// slow. It is left to the caller to check the digest; size and completeness are checked all the same.
    ///
    /// # Errors
    /// If no host has it.
    pub fn blob_in_ranges(&self, descriptor: &Descriptor, from: u64) -> Result<RangedReader> {
        let position = from.min(descriptor.size);
        let seat = Seat::take(&self.session);
        let reader = self.rest_of_blob(descriptor, position)?;
        Ok(RangedReader {
            shared: Arc::new(Shared::new(self, descriptor, position)),
            own: Some(Own { reader, ahead: Bytes::new(), _seat: seat }),
            bytes: Bytes::new(),
            position,
            pace: Pace::new(),
        })
    }
}

impl RangedReader {
    /// What comes next; `None` at the end.
    fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        let size = self.shared.descriptor().size;
        loop {
            if self.position >= size {
                // Nothing may follow, which the stream sees that goes to the end.
                let last = self.own.take().map(|mut own| own.reader.next_bytes()).transpose()?;
                return Ok(last.flatten());
            }
            let begun = Instant::now();
            let turn = self.shared.turn(self.position, self.own.is_some())?;
            let bytes = match turn {
                Turn::Arrived(bytes) => {
                    self.own = None;
                    Some(bytes)
                }
                Turn::Own(until) => self.read_own(until)?,
            };
            self.pace.waited += begun.elapsed();
            if let Some(bytes) = bytes {
                self.position += bytes.len() as u64;
                self.hurry();
                return Ok(Some(bytes));
            }
        }
    }

    /// What the own stream has next of what lies before `until`; `None` where it has ended before that.
    fn read_own(&mut self, until: u64) -> Result<Option<Bytes>> {
        let position = self.position;
        let own = match &mut self.own {
            Some(own) if own.reader.received() - own.ahead.len() as u64 == position => own,
            own => {
                let (repository, descriptor) = (self.shared.repository(), self.shared.descriptor());
                let seat = Seat::take(&repository.session);
                let reader = repository.part_of_blob(descriptor, position..until)?;
                own.insert(Own { reader, ahead: Bytes::new(), _seat: seat })
            }
        };
        let mut bytes = std::mem::take(&mut own.ahead);
        if bytes.is_empty() {
            let Some(next) = own.reader.next_bytes()? else {
                self.own = None;
                return Ok(None);
            };
            bytes = next;
        }
        let wanted = usize::try_from(until - position).unwrap_or(usize::MAX).min(bytes.len());
        own.ahead = bytes.split_off(wanted);
        Ok(Some(bytes))
    }

    /// Opens another lane where that may help.
    fn hurry(&mut self) {
        let elapsed = self.pace.since.elapsed();
        let is_slow = is_slow(self.pace.waited, elapsed);
        if is_slow {
            Shared::open_lane(&self.shared);
        }
        if is_slow || elapsed >= LOOKED_AT {
            self.pace = Pace::new();
        }
    }
}

/// Whether most of the time was spent waiting, and enough of it.
fn is_slow(waited: Duration, elapsed: Duration) -> bool {
    waited >= WAITED && waited * 2 >= elapsed
}

impl Read for RangedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.bytes.is_empty() {
            self.bytes = self.next_bytes().map_err(io::Error::other)?.unwrap_or_default();
        }
        let bytes = self.bytes.split_to(self.bytes.len().min(buffer.len()));
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl Drop for RangedReader {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl std::fmt::Debug for RangedReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at {}", self.shared.descriptor().digest, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_who_waits_for_most_of_the_time_is_slow() {
        let slow = |waited, elapsed| is_slow(Duration::from_millis(waited), Duration::from_millis(elapsed));
        assert!(slow(100, 100) && slow(100, 200) && slow(500, 1000));
        assert!(!slow(99, 99) && !slow(100, 201) && !slow(0, 1000) && !slow(0, 0));
    }

    #[test]
    fn seats_are_as_many_as_are_wanted_and_free_again_when_nobody_has_them() {
        let ranges = Ranges { connections: 2, from: 1 };
        let session = Arc::new(Session::new(crate::Settings { ranges, ..crate::Settings::default() }));
        let first = Seat::free(&session).unwrap();
        let second = Seat::free(&session).unwrap();
        assert!(Seat::free(&session).is_none() && !second.is_surplus());
        // A blob that is begun does not wait for those that have several.
        let third = Seat::take(&session);
        assert!(first.is_surplus());
        drop(second);
        assert!(!third.is_surplus() && Seat::free(&session).is_none());
        drop(third);
        assert!(Seat::free(&session).is_some());
    }
}
