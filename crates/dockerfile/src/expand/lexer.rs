//! The lexer itself: one pass over the characters of a word.

use super::pattern::{Length, Pattern};
use super::{DEPTH_LIMIT, Environment, ExpandError, Expanded, Lexer, RESULT_LIMIT};

/// What is wrong, and at which byte; the whole word is added at the end.
type Wrong = (usize, String);
type Lexed<T> = Result<T, Wrong>;

const NO_BRACE: &str = "syntax error: missing '}'";

pub(super) fn expand(options: Lexer, word: &str, env: &Environment) -> Result<Expanded, ExpandError> {
    let mut run = Run { options, word, at: 0, env, depth: 0, found: Expanded::default() };
    match run.until(None, options.raw_escapes) {
        Ok((text, words)) => Ok(Expanded { text, words, ..run.found }),
        Err((at, message)) => {
            Err(ExpandError { word: word.to_owned(), message, at, unmatched: run.found.unmatched })
        }
    }
}

struct Run<'a> {
    options: Lexer,
    word: &'a str,
    at: usize,
    env: &'a Environment,
    depth: usize,
    found: Expanded,
}

/// Words as they come about.
#[derive(Default)]
struct Words {
    word: String,
    words: Vec<String>,
    inside: bool,
}

impl Words {
    fn push(&mut self, character: char) {
        if !character.is_whitespace() {
            self.push_raw(character);
        } else if self.inside && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.inside = false;
        }
    }

    fn push_raw(&mut self, character: char) {
        self.word.push(character);
        self.inside = true;
    }

    fn push_raw_str(&mut self, text: &str) {
        self.word.push_str(text);
        self.inside = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.word[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// Up to `stop`, which is taken, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Lexed<(String, Vec<String>)> {
        let outer = std::mem::replace(&mut self.options.raw_escapes, raw_escapes);
        let result = self.until_with_escapes(stop);
        self.options.raw_escapes = outer;
        result
    }

    fn until_with_escapes(&mut self, stop: Option<char>) -> Lexed<(String, Vec<String>)> {
        let begin = self.at;
        let (mut text, mut words) = (String::new(), Words::default());
        while let Some(character) = self.peek() {
            if stop == Some(character) {
                self.next();
                return Ok((text, words.finish()));
            }
            match character {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|character| words.push(character));
                    text.push_str(&value);
                }
                '\'' | '"' if !self.options.skip_quotes => {
                    let quoted = if character == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    words.push_raw_str(&quoted);
                    text.push_str(&quoted);
                }
                character if character == self.options.escape => {
                    self.next();
                    if self.options.raw_escapes {
                        words.push_raw(character);
                        text.push(character);
                    }
                    let Some(escaped) = self.next() else { break };
                    words.push_raw(escaped);
                    text.push(escaped);
                }
                character => {
                    self.next();
                    words.push(character);
                    text.push(character);
                }
            }
            if text.len() > RESULT_LIMIT {
                return Err((begin, format!("it would become longer than {RESULT_LIMIT} bytes")));
            }
        }
        match stop {
            None => Ok((text, words.finish())),
            Some(stop) => {
                Err((begin, format!("unexpected end of statement while looking for matching {stop}")))
            }
        }
    }

    fn single_quoted(&mut self) -> Lexed<String> {
        let begin = self.at;
        self.next();
        let Some(length) = self.word[self.at..].find('\'') else {
            let message = "unexpected end of statement while looking for matching single-quote";
            return Err((begin, message.to_owned()));
        };
        let inside = &self.word[self.at..self.at + length];
        self.at += length + 1;
        Ok(if self.options.raw_quotes { format!("'{inside}'") } else { inside.to_owned() })
    }

    fn double_quoted(&mut self) -> Lexed<String> {
        let begin = self.at;
        let mut text = String::new();
        if let (Some(quote), true) = (self.next(), self.options.raw_quotes) {
            text.push(quote);
        }
        loop {
            match self.peek() {
                None => {
                    let message = "unexpected end of statement while looking for matching double-quote";
                    return Err((begin, message.to_owned()));
                }
                Some('"') => {
                    self.next();
                    if self.options.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(character) if character == self.options.escape => {
                    self.next();
                    if self.options.raw_escapes {
                        text.push(character);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == character => {
                            self.next();
                            text.push(next);
                        }
                        // Before anything else it is an ordinary character.
                        Some(_) => text.push(character),
                    }
                }
                Some(character) => {
                    self.next();
                    text.push(character);
                }
            }
            if text.len() > RESULT_LIMIT {
                return Err((begin, format!("it would become longer than {RESULT_LIMIT} bytes")));
            }
        }
    }

    fn dollar(&mut self) -> Lexed<String> {
        let begin = self.at;
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.lookup(&name) {
                None if self.options.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.next();
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err((begin, format!("substitutions lie more than {DEPTH_LIMIT} deep in each other")));
        }
        let result = self.braced(begin);
        self.depth -= 1;
        result
    }

    /// After `${`.
    fn braced(&mut self, begin: usize) -> Lexed<String> {
        match self.peek() {
            None => return Err((begin, NO_BRACE.to_owned())),
            Some('{' | '}' | ':') => return Err((begin, "syntax error: bad substitution".to_owned())),
            Some(_) => {}
        }
        let name = self.name();
        let Some(modifier) = self.next() else { return Err((begin, NO_BRACE.to_owned())) };
        match modifier {
            '}' => Ok(match self.lookup(&name) {
                None if self.options.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            '/' => self.replaced(begin, &name),
            ':' => {
                let Some(second) = self.next() else { return Err((begin, NO_BRACE.to_owned())) };
                self.modified(begin, &name, second, true)
            }
            modifier => self.modified(begin, &name, modifier, false),
        }
    }

    /// `${name-word}` and its relatives; with a colon an empty value counts as none.
    fn modified(&mut self, begin: usize, name: &str, modifier: char, colon: bool) -> Lexed<String> {
        let sign = if colon { format!(":{modifier}") } else { modifier.to_string() };
        let trims = matches!(modifier, '#' | '%');
        if !matches!(modifier, '-' | '+' | '?' | '#' | '%') || (trims && colon) {
            return Err((begin, format!("unsupported modifier ({sign}) in substitution")));
        }
        let word = self.inner(begin, '}', trims, NO_BRACE)?;
        let value = self.lookup(name);
        if self.options.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{sign}{word}}}"));
        }
        let present = value.as_deref().is_some_and(|value| !(colon && value.is_empty()));
        match modifier {
            '-' if present => Ok(value.unwrap_or_default()),
            '-' => Ok(word),
            '+' if present => Ok(word),
            '+' => Ok(String::new()),
            '?' if present => Ok(value.unwrap_or_default()),
            '?' => {
                let why = if value.is_none() { "unset" } else { "empty" };
                let default = format!("is not allowed to be {why}");
                let message = if word.is_empty() { default } else { word };
                Err((begin, format!("{name}: {message}")))
            }
            trim => trimmed(begin, trim, &word, &value.unwrap_or_default()),
        }
    }

    /// `${name/pattern/replacement}`.
    fn replaced(&mut self, begin: usize, name: &str) -> Lexed<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.inner(begin, '/', true, "syntax error: missing '/' in ${}")?;
        let replacement = self.inner(begin, '}', true, NO_BRACE)?;
        let value = self.lookup(name);
        if self.options.keep_unset && value.is_none() {
            let slash = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slash}{pattern}/{replacement}}}"));
        }
        let compiled = Pattern::parse(&pattern).map_err(|why| bad_pattern(begin, &pattern, &why))?;
        compiled
            .replace(&value.unwrap_or_default(), &replacement, all, RESULT_LIMIT)
            .ok_or_else(|| (begin, format!("it would become longer than {RESULT_LIMIT} bytes")))
    }

    /// A word within braces; if the text ends in it, `missing` says what is not there.
    fn inner(&mut self, begin: usize, stop: char, raw_escapes: bool, missing: &str) -> Lexed<String> {
        match self.until(Some(stop), raw_escapes) {
            Ok((word, _)) => Ok(word),
            Err(_) if self.peek().is_none() => Err((begin, missing.to_owned())),
            Err(wrong) => Err(wrong),
        }
    }

    /// A variable's name: letters, digits and `_`, or digits, or one special character.
    fn name(&mut self) -> String {
        let rest = &self.word[self.at..];
        let length = match rest.chars().next() {
            Some(first) if first.is_numeric() => {
                rest.find(|character: char| !character.is_numeric()).unwrap_or(rest.len())
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => {
                let end = rest.find(|character: char| !(character.is_alphanumeric() || character == '_'));
                end.unwrap_or(rest.len())
            }
        };
        self.at += length;
        rest[..length].to_owned()
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let value = self.env.get(name).map(str::to_owned);
        let seen = if value.is_some() { &mut self.found.matched } else { &mut self.found.unmatched };
        if !seen.contains(name) {
            seen.insert(name.to_owned());
        }
        value
    }
}

/// `${name#pattern}`, `##`, `%`, `%%`: doubled, the longest match goes.
fn trimmed(begin: usize, trim: char, word: &str, value: &str) -> Lexed<String> {
    let (pattern, length) = match word.strip_prefix(trim) {
        Some(rest) => (rest, Length::Longest),
        None => (word, Length::Shortest),
    };
    let compiled = Pattern::parse(pattern).map_err(|why| bad_pattern(begin, pattern, &why))?;
    let left =
        if trim == '#' { compiled.trim_start(value, length) } else { compiled.trim_end(value, length) };
    Ok(left.to_owned())
}

fn bad_pattern(begin: usize, pattern: &str, why: &str) -> Wrong {
    let shown: String = pattern.chars().take(200).collect();
    (begin, format!("invalid pattern ({shown}) in substitution: {why}"))
}
