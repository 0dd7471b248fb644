//! Names and ids of containers.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{hex, is_lower_hex, serde_as_text};
use crate::error::{Error, Result, excerpt};

/// 64 lowercase hexadecimal digits, unique on this host.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// The id made of 32 (random) bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(hex(&bytes).into())
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, as listings show them and as the default host name.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() == 64 && is_lower_hex(text) {
            return Ok(Self(text.into()));
        }
        Err(Error::ContainerId { text: excerpt(text) })
    }
}

/// A container's name: a letter or digit, then at least one of `a-z A-Z 0-9 _ . -`.
///
/// A leading slash is accepted and dropped, as Docker's API writes one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(Box<str>);

impl ContainerName {
    /// The name without a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::ContainerName { text: excerpt(text), reason };
        let name = text.strip_prefix('/').unwrap_or(text);
        if name.len() < 2 {
            return Err(refuse("a name has at least two characters"));
        }
        if name.len() > 255 {
            return Err(refuse("a name has at most 255 characters"));
        }
        if !name.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(refuse("a name begins with a letter or digit"));
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            return Err(refuse("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"));
        }
        Ok(Self(name.into()))
    }
}

/// Shows types that wrap a text as that text.
#[macro_export]
macro_rules! text_of {
    ($($name:ident),+) => {$(
        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

text_of!(ContainerId, ContainerName);
serde_as_text!(ContainerId);
serde_as_text!(ContainerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "/web", "a.b-c_d", "9x", "A0"] {
            assert_eq!(good.parse::<ContainerName>().unwrap().as_str(), good.trim_start_matches('/'));
        }
        for bad in
            ["", "a", "/a", "//ab", "-a", ".a", "_a", "a b", "a/b", "ä1", "a\n", "a\0", &"a".repeat(256)]
        {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_are_64_lowercase_digits() {
        let id = ContainerId::from_bytes([0xab; 32]);
        assert_eq!(id.as_str(), "ab".repeat(32));
        assert_eq!(id.short(), "abababababab");
        assert_eq!(id.as_str().parse::<ContainerId>().unwrap(), id);
        for bad in ["", "ab", &"AB".repeat(32), &"ab".repeat(33), &"g".repeat(64)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,80}") {
            drop(text.parse::<ContainerId>());
            if let Ok(name) = text.parse::<ContainerName>() {
                assert_eq!(name.as_str().parse::<ContainerName>().unwrap(), name);
            }
        }
    }
}
