//! `--filter`: `name=value` pairs. Values of one name are alternatives, but for labels, which must all match;
//! different names must all match.

use regex_lite::{Regex, RegexBuilder};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;

/// Bytes that one regular expression may take when it is compiled: far more than a name needs.
pub(crate) const EXPRESSION_LIMIT: usize = 1 << 20;

/// The filters of one command.
#[derive(Debug, Default)]
pub(crate) struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads every `--filter`; a name that is not in `known` is an error.
    pub(crate) fn new(parsed: &Parsed, known: &[&str]) -> Result<Filters> {
        let split = |text: &str| match text.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            None => Err("invalid filter: want name=value"),
        };
        let filters = parsed.values("filter", split)?;
        match filters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Error::Filter { name: name.clone() }),
            None => Ok(Filters(filters)),
        }
    }

    /// The same for a command that removes: what the client configuration asks for under `pruneFilters` is added, unless
    /// it says the opposite of what was typed.
    pub(crate) fn to_prune(context: &Context, parsed: &Parsed, known: &[&str]) -> Result<Filters> {
        let mut filters = Filters::new(parsed, known)?;
        for text in context.configuration().list("pruneFilters") {
            let Some((name, value)) = text.split_once('=') else { continue };
            let opposite = match name {
                "label" => "label!",
                "label!" => "label",
                _ => "",
            };
            let contradicts = filters.values(opposite).any(|typed| typed == value);
            if !contradicts && known.contains(&name) {
                filters.0.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(filters)
    }

    /// Adds one that has a flag of its own.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// All of them, for the engine.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// The values given for `name`.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` was given at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Whether any value of `name` matches; yes where there is none.
    pub(crate) fn any(&self, name: &str, mut matches: impl FnMut(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).any(&mut matches)
    }

    /// Whether all labels asked for are there, and none of those asked not to be.
    pub(crate) fn labels<'l>(&self, lookup: impl Fn(&str) -> Option<&'l str>) -> bool {
        let matches = |text: &str| match text.split_once('=') {
            Some((key, value)) => lookup(key) == Some(value),
            None => lookup(text).is_some(),
        };
        self.values("label").all(matches) && !self.values("label!").any(matches)
    }

    /// A switch; both values at once make no sense.
    pub(crate) fn switch(&self, name: &'static str) -> Result<Option<bool>> {
        let mut found = None;
        for value in self.values(name) {
            let fail = |reason| Error::FilterValue { name, value: value.to_owned(), reason };
            let on = crate::flags::parse::parse_bool(value).ok_or_else(|| fail("want true or false"))?;
            if found.is_some_and(|found| found != on) {
                return Err(fail("both true and false were asked for"));
            }
            found = Some(on);
        }
        Ok(found)
    }
}

/// Whether `text` matches `pattern`, in which `*` and `?` stand for anything but a slash and `[a-z]` for one of a
/// set (Go's `path.Match`).
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().take(1024).collect();
    let text: Vec<char> = text.chars().collect();
    // Where to go on after a mismatch: behind the last star, one character further.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match one(&pattern[p..], text[t]) {
            _ if pattern.get(p) == Some(&'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match retry {
                Some((star, from)) if text[from] != '/' => {
                    retry = Some((star, from + 1));
                    (p, t) = (star, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of `pattern` matches the one character `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => (c != '/').then_some(1),
        ['\\', escaped, ..] => (c == *escaped).then_some(2),
        ['[', set @ ..] => {
            let end = set.iter().position(|c| *c == ']')?;
            let (negated, set) = match &set[..end] {
                ['^', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut at = 0;
            let mut found = false;
            while at < set.len() {
                let high = if set.get(at + 1) == Some(&'-') { set.get(at + 2) } else { None };
                found |= (set[at]..=*high.unwrap_or(&set[at])).contains(&c);
                at += if high.is_some() { 3 } else { 1 };
            }
            (found != negated).then_some(end + 2)
        }
        [literal, ..] => (c == *literal).then_some(1),
        [] => None,
    }
}

/// Values of a filter that Docker matches as regular expressions, each anywhere in the text.
#[derive(Debug)]
pub(crate) struct Expressions(Option<Vec<Regex>>);

impl Expressions {
    /// One that is not in the language matches nothing, as with Docker; without any, everything passes.
    pub(crate) fn new(values: impl Iterator<Item = impl AsRef<str>>) -> Expressions {
        let mut values = values.peekable();
        let given = values.peek().is_some();
        let parse = |text: &str| RegexBuilder::new(text).size_limit(EXPRESSION_LIMIT).build().ok();
        let parsed: Vec<Regex> = values.filter_map(|value| parse(value.as_ref())).collect();
        Expressions(given.then_some(parsed))
    }

    /// Whether any of them is found in `text`.
    pub(crate) fn take(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|all| all.iter().any(|one| one.is_match(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stop_at_slashes() {
        for (pattern, text, want) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?sybox", "busybox", true),
            ("[a-c]usybox", "busybox", true),
            ("[^a]usybox", "busybox", true),
            ("[^b]usybox", "busybox", false),
            ("busy", "busybox", false),
            ("*box:la*", "busybox:latest", true),
            ("", "", true),
            ("a*b*c", "aXbXbXc", true),
            ("\\*", "*", true),
            ("[", "[", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn names_are_matched_as_regular_expressions() {
        for (pattern, text, want) in [
            ("eb", "web1", true),
            ("^web", "web1", true),
            ("^eb", "web1", false),
            ("^/?web1$", "web1", true),
            ("^web$", "web1", false),
            ("w.b[0-9]+", "web12", true),
            ("w.*2$", "web12", true),
            ("^w\\.b", "web", false),
            ("^(web|db)1$", "db1", true),
            ("a|b", "web", true),
            ("(?i)WEB", "web", true),
            ("we{2}b", "weeb", true),
            ("", "x", true),
            ("(", "(", false),
            ("((a{1000}){1000}){1000}", "a", false),
        ] {
            let one = Expressions::new([pattern].iter());
            assert_eq!(one.take(text), want, "{pattern} {text}");
        }
        assert!(Expressions::new(std::iter::empty::<&str>()).take("x"), "no filter takes everything");
        assert!(Expressions::new(["nope", "x"].iter()).take("x"), "one of several is enough");
    }
}
