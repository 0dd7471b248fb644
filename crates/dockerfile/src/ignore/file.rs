//! The file `.dockerignore`.

use super::path::clean;

/// The patterns of an ignore file, in order, ready for [`super::Matcher::new`]. `#` in the first column begins a
/// comment; blanks around a pattern and after `!` are dropped, so is a slash before or behind it.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    text.split('\n').filter_map(pattern).collect()
}

fn pattern(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    let (sign, written) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if written.is_empty() {
        // A lone `!` is kept, so that it is refused as a pattern.
        return (!sign.is_empty()).then(|| sign.to_owned());
    }
    let cleaned = clean(written);
    let relative = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    Some(format!("{sign}{relative}"))
}
