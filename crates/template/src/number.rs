//! Numbers as Go writes them.

use serde_json::{Number, Value};

/// An integer of base 2, 8, 10 or 16, or a decimal fraction.
pub(super) fn parse(text: &str) -> Option<Value> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let prefixed = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
    let integer = if let Some(hex) = prefixed(["0x", "0X"]) {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(octal) = prefixed(["0o", "0O"]) {
        i64::from_str_radix(octal, 8).ok()
    } else if let Some(binary) = prefixed(["0b", "0B"]) {
        i64::from_str_radix(binary, 2).ok()
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        i64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    };
    if let Some(integer) = integer {
        return Some(Value::from(if negative { -integer } else { integer }));
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let float: f64 = digits.parse().ok()?;
    Number::from_f64(if negative { -float } else { float }).map(Value::Number)
}
