//! Strings and paths.

use super::{Host, Result, check_count, check_length, text, texts, whole};
use crate::number::Number;
use crate::path;
use crate::value::Value;

pub(super) fn lower(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(text(&it[0])?.to_lowercase()))
}

pub(super) fn upper(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(text(&it[0])?.to_uppercase()))
}

/// Each word with a capital.
pub(super) fn title(_: &mut Host, it: &[Value]) -> Result<Value> {
    let text = text(&it[0])?;
    let mut titled = String::with_capacity(text.len());
    let mut within = false;
    for character in text.chars() {
        if within {
            titled.push(character);
        } else {
            titled.extend(character.to_uppercase());
        }
        within = if character.is_ascii() {
            character.is_ascii_alphanumeric() || character == '_'
        } else {
            !character.is_whitespace()
        };
    }
    Ok(Value::String(titled))
}

pub(super) fn trim_space(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::text(text(&it[0])?.trim()))
}

pub(super) fn trim(_: &mut Host, it: &[Value]) -> Result<Value> {
    let cut = text(&it[1])?;
    Ok(Value::text(text(&it[0])?.trim_matches(|character| cut.contains(character))))
}

pub(super) fn trim_prefix(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, prefix) = (text(&it[0])?, text(&it[1])?);
    Ok(Value::text(text.strip_prefix(prefix.as_str()).unwrap_or(&text)))
}

pub(super) fn trim_suffix(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, suffix) = (text(&it[0])?, text(&it[1])?);
    Ok(Value::text(text.strip_suffix(suffix.as_str()).unwrap_or(&text)))
}

/// Without the newlines at its end.
pub(super) fn chomp(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::text(text(&it[0])?.trim_end_matches(['\n', '\r'])))
}

/// Spaces before every line but the first.
pub(super) fn indent(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (count, text) = (whole(&it[0])?, text(&it[1])?);
    let count = usize::try_from(count).map_err(|_| "the number of spaces must not be negative".to_owned())?;
    let lines = text.matches('\n').count();
    if lines == 0 {
        // So many spaces are never made that nobody gets.
        return Ok(Value::String(text));
    }
    check_length(lines.checked_mul(count).and_then(|more| more.checked_add(text.len())))?;
    Ok(Value::String(text.replace('\n', &format!("\n{}", " ".repeat(count)))))
}

pub(super) fn join(_: &mut Host, it: &[Value]) -> Result<Value> {
    let separator = text(&it[0])?;
    let mut all = Vec::new();
    for list in &it[1..] {
        all.extend(texts(list)?);
    }
    let length = all.iter().map(String::len).sum::<usize>();
    check_length(separator.len().checked_mul(all.len()).and_then(|more| more.checked_add(length)))?;
    Ok(Value::String(all.join(&separator)))
}

pub(super) fn split(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (separator, text) = (text(&it[0])?, text(&it[1])?);
    if separator.is_empty() {
        check_count(Some(text.len()))?;
        return Ok(Value::texts(text.chars()));
    }
    check_count(Some(text.matches(separator.as_str()).count()))?;
    Ok(Value::texts(text.split(separator.as_str())))
}

pub(super) fn replace(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, from, to) = (text(&it[0])?, text(&it[1])?, text(&it[2])?);
    let count = text.matches(from.as_str()).count();
    check_length(count.checked_mul(to.len()).and_then(|more| more.checked_add(text.len())))?;
    Ok(Value::String(text.replace(from.as_str(), &to)))
}

pub(super) fn reverse(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(text(&it[0])?.chars().rev().collect()))
}

pub(super) fn strlen(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Number(Number::from(text(&it[0])?.chars().count())))
}

pub(super) fn byteslen(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::Number(Number::from(text(&it[0])?.len())))
}

/// From an offset, negative ones counting from the end, so many characters; -1 for all.
pub(super) fn substr(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, offset, length) = (text(&it[0])?, whole(&it[1])?, whole(&it[2])?);
    let all: Vec<char> = text.chars().collect();
    let offset = match usize::try_from(offset) {
        Ok(offset) => offset.min(all.len()),
        Err(_) => all.len().saturating_sub(usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let rest = &all[offset..];
    let length = usize::try_from(length).unwrap_or(rest.len()).min(rest.len());
    Ok(Value::String(rest[..length].iter().collect()))
}

/// With `_` for whatever the name of a target cannot have.
pub(super) fn sanitize(_: &mut Host, it: &[Value]) -> Result<Value> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let text = text(&it[0])?;
    Ok(Value::String(
        text.chars().map(|character| if allowed(character) { character } else { '_' }).collect(),
    ))
}

pub(super) fn basename(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::text(path::base(&text(&it[0])?)))
}

pub(super) fn dirname(_: &mut Host, it: &[Value]) -> Result<Value> {
    Ok(Value::String(path::directory(&text(&it[0])?)))
}

pub(super) fn home_directory(host: &mut Host, _: &[Value]) -> Result<Value> {
    Ok(Value::text(host.home.clone().unwrap_or_default()))
}
