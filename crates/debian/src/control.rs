//! The syntax of control files (deb822(5)): stanzas of fields, without their meaning.
//!
//! ```text
//! Package: base-files
//! Description: short
//!  long
//!
//! Package: …
//! ```
//!
//! Nothing is copied: a stanza points into its text. Values keep their line breaks and lose the space around them.

use crate::error::{Error, Result};

/// Fields that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
    text: &'a str,
}

/// More fields than any stanza has.
const FIELDS_LIMIT: usize = 500;

impl<'a> Stanza<'a> {
    /// The value of a field, whose name may be written in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The value of a field that must be there.
    ///
    /// # Errors
    /// Where it is not, or is empty.
    pub fn require(&self, field: &'static str) -> Result<&'a str> {
        self.get(field).filter(|value| !value.is_empty()).ok_or(Error::MissingField { field })
    }

    /// Names and values, as they stand there.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().copied()
    }

    /// The lines of the stanza, the last with its line break where it has one.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }
}

/// Reads stanza after stanza; ends after the first error.
#[must_use]
pub fn stanzas(text: &str) -> Stanzas<'_> {
    Stanzas { rest: text, line: 0 }
}

/// The only stanza of a text.
///
/// # Errors
/// Where there is none, or a second one, or it cannot be read.
pub fn single(text: &str) -> Result<Stanza<'_>> {
    let mut all = stanzas(text);
    let first = all.next().unwrap_or(Err(Error::Syntax { line: 1, reason: "there is nothing" }))?;
    match all.next() {
        None => Ok(first),
        Some(_) => Err(Error::Syntax { line: all.line, reason: "there is more than one paragraph" }),
    }
}

/// See [`stanzas`].
#[derive(Clone, Debug)]
pub struct Stanzas<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>>;

    fn next(&mut self) -> Option<Result<Stanza<'a>>> {
        while let Some((line, after)) = first_line(self.rest) {
            if !is_blank(line) && !line.starts_with('#') {
                let stanza = self.stanza();
                if stanza.is_err() {
                    self.rest = "";
                }
                return Some(stanza);
            }
            self.line += 1;
            self.rest = after;
        }
        None
    }
}

impl<'a> Stanzas<'a> {
    fn stanza(&mut self) -> Result<Stanza<'a>> {
        let all = self.rest;
        let mut fields: Vec<(&'a str, &'a str)> = Vec::new();
        // The field whose value goes on: its name, and where its value begins, seen from `all`.
        let mut open: Option<(&'a str, usize)> = None;
        while let Some((line, after)) = first_line(self.rest).filter(|(line, _)| !is_blank(line)) {
            let at = all.len() - self.rest.len();
            self.line += 1;
            self.rest = after;
            let wrong = |reason| Error::Syntax { line: self.line, reason };
            if line.starts_with('#') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                if open.is_none() {
                    return Err(wrong("it continues a field where none has begun"));
                }
                continue;
            }
            fields.extend(open.take().map(|(name, start)| (name, all[start..at].trim())));
            let (name, _) = line.split_once(':').ok_or(wrong("it has no colon"))?;
            let fits = |byte: u8| matches!(byte, b'!'..=b'~');
            if name.is_empty() || name.starts_with('-') || !name.bytes().all(fits) {
                return Err(wrong("it begins with what is no name of a field"));
            }
            if fields.len() >= FIELDS_LIMIT {
                return Err(wrong("there are too many fields"));
            }
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(wrong("the field is there already"));
            }
            open = Some((name, at + name.len() + 1));
        }
        let end = all.len() - self.rest.len();
        fields.extend(open.map(|(name, start)| (name, all[start..end].trim())));
        Ok(Stanza { fields, text: &all[..end] })
    }
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// The first line without its end, and what follows.
fn first_line(text: &str) -> Option<(&str, &str)> {
    match text.split_once('\n') {
        Some(both) => Some(both),
        None if text.is_empty() => None,
        None => Some((text, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<Vec<(&str, &str)>> {
        stanzas(text).map(|stanza| stanza.unwrap().fields().collect()).collect()
    }

    #[test]
    fn stanzas_end_at_blank_lines_and_values_go_on_after_a_space() {
        let text = "# a comment\n\nPackage: a\nDescription: short\n long\n .\n more\n\n \nPackage:b\nDepends:\nX-y:  z ";
        let first = vec![("Package", "a"), ("Description", "short\n long\n .\n more")];
        assert_eq!(pairs(text), [first, vec![("Package", "b"), ("Depends", ""), ("X-y", "z")]]);
        let second = stanzas(text).nth(1).unwrap().unwrap();
        assert_eq!((second.get("package"), second.require("Depends").is_err()), (Some("b"), true));
        assert_eq!(second.text(), "Package:b\nDepends:\nX-y:  z ");
        assert_eq!(pairs(""), Vec::<Vec<_>>::new());
    }

    #[test]
    fn what_is_no_stanza_is_refused_with_its_line() {
        for (text, at, reason) in [
            (" x\n", 1, "it continues a field where none has begun"),
            ("A: b\n\nno colon\n", 3, "it has no colon"),
            ("A: b\na: c\n", 2, "the field is there already"),
            ("A B: c\n", 1, "it begins with what is no name of a field"),
            (": c\n", 1, "it begins with what is no name of a field"),
        ] {
            let error = stanzas(text).find_map(std::result::Result::err);
            assert_eq!(error, Some(Error::Syntax { line: at, reason }), "{text:?}");
            assert!(stanzas(text).count() <= 2);
        }
        assert!(single("A: b\n\nA: c\n").is_err() && single("\n").is_err());
        let many: String = (0..600).map(|number| format!("F{number}: x\n")).collect();
        assert!(single(&many).is_err());
    }
}
