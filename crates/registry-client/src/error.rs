//! What can go wrong between this host and a registry.

use std::io;
use std::time::Duration;

use linux::chain;

use crate::url::Origin;

/// The outcome of an attempt on a registry.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an attempt failed. Quoted text of a registry is cut to a printable length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address that cannot be used.
    #[error("address {text:?}: {reason}")]
    Address {
        /// The address.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Its caller wished the end of the client.
    #[error("it was given up, as its caller wished")]
    Ended,
    /// A thread that there is none to be had for.
    #[error(transparent)]
    Thread(#[from] linux::thread::Refused),
    /// Nobody answers there.
    #[error("connect to {origin}")]
    Connect {
        /// Whom we called.
        origin: Origin,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The peer's certificate is not acceptable, or it speaks no TLS.
    #[error(
        "{origin} cannot prove who it is; if it is yours, put its CA's certificate into certs.d/{}/ca.crt, or name the registry insecure in registries.toml", origin.authority()
    )]
    Tls {
        /// Whom we called.
        origin: Origin,
        /// The reason of the TLS library.
        #[source]
        source: io::Error,
    },
    /// The proxy would not connect us.
    #[error("the proxy {proxy} answers {status} when asked to connect to {origin}")]
    Proxy {
        /// The proxy.
        proxy: Origin,
        /// Whom we wanted.
        origin: Origin,
        /// Its answer.
        status: u16,
    },
    /// The conversation broke off.
    #[error("{method} {url}: the connection failed")]
    Exchange {
        /// What we asked for.
        method: String,
        /// Of whom.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was to be sent cannot be read.
    #[error("read what is sent to {url}")]
    Content {
        /// Where it was to go.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A registry that does not do what the specification leaves to it.
    #[error("{registry} does not support {what}{}", told(said))]
    Unsupported {
        /// The registry.
        registry: String,
        /// What was wanted.
        what: &'static str,
        /// What the registry says.
        said: String,
    },
    /// An answer that is none of those the specification allows here.
    #[error("{method} {url}: the server answers {status}{}", told(said))]
    Status {
        /// What we asked for.
        method: String,
        /// Of whom.
        url: String,
        /// The status.
        status: u16,
        /// How long to wait before the next attempt, if it says so, in seconds.
        retry_after: Option<u64>,
        /// What the body says.
        said: String,
    },
    /// Too many requests.
    #[error(
        "{url}: the registry takes no more requests for now{}{}; log in for a higher limit, or use a mirror",
        retry_after.map_or(String::new(), |seconds| format!(", try again in {seconds} s")), told(said)
    )]
    RateLimit {
        /// What was asked for.
        url: String,
        /// How long to wait, if it says so, in seconds.
        retry_after: Option<u64>,
        /// What the body says, and the limits that its headers tell.
        said: String,
    },
    /// Without credentials, or with these, the registry does not let us.
    #[error("{repository}: access is denied by {registry}{}; {}", told(said), advice(*anonymous, registry))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What we wanted.
        repository: String,
        /// Whether there were no credentials to show.
        anonymous: bool,
        /// What the registry says.
        said: String,
    },
    /// A name or digest that the registry does not have.
    #[error("{what} is not found in {registry}{}", told(said))]
    NotFound {
        /// What we wanted.
        what: String,
        /// Where.
        registry: String,
        /// What the registry says.
        said: String,
    },
    /// A web server that wants to know who we are, or does not like who we are.
    #[error("{url}: access is denied with status {status}; {}", if *shown { "the credential that was shown does not reach it" } else { "it may want a credential, and none was shown" })]
    Denied {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// Whether a credential was shown.
        shown: bool,
    },
    /// Nothing is there.
    #[error("{url}: nothing is there; the server answers {status}")]
    Missing {
        /// What was asked for.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// A checksum against which nothing can be checked.
    #[error("{text}: content is checked against sha256 and sha512 alone")]
    Checksum {
        /// The checksum.
        text: String,
    },
    /// A header that is missing or makes no sense.
    #[error("{url}: the header {header} of the answer {reason}")]
    Header {
        /// What was asked for.
        url: String,
        /// Which header.
        header: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Content that is not what it was named.
    #[error(
        "{url}: the {what} is {found}, expected {expected}; the content is damaged or not what it claims to be"
    )]
    Mismatch {
        /// Where it came from.
        url: String,
        /// Which property: `digest`, `size`, `media type`.
        what: &'static str,
        /// As named.
        expected: String,
        /// As found.
        found: String,
    },
    /// More than there may be.
    #[error("{url}: the answer has more than {limit} {what}")]
    TooMuch {
        /// What was asked for.
        url: String,
        /// The bound.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// A redirect that is not followed.
    #[error("{url}: redirected to {target:?}, {reason}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where the answer points.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// A document that is not JSON of the expected shape.
    #[error("{url}: the answer is not what it should be")]
    Json {
        /// What was asked for.
        url: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest that is not acceptable.
    #[error("{url}")]
    Document {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
    /// A file of configuration.
    #[error(transparent)]
    File(#[from] linux::file::Error),
    /// A file of configuration that makes no sense.
    #[error("{path}: {reason}")]
    Configuration {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential helper that does not do its work.
    #[error(
        "credential helper {program}: {reason}; see credsStore and credHelpers in the client configuration"
    )]
    Helper {
        /// `docker-credential-…`.
        program: String,
        /// What went wrong.
        reason: String,
    },
    /// All hosts of a registry that has several have failed, each in its own way.
    #[error("no host of {registry} has it: {}", failures.iter().map(|(host, why)| format!("{host}: {}", chain(why))).collect::<Vec<_>>().join("; "))]
    EveryHost {
        /// The registry.
        registry: String,
        /// The hosts in the order in which they were asked.
        failures: Vec<(String, Error)>,
    },
    /// It can neither search nor list what it has.
    #[error("{registry} offers neither search nor a catalog")]
    NoSearch {
        /// The registry.
        registry: String,
        /// What it says to the one who asks for its catalog.
        #[source]
        source: Box<Error>,
    },
    /// No host of the registry may do it.
    #[error("registries.toml gives {registry} no host that may {capability}")]
    NoHost {
        /// The registry.
        registry: String,
        /// `pull`, `resolve` or `push`.
        capability: &'static str,
    },
}

/// What follows when a registry says why.
fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

fn advice(anonymous: bool, registry: &str) -> String {
    match anonymous {
        true => format!("it may not exist, or may need 'skiff login {registry}'"),
        false => "it may not exist, or these credentials may not reach it".to_owned(),
    }
}

/// Text of a stranger's, printable and short, without credentials of addresses.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 300;
    let text = oci::without_credentials(text);
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(LIMIT).collect();
    if text.chars().count() > LIMIT {
        shown.push('…');
    }
    shown
}

impl Error {
    /// Whether the same request may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            // Who refuses does not listen: to wait would only delay the answer that a name is wrong.
            Self::Connect { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            }
            Self::Exchange { .. } | Self::RateLimit { .. } => true,
            Self::Status { status, .. } => is_passing(*status),
            Self::Proxy { status, .. } => is_passing(*status),
            Self::Address { .. }
            | Self::Ended
            | Self::Thread(_)
            | Self::Tls { .. }
            | Self::Content { .. }
            | Self::Unsupported { .. }
            | Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::Missing { .. }
            | Self::Checksum { .. }
            | Self::Header { .. }
            | Self::Mismatch { .. }
            | Self::TooMuch { .. }
            | Self::Redirect { .. }
            | Self::Json { .. }
            | Self::Document { .. }
            | Self::File(_)
            | Self::Configuration { .. }
            | Self::Helper { .. }
            | Self::EveryHost { .. }
            | Self::NoSearch { .. }
            | Self::NoHost { .. } => false,
        }
    }
}

impl Error {
    /// Whether nobody was there to answer.
    pub(crate) fn is_unreached(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Tls { .. })
    }

    /// Whether the host gives no part of a blob alone.
    pub(crate) fn has_no_ranges(&self) -> bool {
        self.is_at_a_host(|error| matches!(error, Self::Unsupported { .. }))
    }

    /// Whether what came is not what the answer says of it, or cannot be.
    pub(crate) fn is_lie(&self) -> bool {
        self.is_at_a_host(|error| matches!(error, Self::Header { .. } | Self::Mismatch { .. }))
    }

    /// Whether it is so of this error, or of what one of several hosts made of it.
    fn is_at_a_host(&self, is: impl Fn(&Self) -> bool) -> bool {
        if let Self::EveryHost { failures, .. } = self {
            return failures.iter().any(|(_, error)| is(error));
        }
        is(self)
    }

    /// How long the registry wants us to wait.
    pub(crate) fn asked(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } | Self::RateLimit { retry_after, .. } = self {
            return retry_after.map(Duration::from_secs);
        }
        None
    }
}

/// Whether a status means that the same request may succeed in a moment.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}
