//! One line of a json-file log, written without a JSON library: a container may print faster than one works.

/// Appends `{"log":…,"stream":…,"attrs":…,"time":…}` and a line end. `attributes` is what [`attributes`] made.
pub(crate) fn append_line(into: &mut Vec<u8>, line: &[u8], stream: &str, attributes: &[u8], time: &str) {
    into.reserve(line.len() + attributes.len() + 80);
    into.extend_from_slice(br#"{"log":""#);
    append_text(into, line);
    into.extend_from_slice(br#"","stream":""#);
    into.extend_from_slice(stream.as_bytes());
    into.push(b'"');
    into.extend_from_slice(attributes);
    into.extend_from_slice(br#","time":""#);
    into.extend_from_slice(time.as_bytes());
    into.extend_from_slice(b"\"}\n");
}

/// `,"attrs":{…}`, or nothing where there are none.
pub(crate) fn attributes(pairs: &[(String, String)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (key, value) in pairs {
        encoded.extend_from_slice(if encoded.is_empty() { br#","attrs":{""# } else { br#",""# });
        append_text(&mut encoded, key.as_bytes());
        encoded.extend_from_slice(br#"":""#);
        append_text(&mut encoded, value.as_bytes());
        encoded.push(b'"');
    }
    if !encoded.is_empty() {
        encoded.push(b'}');
    }
    encoded
}

/// Appends `text` as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD, one for each byte;
/// what HTML or JavaScript might take amiss is escaped, as Docker escapes it.
fn append_text(into: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        append_valid(into, chunk.valid());
        for _ in chunk.invalid() {
            into.extend_from_slice(br"\ufffd");
        }
    }
}

fn append_valid(into: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if !NOTABLE[usize::from(byte)] {
            at += 1;
            continue;
        }
        let (length, escape): (usize, &[u8]) = match byte {
            b'"' => (1, br#"\""#),
            b'\\' => (1, br"\\"),
            b'\n' => (1, br"\n"),
            b'\r' => (1, br"\r"),
            0xE2 => match &bytes[at..] {
                [_, 0x80, 0xA8, ..] => (3, br"\u2028"),
                [_, 0x80, 0xA9, ..] => (3, br"\u2029"),
                _ => {
                    at += 3;
                    continue;
                }
            },
            _ => (1, b""),
        };
        into.extend_from_slice(&bytes[plain_from..at]);
        if escape.is_empty() {
            into.extend_from_slice(br"\u00");
            into.push(HEX[usize::from(byte >> 4)]);
            into.push(HEX[usize::from(byte & 15)]);
        } else {
            into.extend_from_slice(escape);
        }
        at += length;
        plain_from = at;
    }
    into.extend_from_slice(&bytes[plain_from..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes that do not stand for themselves, or may begin a character that does not.
const NOTABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'&' as usize] = true;
    table[0xE2] = true;
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &[u8]) -> String {
        let mut written = Vec::new();
        append_line(&mut written, text, "stdout", b"", "2026-01-02T03:04:05.6Z");
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_line_reads_as_dockers_does() {
        for (text, expected) in [
            (&b"hello\n"[..], r"hello\n"),
            (b"tab\tbell\x07", r"tab\u0009bell\u0007"),
            (b"quote\" slash\\ cr\r", r#"quote\" slash\\ cr\r"#),
            (b"<a&b>", r"\u003ca\u0026b\u003e"),
            ("dots… gr\u{fc}n \u{2028}\u{2029}".as_bytes(), r"dots… grün \u2028\u2029"),
            (b"bad \xff\xfe \xe2\x80", r"bad \ufffd\ufffd \ufffd\ufffd"),
            (b"", ""),
        ] {
            let expected = format!(
                "{{\"log\":\"{expected}\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.6Z\"}}\n"
            );
            assert_eq!(line(text), expected);
        }
    }

    #[test]
    fn attributes_stand_before_the_time() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let attributes = attributes(&[pair("a\"b", "1"), pair("c", "<")]);
        let mut written = Vec::new();
        append_line(&mut written, b"x\n", "stderr", &attributes, "T");
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"a\\\"b\":\"1\",\"c\":\"\\u003c\"},\"time\":\"T\"}\n"
        );
    }

    proptest! {
        #[test]
        fn a_json_reader_gets_the_text_back(text in ".*") {
            let parsed: serde_json::Value = serde_json::from_str(&line(text.as_bytes())).unwrap();
            prop_assert_eq!(parsed["log"].as_str().unwrap(), text);
        }

        #[test]
        fn any_bytes_make_one_line_of_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = line(&bytes);
            prop_assert_eq!(line.matches('\n').count(), 1);
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    }
}
