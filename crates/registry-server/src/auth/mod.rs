//! Who asks, and whether they may: passwords or tokens by configuration, rights by repository.
//!
//! ```text
//! request ─► Access::admit ─► Caller ─► may(repository, action)?
//!   401 with a challenge ◄──┘               └─► 403 (passwords), 401 for a wider token
//! GET /token?scope=… ─► Access::token ─► what the rules grant of what was asked, signed
//! ```
//!
//! Without a configuration everybody may do everything, which is meant for loopback.

pub(crate) mod passwords;
pub(crate) mod rights;
pub(crate) mod token;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};
use serde_json::json;

use crate::config::{self, Config};
use crate::http::refusal::{Code, Refusal};
use crate::names::Repository;
use crate::reread::Reread;
use crate::serve::Error;
use passwords::Passwords;
use rights::{Action, Rights, Rule};
use token::{Grant, Key, Scope};

/// Scopes that one token may have.
const SCOPES: usize = 64;

/// How clients say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    /// A password with every request.
    Basic,
    /// A token, for which the password is given; those without a password get one too.
    #[default]
    Bearer,
}

/// The configuration of access, opened.
#[derive(Debug)]
pub(crate) struct Access {
    scheme: Scheme,
    passwords: Arc<Passwords>,
    rights: Rights,
    key: Arc<Key>,
    lifetime: Duration,
    realm: Option<String>,
    /// Whether clients speak TLS to us.
    secure: bool,
}

/// The configuration of access as its file says it by now; there may be none.
pub(crate) type Guard = Reread<Option<Access>>;

/// Opens what a configuration says of access. `secure` tells whether clients speak TLS to us.
pub(crate) fn guard(config: Option<&Path>, secure: bool) -> Result<Guard, Error> {
    let Some(path) = config.map(Path::to_owned) else {
        return Reread::new("the configuration", Vec::new(), |_| Ok(None));
    };
    Reread::new("the configuration", vec![path.clone()], move |before: Option<&Option<Access>>| {
        let before = before.and_then(Option::as_ref);
        match Config::read(&path)?.auth {
            Some(auth) => Access::new(&auth, secure, before).map(Some).map_err(Error::Passwords),
            None if before.is_none() => Ok(None),
            // As a file looks that is being written. Whoever means it begins anew.
            None => Err(config::Error::Value { path: path.clone(), reason: "[auth] is gone" }.into()),
        }
    })
}

/// Who asks.
#[derive(Debug)]
pub(crate) enum Caller<'a> {
    /// There is no configuration of access.
    Anybody,
    /// Somebody with a password, or without.
    Known(&'a Access, Option<String>),
    /// The holder of a token.
    Holder(&'a Access, Grant),
}

/// What a request wants to do.
#[derive(Debug)]
pub(crate) enum Need<'a> {
    Nothing,
    Catalog,
    Repository(&'a Repository, Action),
}

impl Access {
    /// Tokens that were given by the configuration `before` go on to count, for what the new rules still grant.
    fn new(settings: &config::Auth, secure: bool, before: Option<&Self>) -> Result<Self, passwords::Error> {
        let passwords = before.map(|before| &before.passwords).filter(|p| p.path() == settings.htpasswd);
        let passwords = match passwords {
            Some(passwords) => passwords.clone(),
            None => Arc::new(Passwords::open(&settings.htpasswd)?),
        };
        let random = || Key::random().map_err(|error| passwords::Error::Prepare(error.to_string()));
        let key = before.map(|before| Ok(before.key.clone()));
        Ok(Self {
            scheme: settings.scheme,
            passwords,
            rights: Rights(settings.rules.clone()),
            key: key.unwrap_or_else(|| random().map(Arc::new))?,
            lifetime: settings.lifetime,
            realm: settings.realm.clone(),
            secure,
        })
    }

    /// Who asks, if they may do what they need; else the refusal that tells how to be admitted.
    pub(crate) async fn admit(&self, headers: &HeaderMap, need: &Need<'_>) -> Result<Caller<'_>, Refusal> {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let caller = match self.scheme {
            Scheme::Basic => match given {
                Some(given) => match self.login(given).await {
                    Some(user) => Caller::Known(self, Some(user)),
                    None => return Err(self.challenge(headers, need, None)),
                },
                None => Caller::Known(self, None),
            },
            Scheme::Bearer => {
                let token = given.and_then(|given| strip_scheme(given, "bearer"));
                match token.and_then(|token| self.key.verify(token, now())) {
                    Some(grant) => Caller::Holder(self, grant),
                    None => return Err(self.challenge(headers, need, given.map(|_| "invalid_token"))),
                }
            }
        };
        let may = match need {
            // Clients find out here how to log in; nobody without a name gets past it by password.
            Need::Nothing => !matches!(caller, Caller::Known(_, None)),
            Need::Catalog => match &caller {
                Caller::Holder(_, grant) => grant.catalog,
                Caller::Known(..) | Caller::Anybody => true,
            },
            Need::Repository(name, action) => caller.may(name, *action),
        };
        if may {
            return Ok(caller);
        }
        match &caller {
            Caller::Known(_, Some(user)) => {
                Err(Refusal::new(Code::Denied, format!("{user} has no right to do this here")))
            }
            Caller::Holder(..) => Err(self.challenge(headers, need, Some("insufficient_scope"))),
            Caller::Known(_, None) | Caller::Anybody => Err(self.challenge(headers, need, None)),
        }
    }

    /// The user of a Basic header with the right password.
    async fn login(&self, given: &str) -> Option<String> {
        let decoded = STANDARD.decode(strip_scheme(given, "basic")?).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let user = user.to_owned();
        self.passwords.clone().check(user.clone(), password.to_owned()).await.then_some(user)
    }

    /// 401, with how to be admitted.
    fn challenge(&self, headers: &HeaderMap, need: &Need<'_>, error: Option<&str>) -> Refusal {
        let refusal = Refusal::new(Code::Unauthorized, "authentication is required");
        let mut text = match self.scheme {
            Scheme::Basic => "Basic realm=\"registry\", charset=\"UTF-8\"".to_owned(),
            Scheme::Bearer => {
                let host = host(headers);
                let scheme = if self.secure { "https" } else { "http" };
                let realm = self.realm.clone().unwrap_or_else(|| format!("{scheme}://{host}/token"));
                format!("Bearer realm=\"{realm}\",service=\"{host}\"")
            }
        };
        if self.scheme == Scheme::Bearer {
            match need {
                Need::Nothing => {}
                Need::Catalog => text.push_str(",scope=\"registry:catalog:*\""),
                Need::Repository(name, action) => {
                    // Whoever pushes looks for what is there first.
                    let actions = match action {
                        Action::Push => "pull,push",
                        Action::Pull | Action::Delete => action.text(),
                    };
                    text.push_str(&format!(",scope=\"repository:{name}:{actions}\""));
                }
            }
            if let Some(error) = error {
                text.push_str(&format!(",error=\"{error}\""));
            }
        }
        match HeaderValue::from_str(&text) {
            Ok(value) => refusal.header(WWW_AUTHENTICATE, value),
            Err(_) => refusal,
        }
    }

    /// Answers a request for a token: of what is asked, what the rules grant. `form` is the body of a POST.
    pub(crate) async fn token(
        &self,
        headers: &HeaderMap,
        scopes: Vec<String>,
        form: Option<(String, String)>,
    ) -> Result<String, Refusal> {
        let refused = || Refusal::new(Code::Unauthorized, "wrong user or password");
        let user = match (headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()), form) {
            (_, Some((user, password))) => {
                let right = self.passwords.clone().check(user.clone(), password).await;
                Some(right.then_some(user).ok_or_else(refused)?)
            }
            (Some(given), None) => Some(self.login(given).await.ok_or_else(refused)?),
            (None, None) => None,
        };
        let mut grant = Grant { user, until: now() + self.lifetime.as_secs(), ..Grant::default() };
        for scope in scopes.iter().flat_map(|scopes| scopes.split(' ')).take(SCOPES) {
            self.widen(&mut grant, scope);
        }
        let Some(token) = self.key.sign(&grant) else {
            return Err(Refusal::new(Code::Unknown, "no token could be made"));
        };
        let issued = oci::Timestamp::from(SystemTime::now()).to_string();
        let lifetime = self.lifetime.as_secs();
        let answer =
            json!({ "token": token, "access_token": token, "expires_in": lifetime, "issued_at": issued });
        Ok(answer.to_string())
    }

    /// Adds what the rules grant of `type:name:action,action`.
    fn widen(&self, grant: &mut Grant, scope: &str) {
        let Some((kind, rest)) = scope.split_once(':') else { return };
        let Some((name, actions)) = rest.rsplit_once(':') else { return };
        if kind == "registry" && name == "catalog" {
            grant.catalog = true;
            return;
        }
        let Some(repository) =
            Repository::parse(name).filter(|_| kind.split('(').next() == Some("repository"))
        else {
            return;
        };
        let all = [Action::Pull, Action::Push, Action::Delete];
        let asked: Vec<Action> = match actions {
            "*" => all.to_vec(),
            some => some.split(',').filter_map(Action::parse).collect(),
        };
        let granted =
            asked.into_iter().filter(|action| self.rights.allow(grant.user.as_deref(), &repository, *action));
        let actions: Vec<String> = granted.map(|action| action.text().to_owned()).collect();
        if !actions.is_empty() {
            grant.scopes.push(Scope { name: name.to_owned(), actions });
        }
    }
}

impl Caller<'_> {
    /// Whether they may do `action` in `repository`.
    pub(crate) fn may(&self, repository: &Repository, action: Action) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(access, user) => access.rights.allow(user.as_deref(), repository, action),
            // A right that was taken back since counts no longer.
            Self::Holder(access, grant) => {
                grant.covers(repository, action)
                    && access.rights.allow(grant.user.as_deref(), repository, action)
            }
        }
    }

    /// Whether they may know that a repository exists.
    pub(crate) fn may_see(&self, repository: &Repository) -> bool {
        match self {
            Self::Anybody => true,
            Self::Known(access, user) => access.rights.allow(user.as_deref(), repository, Action::Pull),
            // Of a list nobody can ask for each name beforehand.
            Self::Holder(access, grant) => {
                access.rights.allow(grant.user.as_deref(), repository, Action::Pull)
            }
        }
    }
}

/// What stands behind the name of a scheme, in any case.
fn strip_scheme<'a>(given: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = given.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// How the client calls this registry; only its own challenge depends on it.
fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b);
    if host.bytes().all(plain) { host } else { "localhost" }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(crate) type Rules = Vec<Rule>;
