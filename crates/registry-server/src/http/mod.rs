//! The protocol: which endpoint a request is for, and what all answers have in common.

mod blob;
pub(crate) mod body;
mod cached;
mod list;
mod manifest;
pub(crate) mod refusal;
mod route;
mod token;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use oci::Digest;

use crate::auth::rights::Action;
use crate::auth::{Caller, Guard, Need};
use crate::cache::Cache;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::store::Store;
use body::{Body, Buffers};
use refusal::{Code, Refusal};
use route::{Query, Route};

type Answer = Result<Response<Body>, Refusal>;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) store: Arc<Store>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// Who may do what.
    pub(crate) guard: Guard,
    /// Whom it stands in for.
    pub(crate) cache: Arc<Cache>,
    /// Whether an index may name manifests that its repository does not have.
    pub(crate) sparse: bool,
    /// How long a client may send next to nothing within a body.
    pub(crate) patience: Duration,
}

impl Service {
    /// Answers one request of a client at `peer`.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: IpAddr) -> Response<Body> {
        let (began, method) = (Instant::now(), request.method().clone());
        let about = format!("{} {}", request.method(), request.uri().path());
        let mut response = match self.dispatch(request, peer).await {
            Ok(response) => response,
            Err(refusal) => refusal.response(),
        };
        self.metrics.answered(&method, response.status(), began.elapsed());
        tracing::debug!(%peer, status = response.status().as_u16(), "{about}");
        let headers = response.headers_mut();
        headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        response
    }

    async fn dispatch(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let access = self.guard.current();
        if let Some(access) = access.as_ref().as_ref().filter(|_| request.uri().path() == token::PATH) {
            return token::answer(access, request, self.patience).await;
        }
        let query = Query::parse(request.uri().query());
        let route = Route::parse(request.uri().path())?;
        let rules = self.cache.rules();
        let route = match query.get("ns").filter(|ns| !ns.is_empty()) {
            Some(ns) => route.of_namespace(&rules, ns)?,
            None => route,
        };
        let method = request.method().clone();
        let caller = match access.as_ref() {
            Some(access) => access.admit(request.headers(), &route.need(&method)).await?,
            None => Caller::Anybody,
        };
        if let Some(upstream) = route.repository().and_then(|name| rules.upstream_of(name)) {
            return self.stand_in(&self.cache, upstream, route, &query, &request).await;
        }
        match (route, method) {
            (Route::Version, Method::GET | Method::HEAD) => Ok(json("{}".to_owned())),
            (Route::Catalog, Method::GET | Method::HEAD) => self.catalog(&query, &caller),
            (Route::Tags(name), Method::GET | Method::HEAD) => self.tags(&name, &query),
            (Route::Referrers(name, subject), Method::GET | Method::HEAD) => {
                self.referrers(&name, &subject, &query)
            }
            (Route::Manifest(name, reference), Method::GET | Method::HEAD) => {
                self.manifest(&name, &reference, request.headers())
            }
            (Route::Manifest(name, reference), Method::PUT) => {
                self.put_manifest(&name, &reference, &query, request, peer).await
            }
            (Route::Manifest(name, reference), Method::DELETE) => {
                self.delete_manifest(&name, &reference).await
            }
            (Route::Blob(name, digest), Method::GET) => self.blob(&name, &digest, request.headers(), true),
            (Route::Blob(name, digest), Method::HEAD) => self.blob(&name, &digest, request.headers(), false),
            (Route::Blob(name, digest), Method::DELETE) => self.delete_blob(&name, &digest).await,
            (Route::Uploads(name), Method::POST) => {
                self.begin_upload(&name, &query, &caller, request, peer).await
            }
            (Route::Upload(name, id), Method::GET | Method::HEAD) => self.upload_status(&name, &id).await,
            (Route::Upload(name, id), Method::PATCH) => self.append(&name, &id, request, peer).await,
            (Route::Upload(name, id), Method::PUT) => self.finish(&name, &id, &query, request, peer).await,
            (Route::Upload(name, id), Method::DELETE) => self.cancel(&name, &id).await,
            (route, _) => Err(not_allowed(&route)),
        }
    }
}

impl Route {
    /// What must be allowed for `method`.
    fn need(&self, method: &Method) -> Need<'_> {
        let read = matches!(*method, Method::GET | Method::HEAD);
        let action = |otherwise| if read { Action::Pull } else { otherwise };
        match self {
            Self::Version => Need::Nothing,
            Self::Catalog => Need::Catalog,
            Self::Tags(name) | Self::Referrers(name, _) => Need::Repository(name, Action::Pull),
            Self::Manifest(name, _) | Self::Blob(name, _) if *method == Method::DELETE => {
                Need::Repository(name, Action::Delete)
            }
            Self::Manifest(name, _) | Self::Blob(name, _) => Need::Repository(name, action(Action::Push)),
            // Also to ask about an upload, or to give it up, is part of pushing.
            Self::Uploads(name) | Self::Upload(name, _) => Need::Repository(name, Action::Push),
        }
    }
}

/// Names the methods that there are.
fn not_allowed(route: &Route) -> Refusal {
    let allowed = match route {
        Route::Version | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => "GET, HEAD",
        Route::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Route::Blob(..) => "GET, HEAD, DELETE",
        Route::Uploads(_) => "POST",
        Route::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
    };
    Refusal::new(Code::Unsupported, format!("allowed here: {allowed}"))
        .header(ALLOW, HeaderValue::from_static(allowed))
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Something is there now: 201, where it is, and what it is.
fn created(location: &str, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, location);
    set_digest(&mut response, digest);
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    // Everything that is set here is printable: names, digests, numbers, and what `encode` has made.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
}

fn set_digest(response: &mut Response<Body>, digest: &Digest) {
    set(response, HeaderName::from_static("docker-content-digest"), digest.as_str());
}

/// The digest as entity tag: content that is named by its digest does not change.
fn set_tag(response: &mut Response<Body>, digest: &Digest) {
    set(response, ETAG, &format!("\"{digest}\""));
}

/// Whether the client has this content already (RFC 9110, section 13.1.2).
fn has_it(headers: &HeaderMap, digest: &Digest) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|tag| {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            tag == "*" || tag.trim_matches('"') == digest.as_str()
        })
}
