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

/// Characters that terminals draw in two columns (Unicode's East Asian Width, W and F), and those that they draw upon others.
fn char_columns(c: char) -> usize {
    match u32::from(c) {
        0..=0x2ff => 1,
        0x300..=0x36f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x231a..=0x231b | 0x2329..=0x232a | 0x23e9..=0x23ec | 0x23f0 | 0x23f3 => 2,
        0x25fd..=0x25fe | 0x2614..=0x2615 | 0x2648..=0x2653 | 0x267f | 0x2693 | 0x26a1 | 0x26aa..=0x26ab => 2,
        0x26bd..=0x26be | 0x26c4..=0x26c5 | 0x26ce | 0x26d4 | 0x26ea | 0x26f2..=0x26f3 | 0x26f5 | 0x26fa => 2,
        0x26fd | 0x2705 | 0x270a..=0x270b | 0x2728 | 0x274c | 0x274e | 0x2753..=0x2755 | 0x2757 => 2,
        0x2795..=0x2797 | 0x27b0 | 0x27bf | 0x2b1b..=0x2b1c | 0x2b50 | 0x2b55 | 0x2e80..=0x303e => 2,
        0x3041..=0xa4cf | 0xa960..=0xa97c | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe10..=0xfe19 => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x16fe0..=0x18cff | 0x1b000..=0x1b2ff => 2,
        0x1f004 | 0x1f0cf | 0x1f18e | 0x1f191..=0x1f19a | 0x1f200..=0x1f64f | 0x1f680..=0x1f6ff => 2,
        0x1f7e0..=0x1f7f0 | 0x1f900..=0x1f9ff | 0x1fa70..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
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
