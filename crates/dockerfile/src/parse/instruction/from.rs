//! FROM.

use super::super::flags::Shape;
use super::super::words;
use super::Line;
use crate::source::{Diagnostic, Result};
use crate::syntax::{From, Text};

impl Line<'_> {
    pub(super) fn from(mut self) -> Result<From> {
        let mut flags = self.flags(&[("platform", Shape::Once)])?;
        let mut arguments = words::split_blanks(self.arguments).into_iter();
        let (first, second, third) = (arguments.next(), arguments.next(), arguments.next());
        let is_as = |word: &Text| word.value.eq_ignore_ascii_case("as");
        let (base, name) = match (first, second, third, arguments.next()) {
            (Some(base), None, None, None) => (base, None),
            (Some(base), Some(word), Some(name), None) if is_as(&word) => (base, Some((word, name))),
            _ => return self.refuse("FROM requires either one or three arguments"),
        };
        let platform = flags.take("platform");
        let Some((as_keyword, written)) = name else {
            return Ok(From { base, name: None, written_name: None, as_keyword: None, platform });
        };
        let lower = written.value.to_lowercase();
        let valid = lower.starts_with(|c: char| c.is_ascii_lowercase())
            && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !valid {
            let message = format!(
                "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                written.value
            );
            return Err(Diagnostic::error(message, written.span));
        }
        let name = Some(Text::new(lower, written.span));
        Ok(From { base, name, written_name: Some(written), as_keyword: Some(as_keyword), platform })
    }
}
