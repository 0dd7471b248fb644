//! Content digests (image-spec, descriptor.md) and the identifiers that are made of them.
//!
//! Any algorithm that fits the grammar is legal to carry; only SHA-256 and SHA-512 can be verified here, and
//! only those may name a layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{Error, Result, excerpt};

/// The longest digest that is accepted, in bytes; a SHA-512 has 135.
const LENGTH_LIMIT: usize = 255;

/// `algorithm:encoded`, for example `sha256:e3b0…`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Box<str>,
    colon: u8,
}

/// A digest's algorithm, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256; 64 lowercase hexadecimal digits.
    Sha256,
    /// SHA-512; 128 lowercase hexadecimal digits.
    Sha512,
    /// Legal, but content cannot be verified against it.
    Other,
}

impl Digest {
    /// The SHA-256 of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::from_sha256(sha2::Sha256::digest(content).into())
    }

    /// Names a finished SHA-256.
    #[must_use]
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self::named("sha256:", &hash)
    }

    /// Names a finished SHA-512.
    #[must_use]
    pub fn from_sha512(hash: [u8; 64]) -> Self {
        Self::named("sha512:", &hash)
    }

    /// Of a name of six letters with its colon. Made at once: a context has many of them.
    fn named(name: &str, hash: &[u8]) -> Self {
        let mut text = String::with_capacity(name.len() + hash.len() * 2);
        text.push_str(name);
        push_hex(&mut text, hash);
        Self { text: text.into(), colon: 6 }
    }

    /// The algorithm's name, as written before the colon.
    #[must_use]
    pub fn algorithm_name(&self) -> &str {
        &self.text[..usize::from(self.colon)]
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.algorithm_name() {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => Algorithm::Other,
        }
    }

    /// What stands after the colon; for SHA-256 and SHA-512, lowercase hexadecimal digits.
    #[must_use]
    pub fn encoded(&self) -> &str {
        &self.text[usize::from(self.colon) + 1..]
    }

    /// The first twelve digits, as listings show them.
    #[must_use]
    pub fn short(&self) -> &str {
        let encoded = self.encoded();
        &encoded[..encoded.len().min(12)]
    }

    /// `algorithm:encoded`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Computes what content has to have; `None` where the algorithm is unknown.
    #[must_use]
    pub fn hasher(&self) -> Option<Hasher> {
        match self.algorithm() {
            Algorithm::Sha256 => Some(Hasher::Sha256(sha2::Sha256::new())),
            Algorithm::Sha512 => Some(Hasher::Sha512(sha2::Sha512::new())),
            Algorithm::Other => None,
        }
    }

    /// Whether `content` is what this digest names.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] if it is not, [`Error::Digest`] if the algorithm is unknown.
    pub fn verify(&self, content: &[u8]) -> Result<()> {
        let Some(mut hasher) = self.hasher() else {
            return Err(Error::Digest {
                text: excerpt(self.as_str()),
                reason: "algorithm cannot be verified",
            });
        };
        hasher.update(content);
        let found = hasher.finish();
        if found == *self {
            return Ok(());
        }
        Err(Error::DigestMismatch { expected: self.to_string(), found: found.to_string() })
    }
}

/// A hash in progress, whose result is a [`Digest`] of the same algorithm.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// A SHA-256, the algorithm of everything Skiff names itself.
    #[must_use]
    pub fn sha256() -> Self {
        Self::Sha256(sha2::Sha256::new())
    }

    /// Adds content.
    pub fn update(&mut self, content: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(content),
            Self::Sha512(hash) => hash.update(content),
        }
    }

    /// The digest of all content added.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Self::Sha512(hash) => Digest::from_sha512(hash.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sha256(_) => "Hasher::Sha256",
            Self::Sha512(_) => "Hasher::Sha512",
        })
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason| Error::Digest { text: excerpt(text), reason };
        if text.len() > LENGTH_LIMIT {
            return Err(refuse("longer than 255 bytes"));
        }
        let (algorithm, encoded) =
            text.split_once(':').ok_or_else(|| refuse("expected ALGORITHM:ENCODED"))?;
        let component = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !algorithm.split(['+', '.', '_', '-']).all(component) {
            return Err(refuse(
                "the algorithm may hold lowercase letters and digits, separated by one of + . _ -",
            ));
        }
        if encoded.is_empty()
            || !encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        {
            return Err(refuse("the encoded part may hold letters, digits, =, _ and -, and not be empty"));
        }
        let hex_of = |length| encoded.len() == length && is_lower_hex(encoded);
        match algorithm {
            "sha256" if !hex_of(64) => Err(refuse("a SHA-256 has 64 lowercase hexadecimal digits")),
            "sha512" if !hex_of(128) => Err(refuse("a SHA-512 has 128 lowercase hexadecimal digits")),
            _ => {
                let colon = u8::try_from(algorithm.len()).map_err(|_| refuse("longer than 255 bytes"))?;
                Ok(Self { text: text.into(), colon })
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The digest of a layer's uncompressed tar; always one that can be verified.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiffId(Digest);

impl DiffId {
    /// The digest itself.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }

    /// `algorithm:encoded`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<Digest> for DiffId {
    type Error = Error;

    fn try_from(digest: Digest) -> Result<Self> {
        match digest.algorithm() {
            Algorithm::Sha256 | Algorithm::Sha512 => Ok(Self(digest)),
            Algorithm::Other => Err(Error::Digest {
                text: excerpt(digest.as_str()),
                reason: "a layer is named by sha256 or sha512",
            }),
        }
    }
}

impl FromStr for DiffId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse::<Digest>()?.try_into()
    }
}

/// Names a stack of layers: `ChainId(L0) = DiffId(L0)`, `ChainId(L0..Ln) = sha256(ChainId(L0..Ln-1) " "
/// DiffId(Ln))`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(Digest);

impl ChainId {
    /// The stack of the one layer that lies on nothing.
    #[must_use]
    pub fn base(layer: &DiffId) -> Self {
        Self(layer.0.clone())
    }

    /// This stack with `layer` on top.
    #[must_use]
    pub fn extend(&self, layer: &DiffId) -> Self {
        Self(Digest::of(format!("{} {}", self.0, layer.0).as_bytes()))
    }

    /// The whole stack, base first; `None` for no layers.
    #[must_use]
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(rest.iter().fold(Self::base(first), |below, layer| below.extend(layer)))
    }

    /// The digest itself.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl FromStr for ChainId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.parse::<DiffId>()?.0))
    }
}

macro_rules! text_of_digest {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        serde_as_text!($name);
    )+};
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use serde_as_text;

serde_as_text!(Digest);
text_of_digest!(DiffId, ChainId);

/// Lowercase hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Whether `text` is lowercase hexadecimal digits only.
pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_grammar_is_that_of_the_specification() {
        let long = "a".repeat(250);
        for good in [EMPTY, "blake3:aB=_-9", "multihash+base58:QmRZ", "a.b_c-d+e:x", &format!("a:{long}")] {
            assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":",
            "sha256",
            "sha256:",
            ":abc",
            "sha256:abc",
            "SHA256:aa",
            "a++b:c",
            "a+:c",
            "+a:c",
            "a:b c",
            "a:b/c",
            "a:b:c",
            &EMPTY.to_uppercase(),
            &EMPTY.replace('e', "E"),
            &format!("{EMPTY}0"),
            "sha512:e3b0",
            &format!("abcdef:{long}"),
            "../../x:y",
            "a:../b",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn content_is_verified_with_the_named_algorithm() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        Digest::of(b"x").verify(b"x").unwrap();
        assert!(matches!(Digest::of(b"x").verify(b"y"), Err(Error::DigestMismatch { .. })));
        assert!(matches!("blake3:abc".parse::<Digest>().unwrap().verify(b""), Err(Error::Digest { .. })));
        let long: Digest = Digest::from_sha512(sha2::Sha512::digest(b"x").into());
        long.verify(b"x").unwrap();
        assert!(long.verify(b"").is_err());
        assert_eq!(long.encoded().len(), 128);
    }

    #[test]
    fn a_layer_needs_a_digest_that_can_be_verified() {
        assert!("blake3:abc".parse::<DiffId>().is_err());
        assert_eq!(EMPTY.parse::<DiffId>().unwrap().as_str(), EMPTY);
    }

    #[test]
    fn a_chain_hashes_the_text_of_its_parts() {
        let layer = |content: &[u8]| DiffId::try_from(Digest::of(content)).unwrap();
        let (a, b) = (layer(b"a"), layer(b"b"));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(std::slice::from_ref(&a)).unwrap().digest(), a.digest());
        assert_eq!(
            ChainId::of(&[a.clone(), b.clone()]).unwrap().digest(),
            &Digest::of(format!("{a} {b}").as_bytes())
        );
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in "\\PC{0,80}|[a-z0-9+._-]{0,9}:[a-zA-Z0-9=_-]{0,70}") {
            if let Ok(digest) = text.parse::<Digest>() {
                assert_eq!(digest.to_string(), text);
                assert_eq!(format!("{}:{}", digest.algorithm_name(), digest.encoded()), text);
            }
        }
    }
}
