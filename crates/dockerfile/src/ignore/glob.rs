//! Patterns in pieces, and how they are followed.

use super::PatternError;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This character.
    Literal(char),
    /// `?`: any character but a slash.
    Any,
    /// `*`: any number of them.
    Star,
    /// `**` at the end: anything.
    Rest,
    /// `**/` elsewhere: any number of directories.
    Directories,
    /// `[…]`.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern as Go's `filepath.Match` has it: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes, `\`
/// escapes. It matches whole paths.
#[derive(Clone, Debug)]
pub struct Glob {
    pieces: Vec<Piece>,
}

const BAD: &str = "syntax error in pattern";

/// Whether a path is a pattern rather than the name of one file.
#[must_use]
pub fn has_wildcards(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' | '?' | '[' => return true,
            '\\' => {
                characters.next();
            }
            _ => {}
        }
    }
    false
}

impl Glob {
    /// # Errors
    /// If a class is not closed or empty, or nothing follows `\`.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let pieces = parse(pattern, false);
        let pieces = pieces.ok_or_else(|| PatternError { pattern: pattern.to_owned(), message: BAD })?;
        Ok(Self { pieces })
    }

    /// Whether it matches a path.
    #[must_use]
    pub fn is_match(&self, path: impl AsRef<[u8]>) -> bool {
        is_match(&self.pieces, path.as_ref())
    }

    /// Whether it may match a path that begins with this directory.
    #[must_use]
    pub fn may_match_below(&self, directory: impl AsRef<[u8]>) -> bool {
        may_match_below(&self.pieces, directory.as_ref())
    }
}

/// The pieces of a pattern, `**` only if that is wanted; none if it is malformed.
pub(super) fn parse(pattern: &str, double: bool) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '*' if double && characters.peek() == Some(&'*') => {
                characters.next();
                if characters.peek() == Some(&'/') {
                    characters.next();
                }
                if characters.peek().is_none() { Piece::Rest } else { Piece::Directories }
            }
            '*' if pieces.last() == Some(&Piece::Star) => continue,
            '*' => Piece::Star,
            '?' => Piece::Any,
            '\\' => Piece::Literal(characters.next()?),
            '[' => class(&mut characters)?,
            character => Piece::Literal(character),
        });
    }
    Some(pieces)
}

/// After `[`.
fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Piece> {
    let negated = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
            return Some(Piece::Class { negated, ranges });
        }
        let low = class_character(characters)?;
        let high = if characters.next_if_eq(&'-').is_some() { class_character(characters)? } else { low };
        ranges.push((low, high));
    }
}

fn class_character(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let character = match characters.next()? {
        '-' | ']' => return None,
        '\\' => characters.next()?,
        character => character,
    };
    // Something must follow, for the class is not closed yet.
    characters.peek().map(|_| character)
}

/// Whether the pieces match all of a path.
pub(super) fn is_match(pieces: &[Piece], path: &[u8]) -> bool {
    has_ends(pieces, path) && follow(pieces, path).contains(pieces.len())
}

/// Whether a path begins and ends as a pattern does whose ends are plain characters: most paths do not, and are done with.
fn has_ends(pieces: &[Piece], path: &[u8]) -> bool {
    // No byte of a longer character is one of these.
    let plain = |piece: &Piece| match piece {
        Piece::Literal(literal) if literal.is_ascii() => u8::try_from(*literal).ok(),
        Piece::Literal(_)
        | Piece::Any
        | Piece::Star
        | Piece::Rest
        | Piece::Directories
        | Piece::Class { .. } => None,
    };
    let (mut forwards, mut backwards) = (path.iter(), path.iter().rev());
    pieces.iter().map_while(plain).all(|byte| forwards.next() == Some(&byte))
        && pieces.iter().rev().map_while(plain).all(|byte| backwards.next() == Some(&byte))
}

/// Whether they may match a path that begins with this directory and a slash.
pub(super) fn may_match_below(pieces: &[Piece], directory: &[u8]) -> bool {
    let mut states = follow(pieces, directory);
    states.step(pieces, '/');
    !states.is_empty()
}

fn follow(pieces: &[Piece], path: &[u8]) -> States {
    let mut states = States::start(pieces);
    for chunk in path.utf8_chunks() {
        // What is no text counts as one character a byte.
        let invalid = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(invalid) {
            if states.is_empty() {
                return states;
            }
            states.step(pieces, character);
        }
    }
    states
}

/// The positions in a pattern that may be reached, in two sets that take turns.
///
/// [`Piece::Directories`] may be left at once or right after a slash: it has two positions' worth of state, of which
/// the one "inside" is kept apart.
struct States {
    at: Vec<bool>,
    inside: Vec<bool>,
    next_at: Vec<bool>,
    next_inside: Vec<bool>,
    any: bool,
}

impl States {
    fn start(pieces: &[Piece]) -> Self {
        let none = vec![false; pieces.len() + 1];
        let mut states = Self {
            at: none.clone(),
            inside: none.clone(),
            next_at: none.clone(),
            next_inside: none,
            any: true,
        };
        states.reach(pieces, 0);
        states.turn();
        states
    }

    fn contains(&self, state: usize) -> bool {
        self.at.get(state).copied().unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        !self.any
    }

    /// Makes what was reached the current set.
    fn turn(&mut self) {
        std::mem::swap(&mut self.at, &mut self.next_at);
        std::mem::swap(&mut self.inside, &mut self.next_inside);
        self.next_at.fill(false);
        self.next_inside.fill(false);
    }

    /// Reaches a position, and those behind pieces that may match nothing.
    fn reach(&mut self, pieces: &[Piece], mut state: usize) {
        loop {
            if std::mem::replace(&mut self.next_at[state], true) {
                return;
            }
            self.any = true;
            match pieces.get(state) {
                Some(Piece::Star | Piece::Rest | Piece::Directories) => state += 1,
                Some(Piece::Literal(_) | Piece::Any | Piece::Class { .. }) | None => return,
            }
        }
    }

    fn step(&mut self, pieces: &[Piece], character: char) {
        self.any = false;
        for (state, piece) in pieces.iter().enumerate() {
            if self.inside[state] {
                self.walk(pieces, state, character);
            }
            if !self.at[state] {
                continue;
            }
            match piece {
                Piece::Literal(literal) if *literal == character => self.reach(pieces, state + 1),
                Piece::Any if character != '/' => self.reach(pieces, state + 1),
                Piece::Star if character != '/' => self.reach(pieces, state),
                Piece::Rest => self.reach(pieces, state),
                Piece::Directories => self.walk(pieces, state, character),
                Piece::Class { negated, ranges } if in_class(ranges, character) != *negated => {
                    self.reach(pieces, state + 1);
                }
                Piece::Literal(_) | Piece::Any | Piece::Star | Piece::Class { .. } => {}
            }
        }
        self.turn();
    }

    /// A character of the directories that `**/` stands for.
    fn walk(&mut self, pieces: &[Piece], state: usize, character: char) {
        self.next_inside[state] = true;
        self.any = true;
        if character == '/' {
            self.reach(pieces, state + 1);
        }
    }
}

fn in_class(ranges: &[(char, char)], character: char) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&character))
}
