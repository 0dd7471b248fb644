//! The directives at the top of a file, and which frontend it asks for.
//!
//! Any other line ends them: a blank one, a comment of another form, an instruction.

use crate::source::{Diagnostic, Result, Source, Span};
use crate::syntax::{Directive, DirectiveName, Text};

/// Finds directives as long as there may be any.
pub(super) struct Directives {
    found: Vec<Directive>,
    done: bool,
}

impl Directives {
    pub(super) fn new() -> Self {
        Self { found: Vec::new(), done: false }
    }

    /// A line without its end and without blanks before it; whether it was a directive.
    pub(super) fn read(&mut self, line: &str, start: usize) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let Some(directive) = directive(line, start, "#") else {
            self.done = true;
            return Ok(false);
        };
        if self.found.iter().any(|other| other.name == directive.name) {
            let name = name_of(directive.name);
            let message = format!("only one {name} parser directive can be used");
            return Err(Diagnostic::error(message, Span::new(start, start + line.len())));
        }
        self.found.push(directive);
        Ok(true)
    }

    /// The character that `# escape=` names.
    pub(super) fn escape(&self) -> Result<char> {
        let Some(directive) = self.found.iter().find(|found| found.name == DirectiveName::Escape) else {
            return Ok('\\');
        };
        match directive.value.value.as_str() {
            "\\" => Ok('\\'),
            "`" => Ok('`'),
            other => {
                let message = format!("invalid escape token '{other}' does not match ` or \\");
                Err(Diagnostic::error(message, directive.value.span))
            }
        }
    }

    pub(super) fn finish(self) -> Vec<Directive> {
        self.found
    }
}

fn name_of(name: DirectiveName) -> &'static str {
    match name {
        DirectiveName::Syntax => "syntax",
        DirectiveName::Escape => "escape",
        DirectiveName::Check => "check",
    }
}

/// `# name = value`, with any sign for a comment.
fn directive(line: &str, start: usize, sign: &str) -> Option<Directive> {
    let text = line.strip_prefix(sign)?.trim_start();
    let (name, value) = text.split_once('=')?;
    let name = name.trim_end();
    let known = [DirectiveName::Syntax, DirectiveName::Escape, DirectiveName::Check];
    let name = known.into_iter().find(|known| name_of(*known).eq_ignore_ascii_case(name))?;
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    let begin = start + (value.as_ptr() as usize - line.as_ptr() as usize);
    let span = Span::new(begin, begin + value.len());
    Some(Directive { name, value: Text::new(value.to_owned(), span) })
}

/// The frontend that a file asks for: by `# syntax=`, by `// syntax=` in files of another language, or as the
/// member `syntax` of a JSON document. A first line `#!…` is skipped. The reference is the first word of the value.
#[must_use]
pub fn detect_syntax(source: &Source) -> Option<(String, Span)> {
    let first = usize::from(source.text().starts_with("#!"));
    for sign in ["#", "//"] {
        let mut seen = Vec::new();
        for index in first..source.line_count() {
            let line = source.line(index).trim_end_matches(['\r', '\n']);
            let Some(found) = directive(line, source.line_start(index), sign) else { break };
            if seen.contains(&found.name) {
                break;
            }
            if found.name == DirectiveName::Syntax {
                let word = found.value.value.split(' ').next().unwrap_or_default().to_owned();
                return Some((word, found.value.span));
            }
            seen.push(found.name);
        }
    }
    let begin = source.line_start(first);
    let text = source.text().get(begin..)?;
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let value = document.get("syntax")?.as_str()?.to_owned();
    Some((value, Span::new(begin, source.text().len())))
}
