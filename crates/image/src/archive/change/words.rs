//! Words, quotes and variables of instructions.

use super::Reason;

/// A JSON array of strings; `None` if it is anything else, which is then the shell form.
pub(super) fn json_list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// Splits at white space outside of quotes. Quotes and backslashes stay: [`expand`] takes them away.
pub(super) fn split(text: &str) -> Result<Vec<String>, Reason> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => {
                word.push('\\');
                if let Some(next) = chars.next() {
                    word.push(next);
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} is not closed"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Takes quotes and backslashes away, and replaces `$NAME`, `${NAME}`, `${NAME:-default}` and
/// `${NAME:+alternative}` outside of single quotes.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, Reason> {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            // In double quotes a backslash guards only what would else mean something.
            (Some('"'), '\\') => match chars.next() {
                Some(next @ ('"' | '$' | '\\')) => out.push(next),
                next => {
                    out.push('\\');
                    out.extend(next);
                }
            },
            (None, '\\') => out.extend(chars.next()),
            (None | Some('"'), '$') => match chars.peek() {
                Some('{') => {
                    chars.next();
                    out.push_str(&braced(&mut chars, env)?);
                }
                Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
                    let mut name = String::new();
                    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                        name.push(c);
                    }
                    out.push_str(value(&name, env).unwrap_or_default());
                }
                _ => out.push('$'),
            },
            (_, c) => out.push(c),
        }
    }
    match quote {
        Some(open) => Err(format!("the quote {open} is not closed")),
        None => Ok(out),
    }
}

/// The rest of `${…}`.
fn braced(chars: &mut impl Iterator<Item = char>, env: &[String]) -> Result<String, Reason> {
    let mut inner = String::new();
    let mut depth = 1;
    for c in chars {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth > 8 {
            return Err("variables lie too deep in each other".to_owned());
        }
        inner.push(c);
    }
    if depth != 0 {
        return Err("${ is not closed by }".to_owned());
    }
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, operation) = inner.split_at(end);
    if name.is_empty() {
        return Err(format!("${{{inner}}} names no variable"));
    }
    let found = value(name, env).filter(|value| !value.is_empty());
    match (operation.get(..2), found) {
        (None, found) if operation.is_empty() => Ok(found.unwrap_or_default().to_owned()),
        (Some(":-"), Some(value)) => Ok(value.to_owned()),
        (Some(":-"), None) | (Some(":+"), Some(_)) => expand(&operation[2..], env),
        (Some(":+"), None) => Ok(String::new()),
        _ => Err(format!("${{{inner}}}: only :- and :+ are supported")),
    }
}

fn value<'a>(name: &str, env: &'a [String]) -> Option<&'a str> {
    env.iter().filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}
