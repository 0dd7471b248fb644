//! Instructions of words, pairs and strings: ARG, ENV, LABEL, VOLUME, SHELL, ONBUILD and those of one value.

use super::super::words;
use super::Line;
use crate::source::{Diagnostic, Result};
use crate::syntax::{Argument, Heredoc, Onbuild, Pair, Text};

impl Line<'_> {
    pub(super) fn one(self) -> Result<Text> {
        if self.arguments.is_empty() {
            return self.refuse(format!("{} requires exactly one argument", self.upper()));
        }
        Ok(self.arguments.text())
    }

    pub(super) fn list(self) -> Result<Vec<Text>> {
        if self.arguments.is_empty() {
            return self.refuse(format!("{} requires at least one argument", self.upper()));
        }
        Ok(self.paths())
    }

    /// Words, or the strings of a JSON array, of which each stands at the array's place.
    pub(super) fn paths(&self) -> Vec<Text> {
        match &self.json {
            Some(strings) => {
                let place = self.arguments.span();
                strings.iter().map(|string| Text::new(string.clone(), place)).collect()
            }
            None => words::split_blanks(self.arguments),
        }
    }

    pub(super) fn volumes(self) -> Result<Vec<Text>> {
        let upper = self.upper();
        let place = self.arguments.span();
        let volumes = self.list()?;
        if volumes.is_empty() {
            return Err(Diagnostic::error(format!("{upper} requires at least one argument"), place));
        }
        let trimmed =
            volumes.into_iter().map(|volume| Text::new(volume.value.trim().to_owned(), volume.span));
        let trimmed: Vec<Text> = trimmed.collect();
        match trimmed.iter().find(|volume| volume.value.is_empty()) {
            Some(empty) => Err(Diagnostic::error("VOLUME specified can not be an empty string", empty.span)),
            None => Ok(trimmed),
        }
    }

    pub(super) fn shell(self) -> Result<Vec<String>> {
        match &self.json {
            Some(strings) if !strings.is_empty() => Ok(strings.clone()),
            None if !self.arguments.is_empty() => {
                let message = format!(
                    "SHELL requires the arguments to be in JSON form, not {:?}",
                    self.arguments.str()
                );
                self.refuse(message)
            }
            _ => self.refuse("SHELL requires at least one argument"),
        }
    }

    pub(super) fn arg(self) -> Result<Vec<Argument>> {
        let given = words::split_quoted(self.arguments, self.escape);
        if given.is_empty() {
            return self.refuse("ARG requires at least one argument");
        }
        let arguments = given.into_iter().map(|word| match word.value.split_once('=') {
            Some(("", _)) => Err(Diagnostic::error("ARG names can not be blank", word.span)),
            Some((name, value)) => Ok(Argument {
                name: Text::new(name.to_owned(), word.span),
                default: Some(Text::new(value.to_owned(), word.span)),
            }),
            None => Ok(Argument { name: word, default: None }),
        });
        arguments.collect()
    }

    /// `NAME=value …`, or the older `NAME value`: whichever of `=` and a blank comes first.
    pub(super) fn pairs(self) -> Result<Vec<Pair>> {
        let given = words::split_quoted(self.arguments, self.escape);
        let upper = self.upper();
        let Some(first) = given.first() else {
            return self.refuse(format!("{upper} requires at least one argument"));
        };
        if !first.value.contains('=') {
            let (name, Some(value)) = words::cut_word(self.arguments) else {
                return self.refuse(format!("{upper} must have two arguments"));
            };
            return Ok(vec![Pair { name: name.text(), value: value.text(), legacy: true }]);
        }
        let pairs = given.into_iter().map(|word| match word.value.split_once('=') {
            Some(("", _)) => Err(Diagnostic::error(format!("{upper} names can not be blank"), word.span)),
            Some((name, value)) => Ok(Pair {
                name: Text::new(name.to_owned(), word.span),
                value: Text::new(value.to_owned(), word.span),
                legacy: false,
            }),
            None => {
                let shown = &word.value;
                let message =
                    format!("Syntax error - can't find = in {shown:?}. Must be of the form: name=value");
                Err(Diagnostic::error(message, word.span)
                    .with_help("put the value into quotes if it has blanks"))
            }
        });
        pairs.collect()
    }

    pub(super) fn onbuild(self, heredocs: &[Heredoc]) -> Result<Onbuild> {
        if self.arguments.is_empty() {
            return self.refuse("ONBUILD requires at least one argument");
        }
        let trigger = words::cut_word(self.arguments).0;
        match trigger.str().to_uppercase().as_str() {
            "ONBUILD" => return self.refuse("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
            upper @ ("MAINTAINER" | "FROM") => {
                let message = format!("{upper} isn't allowed as an ONBUILD trigger");
                return Err(Diagnostic::error(message, trigger.span()));
            }
            _ => {}
        }
        let mut expression = self.arguments.str().to_owned();
        for heredoc in heredocs {
            expression.push('\n');
            expression.push_str(&heredoc.content);
            expression.push_str(&heredoc.name);
        }
        Ok(Onbuild { expression })
    }
}
