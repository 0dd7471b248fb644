//! Serves a store of its own over the distribution protocol (distribution-spec 1.1).
//!
//! ```text
//! serve ── listener ── one task per connection ── http::Service ── store::Store ── ledger (one thread), files
//!       ├─ keeper: expires uploads, collects garbage
//!       └─ cache: stands in for other registries
//! ```
//!
//! A few threads run the tasks, which only parse, look up and send; whatever may wait for the disk (receiving, hashing,
//! syncing) is done by threads that may wait. [`serve`] returns when it is told to end, or cannot begin.
//!
//! What must hold is in the head of [`store`].

pub mod names;
pub mod store;

mod auth;
mod cache;
mod config;
mod direct;
mod http;
mod keeper;
mod limits;
mod metrics;
mod pace;
mod reread;
mod serve;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use auth::passwords::Error as PasswordsError;
pub use config::Error as ConfigError;
pub use serve::{Error, Listening, serve};
pub use tls::{Error as TlsError, Files as TlsFiles};

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it keeps everything.
    pub root: PathBuf,
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Where `/metrics` and `/healthz` are answered; nowhere, unless given.
    pub metrics_address: Option<SocketAddr>,
    /// Certificate and key, to speak TLS.
    pub tls: Option<TlsFiles>,
    /// A file that says who may do what; everybody everything without one. It is read again when it changes.
    pub config: Option<PathBuf>,
    /// Content that no manifest uses is kept so long after a client was told that it is there.
    pub grace: Duration,
    /// An upload that nobody goes on with is removed after so long.
    pub upload_expiry: Duration,
    /// Pauses between collections of garbage.
    pub collect_every: Duration,
    /// Manifests that nothing leads to are garbage after so long; never, unless given.
    pub untagged: Option<Duration>,
    /// Bodies that one client may send at once.
    pub uploads_per_client: usize,
    /// Whether an index may name manifests that its repository does not have.
    pub sparse_indexes: bool,
    /// A client that has moved next to nothing for so long, while it was its turn, is cut.
    pub patience: Duration,
    /// The address of a registry that all repositories are those of.
    pub proxy: Option<String>,
    /// How other registries are reached: by which proxies, trusting whom. Credentials are those of [`Settings::config`] alone.
    pub client: registry_client::Settings,
}

impl Settings {
    /// What is usual, for a root and an address.
    #[must_use]
    pub fn new(root: PathBuf, address: SocketAddr) -> Self {
        Self {
            root,
            address,
            metrics_address: None,
            tls: None,
            config: None,
            grace: Duration::from_secs(60 * 60),
            upload_expiry: Duration::from_secs(24 * 60 * 60),
            collect_every: Duration::from_secs(10 * 60),
            untagged: None,
            uploads_per_client: 64,
            sparse_indexes: false,
            patience: Duration::from_secs(60),
            proxy: None,
            client: registry_client::Settings::default(),
        }
    }
}
