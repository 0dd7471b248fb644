//! The dates of Release files (RFC 5322, in UTC only, as apt takes them).

use crate::error::{Error, Result};

/// Seconds since 1970.
pub type Seconds = i64;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sat, 11 Jul 2026 10:16:37 UTC`.
///
/// # Errors
/// Where it is anything else, or in another zone.
pub fn parse_date(text: &str) -> Result<Seconds> {
    let wrong = || Error::field("Date", text, "it is no date in UTC");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [weekday, day, month, year, time, zone] = words.as_slice() else { return Err(wrong()) };
    let times: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = times.as_slice() else { return Err(wrong()) };
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && range.contains(number)).ok_or_else(wrong)
    };
    let month =
        (1..).zip(MONTHS).find(|(_, name)| name == month).map(|(number, _)| number).ok_or_else(wrong)?;
    let (year, day) = (number(year, 1970..=9999)?, number(day, 1..=31)?);
    // A leap second counts as the one before it.
    let (hour, minute, second) =
        (number(hour, 0..=23)?, number(minute, 0..=59)?, number(second, 0..=60)?.min(59));
    if !weekday.ends_with(',') || !["UTC", "GMT", "Z", "+0000"].contains(zone) || day > days_of(year, month) {
        return Err(wrong());
    }
    Ok(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn days_of(year: i64, month: i64) -> i64 {
    let next = if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
    next - days(year, month, 1)
}

/// Days from 1970-01-01, in a calendar whose years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0),
            ("Sat, 11 Jul 2026 10:16:37 UTC", 1_783_764_997),
            ("Tue, 29 Feb 2000 23:59:60 GMT", 951_868_799),
            ("Mon,  1 Mar 2100 00:00:00 +0000", 4_107_542_400),
        ] {
            assert_eq!(parse_date(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "Sat, 11 Jul 2026 10:16:37",
            "Sat, 11 Jul 2026 10:16:37 CEST",
            "Sat, 31 Jun 2026 10:16:37 UTC",
            "Sat, 29 Feb 2100 10:16:37 UTC",
            "Sat, 11 Jul 2026 24:16:37 UTC",
            "Sat, +1 Jul 2026 10:16:37 UTC",
            "Sat, 11 Foo 2026 10:16:37 UTC",
            "Sat, 11 Jul 1969 10:16:37 UTC",
        ] {
            assert!(parse_date(text).is_err(), "{text}");
        }
    }
}
