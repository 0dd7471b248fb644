//! What there is to say about a Dockerfile, and where.

use std::fmt;

use super::render::{plain, render};
use super::{Source, Span};

/// A result whose error is one thing to say.
pub type Result<T, E = Diagnostic> = std::result::Result<T, E>;

/// The most errors reported for one file.
const ERROR_LIMIT: usize = 20;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file can be built, but perhaps not as meant.
    Warning,
    /// The file cannot be built.
    Error,
}

/// A place that a message is about, with a word on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is there; may be empty.
    pub text: String,
}

/// An error or a warning. Messages begin with the words that BuildKit has for the same thing, where it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that says so, of a warning.
    pub code: Option<&'static str>,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; the first is the main one. None if it is about the file as a whole.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error, with its place. Messages tell values, of which some are addresses: their credentials are masked.
    #[must_use]
    pub fn error(message: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        let labels = span.into().map(|span| Label { span, text: String::new() });
        Self {
            severity: Severity::Error,
            code: None,
            message: oci::without_credentials(&message.into()).into_owned(),
            labels: labels.into_iter().collect(),
            help: None,
        }
    }

    /// A warning, with its place.
    #[must_use]
    pub fn warning(message: impl Into<String>, span: impl Into<Option<Span>>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, span) }
    }

    /// With a word on what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a further place.
    #[must_use]
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// With a place, if it has none yet.
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Self {
        if self.labels.is_empty() {
            self.labels.push(Label { span, text: String::new() });
        }
        self
    }

    /// The main place.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }

    /// As shown to people: the message, and each place with its line and a mark below it. Ends with a line end.
    #[must_use]
    pub fn render(&self, source: &Source) -> String {
        render(self, source)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&plain(&self.message))
    }
}

impl std::error::Error for Diagnostic {}

/// What keeps a file from being built: at least one error, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    first: Box<Diagnostic>,
    others: Vec<Diagnostic>,
}

impl Errors {
    /// All of what was found, or nothing if nothing was.
    pub(crate) fn of(found: Vec<Diagnostic>) -> std::result::Result<(), Self> {
        let mut found = found.into_iter();
        match found.next() {
            Some(first) => Err(Self { first: Box::new(first), others: found.collect() }),
            None => Ok(()),
        }
    }

    /// Whether no more of them are wanted.
    pub(crate) fn enough(found: &[Diagnostic]) -> bool {
        found.len() >= ERROR_LIMIT
    }

    /// The one that comes first in the file.
    #[must_use]
    pub fn first(&self) -> &Diagnostic {
        &self.first
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        std::iter::once(&*self.first).chain(&self.others)
    }

    /// As shown to people, with an empty line between two.
    #[must_use]
    pub fn render(&self, source: &Source) -> String {
        self.iter().map(|error| error.render(source)).collect::<Vec<_>>().join("\n")
    }
}

impl From<Diagnostic> for Errors {
    fn from(first: Diagnostic) -> Self {
        Self { first: Box::new(first), others: Vec::new() }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(formatter)?;
        match self.others.len() {
            0 => Ok(()),
            more => write!(formatter, " (and {more} more)"),
        }
    }
}

impl std::error::Error for Errors {}
