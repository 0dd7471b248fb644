//! Fields of a flag's value with commas between them, by the rules of Go's `encoding/csv`, which Docker's flags follow:
//! a field in double quotes may hold commas, and quotes written twice; a quote elsewhere is an error.

use engine::request::Fields;

/// The fields of a value.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err("bare \" in non-quoted field");
                }
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// What stands before the closing quote, and what follows that.
fn in_quotes(text: &str) -> Result<(String, &str), &'static str> {
    const BROKEN: &str = "extraneous or missing \" in quoted-field";
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('"').ok_or(BROKEN)?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.chars().next() {
            Some('"') => {
                field.push('"');
                rest = &rest[1..];
            }
            None | Some(',') => return Ok((field, rest)),
            Some(_) => return Err(BROKEN),
        }
    }
}

/// The fields as pairs, keys in small letters.
pub(crate) fn pairs(text: &str) -> Result<Fields, String> {
    fields(text)?.iter().map(|field| pair(field)).collect()
}

/// One field as a pair.
pub(crate) fn pair(field: &str) -> Result<(String, String), String> {
    match field.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
        None => Err(format!("invalid field '{field}' must be a key=value pair")),
    }
}

/// The value of a key; the last one counts.
pub(crate) fn value_of<'f>(fields: &'f Fields, key: &str) -> Option<&'f str> {
    fields.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_unless_quoted() {
        for (text, want) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a,b=c,", &["a", "b=c", ""]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("type=local,\"dest=a,b\"", &["type=local", "dest=a,b"]),
            ("\"x=\"\"y\"\"\"", &["x=\"y\""]),
            ("a b , c", &["a b ", " c"]),
        ] {
            assert_eq!(fields(text).unwrap(), want, "{text}");
        }
        for text in ["a\"b", "dest=\"a,b\"", "\"a", "\"a\"b", "\"a\"\"", "x,\"y\" "] {
            assert!(fields(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_written_in_any_case() {
        let found = pairs("Type=local, DEST =Out=1").unwrap();
        assert_eq!((value_of(&found, "type"), value_of(&found, "dest")), (Some("local"), Some("Out=1")));
        assert_eq!(pairs("type").unwrap_err(), "invalid field 'type' must be a key=value pair");
    }
}
