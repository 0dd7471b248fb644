//! A registry that stands in for others: what is said of them is read again, and what is kept of them has its bounds at any time.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use registry::{MANIFEST, Registry, Request, digest, manifest};
use rustix::process::Signal;
use testkit::{Peer, Reply, wait_until};

/// An upstream that has one manifest under every name, with a word of its own, and every blob that is in `blobs`.
fn upstream(word: &str, blobs: &[Vec<u8>]) -> Peer {
    let text = manifest(b"{}", &[], &format!(r#","annotations":{{"word":"{word}"}}"#));
    let blobs = blobs.to_vec();
    Peer::serve(move |seen| {
        let asked = seen.path.rsplit('/').next().unwrap();
        if !seen.path.contains("/blobs/") {
            return Reply::new(200, text.clone())
                .with("content-type", MANIFEST)
                .with("docker-content-digest", digest(text.as_bytes()));
        }
        let found = blobs.iter().find(|blob| digest(blob) == asked);
        found.map_or_else(|| Reply::new(404, "{}"), |blob| Reply::new(200, blob.clone()))
    })
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ seed).collect()
}

fn path(blob: &[u8]) -> String {
    format!("/v2/app/blobs/{}", digest(blob))
}

fn word(cache: &Registry, name: &str) -> String {
    let answer = cache.get(&format!("/v2/{name}/manifests/v1"));
    answer.json()["annotations"]["word"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn whom_it_stands_in_for_is_read_again() {
    let (first, second) = (upstream("first", &[]), upstream("second", &[]));
    let table = |prefix: &str, peer: &Peer| {
        format!("[[proxy.upstream]]\nprefix = \"{prefix}\"\nremoteurl = \"http://{}\"\n", peer.address())
    };
    let believed = "[proxy]\ntag-ttl = \"24h\"\n";
    let cache = Registry::configured(format!("{believed}{}", table("one", &first)), &[]);
    let write = |text: String| std::fs::write(cache.skiff.folder().join("registry.toml"), text).unwrap();
    assert_eq!(word(&cache, "one/app"), "first");
    assert_eq!(cache.get("/v2/two/app/manifests/v1").status, 404);
    // One more; what is known of the first stays.
    write(format!("{believed}{}{}", table("one", &first), table("two", &second)));
    wait_until("the second is known", || word(&cache, "two/app") == "second");
    assert_eq!(
        (word(&cache, "one/app"), first.lines().len()),
        ("first".to_owned(), 1),
        "its tag is believed"
    );
    // They change places: nothing is believed of the one that was known of the other.
    write(format!("{believed}{}{}", table("two", &first), table("one", &second)));
    wait_until("they have changed", || word(&cache, "one/app") == "second");
    assert_eq!(word(&cache, "two/app"), "first");
    // What makes no sense, and a file without its table, change nothing.
    for (text, why) in [
        ("[proxy]\nttl = \"soon\"\n".to_owned(), "want a duration"),
        (String::new(), "[proxy] is gone"),
        (table("one", &first).repeat(2), "two upstreams with one prefix"),
    ] {
        write(text);
        wait_until("it is refused", || {
            cache.get("/v2/");
            cache.log().contains(why)
        });
        assert_eq!((word(&cache, "one/app"), word(&cache, "two/app")), ("second".into(), "first".into()));
    }
    // Told so by a signal, and with none left: the repositories are its own.
    write("[proxy]\n".to_owned());
    cache.signal(Signal::HUP);
    wait_until("they are its own", || {
        cache.send(&Request::new("POST", "/v2/one/app/blobs/uploads/")).status == 202
    });
}

#[test]
fn whom_an_upstream_is_proved_by_is_read_again() {
    let made = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (right, wrong) = (made(), made());
    let upstream = Registry::prepared(|skiff| {
        std::fs::write(skiff.folder().join("cert.pem"), right.cert.pem()).unwrap();
        std::fs::write(skiff.folder().join("key.pem"), right.signing_key.serialize_pem()).unwrap();
        ["--tls-cert", "cert.pem", "--tls-key", "key.pem"].map(str::to_owned).to_vec()
    });
    let cache = Registry::prepared(|skiff| {
        let config = format!("[proxy]\nremoteurl = \"https://{}\"\nca = \"ca.pem\"\n", upstream.address);
        std::fs::write(skiff.folder().join("registry.toml"), config).unwrap();
        std::fs::write(skiff.folder().join("ca.pem"), wrong.cert.pem()).unwrap();
        vec!["--config".to_owned(), "registry.toml".to_owned()]
    });
    let status = || cache.get("/v2/app/manifests/v1").status;
    assert_eq!(status(), 502);
    let write = |text: &str| std::fs::write(cache.skiff.folder().join("ca.pem"), text).unwrap();
    write("half a certificate");
    wait_until("it is refused", || {
        cache.get("/v2/");
        cache.log().contains("no certificate in PEM")
    });
    write(&right.cert.pem());
    wait_until("upstream is believed, and has no such manifest", || status() == 404);
    // It has a connection open to the upstream that it knew until now.
    let before = cache.log().matches("what is stood in for read again").count();
    write(&format!("{}{}", right.cert.pem(), wrong.cert.pem()));
    wait_until("one more is believed", || {
        assert_eq!(status(), 404);
        cache.log().matches("what is stood in for read again").count() > before
    });
    assert_eq!(status(), 404);
    assert!(!cache.log().contains("panicked"), "{}", cache.log());
    // Where it holds none from the beginning, nobody has to find out by its failures.
    write("none");
    let path = cache.skiff.folder().join("registry.toml");
    let other = testkit::Skiff::new();
    let serve = ["registry", "serve", "--addr", "127.0.0.1:0", "--config", path.to_str().unwrap()];
    let done = other.run(&serve);
    assert!(done.code != 0 && done.stderr.contains("no certificate in PEM"), "{done:?}");
}

#[test]
fn what_is_kept_has_its_bound_between_collections_too() {
    let blobs: Vec<Vec<u8>> = (1..=5).map(|seed| noise(seed, 100_000)).collect();
    let peer = upstream("any", &blobs);
    let config =
        |most: u32| format!("[proxy]\nremoteurl = \"http://{}\"\nmax-bytes = {most}\n", peer.address());
    // Nothing is collected within the test.
    let mut cache = Registry::configured(config(250_000), &["--collect-every", "24h"]);
    let bytes = |cache: &Registry| cache.files("blobs") * 100_000;
    for blob in &blobs {
        assert_eq!(cache.get(&path(blob)).body, *blob);
        wait_until("there is room for it", || bytes(&cache) <= 250_000);
    }
    let before = peer.lines().len();
    assert_eq!(cache.get(&path(&blobs[4])).body, blobs[4]);
    assert_eq!(peer.lines().len(), before, "the last one is there");
    // A smaller bound, for what an earlier server has fetched.
    std::fs::write(cache.skiff.folder().join("registry.toml"), config(150_000)).unwrap();
    cache.kill_and_restart();
    wait_until("there is less room", || bytes(&cache) == 100_000);
}

#[test]
fn what_makes_room_is_read_to_its_end_by_who_has_begun() {
    // Larger than all buffers on the way.
    let (large, small) = (noise(1, 24_000_000), noise(2, 9_000_000));
    let peer = upstream("any", &[large.clone(), small.clone()]);
    let config = format!("[proxy]\nremoteurl = \"http://{}\"\nmax-bytes = 25_000_000\n", peer.address());
    let cache = Registry::configured(config, &["--collect-every", "24h"]);
    assert!(cache.get(&path(&large)).body == large);
    let mut slow = TcpStream::connect(cache.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(Request::new("GET", &path(&large)).head().as_bytes()).unwrap();
    let mut got = vec![0; 1000];
    slow.read_exact(&mut got).unwrap();
    assert!(cache.get(&path(&small)).body == small);
    wait_until("the large one has made room", || cache.files("blobs") == 1);
    slow.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&large), "cut at {}", got.len());
}
