//! One signature: what it says, over what it was made, and whether it holds (RFC 9580, section 5.2).

use std::borrow::Cow;

use ring::{digest, signature as arithmetic};

use super::key::{Material, PublicKey};
use super::packet::{Reader, length};
use crate::Seconds;

/// Kinds of signatures.
pub(super) const BINARY: u8 = 0x00;
pub(super) const TEXT: u8 = 0x01;
pub(super) const GENERIC: u8 = 0x10;
pub(super) const POSITIVE: u8 = 0x13;
pub(super) const SUBKEY: u8 = 0x18;
const PRIMARY: u8 = 0x19;
pub(super) const DIRECT: u8 = 0x1f;
pub(super) const REVOKED: u8 = 0x20;
pub(super) const SUBKEY_REVOKED: u8 = 0x28;

/// Kinds of keys.
pub(super) const RSA: u8 = 1;
pub(super) const RSA_SIGN_ONLY: u8 = 3;
pub(super) const EDDSA: u8 = 22;
pub(super) const ED25519: u8 = 27;

/// The flag of a key that may sign documents.
pub(super) const MAY_SIGN: u8 = 0x02;

/// A clock may be behind that of the archive by so much.
const SKEW: Seconds = 300;

/// A signature of version 4.
#[derive(Clone, Debug)]
pub(super) struct Signature<'a> {
    pub(super) kind: u8,
    algorithm: u8,
    hash: Hash,
    /// What of the packet was signed.
    covered: &'a [u8],
    /// The numbers of the signature.
    value: &'a [u8],
    pub(super) made: Seconds,
    lifetime: Option<Seconds>,
    pub(super) key_lifetime: Option<Seconds>,
    pub(super) flags: Option<u8>,
    issuer: Option<[u8; 20]>,
    issuer_id: Option<[u8; 8]>,
    /// The subkey's own signature, within that which binds it.
    embedded: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// What a signature is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Data(&'a [u8]),
    Key(&'a PublicKey),
    User(&'a PublicKey, &'a [u8]),
    Subkey(&'a PublicKey, &'a PublicKey),
}

impl<'a> Signature<'a> {
    /// Reads a packet.
    pub(super) fn parse(body: &'a [u8]) -> Result<Signature<'a>, &'static str> {
        const DAMAGED: &str = "its packet is damaged";
        let mut reader = Reader(body);
        if reader.byte() != Some(4) {
            return Err("it is not of version 4");
        }
        let mut byte = || reader.byte().ok_or(DAMAGED);
        let (kind, algorithm, hash) = (byte()?, byte()?, byte()?);
        let hash = match hash {
            8 => Hash::Sha256,
            9 => Hash::Sha384,
            10 => Hash::Sha512,
            1..=3 | 11 => return Err("its hash is too weak"),
            _ => return Err("its hash is unknown"),
        };
        let mut area = || reader.u16().and_then(|length| reader.bytes(usize::from(length))).ok_or(DAMAGED);
        let (hashed, unhashed) = (area()?, area()?);
        // The first two bytes of the hash: only a help to those who guess.
        reader.u16().ok_or(DAMAGED)?;
        let (covered, value) = (&body[..6 + hashed.len()], reader.0);
        let mut signature = Signature {
            kind,
            algorithm,
            hash,
            covered,
            value,
            made: Seconds::MIN,
            lifetime: None,
            key_lifetime: None,
            flags: None,
            issuer: None,
            issuer_id: None,
            embedded: None,
        };
        signature.read_area(hashed, true)?;
        signature.read_area(unhashed, false)?;
        if signature.made == Seconds::MIN {
            return Err("it does not say when it was made");
        }
        Ok(signature)
    }

    /// Reads subpackets. Those that were not signed only help to find what proves itself: the key, and the subkey's own
    /// signature.
    fn read_area(&mut self, area: &'a [u8], signed: bool) -> Result<(), &'static str> {
        const DAMAGED: &str = "a part of its packet is damaged";
        let mut reader = Reader(area);
        while !reader.0.is_empty() {
            let body = length(&mut reader).and_then(|length| reader.bytes(length)).ok_or(DAMAGED)?;
            let (first, body) = body.split_first().ok_or(DAMAGED)?;
            let seconds = || Reader(body).u32().map(Seconds::from).ok_or(DAMAGED);
            let limited = |seconds| Some(seconds).filter(|seconds| *seconds != 0);
            match (first & 0x7f, signed) {
                (2, true) => self.made = seconds()?,
                (3, true) => self.lifetime = limited(seconds()?),
                (9, true) => self.key_lifetime = limited(seconds()?),
                (27, true) => self.flags = Some(body.first().copied().unwrap_or(0)),
                (16, _) => self.issuer_id = Some(body.try_into().map_err(|_| DAMAGED)?),
                (33, _) => {
                    if let Some((4, fingerprint)) = body.split_first() {
                        self.issuer = Some(fingerprint.try_into().map_err(|_| DAMAGED)?);
                    }
                }
                (32, _) => self.embedded = Some(body),
                // Preferences, and what programs can do: about encrypting, and about how keys are shown.
                (11 | 21 | 22 | 23 | 25 | 30 | 34, true) | (_, false) => {}
                (_, true) if first & 0x80 != 0 => {
                    return Err("it must be understood in a way that is unknown here");
                }
                (_, true) => {}
            }
        }
        Ok(())
    }

    /// Whether it says that this key has made it.
    pub(super) fn names(&self, key: &PublicKey) -> bool {
        match (&self.issuer, &self.issuer_id) {
            (Some(fingerprint), _) => *fingerprint == key.fingerprint,
            (None, Some(id)) => id == key.id(),
            (None, None) => false,
        }
    }

    pub(super) fn issuer_shown(&self) -> String {
        match (&self.issuer, &self.issuer_id) {
            (Some(fingerprint), _) => shown(fingerprint),
            (None, Some(id)) => shown(id),
            (None, None) => "that it does not name".to_owned(),
        }
    }

    pub(super) fn may_sign(&self) -> bool {
        self.flags.is_some_and(|flags| flags & MAY_SIGN != 0)
    }

    /// Why it does not count, whatever its numbers.
    pub(super) fn refusal(&self, key: &PublicKey, now: Seconds) -> Option<Cow<'static, str>> {
        if self.made > now + SKEW {
            return Some("it is from the future, or the clock of this host is behind".into());
        }
        if self.made < key.created {
            return Some("it is older than its key".into());
        }
        if self.lifetime.is_some_and(|seconds| self.made + seconds <= now) {
            return Some("it has expired".into());
        }
        match &key.material {
            Material::Rsa { modulus, .. } if modulus.len() < 256 => Some("its key is too short".into()),
            Material::Rsa { .. } | Material::Ed25519 { .. } | Material::Other => None,
        }
    }

    /// Whether the subkey has signed that it belongs to the primary key: else anybody could claim another's.
    pub(super) fn is_answered_by(&self, subkey: &PublicKey, subject: Subject<'_>) -> bool {
        let answer = self.embedded.and_then(|body| Signature::parse(body).ok());
        answer.is_some_and(|answer| answer.kind == PRIMARY && answer.holds(subkey, subject))
    }

    /// Whether `key` has made it over `subject`.
    pub(super) fn holds(&self, key: &PublicKey, subject: Subject<'_>) -> bool {
        let mut message = match subject {
            Subject::Data(data) => data.to_vec(),
            Subject::Key(key) => key.hashed(),
            Subject::User(key, user) => {
                let Ok(length) = u32::try_from(user.len()) else { return false };
                [&key.hashed()[..], &[0xb4], &length.to_be_bytes(), user].concat()
            }
            Subject::Subkey(key, subkey) => [key.hashed(), subkey.hashed()].concat(),
        };
        let Ok(length) = u32::try_from(self.covered.len()) else { return false };
        message.extend_from_slice(self.covered);
        message.extend_from_slice(&[4, 0xff]);
        message.extend_from_slice(&length.to_be_bytes());
        self.verify(key, &message).is_some()
    }

    fn verify(&self, key: &PublicKey, message: &[u8]) -> Option<()> {
        let mut value = Reader(self.value);
        match (&key.material, self.algorithm) {
            (Material::Rsa { modulus, exponent }, RSA | RSA_SIGN_ONLY) => {
                let parameters = match self.hash {
                    Hash::Sha256 => &arithmetic::RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &arithmetic::RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &arithmetic::RSA_PKCS1_2048_8192_SHA512,
                };
                let number = padded(value.integer()?, modulus.len())?;
                let key = arithmetic::RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, &number).ok()
            }
            (Material::Ed25519 { point }, EDDSA) => {
                let (r, s) = (padded(value.integer()?, 32)?, padded(value.integer()?, 32)?);
                self.verify_ed25519(point, message, &[r, s].concat())
            }
            (Material::Ed25519 { point }, ED25519) => self.verify_ed25519(point, message, value.bytes(64)?),
            _ => None,
        }
    }

    /// What is signed is the hash, which Ed25519 then hashes in its own way.
    fn verify_ed25519(&self, point: &[u8; 32], message: &[u8], value: &[u8]) -> Option<()> {
        let algorithm = match self.hash {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        let hash = digest::digest(algorithm, message);
        arithmetic::UnparsedPublicKey::new(&arithmetic::ED25519, point).verify(hash.as_ref(), value).ok()
    }
}

/// A number with the leading zeros that it lost.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    let mut bytes = vec![0; zeros];
    bytes.extend_from_slice(number);
    Some(bytes)
}

/// As uppercase digits.
pub(super) fn shown(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02X}");
    }
    text
}
