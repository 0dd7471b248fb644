//! The functions of templates: the language's own, and Docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::printf::printf;
use super::show;

/// Every function's name.
const NAMES: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
    "urlquery",
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

type Outcome = Result<Value, String>;

/// Calls `name`. `and` and `or` are the evaluator's, since they need not look at every argument.
pub(super) fn call(name: &str, arguments: &[Value], headers: bool) -> Outcome {
    let wrong =
        |want: &str| Err(format!("wrong number of args for {name}: want {want} got {}", arguments.len()));
    if headers && matches!(name, "json" | "join" | "split" | "title" | "lower" | "upper" | "truncate") {
        return arguments.first().cloned().map_or_else(|| wrong("1"), Ok);
    }
    match (name, arguments) {
        ("call", [value, ..]) => Err(format!("non-function of type {}", show::kind(value))),
        ("not", [value]) => Ok(Value::Bool(!truth(value))),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            rest.iter().try_fold(false, |found, other| Ok(found || equal(first, other)?)).map(Value::Bool)
        }
        ("ne", [a, b]) => equal(a, b).map(|equal| Value::Bool(!equal)),
        ("lt", [a, b]) => order(a, b).map(|order| Value::Bool(order == Ordering::Less)),
        ("le", [a, b]) => order(a, b).map(|order| Value::Bool(order != Ordering::Greater)),
        ("gt", [a, b]) => order(a, b).map(|order| Value::Bool(order == Ordering::Greater)),
        ("ge", [a, b]) => order(a, b).map(|order| Value::Bool(order != Ordering::Less)),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds),
        ("print", values) => Ok(Value::String(print(values))),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(shown).collect();
            Ok(Value::String(words.join(" ") + "\n"))
        }
        ("printf", [Value::String(format), values @ ..]) => Ok(Value::String(printf(format, values))),
        ("html", values) => Ok(Value::String(escape_html(&print(values)))),
        ("js", values) => Ok(Value::String(escape_js(&print(values)))),
        ("urlquery", values) => Ok(Value::String(escape_query(&print(values)))),
        ("json", [value]) => {
            let mut data = value.clone();
            without_methods(&mut data);
            Ok(Value::String(data.to_string()))
        }
        ("split", [value, separator]) => {
            let (text, separator) = (text(value)?, text(separator)?);
            let parts: Vec<Value> = if separator.is_empty() {
                text.chars().map(|c| Value::String(c.to_string())).collect()
            } else {
                text.split(separator).map(Value::from).collect()
            };
            Ok(Value::Array(parts))
        }
        ("join", [value, separator]) => join(value, text(separator)?),
        ("title", [value]) => Ok(Value::String(title(text(value)?))),
        ("lower", [value]) => Ok(Value::String(text(value)?.to_lowercase())),
        ("upper", [value]) => Ok(Value::String(text(value)?.to_uppercase())),
        ("pad", [value, before, after]) => {
            let text = text(value)?;
            if text.is_empty() {
                return Ok(value.clone());
            }
            let blanks = |count: &Value| count_of(count).map(|count| " ".repeat(count.min(1000)));
            Ok(Value::String(format!("{}{text}{}", blanks(before)?, blanks(after)?)))
        }
        ("truncate", [value, limit]) => {
            let (text, mut limit) = (text(value)?, count_of(limit)?);
            while !text.is_char_boundary(limit.min(text.len())) {
                limit -= 1;
            }
            Ok(Value::from(&text[..limit.min(text.len())]))
        }
        ("not" | "len" | "json" | "title" | "lower" | "upper", _) => wrong("1"),
        ("pad", _) => wrong("3"),
        ("call" | "eq" | "printf" | "index", _) => wrong("at least 1"),
        _ => wrong("2"),
    }
}

/// What `if` makes of a value.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("wrong type for value; expected string; got {}", show::kind(value)))
}

fn count_of(value: &Value) -> Result<usize, String> {
    value
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| format!("expected a count; found {}", show::plain(value)))
}

fn shown(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { show::plain(value) }
}

/// Go's Sprint: a blank between two operands when neither is a string.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&shown(value));
    }
    out
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            if x.is_f64() != y.is_f64() {
                return Err("incompatible types for comparison".to_owned());
            }
            Ok(x == y || (x.as_f64() == y.as_f64() && x.is_f64()))
        }
        (Value::Null, _) | (_, Value::Null) => Ok(a.is_null() && b.is_null()),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("non-comparable type".to_owned())
        }
        _ if show::kind(a) != show::kind(b) => Err("incompatible types for comparison".to_owned()),
        _ => Ok(a == b),
    }
}

/// Leaves the data alone, as deep as it goes: methods are not shown.
fn without_methods(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|key, _| !key.starts_with('\0'));
            entries.values_mut().for_each(without_methods);
        }
        Value::Array(items) => items.iter_mut().for_each(without_methods),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(x), Value::Number(y)) if x.is_f64() == y.is_f64() => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => Ok(x.cmp(&y)),
            _ => Ok(x.as_f64().partial_cmp(&y.as_f64()).unwrap_or(Ordering::Equal)),
        },
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn length(value: &Value) -> Outcome {
    match value {
        Value::String(text) => Ok(Value::from(text.len())),
        Value::Array(items) => Ok(Value::from(items.len())),
        Value::Object(entries) => Ok(Value::from(entries.len())),
        Value::Null => Err("len of nil pointer".to_owned()),
        Value::Bool(_) | Value::Number(_) => Err(format!("len of type {}", show::kind(value))),
    }
}

/// `value[key]`; a key that a map lacks has the empty value, as Go's maps of strings have.
pub(super) fn index(value: &Value, key: &Value) -> Outcome {
    match value {
        Value::Object(entries) => Ok(entries.get(text(key)?).cloned().unwrap_or_else(|| Value::from(""))),
        Value::Array(items) => {
            let at = key
                .as_i64()
                .ok_or_else(|| format!("cannot index slice/array with type {}", show::kind(key)))?;
            let found = usize::try_from(at).ok().and_then(|at| items.get(at));
            found.cloned().ok_or_else(|| format!("index out of range: {at}"))
        }
        Value::String(text) => {
            let at = count_of(key)?;
            text.as_bytes()
                .get(at)
                .map(|byte| Value::from(*byte))
                .ok_or_else(|| format!("index out of range: {at}"))
        }
        Value::Null => Err("index of untyped nil".to_owned()),
        Value::Bool(_) | Value::Number(_) => Err(format!("can't index item of type {}", show::kind(value))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Outcome {
    let length = value.as_str().map(str::len).or_else(|| value.as_array().map(Vec::len));
    let length = length.ok_or_else(|| format!("can't slice item of type {}", show::kind(value)))?;
    let from = bounds.first().map_or(Ok(0), count_of)?;
    let to = bounds.get(1).map_or(Ok(length), count_of)?;
    if to > length {
        return Err(format!("index out of range: {to}"));
    }
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if let Value::Array(items) = value {
        return Ok(Value::from(items[from..to].to_vec()));
    }
    let bytes = &value.as_str().unwrap_or_default().as_bytes()[from..to];
    Ok(Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn join(value: &Value, separator: &str) -> Outcome {
    let mut words: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => {
            return Ok(Value::String(items.iter().map(shown).collect::<Vec<_>>().join(separator)));
        }
        Value::Object(entries) => entries.values().map(shown).collect(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(format!("expected a list; got {}", show::kind(value)));
        }
    };
    words.sort();
    Ok(Value::String(words.join(separator)))
}

/// The first letter of each word as a capital.
fn title(text: &str) -> String {
    let mut out = String::new();
    let mut previous = ' ';
    for c in text.chars() {
        if previous.is_alphanumeric() || previous == '_' || previous == '\'' {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        previous = c;
    }
    out
}

fn escape_html(text: &str) -> String {
    let escape = |c| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => String::from(c),
    };
    text.chars().map(escape).collect()
}

fn escape_js(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\\\".to_owned(),
        '\'' => "\\'".to_owned(),
        '"' => "\\\"".to_owned(),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => String::from(c),
    };
    text.chars().map(escape).collect()
}

fn escape_query(text: &str) -> String {
    let escape = |byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => String::from(char::from(byte)),
        b' ' => "+".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
