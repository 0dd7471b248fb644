//! A registry that cuts, delays, lies and refuses: what the client makes of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{blob, content, reference, repository, serve_blob, settings, told};
use oci::{Digest, MediaType};
use registry_client::{Client, Error};
use testkit::{Peer, Reply, Scratch, Seen};

/// A server that answers the first requests by `faults` in turn, and then honestly.
fn faulty(content: &[u8], faults: Vec<fn(Reply) -> Reply>) -> Peer {
    let (content, count) = (content.to_vec(), AtomicUsize::new(0));
    Peer::serve(move |seen: &Seen| {
        let honest = serve_blob(&content, seen.header("range"));
        match faults.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some(fault) => fault(honest),
            None => honest,
        }
    })
}

fn read(peer: &Peer, content: &[u8]) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new();
    let mut reader =
        repository(&scratch, &peer.address()).blob(&blob(content)).map_err(|error| told(&error))?;
    let mut all = Vec::new();
    reader.read_to_end(&mut all).map_err(|error| told(&error)).map(|_| all)
}

#[test]
fn a_blob_goes_on_at_the_byte_after_each_kind_of_cut() {
    let whole = content(300_000);
    let cut: fn(Reply) -> Reply = |reply| reply.cut(100_000);
    let at_once: fn(Reply) -> Reply = |reply| reply.cut(0);
    let slow: fn(Reply) -> Reply = |reply| Reply { delay: Duration::from_secs(2), ..reply };
    let busy: fn(Reply) -> Reply = |_| Reply::new(503, "").with("Retry-After", 1);
    let broken: fn(Reply) -> Reply = |_| Reply::new(500, "");
    for (faults, ranges) in [
        (vec![], vec![""]),
        (vec![cut], vec!["", "bytes=100000-"]),
        (vec![cut, cut], vec!["", "bytes=100000-", "bytes=200000-"]),
        (vec![at_once, cut, broken], vec!["", "", "bytes=100000-", "bytes=100000-"]),
        (vec![slow, cut, busy], vec!["", "", "bytes=100000-", "bytes=100000-"]),
    ] {
        let peer = faulty(&whole, faults);
        assert!(read(&peer, &whole).unwrap() == whole);
        let asked: Vec<String> = peer.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
        assert_eq!(asked, ranges);
    }
}

#[test]
fn a_server_without_ranges_is_read_anew_up_to_where_we_are() {
    let whole = content(200_000);
    for (name, answer) in [
        ("sends all", (|_| 200) as fn(&str) -> u16),
        ("refuses a range", |range| if range.is_empty() { 200 } else { 416 }),
    ] {
        let (served, count) = (whole.clone(), AtomicUsize::new(0));
        let peer = Peer::serve(move |seen| {
            let reply = Reply::new(answer(seen.header("range")), served.clone());
            if count.fetch_add(1, Ordering::SeqCst) == 0 { reply.cut(50_000) } else { reply }
        });
        assert!(read(&peer, &whole).unwrap() == whole, "{name}");
    }
}

#[test]
fn patience_ends() {
    let whole = content(10_000);
    let served = whole.clone();
    let peer = Peer::serve(move |seen| serve_blob(&served, seen.header("range")).cut(0));
    let error = read(&peer, &whole).unwrap_err();
    assert!(error.contains("closed in the middle"), "{error}");
    assert_eq!(peer.seen().len(), 4);
    let peer = Peer::serve(|_| Reply::new(503, "").with("Retry-After", 3600));
    let error = read(&peer, &whole).unwrap_err();
    assert!(error.contains("answers 503"), "{error}");
    assert_eq!(peer.seen().len(), 1, "a wait of an hour is not waited for");
}

#[test]
fn content_that_lies_stops_the_reading_and_names_both_sides() {
    let whole = content(50_000);
    let size = whole.len();
    let mut damaged = whole.clone();
    damaged[40_000] ^= 1;
    let longer = [&whole[..], b"x"].concat();
    let digest = Digest::of(&damaged).to_string();
    let partial = |told: &str| {
        let told = told.to_owned();
        move |seen: &Seen, whole: &[u8]| match seen.header("range") {
            "" => Reply::new(200, whole).cut(1000),
            _ => Reply::new(206, &whole[1000..]).with("Content-Range", &told),
        }
    };
    type Answer = Box<dyn Fn(&Seen, &[u8]) -> Reply + Send + Sync>;
    let cases: Vec<(Answer, Vec<String>)> = vec![
        (
            Box::new(move |_, _| Reply::new(200, damaged.clone())),
            vec![digest, Digest::of(&whole).to_string()],
        ),
        (Box::new(move |_, _| Reply::new(200, longer.clone())), vec!["50001".into(), "50000".into()]),
        (Box::new(|_, whole| Reply::new(200, &whole[1..])), vec!["49999".into(), "50000".into()]),
        (Box::new(partial("bytes 1001-49999/50000")), vec!["1001".into(), "1000".into()]),
        (Box::new(partial("bytes 1000-49999/50001")), vec!["50001".into(), "50000".into()]),
        (Box::new(partial("bytes 1000-60000/*")), vec!["60000".into(), "49999".into()]),
        (Box::new(partial("bytes 500-49999/50000")), vec!["Content-Length".into()]),
        (Box::new(partial("bytes")), vec!["Content-Range".into(), "makes no sense".into()]),
        (Box::new(|_, _| Reply::new(206, "x")), vec!["Content-Range".into()]),
    ];
    for (number, (answer, parts)) in cases.into_iter().enumerate() {
        let served = whole.clone();
        let peer = Peer::serve(move |seen| answer(seen, &served));
        let error = read(&peer, &whole).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "case {number}: {error}");
        assert!(peer.seen().len() <= 2, "case {number}: asked again for what is wrong: {:?}", peer.lines());
    }
    assert_eq!(size, 50_000);
}

#[test]
fn manifests_must_be_what_they_are_named() {
    let config = Digest::of(b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[]}}"#,
        MediaType::OCI_CONFIG,
        kind = MediaType::OCI_MANIFEST
    );
    let digest = Digest::of(manifest.as_bytes());
    let honest = |body: &str| Reply::new(200, body).with("Content-Type", MediaType::OCI_MANIFEST);
    let scratch = Scratch::new();
    let ask = |reply: Reply, name: &str| {
        let peer = Peer::serve(move |_| reply.clone());
        let found =
            repository(&scratch, &peer.address()).manifest(&reference(&format!("registry.test/a{name}")));
        (found.map_err(|error| told(&error)), peer.lines())
    };
    let (found, asked) = ask(honest(&manifest), ":t");
    let found = found.unwrap();
    assert_eq!((found.descriptor.digest, found.bytes), (digest.clone(), manifest.clone().into_bytes()));
    assert_eq!(asked, ["GET /v2/a/manifests/t"]);
    let other = Digest::of(b"other");
    for (reply, name, parts) in [
        (honest(&manifest), format!("@{other}"), vec![other.to_string(), digest.to_string()]),
        (
            honest(&manifest).with("Docker-Content-Digest", &other),
            ":t".into(),
            vec![other.to_string(), digest.to_string()],
        ),
        (
            honest(&manifest).with("Docker-Content-Digest", "x"),
            ":t".into(),
            vec!["Docker-Content-Digest".into()],
        ),
        (honest("{}"), ":t".into(), vec!["/v2/a/manifests/t".into()]),
        (honest("not json"), ":t".into(), vec!["/v2/a/manifests/t".into()]),
        (honest(&" ".repeat(5 << 20)), ":t".into(), vec!["4194304".into()]),
        (
            Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\u001b[31m such"}]}"#),
            ":t".into(),
            vec!["a:t is not found in registry.test".into(), "MANIFEST_UNKNOWN: no[31m such".into()],
        ),
        (Reply::new(418, ""), ":t".into(), vec!["418".into()]),
    ] {
        let error = ask(reply, &name).0.unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part.as_str())), "{error}");
    }
}

#[test]
fn a_limit_on_requests_is_told_with_its_numbers() {
    let peer = Peer::serve(|_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
        Reply::new(429, body).with("Retry-After", 3000).with("RateLimit-Limit", "100;w=21600")
    });
    let scratch = Scratch::new();
    let error = repository(&scratch, &peer.address()).manifest(&reference("registry.test/a")).unwrap_err();
    assert!(matches!(&error, Error::RateLimit { retry_after: Some(3000), .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("TOOMANYREQUESTS: slow down") && text.contains("100;w=21600"), "{text}");
}

#[test]
fn tags_are_read_page_by_page_and_within_bounds() {
    let scratch = Scratch::new();
    let peer = Peer::serve(|seen| match seen.path.as_str() {
        "/v2/a/tags/list?n=1000" => Reply::new(200, r#"{"name":"a","tags":["x","y"]}"#)
            .with("Link", "</v2/a/tags/list?last=y>; rel=\"next\""),
        "/v2/a/tags/list?last=y" => Reply::new(200, r#"{"tags":["z"]}"#).with("Link", "<?last=z>; rel=next"),
        _ => Reply::new(200, r#"{"tags":null}"#),
    });
    assert_eq!(repository(&scratch, &peer.address()).tags().unwrap(), ["x", "y", "z"]);
    for (body, link, part) in [
        (r#"{"tags":["../x"]}"#, "", "../x"),
        (r#"{"tags":["a\nb"]}"#, "", "no tag"),
        (r#"{"tags":["a"]}"#, "<http://evil.test/>; rel=next", "another host"),
        ("[", "", "not what it should be"),
    ] {
        let peer = Peer::serve(move |_| Reply::new(200, body).with("Link", link));
        let error = told(&repository(&scratch, &peer.address()).tags().unwrap_err());
        assert!(error.contains(part), "{error}");
    }
    let count = Arc::new(AtomicUsize::new(0));
    let peer = Peer::serve(move |_| {
        let next = format!("<?last={}>; rel=next", count.fetch_add(1, Ordering::SeqCst));
        Reply::new(200, r#"{"tags":["a"]}"#).with("Link", next)
    });
    let error = repository(&scratch, &peer.address()).tags().unwrap_err();
    assert!(matches!(error, Error::TooMuch { what: "pages", .. }), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_each_failure_is_told() {
    let scratch = Scratch::new();
    let whole = content(5000);
    let served = whole.clone();
    let empty = Peer::serve(|_| Reply::new(404, ""));
    let broken = Peer::serve(|_| Reply::new(500, ""));
    let upstream = Peer::serve(move |_| Reply::new(200, served.clone()));
    let toml = |last: &Peer| {
        format!(
            "[registry.\"registry.test\"]\nserver = \"http://{}\"\n[registry.\"registry.test\".host.\"http://{}\"]\n\
             capabilities = [\"pull\"]\n[registry.\"registry.test\".host.\"http://{}\".header]\nx-own = \"1\"\n",
            last.address(),
            empty.address(),
            empty.address()
        )
    };
    let client = Client::new(settings(&scratch, &toml(&upstream), "{}"));
    let repository = client.repository(&reference("registry.test/a")).unwrap();
    let mut all = Vec::new();
    repository.blob(&blob(&whole)).unwrap().read_to_end(&mut all).unwrap();
    assert!(all == whole);
    let (mirror, server) = (empty.seen(), upstream.seen());
    assert!(mirror[0].path.ends_with("?ns=registry.test") && mirror[0].header("x-own") == "1", "{mirror:?}");
    assert!(!server[0].path.contains("ns=") && server[0].header("x-own").is_empty(), "{server:?}");
    // A mirror that may not resolve is not asked for tags.
    drop(repository.tags());
    assert_eq!(empty.seen().len(), 1);
    let client = Client::new(settings(&scratch, &toml(&broken), "{}"));
    let error = client.repository(&reference("registry.test/a")).unwrap().blob(&blob(&whole)).unwrap_err();
    let text = told(&error);
    assert!(
        text.contains(&empty.address()) && text.contains("not found") && text.contains("answers 500"),
        "{text}"
    );
}

#[test]
fn a_busy_registry_without_tls_on_this_host_is_waited_for() {
    let count = AtomicUsize::new(0);
    let peer = Peer::serve(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        1 | 2 => Reply::new(503, ""),
        _ => Reply::new(200, r#"{"tags":["t"]}"#),
    });
    let client =
        Client::new(registry_client::Settings { patience: common::patience(), ..Default::default() });
    let repository = client.repository(&reference(&format!("{}/a", peer.address()))).unwrap();
    for _ in 0..2 {
        assert_eq!(repository.tags().unwrap(), ["t"]);
    }
    assert_eq!(peer.seen().len(), 4);
}
