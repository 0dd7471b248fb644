//! From text to syntax tree, as BuildKit's parser reads it.
//!
//! ```text
//! lines       physical lines ─► logical ones (continuations, comments between them)
//! directives  # syntax=, # escape=, # check=
//! words       flags, words, JSON arrays, comma-separated values
//! heredoc     documents below an instruction
//! instruction the 18 instructions and their flags
//! ```
//!
//! Goes once over the text. An instruction that cannot be read does not hide errors in later ones; a document
//! that is not ended does, for nobody knows where it was to end.

mod directives;
mod duration;
mod flags;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod size;
#[cfg(test)]
mod tests;
mod words;

use crate::source::{Diagnostic, Errors, INSTRUCTION_LIMIT, Result, Source, Span};
use crate::syntax::{Dockerfile, Instruction, Kind, Stage};

pub use directives::detect_syntax;
pub(crate) use heredoc::operator as heredoc_operator;
pub use mount::resolve as resolve_mount;

use directives::Directives;
use instruction::Parsed;
use lines::{Lines, Logical};

/// Reads a Dockerfile.
///
/// # Errors
/// If it cannot be built whatever its variables are; all such errors up to a bound, in the file's order.
pub fn parse(source: &Source) -> Result<Dockerfile, Errors> {
    parse_or_part(source).map_err(|(_, errors)| errors)
}

/// Reads a Dockerfile, or as much of it as can be read, for whoever has something to say of that.
///
/// # Errors
/// As of [`parse`], with all instructions in which there is no error.
pub fn parse_or_part(source: &Source) -> Result<Dockerfile, (Box<Dockerfile>, Errors)> {
    let mut reader = Reader::new(source);
    if let Err(error) = reader.read() {
        reader.errors.push(error);
    }
    reader.file.directives = reader.directives.finish();
    let mut found = Errors::of(reader.errors);
    if found.is_ok() && !reader.any {
        found = Err(Diagnostic::error("file with no instructions", None).into());
    }
    if found.is_ok() && reader.file.stages.is_empty() {
        let error = Diagnostic::error("dockerfile contains no stages to build", None);
        found = Err(error.with_help("begin a stage by `FROM`").into());
    }
    match found {
        Ok(()) => Ok(reader.file),
        Err(errors) => Err((Box::new(reader.file), errors)),
    }
}

/// Reads the one instruction of a trigger (ONBUILD), whose text comes from another stage or from an image.
///
/// # Errors
/// If it is not exactly one instruction, or one that no trigger may be.
pub fn parse_trigger(source: &Source) -> Result<Instruction> {
    let mut reader = Reader::new(source);
    reader.any_stage = true;
    reader.read()?;
    if let Some(error) = reader.errors.into_iter().next() {
        return Err(error);
    }
    match <[Instruction; 1]>::try_from(reader.loose) {
        Ok([one]) if !matches!(one.kind, Kind::Onbuild(_) | Kind::Maintainer(_)) => Ok(one),
        Ok([other]) => Err(Diagnostic::error(
            format!("{} isn't allowed as an ONBUILD trigger", other.kind.name()),
            other.span,
        )),
        Err(_) => Err(Diagnostic::error("onbuild trigger should be a single expression", None)),
    }
}

struct Reader<'s> {
    lines: Lines<'s>,
    directives: Directives,
    file: Dockerfile,
    errors: Vec<Diagnostic>,
    comments: Vec<String>,
    count: usize,
    any: bool,
    /// Takes instructions without a stage.
    any_stage: bool,
    loose: Vec<Instruction>,
}

impl<'s> Reader<'s> {
    fn new(source: &'s Source) -> Self {
        Self {
            lines: Lines::new(source),
            directives: Directives::new(),
            file: Dockerfile {
                escape: '\\',
                directives: Vec::new(),
                arguments: Vec::new(),
                stages: Vec::new(),
                empty_continuations: Vec::new(),
            },
            errors: Vec::new(),
            comments: Vec::new(),
            count: 0,
            any: false,
            any_stage: false,
            loose: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<()> {
        while !Errors::enough(&self.errors) {
            let Some(line) = self.lines.next()? else { break };
            let text = line.content().trim_start();
            let start = line.start + (line.content().len() - text.len());
            if let Some(comment) = line.comment() {
                if self.directives.read(text, start)? {
                    self.file.escape = self.directives.escape()?;
                } else if comment.trim().is_empty() {
                    self.comments.clear();
                } else {
                    self.comments.push(comment.trim().to_owned());
                }
                continue;
            }
            self.directives.read(text, start)?;
            if text.is_empty() {
                self.comments.clear();
                continue;
            }
            self.instruction(text, start)?;
        }
        Ok(())
    }

    /// Reads the instruction that begins in this line.
    fn instruction(&mut self, text: &str, start: usize) -> Result<()> {
        let (logical, empty) = Logical::read(text, start, self.file.escape, &mut self.lines)?;
        let line = logical.all().trim();
        if line.is_empty() {
            return Ok(());
        }
        self.any = true;
        self.count += 1;
        if self.count > INSTRUCTION_LIMIT {
            let message = format!("the Dockerfile has more than {INSTRUCTION_LIMIT} instructions");
            return Err(Diagnostic::error(message, line.span()));
        }
        self.file.empty_continuations.extend(empty);
        let comments = std::mem::take(&mut self.comments);
        let parsed = match instruction::Line::read(line, self.file.escape) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.errors.push(error);
                return Ok(());
            }
        };
        let heredocs = match parsed.may_have_heredocs() {
            true => heredoc::read(line.str(), line.span(), &mut self.lines)?,
            false => Vec::new(),
        };
        let end = heredocs.iter().map(|heredoc| heredoc.span).fold(line.span(), Span::to);
        if let Some(damage) = self.lines.source.damage_in(end).filter(|at| self.matters(*at)) {
            self.errors.push(Diagnostic::error("this is not UTF-8", damage));
            return Ok(());
        }
        match parsed.finish(heredocs, end, comments) {
            Ok(parsed) => self.add(parsed),
            Err(error) => self.errors.push(error.or_at(line.span())),
        }
        Ok(())
    }

    /// Whether damage at this place lies in anything but a comment.
    fn matters(&self, at: Span) -> bool {
        let line = self.lines.source.line(self.lines.source.line_of(at.start) as usize - 1);
        !line.trim_start().starts_with('#')
    }

    fn add(&mut self, parsed: Parsed) {
        match parsed {
            Parsed::From(from) if self.any_stage => {
                self.errors.push(Diagnostic::error("FROM isn't allowed as an ONBUILD trigger", from.span));
            }
            Parsed::From(from) => self.file.stages.push(Stage { from, instructions: Vec::new() }),
            Parsed::Other(instruction) if self.any_stage => self.loose.push(instruction),
            Parsed::Other(instruction) => match (self.file.stages.last_mut(), instruction) {
                (Some(stage), instruction) => stage.instructions.push(instruction),
                (None, Instruction { keyword, span, comments, code, kind: Kind::Arg(kind) }) => {
                    self.file.arguments.push(Instruction { keyword, span, comments, code, kind });
                }
                (None, instruction) => {
                    let error =
                        Diagnostic::error("no build stage in current context", instruction.keyword.span);
                    self.errors.push(error.with_help("only ARG may stand before the first FROM"));
                }
            },
        }
    }
}
