//! What may go wrong.

use std::fmt;

use crate::expr::Spot;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in the files something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// Line and column, from 1, where they are known.
    pub position: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(out, "{}:{line},{column}", self.file),
            None => out.write_str(&self.file),
        }
    }
}

/// Why bake files do not become a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file cannot be read as what its name says it is.
    #[error("read {place}: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What was not understood.
        reason: String,
    },
    /// An expression has no value, or a block says what it may not.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// Variables, attributes, functions, groups, parents or contexts that lead back to themselves.
    #[error("{kind} cycle not allowed: {}", chain.join(" -> "))]
    Cycle {
        /// Of what.
        kind: &'static str,
        /// From the first to the first again.
        chain: Vec<String>,
    },
    /// A target that is asked for, inherited from or linked to, and not there.
    #[error("failed to find target {name}{}", told(known))]
    NoTarget {
        /// Its name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A pattern that fits no target.
    #[error("could not find any target matching {pattern:?}")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// An override (`--set`) that is not understood.
    #[error("override {text:?}: {reason}")]
    Override {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value of a target that its attribute cannot have.
    #[error("target {target}: {reason}")]
    Target {
        /// The target's name.
        target: String,
        /// What is wrong.
        reason: String,
    },
    /// More than is taken from anybody.
    #[error("{what}: at most {limit} are taken")]
    Limit {
        /// Of what there is too much.
        what: String,
        /// How much is taken.
        limit: u64,
    },
}

/// An error on its way out: its place is worked out only if it arrives.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    At { at: Spot, reason: String },
    Final(Box<Error>),
}

impl Fault {
    pub(crate) fn at(at: Spot, reason: impl Into<String>) -> Self {
        Self::At { at, reason: reason.into() }
    }

    /// Whether no expression may catch it (`try`, `can`, the branch not taken).
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Final(error) if matches!(**error, Error::Limit { .. }))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Final(Box::new(error))
    }
}

/// The texts, by which offsets become lines.
pub(crate) struct Sources<'a> {
    pub(crate) files: &'a [crate::File],
}

impl Sources<'_> {
    pub(crate) fn error(&self, fault: Fault) -> Error {
        match fault {
            Fault::Final(error) => *error,
            Fault::At { at, reason } => Error::Invalid { place: self.place(at), reason },
        }
    }

    fn place(&self, at: Spot) -> Place {
        let Some(file) = self.files.get(at.file) else {
            return Place { file: String::new(), position: None };
        };
        let position = at.offset.map(|offset| {
            let before = &file.content.as_bytes()[..offset.min(file.content.len())];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
        });
        Place { file: file.name.clone(), position }
    }
}

/// What could be meant instead.
fn told(known: &[String]) -> String {
    /// More are not named.
    const MOST: usize = 10;
    match known {
        [] => String::new(),
        [one] => format!("; there is {one}"),
        _ if known.len() <= MOST => format!("; there are {}", known.join(", ")),
        _ => format!("; there are {} and {} more", known[..MOST].join(", "), known.len() - MOST),
    }
}
