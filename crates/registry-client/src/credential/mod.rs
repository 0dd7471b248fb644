//! Docker's `config.json`, as far as it tells how to log in.
//!
//! ```text
//! {
//!   "auths": { "host": { "auth": base64("name:password") } | { "identitytoken": "…" } | { "registrytoken": "…" } },
//!   "credsStore": "NAME",                 all are kept by the program docker-credential-NAME
//!   "credHelpers": { "host": "NAME" }     that of one host is
//! }
//! ```
//!
//! Docker's own registry stands there as `https://index.docker.io/v1/`.

mod helper;
mod keep;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};

pub use keep::{Kept, forget, keep};

/// How Docker's own registry is spelled in the configuration.
pub const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// An honest file is not larger, whatever it holds.
const LIMIT: u64 = 4 << 20;

/// What proves who we are. Its `Debug` keeps the secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Name and password.
    Password {
        /// The name.
        username: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// A token that stands for a login, for which others are given.
    IdentityToken(String),
    /// A token that is shown to the registry itself.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(formatter, "password of {username:?}"),
            Self::IdentityToken(_) => formatter.write_str("identity token"),
            Self::RegistryToken(_) => formatter.write_str("registry token"),
        }
    }
}

impl Credential {
    /// The value of `Authorization` for Basic, where there is a password.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Self::IdentityToken(_) | Self::RegistryToken(_) => None,
        }
    }
}

/// Where credentials are found.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    document: Document,
    /// What counts before everything else.
    first: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entry")
    }
}

/// Where the credential of one registry is.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Nowhere.
    Nowhere,
    /// In the file.
    Here(Credential),
    /// With `docker-credential-…`, under this name.
    Helper { name: &'a str, server: &'a str },
}

impl Credentials {
    /// Reads a file; one that is not there holds nothing.
    ///
    /// # Errors
    /// If it cannot be read or makes no sense.
    pub fn read(path: &Path) -> Result<Self> {
        match linux::file::read_bounded(path, LIMIT) {
            Ok(bytes) => Self::parse(&path.display().to_string(), &bytes),
            Err(error) if error.is_missing() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a file's content.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it makes no sense.
    pub fn parse(path: &str, bytes: &[u8]) -> Result<Self> {
        let document = serde_json::from_slice(bytes).map_err(|error| Error::Configuration {
            path: path.to_owned(),
            // The library's own words may quote a secret.
            reason: format!(
                "not the configuration of a client at line {}, column {}",
                error.line(),
                error.column()
            ),
        })?;
        Ok(Self { document, first: BTreeMap::new() })
    }

    /// The same, but that the `auths` of another text, which `name` names in errors, count before all of these.
    ///
    /// # Errors
    /// As [`Credentials::parse`].
    pub fn with_first(self, name: &str, text: &str) -> Result<Self> {
        let first = Self::parse(name, text.as_bytes())?.document.auths;
        Ok(Self { first, ..self })
    }

    /// One credential alone.
    #[must_use]
    pub fn only(registry: &str, credential: Credential) -> Self {
        let entry = match credential {
            Credential::Password { username, password } => Entry { username, password, ..Entry::default() },
            Credential::IdentityToken(token) => Entry { identity_token: token, ..Entry::default() },
            Credential::RegistryToken(token) => Entry { registry_token: token, ..Entry::default() },
        };
        let auths = [(key(registry).to_owned(), entry)].into();
        Self { document: Document { auths, ..Document::default() }, first: BTreeMap::new() }
    }

    /// The credential for a registry, by the host of its references. May start a credential helper.
    ///
    /// # Errors
    /// If an entry makes no sense, or a helper fails.
    pub fn find(&self, registry: &str) -> Result<Option<Credential>> {
        match self.place(key(registry))? {
            Place::Nowhere => Ok(None),
            Place::Here(credential) => Ok(Some(credential)),
            Place::Helper { name, server } => helper::get(name, server),
        }
    }

    fn place<'a>(&'a self, registry: &'a str) -> Result<Place<'a>> {
        let document = &self.document;
        if let Some(credential) = in_entries(&self.first, registry)? {
            return Ok(Place::Here(credential));
        }
        let helper = document.helpers.get(registry).filter(|name| !name.is_empty());
        if let Some(name) = helper.or(Some(&document.store).filter(|name| !name.is_empty())) {
            return Ok(Place::Helper { name, server: registry });
        }
        Ok(in_entries(&document.auths, registry)?.map_or(Place::Nowhere, Place::Here))
    }
}

/// What entries have for a registry.
fn in_entries(entries: &BTreeMap<String, Entry>, registry: &str) -> Result<Option<Credential>> {
    let named = entries.get_key_value(registry);
    // Some tools write addresses, with scheme and path.
    let found = named.or_else(|| entries.iter().find(|(name, _)| host_of(name) == host_of(registry)));
    found.map_or(Ok(None), |(name, entry)| entry.credential(name))
}

/// The name that a registry has in the configuration.
#[must_use]
pub fn key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_KEY,
        other => other,
    }
}

fn host_of(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or_default()
}

impl Entry {
    fn credential(&self, name: &str) -> Result<Option<Credential>> {
        if !self.identity_token.is_empty() {
            return Ok(Some(Credential::IdentityToken(self.identity_token.clone())));
        }
        if !self.registry_token.is_empty() {
            return Ok(Some(Credential::RegistryToken(self.registry_token.clone())));
        }
        if self.auth.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return Ok((!username.is_empty()).then_some(Credential::Password { username, password }));
        }
        let refuse = |reason: &str| Error::Configuration {
            path: format!("auths of {name}"),
            reason: format!("{reason}; log in again"),
        };
        let bytes = STANDARD.decode(self.auth.trim()).map_err(|_| refuse("auth is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| refuse("auth is not UTF-8"))?;
        let (username, password) = text.split_once(':').ok_or_else(|| refuse("auth has no colon"))?;
        let password = password.trim_matches('\0').to_owned();
        Ok(Some(Credential::Password { username: username.to_owned(), password }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Place<'static> {
        Place::Here(Credential::Password { username: username.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn where_the_credential_of_a_registry_is() {
        let auth = STANDARD.encode("user:pa:ss");
        let file = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}},"plain.example:5000":{{"username":"u","password":"p"}},
            "https://old.example/v1/":{{"auth":"{auth}"}},"token.example":{{"auth":"{auth}","identitytoken":"t"}},"empty.example":{{}},
            "bad.example":{{"auth":"%%"}},"nocolon.example":{{"auth":"eA=="}}}},"credHelpers":{{"ecr.example":"ecr-login"}},"psFormat":"x"}}"#
        );
        let credentials = Credentials::parse("config.json", file.as_bytes()).unwrap();
        for (registry, want) in [
            ("docker.io", password("user", "pa:ss")),
            ("plain.example:5000", password("u", "p")),
            ("plain.example", Place::Nowhere),
            ("old.example", password("user", "pa:ss")),
            ("token.example", Place::Here(Credential::IdentityToken("t".to_owned()))),
            ("empty.example", Place::Nowhere),
            ("ecr.example", Place::Helper { name: "ecr-login", server: "ecr.example" }),
        ] {
            assert_eq!(credentials.place(key(registry)).unwrap(), want, "{registry}");
        }
        // What counts first does so before helpers, too, and for nobody else.
        let first = r#"{"auths":{"ecr.example":{"registrytoken":"r"},"https://plain.example:5000/v2/":{"auth":"eDp5"}}}"#;
        let with_first = credentials.clone().with_first("VARIABLE", first).unwrap();
        let token = Place::Here(Credential::RegistryToken("r".to_owned()));
        for (registry, want) in [
            ("ecr.example", token),
            ("plain.example:5000", password("x", "y")),
            ("docker.io", password("user", "pa:ss")),
        ] {
            assert_eq!(with_first.place(key(registry)).unwrap(), want, "{registry}");
        }
        let error = credentials.clone().with_first("VARIABLE", "secret").unwrap_err().to_string();
        assert!(error.contains("VARIABLE") && !error.contains("secret"), "{error}");
        for bad in ["bad.example", "nocolon.example"] {
            assert!(credentials.place(bad).is_err(), "{bad}");
        }
        let store = Credentials::parse("", br#"{"auths":{"docker.io":{}},"credsStore":"pass"}"#).unwrap();
        assert_eq!(
            store.place(key("docker.io")).unwrap(),
            Place::Helper { name: "pass", server: DOCKER_KEY }
        );
    }

    #[test]
    fn secrets_are_in_no_text_about_them() {
        let file = br#"{"auths":{"a":{"username":"u","password":"secret"},"b":"secret"}}"#;
        let error = Credentials::parse("config.json", file).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        let file = br#"{"auths":{"a":{"username":"u","password":"secret"}}}"#;
        let credentials = Credentials::parse("config.json", file).unwrap();
        assert!(!format!("{credentials:?} {:?}", credentials.find("a")).contains("secret"));
    }

    proptest::proptest! {
        #[test]
        fn no_file_does_harm(text in "\\PC{0,60}|\\{\"auths\":\\{\"[a-z:/.]{0,9}\":\\{\"auth\":\"[a-zA-Z=%]{0,9}\"\\}\\}\\}") {
            if let Ok(credentials) = Credentials::parse("", text.as_bytes()) {
                drop(credentials.place("host"));
            }
        }
    }
}
