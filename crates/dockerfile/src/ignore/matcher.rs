//! Lines of an ignore file, and whether they leave a path out.

use super::PatternError;
use super::glob::{self, Piece};
use super::path::clean;

/// The patterns of an ignore file or of `--exclude`.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    lines: Vec<Line>,
    exceptions: bool,
}

#[derive(Clone, Debug)]
struct Line {
    /// Begins with `!`.
    exception: bool,
    text: String,
    shape: Shape,
}

/// What a pattern amounts to.
#[derive(Clone, Debug)]
enum Shape {
    /// This path.
    Exact(String),
    /// Everything that begins so: `a/**`.
    Prefix(String),
    /// Everything that ends so: `**/a`, which also is the path `a`.
    Suffix(String),
    /// Anything else.
    Pieces(Vec<Piece>),
}

/// Which lines match a directory, as the walk into it needs them.
#[derive(Clone, Debug, Default)]
pub struct Parents {
    matched: Vec<bool>,
}

impl Matcher {
    /// Compiles patterns.
    ///
    /// # Errors
    /// If one is a lone `!`, or malformed by `filepath.Match`.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, PatternError> {
        let mut matcher = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let cleaned = clean(pattern);
            let refuse = |message| PatternError { pattern: pattern.to_owned(), message };
            let (exception, text) = match cleaned.strip_prefix('!') {
                Some("") => return Err(refuse("illegal exclusion pattern")),
                Some(text) => (true, text),
                None => (false, cleaned.as_str()),
            };
            let shape = Shape::of(text).ok_or_else(|| refuse("syntax error in pattern"))?;
            matcher.exceptions |= exception;
            matcher.lines.push(Line { exception, text: text.to_owned(), shape });
        }
        Ok(matcher)
    }

    /// Whether a line begins with `!`.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// Whether there is no pattern at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The patterns without `!`, cleaned; whether each is an exception.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, bool)> {
        self.lines.iter().map(|line| (line.text.as_str(), line.exception))
    }

    /// Whether a path, relative and without a slash at its end, is matched: by the last line that matches it or a
    /// directory above it.
    #[must_use]
    pub fn is_match(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        let mut matched = false;
        for line in &self.lines {
            if line.exception == matched && (line.shape.matches(path) || line.shape.matches_parent(path)) {
                matched = !line.exception;
            }
        }
        matched
    }

    /// As [`Self::is_match`], for a walk: `parents` is what the walk into the path's directory gave, and what it gives
    /// is for the paths below. At the root, [`Parents::default`]. Contexts are walked so; as in moby, the answer is
    /// another where an exception matches a directory that no line before it does (`*/*`, `!*`): here it is not asked
    /// about that directory, and does not bring back what later lines' patterns take below.
    #[must_use]
    pub fn walk(&self, path: impl AsRef<[u8]>, parents: &Parents) -> (bool, Parents) {
        let path = path.as_ref();
        let mut matched = false;
        let mut found = vec![false; self.lines.len()];
        for (index, line) in self.lines.iter().enumerate() {
            let mut here = parents.matched.get(index).copied().unwrap_or_default();
            if !here && line.exception == matched {
                here = line.shape.matches(path);
            }
            if here {
                matched = !line.exception;
            }
            found[index] = here;
        }
        (matched, Parents { matched: found })
    }

    /// Whether a walk may leave a directory out with all that is below it: it is matched, as the walk has found, and
    /// no exception can match anything below.
    #[must_use]
    pub fn prunes(&self, directory: impl AsRef<[u8]>, matched: bool) -> bool {
        let directory = directory.as_ref();
        let excepts = |line: &Line| line.exception && line.shape.may_match_below(directory);
        matched && !self.lines.iter().any(excepts)
    }

    /// Whether a path below a directory may be matched; for patterns that say what is wanted.
    #[must_use]
    pub fn may_match_below(&self, directory: impl AsRef<[u8]>) -> bool {
        let directory = directory.as_ref();
        self.lines.iter().any(|line| {
            !line.exception
                && (line.shape.may_match_below(directory)
                    || line.shape.matches(directory)
                    || line.shape.matches_parent(directory))
        })
    }
}

/// `rest` of a path that begins with a directory and a slash.
fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(directory)?.strip_prefix(b"/")
}

impl Shape {
    /// None if the pattern is malformed.
    fn of(text: &str) -> Option<Self> {
        let pieces = glob::parse(text, true)?;
        let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
        // A bracket that opens nothing is a literal, but moby compares no such pattern as bytes; the result is the same.
        if !special(text) {
            return Some(Self::Exact(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("**").filter(|rest| !special(rest)) {
            // `**` and `**/` alone match everything, which an empty end does.
            return Some(Self::Suffix(if rest == "/" { String::new() } else { rest.to_owned() }));
        }
        if let Some(begin) = text.strip_suffix("**").filter(|begin| !special(begin)) {
            return Some(Self::Prefix(begin.to_owned()));
        }
        Some(Self::Pieces(pieces))
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text.as_bytes(),
            Self::Prefix(begin) => path.starts_with(begin.as_bytes()),
            Self::Suffix(end) => {
                path.ends_with(end.as_bytes())
                    || end.strip_prefix('/').is_some_and(|end| path == end.as_bytes())
            }
            Self::Pieces(pieces) => glob::is_match(pieces, path),
        }
    }

    /// Whether it matches a directory above the path.
    fn matches_parent(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        match self {
            Self::Exact(text) => below(path, text.as_bytes()).is_some(),
            // A parent begins as the path does.
            Self::Prefix(_) | Self::Suffix(_) | Self::Pieces(_) => {
                slashes.into_iter().any(|at| at > 0 && self.matches(&path[..at]))
            }
        }
    }

    /// Whether a path below a directory may be matched, other than by a match of the directory or one above it.
    fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            Self::Exact(text) => below(text.as_bytes(), directory).is_some(),
            Self::Prefix(begin) => {
                let begin = begin.as_bytes();
                let path = [directory, b"/"].concat();
                begin.starts_with(&path) || path.starts_with(begin)
            }
            Self::Suffix(_) => true,
            Self::Pieces(pieces) => glob::may_match_below(pieces, directory),
        }
    }
}
