//! Flags as runc's own parser takes them: `--flag value`, `--flag=value`, one dash or two, `--switch=false`; one-letter
//! switches may be put together. `--` ends flags.
//!
//! One table for each command gives parser and help.

use std::ffi::OsString;

use super::Global;
use super::error::{Error, Result};

/// One flag of a command.
#[derive(Clone, Copy)]
pub(super) struct Flag {
    name: &'static str,
    short: Option<char>,
    /// What its value is; `None` for a switch.
    value: Option<&'static str>,
    about: &'static str,
}

impl Flag {
    pub(super) const fn switch(name: &'static str, about: &'static str) -> Self {
        Self { name, short: None, value: None, about }
    }

    pub(super) const fn value(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Self { name, short: None, value: Some(value), about }
    }

    pub(super) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Its arguments, as help shows them.
    pub(super) usage: &'static str,
    pub(super) flags: &'static [Flag],
    /// How many arguments it takes, at least and at most.
    pub(super) arguments: (usize, usize),
    /// The first argument ends its flags: what follows belongs to another program.
    pub(super) flags_lead: bool,
    pub(super) run: fn(&Global, &Parsed) -> Result<u8>,
}

/// Flags and arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    flags: Vec<(&'static str, String)>,
    pub(super) arguments: Vec<String>,
}

impl Parsed {
    /// Whether a switch is on; the last word counts.
    pub(super) fn on(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// A flag's last value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// All values of a flag that may be there several times.
    pub(super) fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A flag's value as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Error::usage(format!("--{name} is {text:?}, which is no number in range")))
        };
        self.value(name).map(parse).transpose()
    }

    /// The container, which every command but a few names first.
    pub(super) fn id(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

const HELP: Flag = Flag::switch("help", "print this").short('h');

pub(super) fn utf8(words: Vec<OsString>) -> Result<Vec<String>> {
    let text = |word: OsString| {
        word.into_string().map_err(|word| Error::usage(format!("the word {} is not UTF-8", word.display())))
    };
    words.into_iter().map(text).collect()
}

/// Parses the flags in front of the first argument, and gives back what follows.
pub(super) fn parse_leading<'a>(flags: &[Flag], words: &'a [String]) -> Result<(Parsed, &'a [String])> {
    let mut parsed = Parsed::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            return Ok((parsed, after));
        }
        if !is_flag(word) {
            break;
        }
        rest = parse_flag(flags, word, after, &mut parsed)?;
    }
    Ok((parsed, rest))
}

/// Parses the words after a command's name.
pub(super) fn parse_command(command: &Command, words: &[String]) -> Result<Parsed> {
    let flags: Vec<Flag> = command.flags.iter().copied().chain([HELP]).collect();
    // Two dashes end the flags for good, wherever arguments may stand among them.
    let (mut parsed, mut rest) =
        if command.flags_lead { parse_leading(&flags, words)? } else { (Parsed::default(), words) };
    if command.flags_lead {
        parsed.arguments = rest.to_vec();
    }
    while let Some((word, after)) = rest.split_first().filter(|_| !command.flags_lead) {
        rest = after;
        if word == "--" {
            parsed.arguments.extend_from_slice(after);
            break;
        }
        match is_flag(word) {
            true => rest = parse_flag(&flags, word, after, &mut parsed)?,
            false => parsed.arguments.push(word.clone()),
        }
    }
    let (least, most) = command.arguments;
    if !parsed.on("help") && !(least..=most).contains(&parsed.arguments.len()) {
        let count = parsed.arguments.len();
        let line = format!("skiff oci {} {}", command.name, command.usage);
        return Err(Error::usage(format!("{count} arguments are not what is wanted: {line}")));
    }
    Ok(parsed)
}

fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// Takes one word, and the next one where that is its value; gives back what follows.
fn parse_flag<'a>(
    flags: &[Flag],
    word: &str,
    after: &'a [String],
    parsed: &mut Parsed,
) -> Result<&'a [String]> {
    let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
    let (name, given) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    };
    let known = |name: &str| {
        flags
            .iter()
            .find(|flag| flag.name == name || flag.short.is_some_and(|letter| name.chars().eq([letter])))
    };
    let Some(flag) = known(name) else {
        let letters: Option<Vec<&Flag>> =
            name.chars().map(|letter| known(letter.encode_utf8(&mut [0; 4]))).collect();
        let switches = letters.filter(|flags| flags.iter().all(|flag| flag.value.is_none()));
        let Some(switches) = switches.filter(|_| !word.starts_with("--") && given.is_none()) else {
            return Err(Error::usage(format!("flag {word:?} is unknown")));
        };
        parsed.flags.extend(switches.iter().map(|flag| (flag.name, "true".to_owned())));
        return Ok(after);
    };
    match (flag.value, given) {
        (None, None) => parsed.flags.push((flag.name, "true".into())),
        (None, Some(value @ ("true" | "false"))) => parsed.flags.push((flag.name, value.into())),
        (None, Some(value)) => {
            return Err(Error::usage(format!("--{} is {value:?}; it may be true or false", flag.name)));
        }
        (Some(_), Some(value)) => parsed.flags.push((flag.name, value.into())),
        (Some(_), None) => {
            let Some((value, after)) = after.split_first() else {
                return Err(Error::usage(format!("--{} needs a value", flag.name)));
            };
            parsed.flags.push((flag.name, value.clone()));
            return Ok(after);
        }
    }
    Ok(after)
}

/// A command's help.
pub(super) fn help(command: &Command) -> String {
    let Command { name, about, usage, flags, .. } = command;
    let flags: Vec<Flag> = flags.iter().copied().chain([HELP]).collect();
    format!("Usage: skiff oci {name} {usage}\n\n{about}\n\nOptions:\n{}", help_of_flags(&flags))
}

/// One line for each flag.
pub(super) fn help_of_flags(flags: &[Flag]) -> String {
    let line = |flag: &Flag| {
        let short = flag.short.map_or(String::new(), |letter| format!("-{letter}, "));
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        let left = format!("{short:>6}--{}{value}", flag.name);
        format!("{left:<38} {}\n", flag.about)
    };
    flags.iter().map(line).collect()
}
