//! What may reach a terminal of what programs say: text, and colours.
//!
//! A program of a build may be anybody's. One that could move the cursor, set titles, fill the clipboard or make a terminal answer could
//! show what is not so, or type for its user. Colours stay, as compilers' errors have them; they end with their line. The
//! carriage return goes, with which a line could be given another beginning.

use super::characters::rest_of_character;

/// The longest sequence that is believed to be one.
const SEQUENCE: usize = 64;

/// Lets text through, in whatever pieces it comes.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// The beginning of a character or of an escape sequence.
    begun: Vec<u8>,
    /// Whether a colour is on.
    is_coloured: bool,
}

impl Sieve {
    /// What is left of these bytes, and of what was held back of those before.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.byte(*byte, &mut out);
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.begun.first().copied(), byte) {
            // No sequence goes on in another line, so that none hides what follows.
            (_, b'\n') => {
                self.begun.clear();
                if std::mem::take(&mut self.is_coloured) {
                    out.extend_from_slice(b"\x1b[0m");
                }
                out.push(b'\n');
            }
            (Some(0x1b), _) => self.sequence(byte, out),
            (Some(_), 0x80..=0xbf) => {
                if let Some(character) = rest_of_character(&mut self.begun, byte) {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            (_, 0x1b | 0xc2..=0xf4) => {
                self.begun.clear();
                self.begun.push(byte);
            }
            (_, _) => {
                self.begun.clear();
                if matches!(byte, b'\t' | b' '..=b'~') {
                    out.push(byte);
                }
            }
        }
    }

    /// One more byte of `ESC …`.
    fn sequence(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.begun.push(byte);
        let is_over = match self.begun.as_slice() {
            // Strings, such as titles, end with a bell or with `ESC \`.
            [_, b']' | b'P' | b'X' | b'^' | b'_', rest @ ..] => {
                matches!(rest, [.., 0x07 | 0x18] | [.., 0x1b, b'\\'])
            }
            [_, b'['] => false,
            [_, b'[', .., last] => (0x40..=0x7e).contains(last),
            // One of two or three bytes, as those that choose characters.
            [_, .., last] => !(0x20..=0x2f).contains(last),
            [] | [_] => true,
        };
        if is_over {
            let sequence = std::mem::take(&mut self.begun);
            if let [_, b'[', numbers @ .., b'm'] = sequence.as_slice()
                && numbers.iter().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'))
            {
                self.is_coloured = !matches!(numbers, [] | [b'0']);
                out.extend_from_slice(&sequence);
            }
        } else if self.begun.len() > SEQUENCE
            && !matches!(self.begun.get(1), Some(b']' | b'P' | b'X' | b'^' | b'_'))
        {
            self.begun.clear();
        } else if self.begun.len() > SEQUENCE {
            // A string may be of any length, and nothing of it is shown: only how it may end is kept.
            self.begun.truncate(2);
            self.begun.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sieve;

    fn passed(text: &[u8]) -> Vec<u8> {
        let whole = Sieve::default().pass(text);
        let mut pieces = Sieve::default();
        let again: Vec<u8> = text.iter().flat_map(|byte| pieces.pass(&[*byte])).collect();
        assert_eq!(again, whole, "in pieces it is the same");
        whole
    }

    #[test]
    fn text_and_colours_come_through_and_nothing_else() {
        let long = [b"a\x1b]52;c;".as_slice(), &b"Z".repeat(100_000), b"\x07b"].concat();
        for (text, want) in [
            (&b"plain \xc3\xa4 \t!\n"[..], &b"plain \xc3\xa4 \t!\n"[..]),
            (b"\x1b[31mred\x1b[0m\n", b"\x1b[31mred\x1b[0m\n"),
            (b"\x1b[1;38:5:9mred\nnext\n", b"\x1b[1;38:5:9mred\x1b[0m\nnext\n"),
            (b"\x1b[2J\x1b[1;1Hhome\x1b[?1049h\n", b"home\n"),
            (b"a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\n", b"abc\n"),
            (b"a\x1bP+q544e\x1b\\b\x1b_x\x1b\\c\x1b^y\x1b\\d\n", b"abcd\n"),
            (b"a\x1b]never ends\nb\n", b"a\nb\n"),
            (b"a\x1b(0b\x1bcc\x1b7d\n", b"abcd\n"),
            (b"real\rfake\x08\x07\x00\x7f\n", b"realfake\n"),
            ("a\u{9b}2Jb\u{202e}c\n".as_bytes(), b"a2Jbc\n"),
            (b"\xff\xfe\xc3(\xe2\x82x\n", b"(x\n"),
            (b"\x1b[>c\x1b[6n\x1b[?m\n", b"\n"),
            (&long, b"ab"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&passed(text)),
                String::from_utf8_lossy(want),
                "{:?}",
                String::from_utf8_lossy(&text[..text.len().min(60)])
            );
        }
    }

    #[test]
    fn nothing_is_held_back_for_long() {
        let mut sieve = Sieve::default();
        for start in [&b"\x1b["[..], b"\x1b]", b"\x1b(", b"\xf0"] {
            sieve.pass(start);
            sieve.pass(&b"1".repeat(1 << 16));
            assert!(sieve.begun.len() < 100, "{start:?}");
        }
    }
}
