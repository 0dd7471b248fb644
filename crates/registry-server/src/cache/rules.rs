//! Which registries are stood in for and what is kept of them, as the configuration says it by now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux::file;
use registry_client::Settings;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Upstream;
use crate::config::{self, Remote};
use crate::names::Repository;
use crate::reread::Reread;
use crate::store::Kept;

/// Bytes of a file of authorities.
const LIMIT: u64 = 1 << 20;

/// What is stood in for.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Those with the longest names first.
    upstreams: Vec<Arc<Upstream>>,
    /// What is kept of all of them.
    pub(crate) kept: Kept,
}

/// Opens what a configuration, and the address that the command line gives, say of other registries. `client` says how these are
/// reached; credentials are those of the configuration alone.
pub(crate) fn read(
    file: Option<&Path>,
    address: Option<&str>,
    client: &Settings,
) -> Result<Reread<Rules>, config::Error> {
    let files = file.map(Path::to_owned).into_iter().collect();
    let (file, address, client) = (file.map(Path::to_owned), address.map(str::to_owned), client.clone());
    let rules = Reread::new("what is stood in for", files, move |before: Option<&Rules>| {
        let (proxy, path) = (config::proxy(file.as_deref(), address.as_deref())?, file.clone());
        match (proxy, before) {
            (Some(proxy), _) => Rules::new(proxy, &client, before),
            (None, Some(before)) if !before.upstreams.is_empty() => {
                // As a file looks that is being written. Whoever means it leaves [proxy] empty.
                Err(config::Error::Value { path: path.unwrap_or_default(), reason: "[proxy] is gone" })
            }
            // What an earlier server has fetched goes in its time all the same.
            (None, _) => Rules::new(config::Proxy::default(), &client, before),
        }
    })?;
    Ok(rules.following(Rules::authorities))
}

impl Rules {
    /// Registries that are configured as `before` stay, with what is known of them.
    fn new(proxy: config::Proxy, client: &Settings, before: Option<&Self>) -> Result<Self, config::Error> {
        let kept = Kept { unasked: proxy.ttl, bytes: proxy.max_bytes };
        let known = before.map_or(&[][..], |before| &before.upstreams);
        let mut upstreams = Vec::new();
        for remote in proxy.upstreams {
            let authority = remote.ca.as_deref().map(authority).transpose()?;
            let same = known.iter().find(|known| known.is(&remote, authority.as_deref(), &proxy.tag_ttl));
            upstreams.push(match same {
                Some(known) => Arc::clone(known),
                None => Arc::new(Upstream::new(remote, authority, proxy.tag_ttl, client)),
            });
        }
        // The longest prefix that fits counts.
        upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.remote.prefix.len()));
        Ok(Self { upstreams, kept })
    }

    /// The registry whose `name` is; `None` where it is our own.
    pub(crate) fn upstream_of(&self, name: &Repository) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| upstream.remote_name(name).is_some())
    }

    /// Our name for the repository `name` of the registry `ns`, as `?ns=` asks for it.
    pub(crate) fn local_name(&self, ns: &str, name: &Repository) -> Option<Repository> {
        let upstream = self.upstreams.iter().find(|upstream| upstream.remote.ns == ns)?;
        match upstream.remote.prefix.as_str() {
            "" => Some(name.clone()),
            prefix => Repository::parse(&format!("{prefix}/{name}")),
        }
    }

    /// Whether there is anybody to stand in for.
    pub(crate) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Files that are read again beside the configuration.
    fn authorities(&self) -> Vec<PathBuf> {
        self.upstreams.iter().filter_map(|upstream| upstream.remote.ca.clone()).collect()
    }
}

/// The authorities that a file holds; a file that holds none is refused here, and not when they are needed.
fn authority(path: &Path) -> Result<Vec<u8>, config::Error> {
    let text = file::read_bounded(path, LIMIT)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(text),
        Ok(_) | Err(_) => {
            let reason = "it holds no certificate in PEM";
            Err(config::Error::Value { path: path.to_owned(), reason })
        }
    }
}

impl Upstream {
    /// Whether it is this one, reached and believed in this way.
    fn is(&self, remote: &Remote, authority: Option<&[u8]>, tag_ttl: &std::time::Duration) -> bool {
        self.remote == *remote && self.authority.as_deref() == authority && self.tag_ttl == *tag_ttl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_goes_in_its_time_when_nobody_is_stood_in_for_any_more() {
        let rules = read(None, None, &Settings::default()).unwrap().current();
        assert!(rules.is_empty());
        assert_eq!(rules.kept.unasked, config::Proxy::default().ttl);
        assert!(rules.kept.unasked.is_some());
    }
}
