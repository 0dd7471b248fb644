//! The text of a Dockerfile and the places in it.
//!
//! A [`Source`] is made once of the file's bytes; everything else borrows from it and names places by
//! [`Span`]. Bytes that are not UTF-8 become U+FFFD: in a comment they harm nobody, in an instruction the
//! parser refuses them. A byte order mark at the beginning is dropped.
//!
//! What is shown of it, to people and to programs, has no credentials of addresses ([`Source::shown`]).

mod diagnostic;
mod ranges;
mod render;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use diagnostic::{Diagnostic, Errors, Label, Result, Severity};
pub use ranges::ranges;
pub(crate) use render::plain;

/// The most bytes a Dockerfile may have: far more than anybody writes, and little enough to be read at once.
pub const FILE_LIMIT: usize = 16 << 20;
/// The most bytes a physical line may have, without its end; BuildKit's number.
pub const LINE_LIMIT: usize = 65535;
/// The most instructions in a file.
pub const INSTRUCTION_LIMIT: usize = 250_000;

/// A piece of the text: byte offsets, the end not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The piece between two offsets.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let start = offset(start);
        Self { start, end: offset(end).max(start) }
    }

    /// The smallest piece that holds both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Its bytes as a range.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// An offset as spans keep it; no text is as long as that type can count.
fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A value and where it stands. Where quotes or continuations were taken away, the place is wider than the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A place as people count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

/// A Dockerfile's text, and where its lines begin.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins; the first is 0.
    starts: Vec<u32>,
    /// Where U+FFFD stands for bytes that were not UTF-8.
    damaged: Vec<u32>,
    /// Where addresses have credentials.
    credentials: Vec<Range<usize>>,
}

impl Source {
    /// The text of a file. The name is shown in messages only.
    ///
    /// # Errors
    /// If it is larger than [`FILE_LIMIT`].
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> std::result::Result<Self, Diagnostic> {
        if bytes.len() > FILE_LIMIT {
            let message = format!("the Dockerfile has {} bytes, more than {FILE_LIMIT}", bytes.len());
            return Err(Diagnostic::error(message, None));
        }
        let (mut text, damaged) = match String::from_utf8(bytes) {
            Ok(text) => (text, Vec::new()),
            Err(error) => replace_damaged(error.as_bytes()),
        };
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| offset(at + 1));
        let starts = std::iter::once(0).chain(ends).collect();
        let credentials = oci::credentials(&text);
        Ok(Self { name: name.into(), text, starts, damaged, credentials })
    }

    /// What messages call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All of the text as others may see it: without credentials in addresses. It has the same lines.
    #[must_use]
    pub fn shown(&self) -> String {
        self.shown_part(0..self.text.len())
    }

    /// A part of it as others may see it.
    pub(crate) fn shown_part(&self, part: Range<usize>) -> String {
        oci::masked_part(&self.text, &self.credentials, part)
    }

    /// How many lines there are; one that the last line end begins does not count.
    #[must_use]
    pub fn line_count(&self) -> usize {
        let last = self.starts.last().copied().unwrap_or_default() as usize;
        self.starts.len() - usize::from(last == self.text.len())
    }

    /// A line with its end, counted from 0.
    #[must_use]
    pub fn line(&self, index: usize) -> &str {
        let Some(start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).map_or(self.text.len(), |end| *end as usize);
        self.text.get(*start as usize..end).unwrap_or_default()
    }

    /// Where a line begins, counted from 0.
    #[must_use]
    pub fn line_start(&self, index: usize) -> usize {
        self.starts.get(index).map_or(self.text.len(), |start| *start as usize)
    }

    /// The text at a place.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The line, counted from 1, in which an offset lies.
    #[must_use]
    pub fn line_of(&self, at: u32) -> u32 {
        offset(self.starts.partition_point(|start| *start <= at))
    }

    /// An offset as people count.
    #[must_use]
    pub fn position(&self, at: u32) -> Position {
        let line = self.line_of(at);
        let start = self.line_start(line as usize - 1);
        let before = self.text.get(start..at as usize).unwrap_or_default();
        Position { line, column: offset(before.chars().count() + 1) }
    }

    /// The first and the last line, counted from 1, that a place touches.
    #[must_use]
    pub fn lines_of(&self, span: Span) -> (u32, u32) {
        let last = if span.is_empty() { span.start } else { span.end - 1 };
        (self.line_of(span.start), self.line_of(last))
    }

    /// The lines of a place, and those around it, as BuildKit shows where a step failed. Ends with a line end.
    #[must_use]
    pub fn excerpt(&self, span: Span) -> String {
        render::excerpt(self, span)
    }

    /// Where, in a place, bytes stood that are not UTF-8.
    #[must_use]
    pub fn damage_in(&self, span: Span) -> Option<Span> {
        let at = *self.damaged.get(self.damaged.partition_point(|at| *at < span.start))?;
        (at < span.end).then(|| Span::new(at as usize, at as usize + char::REPLACEMENT_CHARACTER.len_utf8()))
    }
}

/// Text with U+FFFD for what is not UTF-8, and where that is.
fn replace_damaged(bytes: &[u8]) -> (String, Vec<u32>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len());
    let mut damaged = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            damaged.push(offset(text.len()));
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, damaged)
}
