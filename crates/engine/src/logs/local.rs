//! An entry of Docker's `local` log: a protocol buffer between its length and its length.
//!
//! ```text
//! u32 length │ LogEntry { 1 source, 2 time_nano, 3 line, 4 partial, 5 { 1 last, … }, 6 { 1 key, 2 value } } │ u32 length
//! ```
//! Lengths are big-endian. The line has no line feed; one that is not partial, or is the last part, had one.

use crate::info::{LogAttributes, LogLine, LogTime};

/// No writer makes longer entries: a line is cut at 16 KiB, and attributes are few.
pub(super) const LIMIT: usize = 1 << 20;

/// Takes an entry, without its lengths, apart. `scratch` gets the text.
pub(super) fn parse<'a>(entry: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<LogLine<'a>> {
    let (mut source, mut line, mut time_ns, mut partial, mut last) = (&[][..], &[][..], 0, false, false);
    let mut fields = Fields(entry);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(bytes)) => source = bytes,
            (2, Value::Number(number)) => time_ns = number.cast_signed(),
            (3, Value::Bytes(bytes)) => line = bytes,
            (4, Value::Number(number)) => partial = number != 0,
            (5, Value::Bytes(bytes)) => {
                let mut inner = Fields(bytes);
                while let Some(field) = inner.next()? {
                    if let (1, Value::Number(number)) = field {
                        last = number != 0;
                    }
                }
            }
            _ => {}
        }
    }
    let stderr = match source {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    scratch.clear();
    scratch.extend_from_slice(line);
    if !partial || last {
        scratch.push(b'\n');
    }
    let time = LogTime::Nanoseconds(time_ns);
    Some(LogLine { time, stderr, text: scratch, attributes: LogAttributes::Local(entry) })
}

/// The attributes of an entry.
pub(crate) fn attributes(entry: &[u8]) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut found = Vec::new();
    let mut fields = Fields(entry);
    while let Some(Some(field)) = fields.next() {
        let (6, Value::Bytes(bytes)) = field else { continue };
        let (mut key, mut value) = (String::new(), String::new());
        let mut inner = Fields(bytes);
        while let Some(Some(field)) = inner.next() {
            match field {
                (1, Value::Bytes(bytes)) => key = text(bytes),
                (2, Value::Bytes(bytes)) => value = text(bytes),
                _ => {}
            }
        }
        found.push((key, value));
    }
    found
}

/// The length that stands at the beginning of `bytes`.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    usize::try_from(length).ok()
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field; None where there is none that makes sense, Some(None) at the end.
    #[allow(clippy::option_option, reason = "the end and an error are two things")]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.bytes(8)?),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_reads_as_docker_wrote_it() {
        // What the peer's library makes of source, time, line, a partial one's metadata and one attribute.
        let plain = b"\x0a\x06stdout\x10\xd2\x85\xd8\xcc\x04\x1a\x02hi";
        let mut scratch = Vec::new();
        let line = parse(plain, &mut scratch).unwrap();
        assert_eq!((line.text, line.stderr), (&b"hi\n"[..], false));
        assert!(matches!(line.time, LogTime::Nanoseconds(1_234_567_890)));
        let begun = b"\x0a\x06stderr\x10\x01\x1a\x01a\x20\x01\x2a\x05\x12\x01x\x18\x01";
        assert_eq!(parse(begun, &mut scratch).unwrap().text, b"a");
        let ended = b"\x0a\x06stderr\x10\x01\x1a\x01a\x20\x01\x2a\x07\x08\x01\x12\x01x\x18\x02\x32\x06\x0a\x01k\x12\x01v";
        let line = parse(ended, &mut scratch).unwrap();
        assert_eq!((line.text, line.stderr), (&b"a\n"[..], true));
        assert_eq!(line.attributes(), [("k".to_owned(), "v".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(entry in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut scratch = Vec::new();
            let _found = parse(&entry, &mut scratch);
            let entry = [b"\x0a\x06stdout", &entry[..]].concat();
            let found = parse(&entry, &mut scratch);
            drop(found.map(|line| line.attributes()));
        }
    }
}
