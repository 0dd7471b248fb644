//! What is counted, and the page that Prometheus reads (text format 0.0.4), with the answer to "are you well?" beside it.
//!
//! They have an address of their own: neither is for those who push and pull.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::cache::Cache;
use crate::http::body::Body;
use crate::store::{Collected, Store};

/// Methods that are counted by name.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];
/// Upper ends of the times that answers take to begin, in milliseconds.
const BUCKETS: [u64; 8] = [1, 5, 20, 100, 500, 2_000, 10_000, 60_000];
/// Whoever asks for our health waits no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// All counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By method (others last), then by the first digit of the status.
    requests: [[AtomicU64; 6]; METHODS.len() + 1],
    took: [AtomicU64; BUCKETS.len() + 1],
    took_microseconds: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) served: AtomicU64,
    expired: AtomicU64,
    collections: AtomicU64,
    collected_blobs: AtomicU64,
    collected_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Metrics {
    /// A request was answered.
    pub(crate) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let row = METHODS.iter().position(|known| known == method).unwrap_or(METHODS.len());
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.requests.get(row).and_then(|row| row.get(class)) {
            add(counter, 1);
        }
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|end| milliseconds <= *end).unwrap_or(BUCKETS.len());
        if let Some(counter) = self.took.get(bucket) {
            add(counter, 1);
        }
        add(&self.took_microseconds, u64::try_from(took.as_micros()).unwrap_or(0));
    }

    /// Bytes of a body were received.
    pub(crate) fn received(&self, bytes: u64) {
        add(&self.received, bytes);
    }

    /// Bytes of a blob were read to be sent.
    pub(crate) fn served(&self, bytes: u64) {
        add(&self.served, bytes);
    }

    /// Old uploads were removed.
    pub(crate) fn expired(&self, uploads: u64) {
        add(&self.expired, uploads);
    }

    /// Garbage was collected.
    pub(crate) fn collected(&self, collected: &Collected) {
        add(&self.collections, 1);
        add(&self.collected_blobs, collected.blobs);
        add(&self.collected_bytes, collected.bytes);
    }

    fn page(&self, store: &Store, cache: Option<&Cache>) -> Result<String, crate::store::Error> {
        let totals = store.totals()?;
        let mut page = Page(String::new());
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.head("requests_total", "counter", "Requests that were answered.");
        for (row, counters) in self.requests.iter().enumerate() {
            let method = METHODS.get(row).map_or("other", Method::as_str);
            for (class, counter) in counters.iter().enumerate().filter(|(_, counter)| load(counter) > 0) {
                page.line(
                    "requests_total",
                    &format!("{{method=\"{method}\",status=\"{class}xx\"}}"),
                    load(counter),
                );
            }
        }
        page.head("answer_seconds", "histogram", "Time until an answer began.");
        let mut count = 0;
        for (bucket, counter) in self.took.iter().enumerate() {
            count += load(counter);
            let end = BUCKETS
                .get(bucket)
                .map_or("+Inf".to_owned(), |end| format!("{}.{:03}", end / 1000, end % 1000));
            page.line("answer_seconds_bucket", &format!("{{le=\"{end}\"}}"), count);
        }
        let sum = load(&self.took_microseconds);
        page.line("answer_seconds_sum", "", format!("{}.{:06}", sum / 1_000_000, sum % 1_000_000));
        page.line("answer_seconds_count", "", count);
        for (name, kind, about, value) in [
            ("received_bytes_total", "counter", "Bytes of bodies that were received.", load(&self.received)),
            (
                "served_bytes_total",
                "counter",
                "Bytes of blobs that were read to be sent.",
                load(&self.served),
            ),
            ("connections", "gauge", "Connections that are open.", load(&self.connections)),
            ("uploads", "gauge", "Uploads that are open.", store.open_uploads() as u64),
            ("uploads_expired_total", "counter", "Uploads that nobody went on with.", load(&self.expired)),
            ("collections_total", "counter", "Collections of garbage.", load(&self.collections)),
            ("collected_blobs_total", "counter", "Blobs that were collected.", load(&self.collected_blobs)),
            (
                "collected_bytes_total",
                "counter",
                "Bytes of blobs that were collected.",
                load(&self.collected_bytes),
            ),
            ("blobs", "gauge", "Blobs that are stored.", totals.blobs),
            ("blob_bytes", "gauge", "Bytes of the blobs that are stored.", totals.bytes),
            ("manifests", "gauge", "Manifests that are stored.", totals.manifests),
            ("repositories", "gauge", "Repositories that hold anything.", totals.repositories),
        ] {
            page.head(name, kind, about);
            page.line(name, "", value);
        }
        if let Some(counts) = cache.map(|cache| &cache.counts) {
            page.head("proxy_requests_total", "counter", "Content of other registries that was asked for.");
            for (result, counter) in
                [("hit", &counts.hits), ("miss", &counts.misses), ("stale", &counts.stale)]
            {
                page.line("proxy_requests_total", &format!("{{result=\"{result}\"}}"), load(counter));
            }
            page.head("proxy_failures_total", "counter", "Attempts on other registries that failed.");
            page.line("proxy_failures_total", "", load(&counts.failed));
            page.head(
                "proxy_fetched_bytes_total",
                "counter",
                "Bytes of blobs that came from other registries.",
            );
            page.line("proxy_fetched_bytes_total", "", load(&counts.fetched));
        }
        Ok(page.0)
    }
}

/// Lines of the text format, each name behind one prefix.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP skiff_registry_{name} {about}\n# TYPE skiff_registry_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "skiff_registry_{name}{labels} {value}");
    }
}

/// Answers what monitoring asks.
pub(crate) async fn answer(service: &crate::http::Service, request: Request<Incoming>) -> Response<Body> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let (store, metrics) = (service.store.clone(), service.metrics.clone());
            let cache = service.cache.clone();
            // It counts rows.
            let page =
                move || metrics.page(&store, Some(cache.as_ref()).filter(|cache| !cache.rules().is_empty()));
            match tokio::task::spawn_blocking(page).await {
                Ok(Ok(page)) => (StatusCode::OK, page),
                Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }
        (&Method::GET | &Method::HEAD, "/healthz") => {
            // Through the thread by which everything that is pushed has to pass.
            match tokio::time::timeout(PATIENCE, service.store.probe().settled()).await {
                Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
                Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the records are not written\n".to_owned()),
            }
        }
        (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics, health is at /healthz\n".to_owned()),
    };
    let mut response = Response::new(Body::from(text.into_bytes()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
