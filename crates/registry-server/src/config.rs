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
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::file;
use serde::Deserialize;

use crate::auth::{Rules, Scheme};

const LIMIT: u64 = 1 << 20;

/// What is configured.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who may do what; everybody everything where it is missing.
    pub(crate) auth: Option<Auth>,
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
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or has anything that is not known.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let content = |source| Error::Content { path: path.to_owned(), source };
        let text = String::from_utf8_lossy(&file::read_bounded(path, LIMIT)?).into_owned();
        let file: File = toml::from_str(&text).map_err(content)?;
        let auth = file.auth.map(|table| table.check(path)).transpose()?;
        Ok(Self { auth })
    }
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
