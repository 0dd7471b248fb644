//! Signatures of archives (RFC 9580): clear-signed text and detached signatures, checked against a keyring. Nothing is
//! signed, encrypted or decrypted here.
//!
//! What archives sign with is little of OpenPGP: packets of version 4, RSA or Ed25519, SHA-2. That little is read here, and
//! `ring`, which TLS needs in any case, does the arithmetic. The general libraries bring some 130 crates with every cipher
//! that OpenPGP ever had, and an RSA with a standing advisory; one of LGPL cannot be linked into one static program.
//!
//! ```text
//! keyring ──► certificates: primary key ─ self-signatures (until when, for what) ─ subkeys, bound in both directions
//! text    ──► signatures ──► by whom? ── unknown, expired, revoked, weak: does not count
//!                                     ── known and wrong: refused, whatever else is there
//!                                     ── good: one is enough
//! ```
//!
//! Refused are SHA-1 and MD5 anywhere, RSA below 2,048 bits, signatures from the future, keys and signatures that have
//! expired, and subkeys that do not say themselves whose they are.

mod armor;
mod key;
mod packet;
mod signature;

use std::borrow::Cow;

use crate::Seconds;
use key::{Certificate, certificates};
use packet::{Tag, packets};
use signature::{Signature, Subject};

/// The keys that are trusted.
#[derive(Clone, Debug)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

/// Who has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The fingerprint of the key, in uppercase digits.
    pub fingerprint: String,
    /// When.
    pub made: Seconds,
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum SignatureError {
    #[error("it is no OpenPGP data: {reason}")]
    Malformed { reason: &'static str },
    #[error("the keyring holds no key that could sign")]
    EmptyKeyring,
    #[error("it is a GnuPG keybox; export the keys: gpg --export")]
    Keybox,
    #[error("it is not clear-signed: {reason}")]
    NotClearSigned { reason: &'static str },
    #[error("the signature by {fingerprint} is wrong: the text was changed")]
    Wrong { fingerprint: String },
    #[error("no signature of it counts: {}", .reasons.join("; "))]
    Untrusted { reasons: Vec<String> },
}

/// More signatures are not looked at.
const SIGNATURES_LIMIT: usize = 32;

impl Keyring {
    /// Reads a keyring as `gpg --export` writes it, armored or not. What is in it and cannot sign is passed over.
    ///
    /// # Errors
    /// Where it is none, or no key in it can be used.
    pub fn parse(bytes: &[u8]) -> Result<Keyring, SignatureError> {
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(SignatureError::Keybox);
        }
        let bytes = armor::unarmored(bytes, "PUBLIC KEY BLOCK")?;
        let certificates = certificates(&bytes)?;
        if certificates.is_empty() {
            return Err(SignatureError::EmptyKeyring);
        }
        Ok(Keyring { certificates })
    }

    /// Checks a clear-signed text (RFC 9580, section 7); what it says, and who says so at `now`.
    ///
    /// # Errors
    /// Where it is none, where anything stands around it, or no trusted signature is good.
    pub fn verify_clear_signed(
        &self,
        bytes: &[u8],
        now: Seconds,
    ) -> Result<(String, Vec<Signer>), SignatureError> {
        let clear = armor::ClearSigned::parse(bytes)?;
        let signers = self.verify(&clear.signatures, Content::Text(clear.canonical.as_bytes()), now)?;
        Ok((clear.text, signers))
    }

    /// Checks a detached signature, armored or not.
    ///
    /// # Errors
    /// Where it is none, or no trusted signature is good.
    pub fn verify_detached(
        &self,
        data: &[u8],
        signatures: &[u8],
        now: Seconds,
    ) -> Result<Vec<Signer>, SignatureError> {
        let signatures = armor::unarmored(signatures, "SIGNATURE")?;
        self.verify(&signatures, Content::Bytes(data), now)
    }

    fn verify(
        &self,
        bytes: &[u8],
        content: Content<'_>,
        now: Seconds,
    ) -> Result<Vec<Signer>, SignatureError> {
        let (mut signers, mut reasons) = (Vec::new(), Vec::new());
        let mut count = 0;
        for packet in packets(bytes) {
            let packet = packet?;
            if packet.tag != Tag::Signature {
                return Err(SignatureError::Malformed { reason: "there is more than signatures" });
            }
            count += 1;
            if count > SIGNATURES_LIMIT {
                return Err(SignatureError::Malformed { reason: "there are too many signatures" });
            }
            match Signature::parse(packet.body) {
                Err(reason) => reasons.push(format!("one cannot be used: {reason}")),
                Ok(signature) => match self.judge(&signature, content, now)? {
                    Ok(signer) => signers.push(signer),
                    Err(reason) => reasons.push(reason),
                },
            }
        }
        if signers.is_empty() {
            if reasons.is_empty() {
                reasons.push("there is none".to_owned());
            }
            return Err(SignatureError::Untrusted { reasons });
        }
        Ok(signers)
    }

    /// Whether one signature is good, or why it does not count; an error where it is wrong.
    fn judge(
        &self,
        signature: &Signature<'_>,
        content: Content<'_>,
        now: Seconds,
    ) -> Result<Result<Signer, String>, SignatureError> {
        let keys = self.certificates.iter().flat_map(Certificate::keys);
        let Some(known) = keys.into_iter().find(|known| signature.names(&known.key)) else {
            return Ok(Err(format!("the key {} is not in the keyring", signature.issuer_shown())));
        };
        let fingerprint = known.key.fingerprint_shown();
        if !matches!(signature.kind, signature::BINARY | signature::TEXT) {
            return Ok(Err(format!("that by {fingerprint} is not one of a document")));
        }
        let refused = known.refusal(now).map(Cow::Borrowed).or_else(|| signature.refusal(&known.key, now));
        if let Some(reason) = refused {
            return Ok(Err(format!("that by {fingerprint} does not count: {reason}")));
        }
        let data = match (content, signature.kind) {
            (Content::Bytes(bytes), signature::TEXT) => Cow::Owned(canonical(bytes)),
            (Content::Bytes(bytes) | Content::Text(bytes), _) => Cow::Borrowed(bytes),
        };
        if !signature.holds(&known.key, Subject::Data(&data)) {
            return Err(SignatureError::Wrong { fingerprint });
        }
        Ok(Ok(Signer { fingerprint, made: signature.made }))
    }
}

/// What was signed.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// As it lies there.
    Bytes(&'a [u8]),
    /// With line ends as they are hashed.
    Text(&'a [u8]),
}

/// Every line end as carriage return and line feed.
fn canonical(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut before = 0;
    for byte in bytes {
        if *byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        before = *byte;
    }
    out
}
