//! Regular expressions: of the syntax of RE2, as far as `regex-lite` knows it, which leaves out classes of Unicode.

use std::collections::BTreeMap;

use regex_lite::{Captures, Regex, RegexBuilder};

use super::{Host, Result, check_count, check_length, text};
use crate::value::Value;

/// How long a pattern may be, and how large pattern and text together, for a search takes time with both.
const MAX_PATTERN: usize = 4096;
const MAX_WORK: usize = 64 << 20;

fn compile(pattern: &str, text: &str) -> Result<Regex> {
    if pattern.len() > MAX_PATTERN || pattern.len().saturating_mul(text.len()) > MAX_WORK {
        return Err("the pattern and the text are too long together".to_owned());
    }
    RegexBuilder::new(pattern)
        .size_limit(256 << 10)
        .build()
        .map_err(|error| format!("invalid pattern: {error}"))
}

/// What a match is: its groups by name, by order, or without groups the text.
fn found(regex: &Regex, captures: &Captures<'_>) -> Value {
    let group =
        |found: Option<regex_lite::Match<'_>>| found.map_or(Value::Null, |found| Value::text(found.as_str()));
    let names: Vec<Option<&str>> = regex.capture_names().skip(1).collect();
    if names.is_empty() {
        return group(captures.get(0));
    }
    if names.iter().all(Option::is_some) {
        let groups = names.into_iter().flatten().map(|name| (name.to_owned(), group(captures.name(name))));
        return Value::Object(groups.collect::<BTreeMap<_, _>>());
    }
    Value::Tuple((1..=names.len()).map(|at| group(captures.get(at))).collect())
}

pub(super) fn regex(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (pattern, text) = (text(&it[0])?, text(&it[1])?);
    let regex = compile(&pattern, &text)?;
    match regex.captures(&text) {
        Some(captures) => Ok(found(&regex, &captures)),
        None => Err("pattern did not match any part of the given string".to_owned()),
    }
}

pub(super) fn regex_all(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (pattern, text) = (text(&it[0])?, text(&it[1])?);
    let regex = compile(&pattern, &text)?;
    let mut all = Vec::new();
    for captures in regex.captures_iter(&text) {
        all.push(found(&regex, &captures));
        check_count(Some(all.len()))?;
    }
    Ok(Value::List(all))
}

pub(super) fn regex_replace(_: &mut Host, it: &[Value]) -> Result<Value> {
    let (text, pattern, replacement) = (text(&it[0])?, text(&it[1])?, text(&it[2])?);
    let regex = compile(&pattern, &text)?;
    let mut result = String::new();
    let mut after = 0;
    for captures in regex.captures_iter(&text) {
        let Some(whole) = captures.get(0) else { continue };
        result.push_str(&text[after..whole.start()]);
        captures.expand(&replacement, &mut result);
        check_length(Some(result.len()))?;
        after = whole.end();
    }
    result.push_str(&text[after..]);
    check_length(Some(result.len()))?;
    Ok(Value::String(result))
}
