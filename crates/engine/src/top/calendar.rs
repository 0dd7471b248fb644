//! Days and durations, as `ps` writes them.

use oci::Timestamp;

/// Seconds.
pub(super) const DAY: i64 = 86_400;

/// `[days-]hours:minutes:seconds`.
pub(super) fn long_duration(seconds: i64) -> String {
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let days = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{days}{:02}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60)
}

/// `[[days-]hours:]minutes:seconds`.
pub(super) fn elapsed(seconds: i64) -> String {
    if seconds < 3600 { format!("{:02}:{:02}", seconds / 60, seconds % 60) } else { long_duration(seconds) }
}

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From 0.
    pub(super) month: usize,
    /// From 1.
    pub(super) day: u32,
    /// From 0.
    pub(super) day_of_year: i64,
}

impl Date {
    /// Of so many seconds since 1970.
    pub(super) fn of(seconds: i64) -> Date {
        let at = |seconds: i64| Timestamp::new(seconds, 0).unwrap_or(Timestamp::EPOCH).to_string();
        let text = at(seconds);
        let number =
            |range: std::ops::Range<usize>| text.get(range).and_then(|text| text.parse::<u32>().ok());
        let (year, month, day) =
            (number(0..4).unwrap_or(1970), number(5..7).unwrap_or(1), number(8..10).unwrap_or(1));
        let lengths = [
            31,
            28 + u32::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
        ];
        let month = usize::try_from(month.saturating_sub(1)).unwrap_or(0).min(11);
        let before: u32 = lengths.iter().take(month).sum();
        Date { year: i64::from(year), month, day, day_of_year: i64::from(before + day - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_grow_to_the_left() {
        for (seconds, long, short) in [
            (0, "00:00:00", "00:00"),
            (59 * 60 + 1, "00:59:01", "59:01"),
            (90_061, "1-01:01:01", "1-01:01:01"),
        ] {
            assert_eq!((long_duration(seconds).as_str(), elapsed(seconds).as_str()), (long, short));
        }
    }

    #[test]
    fn the_calendar_knows_leap_years() {
        let day = |text: &str| Date::of(text.parse::<Timestamp>().unwrap().seconds()).day_of_year;
        assert_eq!(day("2024-12-31T00:00:00Z"), 365);
        assert_eq!(day("2026-12-31T00:00:00Z"), 364);
        assert_eq!(day("2026-01-01T00:00:00Z"), 0);
    }
}
