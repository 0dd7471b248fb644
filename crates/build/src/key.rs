//! Keys of results.

use std::fmt;

use oci::{Digest, Hasher};

/// Names a result by what makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Digest);

impl Key {
    /// A key of something of a kind, with all that decides it. Kinds keep keys of different things apart.
    #[must_use]
    pub fn of<'a>(kind: &'a str, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hasher = Hasher::sha256();
        for part in std::iter::once(kind).chain(parts) {
            // Each with its length before it, so that no two lists have the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.finish())
    }

    /// As a digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
