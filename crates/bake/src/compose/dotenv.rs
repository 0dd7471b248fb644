//! `.env`: variables for Compose files, below those of the environment.
//!
//! ```text
//! # a comment          NAME=value # another        NAME: value
//! export NAME=value    NAME='as it is, also        NAME="with \n and ${OTHER:-more}"
//!                      over lines'
//! ```
//!
//! Values may refer to names that stand before them in the file. What is no reference is left as it is, for a password may hold
//! a `$`.

use std::collections::BTreeMap;

/// How much text references may make.
const MAX_BYTES: usize = 1 << 20;

/// What is wrong, and in which line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

type Variables = BTreeMap<String, String>;

/// Reads a file.
pub(crate) fn parse(text: &str) -> Result<Variables, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (mut variables, mut rest, mut made) = (Variables::new(), text.as_str(), 0);
    while !rest.is_empty() {
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let wrong = |reason: &str| Wrong { line, reason: reason.to_owned() };
        let start = rest.trim_start_matches([' ', '\t', '\n']);
        if start.len() < rest.len() {
            rest = start;
            continue;
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        if let Some(after) = rest.strip_prefix("export").filter(|after| after.starts_with([' ', '\t'])) {
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !is_in_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            return Err(wrong("a variable's name is letters, digits, and any of _.-"));
        }
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(['=', ':']) {
            Some(value) => {
                let (value, after) =
                    value_of(value.trim_start_matches([' ', '\t']), &variables).map_err(wrong)?;
                made += value.len();
                if made > MAX_BYTES {
                    return Err(wrong("its variables are too large"));
                }
                variables.insert(name.to_owned(), value);
                after
            }
            // A name alone asks for the environment's, which counts anyway.
            None if after.is_empty() || after.starts_with(['\n', '#']) => after,
            None => return Err(wrong("a name and its value have = between them")),
        };
    }
    Ok(variables)
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// A value, and what follows it.
fn value_of<'t>(text: &'t str, variables: &Variables) -> Result<(String, &'t str), &'static str> {
    match text.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let inner = &text[1..];
            let end = closing(inner, quote).ok_or("a quoted value has no end")?;
            let (value, after) = (&inner[..end], &inner[end + 1..]);
            let rest = after.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(['\n', '#']) {
                return Err("something follows a quoted value");
            }
            let value = if quote == '"' { expanded(&unescaped(value), variables) } else { value.to_owned() };
            Ok((value.replace('\u{0}', "$"), rest))
        }
        _ => {
            let end = text.find('\n').unwrap_or(text.len());
            let (line, after) = text.split_at(end);
            let comment = line.starts_with('#').then_some(0).or_else(|| line.find(" #"));
            let comment = comment.or_else(|| line.find("\t#"));
            let value = line[..comment.unwrap_or(line.len())].trim_end();
            Ok((expanded(value, variables), after))
        }
    }
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

/// What backslashes stand for. A dollar that is none becomes a zero, which no such file has a use for, until references are
/// replaced.
fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('$') => result.push('\u{0}'),
            Some(other @ ('"' | '\\' | '\'')) => result.push(other),
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}

/// References with what they stand for.
fn expanded(text: &str, variables: &Variables) -> String {
    let (mut result, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match reference(rest, variables) {
            Some((value, after)) if result.len() + value.len() <= MAX_BYTES => {
                result.push_str(&value);
                rest = after;
            }
            _ => result.push('$'),
        }
    }
    result.push_str(rest);
    result
}

fn reference<'t>(text: &'t str, variables: &Variables) -> Option<(String, &'t str)> {
    let name = |text: &'t str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, after) = text.split_at(end);
        let is_name = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        is_name.then_some((name, after))
    };
    let Some(inner) = text.strip_prefix('{') else {
        let (name, after) = name(text)?;
        return Some((variables.get(name).cloned().unwrap_or_default(), after));
    };
    let (inner, after) = inner.split_once('}')?;
    let (name, word) = name(inner)?;
    let value = variables.get(name).cloned();
    let value = match (word.strip_prefix(":-"), word.strip_prefix('-')) {
        (Some(word), _) => value.filter(|value| !value.is_empty()).unwrap_or_else(|| word.to_owned()),
        (None, Some(word)) => value.unwrap_or_else(|| word.to_owned()),
        (None, None) if word.is_empty() => value.unwrap_or_default(),
        (None, None) => return None,
    };
    Some((value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(variables) => variables.iter().map(|(name, value)| format!("{name}={value};")).collect(),
            Err(Wrong { line, reason }) => format!("line {line}: {reason}"),
        }
    }

    #[test]
    fn values_are_plain_or_quoted() {
        for (text, want) in [
            ("", ""),
            ("A=1\nB = 2 # two\n# C=3\n\n", "A=1;B=2;"),
            ("export A=x y\r\nB: z", "A=x y;B=z;"),
            ("A='a $B # \n\\n'\nB=\"q\\\"\\n\\$A\"", "A=a $B # \n\\n;B=q\"\n$A;"),
            ("A=1\nB=${A}/$A/${C:-d}/${A-e}\nC=p$$w$1", "A=1;B=1/1/d/1;C=p$$1;"),
            ("A=a#b\nB=\nC", "A=a#b;B=;"),
            ("exported=1", "exported=1;"),
        ] {
            assert_eq!(shown(text), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused_with_its_line() {
        for (text, want) in [
            ("A=1\n=2", "line 2: a variable's name is letters, digits, and any of _.-"),
            ("A=1\n\nB='x", "line 3: a quoted value has no end"),
            ("A='x' y", "line 1: something follows a quoted value"),
            ("A b", "line 1: a name and its value have = between them"),
        ] {
            assert_eq!(shown(text), want, "{text:?}");
        }
        let bomb: String = (0..64).map(|n| format!("A{}=$A{n}$A{n}\n", n + 1)).collect();
        assert!(shown(&format!("A0={}\n{bomb}", "x".repeat(1000))).contains("too large"));
    }
}
