//! Names of objects: the hash of what an object is, in one of the two formats that repositories have.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use crate::error::{Error, Result};

/// By which hash a repository names its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// SHA-1, 20 bytes. Content that was made for a collision is refused.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

/// The name of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    // Zero behind the length of the format.
    bytes: [u8; 32],
    format: Format,
}

impl Format {
    /// How many bytes a name has.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// As the protocol and configurations call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    pub(crate) fn hasher(self) -> Hasher {
        match self {
            Self::Sha1 => Hasher::Sha1(Box::new(sha1dc::Hasher::new())),
            Self::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }
}

impl ObjectId {
    /// From as many bytes as the format has; `None` if there are more or less.
    #[must_use]
    pub fn from_bytes(format: Format, raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        (raw.len() == format.length()).then(|| bytes[..raw.len()].copy_from_slice(raw))?;
        Some(Self { bytes, format })
    }

    /// The format that it is of.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.format.length()]
    }
}

impl FromStr for ObjectId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Id { text: text.chars().take(80).collect() };
        let format = match text.len() {
            40 => Format::Sha1,
            64 => Format::Sha256,
            _ => return Err(wrong()),
        };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = text.as_bytes().chunks_exact(2);
        let raw: Option<Vec<u8>> = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
        raw.and_then(|raw| Self::from_bytes(format, &raw)).ok_or_else(wrong)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A hash in progress.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha1(Box<sha1dc::Hasher>),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(crate) fn update(&mut self, content: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(content),
            Self::Sha256(hash) => hash.update(content),
        }
    }

    /// The name of what was hashed, unless it was made to have that of something else.
    pub(crate) fn finish(self) -> Result<ObjectId> {
        let mut bytes = [0; 32];
        let format = match self {
            Self::Sha1(hash) => {
                let digest = hash.finalize().map_err(|_| Error::Collision)?;
                bytes[..20].copy_from_slice(digest.as_bytes());
                Format::Sha1
            }
            Self::Sha256(hash) => {
                bytes.copy_from_slice(&hash.finalize());
                Format::Sha256
            }
        };
        Ok(ObjectId { bytes, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hexadecimal_of_two_lengths() {
        for (text, is_good) in [
            ("4B825DC642CB6EB9A060E54BF8D69288FBEE4904", true),
            (&"ab".repeat(32), true),
            (&"ab".repeat(20)[1..], false),
            (&"zz".repeat(20), false),
            ("", false),
        ] {
            let id = text.parse::<ObjectId>();
            assert_eq!(id.is_ok(), is_good, "{text}");
            assert!(id.is_err() || id.unwrap().to_string() == text.to_ascii_lowercase());
        }
        // Not one byte a character.
        assert!("ä".repeat(20).parse::<ObjectId>().is_err());
    }

    #[test]
    fn both_hashes_are_those_of_git() {
        let of = |format: Format| {
            let mut hasher = format.hasher();
            hasher.update(b"tree 0\0");
            hasher.finish().unwrap().to_string()
        };
        assert_eq!(of(Format::Sha1), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert_eq!(of(Format::Sha256), "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321");
    }
}
