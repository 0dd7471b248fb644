//! Proof of who we are: Basic, or a token that somebody else gives (distribution's token and oauth2 specifications).
//!
//! ```text
//! registry ── 401, WWW-Authenticate: Bearer realm=R,service=S ──►
//!   with a password:        GET R?service=S&scope=…&account=…   Authorization: Basic …
//!   with an identity token: POST R  grant_type=refresh_token&refresh_token=…&service=S&scope=…
//!   with neither:           GET R?service=S&scope=…
//!   to log in:              GET R?…&offline_token=true&client_id=skiff   Authorization: Basic …
//!                           ◄── { "refresh_token": "…", … }, an identity token, where the giver has such
//! ◄── { "token": "…", "expires_in": 300 }
//! registry ── Authorization: Bearer … ──►
//! ```
//!
//! That the registry names who gives its tokens is the protocol: the credential for a registry goes there. But never by a
//! less safe way than to the registry itself, and not where that redirects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use crate::challenge::{Bearer, Challenge};
use crate::credential::Credential;
use crate::error::{Error, Result, excerpt};
use crate::hosts::Host;
use crate::payload::Sending;
use crate::session::{Answer, Ask, Session, expiry, locked};
use crate::url::{Origin, Url, escape};

/// No answer with a token is longer.
const LIMIT: u64 = 1 << 20;
/// How long a token lasts that does not say so, in seconds, and the shortest time that is believed.
const DEFAULT_LIFE: u64 = 60;
/// How we are called by those who give tokens.
const CLIENT_ID: &str = "skiff";

/// The scope of what is good for all of them.
const EVERY: &str = "*";

/// What has been found to be accepted, by origin and scope, and the credentials that were looked up, by registry.
#[derive(Default)]
pub(crate) struct Tokens {
    accepted: Mutex<HashMap<(Origin, String), Accepted>>,
    credentials: Mutex<HashMap<String, Option<Credential>>>,
    /// One at a time: others find what the first was given.
    asking: Mutex<()>,
    /// What stands for the password from now on.
    identity: Mutex<Identity>,
}

/// Whether an identity token is asked for in place of the password, and which was given.
#[derive(Default)]
enum Identity {
    #[default]
    NotWanted,
    Wanted,
    Given(String),
}

struct Accepted {
    header: String,
    until: Option<Instant>,
}

impl Tokens {
    /// The value of `Authorization` that is known to be accepted.
    pub(crate) fn known(&self, host: &Host, scope: &str) -> Option<String> {
        let accepted = locked(&self.accepted);
        let origin = &host.base.origin;
        // A password is good for every scope.
        let found = accepted
            .get(&(origin.clone(), scope.to_owned()))
            .or_else(|| accepted.get(&(origin.clone(), EVERY.to_owned())))?;
        found.until.is_none_or(|until| Instant::now() < until).then(|| found.header.clone())
    }

    fn accept(&self, host: &Host, scope: &str, accepted: Accepted) {
        locked(&self.accepted).insert((host.base.origin.clone(), scope.to_owned()), accepted);
    }

    /// Asks for an identity token from now on.
    pub(crate) fn want_identity(&self) {
        *locked(&self.identity) = Identity::Wanted;
    }

    fn wants_identity(&self) -> bool {
        matches!(*locked(&self.identity), Identity::Wanted)
    }

    /// The identity token that was given, if any was.
    pub(crate) fn take_identity(&self) -> Option<String> {
        match std::mem::take(&mut *locked(&self.identity)) {
            Identity::Given(token) => Some(token),
            Identity::NotWanted | Identity::Wanted => None,
        }
    }

    /// Whether nothing is known that could be shown to the registry.
    pub(crate) fn is_anonymous(&self, registry: &str) -> bool {
        !matches!(locked(&self.credentials).get(registry), Some(Some(_)))
    }
}

impl Session {
    /// The credential for a host, looked up once.
    fn credential(&self, registry: &str) -> Result<Option<Credential>> {
        if let Some(known) = locked(&self.tokens.credentials).get(registry) {
            return Ok(known.clone());
        }
        let found = self.settings.credentials.find(registry)?;
        locked(&self.tokens.credentials).insert(registry.to_owned(), found.clone());
        Ok(found)
    }
}

/// What to show a host that answered with these challenges to `shown`; `None` if nothing will help.
pub(crate) fn authorize(
    session: &Arc<Session>,
    host: &Host,
    scope: &str,
    challenges: &[Challenge],
    shown: Option<&str>,
) -> Result<Option<String>> {
    let _alone = locked(&session.tokens.asking);
    // Somebody else was given one meanwhile.
    if let Some(known) = session.tokens.known(host, scope)
        && shown != Some(known.as_str())
    {
        return Ok(Some(known));
    }
    let credential = session.credential(&host.name)?;
    for challenge in challenges {
        if let Challenge::Bearer(bearer) = challenge {
            if let Some(Credential::RegistryToken(token)) = &credential {
                let header = format!("Bearer {token}");
                // Nobody gives another one for it.
                if shown == Some(header.as_str()) {
                    return Ok(None);
                }
                session.tokens.accept(host, EVERY, Accepted { header: header.clone(), until: None });
                return Ok(Some(header));
            }
            let token = token(session, host, scope, bearer, credential.as_ref())?;
            let header = format!("Bearer {}", token.value);
            let accepted = Accepted { header: header.clone(), until: Some(expiry(token.life)) };
            session.tokens.accept(host, scope, accepted);
            return Ok(Some(header));
        }
    }
    let basic = credential.as_ref().and_then(Credential::basic).filter(|basic| shown != Some(basic.as_str()));
    if challenges.contains(&Challenge::Basic)
        && let Some(header) = basic
    {
        session.tokens.accept(host, EVERY, Accepted { header: header.clone(), until: None });
        return Ok(Some(header));
    }
    Ok(None)
}

struct Token {
    value: String,
    life: u64,
    /// What stands for the password, if that was asked for.
    identity: Option<String>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
    #[serde(default)]
    refresh_token: String,
}

fn token(
    session: &Arc<Session>,
    host: &Host,
    scope: &str,
    bearer: &Bearer,
    credential: Option<&Credential>,
) -> Result<Token> {
    let realm = host.base.join(&bearer.realm)?;
    if host.base.origin.is_secure && !realm.origin.is_secure {
        let reason = "it would be told the credential by a less safe way than the registry";
        return Err(Error::Address { text: realm.shown(), reason });
    }
    let service = bearer.service.as_deref().unwrap_or_default();
    let scopes = scopes(scope, bearer.scope.as_deref());
    // An honest host of tokens is another one, so the host's own headers and certificate do not go there.
    let giver = Host { base: Url { origin: realm.origin.clone(), path: String::new() }, ..host.clone() };
    let giver = if realm.origin == host.base.origin { giver } else { stranger(giver, host) };
    let get = |credential: Option<&Credential>| by_get(session, &giver, &realm, service, &scopes, credential);
    let post = |form: &[(&str, &str)]| by_post(session, &giver, &realm, service, &scopes, form);
    let answer = match credential {
        Some(Credential::IdentityToken(token)) => {
            post(&[("grant_type", "refresh_token"), ("refresh_token", token)])?
        }
        Some(Credential::Password { username, password }) => {
            let answer = get(credential)?;
            if matches!(answer.status, 404 | 405) {
                drop(answer.discard());
                let form = [("grant_type", "password"), ("username", username), ("password", password)];
                let offline = ("access_type", "offline");
                match session.tokens.wants_identity() {
                    true => post(&[form[0], form[1], form[2], offline])?,
                    false => post(&form)?,
                }
            } else {
                answer
            }
        }
        Some(Credential::RegistryToken(_)) | None => get(None)?,
    };
    if answer.status != 200 {
        return Err(answer.refusal(&giver, &what(scope)));
    }
    let token = given(answer)?;
    if let Some(identity) = &token.identity
        && session.tokens.wants_identity()
    {
        *locked(&session.tokens.identity) = Identity::Given(identity.clone());
    }
    Ok(token)
}

/// What a scope is about, for an error.
fn what(scope: &str) -> String {
    let first = scope.split(' ').next().unwrap_or_default();
    let name = first.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
    name.map_or_else(|| "the registry".to_owned(), |(name, _)| name.to_owned())
}

/// A host of tokens elsewhere: without what is for the registry alone.
fn stranger(giver: Host, host: &Host) -> Host {
    let skip_verify = host.tls.skip_verify && giver.base.origin.host == host.base.origin.host;
    let tls = crate::hosts::Tls { ca: host.tls.ca.clone(), client: None, skip_verify };
    Host { headers: Vec::new(), tls, ..giver }
}

/// The scope that is wanted, and those that the registry asks for beyond it.
fn scopes<'a>(wanted: &'a str, asked: Option<&'a str>) -> Vec<&'a str> {
    let name = |scope: &'a str| scope.rsplit_once(':').map_or(scope, |(name, _)| name);
    let mut scopes: Vec<&str> = wanted.split_ascii_whitespace().collect();
    let named: Vec<&str> = scopes.iter().map(|scope| name(scope)).collect();
    for scope in asked.unwrap_or_default().split_ascii_whitespace().take(8) {
        // A wanted one says it already, perhaps with its actions in another order or with more of them.
        if !named.contains(&name(scope)) && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

fn by_get(
    session: &Arc<Session>,
    giver: &Host,
    realm: &Url,
    service: &str,
    scopes: &[&str],
    credential: Option<&Credential>,
) -> Result<Answer> {
    let mut url = realm.clone();
    if !service.is_empty() {
        url = url.with_query("service", service);
    }
    for scope in scopes {
        url = url.with_query("scope", scope);
    }
    if let Some(Credential::Password { username, .. }) = credential {
        url = url.with_query("account", username);
        if session.tokens.wants_identity() {
            url = url.with_query("offline_token", "true").with_query("client_id", CLIENT_ID);
        }
    }
    let authorization = credential.and_then(Credential::basic);
    let headers = [(ACCEPT, "application/json".to_owned())];
    let ask = Ask { method: Method::GET, url, host: giver, scope: "", headers: &headers };
    session.persist(3, None, || {
        let answer = session.send(&ask, &ask.url, authorization.as_deref(), Sending::Whole(&Bytes::new()))?;
        passing(answer, giver)
    })
}

fn by_post(
    session: &Arc<Session>,
    giver: &Host,
    realm: &Url,
    service: &str,
    scopes: &[&str],
    form: &[(&str, &str)],
) -> Result<Answer> {
    let scope = scopes.join(" ");
    let fields = [("client_id", CLIENT_ID), ("service", service), ("scope", scope.as_str())];
    let fields = form.iter().chain(fields.iter().filter(|(_, value)| !value.is_empty()));
    let body: Vec<String> = fields.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let body = Bytes::from(body.join("&"));
    let headers = [
        (ACCEPT, "application/json".to_owned()),
        (CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
    ];
    let ask = Ask { method: Method::POST, url: realm.clone(), host: giver, scope: "", headers: &headers };
    session.persist(3, None, || {
        let answer = session.send(&ask, realm, None, Sending::Whole(&body))?;
        passing(answer, giver)
    })
}

/// An answer that may be another one in a moment is an error, which is tried again.
fn passing(answer: Answer, giver: &Host) -> Result<Answer> {
    match crate::error::is_passing(answer.status) {
        true => Err(answer.refusal(giver, "a token")),
        false => Ok(answer),
    }
}

fn given(answer: Answer) -> Result<Token> {
    let url = answer.url.shown();
    let body = answer.read(LIMIT)?;
    // The library's own words may quote the token.
    let given: Given = serde_json::from_slice(&body).map_err(|error| Error::Header {
        url: url.clone(),
        header: "token",
        reason: format!("is not in it: no such document at line {}, column {}", error.line(), error.column()),
    })?;
    let value = if given.token.is_empty() { given.access_token } else { given.token };
    let is_text = |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if !is_text(&value) {
        return Err(Error::Header {
            url,
            header: "token",
            reason: excerpt("is empty, or no text that a header may have"),
        });
    }
    let identity = Some(given.refresh_token).filter(is_text);
    Ok(Token { value, life: given.expires_in.max(DEFAULT_LIFE), identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_ask_for_more_than_is_wanted() {
        let wanted = "repository:a/b:pull";
        assert_eq!(scopes(wanted, None), [wanted]);
        assert_eq!(scopes(wanted, Some("repository:a/b:pull,push")), [wanted]);
        assert_eq!(
            scopes(wanted, Some("repository:a/b:pull repository:c:pull")),
            [wanted, "repository:c:pull"]
        );
        assert_eq!(scopes("", Some("registry:catalog:*")), ["registry:catalog:*"]);
        let both = "repository:a/b:pull,push repository:c:pull";
        assert_eq!(
            scopes(both, Some("repository:c:pull,push repository:d:pull")),
            ["repository:a/b:pull,push", "repository:c:pull", "repository:d:pull"]
        );
    }
}
