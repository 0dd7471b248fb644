//! Ignore files and the patterns of COPY, with the semantics of Go's `filepath.Match` and of moby's patternmatcher.
//!
//! A [`Matcher`] holds the lines of a `.dockerignore` (or the values of `--exclude`): the last line that matches a
//! path or one of its parents decides, `!` turns it round. A [`Glob`] is a single pattern without `**`.
//!
//! Patterns are compiled once. What is no more than a name, a beginning or an end is compared as bytes; anything
//! else is followed in all its states at once, so that no pattern takes longer than the path's length times its own.
//!
//! Where moby's translation to a regular expression differs by accident from what `filepath.Match` documents, the
//! documentation is followed: `\d` is a `d`, `[*]` a star, and `^` a character like any other.

mod file;
mod glob;
mod matcher;
mod path;
#[cfg(test)]
mod tests;

pub use file::read;
pub use glob::{Glob, has_wildcards};
pub use matcher::{Matcher, Parents};
pub use path::clean;

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pattern: String,
    message: &'static str,
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.pattern.chars().take(200).collect();
        write!(formatter, "{}: {shown:?}", self.message)
    }
}

impl std::error::Error for PatternError {}
