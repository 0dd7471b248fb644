//! The same requests to our registry and to Debian's docker-registry: where both follow the specification, their answers are the
//! same. What differs on purpose has tests of its own: theirs takes chunks in any order, knows no pages of tags, no referrers and
//! no removal of tags.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::net::SocketAddr;

use registry::{MANIFEST, Registry, Request, Response, digest, manifest};
use testkit::RegistryOptions;

/// Headers that clients go by.
const HEADERS: [&str; 7] = [
    "content-type",
    "content-length",
    "content-range",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "range",
];

struct Both {
    ours: Registry,
    theirs: SocketAddr,
    // Until the end.
    _theirs: (testkit::Registry, testkit::Scratch),
}

/// What a client sees of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    codes: Vec<String>,
    headers: Vec<(&'static str, Option<String>)>,
    /// Without what each registry makes up.
    location: Option<String>,
    body: Option<Vec<u8>>,
}

fn seen(answer: &Response) -> Seen {
    let is_error = answer.status >= 400;
    let codes = match is_error && !answer.body.is_empty() {
        true => answer.json()["errors"].as_array().unwrap().iter().map(|e| e["code"].to_string()).collect(),
        false => Vec::new(),
    };
    let header = |name: &'static str| {
        let value = answer.header(name).map(|value| value.split(';').next().unwrap().to_owned());
        // How an error is worded is nobody's business.
        (name, value.filter(|_| name != "content-length" || !is_error))
    };
    let location = answer.header("location").map(|location| {
        let path = path_of(location);
        path.split_once("/uploads/").map_or(path.clone(), |(before, _)| format!("{before}/uploads/…"))
    });
    let body = (!is_error).then(|| answer.body.clone());
    Seen { status: answer.status, codes, headers: HEADERS.map(header).into(), location, body }
}

fn path_of(location: &str) -> String {
    match location.strip_prefix("http://") {
        Some(rest) => rest[rest.find('/').unwrap()..].to_owned(),
        None => location.to_owned(),
    }
}

impl Both {
    fn start() -> Both {
        let scratch = testkit::Scratch::new();
        let theirs = testkit::Registry::start(&scratch, &RegistryOptions::default());
        let address = theirs.address().parse().unwrap();
        Both { ours: Registry::start(&[]), theirs: address, _theirs: (theirs, scratch) }
    }

    /// Sends a request to both, and has them answer alike; the places where they go on.
    #[track_caller]
    fn same(&self, request: impl Fn(&str) -> Request, places: &[String; 2]) -> [String; 2] {
        let [ours, theirs] =
            [(self.ours.address, &places[0]), (self.theirs, &places[1])].map(|(a, p)| request(p).send(a));
        assert_eq!(seen(&ours), seen(&theirs), "ours {ours:?}\ntheirs {theirs:?}");
        [&ours, &theirs].map(|answer| path_of(answer.header("location").unwrap_or_default()))
    }

    #[track_caller]
    fn ask(&self, request: &Request) -> [String; 2] {
        self.same(|_| request.clone(), &Default::default())
    }

    #[track_caller]
    fn get(&self, path: &str) {
        self.ask(&Request::new("GET", path).header("accept", MANIFEST));
        self.ask(&Request::new("HEAD", path).header("accept", MANIFEST));
    }

    #[track_caller]
    fn begin(&self, repository: &str) -> [String; 2] {
        self.ask(&Request::new("POST", &format!("/v2/{repository}/blobs/uploads/")))
    }
}

fn with_digest(place: &str, name: &str) -> String {
    let separator = if place.contains('?') { '&' } else { '?' };
    format!("{place}{separator}digest={name}")
}

const LAYER: &[u8] = &[7; 1000];

#[test]
fn uploads_are_answered_alike() {
    let both = Both::start();
    let name = digest(LAYER);
    let place = both.begin("a");
    let place = both.same(
        |place| Request::new("PATCH", place).header("content-range", "0-499").body(&LAYER[..500]),
        &place,
    );
    both.same(|place| Request::new("GET", place), &place);
    both.same(|place| Request::new("PUT", &with_digest(place, &name)).body(&LAYER[500..]), &place);
    let place = both.begin("a");
    both.same(|place| Request::new("PUT", &with_digest(place, &name)).body(LAYER), &place);
    both.same(|place| Request::new("PUT", &with_digest(place, &name)).body(LAYER), &place);
    let place = both.begin("a");
    both.same(|place| Request::new("DELETE", place), &place);
    both.same(|place| Request::new("DELETE", place), &place);
    for (from, blob) in [("a", name), ("a", digest(b"none")), ("none", digest(b"none"))] {
        both.ask(&Request::new("POST", &format!("/v2/b/blobs/uploads/?mount={blob}&from={from}")));
    }
}

#[test]
fn blobs_manifests_and_their_absence_are_answered_alike() {
    let both = Both::start();
    let config = b"{}".as_slice();
    for content in [LAYER, config] {
        let place = both.begin("a");
        both.same(|place| Request::new("PUT", &with_digest(place, &digest(content))).body(content), &place);
    }
    let blob = format!("/v2/a/blobs/{}", digest(LAYER));
    both.get(&blob);
    for range in ["bytes=10-19", "bytes=-10", "bytes=990-2000", "bytes=0-"] {
        both.ask(&Request::new("GET", &blob).header("range", range));
    }
    for path in [
        format!("/v2/a/blobs/{}", digest(b"none")),
        format!("/v2/none/blobs/{}", digest(LAYER)),
        "/v2/a/blobs/sha256:zz".to_owned(),
        "/v2/a/manifests/none".to_owned(),
        format!("/v2/a/manifests/{}", digest(b"none")),
        "/v2/none/manifests/none".to_owned(),
        "/v2/none/tags/list".to_owned(),
        "/v2/".to_owned(),
    ] {
        both.ask(&Request::new("GET", &path));
    }
    let text = manifest(config, &[LAYER], "");
    let put = |path: &str, text: &str, kind: &str| {
        both.ask(&Request::new("PUT", path).header("content-type", kind).body(text.as_bytes()));
    };
    let by_digest = format!("/v2/a/manifests/{}", digest(text.as_bytes()));
    put("/v2/c/manifests/v1", &text, MANIFEST);
    put("/v2/a/manifests/v1", &text, MANIFEST);
    put(&by_digest, &text, MANIFEST);
    put(&format!("/v2/a/manifests/{}", digest(b"none")), &text, MANIFEST);
    put("/v2/a/manifests/v2", "{nope", MANIFEST);
    put("/v2/a/manifests/v2", &text, "text/plain");
    for path in ["/v2/a/manifests/v1", &by_digest] {
        both.get(path);
    }
    for path in [format!("/v2/a/blobs/{}", digest(b"none")), by_digest.clone(), by_digest] {
        both.ask(&Request::new("DELETE", &path));
    }
    both.ask(&Request::new("GET", "/v2/a/manifests/v1"));
}
