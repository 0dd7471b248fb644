//! Sizes and ages, in Docker's words.

use std::time::Duration;

use oci::Timestamp;

/// Units of 1000.
const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
/// Units of 1024.
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `77.8MB`: so many significant digits.
pub(crate) fn size(bytes: u64, digits: usize) -> String {
    scaled(bytes, 1000.0, &DECIMAL, digits)
}

/// `1.944GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

#[allow(clippy::cast_precision_loss, reason = "three or four digits are shown")]
fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // Rounding may reach the next unit: 999,950 bytes are 1 MB, not 1000 kB.
    while unit + 1 < units.len() && significant(value, digits).parse::<f64>().unwrap_or(value) >= base {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// Go's `%.3g` for values that need no exponent.
fn significant(value: f64, digits: usize) -> String {
    let mut whole = 1;
    let mut bound = 10.0;
    while value >= bound && whole < digits {
        whole += 1;
        bound *= 10.0;
    }
    let text = format!("{value:.*}", digits - whole);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `3 minutes`, `About an hour`.
pub(crate) fn duration(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `3 minutes ago`, counted from the second in which it was: Docker's server tells its clients no more of it.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let second = Timestamp::new(time.seconds(), 0).unwrap_or(time);
    format!("{} ago", duration(now.since(second)))
}

/// `sha256:` and all but the first twelve digits cut off.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// At most `limit` columns, the last of them `…` when something is cut off. Wide characters fill two.
pub(crate) fn ellipsis(text: &str, limit: usize) -> String {
    if columns(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += char_columns(c);
        if used >= limit {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// How many columns of a terminal it fills.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Two where terminals draw a character so wide, none where they draw it upon another (Unicode Standard Annex 11). One of what has none:
/// what moves the cursor is not for being shown.
fn char_columns(c: char) -> usize {
    unicode_width::UnicodeWidthChar::width(c).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_or_four_digits() {
        for (bytes, digits, text) in [
            (0, 3, "0B"),
            (7, 3, "7B"),
            (999, 3, "999B"),
            (1000, 3, "1kB"),
            (4_261_550, 3, "4.26MB"),
            (77_800_000, 3, "77.8MB"),
            (187_694_648, 3, "188MB"),
            (999_499, 3, "999kB"),
            (999_600, 3, "1MB"),
            (1_234_567_890, 4, "1.235GB"),
            (1_100_000, 4, "1.1MB"),
            (u64::MAX, 3, "18.4EB"),
        ] {
            assert_eq!(size(bytes, digits), text, "{bytes}");
        }
        assert_eq!(binary_size(2_087_000_000), "1.944GiB");
    }

    #[test]
    fn an_age_is_counted_from_the_whole_second() {
        let at = |seconds, nanoseconds| Timestamp::new(seconds, nanoseconds).unwrap();
        assert_eq!(ago(at(100, 900_000_000), at(107, 100_000_000)), "7 seconds ago");
        assert_eq!(ago(at(100, 0), at(106, 999_999_999)), "6 seconds ago");
    }

    #[test]
    fn ages_are_those_of_docker() {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn characters_have_the_columns_that_terminals_give_them() {
        for (text, want) in
            [("abc", 3), ("\u{65e5}\u{672c}", 4), ("\u{2705}\u{1f680}\u{26a1}", 6), ("e\u{301}", 1)]
        {
            assert_eq!(columns(text), want, "{text}");
        }
    }

    #[test]
    fn ids_and_texts_are_shortened() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("0123456789", 10), "0123456789");
        assert_eq!(ellipsis("01234567890", 10), "012345678…");
        assert_eq!(ellipsis("日本語日本語", 7), "日本語…");
    }
}
