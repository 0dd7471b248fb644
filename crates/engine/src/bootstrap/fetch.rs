//! Reads addresses: `http`, `https` and `file`, each with a limit.
//!
//! The client is `ureq`: it blocks, as everything here does, while that of the registries lives on an executor and speaks a
//! protocol of its own. It is made when first needed, and so are the certificates read that `https` is checked with.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

use super::error::BootstrapError as Failure;
use crate::request::Proxies;

/// Where hosts keep the certificates that they trust.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CERTIFICATES_LIMIT: u64 = 16 << 20;
const REDIRECTS: u32 = 5;
const HEADER_LIMIT: usize = 64 << 10;

/// See the head of the file.
pub(super) struct Fetcher {
    proxies: Proxies,
    plain: OnceLock<Agent>,
    encrypted: OnceLock<Agent>,
}

impl Fetcher {
    pub(super) fn new(proxies: &Proxies) -> Fetcher {
        Fetcher { proxies: proxies.clone(), plain: OnceLock::new(), encrypted: OnceLock::new() }
    }

    /// What lies at an address; reading more than `limit` bytes of it fails. None where there is nothing.
    pub(super) fn open(&self, url: &str, limit: u64) -> Result<Option<Box<dyn Read + Send>>, Failure> {
        let opened: Box<dyn Read + Send> = match url.strip_prefix("file://") {
            Some(path) => match open_file(path) {
                Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => Box::new(opened.map_err(|source| Failure::Read { url: url.to_owned(), source })?),
            },
            None => {
                let failed = |source| Failure::Fetch { url: url.to_owned(), source: Box::new(source) };
                let response = self.agent(url)?.get(url).call().map_err(failed)?;
                match response.status().as_u16() {
                    200 => Box::new(response.into_body().into_reader()),
                    404 | 410 => return Ok(None),
                    status => return Err(Failure::Status { url: url.to_owned(), status }),
                }
            }
        };
        Ok(Some(Box::new(Limited { source: opened, left: limit })))
    }

    /// All of what lies at an address.
    pub(super) fn read(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut opened) = self.open(url, limit)? else { return Ok(None) };
        let mut bytes = Vec::new();
        match opened.read_to_end(&mut bytes) {
            Ok(_) => Ok(Some(bytes)),
            Err(source) => Err(explained(url, limit, source)),
        }
    }

    /// Whoever begins with `https` stays there, over all redirects.
    fn agent(&self, url: &str) -> Result<&Agent, Failure> {
        let encrypted = url.starts_with("https://");
        let (slot, proxy) = match encrypted {
            true => (&self.encrypted, self.proxies.https.as_ref()),
            false => (&self.plain, self.proxies.http.as_ref()),
        };
        if let Some(agent) = slot.get() {
            return Ok(agent);
        }
        let failed = |source| Failure::Fetch { url: url.to_owned(), source: Box::new(source) };
        let proxy = proxy.map(|proxy| self.proxy(proxy)).transpose().map_err(failed)?;
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(encrypted)
            .proxy(proxy)
            .max_redirects(REDIRECTS)
            .max_response_header_size(HEADER_LIMIT)
            .user_agent(concat!("skiff/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        if encrypted {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls =
                TlsConfig::builder().root_certs(certificates()?).unversioned_rustls_crypto_provider(provider);
            builder = builder.tls_config(tls.build());
        }
        Ok(slot.get_or_init(|| builder.build().new_agent()))
    }

    fn proxy(&self, text: &str) -> Result<ureq::Proxy, ureq::Error> {
        let proxy = ureq::Proxy::new(text)?;
        let Some(except) = &self.proxies.except else { return Ok(proxy) };
        let mut builder = ureq::Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
        if let (Some(name), Some(password)) = (proxy.username(), proxy.password()) {
            builder = builder.username(name).password(password);
        }
        for pattern in except.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
            builder = builder.no_proxy(pattern);
        }
        builder.build()
    }
}

/// Says of a failed read whether the limit was what failed.
pub(super) fn explained(url: &str, limit: u64, source: io::Error) -> Failure {
    match source.kind() == io::ErrorKind::FileTooLarge {
        true => Failure::TooLong { url: url.to_owned(), limit },
        false => Failure::Read { url: url.to_owned(), source },
    }
}

fn open_file(path: &str) -> io::Result<File> {
    // Never waits for whoever would write into a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(Path::new(path), flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file.into())
}

fn certificates() -> Result<RootCerts, Failure> {
    let found = CERTIFICATES
        .iter()
        .find_map(|path| linux::file::read_bounded(Path::new(path), CERTIFICATES_LIMIT).ok());
    let bytes = found.unwrap_or_default();
    let certificates = ureq::tls::parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(certificates.collect::<Vec<_>>().into())
}

/// Fails with [`io::ErrorKind::FileTooLarge`] where there is more than the limit.
struct Limited<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}
