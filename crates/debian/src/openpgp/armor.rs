//! ASCII armor and the clear-signature framework (RFC 9580, sections 6 and 7).
//!
//! ```text
//! -----BEGIN PGP SIGNED MESSAGE-----
//! Hash: SHA256
//!
//! text, where a line that begins with a dash has "- " before it
//! -----BEGIN PGP SIGNATURE-----
//!
//! base 64
//! -----END PGP SIGNATURE-----
//! ```

use std::borrow::Cow;

use super::SignatureError;

const BEGIN_SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";

/// A text and the signatures below it.
#[derive(Clone, Debug)]
pub(super) struct ClearSigned {
    /// What it says.
    pub(super) text: String,
    /// The same as it is hashed: without space at the ends of lines, which end with carriage return and line feed.
    pub(super) canonical: String,
    /// Packets.
    pub(super) signatures: Vec<u8>,
}

impl ClearSigned {
    /// Reads one that is alone: what stood before or behind it would be read as signed by whoever does not look.
    pub(super) fn parse(bytes: &[u8]) -> Result<ClearSigned, SignatureError> {
        let wrong = |reason| SignatureError::NotClearSigned { reason };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let mut lines = text.lines();
        if lines.next() != Some(BEGIN_SIGNED) {
            return Err(wrong("it does not begin with the line that says so"));
        }
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            if !line.starts_with("Hash: ") {
                return Err(wrong("it has a header that is not signed"));
            }
        }
        let (mut text, mut canonical) = (String::new(), String::new());
        let mut armor = None;
        for line in lines.by_ref() {
            let line = match (line.strip_prefix("- "), line.starts_with('-')) {
                (Some(escaped), _) => escaped,
                (None, false) => line,
                (None, true) => {
                    armor = Some(line);
                    break;
                }
            };
            if !canonical.is_empty() || !text.is_empty() {
                canonical.push_str("\r\n");
            }
            // What is read is what was signed, so it loses the same.
            let line = line.trim_end_matches([' ', '\t', '\r']);
            canonical.push_str(line);
            text.push_str(line);
            text.push('\n');
        }
        let begin = armor.ok_or(wrong("it has no signature"))?;
        let rest: Vec<&str> = std::iter::once(begin).chain(lines).collect();
        let signatures = unarmored(rest.join("\n").as_bytes(), "SIGNATURE")?.into_owned();
        Ok(ClearSigned { text, canonical, signatures })
    }
}

/// The bytes of one or more armored blocks, with nothing between them; what is not armored is handed back.
pub(super) fn unarmored<'a>(bytes: &'a [u8], kind: &str) -> Result<Cow<'a, [u8]>, SignatureError> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(bytes.len());
    if !bytes[start..].starts_with(b"-----BEGIN ") {
        return Ok(Cow::Borrowed(bytes));
    }
    let wrong = |reason| SignatureError::Malformed { reason };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("its armor is not UTF-8"))?;
    let (begin, end) = (format!("-----BEGIN PGP {kind}-----"), format!("-----END PGP {kind}-----"));
    let mut lines = text.lines().map(str::trim_end);
    let mut out = Vec::new();
    while let Some(line) = lines.find(|line| !line.is_empty()) {
        if line != begin {
            return Err(wrong("there is something else than an armored block"));
        }
        // Headers say nothing that matters.
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            if !line.contains(": ") {
                return Err(wrong("its armor has no empty line behind its headers"));
            }
        }
        let mut digits = String::new();
        let mut ended = false;
        for line in lines.by_ref() {
            if line == end {
                ended = true;
                break;
            }
            // A sum of 24 bits, which proves nothing.
            if !line.starts_with('=') {
                digits.push_str(line);
            }
        }
        if !ended {
            return Err(wrong("its armor has no end"));
        }
        out.extend(base64(&digits).ok_or(wrong("its armor is not base 64"))?);
    }
    Ok(Cow::Owned(out))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/+/", &[251, 255, 191])]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zg=", "Z===", "====", "Zm 9", "Zm9v\n", "Zg==Zg=="] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
