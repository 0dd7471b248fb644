//! The names that a request can hold: repositories, tags, uploads. Parsed once, at the border.

use std::fmt;

use oci::Digest;

/// A repository within this registry: lower-case components between slashes, at most 255 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Box<str>);

impl Repository {
    /// Takes a name that fits the specification's grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        oci::is_repository(text).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag: up to 128 letters, digits, `_`, `.` and `-`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// Takes a name that fits the specification's grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        oci::is_tag(text).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a request names a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// By a name that may move.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

impl Reference {
    /// Takes a tag or a digest; only the latter has a colon.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            return text.parse().ok().map(Self::Digest);
        }
        Tag::parse(text).map(Self::Tag)
    }
}

/// An upload in progress: 32 lower-case hexadecimal digits that nobody can guess.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadId(Box<str>);

impl UploadId {
    /// Takes what an earlier answer has named.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        fits.then(|| Self(text.into()))
    }

    /// A new one, of 128 random bits.
    ///
    /// # Errors
    /// If the kernel has no randomness.
    pub fn random() -> std::io::Result<Self> {
        let mut bits = [0; 16];
        rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bits)).into()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

oci::text_of!(Repository, Tag, UploadId);

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => fmt::Display::fmt(tag, formatter),
            Self::Digest(digest) => fmt::Display::fmt(digest, formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar_of_the_specification() {
        for good in ["a", "a/b", "a.b/c_d/e__f/g---h", "0/1", &"a".repeat(255)] {
            assert!(Repository::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "..", &"a".repeat(256)]
        {
            assert!(Repository::parse(bad).is_none(), "{bad}");
        }
        assert!(Tag::parse("_V1.0-x").is_some());
        for bad in ["", ".a", "-a", "a/b", "a:b", "ä", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest_or_nothing() {
        assert!(matches!(Reference::parse("v1"), Some(Reference::Tag(_))));
        assert!(Reference::parse("sha256:abc").is_none());
        assert!(matches!(Reference::parse(Digest::of(b"").as_str()), Some(Reference::Digest(_))));
    }

    #[test]
    fn uploads_are_named_anew_each_time() {
        let (one, two) = (UploadId::random().unwrap(), UploadId::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(UploadId::parse(one.as_str()), Some(one));
        assert!(UploadId::parse("../../../../../../../etc/passwd0").is_none());
    }
}
