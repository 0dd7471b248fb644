//! Every endpoint and rule of the distribution specification 1.1, request by request: what its conformance programme checks,
//! and what clients rely on beyond it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::io::{Read, Write};
use std::net::TcpStream;

use registry::{INDEX, Registry, Request, Response, digest, manifest};
use testkit::wait_until;

#[test]
fn the_version_is_told_and_other_paths_are_not_there() {
    let registry = Registry::start(&[]);
    for path in ["/v2/", "/v2"] {
        let answer = registry.get(path);
        assert_eq!(
            (answer.status, answer.header("docker-distribution-api-version")),
            (200, Some("registry/2.0"))
        );
    }
    assert_eq!(registry.get("/").status, 404);
    assert_eq!(registry.get("/v2/a").status, 404);
    registry.send(&Request::new("POST", "/v2/")).refused(405, "UNSUPPORTED");
    registry.get("/v2/Upper/tags/list").refused(400, "NAME_INVALID");
    registry.get("/v2/a/manifests/.x").refused(400, "TAG_INVALID");
    registry.get("/v2/a/blobs/sha256:x").refused(400, "DIGEST_INVALID");
}

#[test]
fn a_blob_is_pushed_in_each_way_and_served_byte_for_byte() {
    let registry = Registry::start(&[]);
    let content = b"what was pushed".as_slice();
    let name = digest(content);
    // In one piece after a POST, in one POST, streamed, in chunks with the last one in the PUT.
    registry.push("put", content);
    let done =
        registry.send(&Request::new("POST", &format!("/v2/post/blobs/uploads/?digest={name}")).body(content));
    assert_eq!(
        (done.status, done.header("location")),
        (201, Some(format!("/v2/post/blobs/{name}").as_str()))
    );
    let location = registry.begin("stream");
    let patched = registry.send(&Request::new("PATCH", &location).body(content));
    assert_eq!((patched.status, patched.header("range")), (202, Some("0-14")));
    let location = patched.header("location").unwrap().to_owned();
    let closed =
        registry.send(&Request::new("PUT", &format!("{location}?digest={}", name.replace(':', "%3A"))));
    assert_eq!(closed.status, 201, "{closed:?}");
    let location = registry.begin("chunks");
    let chunk = Request::new("PATCH", &location).header("content-range", "0-4").body(&content[..5]);
    assert_eq!(registry.send(&chunk).status, 202);
    let status = registry.get(&location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let last = Request::new("PUT", &format!("{location}?digest={name}")).header("content-range", "5-14");
    assert_eq!(registry.send(&last.body(&content[5..])).status, 201);
    registry.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    for repository in ["put", "post", "stream", "chunks"] {
        let blob = registry.get(&format!("/v2/{repository}/blobs/{name}"));
        assert_eq!((blob.status, blob.body.as_slice()), (200, content));
        assert_eq!(blob.header("docker-content-digest"), Some(name.as_str()));
        let head = registry.head(&format!("/v2/{repository}/blobs/{name}"));
        assert_eq!((head.status, head.header("content-length")), (200, Some("15")));
    }
    registry.get(&format!("/v2/other/blobs/{name}")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(registry.head(&format!("/v2/other/blobs/{name}")).status, 404);
}

#[test]
fn chunks_come_in_order_or_are_refused_with_what_is_there() {
    let registry = Registry::start(&[]);
    let location = registry.begin("a");
    let chunk = |range: &str, body: &[u8]| {
        registry.send(&Request::new("PATCH", &location).header("content-range", range).body(body))
    };
    let early = chunk("5-9", b"56789");
    early.refused(416, "RANGE_INVALID");
    assert_eq!(early.header("location"), Some(location.as_str()));
    assert_eq!(chunk("0-4", b"01234").status, 202);
    chunk("0-4", b"01234").refused(416, "RANGE_INVALID");
    chunk("nonsense", b"x").refused(416, "RANGE_INVALID");
    chunk("5-7", b"56789").refused(400, "SIZE_INVALID");
    let late = chunk("7-9", b"789");
    assert_eq!((late.status, late.header("range")), (416, Some("0-4")));
    assert_eq!(chunk("5-9", b"56789").header("range"), Some("0-9"));
    let done = registry.send(&Request::new("PUT", &format!("{location}?digest={}", digest(b"0123456789"))));
    assert_eq!(done.status, 201);
}

#[test]
fn what_is_not_what_it_is_called_is_refused() {
    let registry = Registry::start(&[]);
    let wrong = digest(b"something else");
    let location = registry.begin("a");
    registry.send(&Request::new("PUT", &location).body(b"x")).refused(400, "DIGEST_INVALID");
    registry
        .send(&Request::new("PUT", &format!("{location}?digest=x")).body(b"x"))
        .refused(400, "DIGEST_INVALID");
    let mismatch = registry.send(&Request::new("PUT", &format!("{location}?digest={wrong}")).body(b"x"));
    mismatch.refused(400, "DIGEST_INVALID");
    let told = mismatch.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(told.contains(&digest(b"x")), "both are named: {told}");
    registry.get(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.get(&format!("/v2/a/blobs/{wrong}")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(std::fs::read_dir(registry.root().join("uploads")).unwrap().count(), 0);
}

#[test]
fn an_upload_is_its_repositorys_and_can_be_cancelled() {
    let registry = Registry::start(&[]);
    let location = registry.begin("a");
    let elsewhere = location.replace("/v2/a/", "/v2/b/");
    registry.get(&elsewhere).refused(404, "BLOB_UPLOAD_UNKNOWN");
    registry.send(&Request::new("PATCH", &elsewhere).body(b"x")).refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.delete(&location).status, 204);
    registry.delete(&location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(std::fs::read_dir(registry.root().join("uploads")).unwrap().count(), 0);
}

#[test]
fn a_blob_is_mounted_from_where_it_is_and_else_uploaded() {
    let registry = Registry::start(&[]);
    let name = registry.push("a", b"content");
    let mount = |from: &str| {
        registry.send(&Request::new("POST", &format!("/v2/b/blobs/uploads/?mount={name}{from}")))
    };
    for from in ["&from=none", "&from=Bad", "&from="] {
        let fallback = mount(from);
        assert_eq!(fallback.status, 202, "{from}: {fallback:?}");
        assert_eq!(registry.delete(fallback.header("location").unwrap()).status, 204);
    }
    // From where it is named, or from wherever it is.
    for from in ["&from=a", ""] {
        let mounted = mount(from);
        assert_eq!(
            (mounted.status, mounted.header("location")),
            (201, Some(format!("/v2/b/blobs/{name}").as_str()))
        );
        if from == "&from=a" {
            assert_eq!(registry.delete(&format!("/v2/b/blobs/{name}")).status, 202);
        }
    }
    assert_eq!(registry.get(&format!("/v2/b/blobs/{name}")).body, b"content");
    assert_eq!(registry.delete(&format!("/v2/a/blobs/{name}")).status, 202);
    registry.delete(&format!("/v2/a/blobs/{name}")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(registry.get(&format!("/v2/b/blobs/{name}")).body, b"content");
}

#[test]
fn parts_of_blobs_and_what_a_client_has_already() {
    let registry = Registry::start(&[]);
    // Larger than any buffer, and of no period that would hide a shift.
    let content: Vec<u8> =
        (0..1_500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let name = registry.push("a", &content);
    let path = format!("/v2/a/blobs/{name}");
    assert!(registry.get(&path).body == content);
    for (range, start, end) in [("0-0", 0, 1), ("300000-", 300_000, 6_000_000), ("-5", 5_999_995, 6_000_000)]
    {
        let part = registry.send(&Request::new("GET", &path).header("range", &format!("bytes={range}")));
        assert_eq!(part.status, 206);
        assert_eq!(part.header("content-range"), Some(format!("bytes {start}-{}/6000000", end - 1).as_str()));
        assert!(part.body == content[start..end], "{range}");
    }
    let beyond = registry.send(&Request::new("GET", &path).header("range", "bytes=6000000-"));
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */6000000")));
    let whole = registry.send(&Request::new("HEAD", &path).header("range", "bytes=0-0"));
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("6000000")), "only GET has parts");
    let tag = registry.head(&path).header("etag").unwrap().to_owned();
    let again = registry.send(&Request::new("GET", &path).header("if-none-match", &format!("\"x\", {tag}")));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = Request::new("GET", &path).header("range", "bytes=0-0").header("if-range", "\"another\"");
    assert_eq!(registry.send(&other).status, 200);
    let same = Request::new("GET", &path).header("range", "bytes=0-0").header("if-range", &tag);
    assert_eq!(registry.send(&same).status, 206);
}

#[test]
fn manifests_by_tag_and_digest() {
    let registry = Registry::start(&[]);
    registry.push("a", b"{}");
    registry.push("a", b"layer");
    // White space is the publisher's business.
    let text = manifest(b"{}", &[b"layer"], "") + "\n ";
    let name = digest(text.as_bytes());
    let stored = registry.put_manifest("a", "v1", &text);
    assert_eq!(stored.status, 201, "{stored:?}");
    assert_eq!(stored.header("location"), Some(format!("/v2/a/manifests/{name}").as_str()));
    assert_eq!(stored.header("docker-content-digest"), Some(name.as_str()));
    for reference in ["v1", &name] {
        let found = registry.get(&format!("/v2/a/manifests/{reference}"));
        assert_eq!((found.status, found.body.as_slice()), (200, text.as_bytes()));
        assert_eq!(found.header("content-type"), Some(registry::MANIFEST));
        let head = registry.head(&format!("/v2/a/manifests/{reference}"));
        assert_eq!(head.header("content-length"), Some(text.len().to_string().as_str()));
        let tag = head.header("etag").unwrap();
        let path = format!("/v2/a/manifests/{reference}");
        assert_eq!(registry.send(&Request::new("GET", &path).header("if-none-match", tag)).status, 304);
    }
    let tagged = registry.put_manifest("a", &format!("{name}?tag=x&tag=y"), &text);
    let tags: Vec<_> =
        tagged.headers.iter().filter(|(name, _)| name == "oci-tag").map(|(_, tag)| tag.as_str()).collect();
    assert_eq!((tagged.status, tags), (201, vec!["x", "y"]));
    registry.put_manifest("a", &digest(b""), &text).refused(400, "DIGEST_INVALID");
    registry.get("/v2/a/manifests/none").refused(404, "MANIFEST_UNKNOWN");
    registry.get("/v2/b/manifests/v1").refused(404, "MANIFEST_UNKNOWN");
    registry.delete(&format!("/v2/a/blobs/{}", digest(b"layer"))).refused(405, "DENIED");
    assert_eq!(registry.delete("/v2/a/manifests/v1").status, 202);
    registry.get("/v2/a/manifests/v1").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.get(&format!("/v2/a/manifests/{name}")).status, 200, "a tag is but a name");
    assert_eq!(registry.delete(&format!("/v2/a/manifests/{name}")).status, 202);
    registry.get("/v2/a/manifests/x").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.delete(&format!("/v2/a/blobs/{}", digest(b"layer"))).status, 202);
}

#[test]
fn manifests_that_cannot_be_kept_are_refused() {
    let registry = Registry::start(&[]);
    registry.push("a", b"{}");
    let missing = registry.put_manifest("a", "v1", &manifest(b"{}", &[b"one", b"two"], ""));
    missing.refused(400, "MANIFEST_BLOB_UNKNOWN");
    let named: Vec<_> =
        missing.json()["errors"].as_array().unwrap().iter().map(|e| e["detail"]["digest"].clone()).collect();
    assert_eq!(named, [digest(b"one"), digest(b"two")]);
    let text = manifest(b"{}", &[], "");
    registry
        .put_manifest("a", "v1", &text.replace("\"size\":2", "\"size\":3"))
        .refused(400, "MANIFEST_INVALID");
    registry.put_manifest("a", "v1", "{").refused(400, "MANIFEST_INVALID");
    registry
        .put_manifest("a", "v1", &text.replace("\"layers\"", "\"manifests\""))
        .refused(400, "MANIFEST_INVALID");
    let path = "/v2/a/manifests/v1";
    let as_index = Request::new("PUT", path).header("content-type", INDEX).body(text.as_bytes());
    registry.send(&as_index).refused(400, "MANIFEST_INVALID");
    let as_page = Request::new("PUT", path).header("content-type", "text/html").body(text.as_bytes());
    registry.send(&as_page).refused(400, "MANIFEST_INVALID");
    let padding = " ".repeat(4 << 20);
    registry.put_manifest("a", "v1", &(text.clone() + &padding)).refused(413, "SIZE_INVALID");
    let member = format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
        registry::MANIFEST,
        digest(text.as_bytes()),
        text.len()
    );
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{member}]}}"#);
    registry.put_manifest("a", "multi", &index).refused(400, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(registry.put_manifest("a", &digest(text.as_bytes()), &text).status, 201);
    assert_eq!(registry.put_manifest("a", "multi", &index).status, 201);
    let sparse = Registry::start(&["--sparse-indexes"]);
    assert_eq!(sparse.put_manifest("a", "multi", &index).status, 201);
}

#[test]
fn referrers_are_listed_by_kind_and_page() {
    let registry = Registry::start(&[]);
    let subject = digest(b"not pushed yet");
    let empty = registry.get(&format!("/v2/a/referrers/{subject}"));
    assert_eq!((empty.status, empty.header("content-type")), (200, Some(INDEX)));
    assert_eq!(empty.json()["manifests"].as_array().unwrap().len(), 0);
    registry.push("a", b"{}");
    for number in 0..3 {
        let kind = if number == 0 { "a/signature" } else { "a/sbom+json" };
        let about = format!(
            r#","artifactType":"{kind}","subject":{{"mediaType":"{}","digest":"{subject}","size":14}},"annotations":{{"n":"{number}"}}"#,
            registry::MANIFEST
        );
        let stored = registry.put_manifest("a", &format!("t{number}"), &manifest(b"{}", &[], &about));
        assert_eq!(
            (stored.status, stored.header("oci-subject")),
            (201, Some(subject.as_str())),
            "{stored:?}"
        );
    }
    let all = registry.get(&format!("/v2/a/referrers/{subject}"));
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 3);
    let some = registry.get(&format!("/v2/a/referrers/{subject}?artifactType=a/sbom%2Bjson"));
    assert_eq!(some.header("oci-filters-applied"), Some("artifactType"));
    let found = some.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(found.len(), 2);
    assert!(
        found.iter().all(|one| one["artifactType"] == "a/sbom+json" && one["annotations"]["n"].is_string())
    );
    let (mut next, mut count) =
        (Some(format!("/v2/a/referrers/{subject}?n=1&artifactType=a/sbom%2Bjson")), 0);
    while let Some(path) = next {
        let page = registry.get(&path);
        count += page.json()["manifests"].as_array().unwrap().len();
        next = following(&page);
    }
    assert_eq!(count, 2);
    registry.get("/v2/a/referrers/x").refused(400, "DIGEST_INVALID");
    let of_others = registry.get(&format!("/v2/b/referrers/{subject}"));
    assert_eq!(of_others.json()["manifests"].as_array().unwrap().len(), 0);
}

/// The path that a Link header names as next.
fn following(page: &Response) -> Option<String> {
    let link = page.header("link")?;
    let path = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(path.to_owned())
}

#[test]
fn tags_and_repositories_are_listed_page_by_page() {
    let registry = Registry::start(&[]);
    registry.get("/v2/a/tags/list").refused(404, "NAME_UNKNOWN");
    for repository in ["b/c", "a", "z"] {
        registry.push(repository, b"{}");
    }
    let text = manifest(b"{}", &[], "");
    for tag in ["v2", "V1", "latest", "_"] {
        assert_eq!(registry.put_manifest("a", tag, &text).status, 201);
    }
    assert_eq!(registry.put_manifest("b/c", "x", &text).status, 201);
    let all = registry.get("/v2/a/tags/list").json();
    assert_eq!(all, serde_json::json!({ "name": "a", "tags": ["_", "latest", "V1", "v2"] }));
    let (mut next, mut paged) = (Some("/v2/a/tags/list?n=3".to_owned()), Vec::new());
    while let Some(path) = next {
        let page = registry.get(&path);
        paged.extend(
            page.json()["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()),
        );
        next = following(&page);
    }
    assert_eq!(paged, ["_", "latest", "V1", "v2"]);
    assert_eq!(registry.get("/v2/a/tags/list?n=0").json()["tags"], serde_json::json!([]));
    assert_eq!(
        registry.get("/v2/a/tags/list?n=2&last=latest").json()["tags"],
        serde_json::json!(["V1", "v2"])
    );
    registry.get("/v2/a/tags/list?n=-1").refused(400, "PAGINATION_NUMBER_INVALID");
    assert_eq!(registry.get("/v2/z/tags/list").json()["tags"], serde_json::json!([]));
    let first = registry.get("/v2/_catalog?n=1");
    assert_eq!(first.json()["repositories"], serde_json::json!(["a"]));
    assert_eq!(registry.get(&following(&first).unwrap()).json()["repositories"], serde_json::json!(["b/c"]));
}

#[test]
fn a_push_that_is_cut_goes_on_where_it_was_cut_also_after_a_kill() {
    let mut registry = Registry::start(&[]);
    let content: Vec<u8> =
        (0..750_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let location = registry.begin("a");
    let request = Request::new("PATCH", &location).body(&content);
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.write_all(request.head().as_bytes()).unwrap();
    stream.write_all(&content[..1_000_000]).unwrap();
    drop(stream);
    let received = |registry: &Registry| {
        let status = registry.get(&location);
        status.header("range").unwrap().rsplit('-').next().unwrap().parse::<usize>().unwrap() + 1
    };
    wait_until("what was sent before the cut is received", || received(&registry) == 1_000_000);
    registry.kill_and_restart();
    assert_eq!(received(&registry), 1_000_000);
    let rest = Request::new("PATCH", &location)
        .header("content-range", "1000000-2999999")
        .body(&content[1_000_000..]);
    assert_eq!(registry.send(&rest).status, 202);
    registry.kill_and_restart();
    let name = digest(&content);
    assert_eq!(registry.send(&Request::new("PUT", &format!("{location}?digest={name}"))).status, 201);
    registry.kill_and_restart();
    assert!(registry.get(&format!("/v2/a/blobs/{name}")).body == content);
}

#[test]
fn told_to_end_it_answers_what_was_asked_and_takes_no_more() {
    let mut registry = Registry::start(&[]);
    let content = vec![7; 100_000];
    let name = digest(&content);
    let request = Request::new("POST", &format!("/v2/a/blobs/uploads/?digest={name}")).body(&content);
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.write_all(request.head().as_bytes()).unwrap();
    stream.write_all(&content[..50_000]).unwrap();
    wait_until("the upload has begun", || {
        std::fs::read_dir(registry.root().join("uploads")).unwrap().count() == 1
    });
    let pid = rustix::process::Pid::from_child(registry.server());
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("nobody listens", || TcpStream::connect(registry.address).is_err());
    stream.write_all(&content[50_000..]).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 201);
}

#[test]
fn hostile_heads_are_turned_away() {
    let registry = Registry::start(&[]);
    let mut stream = TcpStream::connect(registry.address).unwrap();
    let endless = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    // It may be refused before all of it is sent.
    drop(stream.write_all(endless.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    let seats = Registry::start(&["--uploads-per-client", "1"]);
    let other = seats.begin("a");
    let mut held = Vec::new();
    wait_until("a second upload of the same client has to wait", || {
        // Whoever comes first has the seat: the one that stays there, sooner or later.
        let staying = Request::new("PATCH", &seats.begin("a")).body(&[0; 10]);
        let mut stream = TcpStream::connect(seats.address).unwrap();
        stream.write_all(staying.head().as_bytes()).unwrap();
        stream.write_all(&[0]).unwrap();
        held.push(stream);
        let refused = seats.send(&Request::new("PATCH", &other).body(b"x"));
        refused.status == 429 && refused.header("retry-after").is_some()
    });
}

#[test]
fn monitoring_has_an_address_of_its_own() {
    let mut registry = Registry::start(&["--metrics-addr", "127.0.0.1:0"]);
    let address = registry.monitor();
    let name = registry.push("a", b"content");
    assert_eq!(registry.get(&format!("/v2/a/blobs/{name}")).status, 200);
    let health = Request::new("GET", "/healthz").send(address);
    assert_eq!((health.status, health.body.as_slice()), (200, b"ok\n".as_slice()));
    let page = Request::new("GET", "/metrics").send(address);
    let text = String::from_utf8(page.body).unwrap();
    for line in [
        "skiff_registry_requests_total{method=\"POST\",status=\"2xx\"} 1",
        "skiff_registry_requests_total{method=\"PUT\",status=\"2xx\"} 1",
        "skiff_registry_received_bytes_total 7",
        "skiff_registry_served_bytes_total 7",
        "skiff_registry_blobs 1",
        "skiff_registry_blob_bytes 7",
        "skiff_registry_answer_seconds_count 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert_eq!(registry.get("/metrics").status, 404, "not for those who push and pull");
}
