//! What is pushed arrives, over lines that break too: against Debian's `docker-registry` and a server that misbehaves.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{blob, content, credentials, plain, reference, settings, told};
use oci::{Descriptor, Digest, MediaType};
use registry_client::{Client, Error, Repository};
use testkit::{Cutter, Peer, Registry, RegistryOptions, Reply, Scratch, Seen, registry};

/// Opens content that is in memory, and counts how often.
fn opens(content: &[u8], count: &Arc<AtomicUsize>) -> impl Fn(u64) -> io::Result<Box<dyn Read + Send>> {
    let (content, count) = (Arc::<[u8]>::from(content), Arc::clone(count));
    move |at| {
        count.fetch_add(1, Ordering::SeqCst);
        let mut open = Cursor::new(Arc::clone(&content));
        open.set_position(at);
        Ok(Box::new(open))
    }
}

fn target(scratch: &Scratch, address: &str) -> Repository {
    Client::new(settings(scratch, &plain(address), "{}")).target(&reference("registry.test/a")).unwrap()
}

fn put(repository: &Repository, content: &[u8]) -> Result<(), Error> {
    repository.put_blob(&blob(content), &opens(content, &Arc::default()))
}

fn read(repository: &Repository, descriptor: &Descriptor) -> Vec<u8> {
    let mut all = Vec::new();
    repository.blob(descriptor).unwrap().read_to_end(&mut all).unwrap();
    all
}

/// An empty config and one layer.
fn manifest(config: &Descriptor, layer: &Descriptor) -> Vec<u8> {
    let kind = MediaType::OCI_MANIFEST;
    serde_json::json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]})
        .to_string()
        .into_bytes()
}

#[test]
fn an_image_is_pushed_mounted_and_removed() {
    let (registry, scratch) = registry();
    let repository = target(&scratch, &registry.address());
    let layer = content(3 << 20);
    let described = blob(&layer);
    assert!(!repository.has_blob(&described).unwrap());
    put(&repository, &layer).unwrap();
    assert!(repository.has_blob(&described).unwrap() && read(&repository, &described) == layer);
    // What is empty, what is small, and what nobody knows the size of.
    put(&repository, b"").unwrap();
    let config = repository.put_bytes(&MediaType::OCI_CONFIG, b"{}").unwrap();
    let unknown = content(2 << 20);
    let named = repository.put_new_blob(&opens(&unknown, &Arc::default())).unwrap();
    assert_eq!(named, (Digest::of(&unknown), 2 << 20));
    assert!(read(&repository, &blob(&unknown)) == unknown);

    let bytes = manifest(&config, &described);
    for tag in ["one", "two"] {
        let name = reference(&format!("registry.test/a:{tag}"));
        let put = repository.put_manifest(&name, &MediaType::OCI_MANIFEST, &bytes).unwrap();
        assert_eq!(put.descriptor, Descriptor::of(MediaType::OCI_MANIFEST, &bytes));
        assert_eq!(repository.manifest(&name).unwrap().bytes, bytes);
    }
    let other = reference("registry.test/a").with_digest(Digest::of(b"other"));
    let refused = repository.put_manifest(&other, &MediaType::OCI_MANIFEST, &bytes).unwrap_err();
    assert!(matches!(refused, Error::Mismatch { what: "digest", .. }), "{refused}");

    let client = Client::new(settings(&scratch, &plain(&registry.address()), "{}"));
    let second = client.target(&reference("registry.test/b/c")).unwrap();
    assert!(second.mount_blob(&described.digest, "a").unwrap());
    assert!(read(&second, &described) == layer);
    assert!(!second.mount_blob(&Digest::of(b"missing"), "a").unwrap());

    // A tag goes alone; a manifest goes with its tags.
    repository.delete_tag(&reference("registry.test/a:one")).unwrap();
    let gone = repository.manifest(&reference("registry.test/a:one")).unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
    assert_eq!(repository.manifest(&reference("registry.test/a:two")).unwrap().bytes, bytes);
    repository.delete_manifest(&Digest::of(&bytes)).unwrap();
    assert!(repository.manifest(&reference("registry.test/a:two")).is_err());
    let again = repository.delete_manifest(&Digest::of(&bytes)).unwrap_err();
    assert!(matches!(again, Error::NotFound { .. }), "{again}");
}

#[test]
fn an_upload_that_is_cut_and_forgotten_by_the_registry_begins_anew() {
    let (registry, scratch) = registry();
    let whole = content(12 << 20);
    for is_known in [true, false] {
        let line = Cutter::new(&registry.address(), &[5 << 20, 4 << 20]);
        let repository = Client::new(settings(&scratch, &plain(&line.address()), "{}"))
            .target(&reference(&format!("registry.test/cut/{is_known}")))
            .unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        if is_known {
            repository.put_blob(&blob(&whole), &opens(&whole, &count)).unwrap();
        } else {
            let named = repository.put_new_blob(&opens(&whole, &count)).unwrap();
            assert_eq!(named, (Digest::of(&whole), whole.len() as u64));
        }
        assert_eq!(line.left(), 0, "nothing was cut");
        assert!(read(&repository, &blob(&whole)) == whole);
    }
}

/// What a server does to an upload, by the number of the request.
fn serve(answer: impl Fn(usize, &Seen) -> Option<Reply> + Send + Sync + 'static) -> Peer {
    let (received, count) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
    Peer::serve(move |seen: &Seen| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let special = answer(number, seen);
        let mut received = received.lock().unwrap();
        let at = |status, length: usize| {
            let reply = Reply::new(status, "").with("Location", "/v2/a/blobs/uploads/u?state=1");
            reply.with("Range", format!("0-{}", length.saturating_sub(1)))
        };
        if let Some(reply) = special {
            return reply;
        }
        match seen.method.as_str() {
            "POST" => {
                received.clear();
                at(202, 0)
            }
            "PATCH" => {
                received.extend_from_slice(&seen.body);
                at(202, received.len())
            }
            "GET" => at(204, received.len()),
            "PUT" => {
                received.extend_from_slice(&seen.body);
                Reply::new(201, "").with("Docker-Content-Digest", Digest::of(&received))
            }
            "HEAD" => Reply::new(404, ""),
            _ => Reply::new(204, ""),
        }
    })
}

#[test]
fn what_fails_for_a_moment_is_tried_again_from_where_it_is() {
    let whole = content(2 << 20);
    let busy = || Some(Reply::new(429, "").with("Retry-After", 1));
    type Fault = Box<dyn Fn(usize, &Seen) -> Option<Reply> + Send + Sync>;
    let cases: Vec<(Fault, &[&str])> = vec![
        (
            Box::new(move |number, _| if number == 0 { busy() } else { None }),
            &["POST", "POST", "PATCH", "PUT"],
        ),
        // Nothing was received: it begins anew, and the first one is removed.
        (
            Box::new(|number, _| (number == 1).then(|| Reply::new(500, ""))),
            &["POST", "PATCH", "GET", "DELETE", "POST", "PATCH", "PUT"],
        ),
        // Finished, but nobody heard of it.
        (
            Box::new(|number, seen| match (number, seen.method.as_str()) {
                (2, _) => Some(Reply::new(502, "")),
                (_, "HEAD") => Some(Reply::new(200, "").with("Content-Length", 2 << 20)),
                _ => None,
            }),
            &["POST", "PATCH", "PUT", "HEAD"],
        ),
        // All of it is there, and only the name is missing.
        (
            Box::new(|number, _| (number == 2).then(|| Reply::new(503, ""))),
            &["POST", "PATCH", "PUT", "HEAD", "GET", "PUT"],
        ),
        // The upload is gone.
        (
            Box::new(|number, _| (number == 1).then(|| Reply::new(404, ""))),
            &["POST", "PATCH", "POST", "PATCH", "PUT"],
        ),
        // It is not where we believe.
        (
            Box::new(|number, _| (number == 1).then(|| Reply::new(416, ""))),
            &["POST", "PATCH", "GET", "DELETE", "POST", "PATCH", "PUT"],
        ),
    ];
    for (number, (fault, methods)) in cases.into_iter().enumerate() {
        let scratch = Scratch::new();
        let peer = serve(fault);
        put(&target(&scratch, &peer.address()), &whole)
            .unwrap_or_else(|error| panic!("case {number}: {}", told(&error)));
        let asked: Vec<String> = peer.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(asked, methods, "case {number}");
    }
}

#[test]
fn a_registry_that_keeps_less_than_it_was_sent_is_sent_the_rest() {
    let whole = content(2 << 20);
    let kept = 1_500_000;
    let peer = Peer::serve(move |seen: &Seen| {
        let at = |status, length: usize| {
            Reply::new(status, "").with("Location", "/u").with("Range", format!("0-{}", length - 1))
        };
        match (seen.method.as_str(), seen.header("content-range")) {
            ("POST", _) => Reply::new(202, "").with("Location", "/u"),
            ("PATCH", "0-2097151") => at(202, kept),
            ("PATCH", "1500000-2097151") => at(202, 2 << 20),
            ("GET", _) => at(204, kept),
            ("HEAD", _) => Reply::new(404, ""),
            ("PUT", _) => Reply::new(201, ""),
            _ => Reply::new(400, ""),
        }
    });
    let scratch = Scratch::new();
    put(&target(&scratch, &peer.address()), &whole).unwrap();
    let sent: Vec<usize> =
        peer.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.body.len()).collect();
    assert_eq!(sent, [2 << 20, (2 << 20) - kept]);
}

#[test]
fn what_will_never_be_taken_is_given_up_and_told() {
    let whole = content(2 << 20);
    let lie = |header: &'static str, value: String| {
        move |_: usize, seen: &Seen| {
            (seen.method == "PATCH").then(|| Reply::new(202, "").with(header, &value))
        }
    };
    let other = Digest::of(b"other").to_string();
    type Fault = Box<dyn Fn(usize, &Seen) -> Option<Reply> + Send + Sync>;
    let put_lies = other.clone();
    let cases: Vec<(Fault, &str)> = vec![
        (Box::new(|_, seen| (seen.method == "POST").then(|| Reply::new(202, ""))), "Location"),
        (
            Box::new(|_, seen| {
                (seen.method == "POST").then(|| Reply::new(202, "").with("Location", "ftp://x"))
            }),
            "ftp://x",
        ),
        (
            Box::new(|_, seen| {
                let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
                (seen.method == "POST").then(|| Reply::new(403, body))
            }),
            "DENIED: requested access to the resource is denied",
        ),
        (Box::new(|_, seen| (seen.method == "PATCH").then(|| Reply::new(413, ""))), "answers 413"),
        (Box::new(lie("Range", "0-9999999".into())), "10000000 bytes are there, and 2097152 were sent"),
        (Box::new(lie("Range", "all".into())), "makes no sense"),
        (
            Box::new(move |_, seen| {
                (seen.method == "PUT").then(|| Reply::new(201, "").with("Docker-Content-Digest", &put_lies))
            }),
            &other,
        ),
        (
            Box::new(|_, seen| {
                (seen.method == "PUT").then(|| Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#))
            }),
            "DIGEST_INVALID",
        ),
        (Box::new(|_, _| Some(Reply::new(503, ""))), "answers 503"),
    ];
    for (number, (fault, part)) in cases.into_iter().enumerate() {
        let scratch = Scratch::new();
        let peer = serve(fault);
        let error = told(&put(&target(&scratch, &peer.address()), &whole).unwrap_err());
        assert!(error.contains(part), "case {number}: {error}");
        let lines = peer.lines();
        assert!(lines.len() <= 8, "case {number}: {lines:?}");
        // Whatever has begun is removed.
        let begun = lines.iter().any(|line| line.starts_with("PATCH"));
        assert!(!begun || lines.last().unwrap().starts_with("DELETE /"), "case {number}: {lines:?}");
    }
}

#[test]
fn content_that_is_not_what_it_is_named_is_never_finished() {
    let scratch = Scratch::new();
    for size in [100, 2 << 20] {
        let named = content(size);
        let mut damaged = named.clone();
        damaged[50] ^= 1;
        let short = &named[..size - 1];
        for (sent, part) in
            [(&damaged[..], "the digest is"), (short, if size > 1000 { "too soon" } else { "the size is" })]
        {
            let peer = serve(|_, _| None);
            let repository = target(&scratch, &peer.address());
            let error = repository.put_blob(&blob(&named), &opens(sent, &Arc::default())).unwrap_err();
            assert!(told(&error).contains(part), "{}", told(&error));
            let lines = peer.lines();
            assert!(!lines.iter().any(|line| line.starts_with("PUT")), "{lines:?}");
            assert!(lines.last().unwrap().starts_with("DELETE"), "{lines:?}");
        }
    }
    // A source that cannot be read is no fault of the registry's, and asked no second time.
    let peer = serve(|_, _| None);
    let count = AtomicUsize::new(0);
    let broken = |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::other("the disk is gone"))
    };
    let error = target(&scratch, &peer.address()).put_blob(&blob(&content(2 << 20)), &broken).unwrap_err();
    assert!(
        matches!(error, Error::Content { .. }) && told(&error).contains("the disk is gone"),
        "{}",
        told(&error)
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_location_with_another_host_is_sent_the_content_and_no_credential() {
    let whole = content(2 << 20);
    let elsewhere = serve(|_, _| None);
    let there = format!("http://{}/upload?signature=x", elsewhere.address());
    let peer = Peer::serve(move |seen: &Seen| match (seen.method.as_str(), seen.header("authorization")) {
        (_, "") => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        ("POST", _) => Reply::new(202, "").with("Location", &there),
        _ => Reply::new(404, ""),
    });
    let scratch = Scratch::new();
    let toml = format!("{}[registry.\"registry.test\".header]\nx-own = \"secret\"\n", plain(&peer.address()));
    let client = Client::new(settings(&scratch, &toml, &credentials("registry.test", "user", "word")));
    put(&client.target(&reference("registry.test/a")).unwrap(), &whole).unwrap();
    let seen = elsewhere.seen();
    assert!(!seen.is_empty());
    for seen in seen {
        assert!(
            seen.header("authorization").is_empty() && seen.header("x-own").is_empty(),
            "{:?}",
            seen.headers
        );
    }
    assert!(peer.seen().iter().any(|seen| seen.header("x-own") == "secret"));
}

#[test]
fn a_token_is_asked_for_that_may_push_and_read_where_a_blob_is_mounted_from() {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&tokens);
    let giver = Peer::serve(move |seen: &Seen| {
        asked.lock().unwrap().push(seen.path.clone());
        Reply::new(200, r#"{"token":"t"}"#)
    });
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", giver.address());
    let peer = Peer::serve(move |seen: &Seen| match (seen.header("authorization"), seen.method.as_str()) {
        ("", _) => Reply::new(401, "").with("WWW-Authenticate", &challenge),
        (_, "POST") if seen.path.contains("mount=") => Reply::new(201, ""),
        _ => Reply::new(202, ""),
    });
    let scratch = Scratch::new();
    let repository = target(&scratch, &peer.address());
    assert!(repository.mount_blob(&Digest::of(b"x"), "b/c").unwrap());
    repository.delete_manifest(&Digest::of(b"x")).unwrap();
    let tokens = tokens.lock().unwrap().clone();
    assert_eq!(
        tokens,
        [
            "/token?service=s&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%2Fc%3Apull",
            "/token?service=s&scope=repository%3Aa%3Adelete%2Cpull%2Cpush",
        ]
    );
}

#[test]
fn pushes_go_to_the_registry_and_not_to_its_mirrors() {
    let mirror = serve(|_, _| None);
    let upstream = serve(|_, _| None);
    let toml = format!(
        "{}[registry.\"registry.test\".host.\"http://{}\"]\n",
        plain(&upstream.address()),
        mirror.address()
    );
    let scratch = Scratch::new();
    let client = Client::new(settings(&scratch, &toml, "{}"));
    let repository = client.target(&reference("registry.test/a")).unwrap();
    assert!(!repository.has_blob(&blob(b"x")).unwrap());
    put(&repository, b"x").unwrap();
    assert!(mirror.seen().is_empty(), "{:?}", mirror.lines());
    assert_eq!(upstream.seen().len(), 3);
    // Told to take pushes, it is the one that takes all of them.
    let toml = toml + "capabilities = [\"push\"]\n";
    let client = Client::new(settings(&scratch, &toml, "{}"));
    put(&client.target(&reference("registry.test/a")).unwrap(), b"x").unwrap();
    assert_eq!((mirror.seen().len(), upstream.seen().len()), (2, 3));
}

#[test]
fn an_image_is_pushed_with_a_password_over_tls() {
    let (_plain, scratch) = registry();
    let [certificate, key, ca] = common::certificates(&scratch);
    let htpasswd = scratch.join("htpasswd");
    std::fs::write(&htpasswd, "user:$2b$05$abcdefghijklmnopqrstuuWqeDdmk0qhXLYvA33lbC9M700ynI2Oa\n").unwrap();
    let options = RegistryOptions { tls: Some((certificate, key)), htpasswd: Some(htpasswd) };
    let secure = Registry::start(&scratch, &options);
    let toml = format!("[registry.\"{}\"]\nca = {ca:?}\n", secure.address());
    let name = reference(&format!("{}/a", secure.address()));
    let with = |password: &str| {
        Client::new(settings(&scratch, &toml, &credentials(&secure.address(), "user", password)))
            .target(&name)
            .unwrap()
    };
    let whole = content(9 << 20);
    put(&with("se:cret"), &whole).unwrap();
    assert!(read(&with("se:cret"), &blob(&whole)) == whole);
    let denied = put(&with("wrong"), &whole).unwrap_err();
    assert!(matches!(denied, Error::Unauthorized { anonymous: false, .. }), "{denied}");
}

#[test]
fn an_upload_goes_on_at_the_byte_after_each_cut() {
    // What arrives is kept, as the specification wants it; every line breaks in the middle of what it carries.
    let whole = content(3 << 20);
    for is_known in [true, false] {
        let received: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (kept, count) = (Arc::clone(&received), Arc::new(AtomicUsize::new(0)));
        let number = Arc::clone(&count);
        let peer = Peer::serve(move |seen: &Seen| {
            let mut kept = kept.lock().unwrap();
            let at = |status, length: usize| {
                Reply::new(status, "").with("Location", "/u").with("Range", format!("0-{}", length - 1))
            };
            match seen.method.as_str() {
                "POST" => Reply::new(202, "").with("Location", "/u"),
                "PATCH" => {
                    let begins = seen.header("content-range").split('-').next().unwrap_or_default().parse();
                    assert_eq!(begins.unwrap_or(0), kept.len());
                    let is_cut = number.fetch_add(1, Ordering::SeqCst) < 2;
                    let part = if is_cut { &seen.body[..1_000_001] } else { &seen.body[..] };
                    kept.extend_from_slice(part);
                    if is_cut { Reply::new(500, "") } else { at(202, kept.len()) }
                }
                "GET" => at(204, kept.len()),
                "HEAD" => Reply::new(404, ""),
                "PUT" => Reply::new(201, "").with("Docker-Content-Digest", Digest::of(&kept)),
                _ => Reply::new(400, ""),
            }
        });
        let scratch = Scratch::new();
        let repository = target(&scratch, &peer.address());
        let opened = Arc::new(AtomicUsize::new(0));
        let open = opens(&whole, &opened);
        match is_known {
            true => repository.put_blob(&blob(&whole), &open).unwrap(),
            false => assert_eq!(repository.put_new_blob(&open).unwrap().0, Digest::of(&whole)),
        }
        assert!(*received.lock().unwrap() == whole);
        let methods: Vec<String> = peer.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["POST", "PATCH", "GET", "PATCH", "GET", "PATCH", "PUT"]);
    }
}
