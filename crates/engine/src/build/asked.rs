//! The fields of one option (`type=registry,ref=…`), as it was asked for.
//!
//! They are taken out one by one, by whoever knows them. What is left in the end nobody knows, and is refused: it is more likely a slip
//! than a wish.

use crate::build::BuildError;
use crate::request::{Fields, parse_bool};
use crate::{Error, Result};

/// Fields that nobody has taken yet.
pub(super) struct Asked<'f> {
    /// How the option is called, as errors name it; empty for `--output`, which they call so anyway.
    pub(super) option: &'static str,
    /// Its `type=`, empty if it has none.
    pub(super) kind: &'f str,
    left: Vec<(&'f str, &'f str)>,
}

impl<'f> Asked<'f> {
    pub(super) fn of(option: &'static str, fields: &'f Fields) -> Asked<'f> {
        let left = fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut asked = Asked { option, kind: "", left };
        asked.kind = asked.take("type").unwrap_or_default();
        asked
    }

    /// The value of a field, whose name may be in any case. Of several the last one counts.
    pub(super) fn take(&mut self, key: &str) -> Option<&'f str> {
        self.take_all(|name| name.eq_ignore_ascii_case(key)).last().map(|(_, value)| *value)
    }

    /// All fields with such names, in their order.
    pub(super) fn take_all(&mut self, is_one: impl Fn(&str) -> bool) -> Vec<(&'f str, &'f str)> {
        let (taken, left) = std::mem::take(&mut self.left).into_iter().partition(|(name, _)| is_one(name));
        self.left = left;
        taken
    }

    /// Whether a field is set; `push` alone means `push=true`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.take(key) {
            None => Ok(default),
            Some("") => Ok(true),
            Some(text) => parse_bool(text)
                .ok_or_else(|| self.refuse(format!("{key}={text:?} is neither true nor false"))),
        }
    }

    pub(super) fn refuse(&self, reason: String) -> Error {
        let space = if self.option.is_empty() { "" } else { " " };
        BuildError::Output { output: format!("{}{space}type={}", self.option, self.kind), reason }.into()
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.refuse(format!("there is no option {key:?}"))),
        }
    }
}
