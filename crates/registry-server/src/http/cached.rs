//! Repositories of other registries: read through the cache, never written.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue, WARNING};
use hyper::{HeaderMap, Method, Request, Response};
use oci::Digest;

use super::blob::Source;
use super::body::Body;
use super::refusal::{Code, Refusal};
use super::route::{Query, Route};
use super::{Answer, Service, set};
use crate::cache::fill::{Follower, Joined};
use crate::cache::rules::Rules;
use crate::cache::{Cache, Failure, Upstream};
use crate::names::{Reference, Repository};

/// RFC 7234, section 5.5.2: what is served could not be compared with what upstream has.
const STALE: HeaderValue = HeaderValue::from_static("111 - \"Revalidation Failed\"");
/// How often a blob is looked for that goes while it is being served.
const ATTEMPTS: u32 = 3;

impl Route {
    /// As a mirror is asked, which is told in `?ns=` whom it stands in for: by our name for that repository.
    pub(super) fn of_namespace(self, rules: &Rules, ns: &str) -> Result<Self, Refusal> {
        let rename = |name: Repository| match rules.local_name(ns, &name) {
            Some(name) => Ok(name),
            // One of our own, where nobody else's it is: as without that word.
            None if rules.upstream_of(&name).is_none() => Ok(name),
            None => {
                let why = "this registry does not stand in for that one";
                Err(Refusal::about(Code::NameUnknown, why, "ns", ns))
            }
        };
        Ok(match self {
            Self::Tags(name) => Self::Tags(rename(name)?),
            Self::Manifest(name, reference) => Self::Manifest(rename(name)?, reference),
            Self::Blob(name, digest) => Self::Blob(rename(name)?, digest),
            Self::Uploads(name) => Self::Uploads(rename(name)?),
            Self::Upload(name, id) => Self::Upload(rename(name)?, id),
            Self::Referrers(name, subject) => Self::Referrers(rename(name)?, subject),
            other @ (Self::Version | Self::Catalog) => other,
        })
    }

    /// The repository that it is about.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Version | Self::Catalog => None,
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

impl Service {
    /// Answers what is about a repository of `upstream`.
    pub(super) async fn stand_in(
        &self,
        cache: &Arc<Cache>,
        upstream: &Arc<Upstream>,
        route: Route,
        query: &Query,
        request: &Request<Incoming>,
    ) -> Answer {
        let (method, headers) = (request.method(), request.headers());
        if !matches!(*method, Method::GET | Method::HEAD) {
            let why = "this repository is another registry's: push there";
            return Err(
                Refusal::new(Code::Unsupported, why).header(ALLOW, HeaderValue::from_static("GET, HEAD"))
            );
        }
        let answer = match route {
            Route::Manifest(name, reference) => {
                self.cached_manifest(cache, upstream, &name, &reference, headers).await
            }
            Route::Blob(name, digest) => {
                let content = *method == Method::GET;
                self.cached_blob(cache, upstream, (&name, &digest), headers, content).await
            }
            Route::Tags(name) => self.cached_tags(cache, upstream, &name, query).await,
            Route::Referrers(name, subject) => {
                self.cached_referrers(cache, upstream, (&name, &subject), query).await
            }
            Route::Version | Route::Catalog | Route::Uploads(_) | Route::Upload(..) => {
                Err(super::not_allowed(&route))
            }
        };
        let mut response = answer?;
        // Draft of the specification after 1.1, "Registry Proxying": the namespace was understood.
        if let Some(ns) = query.get("ns").filter(|ns| !ns.is_empty()) {
            set(&mut response, HeaderName::from_static("oci-namespace"), ns);
        }
        Ok(response)
    }

    async fn cached_manifest(
        &self,
        cache: &Arc<Cache>,
        upstream: &Arc<Upstream>,
        name: &Repository,
        reference: &Reference,
        headers: &HeaderMap,
    ) -> Answer {
        let found = cache.manifest(upstream, name, reference).await?;
        let mut response = super::manifest::answer(found.document, headers);
        if found.is_stale {
            response.headers_mut().insert(WARNING, STALE);
        }
        Ok(response)
    }

    async fn cached_blob(
        &self,
        cache: &Arc<Cache>,
        upstream: &Arc<Upstream>,
        (name, digest): (&Repository, &Digest),
        headers: &HeaderMap,
        content: bool,
    ) -> Answer {
        for _ in 0..ATTEMPTS {
            if let Some(blob) = self.store.blob(name, digest)? {
                // `None` where it went since it was looked for.
                let file = if content { self.store.open_blob(&blob)? } else { None };
                if content && file.is_none() {
                    continue;
                }
                cache.counts.hits.fetch_add(1, Ordering::Relaxed);
                cache.note_asked(name, digest);
                return self.serve_blob(digest, headers, blob.size, file.map(Source::Whole));
            }
            if !content {
                let (asked, wanted) = (Arc::clone(upstream), (name.clone(), digest.clone()));
                let size = cache.converse(upstream, move || asked.blob_size(&wanted.0, &wanted.1)).await?;
                let size = size.map_err(|failure| unavailable(failure, digest))?;
                return self.serve_blob(digest, headers, size, None);
            }
            match cache.fetch(upstream, name, digest)? {
                Joined::Here => {}
                Joined::Fetching(mut follower) => {
                    if let Some((file, size)) = begun(&mut follower, digest).await? {
                        let source = Source::Growing(file, follower);
                        return self.serve_blob(digest, headers, size, Some(source));
                    }
                }
            }
        }
        Err(unavailable(Failure::Ours, digest))
    }

    /// Upstream's tags; those that are here, where it does not answer.
    async fn cached_tags(
        &self,
        cache: &Arc<Cache>,
        upstream: &Arc<Upstream>,
        name: &Repository,
        query: &Query,
    ) -> Answer {
        let (asked, wanted) = (Arc::clone(upstream), name.clone());
        match relayed(cache, upstream, move || asked.tags(&wanted)).await? {
            Relayed::Fresh(tags) => self.page_of_all_tags(name, tags, query),
            Relayed::Away(failure) => {
                let response = self.tags(name, query).map_err(|_| Refusal::from(failure))?;
                Ok(stale(cache, response))
            }
            Relayed::Unknown => Err(Refusal::about(
                Code::NameUnknown,
                "upstream has no such repository",
                "name",
                name.as_str(),
            )),
        }
    }

    /// What upstream says that refers to a manifest, by its list or by the tag that stands for one; what is here of that, where it
    /// does not answer.
    async fn cached_referrers(
        &self,
        cache: &Arc<Cache>,
        upstream: &Arc<Upstream>,
        (name, subject): (&Repository, &Digest),
        query: &Query,
    ) -> Answer {
        let (asked, wanted) = (Arc::clone(upstream), (name.clone(), subject.clone()));
        let kind = query.get("artifactType").map(str::to_owned);
        let ask = move || asked.referrers(&wanted.0, &wanted.1, kind.as_deref());
        match relayed(cache, upstream, ask).await? {
            Relayed::Fresh(found) => self.page_of_all_referrers(name, subject, &found, query),
            // Where nothing is here, there may be something all the same.
            Relayed::Away(failure) => match self.store.referrers(name, subject, None, "", (1, 1))?.is_empty()
            {
                true => Err(failure.into()),
                false => Ok(stale(cache, self.referrers(name, subject, query)?)),
            },
            Relayed::Unknown => self.page_of_all_referrers(name, subject, &[], query),
        }
    }
}

/// What upstream says of a list, which is never kept.
enum Relayed<T> {
    Fresh(T),
    /// It does not answer now: what is here has to do.
    Away(Failure),
    Unknown,
}

async fn relayed<T: Send + 'static>(
    cache: &Cache,
    upstream: &Upstream,
    ask: impl FnOnce() -> Result<T, registry_client::Error> + Send + 'static,
) -> Result<Relayed<T>, Refusal> {
    if upstream.is_silent() {
        return Ok(Relayed::Away(Failure::Away));
    }
    match cache.converse(upstream, ask).await? {
        Ok(found) => Ok(Relayed::Fresh(found)),
        Err(failure @ (Failure::Away | Failure::Limited(_))) => Ok(Relayed::Away(failure)),
        Err(Failure::Unknown) => Ok(Relayed::Unknown),
        Err(failure) => Err(failure.into()),
    }
}

/// Says that an answer is made of what is here.
fn stale(cache: &Cache, mut response: Response<Body>) -> Response<Body> {
    cache.counts.stale.fetch_add(1, Ordering::Relaxed);
    response.headers_mut().insert(WARNING, STALE);
    response
}

/// Waits until upstream has begun to answer. `None`: the blob is here, and was none of upstream's to send.
async fn begun(
    follower: &mut Follower,
    digest: &Digest,
) -> Result<Option<(Arc<std::fs::File>, u64)>, Refusal> {
    let decided = follower
        .wait_for(|progress| {
            // Of nothing there is no last byte to hold back.
            let has_begun = progress.growing.as_ref().is_some_and(|(_, size)| *size > 0);
            has_begun || progress.outcome.is_some()
        })
        .await;
    let progress = decided.map_err(|_| Refusal::from(Failure::Ours))?;
    match (&progress.growing, progress.outcome) {
        (_, Some(Err(failure))) => Err(unavailable(failure, digest)),
        (Some((file, size)), _) => Ok(Some((Arc::clone(file), *size))),
        (None, _) => Ok(None),
    }
}

fn unavailable(failure: Failure, digest: &Digest) -> Refusal {
    match failure {
        Failure::Unknown => {
            Refusal::about(Code::BlobUnknown, "upstream does not have this blob", "digest", digest.as_str())
        }
        Failure::Denied
        | Failure::Limited(_)
        | Failure::Away
        | Failure::Wrong
        | Failure::Full
        | Failure::Ours => failure.into(),
    }
}
