//! The 18 instructions.

mod from;
mod run;
mod transfer;
mod values;

use super::flags::{Flags, Shape};
use super::lines::Slice;
use super::words;
use crate::expand::with_suggestion;
use crate::source::{Diagnostic, Result, Span};
use crate::syntax::{CommandLine, From, Heredoc, Instruction, Kind, Text};

/// All of them.
pub(super) const NAMES: [&str; 18] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// FROM begins a stage; others belong to one.
pub(super) enum Parsed {
    From(Instruction<From>),
    Other(Instruction),
}

/// An instruction taken apart, its documents not yet read.
pub(super) struct Line<'a> {
    all: Slice<'a>,
    keyword: Text,
    name: &'static str,
    flags: Vec<Text>,
    arguments: Slice<'a>,
    json: Option<Vec<String>>,
    escape: char,
}

impl<'a> Line<'a> {
    pub(super) fn read(all: Slice<'a>, escape: char) -> Result<Self> {
        let (keyword, rest) = words::cut_word(all);
        let lower = keyword.str().to_lowercase();
        let Some(name) = NAMES.into_iter().find(|name| **name == lower) else {
            return Err(unknown(keyword.text(), &lower));
        };
        let end = all.str().len();
        let (flags, arguments) = words::cut_flags(rest.unwrap_or(all.part(end, end)));
        let json = match name {
            "add" | "copy" | "volume" | "cmd" | "entrypoint" | "run" | "shell" => words::json(arguments)?,
            _ => None,
        };
        Ok(Self { all, keyword: keyword.text(), name, flags, arguments, json, escape })
    }

    /// Whether documents may follow.
    pub(super) fn may_have_heredocs(&self) -> bool {
        match self.name {
            "add" | "copy" | "run" => self.json.is_none(),
            "onbuild" => Line::read(self.arguments, self.escape)
                .is_ok_and(|inner| inner.name != "onbuild" && inner.may_have_heredocs()),
            _ => false,
        }
    }

    pub(super) fn finish(self, heredocs: Vec<Heredoc>, span: Span, comments: Vec<String>) -> Result<Parsed> {
        let code = self.all.str().to_owned();
        let keyword = self.keyword.clone();
        if self.name == "from" {
            let kind = self.from()?;
            return Ok(Parsed::From(Instruction { keyword, span, comments, code, kind }));
        }
        let kind = self.kind(heredocs)?;
        Ok(Parsed::Other(Instruction { keyword, span, comments, code, kind }))
    }

    fn kind(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        Ok(match self.name {
            "add" => self.add(heredocs)?,
            "copy" => self.copy(heredocs)?,
            "run" => self.run(heredocs)?,
            "healthcheck" => Kind::Healthcheck(self.healthcheck()?),
            name => {
                self.flags(&[])?;
                match name {
                    "arg" => Kind::Arg(self.arg()?),
                    "cmd" => Kind::Cmd(self.command()),
                    "entrypoint" => Kind::Entrypoint(self.command()),
                    "env" => Kind::Env(self.pairs()?),
                    "label" => Kind::Label(self.pairs()?),
                    "expose" => Kind::Expose(self.list()?),
                    "volume" => Kind::Volume(self.volumes()?),
                    "maintainer" => Kind::Maintainer(self.one()?),
                    "onbuild" => Kind::Onbuild(self.onbuild(&heredocs)?),
                    "shell" => Kind::Shell(self.shell()?),
                    "stopsignal" => Kind::Stopsignal(self.one()?),
                    "user" => Kind::User(self.one()?),
                    _ => Kind::Workdir(self.one()?),
                }
            }
        })
    }

    fn upper(&self) -> String {
        self.name.to_uppercase()
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T> {
        let place = if self.arguments.is_empty() { self.keyword.span } else { self.arguments.span() };
        Err(Diagnostic::error(message, place))
    }

    fn flags(&mut self, known: &[(&'static str, Shape)]) -> Result<Flags> {
        Flags::check(std::mem::take(&mut self.flags), known)
    }

    fn command(self) -> CommandLine {
        match self.json {
            Some(arguments) => CommandLine::Exec(arguments),
            None => CommandLine::Shell(self.arguments.text()),
        }
    }
}

/// There is no such instruction; perhaps one with a name like it.
fn unknown(keyword: Text, lower: &str) -> Diagnostic {
    let written = &keyword.value;
    let shown: String = written.chars().take(100).collect();
    let cased: Vec<String> = NAMES
        .iter()
        .map(|name| if *written == lower { (*name).to_owned() } else { name.to_uppercase() })
        .collect();
    let key = if *written == lower { lower.to_owned() } else { lower.to_uppercase() };
    let message =
        with_suggestion(format!("unknown instruction: {shown}"), &key, cased.iter().map(String::as_str));
    Diagnostic::error(message, keyword.span)
}
