//! The flags of an instruction, checked against those that it has.

use crate::expand::with_suggestion;
use crate::source::{Diagnostic, Result};
use crate::syntax::Text;

/// How a flag is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `--link`, `--link=false`.
    Switch,
    /// `--chown=value`, once.
    Once,
    /// `--mount=value`, any number of times.
    Each,
}

/// The flags that were given.
pub(super) struct Flags {
    given: Vec<(&'static str, Text)>,
}

impl Flags {
    /// # Errors
    /// If a flag is unknown, given twice, or lacks its value.
    pub(super) fn check(words: Vec<Text>, known: &[(&'static str, Shape)]) -> Result<Self> {
        let mut given: Vec<(&'static str, Text)> = Vec::new();
        for word in words {
            let span = word.span;
            let text = word.value.strip_prefix("--").unwrap_or(&word.value);
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            let refuse = |message: String| Err(Diagnostic::error(message, span));
            let Some((name, shape)) = known.iter().find(|(known, _)| *known == name) else {
                let names = known.iter().map(|(name, _)| *name);
                return refuse(with_suggestion(format!("unknown flag: --{name}"), name, names));
            };
            if *shape != Shape::Each && given.iter().any(|(other, _)| other == name) {
                return refuse(format!("duplicate flag specified: --{name}"));
            }
            let value = match (shape, value) {
                (Shape::Switch, None) => "true".to_owned(),
                (Shape::Switch, Some("")) | (Shape::Once | Shape::Each, None) => {
                    return refuse(format!("missing a value on flag: --{name}"));
                }
                (Shape::Switch, Some(value)) => match value.to_ascii_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => {
                        return refuse(format!("expecting boolean value for flag --{name}, not: {value}"));
                    }
                },
                (Shape::Once | Shape::Each, Some(value)) => value.to_owned(),
            };
            given.push((name, Text::new(value, span)));
        }
        Ok(Self { given })
    }

    /// The value of a flag, if it was given and is not empty.
    pub(super) fn take(&mut self, name: &str) -> Option<Text> {
        let at = self.given.iter().position(|(given, _)| *given == name)?;
        Some(self.given.remove(at).1).filter(|text| !text.value.is_empty())
    }

    /// All values of a flag.
    pub(super) fn take_each(&mut self, name: &str) -> Vec<Text> {
        let (taken, left) =
            std::mem::take(&mut self.given).into_iter().partition(|(given, _)| *given == name);
        self.given = left;
        let taken: Vec<(&'static str, Text)> = taken;
        taken.into_iter().map(|(_, text)| text).collect()
    }

    /// A switch, if it was given.
    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        self.take(name).map(|text| text.value == "true")
    }
}
