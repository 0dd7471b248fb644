//! What plain scalars look like: YAML 1.2's core schema, and of YAML 1.1 that `0666` is octal.

/// What a scalar without quotes means where it may be anything.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are what they are")]
pub enum Scalar {
    Null,
    Truth(bool),
    Integer(i64),
    Float(f64),
    /// Nothing but text.
    Text,
}

/// What a plain scalar means.
#[must_use]
pub fn scalar(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Truth(true),
        "false" | "False" | "FALSE" => return Scalar::Truth(false),
        _ => {}
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Scalar::Text;
    }
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| unsigned(digits.strip_prefix(prefix)?, base));
    if let Some(value) = based {
        return Scalar::Integer(sign * value);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return unsigned(digits, 8).map_or(Scalar::Text, |value| Scalar::Integer(sign * value));
    }
    if let Ok(value) = text.parse() {
        return Scalar::Integer(value);
    }
    let is_float =
        digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let float = is_float.then(|| text.parse::<f64>().ok()).flatten().filter(|value| value.is_finite());
    float.map_or(Scalar::Text, Scalar::Float)
}

/// A number of digits alone: a second sign is none.
fn unsigned(digits: &str, base: u32) -> Option<i64> {
    i64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with(['+', '-']))
}

/// A plain scalar where only text is taken: numbers as they are written from their value.
pub(crate) fn text_of(text: &str) -> String {
    match scalar(text) {
        Scalar::Truth(truth) => truth.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Float(value) if value == 0.0 || (1e-4..1e21).contains(&value.abs()) => value.to_string(),
        Scalar::Float(_) | Scalar::Null | Scalar::Text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_they_look_like() {
        for (text, want) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("nUll", Scalar::Text),
            ("True", Scalar::Truth(true)),
            ("yes", Scalar::Text),
            ("0", Scalar::Integer(0)),
            ("-12", Scalar::Integer(-12)),
            ("+5", Scalar::Integer(5)),
            ("0666", Scalar::Integer(0o666)),
            ("-010", Scalar::Integer(-8)),
            ("08", Scalar::Integer(8)),
            ("0x1F", Scalar::Integer(31)),
            ("0o17", Scalar::Integer(15)),
            ("0b101", Scalar::Integer(5)),
            ("0x-1", Scalar::Text),
            ("1.5", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("1e3", Scalar::Float(1000.0)),
            ("1e999", Scalar::Text),
            ("0.6.0", Scalar::Text),
            ("-", Scalar::Text),
            (".", Scalar::Text),
            ("99999999999999999999", Scalar::Float(1e20)),
        ] {
            assert_eq!(scalar(text), want, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_from_their_value() {
        for (text, want) in [
            ("1.10", "1.1"),
            ("0x1f", "31"),
            ("TRUE", "true"),
            ("1e30", "1e30"),
            ("0666", "438"),
            ("3.0", "3"),
            ("a b", "a b"),
        ] {
            assert_eq!(text_of(text), want);
        }
    }
}
