//! What a registry wants its user to know (spec.md, "Warnings"): `Warning: 299 - "text"`. Each text is told once, and
//! nothing is done about it.

use std::sync::Mutex;

use crate::session::locked;

/// Bytes of all texts together, as the specification bounds them for one answer.
const LIMIT: usize = 4096;

/// The texts that came, in their order.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    all: Vec<String>,
    bytes: usize,
    /// How many of them were taken.
    told: usize,
}

impl Warnings {
    /// Hears the value of a header of `host`.
    pub(crate) fn hear(&self, host: &str, value: &str) {
        let mut heard = locked(&self.0);
        for text in texts(value) {
            let text = format!("{host}: {text}");
            if heard.bytes + text.len() <= LIMIT && !heard.all.contains(&text) {
                heard.bytes += text.len();
                heard.all.push(text);
            }
        }
    }

    /// Those that were not taken before.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut heard = locked(&self.0);
        let new = heard.all[heard.told..].to_vec();
        heard.told = heard.all.len();
        new
    }
}

/// The texts of a value: a list of `299 - "text"` (RFC 7234, 5.5); what is anything else says nothing.
fn texts(value: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = value.trim_start();
    while let Some(quoted) = rest.strip_prefix("299 - \"") {
        let (mut text, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in quoted.char_indices() {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                _ => text.push(c),
            }
        }
        let Some(end) = end else { break };
        text.retain(|c| !c.is_control());
        if !text.trim().is_empty() {
            texts.push(text);
        }
        rest = quoted[end..].trim_start().trim_start_matches(',').trim_start();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_names_is_read() {
        for (value, want) in [
            ("299 - \"this is old\"", vec!["this is old"]),
            ("299 - \"a \\\"b\\\" \\\\\",  299 - \"c\"", vec!["a \"b\" \\", "c"]),
            ("110 cache \"stale\"", vec![]),
            ("299 - \"open", vec![]),
            ("299 - \"\"", vec![]),
            ("299 - \"a\\", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(texts(value), want, "{value}");
        }
    }

    #[test]
    fn each_is_told_once_and_all_together_have_a_bound() {
        let warnings = Warnings::default();
        warnings.hear("h", "299 - \"a\"");
        warnings.hear("h", "299 - \"a\", 299 - \"b\"");
        assert_eq!(warnings.take(), ["h: a", "h: b"]);
        warnings.hear("h", "299 - \"b\"");
        warnings.hear("other", "299 - \"b\"");
        assert_eq!(warnings.take(), ["other: b"]);
        for number in 0..10_000 {
            warnings.hear("h", &format!("299 - \"{number}\""));
        }
        assert!(warnings.take().iter().map(String::len).sum::<usize>() <= LIMIT);
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(value in "\\PC{0,40}|(299 - \"[a\\\\\"]{0,5}\",? ?){0,4}") {
            for text in texts(&value) {
                proptest::prop_assert!(!text.is_empty() && text.len() <= value.len());
            }
        }
    }
}
