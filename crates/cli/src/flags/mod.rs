//! One table of commands and flags: the parser, `--help`, and whatever else needs to know them read it.
//!
//! ```text
//! Group ── Entry ── Target::Group   a management command (`skiff image …`)
//!                ├─ Target::Verb    something to do; one verb may stand under several names
//!                └─ Target::Later   a name that Docker has and Skiff does not yet, refused by name
//! ```
//!
//! Everything in here is static data, so starting up builds nothing. Parsing follows Docker's rules (those of
//! its flag library): see [`parse`].

pub(crate) mod help;
pub(crate) mod parse;
#[cfg(test)]
mod tests;

pub(crate) use parse::{Parsed, parse};

use crate::context::Context;
use crate::error::Result;

/// What follows `skiff`, or a management command such as `skiff image`.
pub(crate) struct Group {
    /// Words that lead here, without the program's name; empty at the top.
    pub(crate) path: &'static str,
    /// One sentence.
    pub(crate) about: &'static str,
    /// The commands, in the order in which help prints them.
    pub(crate) entries: &'static [Entry],
}

/// One name in a group.
pub(crate) struct Entry {
    /// What is typed.
    pub(crate) name: &'static str,
    /// Under which heading the top-level help shows it.
    pub(crate) section: Section,
    /// Where it leads.
    pub(crate) target: Target,
}

/// Headings of the top-level help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// What most people need.
    Common,
    /// Groups of commands.
    Management,
    /// All others.
    Plain,
    /// Not shown: further names for something shown elsewhere.
    Hidden,
}

/// Where a name leads.
pub(crate) enum Target {
    /// More names.
    Group(&'static Group),
    /// Something to do.
    Verb(&'static Verb),
    /// A command of Docker's that is not there yet; the text completes "it comes with …".
    Later(&'static str),
}

/// Something to do.
pub(crate) struct Verb {
    /// The usage line after the command's name.
    pub(crate) usage: &'static str,
    /// One sentence.
    pub(crate) about: &'static str,
    /// Every spelling, without the program's name; empty where there is only one.
    pub(crate) aliases: &'static [&'static str],
    /// How many words it wants.
    pub(crate) arguments: Arguments,
    /// Flags may stand between and after the words; otherwise the first word ends them.
    pub(crate) interspersed: bool,
    /// Its flags, in one or several tables.
    pub(crate) flags: &'static [&'static [Flag]],
    /// Does it.
    pub(crate) run: fn(&Context, &Parsed) -> Result<u8>,
}

impl Verb {
    /// All flags, in the order of the tables.
    pub(crate) fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().flat_map(|table| table.iter())
    }
}

/// How many words a verb wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// So many and no others.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// Between the two.
    Between(usize, usize),
}

/// One flag.
#[derive(Clone, Copy)]
pub(crate) struct Flag {
    /// Its name, without dashes.
    pub(crate) long: &'static str,
    /// Its letter.
    pub(crate) short: Option<char>,
    /// Whether it takes a value.
    pub(crate) kind: Kind,
    /// Shown by help; the code that reads the flag applies it.
    pub(crate) default: &'static str,
    /// What it does, for help.
    pub(crate) about: &'static str,
    /// Whether it works.
    pub(crate) standing: Standing,
    /// What is said to whoever uses it; empty for most.
    pub(crate) notice: &'static str,
}

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On or off; a value only after `=`.
    Switch,
    /// One value, the last one given; the text names its kind in help.
    Value(&'static str),
    /// Any number of values.
    List(&'static str),
}

/// Whether a flag works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does what it says.
    Works,
    /// It works and help does not mention it: another spelling of the named flag.
    Alias(&'static str),
    /// It is accepted, and means nothing.
    Ignored,
    /// It is refused: it comes with what the text names.
    Later(&'static str),
    /// It is refused: it is about something that Skiff will not have.
    Never(&'static str),
}

/// A flag that is on or off.
pub(crate) const fn switch(long: &'static str, about: &'static str) -> Flag {
    flag(long, Kind::Switch, about)
}

/// A flag with one value.
pub(crate) const fn value(long: &'static str, kind: &'static str, about: &'static str) -> Flag {
    flag(long, Kind::Value(kind), about)
}

/// A flag that may be repeated.
pub(crate) const fn list(long: &'static str, kind: &'static str, about: &'static str) -> Flag {
    flag(long, Kind::List(kind), about)
}

const fn flag(long: &'static str, kind: Kind, about: &'static str) -> Flag {
    Flag { long, short: None, kind, default: "", about, standing: Standing::Works, notice: "" }
}

impl Flag {
    /// Adds a letter.
    pub(crate) const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    /// Shows a default in help.
    pub(crate) const fn default(mut self, text: &'static str) -> Flag {
        self.default = text;
        self
    }

    /// Another spelling of `flag`.
    pub(crate) const fn alias(mut self, flag: &'static str) -> Flag {
        self.standing = Standing::Alias(flag);
        self
    }

    /// Still taken, but whoever uses it is told what to do instead.
    pub(crate) const fn notice(mut self, text: &'static str) -> Flag {
        self.notice = text;
        self
    }

    /// Accepted without effect.
    pub(crate) const fn ignored(mut self) -> Flag {
        self.standing = Standing::Ignored;
        self
    }

    /// Refused until what `with` names is there.
    pub(crate) const fn later(mut self, with: &'static str) -> Flag {
        self.standing = Standing::Later(with);
        self
    }

    /// Refused for good, because of `why`.
    pub(crate) const fn never(mut self, why: &'static str) -> Flag {
        self.standing = Standing::Never(why);
        self
    }

    /// Whether this is the flag `name`, or another spelling of it.
    pub(crate) fn stands_for(&self, name: &str) -> bool {
        self.long == name || matches!(self.standing, Standing::Alias(of) if of == name)
    }

    /// How errors name it: `-m, --memory`.
    pub(crate) fn shown(&self) -> String {
        match self.short {
            Some(letter) => format!("-{letter}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

impl Arguments {
    /// What is wrong with `count` words, as the rest of the sentence "`skiff run` …".
    pub(crate) fn refuse(self, count: usize) -> Option<String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match self {
            Self::Exactly(0) | Self::AtMost(0) if count > 0 => Some("accepts no arguments".to_owned()),
            Self::Exactly(n) if count != n => Some(format!("requires {n} {}", plural(n))),
            Self::AtLeast(n) if count < n => Some(format!("requires at least {n} {}", plural(n))),
            Self::AtMost(n) if count > n => Some(format!("requires at most {n} {}", plural(n))),
            Self::Between(low, high) if count < low || count > high => {
                Some(format!("requires at least {low} and at most {high} {}", plural(high)))
            }
            Self::Exactly(_) | Self::AtLeast(_) | Self::AtMost(_) | Self::Between(..) => None,
        }
    }
}
