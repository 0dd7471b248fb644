//! Points in time, as dates or as ages (`--since`, `--until` and the filter of that name), and durations.

use std::time::Duration;

use oci::Timestamp;

use crate::output::zone::Zone;

const SECOND: i128 = 1_000_000_000;

/// A time: an age (`42m`), RFC 3339, a date with parts of a time, or seconds since 1970.
pub(crate) fn point(text: &str, now: Timestamp, zone: &Zone) -> Result<Timestamp, &'static str> {
    const WANT: &str = "want a time (2013-01-02T13:23:37Z), seconds since 1970, or an age (42m)";
    let since = duration(text).map(|age| nanoseconds(now) - age).or_else(|| seconds(text));
    if let Some(nanoseconds) = since {
        let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).map_err(|_| WANT)?;
        let rest = u32::try_from(nanoseconds.rem_euclid(SECOND)).map_err(|_| WANT)?;
        return Timestamp::new(seconds, rest).ok_or(WANT);
    }
    let has_zone = text.ends_with(['Z', 'z'])
        || text.get(text.len().saturating_sub(6)..).is_some_and(|zone| zone.starts_with(['+', '-']));
    if has_zone && text.len() > 16 {
        return text.parse().map_err(|_| WANT);
    }
    // Dates without a zone are the caller's, at the distance from UTC that the caller's clock has now.
    let local: Timestamp = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    }
    .parse()
    .map_err(|_| WANT)?;
    Timestamp::new(local.seconds() - zone.offset_seconds(now), local.nanoseconds()).ok_or(WANT)
}

/// Nanoseconds since 1970.
fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds()) * SECOND + i128::from(time.nanoseconds())
}

/// `1363456789.5`.
fn seconds(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(i128::from(whole) * SECOND + fraction)
}

/// A duration for which something is to be waited.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, &'static str> {
    let nanoseconds = duration(text).and_then(|time| u64::try_from(time).ok()).filter(|time| *time > 0);
    nanoseconds.map(Duration::from_nanos).ok_or("want a duration, such as 90s or 24h")
}

/// A duration as Go writes one (`1h30m`, `1.5s`), in nanoseconds.
pub(crate) fn duration(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        total = total.checked_add(scaled(number, unit)?)?;
        rest = tail;
    }
    Some(if negative { -total } else { total })
}

/// A decimal number of units.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || fraction.contains('.')
        || whole.len() > 12
        || fraction.len() > 18
    {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(parse(whole)? * unit + parse(fraction)? * unit / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("0", 0),
            ("42m", 42 * 60 * SECOND),
            ("1h30m", 5400 * SECOND),
            ("1.5s", 1_500_000_000),
            (".5h", 1800 * SECOND),
            ("300ms", 300_000_000),
            ("-2s", -2 * SECOND),
            ("1h1ns", 3600 * SECOND + 1),
        ] {
            assert_eq!(duration(text), Some(want), "{text}");
        }
        for wrong in ["", "1", "m", "1d", "1.2.3s", ".s", "-", "1h 2m", "9999999999999h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn points_are_dates_seconds_or_ages() {
        let now: Timestamp = "2026-11-21T00:01:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (text, want) in [
            ("1m", at("2026-11-21T00:00:00Z")),
            ("-1m", at("2026-11-21T00:02:00Z")),
            ("2026-11-20T01:02:03.5Z", at("2026-11-20T01:02:03.5Z")),
            ("2026-11-20T01:02:03+02:00", at("2026-11-19T23:02:03Z")),
            ("2026-11-20T01:02:03", at("2026-11-20T01:02:03Z")),
            ("2026-11-20T01:02", at("2026-11-20T01:02:00Z")),
            ("2026-11-20", at("2026-11-20T00:00:00Z")),
            ("1363456789", at("2013-03-16T17:59:49Z")),
            ("1363456789.25", at("2013-03-16T17:59:49.25Z")),
        ] {
            assert_eq!(point(text, now, &Zone::UTC), Ok(want), "{text}");
        }
        let zone = Zone::named("UTC-2");
        for (text, want) in [
            ("2026-11-20", at("2026-11-19T22:00:00Z")),
            ("2026-11-20T01:02", at("2026-11-19T23:02:00Z")),
            ("2026-11-20T01:02:03.5", at("2026-11-19T23:02:03.5Z")),
            ("2026-11-20T01:02:03Z", at("2026-11-20T01:02:03Z")),
            ("2026-11-20T01:02:03-01:00", at("2026-11-20T02:02:03Z")),
            ("1m", at("2026-11-21T00:00:00Z")),
        ] {
            assert_eq!(point(text, now, &zone), Ok(want), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "1.x", "2026-11-20T25:00:00Z"] {
            assert!(point(wrong, now, &Zone::UTC).is_err(), "{wrong}");
        }
    }
}
