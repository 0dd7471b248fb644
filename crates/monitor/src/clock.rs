//! The two clocks: nanoseconds since 1970 for people, milliseconds since boot for deadlines.

use rustix::time::{ClockId, clock_gettime};

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

/// The time of a log line, in RFC 3339 with as many digits of a second as it needs.
#[derive(Debug, Default)]
pub(crate) struct Stamp(String);

impl Stamp {
    /// Takes over the present time.
    pub(crate) fn refresh(&mut self) {
        use std::fmt::Write;
        self.0.clear();
        // Writing to a string cannot fail.
        let _written = write!(self.0, "{}", state::timestamp(now_ns()));
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
