//! Reads `registries.toml`, `hosts.toml` and folders of certificates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::{Capabilities, Host, Tls, beside, refuse, upstream};
use crate::backoff::Patience;
use crate::error::Result;
use crate::ranges::Ranges;
use crate::url::{Origin, Url};

/// No honest file is larger.
const LIMIT: u64 = 1 << 20;
/// The most hosts of one registry.
const HOSTS_LIMIT: usize = 32;

/// What can be said of one host.
#[derive(Clone, Default, Deserialize)]
struct Options {
    capabilities: Option<Vec<String>>,
    ca: Option<Files>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    header: BTreeMap<String, Files>,
}

/// One text or several.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Files {
    One(String),
    Several(Vec<String>),
}

/// One file with both, several of which the first is taken, or pairs of certificate and key.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Several(Vec<String>),
    Pairs(Vec<Vec<String>>),
}

/// What is said of one registry.
#[derive(Default, Deserialize)]
struct Registry {
    server: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    host: Table,
    #[serde(flatten)]
    options: Options,
}

#[derive(Deserialize)]
struct Registries {
    #[serde(default)]
    registry: Table,
    patience: Option<Waits>,
    ranges: Option<Parts>,
}

/// How long to wait, and how often to try. What is not said is as without the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Waits {
    attempts: Option<u64>,
    connect_seconds: Option<u64>,
    silence_seconds: Option<u64>,
    longest_wait_seconds: Option<u64>,
    longest_retry_after_seconds: Option<u64>,
}

/// When one blob is read by several connections. What is not said is as without the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Parts {
    connections: Option<u64>,
    from_mebibytes: Option<u64>,
}

/// A number that is at least one, and not more than `most`.
fn within(path: &Path, key: &str, value: Option<u64>, (usual, most): (u64, u64)) -> Result<u64> {
    match value {
        Some(value) if value == 0 || value > most => Err(refuse(path, format!("{key} must be 1 to {most}"))),
        value => Ok(value.unwrap_or(usual)),
    }
}

/// What a `registries.toml` says of ranges; `None` if nothing.
pub(super) fn ranges(path: &Path) -> Result<Option<Ranges>> {
    let Some(text) = read(path)? else { return Ok(None) };
    let Some(parts) = parse::<Registries>(path, &text)?.ranges else { return Ok(None) };
    let usual = Ranges::default();
    let connections = within(path, "connections", parts.connections, (usual.connections as u64, 16))?;
    let mebibytes = within(path, "from-mebibytes", parts.from_mebibytes, (usual.from >> 20, 1 << 30))?;
    Ok(Some(Ranges {
        connections: usize::try_from(connections).unwrap_or(usual.connections),
        from: mebibytes << 20,
    }))
}

/// What a `registries.toml` says of patience; `None` if nothing.
pub(super) fn patience(path: &Path) -> Result<Option<Patience>> {
    let Some(text) = read(path)? else { return Ok(None) };
    let Some(waits) = parse::<Registries>(path, &text)?.patience else { return Ok(None) };
    let seconds = |key: &str, value: Option<u64>, usual: Duration| {
        within(path, key, value, (usual.as_secs(), 24 * 3600)).map(Duration::from_secs)
    };
    let usual = Patience::default();
    let attempts = within(path, "attempts", waits.attempts, (u64::from(usual.attempts), 100))?;
    let longest = seconds("longest-wait-seconds", waits.longest_wait_seconds, usual.longest)?;
    Ok(Some(Patience {
        connect: seconds("connect-seconds", waits.connect_seconds, usual.connect)?,
        silence: seconds("silence-seconds", waits.silence_seconds, usual.silence)?,
        attempts: u32::try_from(attempts).unwrap_or(usual.attempts),
        first: usual.first,
        longest,
        longest_asked: seconds(
            "longest-retry-after-seconds",
            waits.longest_retry_after_seconds,
            usual.longest_asked,
        )?,
    }))
}

/// What a `registries.toml` says under `name` of `registry`; `None` if nothing.
pub(super) fn in_registries(path: &Path, name: &str, registry: &str) -> Result<Option<Vec<Host>>> {
    let Some(text) = read(path)? else { return Ok(None) };
    let mut file: Registries = parse(path, &text)?;
    let Some(section) = file.registry.remove(name) else { return Ok(None) };
    let section = section.try_into().map_err(|error: toml::de::Error| refuse(path, error.message()))?;
    hosts(path, &section, registry).map(Some)
}

/// What a folder of `certs.d` says of `registry`; `None` if nothing.
pub(super) fn in_folder(folder: &Path, registry: &str) -> Result<Option<Vec<Host>>> {
    let path = folder.join("hosts.toml");
    if let Some(text) = read(&path)? {
        return hosts(&path, &parse(&path, &text)?, registry).map(Some);
    }
    let Ok(names) = std::fs::read_dir(folder) else { return Ok(None) };
    let mut files: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let with = |extension: &'static str| {
        files.iter().filter(move |path| path.extension().is_some_and(|found| found == extension)).cloned()
    };
    let certificate: Option<PathBuf> = with("cert").next();
    if let Some(certificate) = &certificate
        && !certificate.with_extension("key").exists()
    {
        return Err(refuse(certificate, "there is no key beside it, with the extension .key"));
    }
    let client = certificate.map(|path| (path.clone(), Some(path.with_extension("key"))));
    let tls = Tls { ca: with("crt").collect(), client, skip_verify: false };
    upstream(registry, tls, false).map(Some)
}

fn read(path: &Path) -> Result<Option<String>> {
    match linux::file::read_bounded(path, LIMIT) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| refuse(path, "it is not UTF-8")),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        refuse(path, format!("line {line}: {}", error.message()))
    })
}

/// Mirrors first, the registry itself last.
fn hosts(path: &Path, section: &Registry, registry: &str) -> Result<Vec<Host>> {
    if section.host.len() > HOSTS_LIMIT {
        return Err(refuse(path, format!("more than {HOSTS_LIMIT} hosts for {registry}")));
    }
    let mut hosts = Vec::new();
    for (address, options) in &section.host {
        let options: Options = Value::clone(options).try_into().map_err(|error: toml::de::Error| {
            refuse(path, format!("host {address:?}: {}", error.message()))
        })?;
        let base = base(path, address, &options)?;
        let name = base.origin.authority();
        let stands_for = (name != registry).then(|| registry.to_owned());
        hosts.push(host(path, name, base, &options, stands_for)?);
    }
    match &section.server {
        Some(server) => {
            let base = base(path, server, &section.options)?;
            hosts.push(host(path, registry.to_owned(), base, &section.options, None)?);
        }
        None => {
            let tls = tls(path, &section.options)?;
            for plain in upstream(registry, tls, section.insecure)? {
                hosts.push(
                    host(path, plain.name, plain.base, &section.options, None)
                        .map(|host| Host { tls: plain.tls, ..host })?,
                );
            }
        }
    }
    Ok(hosts)
}

fn host(path: &Path, name: String, base: Url, options: &Options, stands_for: Option<String>) -> Result<Host> {
    let mut headers = Vec::new();
    for (header, values) in &options.header {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if header.is_empty() || !header.bytes().all(is_name) {
            return Err(refuse(path, format!("{header:?} is not the name of a header")));
        }
        for value in values.all() {
            if !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
                return Err(refuse(
                    path,
                    format!("header {header}: its value has characters that no header may have"),
                ));
            }
            headers.push((header.clone(), value.clone()));
        }
    }
    let mut capabilities = capabilities(path, options)?;
    if stands_for.is_some() && options.capabilities.as_ref().is_none_or(Vec::is_empty) {
        // What is pushed goes to the registry that was named, unless somebody says otherwise.
        capabilities.push = false;
    }
    Ok(Host { name, base, capabilities, tls: tls(path, options)?, headers, stands_for })
}

fn base(path: &Path, address: &str, options: &Options) -> Result<Url> {
    let address = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let mut url: Url = address.parse().map_err(|error| refuse(path, format!("{error}")))?;
    if url.path.contains('?') {
        return Err(refuse(path, format!("{address:?}: a host has no query")));
    }
    let trimmed = url.path.trim_end_matches('/');
    url.path = match options.override_path || trimmed.ends_with("/v2") {
        true => trimmed.to_owned(),
        false => format!("{trimmed}/v2"),
    };
    // So that an error names it before it is asked.
    Origin::new(url.origin.is_secure, &url.origin.authority())?;
    Ok(url)
}

fn capabilities(path: &Path, options: &Options) -> Result<Capabilities> {
    let Some(names) = options.capabilities.as_ref().filter(|names| !names.is_empty()) else {
        return Ok(Capabilities::ALL);
    };
    let mut capabilities = Capabilities { pull: false, resolve: false, push: false };
    for name in names {
        match name.to_ascii_lowercase().as_str() {
            "pull" => capabilities.pull = true,
            "resolve" => capabilities.resolve = true,
            "push" => capabilities.push = true,
            _ => {
                return Err(refuse(path, format!("unknown capability {name:?}: want pull, resolve or push")));
            }
        }
    }
    Ok(capabilities)
}

fn tls(path: &Path, options: &Options) -> Result<Tls> {
    let file = |name: &String| beside(path, name);
    let client = match &options.client {
        None => None,
        Some(Client::One(name)) => Some((file(name), None)),
        Some(Client::Several(names)) => names.first().map(|name| (file(name), None)),
        Some(Client::Pairs(pairs)) => match pairs.first().map(Vec::as_slice) {
            None => None,
            Some([certificate]) => Some((file(certificate), None)),
            Some([certificate, key]) => Some((file(certificate), (!key.is_empty()).then(|| file(key)))),
            Some(_) => return Err(refuse(path, "client: want pairs of a certificate and its key")),
        },
    };
    let ca = options.ca.iter().flat_map(Files::all).map(file).collect();
    Ok(Tls { ca, client, skip_verify: options.skip_verify })
}

impl Files {
    fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostRules;
    use super::*;

    /// What is asked for `registry`, one host a line.
    fn asked(hosts: &[Host]) -> String {
        let line = |host: &Host| {
            let Capabilities { pull, resolve, push } = host.capabilities;
            let may: String = [(pull, 'p'), (resolve, 'r'), (push, 'w')]
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, c)| c)
                .collect();
            let verify = if host.tls.skip_verify { " unverified" } else { "" };
            let for_whom = host.stands_for.as_ref().map_or(String::new(), |ns| format!(" ns={ns}"));
            format!("{} {may}{verify}{for_whom}", host.base)
        };
        hosts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn of(text: &str, registry: &str) -> Result<Vec<Host>> {
        let path = Path::new("/etc/x/hosts.toml");
        hosts(path, &parse(path, text)?, registry)
    }

    #[test]
    fn without_files_a_registry_is_asked_by_https_and_this_host_also_by_http() {
        let rules = HostRules::default();
        for (registry, want) in [
            ("docker.io", "https://registry-1.docker.io/v2 prw"),
            ("quay.io", "https://quay.io/v2 prw"),
            ("localhost:5000", "https://localhost:5000/v2 prw unverified\nhttp://localhost:5000/v2 prw"),
            ("127.1.2.3", "https://127.1.2.3/v2 prw unverified\nhttp://127.1.2.3/v2 prw"),
            ("[::1]:5000", "https://[::1]:5000/v2 prw unverified\nhttp://[::1]:5000/v2 prw"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/v2 prw"),
            ("localhost.example", "https://localhost.example/v2 prw"),
        ] {
            assert_eq!(asked(&rules.hosts(registry).unwrap()), want, "{registry}");
        }
    }

    #[test]
    fn mirrors_come_in_the_order_of_the_file_and_the_server_last() {
        let text = r#"
            server = "https://registry-1.docker.io"
            capabilities = ["pull", "resolve"]
            [host."https://z.example:8443"]
            capabilities = ["pull"]
            ca = "own.crt"
            client = [["/a.crt", "/a.key"]]
            [host."http://a.example/proxy"]
            skip_verify = true
            [host."https://b.example/api/v2/"]
            [host."https://c.example/other"]
            capabilities = ["push", "pull"]
            override_path = true
            [host."https://c.example/other".header]
            x-custom = ["one", "two"]
        "#;
        let hosts = of(text, "docker.io").unwrap();
        let want = "https://z.example:8443/v2 p ns=docker.io\nhttp://a.example/proxy/v2 pr unverified ns=docker.io\n\
            https://b.example/api/v2 pr ns=docker.io\nhttps://c.example/other pw ns=docker.io\n\
            https://registry-1.docker.io/v2 pr";
        assert_eq!(asked(&hosts), want);
        assert_eq!(hosts[0].tls.ca, [PathBuf::from("/etc/x/own.crt")]);
        assert_eq!(hosts[0].tls.client, Some(("/a.crt".into(), Some("/a.key".into()))));
        assert_eq!(hosts[3].headers.len(), 2);
        assert_eq!(hosts[4].name, "docker.io");
    }

    #[test]
    fn files_that_make_no_sense_are_refused_by_name() {
        for (text, part) in [
            ("server = 1", "line 1"),
            ("\n\nserver", "line 3"),
            ("capabilities = [\"fly\"]", "\"fly\""),
            ("server = \"ftp://x\"", "ftp://x"),
            ("server = \"https://u:p@x\"", "credentials"),
            ("[host.\"https://x\"]\nskip_verify = 3", "https://x"),
            ("[header]\n\"a b\" = \"c\"", "\"a b\""),
            ("[header]\na = \"c\\r\\nHost: x\"", "header a"),
        ] {
            let error = of(text, "x").unwrap_err().to_string();
            assert!(error.starts_with("/etc/x/hosts.toml") && error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn places_are_asked_in_their_order_and_defaults_last() {
        let scratch = testkit::Scratch::new();
        let folder = |name: &str| {
            let path = scratch.join("certs.d").join(name);
            linux::file::create_dirs(&path, 0o700).unwrap();
            path
        };
        linux::file::write(&folder("_default").join("hosts.toml"), b"[host.\"https://mirror\"]").unwrap();
        linux::file::write(&folder("a.example_5000_").join("hosts.toml"), b"server = \"http://a\"").unwrap();
        linux::file::write(&folder("docker.example:5000").join("ca.crt"), b"").unwrap();
        let file = scratch.join("registries.toml");
        let text =
            b"[registry.\"b.example\"]\ninsecure = true\n[registry.\"a.example:5000\".host.\"https://m\"]";
        linux::file::write(&file, text).unwrap();
        let folders = vec![scratch.join("missing"), scratch.join("certs.d")];
        let rules = HostRules { files: vec![file], folders: folders.clone(), insecure: false };
        for (registry, want) in [
            ("a.example:5000", "https://m/v2 pr ns=a.example:5000\nhttps://a.example:5000/v2 prw"),
            ("b.example", "https://b.example/v2 prw unverified\nhttp://b.example/v2 prw"),
            ("c.example", "https://mirror/v2 pr ns=c.example\nhttps://c.example/v2 prw"),
            ("docker.example:5000", "https://docker.example:5000/v2 prw"),
        ] {
            assert_eq!(asked(&rules.hosts(registry).unwrap()), want, "{registry}");
        }
        let rules = HostRules { files: vec![], folders, insecure: false };
        assert_eq!(asked(&rules.hosts("a.example:5000").unwrap()), "http://a/v2 prw");
        assert_eq!(rules.hosts("docker.example:5000").unwrap()[0].tls.ca.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_file_does_harm(text in "\\PC{0,80}|(server|host|ca|client|capabilities|[ =\"\\[\\].\n]|https://x){0,20}") {
            drop(of(&text, "docker.io"));
        }
    }
}
