//! `skiff search`: a registry that searches, one that has a catalog alone, and one that has neither.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use std::sync::atomic::{AtomicUsize, Ordering};

use remote::*;
use serde_json::{Value, json};
use testkit::{Peer, Reply, Skiff, registry};

/// A registry as Docker's of the first version was.
fn searching(hits: Value) -> Peer {
    Peer::serve(move |seen| match seen.path.starts_with("/v1/search?") {
        true => Reply::new(200, json!({"query": "x", "results": hits}).to_string())
            .with("Content-Type", "application/json"),
        false => Reply::new(404, ""),
    })
}

fn hits() -> Value {
    let long = "A description that is much longer than what a table has room for";
    json!([
        {"name": "few", "description": "two\nlines\u{1b}[31m", "star_count": 3, "is_official": false, "is_automated": true},
        {"name": "user/many", "description": long, "star_count": 1200, "is_official": false},
        {"name": "official", "description": "", "star_count": 40, "is_official": true, "is_automated": false},
    ])
}

#[test]
fn what_is_found_is_shown_as_docker_does_most_liked_first() {
    let peer = searching(hits());
    let skiff = Skiff::new();
    let term = format!("{}/some word&n=9", peer.address());
    let lines = ok(&skiff, &["search", &term]);
    let shown: Vec<&str> = lines.lines().map(str::trim_end).collect();
    assert_eq!(
        shown,
        [
            "NAME        DESCRIPTION                                     STARS     OFFICIAL",
            "user/many   A description that is much longer than what …   1200",
            "official                                                    40        [OK]",
            "few         two lines [31m                                  3",
        ]
    );
    assert_eq!(peer.lines(), ["GET /v1/search?q=some%20word%26n%3D9&n=25"]);
    let json = ok(&skiff, &["search", "--no-trunc", "--limit", "2", "--format", "json", &term]);
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["Name"], &first["StarCount"]), (&json!("user/many"), &json!("1200")));
    assert_eq!(first["IsOfficial"], "false");
    assert!(first["Description"].as_str().unwrap().ends_with("room for"));
    assert_eq!(json.lines().count(), 2, "no more than were asked for: {json}");
    assert!(peer.lines()[1].ends_with("&n=2"), "{:?}", peer.lines());
    for (filter, names) in [
        ("stars=40", "user/many official"),
        ("is-official=true", "official"),
        ("is-official=false", "user/many few"),
        ("is-automated=true", "few"),
    ] {
        let said = ok(&skiff, &["search", "-f", filter, "--format", "{{.Name}}", &term]);
        assert_eq!(said.lines().collect::<Vec<_>>().join(" "), names, "{filter}");
    }
    assert_eq!(
        ok(&skiff, &["search", "--format", "{{.Name}}{{.IsOfficial}}", "-f", "stars=41", &term]),
        "user/many\n"
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let peer = searching(hits());
    let skiff = Skiff::new();
    let term = format!("{}/x", peer.address());
    for (arguments, part) in [
        (vec!["search", "--limit", "101", &term], "limit 101 is outside the range of [1, 100]"),
        (vec!["search", "--limit", "-1", &term], "limit -1 is outside the range of [1, 100]"),
        (vec!["search", "-f", "stars=many", &term], "invalid filter 'stars=many'"),
        (vec!["search", "-f", "colour=red", &term], "invalid filter 'colour'"),
        (vec!["search", "-f", "is-official=maybe", &term], "invalid filter 'is-official=maybe'"),
        (vec!["search", "http://host/x"], "should not have a scheme"),
        (vec!["search"], "requires 1 argument"),
    ] {
        let output = run(&skiff, &arguments);
        assert!(output.code != 0 && output.stderr.contains(part), "{arguments:?}: {output:?}");
    }
    assert_eq!(peer.lines(), [""; 0]);
}

#[test]
fn a_registry_without_search_is_asked_for_its_catalog() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    for name in ["team/web:1", "team/webhook:1", "other:1"] {
        put(&registry, name, host(), &hello()[1..]);
    }
    let address = registry.address();
    let output = run(&skiff, &["search", "--format", "{{.Name}}", &format!("{address}/web")]);
    assert_eq!(output.stdout, format!("{address}/team/web\n{address}/team/webhook\n"), "{output:?}");
    assert!(output.stderr.contains("offers no search"), "{output:?}");
    assert_eq!(
        ok(&skiff, &["search", "--limit", "1", "-f", "stars=0", &format!("{address}/web")]).lines().count(),
        2
    );
    assert_eq!(ok(&skiff, &["search", "--format", "{{.Name}}", &format!("{address}/nothing")]), "");
}

#[test]
fn a_registry_with_neither_says_so_and_one_that_fails_says_why() {
    let skiff = Skiff::new();
    let neither = Peer::serve(|_| Reply::new(404, "page not found"));
    let output = run(&skiff, &["search", &format!("{}/x", neither.address())]);
    assert!(output.code == 1 && output.stderr.contains("offers neither search nor a catalog"), "{output:?}");
    let closed = Peer::serve(|_| Reply::new(403, ""));
    let output = run(&skiff, &["search", &format!("{}/x", closed.address())]);
    assert!(output.code == 1 && output.stderr.contains("access is denied"), "{output:?}");
    assert!(closed.lines().iter().all(|line| line.contains("/v1/search")), "{:?}", closed.lines());
    // A page of a web site is no answer; neither is a catalog that never ends.
    let pages = AtomicUsize::new(0);
    let endless = Peer::serve(move |seen| match seen.path.starts_with("/v1/") {
        true => Reply::new(200, "<html>"),
        false => {
            let page = pages.fetch_add(1, Ordering::SeqCst);
            Reply::new(200, "{\"repositories\":[\"a\"]}")
                .with("Link", format!("</v2/_catalog?n=1000&last={page}>; rel=\"next\""))
        }
    });
    let output = run(&skiff, &["search", &format!("{}/x", endless.address())]);
    assert!(output.code == 1 && output.stderr.contains("more than 200 pages"), "{output:?}");
    let large = Peer::serve(|_| Reply::new(200, vec![b' '; 9 << 20]));
    let output = run(&skiff, &["search", &format!("{}/x", large.address())]);
    assert!(output.code == 1 && output.stderr.contains("bytes"), "{output:?}");
}

#[test]
fn docker_hub_is_searched_under_its_own_name_with_the_proxy_of_the_environment() {
    let skiff = Skiff::new();
    let proxy = Peer::serve(|_| Reply::new(403, ""));
    let mut command = skiff.command(&["search", "busybox"]);
    command.env("DOCKER_CONFIG", skiff.folder()).env("HTTPS_PROXY", format!("http://{}", proxy.address()));
    let output = testkit::Output::of(command.output().unwrap());
    assert_eq!(output.code, 1, "{output:?}");
    assert!(proxy.lines().iter().all(|line| line == "CONNECT index.docker.io:443"), "{:?}", proxy.lines());
    assert!(!proxy.lines().is_empty());
}
