//! Search, as Docker's registry of the first version had it and Docker Hub still has (`GET /v1/search`); the specification
//! knows none. A registry without it is asked for its catalog (`GET /v2/_catalog`, no part of the specification either, but
//! common), of which those names are taken that have the term in them.

use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::hosts::Host;
use crate::payload::Sending;
use crate::session::{Answer, Ask};
use crate::url::{Origin, Url};
use crate::{Client, Need, Repository};

/// Docker Hub answers searches elsewhere than pulls.
const DOCKER: (&str, &str) = ("docker.io", "index.docker.io");
/// Bytes of one answer.
const ANSWER_LIMIT: u64 = 8 << 20;
/// What is asked for at once of a catalog, and the most pages of it that are read.
const PAGE: usize = 1000;
const PAGES_LIMIT: usize = 200;

/// A repository that has been found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hit {
    /// Its name, without that of the registry. Of a stranger's, as all else here: to be shown with care.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many like it.
    #[serde(rename = "star_count")]
    pub stars: i64,
    /// Whether Docker vouches for it.
    pub is_official: bool,
    /// Whether it was built by Docker Hub, which has not done so for years.
    pub is_automated: bool,
}

/// What a registry gives to a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What it found itself.
    Hits(Vec<Hit>),
    /// It cannot search: the names of its catalog with the term in them.
    InCatalog(Vec<String>),
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    results: Option<Vec<Hit>>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Client {
    /// Asks a registry for at most `limit` repositories that have to do with `term`.
    ///
    /// # Errors
    /// [`Error::NoSearch`] if it has neither search nor catalog; or if it cannot be asked.
    pub fn search(&self, registry: &str, term: &str, limit: usize) -> Result<Found> {
        let hosts = self.session.settings.hosts.hosts(registry)?;
        let asked = Repository {
            session: std::sync::Arc::clone(&self.session),
            // Who stands in for a registry has its content, and no more.
            hosts: hosts.into_iter().filter(|host| host.name == registry).collect(),
            name: String::new(),
            is_target: false,
            registry: registry.to_owned(),
            unreached: std::sync::Arc::default(),
            about: None,
        };
        let searched = asked.on_hosts(Need::Any, |host| asked.search_on(host, term, limit));
        let refused = match searched {
            Err(error) if registry != DOCKER.0 && is_without(&error) => error,
            done => return done.map(Found::Hits),
        };
        tracing::debug!(registry, %refused, "no search: the catalog is read");
        match asked.on_hosts(Need::Any, |host| asked.catalog_on(host, term, limit)) {
            Ok(names) => Ok(Found::InCatalog(names)),
            Err(error) if is_without(&error) => {
                Err(Error::NoSearch { registry: registry.to_owned(), source: Box::new(error) })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an answer says that there is no such thing.
fn is_without(error: &Error) -> bool {
    // No JSON comes where the address is that of a page of a web site.
    matches!(
        error,
        Error::NotFound { .. } | Error::Json { .. } | Error::Status { status: 400 | 405 | 410 | 501, .. }
    )
}

/// The host that answers searches for another.
fn searching(host: &Host) -> Result<Host> {
    let mut host = host.clone();
    if host.name == DOCKER.0 {
        host.base.origin = Origin::new(true, DOCKER.1)?;
    }
    Ok(host)
}

impl Repository {
    fn search_on(&self, host: &Host, term: &str, limit: usize) -> Result<Vec<Hit>> {
        let host = searching(host)?;
        let url = host.base.join("/v1/search")?;
        let url = url.with_query("q", term).with_query("n", &limit.to_string());
        let answer = self.ask_at(&host, url, "", "search")?;
        let shown = answer.url.shown();
        let results: Results = serde_json::from_slice(&answer.read(ANSWER_LIMIT)?)
            .map_err(|source| Error::Json { url: shown, source })?;
        let mut hits = results.results.unwrap_or_default();
        hits.truncate(limit);
        Ok(hits)
    }

    fn catalog_on(&self, host: &Host, term: &str, limit: usize) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        let mut url = host.base.join(&format!("{}/_catalog?n={PAGE}", host.base.path))?;
        for _ in 0..PAGES_LIMIT {
            let answer = self.ask_at(host, url.clone(), "registry:catalog:*", "the catalog")?;
            let next = answer.next_page(&url)?;
            let shown = answer.url.shown();
            let page: Page = serde_json::from_slice(&answer.read(ANSWER_LIMIT)?)
                .map_err(|source| Error::Json { url: shown.clone(), source })?;
            let page = page.repositories.unwrap_or_default();
            let is_empty = page.is_empty();
            names.extend(page.into_iter().filter(|name| name.contains(term)));
            if names.len() >= limit {
                names.truncate(limit);
                return Ok(names);
            }
            match next {
                // One that goes on for ever gives empty pages, or the same page.
                Some(next) if !is_empty && next != url => url = next,
                _ => return Ok(names),
            }
        }
        Err(Error::TooMuch { url: url.shown(), limit: PAGES_LIMIT as u64, what: "pages" })
    }

    fn ask_at(&self, host: &Host, url: Url, scope: &str, what: &str) -> Result<Answer> {
        let ask = Ask { method: Method::GET, url, host, scope, headers: &[] };
        let answer = self.session.exchange(&ask, Sending::Whole(&Bytes::new()))?;
        match answer.status {
            200 => Ok(answer),
            _ => Err(answer.refusal(host, what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_is_searched_where_it_answers_and_others_where_they_are() {
        let at = |registry: &str| {
            let hosts = crate::HostRules::default().hosts(registry).unwrap();
            searching(&hosts[0]).unwrap().base.join("/v1/search").unwrap().to_string()
        };
        assert_eq!(at("docker.io"), "https://index.docker.io/v1/search");
        assert_eq!(at("registry.example:5000"), "https://registry.example:5000/v1/search");
    }
}
