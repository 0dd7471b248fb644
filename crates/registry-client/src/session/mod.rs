//! What all requests share: connections that are free, trusted certificates, and one exchange with a host: proof of who we
//! are when it is asked for, redirects, attempts.
//!
//! A credential, a token and the headers of a configuration go to the origin (scheme, host and port) of the host they are
//! for, and to no other: a redirect elsewhere is followed without them.

mod answer;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, LOCATION, USER_AGENT, WARNING};
use hyper::{Method, Request};
use oci::Digest;
use rustls::{ClientConfig, RootCertStore};

use crate::auth::Tokens;
use crate::connection::{Connection, Route};
use crate::end::End;
use crate::error::{Error, Result, excerpt};
use crate::hosts::{Host, Tls};
use crate::notice::{Notice, rate_limit};
use crate::payload::{Payload, Sending};
use crate::url::{Origin, Url};
use crate::warning::Warnings;
use crate::{Settings, tls};

pub(crate) use answer::Answer;

/// The most redirects of one request.
const REDIRECTS: usize = 8;
/// Connections that are kept for another request, and for how long.
const IDLE: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(20);
/// A tenth of the requests that a registry allows is few.
const FEW: u64 = 10;

/// What the requests of one client share.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) tokens: Tokens,
    pub(crate) warnings: Warnings,
    /// Whether nobody wants anything any more.
    pub(crate) end: Arc<End>,
    roots: OnceLock<RootCertStore>,
    configs: Mutex<HashMap<Tls, Arc<ClientConfig>>>,
    idle: Mutex<Vec<(Key, Connection)>>,
    /// Registries of which it was said that few requests are left.
    limits_told: Mutex<Vec<String>>,
    /// Connections by which layers are read at this moment.
    pub(crate) reading: AtomicUsize,
}

type Key = (Origin, Tls);

/// A request to a host.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) host: &'a Host,
    /// What the token must allow: `repository:NAME:pull`.
    pub(crate) scope: &'a str,
    pub(crate) headers: &'a [(HeaderName, String)],
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            tokens: Tokens::default(),
            warnings: Warnings::default(),
            end: Arc::default(),
            roots: OnceLock::new(),
            configs: Mutex::default(),
            idle: Mutex::default(),
            limits_told: Mutex::default(),
            reading: AtomicUsize::new(0),
        }
    }

    fn config(&self, tls: &Tls) -> Result<Arc<ClientConfig>> {
        if let Some(config) = locked(&self.configs).get(tls) {
            return Ok(Arc::clone(config));
        }
        let roots = match self.roots.get() {
            Some(roots) => roots,
            None => {
                let roots = tls::system_roots(self.settings.certificates.as_deref())?;
                self.roots.get_or_init(|| roots)
            }
        };
        let config = tls::config(roots, tls)?;
        locked(&self.configs).insert(tls.clone(), Arc::clone(&config));
        Ok(config)
    }

    /// A connection that is free; `None` if there is none.
    fn free(&self, key: &Key) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = locked(&self.idle);
                idle.retain(|(_, connection)| connection.idle_since.elapsed() < IDLE_FOR);
                let place = idle.iter().position(|(other, _)| other == key)?;
                idle.swap_remove(place).1
            };
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn keep(&self, key: Key, connection: Connection) {
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE {
            idle.push((key, connection));
        }
    }

    /// Asks, proving who we are where that is wanted. Any status is an answer, but 401 only once nothing helps.
    pub(crate) fn exchange(self: &Arc<Self>, ask: &Ask<'_>, payload: Sending<'_>) -> Result<Answer> {
        let shown = self.tokens.known(ask.host, ask.scope);
        let answer = self.follow(ask, shown.as_deref(), payload)?;
        if answer.status != 401 || answer.url.origin != ask.host.base.origin {
            return Ok(answer);
        }
        let challenges: Vec<_> = answer
            .headers
            .get_all(hyper::header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(crate::challenge::parse)
            .collect();
        match crate::auth::authorize(self, ask.host, ask.scope, &challenges, shown.as_deref())? {
            Some(header) => {
                drop(answer.discard());
                self.follow(ask, Some(&header), payload)
            }
            None => Ok(answer),
        }
    }

    /// Asks, and goes where the answer points.
    pub(crate) fn follow(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        authorization: Option<&str>,
        payload: Sending<'_>,
    ) -> Result<Answer> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.send(ask, &url, authorization, payload)?;
            if !may_follow(&ask.method, payload, answer.status) {
                return Ok(answer);
            }
            let target = answer.header(LOCATION, "Location")?;
            let refuse = |reason| Error::Redirect { url: url.shown(), target: excerpt(&target), reason };
            let next = url.join(&target).map_err(|_| refuse("which is no address"))?;
            if url.origin.is_secure && !next.origin.is_secure {
                return Err(refuse("which is less safe than where it comes from"));
            }
            tracing::debug!(from = %url.shown(), to = %next.shown(), "redirected");
            drop(answer.discard());
            url = next;
        }
        Err(Error::Redirect {
            url: ask.url.shown(),
            target: url.shown(),
            reason: "after too many other redirects",
        })
    }

    /// One request and the beginning of its answer.
    pub(crate) fn send(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&str>,
        payload: Sending<'_>,
    ) -> Result<Answer> {
        self.end.check()?;
        let is_own = url.origin == ask.host.base.origin;
        let key = (url.origin.clone(), tls_towards(ask.host, &url.origin));
        let failed = |source| Error::Exchange { method: ask.method.to_string(), url: url.shown(), source };
        let free = self.free(&key);
        // How much of a stream has arrived must be asked for before it is sent again.
        let may_repeat = free.is_some() && matches!(payload, Sending::Whole(_));
        let connection = match free {
            Some(connection) => connection,
            None => self.connect(&key)?,
        };
        let request = || self.request(ask, url, authorization.filter(|_| is_own), is_own);
        let (payload, whole) = (payload.begin()?, payload);
        let passed = payload.passed();
        let sent = connection.send(request()?.map(|()| payload), &url.origin);
        let sent = match sent {
            // Kept connections are closed by peers at any time; that is no failure of the peer's.
            Err(error) if may_repeat && error.kind() != io::ErrorKind::TimedOut && !self.end.is_wished() => {
                let payload = whole.begin()?;
                self.connect(&key)?.send(request()?.map(|()| payload), &url.origin)
            }
            sent => sent,
        };
        if let Some(source) = passed.and_then(|passed| passed.failure()) {
            return Err(Error::Content { url: url.shown(), source });
        }
        let (parts, streaming) = sent.map_err(failed)?.into_parts();
        for value in parts.headers.get_all(WARNING) {
            self.warnings.hear(&ask.host.name, value.to_str().unwrap_or_default());
        }
        let mut answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            url: url.clone(),
            method: ask.method.clone(),
            streaming: Some(streaming),
            key,
            session: Arc::clone(self),
        };
        if ask.method == Method::HEAD {
            // There is none, and seeing that frees the connection.
            answer.next()?;
        }
        Ok(answer)
    }

    fn connect(&self, (origin, tls): &Key) -> Result<Connection> {
        let config = self.config(tls)?;
        let route = Route { origin, tls: &config, proxy: self.settings.proxies.to(origin) };
        Connection::open(&route, &self.settings.patience, &self.end)
    }

    fn request(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&str>,
        is_own: bool,
    ) -> Result<Request<()>> {
        let refuse = |reason| Error::Address { text: url.shown(), reason };
        let mut request = Request::builder().method(ask.method.clone()).uri(&url.path);
        request = request.header(USER_AGENT, &self.settings.agent);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if is_own {
            for (name, value) in &ask.host.headers {
                request = request.header(name, value);
            }
        }
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(authorization)
                .map_err(|_| refuse("the credential for it has characters that no header may have"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).map_err(|_| refuse("it cannot be asked for"))
    }

    /// Waits after so many attempts that failed, and says so; not for what would be ended.
    pub(crate) fn wait(&self, wait: Duration, failed: u32, blob: Option<&Digest>, error: &Error) {
        if self.end.is_wished() {
            return;
        }
        tracing::debug!(%error, ?wait, failed, ?blob, "trying again");
        self.settings.listener.tell(|| Notice::Retry {
            blob: blob.cloned(),
            wait,
            failed,
            attempts: self.settings.patience.attempts,
            why: error.to_string(),
        });
        self.end.sleep(wait);
    }

    /// Says once of each registry that few requests are left, where it says so.
    pub(crate) fn tell_limit(&self, registry: &str, answer: &Answer) {
        let header = |name: &str| answer.headers.get(name)?.to_str().ok();
        let (Some(limit), Some(remaining)) = (header("ratelimit-limit"), header("ratelimit-remaining"))
        else {
            return;
        };
        let Some((limit, remaining, window)) = rate_limit(limit, remaining) else { return };
        if remaining > limit / FEW {
            return;
        }
        let mut told = locked(&self.limits_told);
        if told.iter().any(|known| known == registry) {
            return;
        }
        told.push(registry.to_owned());
        drop(told);
        self.settings.listener.tell(|| Notice::Limit {
            registry: registry.to_owned(),
            remaining,
            limit,
            window,
        });
    }

    /// Does something until it succeeds, fails for good, or patience ends; `attempts` bounds it further, and
    /// waits are told as those for `about`.
    pub(crate) fn persist<T>(
        &self,
        attempts: u32,
        about: Option<&Digest>,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let mut failed = 0;
        loop {
            let error = match attempt() {
                Err(error) if error.is_passing() => error,
                done => return done,
            };
            failed += 1;
            match self.settings.patience.wait(failed, error.asked(), chance()) {
                Some(wait) if failed < attempts => {
                    self.wait(wait, failed, about, &error);
                }
                _ => return Err(error),
            }
        }
    }
}

impl Sending<'_> {
    fn begin(self) -> Result<Payload> {
        Ok(match self {
            Self::Whole(bytes) => Payload::Whole(bytes.clone()),
            Self::Stream(open) => Payload::Stream(open()?),
        })
    }
}

/// Whether a redirect is followed: of what only reads, and of what says that the same is to be done elsewhere, where it can be.
fn may_follow(method: &Method, payload: Sending<'_>, status: u16) -> bool {
    match status {
        301..=303 => method == Method::GET || method == Method::HEAD,
        307 | 308 => matches!(payload, Sending::Whole(_)),
        _ => false,
    }
}

/// What proves who is at `origin`, and who we are, when `host` has sent us there: a certificate of ours goes to the host
/// alone, and who is believed unseen is the host by its name alone.
fn tls_towards(host: &Host, origin: &Origin) -> Tls {
    if !origin.is_secure {
        return Tls::default();
    }
    if *origin == host.base.origin {
        return host.tls.clone();
    }
    let skip_verify = host.tls.skip_verify && origin.host == host.base.origin.host;
    Tls { ca: host.tls.ca.clone(), client: None, skip_verify }
}

/// A number nobody can foresee.
pub(crate) fn chance() -> u32 {
    let bits = RandomState::new().build_hasher().finish();
    u32::try_from(bits >> 32).unwrap_or(0)
}

/// When something ends that lasts so many seconds from now, with some time to spare.
pub(crate) fn expiry(seconds: u64) -> Instant {
    let lasting = Duration::from_secs(seconds.min(24 * 3600));
    Instant::now() + lasting.saturating_sub(Duration::from_secs(10).min(lasting / 4))
}
