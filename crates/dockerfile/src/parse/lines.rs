//! Physical lines, and the logical ones that continuations make of them.

use crate::source::{Diagnostic, LINE_LIMIT, Result, Source, Span};
use crate::syntax::Text;

/// The lines of a file, one after the other.
pub(super) struct Lines<'s> {
    pub(super) source: &'s Source,
    next: usize,
}

/// A line with its end, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Line<'s> {
    pub(super) text: &'s str,
    pub(super) start: usize,
}

impl<'s> Line<'s> {
    /// Without its end.
    pub(super) fn content(self) -> &'s str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    /// The text after `#`, if that is the first character that is no blank.
    pub(super) fn comment(self) -> Option<&'s str> {
        self.content().trim_start().strip_prefix('#')
    }

    pub(super) fn span(self) -> Span {
        Span::new(self.start, self.start + self.content().len())
    }
}

impl<'s> Lines<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, next: 0 }
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Option<Line<'s>>> {
        if self.next >= self.source.line_count() {
            return Ok(None);
        }
        let line = Line { text: self.source.line(self.next), start: self.source.line_start(self.next) };
        self.next += 1;
        if line.text.strip_suffix('\n').unwrap_or(line.text).len() > LINE_LIMIT {
            let message = format!("dockerfile line greater than max allowed size of {LINE_LIMIT}");
            return Err(Diagnostic::error(message, line.span())
                .with_help("break it by continuations, or put the text into a file of its own"));
        }
        Ok(Some(line))
    }
}

/// Physical lines joined by continuations, without comments and empty lines between them.
pub(super) struct Logical {
    text: String,
    /// Where in `text` a line's share begins, and where in the file that is.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    /// `first` is the first line without blanks before it, and `start` where that begins. Takes further lines as
    /// long as the last one is continued. The second value is the last empty line among them.
    pub(super) fn read(
        first: &str,
        start: usize,
        escape: char,
        lines: &mut Lines<'_>,
    ) -> Result<(Self, Option<Span>)> {
        let mut logical = Self { text: String::new(), pieces: Vec::new() };
        let mut empty = None;
        let mut continued = logical.push(first, start, escape);
        while continued {
            let Some(line) = lines.next()? else { break };
            if line.comment().is_some() {
                continue;
            }
            if line.content().trim_start().is_empty() {
                empty = Some(line.span());
                continue;
            }
            continued = logical.push(line.content(), line.start, escape);
        }
        Ok((logical, empty))
    }

    /// Adds a line; whether another is to follow.
    fn push(&mut self, line: &str, start: usize, escape: char) -> bool {
        let kept = without_continuation(line, escape);
        self.pieces.push((self.text.len(), start));
        self.text.push_str(kept.unwrap_or(line));
        kept.is_some()
    }

    /// All of it.
    pub(super) fn all(&self) -> Slice<'_> {
        Slice { line: self, start: 0, end: self.text.len() }
    }

    fn place(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
        self.pieces.get(index).map_or(0, |(begin, start)| start + (at - begin))
    }
}

/// The line without the escape character at its end, if it has one that is not itself escaped.
pub(super) fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let kept = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!kept.ends_with(escape)).then_some(kept)
}

/// A part of a logical line.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    line: &'a Logical,
    start: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    pub(super) fn str(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part from one byte of this to another.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        Self { start: self.start + from, end: self.start + to, ..self }
    }

    pub(super) fn trim(self) -> Self {
        let text = self.str();
        let from = text.len() - text.trim_start().len();
        self.part(from, from + text.trim().len())
    }

    /// Where it stands in the file.
    pub(super) fn span(self) -> Span {
        let start = self.line.place(self.start);
        let end = if self.is_empty() { start } else { self.line.place(self.end - 1) + 1 };
        Span::new(start, end)
    }

    /// Its text and its place.
    pub(super) fn text(self) -> Text {
        Text::new(self.str().to_owned(), self.span())
    }
}
