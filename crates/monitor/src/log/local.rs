//! One entry of a `local` log: Docker's protocol buffer between its length and its length.
//!
//! ```text
//! u32 length │ LogEntry { 1 source, 2 time_nano, 3 line, 4 partial, 5 { 1 last, 2 id, 3 ordinal }, 6 { 1 key, 2 value } } │ u32 length
//! ```
//! Lengths are big-endian. The line goes without its line feed.

use super::entry::Entry;

/// Appends `entry`; `attributes` is what [`attributes`] made.
pub(crate) fn append(into: &mut Vec<u8>, entry: &Entry<'_>, attributes: &[u8]) {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    bytes(into, 1, entry.source.name().as_bytes());
    number(into, 2, entry.time_ns.cast_unsigned());
    bytes(into, 3, entry.line());
    if let Some(part) = &entry.part {
        number(into, 4, 1);
        let mut metadata = Vec::with_capacity(80);
        number(&mut metadata, 1, u64::from(part.last));
        bytes(&mut metadata, 2, part.id.as_bytes());
        number(&mut metadata, 3, u64::from(part.ordinal));
        bytes(into, 5, &metadata);
    }
    into.extend_from_slice(attributes);
    let length = u32::try_from(into.len() - start - 4).unwrap_or(u32::MAX).to_be_bytes();
    into[start..start + 4].copy_from_slice(&length);
    into.extend_from_slice(&length);
}

/// What every entry ends with.
pub(crate) fn attributes(pairs: &[(String, String)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (key, value) in pairs {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, key.as_bytes());
        bytes(&mut pair, 2, value.as_bytes());
        bytes(&mut encoded, 6, &pair);
    }
    encoded
}

/// The length of the whole entries that `written` begins with.
pub(crate) fn whole(written: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = written.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 8 + u32::from_be_bytes(*length) as usize;
        if end > written.len() {
            break;
        }
        at = end;
    }
    at
}

/// How many entries there are.
pub(crate) fn count(mut entries: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(length) = entries.first_chunk() {
        let end = 8 + u32::from_be_bytes(*length) as usize;
        entries = entries.get(end..).unwrap_or_default();
        count += 1;
    }
    count
}

/// A field that says nothing is left out, as the format wants it.
fn number(into: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        into.push(field << 3);
        varint(into, value);
    }
}

fn bytes(into: &mut Vec<u8>, field: u8, value: &[u8]) {
    if !value.is_empty() {
        into.push(field << 3 | 2);
        varint(into, value.len() as u64);
        into.extend_from_slice(value);
    }
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            into.push(low & 0x7F);
            return;
        }
        into.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Source;
    use super::super::lines::Part;
    use super::*;

    #[test]
    fn an_entry_is_what_the_peers_library_makes_of_it() {
        let mut written = Vec::new();
        let entry = Entry { source: Source::Stdout, text: b"hi\n", part: None, time_ns: 1_234_567_890 };
        append(&mut written, &entry, &[]);
        assert_eq!(
            written,
            b"\x00\x00\x00\x12\x0a\x06stdout\x10\xd2\x85\xd8\xcc\x04\x1a\x02hi\x00\x00\x00\x12"
        );
        let part = Part { id: "x", ordinal: 2, last: true };
        let entry = Entry { source: Source::Stderr, text: b"a\n", part: Some(part), time_ns: 1 };
        written.clear();
        append(&mut written, &entry, &attributes(&[("k".to_owned(), "v".to_owned())]));
        let body = b"\x0a\x06stderr\x10\x01\x1a\x01a\x20\x01\x2a\x07\x08\x01\x12\x01x\x18\x02\x32\x06\x0a\x01k\x12\x01v";
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        assert_eq!(written, [&length[..], body, &length[..]].concat());
    }

    #[test]
    fn whole_entries_are_told_from_a_torn_one() {
        let mut written = Vec::new();
        let entry = Entry { source: Source::Stdout, text: b"hi\n", part: None, time_ns: 1 };
        append(&mut written, &entry, &[]);
        let one = written.len();
        append(&mut written, &entry, &[]);
        for (length, expected) in [(0, 0), (3, 0), (one, one), (one + 5, one), (2 * one, 2 * one)] {
            assert_eq!(whole(&written[..length]), expected, "{length}");
        }
        assert_eq!((count(&written), count(&[])), (2, 0));
    }
}
