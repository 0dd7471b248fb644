//! `--detach-keys`: keys with commas between them, each a character or `ctrl-` and one.

/// Docker's: ctrl-p, ctrl-q.
pub(crate) const DEFAULT: &[u8] = b"\x10\x11";

/// The bytes a terminal sends for `text`.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let unknown = || format!("unknown key {text:?}: want a character, or ctrl- and one of a-z @ [ \\ ] ^ _");
    if let [byte @ 0x20..=0x7e] = text.as_bytes() {
        return Ok(*byte);
    }
    match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
        Some([b'@']) => Ok(0),
        Some([sign @ b'['..=b'_']) => Ok(sign - b'[' + 27),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_the_bytes_that_a_terminal_sends() {
        for (text, bytes) in [
            ("", DEFAULT),
            ("ctrl-p,ctrl-q", DEFAULT),
            ("a", b"a"),
            ("ctrl-a,b,ctrl-z", b"\x01b\x1a"),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["ctrl-", "ctrl-A", "ctrl-1", "ab", ",", "a,", "é", "ctrl-pq"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
