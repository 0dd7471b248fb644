//! The 18 instructions.

use super::flags::{Flags, Shape};
use super::lines::Slice;
use super::{duration, heredoc_operator, mount, words};
use crate::expand::with_suggestion;
use crate::source::{Diagnostic, Result, Span};
use crate::syntax::{
    Add, Argument, CommandLine, Copy, From, Healthcheck, Heredoc, Instruction, Kind, Network, Onbuild, Pair,
    Run, Security, Text, Transfer,
};

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
/// The shortest time between two health checks, in nanoseconds.
const SHORTEST_INTERVAL: i64 = 1_000_000;

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

    fn from(mut self) -> Result<From> {
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

    fn command(self) -> CommandLine {
        match self.json {
            Some(arguments) => CommandLine::Exec(arguments),
            None => CommandLine::Shell(self.arguments.text()),
        }
    }

    fn one(self) -> Result<Text> {
        if self.arguments.is_empty() {
            return self.refuse(format!("{} requires exactly one argument", self.upper()));
        }
        Ok(self.arguments.text())
    }

    fn list(self) -> Result<Vec<Text>> {
        if self.arguments.is_empty() {
            return self.refuse(format!("{} requires at least one argument", self.upper()));
        }
        Ok(self.paths())
    }

    /// Words, or the strings of a JSON array, of which each stands at the array's place.
    fn paths(&self) -> Vec<Text> {
        match &self.json {
            Some(strings) => {
                let place = self.arguments.span();
                strings.iter().map(|string| Text::new(string.clone(), place)).collect()
            }
            None => words::split_blanks(self.arguments),
        }
    }

    fn volumes(self) -> Result<Vec<Text>> {
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

    fn shell(self) -> Result<Vec<String>> {
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

    fn arg(self) -> Result<Vec<Argument>> {
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
    fn pairs(self) -> Result<Vec<Pair>> {
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

    fn onbuild(self, heredocs: &[Heredoc]) -> Result<Onbuild> {
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

    /// Sources and destination of ADD and COPY.
    fn transfer(&self, heredocs: Vec<Heredoc>, flags: &mut Flags) -> Result<Transfer> {
        let upper = self.upper();
        let mut words = self.paths();
        if words.len() < 2 {
            let count = "requires at least two arguments, but only one was provided";
            return self.refuse(format!("{upper} {count}. Destination could not be determined."));
        }
        let destination = words.pop().unwrap_or_default();
        let documents = self.json.is_none();
        if documents && heredoc_operator(&destination.value).is_some() {
            let message = format!("{upper} cannot accept a heredoc as a destination");
            return Err(Diagnostic::error(message, destination.span));
        }
        let (mut paths, mut inline) = (Vec::new(), Vec::new());
        for word in words {
            let announced = documents.then(|| heredoc_operator(&word.value)).flatten();
            let Some(operator) = announced else {
                paths.push(word);
                continue;
            };
            // Of several documents with one name the last one counts.
            match heredocs.iter().rfind(|heredoc| heredoc.name == operator.name) {
                Some(heredoc) => inline.push(heredoc.clone()),
                None => paths.push(word),
            }
        }
        Ok(Transfer {
            paths,
            inline,
            destination,
            chown: flags.take("chown"),
            chmod: flags.take("chmod"),
            link: flags.switch("link").unwrap_or_default(),
            excludes: flags.take_each("exclude"),
        })
    }

    fn add(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("chown", Shape::Once),
            ("chmod", Shape::Once),
            ("link", Shape::Switch),
            ("exclude", Shape::Each),
            ("keep-git-dir", Shape::Switch),
            ("checksum", Shape::Once),
            ("unpack", Shape::Switch),
        ])?;
        Ok(Kind::Add(Add {
            transfer: self.transfer(heredocs, &mut flags)?,
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.take("checksum"),
            unpack: flags.switch("unpack"),
        }))
    }

    fn copy(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("chown", Shape::Once),
            ("chmod", Shape::Once),
            ("link", Shape::Switch),
            ("exclude", Shape::Each),
            ("from", Shape::Once),
            ("parents", Shape::Switch),
        ])?;
        Ok(Kind::Copy(Copy {
            transfer: self.transfer(heredocs, &mut flags)?,
            from: flags.take("from"),
            parents: flags.switch("parents").unwrap_or_default(),
        }))
    }

    fn run(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("mount", Shape::Each),
            ("network", Shape::Once),
            ("security", Shape::Once),
            ("device", Shape::Each),
        ])?;
        let network = match flags.take("network") {
            None => Network::Default,
            Some(text) => match text.value.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    return Err(Diagnostic::error(format!("invalid network mode {other:?}"), text.span)
                        .with_help("there are default, none and host"));
                }
            },
        };
        let security = match flags.take("security") {
            None => Security::Sandbox,
            Some(text) => match text.value.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    return Err(Diagnostic::error(format!("security {other:?} is not valid"), text.span)
                        .with_help("there are sandbox and insecure"));
                }
            },
        };
        let mounts = flags.take_each("mount").iter().map(mount::flag).collect::<Result<_>>()?;
        let devices = flags.take_each("device").iter().map(mount::device).collect::<Result<_>>()?;
        Ok(Kind::Run(Run { command: self.command(), heredocs, mounts, network, security, devices }))
    }

    fn healthcheck(mut self) -> Result<Healthcheck> {
        let names = ["interval", "timeout", "start-period", "start-interval"];
        let mut known: Vec<(&'static str, Shape)> = names.map(|name| (name, Shape::Once)).to_vec();
        known.push(("retries", Shape::Once));
        let mut flags = self.flags(&known)?;
        if self.arguments.is_empty() {
            return self.refuse("HEALTHCHECK requires at least one argument");
        }
        let all = self.arguments.str();
        let end = all.find(char::is_whitespace).unwrap_or(all.len());
        let rest = self.arguments.part(end, all.len()).trim();
        match all[..end].to_uppercase().as_str() {
            "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
            "NONE" => return self.refuse("HEALTHCHECK NONE takes no arguments"),
            "CMD" => {}
            other => return self.refuse(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
        }
        let json = words::json(rest)?;
        if rest.is_empty() || json.as_ref().is_some_and(Vec::is_empty) {
            return self.refuse("Missing command after HEALTHCHECK CMD");
        }
        let command = json.map_or_else(|| CommandLine::Shell(rest.text()), CommandLine::Exec);
        let mut times = [0; 4];
        for (time, name) in times.iter_mut().zip(names) {
            *time = flags.take(name).map_or(Ok(0), |text| interval(name, &text))?;
        }
        let [interval, timeout, start_period, start_interval] = times;
        let retries = flags.take("retries").map_or(Ok(0), |text| retries(&text))?;
        Ok(Healthcheck::Command { command, interval, timeout, start_period, start_interval, retries })
    }
}

fn interval(name: &str, text: &Text) -> Result<i64> {
    match duration::parse(&text.value) {
        Ok(time) if time == 0 || time >= SHORTEST_INTERVAL => Ok(time),
        Ok(_) => Err(Diagnostic::error(format!("Interval {name:?} cannot be less than 1ms"), text.span)),
        Err(message) => Err(Diagnostic::error(message, text.span)),
    }
}

fn retries(text: &Text) -> Result<i64> {
    let shown = &text.value;
    let message = match shown.parse::<i32>() {
        Ok(number) if number >= 0 => return Ok(i64::from(number)),
        Ok(number) => format!("--retries cannot be negative ({number})"),
        Err(_) => format!("strconv.ParseInt: parsing {shown:?}: invalid syntax"),
    };
    Err(Diagnostic::error(message, text.span))
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
