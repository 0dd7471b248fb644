//! Variables in Compose files: `$NAME`, `${NAME}`, and with `:-`, `-`, `:?`, `?`, `:+`, `+` what stands in for them.
//!
//! `$$` is a dollar, and so is one that no name and no brace follows.

use yaml::Yaml;

use super::environment::Values;

/// How deep stand-ins may nest, and how much text variables may make.
const MAX_DEPTH: usize = 16;
const MAX_BYTES: usize = 16 << 20;

/// Fills in all variables of a tree. Keys are left as they are.
pub(super) fn all(node: &mut Yaml, values: &Values) -> Result<(), String> {
    let mut left = MAX_BYTES;
    fill(node, &|name| values.get(name).map(String::as_str), &mut left)
}

/// A text with its variables filled in, of which no more than `left` may come.
pub(super) fn text<'e>(
    text: &str,
    given: &dyn Fn(&str) -> Option<&'e str>,
    left: &mut usize,
) -> Result<String, String> {
    substitute(text, given, 0, left)
}

fn fill<'e>(
    node: &mut Yaml,
    given: &dyn Fn(&str) -> Option<&'e str>,
    left: &mut usize,
) -> Result<(), String> {
    match node {
        Yaml::Null | Yaml::Reset => Ok(()),
        Yaml::Scalar { text, plain } => {
            if text.contains('$') {
                *text = substitute(text, given, 0, left)?;
                // What a variable brings is text, however much it looks like a number.
                *plain = false;
            }
            Ok(())
        }
        Yaml::List(elements) => elements.iter_mut().try_for_each(|element| fill(element, given, left)),
        Yaml::Map(entries) => entries.iter_mut().try_for_each(|(_, value)| fill(value, given, left)),
        Yaml::Override(inner) => fill(inner, given, left),
    }
}

fn substitute<'e>(
    text: &str,
    given: &dyn Fn(&str) -> Option<&'e str>,
    depth: usize,
    left: &mut usize,
) -> Result<String, String> {
    let invalid =
        || format!("invalid interpolation format: {text:?}; you may need to escape any $ with another $");
    if depth > MAX_DEPTH {
        return Err(format!("at most {MAX_DEPTH} variables may be nested"));
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let value = if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(invalid)?;
            rest = &inner[end + 1..];
            braced(&inner[..end], given, depth, left)?.ok_or_else(invalid)?
        } else if let Some((name, after)) = name(rest) {
            rest = after;
            given(name).unwrap_or_default().to_owned()
        } else {
            "$".to_owned()
        };
        let too_much = || "variables make too much text".to_owned();
        *left = left.checked_sub(value.len()).ok_or_else(too_much)?;
        result.push_str(&value);
    }
    result.push_str(rest);
    Ok(result)
}

/// Where the brace closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'$') => at += 1,
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                depth += 1;
                at += 1;
            }
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// What stands in braces; `None` where it cannot.
fn braced<'e>(
    text: &str,
    given: &dyn Fn(&str) -> Option<&'e str>,
    depth: usize,
    left: &mut usize,
) -> Result<Option<String>, String> {
    let Some((name, rest)) = name(text) else { return Ok(None) };
    let value = given(name);
    let filled = value.filter(|value| !value.is_empty());
    let word = |word: &str, left: &mut usize| substitute(word, given, depth + 1, left);
    let known = |value: Option<&str>| value.map(str::to_owned);
    let required = |word: String| match word.as_str() {
        "" => format!("required variable {name} is missing a value"),
        word => format!("required variable {name} is missing a value: {word}"),
    };
    if rest.is_empty() {
        return Ok(Some(value.unwrap_or_default().to_owned()));
    }
    let (strict, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
    let there = if strict { filled } else { value };
    let mut characters = rest.chars();
    Ok(match characters.next() {
        Some('-') => match known(there) {
            Some(value) => Some(value),
            None => Some(word(characters.as_str(), left)?),
        },
        Some('?') => match known(there) {
            Some(value) => Some(value),
            None => return Err(required(word(characters.as_str(), left)?)),
        },
        Some('+') if there.is_some() => Some(word(characters.as_str(), left)?),
        Some('+') => Some(String::new()),
        _ => None,
    })
}
