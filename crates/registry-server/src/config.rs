//! The configuration of a server: a small TOML file.
//!
//! ```toml
//! [auth]
//! htpasswd = "/etc/skiff/registry.htpasswd"   # USER:BCRYPT lines; read again when it changes, as is this file
//! scheme = "bearer"                           # or "basic"
//! token-lifetime = 300                        # seconds
//!
//! [[auth.rule]]
//! users = ["alice", "*"]                      # "*": everybody with a password
//! repositories = ["team/**"]
//! actions = ["pull", "push", "delete"]
//!
//! [[auth.rule]]
//! everyone = true                             # also without a password
//! repositories = ["public/*"]
//! actions = ["pull"]
//!
//! [proxy]                                     # read again, too; with it what `ca` names
//! remoteurl = "https://registry.example"      # all repositories are those of this registry
//! username = "…"                              # as whom it is asked; clients never learn it
//! password = "…"
//! ca = "upstream.crt"                         # trusted beside the system's authorities
//! ttl = "168h"                                # what nobody has asked for so long is forgotten; "0" keeps it
//! tag-ttl = "0"                               # so long a tag is believed before upstream is asked again
//! max-bytes = 50_000_000_000                  # of blobs, also half-fetched ones; those that were not asked for longest go first
//!
//! [[proxy.upstream]]                          # only what lies below a name is another registry's
//! prefix = "quay"                             # quay/team/app is team/app there
//! ns = "quay.io"                              # also asked for by ?ns=quay.io; the host of remoteurl by default
//! remoteurl = "https://quay.io"
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::file;
use registry_client::{Credential, Url};
use serde::Deserialize;

use crate::auth::{Rules, Scheme};
use crate::names::Repository;

const LIMIT: u64 = 1 << 20;

/// What is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Who may do what; everybody everything where it is missing.
    pub(crate) auth: Option<Auth>,
    /// Which registries it stands in for.
    pub(crate) proxy: Option<Proxy>,
}

/// Which registries a server stands in for, and how long it keeps what is theirs.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) upstreams: Vec<Remote>,
    /// Forever, where it is missing.
    pub(crate) ttl: Option<Duration>,
    pub(crate) tag_ttl: Duration,
    pub(crate) max_bytes: Option<u64>,
}

impl Default for Proxy {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        Self { upstreams: Vec::new(), ttl: Some(week), tag_ttl: Duration::ZERO, max_bytes: None }
    }
}

/// One registry that is stood in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Below which its repositories lie; empty for all.
    pub(crate) prefix: String,
    /// What it is called in `?ns=`.
    pub(crate) ns: String,
    pub(crate) url: Url,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) credential: Option<Credential>,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) htpasswd: PathBuf,
    pub(crate) scheme: Scheme,
    pub(crate) realm: Option<String>,
    pub(crate) lifetime: Duration,
    pub(crate) rules: Rules,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    auth: Option<AuthTable>,
    proxy: Option<ProxyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProxyTable {
    remoteurl: Option<String>,
    username: Option<String>,
    password: Option<String>,
    ca: Option<PathBuf>,
    ttl: Option<String>,
    tag_ttl: Option<String>,
    max_bytes: Option<u64>,
    #[serde(default)]
    upstream: Vec<UpstreamTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    prefix: String,
    ns: Option<String>,
    remoteurl: String,
    username: Option<String>,
    password: Option<String>,
    ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AuthTable {
    htpasswd: PathBuf,
    #[serde(default)]
    scheme: Scheme,
    realm: Option<String>,
    token_lifetime: Option<u64>,
    #[serde(default)]
    rule: Rules,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read the configuration")]
    File(#[from] file::Error),
    /// It is not what it should be.
    #[error("{}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// A value that cannot be.
    #[error("{}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which, and what it may be.
        reason: &'static str,
    },
}

impl Config {
    /// Reads a file, which has nothing that is not known.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let content = |source| Error::Content { path: path.to_owned(), source };
        let text = String::from_utf8_lossy(&file::read_bounded(path, LIMIT)?).into_owned();
        let file: File = toml::from_str(&text).map_err(content)?;
        let auth = file.auth.map(|table| table.check(path)).transpose()?;
        let proxy = file.proxy.map(|table| table.check(path)).transpose()?;
        Ok(Self { auth, proxy })
    }
}

/// What is stood in for, by a file and by the address that the command line gives.
pub(crate) fn proxy(file: Option<&Path>, address: Option<&str>) -> Result<Option<Proxy>, Error> {
    let configured = file.map(Config::read).transpose()?.and_then(|config| config.proxy);
    let Some(address) = address else { return Ok(configured) };
    let refuse = |reason| Error::Value { path: PathBuf::from("--proxy"), reason };
    let remote = Remote::new(String::new(), address).map_err(refuse)?;
    let mut proxy = configured.unwrap_or_default();
    if proxy.upstreams.iter().any(|other| other.prefix.is_empty() || other.ns == remote.ns) {
        return Err(refuse("the configuration has such an upstream too"));
    }
    proxy.upstreams.push(remote);
    Ok(Some(proxy))
}

impl Remote {
    /// The registry at `address`, for the repositories below `prefix`.
    pub(crate) fn new(prefix: String, address: &str) -> Result<Self, &'static str> {
        let url: Url = address.parse().map_err(|_| "want http:// or https:// and a host")?;
        if !matches!(url.path.as_str(), "/" | "/v2" | "/v2/") {
            return Err("want the address of a registry, without a path");
        }
        if !prefix.is_empty() && Repository::parse(&prefix).is_none() {
            return Err("a prefix is a name such as quay or mirrors/quay");
        }
        let url = Url { path: "/v2".to_owned(), ..url };
        let ns = match url.origin.authority().as_str() {
            "registry-1.docker.io" | "index.docker.io" => "docker.io".to_owned(),
            other => other.to_owned(),
        };
        Ok(Self { prefix, ns, url, ca: None, credential: None })
    }
}

impl ProxyTable {
    fn check(self, path: &Path) -> Result<Proxy, Error> {
        let refuse = |reason| Error::Value { path: path.to_owned(), reason };
        let given = |text: Option<String>, usual: Duration| match text {
            Some(text) => duration(&text).ok_or_else(|| refuse("proxy: want a duration such as \"168h\"")),
            None => Ok(usual),
        };
        let usual = Proxy::default();
        let ttl = given(self.ttl, usual.ttl.unwrap_or_default())?;
        let all = self.remoteurl.map(|remoteurl| UpstreamTable {
            prefix: String::new(),
            ns: None,
            remoteurl,
            username: self.username,
            password: self.password,
            ca: self.ca,
        });
        let mut upstreams: Vec<Remote> = Vec::new();
        for table in all.into_iter().chain(self.upstream) {
            let remote = table.check(path).map_err(refuse)?;
            if upstreams.iter().any(|other| other.prefix == remote.prefix || other.ns == remote.ns) {
                return Err(refuse("proxy: two upstreams with one prefix, or one ns"));
            }
            upstreams.push(remote);
        }
        Ok(Proxy {
            upstreams,
            ttl: (ttl > Duration::ZERO).then_some(ttl),
            tag_ttl: given(self.tag_ttl, usual.tag_ttl)?,
            max_bytes: self.max_bytes,
        })
    }
}

impl UpstreamTable {
    fn check(self, path: &Path) -> Result<Remote, &'static str> {
        let remote = Remote::new(self.prefix, &self.remoteurl)?;
        let credential = match (self.username, self.password) {
            (Some(username), Some(password)) => Some(Credential::Password { username, password }),
            (None, None) => None,
            _ => return Err("proxy: username and password need each other"),
        };
        let ca = self.ca.map(|ca| path.parent().unwrap_or(Path::new("/")).join(ca));
        Ok(Remote { ns: self.ns.unwrap_or(remote.ns), ca, credential, ..remote })
    }
}

/// A duration as Go writes it, in whole units: `168h`, `1h30m`, `500ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(unit);
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        };
        (rest, total) = (tail, total.checked_add(part)?);
    }
    (!text.is_empty()).then_some(total)
}

impl AuthTable {
    fn check(self, path: &Path) -> Result<Auth, Error> {
        let refuse = |reason| Error::Value { path: path.to_owned(), reason };
        let lifetime = self.token_lifetime.unwrap_or(300);
        if !(60..=86_400).contains(&lifetime) {
            return Err(refuse("auth.token-lifetime: want 60 to 86400 seconds"));
        }
        if self.realm.as_ref().is_some_and(|realm| realm.contains(['"', '\\', '\n', '\r'])) {
            return Err(refuse("auth.realm: want a URL"));
        }
        if self.rule.iter().any(|rule| !rule.everyone && rule.users.is_empty()) {
            return Err(refuse("auth.rule: it is about nobody: give users, or everyone = true"));
        }
        // Beside the configuration, unless it says otherwise.
        let htpasswd = path.parent().unwrap_or(Path::new("/")).join(self.htpasswd);
        let lifetime = Duration::from_secs(lifetime);
        Ok(Auth { htpasswd, scheme: self.scheme, realm: self.realm, lifetime, rules: self.rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in [("0", 0), ("168h", 604_800), ("1h30m", 5400), ("90s", 90), ("2000ms", 2)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "1", "h", "-1h", "1d", "1h 2m", "99999999999999999999h", "18446744073709551615h"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn upstreams_have_names_and_addresses_of_their_own() {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("registry.toml");
        let read = |text: &str| {
            file::write(&path, text.as_bytes()).unwrap();
            Config::read(&path).map(|config| config.proxy.unwrap().upstreams)
        };
        let table = "[[proxy.upstream]]\nprefix = \"quay\"\nremoteurl = \"https://quay.io\"\n";
        let hub = "[proxy]\nremoteurl = \"https://registry-1.docker.io\"\n";
        let found = read(&format!("{hub}{table}")).unwrap();
        let names: Vec<_> = found.iter().map(|remote| (remote.prefix.as_str(), remote.ns.as_str())).collect();
        assert_eq!(names, [("", "docker.io"), ("quay", "quay.io")]);
        for bad in [
            format!("{table}{table}"),
            format!("{hub}username = \"somebody\""),
            "[proxy]\nremoteurl = \"quay.io\"".to_owned(),
            "[proxy]\nremoteurl = \"https://quay.io/team\"".to_owned(),
            "[proxy]\nttl = \"soon\"".to_owned(),
            table.replace("\"quay\"", "\"Quay/\""),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
