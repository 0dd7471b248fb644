//! Which hosts serve a registry, in which order, and how each is talked to.
//!
//! ```text
//! registries.toml             [patience]  attempts, connect-seconds, silence-seconds, longest-wait-seconds, longest-retry-after-seconds
//!                             [ranges]    connections, from-mebibytes
//!                             [registry."docker.io"]  insecure = true | what a hosts.toml says
//! certs.d/<host>/hosts.toml   as containerd reads it:
//!     server = "https://…"                         the registry itself, asked last; options at the top are its
//!     [host."https://mirror"]                      asked first, in the order of the file
//!         capabilities = ["pull", "resolve", "push"], ca, client, skip_verify, override_path
//!         [host."https://mirror".header]
//! certs.d/<host>/*.crt, *.cert + *.key             as Docker reads it, without a hosts.toml
//! ```
//!
//! A mirror takes pushes only where its capabilities say so; containerd sends them to the first that does not deny it.
//!
//! The first place that names the registry rules; where none does, the first with a `_default`. Without any, the registry is
//! asked by https, and this host itself (`localhost`, `127.0.0.0/8`, `::1`) also by http, as Docker does.

mod file;

use std::path::{Path, PathBuf};

use crate::backoff::Patience;
use crate::error::{Error, Result};
use crate::ranges::Ranges;
use crate::url::{Origin, Url};

/// Where Docker's own registry really is.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// One host that serves a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What its credential is kept under, and what it is called in errors.
    pub name: String,
    /// Below which the repositories lie: `https://host/v2`.
    pub base: Url,
    /// What it may be asked for.
    pub capabilities: Capabilities,
    /// How it proves who it is, and we do.
    pub tls: Tls,
    /// Sent with each request to this host.
    pub headers: Vec<(String, String)>,
    /// The registry it stands in for, which it is told.
    pub stands_for: Option<String>,
}

/// What a host may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of hosts.toml")]
pub struct Capabilities {
    pub pull: bool,
    pub resolve: bool,
    pub push: bool,
}

impl Capabilities {
    const ALL: Self = Self { pull: true, resolve: true, push: true };
}

/// How a host proves who it is, and we do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Files of certificates that are trusted beside the system's.
    pub ca: Vec<PathBuf>,
    /// Our certificate and its key, which may be in one file.
    pub client: Option<(PathBuf, Option<PathBuf>)>,
    /// Whoever answers is believed.
    pub skip_verify: bool,
}

/// The places where hosts are told.
#[derive(Clone, Debug, Default)]
pub struct HostRules {
    /// Files `registries.toml`, the first first.
    pub files: Vec<PathBuf>,
    /// Folders `certs.d`, the first first.
    pub folders: Vec<PathBuf>,
    /// Every registry of which they say nothing is as one that is named insecure.
    pub insecure: bool,
}

impl Host {
    /// A server that no registry has to do with: asked without any proof of who we are.
    pub(crate) fn nobody(origin: Origin) -> Self {
        Self {
            name: origin.authority(),
            base: Url { origin, path: String::new() },
            capabilities: Capabilities { pull: true, resolve: false, push: false },
            tls: Tls::default(),
            headers: Vec::new(),
            stands_for: None,
        }
    }
}

impl HostRules {
    /// The hosts of a registry, in the order in which they are to be asked.
    ///
    /// # Errors
    /// If a file cannot be read or makes no sense.
    pub fn hosts(&self, registry: &str) -> Result<Vec<Host>> {
        for name in [registry, "_default"] {
            for path in &self.files {
                if let Some(hosts) = file::in_registries(path, name, registry)? {
                    return Ok(hosts);
                }
            }
            for folder in &self.folders {
                for name in folder_names(name) {
                    if let Some(hosts) = file::in_folder(&folder.join(name), registry)? {
                        return Ok(hosts);
                    }
                }
            }
        }
        upstream(registry, Tls::default(), self.insecure)
    }
}

impl HostRules {
    /// How patient a client is to be: as the first file says that says anything of it.
    ///
    /// # Errors
    /// If a file cannot be read or makes no sense.
    pub fn patience(&self) -> Result<Patience> {
        for path in &self.files {
            if let Some(patience) = file::patience(path)? {
                return Ok(patience);
            }
        }
        Ok(Patience::default())
    }

    /// When one blob is read by several connections: as the first file says that says anything of it.
    ///
    /// # Errors
    /// If a file cannot be read or makes no sense.
    pub fn ranges(&self) -> Result<Ranges> {
        for path in &self.files {
            if let Some(ranges) = file::ranges(path)? {
                return Ok(ranges);
            }
        }
        Ok(Ranges::default())
    }
}

/// How a folder may be named after a host with a port: containerd avoids the colon.
fn folder_names(registry: &str) -> Vec<String> {
    match registry.rsplit_once(':') {
        Some((host, port)) => vec![format!("{host}_{port}_"), registry.to_owned()],
        None => vec![registry.to_owned()],
    }
}

/// The registry itself, as nobody says otherwise.
fn upstream(registry: &str, tls: Tls, insecure: bool) -> Result<Vec<Host>> {
    let authority = if registry == "docker.io" { DOCKER_HOST } else { registry };
    let origin = Origin::new(true, authority)?;
    // A certificate that is given is meant to be checked.
    let is_open = insecure || (origin.is_loopback() && tls == Tls::default());
    let host = |origin, tls| Host {
        name: registry.to_owned(),
        base: Url { origin, path: "/v2".to_owned() },
        capabilities: Capabilities::ALL,
        tls,
        headers: Vec::new(),
        stands_for: None,
    };
    if !is_open {
        return Ok(vec![host(origin, tls)]);
    }
    let plain = Origin::new(false, authority)?;
    Ok(vec![host(origin, Tls { skip_verify: true, ..tls }), host(plain, Tls::default())])
}

/// A file that is named in another one, from where that lies.
fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).join(name)
}

fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::Configuration { path: path.display().to_string(), reason: reason.into() }
}
