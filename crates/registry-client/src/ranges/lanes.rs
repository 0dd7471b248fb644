//! What the reader of a blob and its lanes share: which parts are taken, and what has come of them.
//!
//! Parts lie side by side, in their order, all of them behind the position of the reader but the first, in which he may be. What
//! lies before the first part is the reader's own.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use oci::Descriptor;

use super::Seat;
use crate::Repository;
use crate::error::{Error, Result};
use crate::session::locked;

/// Bytes of a part: many round trips of most lines, and little to ask for again when somebody is killed.
const PART: u64 = 4 << 20;

/// Lanes that fail before no more are opened: one stream does as well then.
const FAILURES: u32 = 3;

/// What the reader does next.
pub(super) enum Turn {
    /// He takes this.
    Arrived(Bytes),
    /// He reads for himself, at most up to here.
    Own(u64),
}

pub(super) struct Shared {
    repository: Repository,
    descriptor: Descriptor,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    position: u64,
    /// Whether the reader goes on by himself there.
    is_own: bool,
    /// The first byte that no lane has taken.
    next: u64,
    parts: VecDeque<Part>,
    lanes: usize,
    /// Whether the host gives ranges, once that is known.
    has_ranges: Option<bool>,
    failures: u32,
    /// Why the reading ends.
    failed: Option<Error>,
    is_over: bool,
}

/// A part of which somebody fetches what has not arrived.
struct Part {
    range: Range<u64>,
    arrived: VecDeque<Bytes>,
    /// Nobody fetches any more of it.
    is_given_up: bool,
}

/// A lane's thread: whatever ends it, nobody waits for it.
struct Lane {
    shared: Arc<Shared>,
    part: Option<u64>,
    seat: Seat,
}

impl Shared {
    pub(super) fn new(repository: &Repository, descriptor: &Descriptor, position: u64) -> Self {
        let state = State {
            position,
            is_own: true,
            next: position,
            parts: VecDeque::new(),
            lanes: 0,
            has_ranges: None,
            failures: 0,
            failed: None,
            is_over: false,
        };
        Self {
            repository: repository.clone(),
            descriptor: descriptor.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// What the reader does at `position`; waits where a part is on its way. He may have an own stream there.
    pub(super) fn turn(&self, position: u64, has_own: bool) -> Result<Turn> {
        let mut state = locked(&self.state);
        state.position = position;
        loop {
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            let (is_taken_next, next) = (state.lanes > 0 && !has_own, state.next);
            state.is_own = false;
            let Some(part) = state.parts.front_mut() else {
                if is_taken_next && position == next {
                    state = self.wait(state);
                    continue;
                }
                state.is_own = true;
                return Ok(Turn::Own(self.descriptor.size));
            };
            if part.is_given_up && part.arrived.is_empty() {
                state.parts.pop_front();
                self.changed.notify_all();
                continue;
            }
            if part.range.start > position {
                let until = part.range.start;
                state.is_own = true;
                return Ok(Turn::Own(until));
            }
            if let Some(bytes) = part.arrived.pop_front() {
                return Ok(Turn::Arrived(bytes));
            }
            if part.range.end <= position {
                state.parts.pop_front();
                self.changed.notify_all();
                continue;
            }
            state = self.wait(state);
        }
    }

    /// The reader has gone.
    pub(super) fn close(&self) {
        let mut state = locked(&self.state);
        state.is_over = true;
        state.parts.clear();
        self.changed.notify_all();
    }

    /// Opens another lane, unless there are as many as there may be, or nothing is left for it.
    pub(super) fn open_lane(shared: &Arc<Self>) {
        let Self { repository, descriptor, .. } = &**shared;
        if descriptor.size < repository.session.settings.ranges.from {
            return;
        }
        let mut state = locked(&shared.state);
        let is_to_try = match state.has_ranges {
            Some(has_ranges) => has_ranges,
            None => state.lanes == 0,
        };
        if !is_to_try || state.from() >= descriptor.size {
            return;
        }
        let Some(seat) = Seat::free(&repository.session) else { return };
        let mut lane = Lane { shared: Arc::clone(shared), part: None, seat };
        state.lanes += 1;
        drop(state);
        tracing::debug!(blob = %descriptor.digest, "another connection reads the blob");
        // Without a thread it stays as it is.
        drop(std::thread::Builder::new().name("range".to_owned()).spawn(move || lane.run()));
    }

    /// Takes the next part; `None` if there is none for this lane.
    fn take_part(&self, seat: &Seat) -> Option<Range<u64>> {
        let mut state = locked(&self.state);
        loop {
            let from = state.from();
            let is_over = state.is_over || state.failed.is_some() || state.has_ranges == Some(false);
            if is_over || from >= self.descriptor.size || seat.is_surplus() {
                return None;
            }
            if state.parts.len() <= state.lanes {
                let range = from..(from + PART).min(self.descriptor.size);
                state.next = range.end;
                let part = Part { range: range.clone(), arrived: VecDeque::new(), is_given_up: false };
                state.parts.push_back(part);
                return Some(range);
            }
            state = self.wait(state);
        }
    }

    /// Keeps what has come of the part that begins there; `false` if nobody wants it any more.
    fn keep(&self, part: u64, bytes: Bytes) -> bool {
        let mut state = locked(&self.state);
        let Some(part) = state.part(part) else { return false };
        part.arrived.push_back(bytes);
        self.changed.notify_all();
        true
    }
}

impl State {
    /// Where the next part begins: ahead of a reader who goes on by himself meanwhile.
    fn from(&self) -> u64 {
        match self.parts.is_empty() && self.is_own {
            true => self.next.max(self.position + PART),
            false => self.next,
        }
    }

    fn part(&mut self, start: u64) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.range.start == start)
    }
}

impl Lane {
    fn run(&mut self) {
        while let Some(range) = self.shared.take_part(&self.seat) {
            self.part = Some(range.start);
            match self.fetch(range) {
                Ok(true) => self.part = None,
                Ok(false) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Fetches a part; `false` if nobody wants it any more.
    fn fetch(&self, range: Range<u64>) -> Result<bool> {
        let Shared { repository, descriptor, .. } = &*self.shared;
        let start = range.start;
        let mut reader = repository.range_of_blob(descriptor, range)?;
        locked(&self.shared.state).has_ranges.get_or_insert(true);
        while let Some(bytes) = reader.next_bytes()? {
            if !self.shared.keep(start, bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fail(&self, error: Error) {
        tracing::debug!(%error, blob = %self.shared.descriptor.digest, "a part of the blob is left to its reader");
        let mut state = locked(&self.shared.state);
        state.failures += 1;
        if error.has_no_ranges() || state.failures >= FAILURES {
            state.has_ranges = Some(false);
        }
        if error.is_lie() {
            state.failed = Some(error);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.lanes -= 1;
        if let Some(part) = self.part.and_then(|start| state.part(start)) {
            part.is_given_up = true;
        }
        self.shared.changed.notify_all();
    }
}
