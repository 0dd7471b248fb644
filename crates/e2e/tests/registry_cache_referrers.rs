//! A registry that stands in for another one, asked what refers to a manifest.

#![allow(clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use registry::{INDEX, MANIFEST, Registry, Request, Response, digest, manifest};
use serde_json::{Value, json};
use testkit::peer::exchange;
use testkit::{Peer, RegistryOptions, Reply, Scratch};

/// A registry of ours on a way that can be closed.
struct Upstream {
    registry: Registry,
    peer: Peer,
    is_away: Arc<AtomicBool>,
}

impl Upstream {
    fn start() -> Upstream {
        let registry = Registry::start(&[]);
        let is_away = Arc::new(AtomicBool::new(false));
        let (away, address) = (Arc::clone(&is_away), registry.address.to_string());
        let peer = Peer::serve(move |seen| match away.load(Ordering::SeqCst) {
            true => Reply::new(503, ""),
            false => exchange(&address, seen),
        });
        Upstream { registry, peer, is_away }
    }

    fn url(&self) -> String {
        format!("http://{}", self.peer.address())
    }

    /// Puts an artifact about `subject` there; returns its digest.
    fn attach(&self, subject: &str, kind: &str, number: usize) -> String {
        let text = artifact(subject, kind, &number.to_string());
        assert_eq!(self.registry.put_manifest("app", &digest(text.as_bytes()), &text).status, 201);
        digest(text.as_bytes())
    }
}

fn artifact(subject: &str, kind: &str, number: &str) -> String {
    let subject = json!({ "mediaType": MANIFEST, "digest": subject, "size": 1 });
    let more =
        format!(r#","artifactType":"{kind}","subject":{subject},"annotations":{{"number":"{number}"}}"#);
    manifest(b"{}", &[], &more)
}

fn digests(answer: &Response) -> Vec<String> {
    let listed = answer.json()["manifests"].clone();
    listed.as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_refers_to_an_image_is_relayed_and_what_is_here_does_when_upstream_is_away() {
    let upstream = Upstream::start();
    upstream.registry.push("app", b"{}");
    let image = manifest(b"{}", &[], "");
    assert_eq!(upstream.registry.put_manifest("app", "v1", &image).status, 201);
    let image = digest(image.as_bytes());
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let path = format!("/v2/app/referrers/{image}");
    let none = cache.get(&path);
    assert_eq!((none.status, digests(&none)), (200, Vec::new()));
    let mut all: Vec<String> = (0..5)
        .map(|number| upstream.attach(&image, if number < 3 { "text/one" } else { "text/two" }, number))
        .collect();
    let two = all.split_off(3);
    let fresh = cache.get(&path);
    assert_eq!((fresh.header("content-type"), fresh.header("warning")), (Some(INDEX), None));
    assert_eq!(fresh.json(), upstream.registry.get(&path).json(), "every word of it");
    let filtered = cache.get(&format!("{path}?artifactType=text/two"));
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    let mut found = digests(&filtered);
    found.sort();
    let mut want = two.clone();
    want.sort();
    assert_eq!(found, want);
    // In pages, each of which names the next one.
    let (mut next, mut paged, mut pages) = (Some(format!("{path}?n=2&artifactType=text/one")), Vec::new(), 0);
    while let Some(path) = next {
        let page = cache.get(&path);
        paged.extend(digests(&page));
        next = page.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
        pages += 1;
    }
    paged.sort();
    all.sort();
    assert_eq!((pages, &paged), (2, &all));
    // What a client takes of it is checked and kept, as any manifest, and is what there is when upstream is away.
    let kept = cache.get(&format!("/v2/app/manifests/{}", two[0]));
    assert_eq!(digest(&kept.body), two[0]);
    upstream.is_away.store(true, Ordering::SeqCst);
    let stale = cache.get(&path);
    assert_eq!(stale.header("warning"), Some("111 - \"Revalidation Failed\""));
    assert_eq!(digests(&stale), [two[0].as_str()]);
    assert_eq!(stale.json()["manifests"][0]["artifactType"], "text/two");
    let unknown = cache.get(&format!("/v2/app/referrers/{}", digest(b"another")));
    assert_eq!(unknown.status, 502, "nobody knows that nothing refers to it");
    let refused = cache.send(&Request::new("PUT", &path));
    refused.refused(405, "UNSUPPORTED");
}

#[test]
fn a_list_that_upstream_keeps_under_a_tag_is_relayed_as_one() {
    let scratch = Scratch::new();
    let upstream = testkit::Registry::start(&scratch, &RegistryOptions::default());
    let config = upstream.put_blob("app", "application/vnd.oci.empty.v1+json", b"{}");
    let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    let image = upstream.put_manifest("app", "v1", &image);
    let subject = image["digest"].as_str().unwrap();
    let text: Value = serde_json::from_str(&artifact(subject, "text/one", "7")).unwrap();
    let mut entry = upstream.put_manifest("app", "attached", &text);
    entry["artifactType"] = "text/one".into();
    entry["annotations"] = json!({ "number": "7" });
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    upstream.put_manifest("app", &subject.replace(':', "-"), &list);
    let cache = Registry::standing_in_for(&format!("http://{}", upstream.address()), &[]);
    let answer = cache.get(&format!("/v2/app/referrers/{subject}"));
    assert_eq!((answer.status, answer.json()["manifests"].clone()), (200, json!([entry])));
    let none = cache.get(&format!("/v2/app/referrers/{subject}?artifactType=text/two"));
    assert_eq!((none.status, none.json()["manifests"].clone()), (200, json!([])));
}

#[test]
fn an_upstream_that_never_ends_its_list_is_not_followed() {
    // Pages of a megabyte, each of which names one more.
    let page = |number: usize| {
        let entry = json!({ "mediaType": MANIFEST, "digest": digest(&number.to_le_bytes()), "size": 2,
            "annotations": { "filling": "x".repeat(1 << 20) } });
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string()
    };
    let peer = Peer::serve(move |seen| {
        let number = seen.path.rsplit_once("page=").map_or(0, |(_, number)| number.parse().unwrap());
        let path = seen.path.split('?').next().unwrap();
        Reply::new(200, page(number))
            .with("content-type", INDEX)
            .with("link", format!("<{path}?page={}>; rel=\"next\"", number + 1))
    });
    let cache = Registry::standing_in_for(&format!("http://{}", peer.address()), &[]);
    assert_eq!(cache.get(&format!("/v2/app/referrers/{}", digest(b"x"))).status, 502);
    assert!(peer.lines().len() <= 65, "{} pages were read", peer.lines().len());
}
