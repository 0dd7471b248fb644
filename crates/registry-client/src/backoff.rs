//! How long to wait before the next attempt. Pure: the caller gives chance and time, and sleeps.

use std::time::Duration;

/// How patient a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until an answer begins, and between two parts of one.
    pub silence: Duration,
    /// How often one thing is tried before it is given up.
    pub attempts: u32,
    /// The wait before the second attempt, at most; it doubles from attempt to attempt.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// The longest wait that a registry may ask for by `Retry-After`; one that asks for more is not waited for.
    pub longest_asked: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(60),
            attempts: 6,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            longest_asked: Duration::from_secs(90),
        }
    }
}

impl Patience {
    /// The wait after so many failed attempts, one or more: at least half of what doubling gives, the rest by `chance`, so
    /// that clients which failed together do not come back together. `asked` is what the registry wants. `None`: give up.
    #[must_use]
    pub fn wait(&self, failed: u32, asked: Option<Duration>, chance: u32) -> Option<Duration> {
        if failed >= self.attempts || asked.is_some_and(|asked| asked > self.longest_asked) {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << failed.saturating_sub(1).min(20)).min(self.longest);
        let half = doubled / 2;
        let jitter = half.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        Some(half.saturating_add(jitter).max(asked.unwrap_or_default()))
    }
}

/// What `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a time of which `now` is the present, both since 1970.
#[must_use]
pub fn retry_after(header: &str, now: u64) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX / 2)));
    }
    http_date(header).map(|then| Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`; the two obsolete forms are not known.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else { return None };
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()?;
    let [hours, minutes, seconds] = time.split(':').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str, most: u64| text.parse::<u64>().ok().filter(|number| *number <= most);
    let (day, year) = (number(day, 31)?.checked_sub(1)?, number(year, 9999)?.checked_sub(1970)?);
    // Days before a year and before a month, by the rules of the Gregorian calendar.
    let full = year + 1969;
    let leaps = full / 4 - full / 100 + full / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let this = year + 1970;
    let is_leap = this.is_multiple_of(4) && (!this.is_multiple_of(100) || this.is_multiple_of(400));
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u64 = lengths.iter().take(usize::try_from(month).ok()?).sum();
    let days = year * 365 + leaps + before + day;
    Some(days * 86_400 + number(hours, 23)? * 3600 + number(minutes, 59)? * 60 + number(seconds, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_asked_for_is_read_in_both_forms() {
        let at = |text, now| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(at("120", 0), Some(120));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_770), Some(7));
        assert_eq!(at("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_799), Some(1));
        assert_eq!(at("Sat, 21 Nov 2026 18:46:24 GMT", u64::MAX), Some(0));
        assert!(at("99999999999999999999999", 0).is_some_and(|wait| wait > 1 << 40));
        for bad in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 00 Nov 1994 08:49:37 GMT"] {
            assert_eq!(at(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn who_asks_for_too_much_is_not_waited_for() {
        let patience = Patience::default();
        let asked = |seconds| patience.wait(1, Some(Duration::from_secs(seconds)), 0);
        assert_eq!(asked(7), Some(Duration::from_secs(7)));
        assert_eq!(asked(3600), None);
    }

    proptest::proptest! {
        #[test]
        fn waits_grow_within_bounds_and_end(failed in 1_u32..100, chance: u32) {
            let patience = Patience::default();
            match patience.wait(failed, None, chance) {
                None => proptest::prop_assert!(failed >= patience.attempts),
                Some(wait) => {
                    let doubled = patience.first * (1 << (failed - 1));
                    proptest::prop_assert!(wait >= doubled.min(patience.longest) / 2 && wait <= doubled.min(patience.longest));
                }
            }
        }

        #[test]
        fn no_header_does_harm(header in "\\PC{0,40}", now: u64) {
            let first = retry_after(&header, now);
            proptest::prop_assert_eq!(retry_after(&header, now), first);
        }
    }
}
