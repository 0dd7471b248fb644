//! Words to flags and arguments, by Docker's rules.
//!
//! - `--flag=value`, `--flag value`, `-f value`, `-fvalue`, `-f=value`; letters of switches may be joined (`-it`),
//!   and the last of them may take a value (`-itp8080:80`).
//! - A switch takes a value only after `=`: one of `1 t T true TRUE True` or `0 f F false FALSE False`.
//! - `--` ends the flags. In verbs that run a program the first word ends them too, so that the program's own
//!   flags are its own.
//! - `--help` wins over everything that follows it; so does `-h`, unless the verb has such a letter.
//!
//! Values are kept as text: the code that reads one parses it, and names the flag when that fails.

use super::{Flag, Kind, Standing, Verb};
use crate::error::{Error, Result};

/// What is said to `-h`.
pub(crate) const HELP_LETTER: &str = "Flag shorthand -h has been deprecated, use --help";

/// What was typed, checked against a verb's table.
#[derive(Debug)]
pub(crate) struct Parsed {
    values: Vec<(&'static Flag, String)>,
    /// The words that are not flags.
    pub(crate) arguments: Vec<String>,
    /// Help was asked for; nothing else counts.
    pub(crate) help: bool,
    /// How the verb was named, without the program's name (`container run`).
    pub(crate) path: String,
    /// What to say about spellings that are on their way out, each once.
    pub(crate) notices: Vec<&'static str>,
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.long)
    }
}

/// Parses `words`, which follow the verb's name.
pub(crate) fn parse(verb: &'static Verb, path: String, words: &[String]) -> Result<Parsed> {
    let mut parsed = parse_table(&verb.flags().collect::<Vec<_>>(), verb.interspersed, words)?;
    parsed.path = path;
    if !parsed.help {
        if let Some(refused) = parsed.values.iter().find_map(|(flag, value)| refusal(flag, value)) {
            return Err(refused);
        }
        if let Some(complaint) = verb.arguments.refuse(parsed.arguments.len()) {
            return Err(Error::ArgumentCount { path: parsed.path, usage: verb.usage, complaint });
        }
    }
    Ok(parsed)
}

/// Parses `words` against bare flags.
pub(crate) fn parse_table(flags: &[&'static Flag], interspersed: bool, words: &[String]) -> Result<Parsed> {
    let mut parsed = Parsed {
        values: Vec::new(),
        arguments: Vec::new(),
        help: false,
        path: String::new(),
        notices: Vec::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.arguments.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            parsed.long(flags, word, long, &mut words)?;
        } else if word.len() > 1 && word.starts_with('-') {
            parsed.letters(flags, &word[1..], &mut words)?;
        } else {
            parsed.arguments.push(word.clone());
            if !interspersed {
                parsed.arguments.extend(words.by_ref().cloned());
            }
        }
        if parsed.help {
            break;
        }
    }
    Ok(parsed)
}

/// Refuses a flag that does not work; a switch turned off asks for nothing.
fn refusal(flag: &'static Flag, value: &str) -> Option<Error> {
    match flag.standing {
        Standing::Works | Standing::Alias(_) | Standing::Ignored => None,
        Standing::Later(_) | Standing::Never(_) if flag.kind == Kind::Switch && value == "false" => None,
        Standing::Later(with) => Some(Error::FlagLater { flag: flag.long, with }),
        Standing::Never(why) => Some(Error::FlagNever { flag: flag.long, why }),
    }
}

impl Parsed {
    fn long<'a>(
        &mut self,
        flags: &[&'static Flag],
        word: &str,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let (name, given) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(Error::FlagSyntax { word: word.to_owned() });
        }
        let Some(flag) = flags.iter().find(|flag| flag.long == name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            let working = flags.iter().filter(|flag| flag.standing == Standing::Works);
            let nearest = crate::nearest_of(working.map(|flag| flag.long), name);
            return Err(Error::UnknownFlag { name: name.to_owned(), nearest });
        };
        let value = match (flag.kind, given) {
            (Kind::Switch, given) => given.unwrap_or("true"),
            (Kind::Value(_) | Kind::List(_), Some(value)) => value,
            (Kind::Value(_) | Kind::List(_), None) => {
                rest.next().ok_or_else(|| Error::MissingValue { flag: format!("--{name}") })?
            }
        };
        self.push(flag, value)
    }

    fn letters<'a>(
        &mut self,
        flags: &[&'static Flag],
        letters: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<()> {
        let mut tail = letters;
        while let Some(letter) = tail.chars().next() {
            tail = &tail[letter.len_utf8()..];
            let Some(flag) = flags.iter().find(|flag| flag.short == Some(letter)) else {
                if letter == 'h' {
                    self.help = true;
                    self.notices.push(HELP_LETTER);
                    return Ok(());
                }
                return Err(Error::UnknownLetter { letter, letters: letters.to_owned() });
            };
            if let Some(value) = tail.strip_prefix('=') {
                return self.push(flag, value);
            }
            match flag.kind {
                Kind::Switch => self.push(flag, "true")?,
                Kind::Value(_) | Kind::List(_) if !tail.is_empty() => return self.push(flag, tail),
                Kind::Value(_) | Kind::List(_) => {
                    let missing = || Error::MissingValue { flag: format!("'{letter}' in -{letters}") };
                    let value = rest.next().ok_or_else(missing)?;
                    return self.push(flag, value);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, flag: &'static Flag, value: &str) -> Result<()> {
        let value = match flag.kind {
            Kind::Switch => parse_bool(value)
                .ok_or_else(|| Error::value(flag, value, "not a boolean (true or false)"))?
                .to_string(),
            Kind::Value(_) | Kind::List(_) => value.to_owned(),
        };
        self.values.push((flag, value));
        if !flag.notice.is_empty() && !self.notices.contains(&flag.notice) {
            self.notices.push(flag.notice);
        }
        Ok(())
    }

    /// Every value given for `name` or another spelling of it, in order.
    pub(crate) fn all<'a>(
        &'a self,
        name: &'a str,
    ) -> impl DoubleEndedIterator<Item = (&'static Flag, &'a str)> {
        self.values
            .iter()
            .filter(move |(flag, _)| flag.stands_for(name))
            .map(|(flag, value)| (*flag, value.as_str()))
    }

    /// The values of a repeated flag, as text.
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).map(|(_, value)| value)
    }

    /// The last value given for `name`.
    pub(crate) fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next_back().map(|(_, value)| value)
    }

    /// Whether a switch is on; `None` where nobody touched it.
    pub(crate) fn tristate(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// Whether a switch is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.tristate(name).unwrap_or(false)
    }

    /// The last value given for `name`, parsed; an error names the flag and the value.
    pub(crate) fn value<T, E: ToString>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        let Some((flag, text)) = self.all(name).next_back() else { return Ok(None) };
        parse(text).map(Some).map_err(|why| Error::value(flag, text, why.to_string()))
    }

    /// Every value given for `name`, parsed.
    pub(crate) fn values<T, E: ToString>(
        &self,
        name: &str,
        mut parse: impl FnMut(&str) -> std::result::Result<T, E>,
    ) -> Result<Vec<T>> {
        self.all(name)
            .map(|(flag, text)| parse(text).map_err(|why| Error::value(flag, text, why.to_string())))
            .collect()
    }
}

/// A boolean as Docker's flag library reads one.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Parses the flags before the command; the command and all behind it are arguments.
pub(crate) fn parse_global(flags: &[&'static Flag], words: &[String]) -> Result<Parsed> {
    let parsed = parse_table(flags, false, words)?;
    match parsed.values.iter().find_map(|(flag, value)| refusal(flag, value)) {
        Some(refused) if !parsed.help => Err(refused),
        _ => Ok(parsed),
    }
}
