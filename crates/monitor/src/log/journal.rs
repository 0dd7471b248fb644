//! An entry of systemd's journal, in its native protocol.
//!
//! ```text
//! KEY=value\n      or, where the value has line feeds:      KEY\n │ u64 length, little-endian │ value │ \n
//! ```
//! One datagram is one entry; one that is too large for a datagram goes in a sealed memfd.

use super::entry::{Entry, Source};

/// What every entry says, once and for all.
pub(crate) fn fields(pairs: &[(String, String)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (key, value) in pairs {
        field(&mut encoded, key, value.as_bytes());
    }
    encoded
}

/// An entry with the fields that [`fields`] made.
pub(crate) fn encode(entry: &Entry<'_>, fields: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(fields.len() + entry.text.len() + 64);
    // err and info of syslog, as Docker tells the streams apart.
    let priority = match entry.source {
        Source::Stdout => "6",
        Source::Stderr => "3",
    };
    field(&mut encoded, "PRIORITY", priority.as_bytes());
    field(&mut encoded, "MESSAGE", entry.line());
    if let Some(part) = &entry.part {
        field(&mut encoded, "CONTAINER_PARTIAL_ID", part.id.as_bytes());
        field(&mut encoded, "CONTAINER_PARTIAL_ORDINAL", part.ordinal.to_string().as_bytes());
        field(&mut encoded, "CONTAINER_PARTIAL_LAST", part.last.to_string().as_bytes());
        if !part.last {
            field(&mut encoded, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
    }
    encoded.extend_from_slice(fields);
    encoded
}

fn field(into: &mut Vec<u8>, key: &str, value: &[u8]) {
    into.extend_from_slice(key.as_bytes());
    if value.contains(&b'\n') {
        into.push(b'\n');
        into.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        into.push(b'=');
    }
    into.extend_from_slice(value);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::lines::Part;
    use super::*;

    #[test]
    fn an_entry_has_a_field_on_each_line_and_lengths_where_lines_are_in_it() {
        let fields = fields(&[
            ("CONTAINER_NAME".to_owned(), "web".to_owned()),
            ("NOTE".to_owned(), "a\nb".to_owned()),
        ]);
        let entry = Entry { source: Source::Stdout, text: b"hi\n", part: None, time_ns: 1 };
        assert_eq!(
            encode(&entry, &fields),
            b"PRIORITY=6\nMESSAGE=hi\nCONTAINER_NAME=web\nNOTE\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
        let part = Part { id: "ab", ordinal: 2, last: false };
        let entry = Entry { source: Source::Stderr, text: b"x", part: Some(part), time_ns: 1 };
        assert_eq!(
            encode(&entry, b""),
            b"PRIORITY=3\nMESSAGE=x\nCONTAINER_PARTIAL_ID=ab\nCONTAINER_PARTIAL_ORDINAL=2\n\
              CONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n"
        );
    }
}
