//! The client configuration, `config.json` of `--config`, `DOCKER_CONFIG` or `~/.docker`: defaults that users of Docker
//! have set there. Only what is looked for is read from it; nothing is written.

use std::path::Path;

use serde_json::{Map, Value};

use crate::output;

/// An honest one is not larger, whatever credentials it holds.
const LIMIT: u64 = 4 << 20;

/// The file's content; empty when there is none.
#[derive(Debug, Default)]
pub(crate) struct Configuration(Map<String, Value>);

impl Configuration {
    /// Reads `path`. A file that makes no sense is worth a warning: no command depends on it.
    pub(crate) fn read(path: &Path) -> Configuration {
        let parsed = match linux::file::read_bounded(path, LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.is_missing() => return Configuration::default(),
            Err(error) => Err(linux::chain(&error)),
        };
        match parsed {
            Ok(content) => Configuration(content),
            Err(reason) => {
                output::warn(&format!("WARNING: cannot use {}: {reason}\n", path.display()));
                Configuration::default()
            }
        }
    }

    /// The text that stands under `key`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str)
    }

    /// Variables that tell a container of the host's proxies (`proxies.default`), each in capitals and in small letters, as
    /// programs disagree about which they read.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = (String, &str)> {
        const KINDS: [(&str, &str); 5] = [
            ("HTTP_PROXY", "httpProxy"),
            ("HTTPS_PROXY", "httpsProxy"),
            ("NO_PROXY", "noProxy"),
            ("FTP_PROXY", "ftpProxy"),
            ("ALL_PROXY", "allProxy"),
        ];
        let chosen = self.0.get("proxies").and_then(|proxies| proxies.get("default"));
        let found =
            move |(name, key)| Some((name, chosen?.get(key)?.as_str().filter(|text| !text.is_empty())?));
        KINDS
            .into_iter()
            .filter_map(found)
            .flat_map(|(name, text): (&str, _)| [(name.to_owned(), text), (name.to_lowercase(), text)])
    }

    /// The texts that stand under `key` in a list.
    pub(crate) fn list<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
}
