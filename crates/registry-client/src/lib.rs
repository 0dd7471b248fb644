//! A client of image registries (OCI distribution specification 1.1) with a blocking face.
//!
//! ```text
//! Client ──► Repository ──► manifest, blob, tags; put_manifest, put_blob, mount_blob, delete_manifest
//!               │ hosts: mirrors in their order, the registry last; each with its own certificates, headers, credential
//!               ▼
//!            Session ── exchange: token or password, redirects, attempts ──► Connection ── HTTP/1.1, TLS, proxy
//! ```
//!
//! ```ignore
//! let client = Client::new(Settings { hosts, credentials, proxies, ..Settings::default() });
//! let repository = client.repository(&reference)?;
//! let Fetched { descriptor, bytes, document, .. } = repository.manifest(&reference)?;
//! let mut layer: BlobReader = repository.blob(&manifest.layers[0])?;   // Read; goes on by itself after a cut
//! ```
//!
//! What lies on any other server comes through [`web`], over the same connections.
//!
//! Pure are the parts that read what strangers write ([`challenge`], [`link`], [`backoff`], [`Url`], [`Proxies`], the files
//! of [`hosts`] and [`credential`]); all else waits for the network. Any number of threads may share a client.
//!
//! What must hold:
//! - Everything has a bound: bytes of headers, documents and pages, redirects, attempts, waits, names of a list.
//! - A credential, a token, a client certificate and configured headers go to the origin they are for, and to no other.
//! - Content is what its digest, size and media type say, or an error that names both sides.

mod auth;
pub mod backoff;
mod blob;
pub mod challenge;
mod connection;
pub mod credential;
mod delete;
mod end;
mod error;
mod file;
pub mod hosts;
pub mod link;
mod manifest;
pub mod notice;
mod payload;
mod proxy;
mod quoted;
mod ranges;
mod referrers;
pub mod search;
mod session;
mod tags;
mod tls;
mod upload;
mod url;
mod warning;
pub mod web;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderName;
use oci::{Digest, Reference};

pub use backoff::Patience;
pub use blob::BlobReader;
pub use credential::{Credential, Credentials};
pub use error::{Error, Result};
pub use file::FileReader;
pub use hosts::HostRules;
pub use manifest::{Fetched, Put};
pub use notice::{Listener, Notice};
pub use proxy::Proxies;
pub use ranges::{RangedReader, Ranges};
pub use upload::Open;
pub use url::{Origin, Url};

use hosts::Host;
use payload::Sending;
use session::{Answer, Ask, Session, locked};

/// What a client is told by the configuration and the environment of its caller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which hosts serve which registry.
    pub hosts: HostRules,
    /// Where credentials are found.
    pub credentials: Credentials,
    /// Which proxies to use.
    pub proxies: Proxies,
    /// A file of certificates to trust in place of the system's.
    pub certificates: Option<PathBuf>,
    /// What we call ourselves.
    pub agent: String,
    /// How long to wait, and how often to try.
    pub patience: Patience,
    /// When one blob is read by several connections.
    pub ranges: Ranges,
    /// Who hears of waits and of limits.
    pub listener: Listener,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: HostRules::default(),
            credentials: Credentials::default(),
            proxies: Proxies::default(),
            certificates: None,
            agent: concat!("skiff/", env!("CARGO_PKG_VERSION")).to_owned(),
            patience: Patience::default(),
            ranges: Ranges::default(),
            listener: Listener::default(),
        }
    }
}

/// A client of any number of registries. Making one opens nothing.
#[derive(Clone)]
pub struct Client {
    session: Arc<Session>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("settings", &self.session.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that follows `settings`.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { session: Arc::new(Session::new(settings)) }
    }

    /// Ends all that this client and its clones do, at once, whoever waits for it: it fails, and so does whatever is asked later.
    /// For those who wait for nothing any more, such as a build that is cancelled.
    pub fn end(&self) {
        self.session.end.wish();
    }

    /// How long it waits.
    #[must_use]
    pub fn patience(&self) -> &Patience {
        &self.session.settings.patience
    }

    /// Whether somebody has ended it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.session.end.is_wished()
    }

    /// What registries want their user to know, and was not taken before.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        self.session.warnings.take()
    }

    /// Asks a registry whether it takes our credential (spec.md, "Determining support"). Who gives its tokens may give one
    /// that stands for a password from then on, and is better kept than that: it is returned.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] if it does not; or if it cannot be asked.
    pub fn log_in(&self, registry: &str) -> Result<Option<Credential>> {
        self.session.tokens.want_identity();
        let hosts = self.session.settings.hosts.hosts(registry)?;
        let of_its_own = hosts.into_iter().filter(|host| host.name == registry).collect();
        let repository = Repository {
            session: Arc::clone(&self.session),
            hosts: of_its_own,
            name: String::new(),
            registry: registry.to_owned(),
            is_target: false,
            unreached: Arc::default(),
            about: None,
        };
        repository.on_hosts(Need::Any, |host| {
            let url = Url { path: format!("{}/", host.base.path), ..host.base.clone() };
            let ask = Ask { method: Method::GET, url, host, scope: "", headers: &[] };
            let answer = self.session.exchange(&ask, Sending::Whole(&Bytes::new()))?;
            match answer.status {
                200 => answer.discard(),
                _ => Err(answer.refusal(host, "the registry")),
            }
        })?;
        Ok(self.session.tokens.take_identity().map(Credential::IdentityToken))
    }

    /// The repository of a reference, with the hosts that serve it.
    ///
    /// # Errors
    /// If a file that says which hosts serve it makes no sense.
    pub fn repository(&self, reference: &Reference) -> Result<Repository> {
        Ok(Repository {
            session: Arc::clone(&self.session),
            hosts: self.session.settings.hosts.hosts(reference.registry())?,
            name: reference.repository().to_owned(),
            registry: reference.registry().to_owned(),
            is_target: false,
            unreached: Arc::default(),
            about: None,
        })
    }

    /// The same to push to: whatever is asked, also what is there already, is asked of the host that takes pushes, with proof
    /// that we may.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub fn target(&self, reference: &Reference) -> Result<Repository> {
        Ok(Repository { is_target: true, ..self.repository(reference)? })
    }

    /// The repository `name` of one host that the caller knows, whatever the rules say of its registry.
    #[must_use]
    pub fn repository_of(&self, host: Host, name: &str) -> Repository {
        Repository {
            session: Arc::clone(&self.session),
            name: name.to_owned(),
            registry: host.name.clone(),
            hosts: vec![host],
            is_target: false,
            unreached: Arc::default(),
            about: None,
        }
    }
}

/// One repository of a registry.
#[derive(Clone)]
pub struct Repository {
    session: Arc<Session>,
    hosts: Vec<Host>,
    name: String,
    registry: String,
    /// Whether it is there to be pushed to.
    is_target: bool,
    /// Hosts at which nobody was there: not asked again as long as there are others.
    unreached: Arc<Mutex<Vec<Origin>>>,
    /// What waits are told of, in place of the blob that is asked for.
    about: Option<Digest>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.name)
    }
}

/// What a host must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Pull,
    Resolve,
    Push,
    /// Whatever it may.
    Any,
}

impl Need {
    fn is_met_by(self, host: &Host) -> bool {
        match self {
            Self::Pull => host.capabilities.pull,
            Self::Resolve => host.capabilities.resolve,
            Self::Push => host.capabilities.push,
            Self::Any => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Resolve => "resolve",
            Self::Push => "push",
            Self::Any => "answer",
        }
    }
}

/// How often a host is tried that has others behind it.
const ATTEMPTS_BEFORE_OTHERS: u32 = 2;

impl Repository {
    /// The same, with waits that are told of as waits for `about`: what a layer is known by to whoever listens may be another
    /// digest than that of its blob.
    #[must_use]
    pub fn about(&self, about: &Digest) -> Self {
        Self { about: Some(about.clone()), ..self.clone() }
    }

    /// The scope that lets us do what a method does.
    fn scope(&self, method: &Method) -> String {
        let actions = match *method {
            Method::DELETE => "delete,pull,push",
            Method::GET | Method::HEAD if !self.is_target => "pull",
            _ => "pull,push",
        };
        format!("repository:{}:{actions}", self.name)
    }

    /// The hosts that meet a need. Only one takes pushes, the first, by whatever way it is reached: half an image here and half
    /// of it there would be none.
    fn able(&self, need: Need) -> Vec<&Host> {
        let need = if self.is_target { Need::Push } else { need };
        let mut able: Vec<&Host> = self.hosts.iter().filter(|host| need.is_met_by(host)).collect();
        if need == Need::Push
            && let Some(name) = able.first().map(|host| host.name.clone())
        {
            able.retain(|host| host.name == name);
        }
        able
    }

    /// An address below a host's repository; the host is told for whom it stands in.
    fn url(&self, host: &Host, rest: &str) -> Result<Url> {
        let url = host.base.join(&format!("{}/{}/{rest}", host.base.path, self.name))?;
        Ok(host.stands_for.as_ref().map_or(url.clone(), |registry| url.with_query("ns", registry)))
    }

    /// Asks the hosts in their order until one gives what is wanted.
    fn on_hosts<T>(&self, need: Need, mut ask: impl FnMut(&Host) -> Result<T>) -> Result<T> {
        let able = self.able(need);
        let unreached = locked(&self.unreached).clone();
        let mut hosts = able.clone();
        hosts.retain(|host| !unreached.contains(&host.base.origin));
        if hosts.is_empty() {
            hosts = able;
        }
        let mut failures = Vec::new();
        for (place, host) in hosts.iter().copied().enumerate() {
            let next = hosts.get(place + 1);
            let is_last = next.is_none();
            let attempts = match next {
                None => u32::MAX,
                // The same one without TLS.
                Some(next) if next.name == host.name => 1,
                Some(_) => ATTEMPTS_BEFORE_OTHERS,
            };
            match self.session.persist(attempts, self.about.as_ref(), || ask(host)) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(host = %host.base, %error, "the host has failed");
                    if error.is_unreached() && !is_last {
                        locked(&self.unreached).push(host.base.origin.clone());
                    }
                    failures.push((host, error));
                }
            }
        }
        Err(self.failure(need, failures))
    }

    /// The one failure that says most, or all of them.
    fn failure(&self, need: Need, mut failures: Vec<(&Host, Error)>) -> Error {
        // That the registry does not speak TLS is no news where it has answered without.
        let has_answered =
            failures.iter().any(|(host, error)| host.name == self.registry && !error.is_unreached());
        if has_answered {
            failures.retain(|(host, error)| host.name != self.registry || !error.is_unreached());
        }
        let refused = |error: &Error| matches!(error, Error::Connect { .. });
        if failures.len() > 1
            && failures.iter().all(|(host, error)| host.name == self.registry && refused(error))
        {
            failures.truncate(1);
        }
        if failures.len() == 1 || failures.iter().all(|(_, error)| matches!(error, Error::NotFound { .. })) {
            if let Some((_, error)) = failures.pop() {
                return error;
            }
            return Error::NoHost { registry: self.registry.clone(), capability: need.name() };
        }
        let failures =
            failures.into_iter().map(|(host, error)| (host.base.origin.to_string(), error)).collect();
        Error::EveryHost { registry: self.registry.clone(), failures }
    }

    /// One request without a body; any other status than `wanted` is an error about `what`.
    fn ask(
        &self,
        host: &Host,
        method: Method,
        url: Url,
        headers: &[(HeaderName, String)],
        (wanted, what): (&[u16], &str),
    ) -> Result<Answer> {
        let scope = self.scope(&method);
        let ask = Ask { method, url, host, scope: &scope, headers };
        let answer = self.session.exchange(&ask, Sending::Whole(&Bytes::new()))?;
        self.session.tell_limit(&self.registry, &answer);
        match wanted.contains(&answer.status) {
            true => Ok(answer),
            false => Err(answer.refusal(host, what)),
        }
    }
}
