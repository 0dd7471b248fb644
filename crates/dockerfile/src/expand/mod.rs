//! Variables, quotes and escapes of one word, as BuildKit's shell lexer has them.
//!
//! It resembles a shell and is none: a `$` outside single quotes begins a variable, `'…'` is taken as it is, in
//! `"…"` the escape character escapes `"`, `$` and itself alone, elsewhere whatever follows. The forms of
//! `${name…}` are those of POSIX without arithmetic, and `/` and `//` of bash.
//!
//! Everything is bounded: how deep forms may lie in each other, how long a result may become (`ENV a=$a$a`
//! doubles it each time), how long a pattern may be. Patterns are matched without going back.

mod environment;
mod lexer;
mod pattern;
mod suggest;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

pub use environment::Environment;
pub use suggest::{suggestion, with_suggestion};

/// The most bytes a word may expand to.
pub const RESULT_LIMIT: usize = 1 << 20;
/// How deep `${a:-${b:-…}}` may go.
const DEPTH_LIMIT: usize = 100;
/// The most characters of a pattern in `${name#pattern}` and the like.
const PATTERN_LIMIT: usize = 4096;

/// How a word is read. [`Lexer::new`] is what instructions have.
#[derive(Clone, Copy, Debug)]
pub struct Lexer {
    /// What escapes: `\`, or `` ` `` if the file says so.
    pub escape: char,
    /// Keeps quotes in the result.
    pub raw_quotes: bool,
    /// Keeps escape characters in the result.
    pub raw_escapes: bool,
    /// Takes quotes for ordinary characters: in heredocs.
    pub skip_quotes: bool,
    /// Leaves variables that are not set as they are written.
    pub keep_unset: bool,
}

impl Lexer {
    /// Takes quotes and escapes away, replaces all variables.
    #[must_use]
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_quotes: false, keep_unset: false }
    }

    /// The body of a heredoc: quotes mean nothing there.
    #[must_use]
    pub fn heredoc() -> Self {
        Self { skip_quotes: true, ..Self::new('\\') }
    }

    /// Expands `word`.
    ///
    /// # Errors
    /// If a quote or brace is not closed, a form is unknown, a variable is required that is not set, or the
    /// result would be too long.
    pub fn expand(&self, word: &str, env: &Environment) -> Result<Expanded, ExpandError> {
        lexer::expand(*self, word, env)
    }
}

/// What a word expands to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// One word: blanks are kept.
    pub text: String,
    /// The same split at blanks that stand outside quotes, also those that came with a variable.
    pub words: Vec<String>,
    /// The variables used that are set.
    pub matched: BTreeSet<String>,
    /// The variables used that are not.
    pub unmatched: BTreeSet<String>,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandError {
    /// The word.
    word: String,
    /// What is wrong with it.
    message: String,
    /// The byte in the word at which what is wrong begins.
    pub at: usize,
    /// The variables that were found unset before.
    pub unmatched: BTreeSet<String>,
}

/// The most characters of a word that an error repeats.
const SHOWN: usize = 200;

impl fmt::Display for ExpandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word: String = self.word.chars().take(SHOWN).collect();
        write!(formatter, "failed to process {word:?}: {}", self.message)
    }
}

impl std::error::Error for ExpandError {}
