//! Certificates: a primary key, what it says of itself, and its subkeys.

use super::SignatureError;
use super::packet::{Packet, Reader, Tag, packets};
use super::signature::{self, Signature, Subject};
use crate::Seconds;

/// A public key that can verify.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    /// The whole packet, which is what fingerprints and signatures cover.
    pub(super) body: Vec<u8>,
    pub(super) created: Seconds,
    pub(super) material: Material,
    pub(super) fingerprint: [u8; 20],
}

#[derive(Clone, Debug)]
pub(super) enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ed25519 {
        point: [u8; 32],
    },
    /// One that cannot verify here: of an encrypting subkey, or of a kind that archives do not sign with.
    Other,
}

/// Ed25519 as GnuPG has written it since before it was standardised.
const ED25519_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

impl PublicKey {
    /// None for keys of other versions.
    fn parse(body: &[u8]) -> Option<PublicKey> {
        let mut reader = Reader(body);
        if reader.byte()? != 4 {
            return None;
        }
        let created = Seconds::from(reader.u32()?);
        let material = match reader.byte()? {
            signature::RSA | signature::RSA_SIGN_ONLY => {
                Material::Rsa { modulus: reader.integer()?.to_vec(), exponent: reader.integer()?.to_vec() }
            }
            signature::EDDSA => {
                let length = usize::from(reader.byte()?);
                let curve = reader.bytes(length)?;
                // The point with a mark before it that says that it is compressed in the curve's own way.
                match (curve, reader.integer()?.split_first()) {
                    (ED25519_OID, Some((0x40, point))) => Material::Ed25519 { point: point.try_into().ok()? },
                    _ => Material::Other,
                }
            }
            signature::ED25519 => Material::Ed25519 { point: reader.bytes(32)?.try_into().ok()? },
            _ => Material::Other,
        };
        let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&framed(body)?);
        context.update(body);
        let fingerprint = context.finish().as_ref().try_into().ok()?;
        Some(PublicKey { body: body.to_vec(), created, material, fingerprint })
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.fingerprint[12..]
    }

    pub(super) fn fingerprint_shown(&self) -> String {
        signature::shown(&self.fingerprint)
    }

    /// The packet as signatures cover it.
    pub(super) fn hashed(&self) -> Vec<u8> {
        [framed(&self.body).unwrap_or_default().as_slice(), &self.body].concat()
    }
}

fn framed(body: &[u8]) -> Option<[u8; 3]> {
    let [high, low] = u16::try_from(body.len()).ok()?.to_be_bytes();
    Some([0x99, high, low])
}

/// A key that may sign documents, and until when.
#[derive(Clone, Debug)]
pub(super) struct SigningKey {
    pub(super) key: PublicKey,
    expires: Option<Seconds>,
    revoked: bool,
}

impl SigningKey {
    /// Why it may not sign.
    pub(super) fn refusal(&self, now: Seconds) -> Option<&'static str> {
        if self.revoked {
            return Some("the key was revoked");
        }
        self.expires.filter(|end| *end <= now).map(|_| "the key has expired")
    }
}

/// Keys that belong together.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    keys: Vec<SigningKey>,
}

impl Certificate {
    pub(super) fn keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }
}

/// Those of a keyring that have a key which may sign.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, SignatureError> {
    let mut all = Vec::new();
    let mut current: Option<Draft> = None;
    for packet in packets(bytes) {
        let packet = packet?;
        if packet.tag == Tag::PublicKey {
            all.extend(current.take().map(Draft::finish));
            current = PublicKey::parse(packet.body).map(Draft::new);
        } else if let Some(draft) = &mut current {
            draft.take(&packet);
        }
    }
    all.extend(current.map(Draft::finish));
    all.retain(|certificate| !certificate.keys.is_empty());
    Ok(all)
}

/// What the packets are about that follow.
enum About {
    Primary,
    User(Vec<u8>),
    Subkey,
    Unknown,
}

/// What a signature over a key says of it: the newest wins.
#[derive(Default)]
struct Says {
    made: Option<Seconds>,
    lifetime: Option<Seconds>,
    flags: Option<u8>,
    revoked: bool,
}

struct Draft {
    primary: PublicKey,
    says: Says,
    subkeys: Vec<(PublicKey, Says)>,
    about: About,
}

impl Draft {
    fn new(primary: PublicKey) -> Draft {
        Draft { primary, says: Says::default(), subkeys: Vec::new(), about: About::Primary }
    }

    fn take(&mut self, packet: &Packet<'_>) {
        match packet.tag {
            Tag::UserId => self.about = About::User(packet.body.to_vec()),
            Tag::PublicSubkey => match PublicKey::parse(packet.body) {
                Some(key) => {
                    self.subkeys.push((key, Says::default()));
                    self.about = About::Subkey;
                }
                None => self.about = About::Unknown,
            },
            Tag::Signature => {
                // What cannot be read says nothing.
                if let Ok(signature) = Signature::parse(packet.body) {
                    self.listen(&signature);
                }
            }
            Tag::Passed => {}
            Tag::PublicKey | Tag::Other => self.about = About::Unknown,
        }
    }

    /// Takes in what the primary key itself has signed.
    fn listen(&mut self, signature: &Signature<'_>) {
        if !signature.names(&self.primary) {
            return;
        }
        let primary = &self.primary;
        match (&self.about, signature.kind) {
            (About::Primary | About::User(_), signature::REVOKED) => {
                self.says.revoked |= signature.holds(primary, Subject::Key(primary));
            }
            (About::Primary, signature::DIRECT) if signature.holds(primary, Subject::Key(primary)) => {
                self.says.hear(signature);
            }
            (About::User(user), signature::GENERIC..=signature::POSITIVE)
                if signature.holds(primary, Subject::User(primary, user)) =>
            {
                self.says.hear(signature);
            }
            (About::Subkey, signature::SUBKEY | signature::SUBKEY_REVOKED) => {
                let Some((subkey, says)) = self.subkeys.last_mut() else { return };
                let subject = Subject::Subkey(primary, subkey);
                if !signature.holds(primary, subject) {
                    return;
                }
                if signature.kind == signature::SUBKEY_REVOKED {
                    says.revoked = true;
                } else if signature.may_sign() && signature.is_answered_by(subkey, subject) {
                    says.hear(signature);
                }
            }
            _ => {}
        }
    }

    fn finish(self) -> Certificate {
        let ends = |key: &PublicKey, says: &Says| says.lifetime.map(|seconds| key.created + seconds);
        let primary_ends = ends(&self.primary, &self.says);
        let mut keys = Vec::new();
        // Without a signature of its own it says nothing, least of all what it is for.
        if self.says.made.is_some() {
            for (key, says) in self.subkeys.into_iter().filter(|(_, says)| says.made.is_some()) {
                let expires = [primary_ends, ends(&key, &says)].into_iter().flatten().min();
                keys.push(SigningKey { key, expires, revoked: self.says.revoked || says.revoked });
            }
            if self.says.flags.is_none_or(|flags| flags & signature::MAY_SIGN != 0) {
                keys.push(SigningKey {
                    key: self.primary,
                    expires: primary_ends,
                    revoked: self.says.revoked,
                });
            }
        }
        keys.retain(|signing| !matches!(signing.key.material, Material::Other));
        Certificate { keys }
    }
}

impl Says {
    fn hear(&mut self, signature: &Signature<'_>) {
        if self.made.is_none_or(|made| made <= signature.made) {
            self.made = Some(signature.made);
            self.lifetime = signature.key_lifetime;
            self.flags = signature.flags;
        }
    }
}
