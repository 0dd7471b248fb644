//! `.env` and `env_file`: variables, one a line.
//!
//! ```text
//! # a comment          NAME=value # another        NAME: value
//! export NAME=value    NAME='as it is, also        NAME="with \n and ${OTHER:-more}"
//!                      over lines, \' too'         NAME
//! ```
//!
//! References are those of Compose files ([`interpolate`]); they stand for what the caller gives, then for what lines before them say. A
//! name alone has what the caller gives. Without quotes a comment has a space before it.

use std::collections::BTreeMap;

use super::interpolate;

/// How much text references may make.
const MAX_BYTES: usize = 1 << 20;

/// What is wrong, and in which line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

type Variables = BTreeMap<String, String>;
/// What is given to a name.
type Given<'g> = dyn Fn(&str) -> Option<&'g str> + 'g;

/// Reads a file of lines without quotes and references (`format: raw`).
pub(crate) fn raw(text: &str, given: &Given<'_>) -> Variables {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| match line.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => given(line.trim_end()).map(|value| (line.trim_end().to_owned(), value.to_owned())),
    };
    lines.filter_map(pair).collect()
}

/// Reads a file.
pub(crate) fn parse(text: &str, given: &Given<'_>) -> Result<Variables, Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (mut variables, mut rest, mut left) = (Variables::new(), text.as_str(), MAX_BYTES);
    while !rest.is_empty() {
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let wrong = |reason: String| Wrong { line, reason };
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
            return Err(wrong("a variable's name is letters, digits, and any of _.-[]".to_owned()));
        }
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(['=', ':']) {
            Some(value) => {
                let known = |name: &str| given(name).or_else(|| variables.get(name).map(String::as_str));
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']), &mut |text| {
                    interpolate::text(text, &known, &mut left)
                })
                .map_err(wrong)?;
                variables.insert(name.to_owned(), value);
                after
            }
            None if after.is_empty() || after.starts_with(['\n', '#']) => {
                variables.extend(given(name).map(|value| (name.to_owned(), value.to_owned())));
                after
            }
            None => return Err(wrong("a name and its value have = between them".to_owned())),
        };
    }
    Ok(variables)
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']')
}

/// A value, and what follows it.
fn value_of<'t>(
    text: &'t str,
    expand: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(String, &'t str), String> {
    let Some(quote @ ('\'' | '"')) = text.chars().next() else {
        let end = text.find('\n').unwrap_or(text.len());
        let (line, after) = text.split_at(end);
        let value = line.split_once(" #").map_or(line, |(value, _)| value);
        return Ok((expand(value.trim_end())?, after));
    };
    let inner = &text[1..];
    let end = closing(inner, quote).ok_or("a quoted value has no end")?;
    let (value, after) = (&inner[..end], &inner[end + 1..]);
    let rest = after.trim_start_matches([' ', '\t']);
    if !rest.is_empty() && !rest.starts_with(['\n', '#']) {
        return Err("something follows a quoted value".to_owned());
    }
    let value = if quote == '"' { expand(&unescaped(value))? } else { value.replace("\\'", "'") };
    Ok((value, rest))
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

/// What backslashes stand for. A dollar after one is no reference.
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
            Some('$') => result.push_str("$$"),
            Some(other @ ('"' | '\\' | '\'')) => result.push(other),
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let given = |name: &str| (name == "GIVEN").then_some("given");
        match parse(text, &given) {
            Ok(variables) => variables.iter().map(|(name, value)| format!("{name}={value};")).collect(),
            Err(Wrong { line, reason }) => format!("line {line}: {reason}"),
        }
    }

    #[test]
    fn values_are_plain_or_quoted() {
        // What Compose makes of them.
        for (text, want) in [
            ("", ""),
            ("A=1\nB = 2 # two\n# C=3\n\n", "A=1;B=2;"),
            ("export A=x y\r\nB: z", "A=x y;B=z;"),
            ("A='a $B # \n\\n'\nB=\"q\\\"\\n\\$A\"", "A=a $B # \n\\n;B=q\"\n$A;"),
            ("A='it\\'s'\nB=2", "A=it's;B=2;"),
            ("A=1\nB=${A}/$A/${C:-d}/${A-e}/${A:+alt}\nC=p$$w$1", "A=1;B=1/1/d/1/alt;C=p$w$1;"),
            ("A=$GIVEN\nGIVEN=own\nB=$GIVEN\nC=${B}", "A=given;B=given;C=given;GIVEN=own;"),
            ("A=a#b\nB=\nC=#x\nD=x\t#y", "A=a#b;B=;C=#x;D=x\t#y;"),
            ("NONE\nGIVEN\nA=1", "A=1;GIVEN=given;"),
            ("exported=1\n1K=x\nK[1]=y", "1K=x;K[1]=y;exported=1;"),
            ("A=\"x\" #c\nB=$B-$C\nC=1", "A=x;B=-;C=1;"),
            ("A=\"a\\tb\\\\c\" # \"\nB=a\\tb", "A=a\tb\\c;B=a\\tb;"),
        ] {
            assert_eq!(shown(text), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused_with_its_line() {
        for (text, want) in [
            ("A=1\n=2", "line 2: a variable's name is letters, digits, and any of _.-[]"),
            ("A=1\n\nB='x", "line 3: a quoted value has no end"),
            ("A='x' y", "line 1: something follows a quoted value"),
            ("A b", "line 1: a name and its value have = between them"),
            ("A=${NOPE:?must}", "line 1: required variable NOPE is missing a value: must"),
            (
                "A=1\nB=${A",
                "line 2: invalid interpolation format: \"${A\"; you may need to escape any $ with another $",
            ),
        ] {
            assert_eq!(shown(text), want, "{text:?}");
        }
        let bomb: String = (0..64).map(|n| format!("A{}=$A{n}$A{n}\n", n + 1)).collect();
        let bomb = shown(&format!("A0={}\n{bomb}", "x".repeat(1000)));
        assert!(bomb.contains("variables make too much text"), "{bomb}");
    }

    #[test]
    fn raw_values_are_as_they_are() {
        let given = |name: &str| (name == "GIVEN").then_some("given");
        let found = raw("A='x' $B # y\n\n # no\nGIVEN\nNONE\nB=a=b", &given);
        let found: String = found.iter().map(|(name, value)| format!("{name}={value};")).collect();
        assert_eq!(found, "A='x' $B # y;B=a=b;GIVEN=given;");
    }
}
