//! Patterns of `${name#pattern}` and its relatives: `*`, `?` and literals.
//!
//! All states of the pattern are followed at once, so a match costs the length of the text times that of the
//! pattern over 64, whatever the pattern. Neither `*` nor `?` matches a line end, for BuildKit translates them
//! to a regular expression in which a dot does not.

use super::PATTERN_LIMIT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Literal(char),
    Any,
    Star,
}

/// A pattern that was found well-formed.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
}

/// Which of the ends that a match may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Shortest,
    Longest,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '*' if pieces.last() == Some(&Piece::Star) => continue,
                '*' => Piece::Star,
                '?' => Piece::Any,
                // An escape that the form itself needs is no part of the pattern.
                '\\' => match characters.next() {
                    Some(next @ ('}' | '/' | '*' | '?' | '\\')) => Piece::Literal(next),
                    Some(next) => return Err(format!("invalid escape '\\{next}'")),
                    None => return Err("invalid escape '\\'".to_owned()),
                },
                character => Piece::Literal(character),
            });
        }
        if pieces.len() > PATTERN_LIMIT {
            return Err(format!("more than {PATTERN_LIMIT} characters"));
        }
        Ok(Self { pieces })
    }

    fn reversed(&self) -> Self {
        Self { pieces: self.pieces.iter().rev().copied().collect() }
    }

    /// `value` without what the pattern matches at its beginning.
    pub(super) fn trim_start<'a>(&self, value: &'a str, length: Length) -> &'a str {
        let characters: Vec<char> = value.chars().collect();
        match self.end(&characters, length) {
            Some(count) => value.char_indices().nth(count).map_or("", |(at, _)| &value[at..]),
            None => value,
        }
    }

    /// `value` without what the pattern matches at its end.
    pub(super) fn trim_end<'a>(&self, value: &'a str, length: Length) -> &'a str {
        let characters: Vec<char> = value.chars().rev().collect();
        match self.reversed().end(&characters, length) {
            Some(count) => {
                let keep = characters.len() - count;
                value.char_indices().nth(keep).map_or(value, |(at, _)| &value[..at])
            }
            None => value,
        }
    }

    /// `value` with the first match, or all of them, replaced. Matches are as long as they can be; an empty one
    /// right after another match does not count. None if the result would have more than `limit` bytes.
    pub(super) fn replace(&self, value: &str, with: &str, all: bool, limit: usize) -> Option<String> {
        let characters: Vec<char> = value.chars().collect();
        let begins = self.begins(&characters);
        let (mut out, mut at, mut last_end) = (String::new(), 0, None);
        while at <= characters.len() {
            let found = begins[at].then(|| self.end(&characters[at..], Length::Longest)).flatten();
            let empty_after_match = found == Some(0) && last_end == Some(at);
            if let Some(count) = found.filter(|_| !empty_after_match) {
                if out.len() + with.len() > limit {
                    return None;
                }
                out.push_str(with);
                at += count;
                last_end = Some(at);
                if !all {
                    break;
                }
                if count > 0 {
                    continue;
                }
            }
            if let Some(character) = characters.get(at) {
                out.push(*character);
            }
            at += 1;
            if out.len() > limit {
                return None;
            }
        }
        out.extend(characters.get(at..).unwrap_or_default());
        (out.len() <= limit).then_some(out)
    }

    /// How many characters a match at the beginning of `text` takes.
    fn end(&self, text: &[char], length: Length) -> Option<usize> {
        let mut states = States::new(self.pieces.len() + 1);
        states.insert_with_stars(0, &self.pieces);
        let mut found = None;
        for at in 0..=text.len() {
            if states.contains(self.pieces.len()) {
                found = Some(at);
                if length == Length::Shortest {
                    break;
                }
            }
            match text.get(at) {
                Some(character) if !states.is_empty() => states = self.step(&states, *character),
                _ => break,
            }
        }
        found
    }

    /// For each place in `text`, its end included, whether a match begins there.
    fn begins(&self, text: &[char]) -> Vec<bool> {
        let reversed = self.reversed();
        let mut begins = vec![false; text.len() + 1];
        let mut states = States::new(reversed.pieces.len() + 1);
        for at in (0..=text.len()).rev() {
            // A match may end anywhere.
            states.insert_with_stars(0, &reversed.pieces);
            begins[at] = states.contains(reversed.pieces.len());
            if at > 0 {
                states = reversed.step(&states, text[at - 1]);
            }
        }
        begins
    }

    fn step(&self, states: &States, character: char) -> States {
        let mut next = States::new(self.pieces.len() + 1);
        for state in states.iter() {
            match self.pieces.get(state) {
                Some(Piece::Literal(literal)) if *literal == character => {
                    next.insert_with_stars(state + 1, &self.pieces);
                }
                Some(Piece::Any) if character != '\n' => next.insert_with_stars(state + 1, &self.pieces),
                Some(Piece::Star) if character != '\n' => next.insert_with_stars(state, &self.pieces),
                Some(Piece::Literal(_) | Piece::Any | Piece::Star) | None => {}
            }
        }
        next
    }
}

/// A set of positions in a pattern.
struct States {
    bits: Vec<u64>,
}

impl States {
    fn new(count: usize) -> Self {
        Self { bits: vec![0; count.div_ceil(64)] }
    }

    fn contains(&self, state: usize) -> bool {
        self.bits[state / 64] >> (state % 64) & 1 == 1
    }

    fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    /// A star may match nothing, so what follows it is reached with it.
    fn insert_with_stars(&mut self, state: usize, pieces: &[Piece]) {
        self.bits[state / 64] |= 1 << (state % 64);
        if pieces.get(state) == Some(&Piece::Star) {
            let after = state + 1;
            self.bits[after / 64] |= 1 << (after % 64);
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.bits.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(index * 64 + bit)
            })
        })
    }
}
