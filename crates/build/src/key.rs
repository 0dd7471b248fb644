//! Keys of results.

use std::fmt;

use dockerfile::lower::Op;
use oci::{DiffId, Digest, Hasher};

use crate::solve::Salt;

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

    /// By which a source is known that at present is `identity` ([`crate::Source::There`]), `salt` being that of [`crate::Options`].
    #[must_use]
    pub fn source(op: &Op, identity: &Digest, salt: &Salt<'_>) -> Self {
        Self::definition(&Self::effect(op, salt), [identity.as_str()])
    }

    /// What an operation does, where `salt` says what decides as well.
    pub(crate) fn effect(op: &Op, salt: &Salt<'_>) -> Digest {
        match salt(op).as_str() {
            "" => op.effect(),
            salt => Self::of("salted", [op.effect().as_str(), salt]).0,
        }
    }

    /// Of a definition: what is done, and the definitions of its inputs or, of a source, what it is at present.
    pub(crate) fn definition<'a>(effect: &'a Digest, inputs: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of("definition", std::iter::once(effect.as_str()).chain(inputs))
    }

    /// Of what is done upon a tree with inputs of these definitions.
    pub(crate) fn upon<'a>(
        effect: &'a Digest,
        base: &'a Self,
        others: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self::of("upon", [effect.as_str(), base.as_str()].into_iter().chain(others))
    }

    /// Of files without a name: what is taken of them.
    pub(crate) fn taken(content: &Digest) -> Self {
        Self::of("taken", [content.as_str()])
    }

    /// Of what is done with these trees.
    pub(crate) fn trees<'a>(effect: &'a Digest, inputs: impl IntoIterator<Item = &'a Self>) -> Self {
        Self::of("trees", std::iter::once(effect.as_str()).chain(inputs.into_iter().map(Self::as_str)))
    }

    /// Of what is done with what a node gets from its inputs.
    pub(crate) fn content(effect: &Digest, content: &Digest) -> Self {
        Self::of("content", [effect.as_str(), content.as_str()])
    }

    /// Of a tree: a layer upon another tree, or upon nothing.
    pub(crate) fn tree(base: Option<&Self>, layer: &DiffId) -> Self {
        Self::of("tree", [base.map_or("", Self::as_str), layer.digest().as_str()])
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
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
