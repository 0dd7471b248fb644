//! Characters of what programs say, from bytes in whatever pieces they come.

/// One more byte of a character that has begun: the character once it is whole, if it is one and [`is_shown`].
pub(super) fn rest_of_character(begun: &mut Vec<u8>, byte: u8) -> Option<char> {
    begun.push(byte);
    let wanted = match begun.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        _ => 4,
    };
    if begun.len() < wanted {
        return None;
    }
    let whole = std::mem::take(begun);
    let found = std::str::from_utf8(&whole).ok().and_then(|text| text.chars().next());
    found.filter(|found| is_shown(*found))
}

/// Characters that neither move the cursor nor turn the direction of writing.
pub(super) fn is_shown(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
