//! YAML, and JSON with it, to a tree.
//!
//! ```text
//! text ── saphyr-parser ──► events ── reader ──► Yaml ── who takes it ──► what it means
//! ```
//!
//! Scalars keep their text, for what they mean depends on where they stand; [`scalar`] says what a plain one looks like. How deep a tree
//! nests and how many nodes it has is bounded ([`Rules`]), with what aliases repeat: a few lines may stand for billions.

mod reader;
mod scalar;

pub use reader::parse;
pub use scalar::{Scalar, scalar};

/// What is taken.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most levels of lists and maps.
    pub depth: usize,
    /// The most nodes, with what aliases repeat.
    pub nodes: usize,
    /// Whether a map may have a key twice, for whoever takes it to say so by its own words.
    pub doubles: bool,
    /// Whether `<<` brings the entries of other maps, and nodes may be marked as [`Yaml::Reset`] or [`Yaml::Override`].
    pub merges: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// Nothing, or what is written so.
    Null,
    /// Text.
    Scalar {
        /// It, without quotes.
        text: String,
        /// Whether it was written without quotes, so that it may be a number or a truth.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping, in the order of the text.
    Map(Vec<(String, Yaml)>),
    /// Marked as `!reset` (the Compose specification, "Merge"): what is below it is not there.
    Reset,
    /// Marked as `!override` (the same): it takes the place of what is below it.
    Override(Box<Yaml>),
}

/// Why a text is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

impl Yaml {
    /// A text that is nothing else.
    pub fn string(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), plain: false }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// An entry of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// Sets an entry of a map.
    pub fn set(&mut self, key: &str, node: Self) {
        match self.get_mut(key) {
            Some(known) => *known = node,
            None => {
                if let Self::Map(entries) = self {
                    entries.push((key.to_owned(), node));
                }
            }
        }
    }

    /// Takes an entry out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let at = entries.iter().position(|(known, _)| known == key)?;
        Some(entries.remove(at).1)
    }

    /// What is marked, or the node itself if it is not.
    pub fn inner_mut(&mut self) -> &mut Self {
        if let Self::Override(inner) = self { inner.inner_mut() } else { self }
    }

    /// A scalar as text: numbers as they are written from their value, `1.10` as `1.1`.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let Self::Scalar { text, plain } = self else { return None };
        Some(if *plain { scalar::text_of(text) } else { text.clone() })
    }

    /// A scalar as a truth, in the words of YAML 1.1.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        let Self::Scalar { text, .. } = self else { return None };
        match text.to_lowercase().as_str() {
            "true" | "y" | "yes" | "on" | "1" => Some(true),
            "false" | "n" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    /// How many nodes it has.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Null | Self::Scalar { .. } | Self::Reset => 1,
            Self::List(elements) => 1 + elements.iter().map(Self::count).sum::<usize>(),
            Self::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + value.count()).sum::<usize>(),
            Self::Override(inner) => inner.count(),
        }
    }
}

/// The first key that a map has twice.
#[must_use]
pub fn double(entries: &[(String, Yaml)]) -> Option<&str> {
    let mut seen = std::collections::HashSet::new();
    entries.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
}
