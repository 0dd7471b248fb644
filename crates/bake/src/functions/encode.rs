//! Encodings, hashes and names that are unique.

use std::fmt::Write;

use base64::Engine;
use sha2::Digest;

use super::{Host, Result, check_count, check_length, text, whole};
use crate::entry;
use crate::value::Value;

/// How dear a password hash may be, and how many there may be: each takes time on purpose.
const MAX_COST: i64 = 12;
const MAX_SLOW: u32 = 8;

pub(super) fn base64_encode(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(text(&it[0])?)))
}

pub(super) fn base64_decode(_: &mut Host, it: &[Value]) -> Result<Value> {
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(text(&it[0])?).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map(Value::String).map_err(|_| "the decoded bytes are not UTF-8".to_owned())
}

/// As a part of a query, in which a space is `+`.
pub(super) fn url_encode(_: &mut Host, it: &[Value]) -> Result<Value> {
    let text = text(&it[0])?;
    check_length(text.len().checked_mul(3))?;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            _ => write_hex(&mut encoded, "%", byte, true),
        }
    }
    Ok(Value::String(encoded))
}

fn write_hex(text: &mut String, before: &str, byte: u8, upper: bool) {
    // Writing to a string cannot fail.
    let _written =
        if upper { write!(text, "{before}{byte:02X}") } else { write!(text, "{before}{byte:02x}") };
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write_hex(&mut text, "", *byte, false);
    }
    text
}

pub(super) fn json_encode(_: &mut Host, it: &[Value]) -> Result<Value> {
    let text = it[0].to_json().to_string();
    check_length(text.len().checked_mul(2))?;
    Ok(Value::String(crate::print::as_go_escapes(&text)))
}

pub(super) fn json_decode(_: &mut Host, it: &[Value]) -> Result<Value> {
    let json: serde_json::Value = serde_json::from_str(&text(&it[0])?).map_err(|error| error.to_string())?;
    Value::from_json(&json).ok_or_else(|| "a number is too large".to_owned())
}

/// Rows as objects, whose names are in the first row.
pub(super) fn csv_decode(_: &mut Host, it: &[Value]) -> Result<Value> {
    let text = text(&it[0])?;
    let mut rows = records(&text).into_iter().map(|record| entry::fields(&record));
    let names = rows.next().ok_or("missing header line")??;
    let mut objects = Vec::new();
    for row in rows {
        let row = row?;
        if row.len() != names.len() {
            return Err(format!("a row has {} fields, the header {}", row.len(), names.len()));
        }
        let values = row.into_iter().map(Value::String);
        objects.push(Value::Object(names.iter().cloned().zip(values).collect()));
        check_count(objects.len().checked_mul(names.len()))?;
    }
    Ok(Value::List(objects))
}

/// The lines of a CSV text; within quotes, a newline is text.
fn records(text: &str) -> Vec<String> {
    let (mut records, mut record, mut quoted) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        quoted ^= character == '"';
        if character == '\n' && !quoted {
            records.push(std::mem::take(&mut record));
        } else {
            record.push(character);
        }
    }
    records.push(record);
    let records =
        records.into_iter().map(|record| record.strip_suffix('\r').map(str::to_owned).unwrap_or(record));
    records.filter(|record| !record.is_empty()).collect()
}

pub(super) fn md5(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(hex(&md5::Md5::digest(text(&it[0])?))))
}

pub(super) fn sha1(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(hex(&sha1::Sha1::digest(text(&it[0])?))))
}

pub(super) fn sha256(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(hex(&sha2::Sha256::digest(text(&it[0])?))))
}

pub(super) fn sha512(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(hex(&sha2::Sha512::digest(text(&it[0])?))))
}

pub(super) fn bcrypt(host: &mut Host, it: &[Value]) -> Result<Value> {
    let cost = it.get(1).map_or(Ok(10), whole)?;
    let cost = u32::try_from(cost).ok().filter(|cost| (4..=MAX_COST).contains(&i64::from(*cost)));
    let cost = cost.ok_or_else(|| format!("the cost must be between 4 and {MAX_COST}"))?;
    host.slow += 1;
    if host.slow > MAX_SLOW {
        return Err(format!("it may be called {MAX_SLOW} times"));
    }
    let mut salt = [0; 16];
    salt.copy_from_slice(&host.random()?[..16]);
    let hash = ::bcrypt::hash_with_salt(text(&it[0])?, cost, salt).map_err(|error| error.to_string())?;
    Ok(Value::String(hash.format_for_version(::bcrypt::Version::TwoA)))
}

fn uuid(mut bytes: [u8; 16], version: u8) -> Value {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
    Value::String([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

pub(super) fn uuid_v4(host: &mut Host, _: &[Value]) -> Result<Value> {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&host.random()?[..16]);
    Ok(uuid(bytes, 4))
}

/// The name-based UUID of a name in a namespace: `dns`, `url`, `oid`, `x500`, or a UUID.
pub(super) fn uuid_v5(_: &mut Host, it: &[Value]) -> Result<Value> {
    let namespace = text(&it[0])?;
    let namespace = match namespace.as_str() {
        "dns" => "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "url" => "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
        "oid" => "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
        "x500" => "6ba7b814-9dad-11d1-80b4-00c04fd430c8",
        other => other,
    };
    let digits: String = namespace.chars().filter(|character| *character != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let number = number.ok_or_else(|| format!("{namespace:?} is no namespace"))?;
    let hash = sha1::Sha1::new().chain_update(number.to_be_bytes()).chain_update(text(&it[1])?).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Ok(uuid(bytes, 5))
}
