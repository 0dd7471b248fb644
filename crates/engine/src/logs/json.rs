//! A line of a json-file log, read without a JSON library where it is written as Docker and Skiff write it.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-01-02T03:04:05.6Z"}
//! ```
//!
//! Everything else that is JSON, such as other orders of the fields, takes the slow way; what is none, no way.

use serde::Deserialize;

use crate::info::{LogAttributes, LogLine, LogTime};

const BEGIN: &[u8] = br#"{"log":""#;

/// Takes a line, without its line feed, apart; None where it is no entry of a log. `scratch` gets the text.
pub(super) fn parse<'a>(line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<LogLine<'a>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some((stderr, attributes, time)) = fast(line, scratch) {
        let attributes = attributes.map_or(LogAttributes::None, LogAttributes::Json);
        return Some(LogLine { time: LogTime::Text(time), stderr, text: scratch, attributes });
    }
    slow(line, scratch).or_else(|| rescued(line).and_then(|line| slow(line, scratch))).map(|found| LogLine {
        time: LogTime::At(found.1),
        stderr: found.0,
        text: scratch,
        attributes: LogAttributes::Owned(found.2),
    })
}

type Fast<'a> = (bool, Option<&'a [u8]>, &'a str);

fn fast<'a>(line: &'a [u8], text: &mut Vec<u8>) -> Option<Fast<'a>> {
    text.clear();
    let rest = unescape(line.strip_prefix(BEGIN)?, text)?;
    let rest = rest.strip_prefix(br#","stream":""#)?;
    let (stderr, rest) = match rest.strip_prefix(br#"stdout",""#) {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(br#"stderr",""#)?),
    };
    let (attributes, rest) = match rest.strip_prefix(br#"attrs":"#) {
        None => (None, rest),
        Some(rest) => {
            // A quote within a value is escaped, so this is the last field.
            let end = memchr::memmem::rfind(rest, br#","time":""#)?;
            (Some(&rest[..end]), &rest[end + 2..])
        }
    };
    let time = rest.strip_prefix(br#"time":""#)?.strip_suffix(br#""}"#)?;
    // What is no time is found out where the time matters.
    let is_plain = !time.contains(&b'"') && !time.contains(&b'\\');
    std::str::from_utf8(time).ok().filter(|_| is_plain).map(|time| (stderr, attributes, time))
}

/// Appends what a JSON string means; gives what follows its closing quote.
fn unescape<'a>(mut from: &'a [u8], into: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', from)?;
        let (plain, rest) = from.split_at(at);
        into.extend_from_slice(plain);
        if rest[0] == b'"' {
            return Some(&rest[1..]);
        }
        let byte = match rest.get(1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            plain @ (b'"' | b'\\' | b'/') => *plain,
            b'u' => {
                let (character, length) = code_point(&rest[2..])?;
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                from = &rest[2 + length..];
                continue;
            }
            _ => return None,
        };
        into.push(byte);
        from = &rest[2..];
    }
}

/// What follows `\u`, with the second half of a pair; and how many bytes it takes. Half a pair is U+FFFD, as in Go.
fn code_point(text: &[u8]) -> Option<(char, usize)> {
    let unit = |digits: Option<&[u8]>| {
        digits?.iter().try_fold(0_u32, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    };
    let first = unit(text.get(..4))?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let second = text.get(4..6).filter(|mark| mark == b"\\u").and_then(|_| unit(text.get(6..10)));
    match second {
        Some(second @ 0xDC00..0xE000) if first < 0xDC00 => {
            let joined = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            char::from_u32(joined).map(|character| (character, 10))
        }
        _ => Some((char::REPLACEMENT_CHARACTER, 4)),
    }
}

#[derive(Deserialize)]
struct Entry {
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    attrs: Option<std::collections::BTreeMap<String, String>>,
    time: oci::Timestamp,
}

type Slow = (bool, oci::Timestamp, Vec<(String, String)>);

fn slow(line: &[u8], text: &mut Vec<u8>) -> Option<Slow> {
    let entry: Entry = serde_json::from_slice(line).ok()?;
    text.clear();
    text.extend_from_slice(entry.log.as_bytes());
    Some((entry.stream == "stderr", entry.time, entry.attrs.unwrap_or_default().into_iter().collect()))
}

/// The last entry in a line that holds other things before it: half an entry, or the zeros of a block that a power
/// loss has kept from the disk. A quote inside a string is escaped, so that this is no part of one.
fn rescued(line: &[u8]) -> Option<&[u8]> {
    memchr::memmem::rfind(line, BEGIN).filter(|&at| at > 0).map(|at| &line[at..])
}

/// The attributes of an entry, as its JSON says.
pub(crate) fn attributes(text: &[u8]) -> Vec<(String, String)> {
    let parsed: Result<std::collections::BTreeMap<String, String>, _> = serde_json::from_slice(text);
    parsed.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(line: &[u8]) -> String {
        let mut scratch = Vec::new();
        parse(line, &mut scratch).map_or_else(
            || "none".to_owned(),
            |found| {
                let mut time = Vec::new();
                found.time.append_fixed(&mut time);
                let text = String::from_utf8_lossy(found.text).into_owned();
                let stream = if found.stderr { "err" } else { "out" };
                format!("{} {stream} {:?} {text:?}", String::from_utf8(time).unwrap(), found.attributes())
            },
        )
    }

    #[test]
    fn entries_are_read_in_dockers_form_and_in_any_other() {
        let want = r#"2026-01-02T03:04:05.600000000Z out [] "a\n""#;
        for line in [
            r#"{"log":"a\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}"#,
            r#"{"time":"2026-01-02T03:04:05.6Z", "stream":"stdout", "log":"a\n"}"#,
            r#"{"log":"\u0061\u000a","stream":"stdout","attrs":{},"time":"2026-01-02T03:04:05.6Z"}"#,
            "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.6Z\"}\r",
            r#"{"log":"torn{"log":"a\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}"#,
            "\0\0\0{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.6Z\"}",
        ] {
            assert_eq!(show(line.as_bytes()), want, "{line}");
        }
        assert_eq!(
            show(br#"{"log":"\ud83d\ude00 \ud83d \"\/\\","stream":"stderr","attrs":{"t":"\"}","a":"1"},"time":"2026-01-02T03:04:05Z"}"#),
            "2026-01-02T03:04:05.000000000Z err [(\"a\", \"1\"), (\"t\", \"\\\"}\")] \"\u{1f600} \u{fffd} \\\"/\\\\\""
        );
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for line in [
            "",
            "{",
            "null",
            r#"{"log":"a"#,
            r#"{"log":"a","stream":"stdout""#,
            r#"{"log":"\x"}"#,
            "{\"log\":3}",
        ] {
            assert_eq!(show(line.as_bytes()), "none", "{line}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(text in any::<String>()) {
            let text = serde_json::to_string(&text).unwrap();
            let line = format!("{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.6Z\"}}");
            let (mut quick, mut thorough) = (Vec::new(), Vec::new());
            prop_assert!(fast(line.as_bytes(), &mut quick).is_some());
            slow(line.as_bytes(), &mut thorough).unwrap();
            prop_assert_eq!(quick, thorough);
        }

        #[test]
        fn no_bytes_are_too_strange(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut scratch = Vec::new();
            let _found = parse(&line, &mut scratch);
            let line = [BEGIN, &line].concat();
            let _found = parse(&line, &mut scratch);
        }
    }
}
