//! The two clocks: nanoseconds since 1970 for people, milliseconds since boot for deadlines.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// Milliseconds of the monotonic clock.
pub(crate) fn monotonic_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}

/// What is left until `end_ms` of the monotonic clock, as system calls want it.
pub(crate) fn until(end_ms: u64) -> Timespec {
    millis(end_ms.saturating_sub(monotonic_ms()))
}

/// A duration as system calls want it.
pub(crate) fn millis(millis: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(millis % 1000).unwrap_or(0) * 1_000_000,
    }
}

/// The time of a log line, in RFC 3339 with as many digits of a second as it needs.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    text: String,
    time_ns: i64,
}

impl Stamp {
    /// Takes over a time, in nanoseconds since 1970.
    pub(crate) fn set(&mut self, time_ns: i64) {
        use std::fmt::Write;
        if self.time_ns == time_ns && !self.text.is_empty() {
            return;
        }
        self.time_ns = time_ns;
        self.text.clear();
        // Writing to a string cannot fail.
        let _written = write!(self.text, "{}", state::timestamp(time_ns));
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
