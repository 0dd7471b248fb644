//! Points in time as image documents and Docker write them: RFC 3339 with up to nine digits of a second.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::serde_as_text;
use crate::error::{Error, Result, excerpt};

/// A point in time, year 0 to 9999. Written in UTC, with as many digits of a second as it needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

const SECONDS_PER_DAY: i64 = 86_400;
/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Timestamp {
    /// Go's zero time, which Docker shows where something has not happened: `0001-01-01T00:00:00Z`.
    pub const ZERO: Self = Self { seconds: -62_135_596_800, nanoseconds: 0 };

    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    /// `seconds` since 1970 and `nanoseconds` below a second; `None` outside the years 0 to 9999.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        (RANGE.contains(&seconds) && nanoseconds < 1_000_000_000).then_some(Self { seconds, nanoseconds })
    }

    /// Seconds since 1970, negative before.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Self::seconds`], below 1,000,000,000.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// The time that has passed since `earlier`; zero if it is later than `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanoseconds =
            |time: Self| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        let difference = (nanoseconds(self) - nanoseconds(earlier)).max(0);
        Duration::from_nanos(u64::try_from(difference).unwrap_or(u64::MAX))
    }
}

impl From<SystemTime> for Timestamp {
    /// Times outside the range become the epoch.
    fn from(time: SystemTime) -> Self {
        let (seconds, nanoseconds) = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => (i64::try_from(after.as_secs()).ok(), after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).ok().map(|seconds| -seconds);
                match before.subsec_nanos() {
                    0 => (whole, 0),
                    nanoseconds => (whole.map(|seconds| seconds - 1), 1_000_000_000 - nanoseconds),
                }
            }
        };
        seconds.and_then(|seconds| Self::new(seconds, nanoseconds)).unwrap_or(Self::EPOCH)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text.as_bytes()).ok_or_else(|| Error::Timestamp { text: excerpt(text) })
    }
}

/// `2006-01-02T15:04:05[.999999999](Z|±07:00)`, also in lower case or with a space, as RFC 3339 section 5.6
/// allows.
fn parse(text: &[u8]) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        text.get(range)?
            .iter()
            .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, any: &[u8]| text.get(at).is_some_and(|byte| any.contains(byte));
    let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // A leap second counts as the first second of the next minute.
    if !separators
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if is(at, b".") {
        at += 1;
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let scale = u32::try_from(9usize.saturating_sub(digits)).ok()?;
        nanoseconds = u32::try_from(number(at..at + digits.min(9))? * 10_i64.pow(scale)).ok()?;
        at += digits;
    }
    let offset_minutes = if is(at, b"Zz") && text.len() == at + 1 {
        0
    } else {
        let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
        if !is(at, b"+-") || !is(at + 3, b":") || text.len() != at + 6 || hours > 23 || minutes > 59 {
            return None;
        }
        (hours * 60 + minutes) * if is(at, b"-") { -1 } else { 1 }
    };
    let seconds = days_since_epoch(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Timestamp::new(seconds - offset_minutes * 60, nanoseconds)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from March, so that a leap
/// day is the last of its year, and grouped in eras of 400 years, each of 146,097 days.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_since_epoch`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.seconds.div_euclid(SECONDS_PER_DAY));
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(formatter, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(formatter, ".{}", digits.trim_end_matches('0'))?;
        }
        formatter.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_in_utc() {
        for (text, seconds, shown) in [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", -62_135_596_800, "0001-01-01T00:00:00Z"),
            ("2024-02-29T23:59:59.5+02:00", 1_709_243_999, "2024-02-29T21:59:59.5Z"),
            ("2000-03-01 00:00:00.123456789z", 951_868_800, "2000-03-01T00:00:00.123456789Z"),
            ("1969-12-31t23:59:59.999999999999-00:30", 1799, "1970-01-01T00:29:59.999999999Z"),
            ("2016-12-31T23:59:60Z", 1_483_228_800, "2017-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", 253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!((time.seconds(), time.to_string().as_str()), (seconds, shown), "{text}");
        }
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2024",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00+2:00",
            "+024-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+00:01",
            "2024-01-01T00:00:00+24:00",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn system_times_convert_on_both_sides_of_the_epoch() {
        assert_eq!(
            Timestamp::from(UNIX_EPOCH + Duration::from_millis(1500)).to_string(),
            "1970-01-01T00:00:01.5Z"
        );
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_millis(1500)).to_string(),
            "1969-12-31T23:59:58.5Z"
        );
        let (early, late) = (Timestamp::EPOCH, Timestamp::new(5, 7).unwrap());
        assert_eq!(late.since(early), Duration::new(5, 7));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    proptest::proptest! {
        #[test]
        fn every_time_round_trips(seconds in RANGE, nanoseconds in 0..1_000_000_000_u32) {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.0-9]{0,12}[Z+-]?[0-9:]{0,6}") {
            drop(text.parse::<Timestamp>());
        }
    }
}
