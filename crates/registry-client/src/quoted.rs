//! Quoted strings of headers (RFC 9110, 5.6.4).

/// What a quoted string says that has begun before `text`, and what follows it; `None` if it does not end.
pub(crate) fn rest_of_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            character => value.push(character),
        }
    }
    None
}
