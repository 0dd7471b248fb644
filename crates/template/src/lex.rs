//! Text to tokens: literal text, and the pieces of actions.

use std::str::CharIndices;

use super::TemplateError;

/// A piece, where it stands, and whether a blank stands before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) place: Place,
    pub(super) spaced: bool,
}

/// Where something stands in a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: usize,
    /// Bytes into the line, from 0.
    pub(super) column: usize,
}

/// Kinds of pieces.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Text(String),
    Open,
    Close,
    Dot,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name`, with the dollar.
    Variable(String),
    Word(String),
    String(String),
    Number(String),
    Pipe,
    Left,
    Right,
    Comma,
    Declare,
    Assign,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

/// Cuts `text` into tokens.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trim_next = false;
    while lexer.at < text.len() {
        let rest = &text[lexer.at..];
        let end = rest.find("{{").unwrap_or(rest.len());
        let mut literal = &rest[..end];
        let opens = end < rest.len();
        let after = &rest[(end + 2).min(rest.len())..];
        let trims = opens && after.starts_with('-') && after[1..].starts_with(is_space);
        if std::mem::take(&mut trim_next) {
            literal = literal.trim_start_matches(is_space);
        }
        if trims {
            literal = literal.trim_end_matches(is_space);
        }
        if !literal.is_empty() {
            lexer.push(TokenKind::Text(literal.to_owned()), lexer.at, false);
        }
        lexer.at += end;
        if opens {
            lexer.at += if trims { 3 } else { 2 };
            trim_next = lexer.action()?;
        }
    }
    Ok(lexer.tokens)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// What follows a backslash in Go's strings. Bytes beyond ASCII, which Go can write alone, are the letters of that number.
fn escape(chars: &mut CharIndices<'_>, quote: char) -> Option<char> {
    let (_, c) = chars.next()?;
    let digits = |chars: &mut CharIndices<'_>, count: usize, base: u32, first: u32| {
        let mut number = first;
        for _ in 0..count {
            number = number.checked_mul(base)?.checked_add(chars.next()?.1.to_digit(base)?)?;
        }
        char::from_u32(number)
    };
    match c {
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\\' => Some('\\'),
        'x' => digits(chars, 2, 16, 0),
        'u' => digits(chars, 4, 16, 0),
        'U' => digits(chars, 8, 16, 0),
        '0'..='7' => digits(chars, 2, 8, c.to_digit(8)?),
        c if c == quote => Some(c),
        _ => None,
    }
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn place(&self, at: usize) -> Place {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        Place { line, column: at - before.rfind('\n').map_or(0, |newline| newline + 1) }
    }

    fn push(&mut self, kind: TokenKind, at: usize, spaced: bool) {
        let place = self.place(at);
        self.tokens.push(Token { kind, place, spaced });
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::Syntax { line: self.place(self.at).line, reason: reason.into() })
    }

    /// Reads up to and with `}}`; returns whether the text after it is trimmed.
    fn action(&mut self) -> Result<bool, TemplateError> {
        if self.rest().trim_start_matches(is_space).starts_with("/*") {
            return self.comment();
        }
        self.push(TokenKind::Open, self.at, false);
        loop {
            let before = self.at;
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            let spaced = self.at > before;
            if self.rest().starts_with("}}") {
                self.push(TokenKind::Close, self.at, spaced);
                self.at += 2;
                return Ok(false);
            }
            if spaced && self.rest().starts_with("-}}") {
                self.push(TokenKind::Close, self.at, spaced);
                self.at += 3;
                return Ok(true);
            }
            self.piece(spaced)?;
        }
    }

    fn comment(&mut self) -> Result<bool, TemplateError> {
        let Some(end) = self.rest().find("*/") else { return self.fail("unclosed comment") };
        self.at += end + 2;
        let rest = self.rest();
        if rest.starts_with("}}") {
            self.at += 2;
            return Ok(false);
        }
        let trimmed = rest.trim_start_matches(is_space);
        if trimmed.len() < rest.len() && trimmed.starts_with("-}}") {
            self.at += rest.len() - trimmed.len() + 3;
            return Ok(true);
        }
        self.fail("comment ends before closing delimiter")
    }

    fn piece(&mut self, spaced: bool) -> Result<(), TemplateError> {
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return self.fail("unclosed action") };
        let second = rest[first.len_utf8()..].chars().next().unwrap_or(' ');
        let run =
            |from: usize| rest[from..].chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
        let (kind, length) = match first {
            '|' => (TokenKind::Pipe, 1),
            '(' => (TokenKind::Left, 1),
            ')' => (TokenKind::Right, 1),
            ',' => (TokenKind::Comma, 1),
            ':' if second == '=' => (TokenKind::Declare, 2),
            '=' => (TokenKind::Assign, 1),
            '"' | '\'' | '`' => return self.quoted(first, spaced),
            '.' if second.is_ascii_digit() => return self.number(spaced),
            '.' => {
                let length = run(1);
                let name = rest[1..1 + length].to_owned();
                (if length == 0 { TokenKind::Dot } else { TokenKind::Field(name) }, 1 + length)
            }
            '$' => {
                let length = 1 + run(1);
                (TokenKind::Variable(rest[..length].to_owned()), length)
            }
            '0'..='9' | '-' | '+' => return self.number(spaced),
            c if is_word(c) => {
                let length = run(0);
                (TokenKind::Word(rest[..length].to_owned()), length)
            }
            c => return self.fail(format!("unexpected {c:?} in command")),
        };
        self.push(kind, start, spaced);
        self.at += length;
        Ok(())
    }

    fn number(&mut self, spaced: bool) -> Result<(), TemplateError> {
        let rest = self.rest();
        let mut length = 0;
        let mut previous = ' ';
        for c in rest.chars() {
            let sign = matches!(c, '+' | '-') && (length == 0 || matches!(previous, 'e' | 'E'));
            if !(sign || c == '.' || is_word(c)) {
                break;
            }
            length += c.len_utf8();
            previous = c;
        }
        let text = rest[..length].to_owned();
        let digits = text.trim_start_matches(['+', '-']);
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_whole && digits.parse::<u64>().is_err() {
            return self.fail(format!("integer overflow: {text:?}"));
        }
        if super::number::parse(&text).is_none() {
            return self.fail(format!("bad number syntax: {text:?}"));
        }
        self.push(TokenKind::Number(text), self.at, spaced);
        self.at += length;
        Ok(())
    }

    fn quoted(&mut self, quote: char, spaced: bool) -> Result<(), TemplateError> {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest()[1..].char_indices();
        loop {
            let Some((at, c)) = chars.next() else { return self.fail("unterminated quoted string") };
            match c {
                c if c == quote => {
                    self.at += 1 + at + 1;
                    break;
                }
                '\n' if quote != '`' => return self.fail("unterminated quoted string"),
                '\\' if quote != '`' => match escape(&mut chars, quote) {
                    Some(c) => value.push(c),
                    None => return self.fail("invalid escape in quoted string"),
                },
                c => value.push(c),
            }
        }
        let kind = match (quote, value.chars().next()) {
            ('\'', Some(only)) if value.chars().count() == 1 => {
                TokenKind::Number(u32::from(only).to_string())
            }
            ('\'', _) => return self.fail("malformed character constant"),
            _ => TokenKind::String(value),
        };
        self.push(kind, start, spaced);
        Ok(())
    }
}
