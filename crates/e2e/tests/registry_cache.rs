//! A registry that stands in for another one: what is asked for is fetched once, checked, kept, and served when the other one is
//! away; also by other people's clients.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod oci;
mod registry;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use oci::dockerd::Dockerd;
use oci::{Done, require, run};
use registry::{MANIFEST, Registry, Request, digest};
use serde_json::{Value, json};
use testkit::peer::exchange;
use testkit::{Peer, RegistryOptions, Reply, Scratch, wait_until};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Debian's registry, and what asks it: every request is counted on its way.
struct Upstream {
    peer: Peer,
    /// Dropped when it is to be away; its way stays.
    registry: Arc<Mutex<Option<testkit::Registry>>>,
    _scratch: Scratch,
}

impl Upstream {
    fn start() -> Upstream {
        let scratch = Scratch::new();
        let registry = testkit::Registry::start(&scratch, &RegistryOptions::default());
        let registry = Arc::new(Mutex::new(Some(registry)));
        let behind = Arc::clone(&registry);
        let peer = Peer::serve(move |seen| {
            let address = behind.lock().unwrap().as_ref().map(testkit::Registry::address);
            address.map_or_else(|| Reply::new(503, ""), |address| exchange(&address, seen))
        });
        Upstream { peer, registry, _scratch: scratch }
    }

    /// Puts an image of one layer there; returns its manifest's digest.
    fn put(&self, repository: &str, tag: &str, layer: &[u8]) -> String {
        let registry = self.registry.lock().unwrap();
        let registry = registry.as_ref().unwrap();
        let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["sh"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(layer)] } })
        .to_string();
        let config = registry.put_blob(repository, CONFIG, config.as_bytes());
        let layer = registry.put_blob(repository, LAYER, layer);
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        registry.put_manifest(repository, tag, &manifest)["digest"].as_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("http://{}", self.peer.address())
    }

    /// What it was asked for since `before` requests.
    fn lines(&self, before: usize) -> Vec<String> {
        self.peer.lines().split_off(before)
    }

    fn count(&self) -> usize {
        self.peer.lines().len()
    }

    fn go_away(&self) {
        *self.registry.lock().unwrap() = None;
    }
}

#[test]
fn what_is_asked_for_is_fetched_once_and_then_served_from_here() {
    let upstream = Upstream::start();
    let layer = b"a layer of upstream's".as_slice();
    let first = upstream.put("team/app", "v1", layer);
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let by_tag = cache.get("/v2/team/app/manifests/v1");
    assert_eq!((by_tag.status, by_tag.header("docker-content-digest")), (200, Some(first.as_str())));
    assert_eq!(by_tag.header("content-type"), Some(MANIFEST));
    assert_eq!(digest(&by_tag.body), first);
    let blob = format!("/v2/team/app/blobs/{}", digest(layer));
    let size = cache.head(&blob);
    assert_eq!((size.status, size.header("content-length")), (200, Some("21")));
    let part = cache.send(&Request::new("GET", &blob).header("range", "bytes=2-6"));
    assert_eq!((part.status, part.body.as_slice()), (206, b"layer".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 2-6/21"));
    wait_until("the blob is kept", || cache.files("blobs") == 1);
    let before = upstream.count();
    assert_eq!(cache.get(&blob).body, layer);
    assert_eq!(cache.get(&format!("/v2/team/app/manifests/{first}")).body, by_tag.body);
    assert_eq!(upstream.lines(before), [""; 0], "content needs nobody to be asked");
    assert_eq!(cache.get("/v2/team/app/manifests/v1").status, 200);
    assert_eq!(upstream.lines(before), ["HEAD /v2/team/app/manifests/v1"], "a tag costs a HEAD");
    let second = upstream.put("team/app", "v1", b"another layer");
    let moved = cache.head("/v2/team/app/manifests/v1");
    assert_eq!(moved.header("docker-content-digest"), Some(second.as_str()));
    assert_eq!(cache.get("/v2/team/app/tags/list").json()["tags"], json!(["v1"]));
    assert_eq!(cache.get(&format!("/v2/team/app/manifests/{first}")).status, 200, "what was fetched stays");
    cache.get("/v2/team/app/manifests/none").refused(404, "MANIFEST_UNKNOWN");
    cache.get(&format!("/v2/team/app/blobs/{}", digest(b"none"))).refused(404, "BLOB_UNKNOWN");
    cache.get("/v2/team/none/tags/list").refused(404, "NAME_UNKNOWN");
    assert_eq!(cache.get(&format!("/v2/team/app/referrers/{first}")).json()["manifests"], json!([]));
    // A blob that another repository has costs no second fetch, but upstream must have it there.
    let before = upstream.count();
    cache.get(&format!("/v2/team/other/blobs/{}", digest(layer))).refused(404, "BLOB_UNKNOWN");
    upstream.put("team/other", "v1", layer);
    assert_eq!(cache.get(&format!("/v2/team/other/blobs/{}", digest(layer))).body, layer);
    assert!(
        upstream.lines(before).iter().all(|line| !line.starts_with("GET")),
        "{:?}",
        upstream.lines(before)
    );
}

#[test]
fn what_is_anothers_is_not_pushed_to_or_deleted_here() {
    let upstream = Upstream::start();
    let config = format!("[[proxy.upstream]]\nprefix = \"mirror\"\nremoteurl = \"{}\"\n", upstream.url());
    let cache = Registry::configured(config, &[]);
    let name = digest(b"x");
    for (method, path) in [
        ("POST", "/v2/mirror/app/blobs/uploads/".to_owned()),
        ("PUT", "/v2/mirror/app/manifests/v1".to_owned()),
        ("DELETE", "/v2/mirror/app/manifests/v1".to_owned()),
        ("DELETE", format!("/v2/mirror/app/blobs/{name}")),
    ] {
        let answer = cache.send(&Request::new(method, &path));
        answer.refused(405, "UNSUPPORTED");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(upstream.count(), 0);
    // Beside it, the registry is one like any.
    cache.push("own/app", b"x");
    assert_eq!(cache.get(&format!("/v2/own/app/blobs/{name}")).body, b"x");
    upstream.put("app", "v1", b"layer");
    assert_eq!(cache.get("/v2/mirror/app/manifests/v1").status, 200);
    assert_eq!(cache.get("/v2/app/manifests/v1").status, 404);
    // As mirrors are asked for the registry that they stand in for.
    let ns = upstream.peer.address();
    let blob = format!("/v2/app/blobs/{}?ns={ns}", digest(b"layer"));
    let answer = cache.get(&blob);
    assert_eq!(
        (answer.body.as_slice(), answer.header("oci-namespace")),
        (b"layer".as_slice(), Some(ns.as_str()))
    );
    // A mirror of one registry is none of another, whose names it might take for the first one's.
    let mirror = Registry::standing_in_for(&upstream.url(), &[]);
    assert_eq!(mirror.get(&format!("/v2/app/manifests/v1?ns={ns}")).status, 200);
    mirror.get("/v2/app/manifests/v1?ns=elsewhere.example").refused(404, "NAME_UNKNOWN");
    cache.send(&Request::new("POST", &format!("/v2/app/blobs/uploads/?ns={ns}"))).refused(405, "UNSUPPORTED");
}

#[test]
fn when_upstream_is_away_what_is_here_is_served_and_said_to_be_stale() {
    let upstream = Upstream::start();
    let layer = b"kept".as_slice();
    let name = upstream.put("app", "v1", layer);
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let fresh = cache.get("/v2/app/manifests/v1");
    assert_eq!((fresh.status, fresh.header("warning")), (200, None));
    assert_eq!(cache.get(&format!("/v2/app/blobs/{}", digest(layer))).body, layer);
    upstream.go_away();
    let stale = cache.get("/v2/app/manifests/v1");
    assert_eq!((stale.status, stale.header("docker-content-digest")), (200, Some(name.as_str())));
    assert_eq!(stale.header("warning"), Some("111 - \"Revalidation Failed\""));
    assert_eq!(cache.get(&format!("/v2/app/blobs/{}", digest(layer))).body, layer);
    let tags = cache.get("/v2/app/tags/list");
    assert_eq!((tags.json()["tags"].clone(), tags.header("warning").is_some()), (json!(["v1"]), true));
    assert_eq!(cache.get("/v2/app/manifests/v2").status, 502);
    assert_eq!(cache.get(&format!("/v2/app/blobs/{}", digest(b"none"))).status, 502);
}

#[test]
fn who_has_something_here_does_not_wait_long_for_an_upstream_that_hangs() {
    let hangs = Arc::new(AtomicBool::new(false));
    let is_stuck = Arc::clone(&hangs);
    let text = registry::manifest(b"{}", &[], "");
    let body = text.clone();
    let peer = Peer::serve(move |_| {
        // Far longer than anybody waits.
        let delay = std::time::Duration::from_secs(if is_stuck.load(Ordering::SeqCst) { 3600 } else { 0 });
        let reply = Reply::new(200, body.clone())
            .with("content-type", MANIFEST)
            .with("docker-content-digest", digest(body.as_bytes()));
        Reply { delay, ..reply }
    });
    let cache = Registry::standing_in_for(&format!("http://{}", peer.address()), &[]);
    assert_eq!(cache.get("/v2/app/manifests/v1").body, text.as_bytes());
    hangs.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let stale = cache.get("/v2/app/manifests/v1");
        assert_eq!((stale.status, stale.header("warning").is_some()), (200, true));
        assert_eq!(stale.body, text.as_bytes());
    }
}

#[test]
fn a_tag_that_upstream_takes_away_does_not_come_back() {
    let is_there = Arc::new(AtomicBool::new(true));
    let there = Arc::clone(&is_there);
    let text = registry::manifest(b"{}", &[], "");
    let body = text.clone();
    let peer = Peer::serve(move |seen| match there.load(Ordering::SeqCst) {
        true => Reply::new(200, body.clone())
            .with("content-type", MANIFEST)
            .with("docker-content-digest", digest(body.as_bytes())),
        false if seen.path.ends_with("/v1") => Reply::new(404, "{}"),
        false => Reply::new(500, ""),
    });
    let cache = Registry::standing_in_for(&format!("http://{}", peer.address()), &[]);
    assert_eq!(cache.get("/v2/app/manifests/v1").body, text.as_bytes());
    is_there.store(false, Ordering::SeqCst);
    cache.get("/v2/app/manifests/v1").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(cache.get("/v2/app/tags/list").json()["tags"], json!([]), "nothing is left to be listed");
}

#[test]
fn nothing_secret_goes_up_or_down() {
    let text = registry::manifest(b"{}", &[], "");
    let body = text.clone();
    let peer = Peer::serve(move |seen| match seen.header("authorization") {
        "" => Reply::new(401, "{}").with("www-authenticate", "Basic realm=\"upstream of caches\""),
        _ if seen.path.ends_with("/refused") => {
            Reply::new(401, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not for cache:upstairs\"}]}")
                .with("www-authenticate", "Basic realm=\"upstream of caches\"")
        }
        _ => Reply::new(200, body.clone())
            .with("content-type", MANIFEST)
            .with("docker-content-digest", digest(body.as_bytes())),
    });
    require("htpasswd", "apache2-utils");
    let cache = Registry::prepared(|skiff| {
        let users = skiff.folder().join("users");
        let done = run(Command::new("htpasswd")
            .arg("-cbB")
            .args(["-C", "5"])
            .arg(users)
            .args(["bob", "downstairs"]));
        assert_eq!(done.code, 0, "{done:?}");
        let config = format!(
            "[auth]\nhtpasswd = \"users\"\nscheme = \"basic\"\n\
             [[auth.rule]]\nusers = [\"bob\"]\nrepositories = [\"app\"]\nactions = [\"pull\"]\n\
             [proxy]\nremoteurl = \"http://{}\"\nusername = \"cache\"\npassword = \"upstairs\"\n",
            peer.address()
        );
        std::fs::write(skiff.folder().join("registry.toml"), config).unwrap();
        vec!["--config".to_owned(), "registry.toml".to_owned()]
    });
    // `bob:downstairs` and `cache:upstairs`.
    let (down, up) = ("Basic Ym9iOmRvd25zdGFpcnM=", "Basic Y2FjaGU6dXBzdGFpcnM=");
    let ask = |path: &str| {
        cache.send(&Request::new("GET", path).header("authorization", down).header("cookie", "session=mine"))
    };
    assert_eq!(ask("/v2/app/manifests/v1").body, text.as_bytes());
    let denied = ask("/v2/app/manifests/refused");
    denied.refused(403, "DENIED");
    cache.get("/v2/app/manifests/v1").refused(401, "UNAUTHORIZED");
    ask("/v2/secret/manifests/v1").refused(403, "DENIED");
    for seen in peer.seen() {
        assert!(["", up].contains(&seen.header("authorization")), "{seen:?}");
        assert!(seen.header("cookie").is_empty() && !seen.path.contains("secret"), "{seen:?}");
    }
    assert!(peer.seen().iter().any(|seen| seen.header("authorization") == up));
    let told = format!("{denied:?} {}", String::from_utf8_lossy(&denied.body));
    for secret in ["upstairs", "Y2FjaGU6", "upstream of caches"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn what_nobody_asks_for_goes_and_can_be_had_again() {
    let upstream = Upstream::start();
    let layers: Vec<Vec<u8>> = (1..=3).map(|number| vec![number; 100_000]).collect();
    for layer in &layers {
        upstream.put("app", &format!("v{}", layer[0]), layer);
    }
    let path = |layer: &[u8]| format!("/v2/app/blobs/{}", digest(layer));
    let collect = ["--collect-every", "50ms", "--grace", "1ms"];
    let config = |rule: &str| format!("[proxy]\nremoteurl = \"{}\"\n{rule}\n", upstream.url());
    let short = Registry::configured(config("ttl = \"1s\""), &collect);
    assert_eq!(short.get("/v2/app/manifests/v1").status, 200);
    assert_eq!(short.get(&path(&layers[0])).body, layers[0]);
    wait_until("what is not asked for is gone", || short.files("blobs") == 0);
    assert_eq!(short.get("/v2/app/manifests/v1").status, 200);
    assert_eq!(short.get(&path(&layers[0])).body, layers[0]);
    let small = Registry::configured(config("max-bytes = 250_000"), &collect);
    for layer in &layers {
        assert_eq!(small.get(&path(layer)).body, *layer);
    }
    wait_until("what was asked for longest ago has made room", || small.files("blobs") == 2);
    let before = upstream.count();
    assert_eq!(small.get(&path(&layers[2])).body, layers[2]);
    assert_eq!(upstream.count(), before, "the last one is there");
}

#[test]
fn monitoring_tells_what_was_here_and_what_was_not() {
    let upstream = Upstream::start();
    upstream.put("app", "v1", b"layer");
    let mut cache = Registry::standing_in_for(&upstream.url(), &["--metrics-addr", "127.0.0.1:0"]);
    let monitor = cache.monitor();
    let blob = format!("/v2/app/blobs/{}", digest(b"layer"));
    assert_eq!(cache.get(&blob).status, 200);
    assert_eq!(cache.get(&blob).status, 200);
    assert_eq!(cache.get("/v2/app/manifests/v1").status, 200);
    upstream.go_away();
    assert_eq!(cache.get("/v2/app/manifests/v1").status, 200);
    let page = Request::new("GET", "/metrics").send(monitor);
    let text = String::from_utf8(page.body).unwrap();
    for line in [
        "skiff_registry_proxy_requests_total{result=\"hit\"} 1",
        "skiff_registry_proxy_requests_total{result=\"miss\"} 2",
        "skiff_registry_proxy_requests_total{result=\"stale\"} 1",
        "skiff_registry_proxy_failures_total 1",
        "skiff_registry_proxy_fetched_bytes_total 5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[track_caller]
fn fine(done: &Done) -> &str {
    assert_eq!(done.code, 0, "{done:?}");
    done.out.trim()
}

/// An image that runs, at upstream.
fn busybox(upstream: &Upstream) {
    upstream.put("team/busybox", "v1", &testkit::busybox_layer(&[]));
}

#[test]
fn skopeo_podman_and_skiff_pull_through_it() {
    for (program, package) in [("skopeo", "skopeo"), ("podman", "podman")] {
        require(program, package);
    }
    let upstream = Upstream::start();
    busybox(&upstream);
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let name = format!("{}/team/busybox:v1", cache.address);
    let skiff = testkit::Skiff::new();
    skiff.ok(&["pull", &name]);
    let before = upstream.count();
    let inspect =
        run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{name}")]));
    let inspected: Value = serde_json::from_str(fine(&inspect)).unwrap();
    assert_eq!(inspected["RepoTags"], json!(["v1"]));
    let lab = oci::Lab::new("cache-podman");
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.args([
            "--root",
            &lab.text("root"),
            "--runroot",
            &lab.text("runroot"),
            "--storage-driver",
            "vfs",
        ]);
        run(command.args(words))
    };
    fine(&podman(&["pull", "--tls-verify=false", &name]));
    fine(&podman(&["rmi", "--all", "--force"]));
    let asked = upstream.lines(before);
    assert!(asked.iter().all(|line| line.starts_with("HEAD") || line.contains("/tags/list")), "{asked:?}");
    // As a mirror, which is told in `?ns=` for whom: the name stays the registry's own.
    let ns = upstream.peer.address();
    let rules = format!(
        "[registry.\"{ns}\".host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        cache.address
    );
    let other = testkit::Skiff::new();
    std::fs::create_dir_all(other.settings()).unwrap();
    std::fs::write(other.settings().join("registries.toml"), rules).unwrap();
    upstream.go_away();
    other.ok(&["pull", &format!("{ns}/team/busybox:v1")]);
}

#[test]
fn docker_pulls_through_it_as_its_mirror() {
    let upstream = Upstream::start();
    upstream.put("library/busybox", "v1", &testkit::busybox_layer(&[]));
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let mirror = format!("--registry-mirror=http://{}", cache.address);
    let docker = Dockerd::start("registry-mirror", |_| vec![mirror]);
    fine(&docker.run(&["pull", "busybox:v1"]));
    assert_eq!(
        fine(&docker.run(&["run", "--rm", "--network=none", "busybox:v1", "sh", "-c", "echo here"])),
        "here"
    );
    fine(&docker.run(&["rmi", "--force", "busybox:v1"]));
    upstream.go_away();
    fine(&docker.run(&["pull", &format!("{}/library/busybox:v1", cache.address)]));
}

#[test]
fn an_upstream_that_makes_no_sense_stops_the_server() {
    let skiff = testkit::Skiff::new();
    for (url, why) in [
        ("registry.example", "want http:// or https://"),
        ("ftp://registry.example", "want http:// or https://"),
        ("https://registry.example/team", "without a path"),
    ] {
        let done = skiff.run(&["registry", "serve", "--addr", "127.0.0.1:0", "--proxy", url]);
        assert!(done.code != 0 && done.stderr.contains(why), "{url}: {done:?}");
    }
}
