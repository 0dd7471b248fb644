//! Tokens that this registry gives to clients, and reads again: what they grant, and a keyed hash over it.
//!
//! ```text
//! base64url(JSON) . base64url(HMAC-SHA256(key, JSON))
//! ```
//!
//! The key lives as long as the server; after that, clients are asked to fetch another token, as when one has run out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::rights::Action;
use crate::names::Repository;

/// What a token grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Who has asked for it; missing for those without a password.
    pub(crate) user: Option<String>,
    /// Seconds since 1970 from which it is nothing.
    pub(crate) until: u64,
    /// Repositories and what may be done there.
    pub(crate) scopes: Vec<Scope>,
    /// Whether the repositories may be listed.
    pub(crate) catalog: bool,
}

/// A repository and what may be done in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Grant {
    pub(crate) fn covers(&self, repository: &Repository, action: Action) -> bool {
        self.scopes.iter().any(|scope| {
            scope.name == repository.as_str() && scope.actions.iter().any(|granted| granted == action.text())
        })
    }
}

/// A secret that only this process has.
pub(crate) struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl Key {
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut key = [0; 32];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self(key))
    }

    fn hash(&self, content: &[u8]) -> Option<Hmac<Sha256>> {
        // A key of any length will do.
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        hash.update(content);
        Some(hash)
    }

    /// A hash that nobody else can compute.
    pub(crate) fn mark(&self, content: &[u8]) -> [u8; 32] {
        self.hash(content).map_or([0; 32], |hash| hash.finalize().into_bytes().into())
    }

    /// Compares marks in a time that does not depend on them.
    pub(crate) fn same(&self, one: &[u8; 32], two: &[u8; 32]) -> bool {
        self.hash(one).is_some_and(|hash| hash.verify_slice(&self.mark(two)).is_ok())
    }

    /// Writes a token.
    pub(crate) fn sign(&self, grant: &Grant) -> Option<String> {
        let text = serde_json::to_vec(grant).ok()?;
        let mark = self.hash(&text)?.finalize().into_bytes();
        Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(mark)))
    }

    /// Reads a token of ours that has not run out at `now`.
    pub(crate) fn verify(&self, token: &str, now: u64) -> Option<Grant> {
        let (text, mark) = token.split_once('.')?;
        let (text, mark) = (URL_SAFE_NO_PAD.decode(text).ok()?, URL_SAFE_NO_PAD.decode(mark).ok()?);
        self.hash(&text)?.verify_slice(&mark).ok()?;
        serde_json::from_slice(&text).ok().filter(|grant: &Grant| now < grant.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_ours_whole_and_in_time_or_nothing() {
        let key = Key::random().unwrap();
        let scope = Scope { name: "a/b".to_owned(), actions: vec!["pull".to_owned()] };
        let grant = Grant { user: Some("alice".to_owned()), until: 100, scopes: vec![scope], catalog: false };
        let token = key.sign(&grant).unwrap();
        assert_eq!(key.verify(&token, 99), Some(grant.clone()));
        assert_eq!(key.verify(&token, 100), None);
        assert_eq!(Key::random().unwrap().verify(&token, 0), None);
        for at in 0..token.len() {
            let mut broken = token.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.verify(&String::from_utf8(broken).unwrap(), 0), None, "at {at}");
        }
        assert_eq!(key.verify("", 0), None);
        let repository = Repository::parse("a/b").unwrap();
        assert!(grant.covers(&repository, Action::Pull) && !grant.covers(&repository, Action::Push));
        assert!(!grant.covers(&Repository::parse("a").unwrap(), Action::Pull));
    }
}
