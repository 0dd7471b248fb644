//! How the rest of a line falls into words; each kind of instruction has its own way.

use super::lines::Slice;
use crate::source::{Diagnostic, Result};
use crate::syntax::Text;

/// The blanks between an instruction and its arguments, and between those of the plainer instructions.
pub(super) const BLANKS: [char; 5] = ['\t', '\x0b', '\x0c', '\r', ' '];

/// The first word, and the rest without the blanks between the two. None if there is only one word.
pub(super) fn cut_word(text: Slice<'_>) -> (Slice<'_>, Option<Slice<'_>>) {
    let all = text.str();
    match all.find(BLANKS) {
        None => (text, None),
        Some(end) => {
            let rest = all[end..].trim_start_matches(BLANKS);
            (text.part(0, end), Some(text.part(all.len() - rest.len(), all.len())))
        }
    }
}

/// Words between blanks, quotes and all.
pub(super) fn split_blanks(text: Slice<'_>) -> Vec<Text> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (word, after) = cut_word(text);
        words.push(word.text());
        rest = after;
    }
    words
}

/// Words in which quotes and escapes protect blanks. Both are kept, for they are taken away together with the
/// variables.
pub(super) fn split_quoted(text: Slice<'_>, escape: char) -> Vec<Text> {
    let all = text.str();
    let mut words = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote = None;
    let mut characters = all.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if quote.is_none() && character.is_whitespace() {
            if let Some((begin, value)) = word.take().filter(|(_, value)| !value.is_empty()) {
                words.push(Text::new(value, text.part(begin, at).span()));
            }
            continue;
        }
        let value = &mut word.get_or_insert_with(|| (at, String::new())).1;
        if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && matches!(character, '\'' | '"') {
            quote = Some(character);
        } else if character == escape && quote != Some('\'') {
            // At the end of the line it escapes nothing, and is dropped.
            let Some((_, escaped)) = characters.next() else { break };
            value.push(character);
            value.push(escaped);
            continue;
        }
        value.push(character);
    }
    if let Some((begin, value)) = word.filter(|(_, value)| !value.is_empty()) {
        words.push(Text::new(value, text.part(begin, all.len()).span()));
    }
    words
}

/// The flags at the beginning, without quotes and escapes, and the rest. `--` ends them.
pub(super) fn cut_flags(text: Slice<'_>) -> (Vec<Text>, Slice<'_>) {
    let all = text.str();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        let rest = all[at..].trim_start();
        at = all.len() - rest.len();
        if !rest.starts_with("--") {
            return (flags, text.part(at, all.len()).trim());
        }
        let (length, flag) = flag(rest);
        let span = text.part(at, at + length).span();
        at += length;
        if flag == "--" {
            return (flags, text.part(at, all.len()).trim());
        }
        flags.push(Text::new(flag, span));
    }
}

/// A flag's length in the text, and what is left of it without quotes and escapes.
fn flag(text: &str) -> (usize, String) {
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (at, value),
            None if matches!(character, '\'' | '"') => quote = Some(character),
            Some(open) if open == character => quote = None,
            // A backslash always, whatever escapes elsewhere.
            _ if character == '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (text.len(), value)
}

/// The strings of a JSON array. None if the text is none, and is to be read in another way.
///
/// # Errors
/// If it is an array of something else.
pub(super) fn json(text: Slice<'_>) -> Result<Option<Vec<String>>> {
    let trimmed = text.str().trim_start();
    if !trimmed.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(trimmed) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(string) => Some(string),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    });
    match strings.collect::<Option<Vec<String>>>() {
        Some(strings) => Ok(Some(strings)),
        None => Err(Diagnostic::error(
            "when using JSON array syntax, arrays must be comprised of strings only",
            text.span(),
        )),
    }
}

/// The fields of one line of comma-separated values, of which some may be quoted.
pub(super) fn csv(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err("bare \" in non-quoted field");
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// After the opening quote: the field, and what follows the closing one.
fn quoted_field(text: &str) -> std::result::Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err("extraneous or missing \" in quoted-field");
        };
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None if after.is_empty() || after.starts_with(',') => return Ok((field, after)),
            None => return Err("extraneous or missing \" in quoted-field"),
        }
    }
}
