//! What a registry may have under a name of an image and `skiff pull` does not take.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use remote::*;
use serde_json::{Value, json};
use testkit::{Peer, Reply, Skiff, peer, registry};

/// A registry that has one document under every name, and no blobs.
fn one_document(kind: &'static str, document: &Value) -> Peer {
    let document = document.to_string();
    Peer::serve(move |seen| match seen.path.contains("/manifests/") {
        true => Reply::new(200, document.clone()).with("Content-Type", kind),
        false => Reply::new(404, ""),
    })
}

#[test]
fn schema_1_is_refused_in_dockers_words() {
    let skiff = Skiff::new();
    let document = json!({"schemaVersion": 1, "name": "old", "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": oci::Digest::of(b"").as_str()}], "history": [{"v1Compatibility": "{}"}]});
    for kind in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        // As by those who do not know what they send.
        "application/json",
    ] {
        let old = one_document(kind, &document);
        let output = run(&skiff, &["pull", &format!("{}/old:1", old.address())]);
        let said = "Docker Image Format v1 and Docker Image manifest version 2, schema 1 are not supported";
        assert!(output.code == 1 && output.stderr.contains(said), "{kind}: {output:?}");
        assert!(old.lines().iter().all(|line| !line.contains("/blobs/")), "{:?}", old.lines());
    }
}

#[test]
fn a_layer_that_lies_elsewhere_is_fetched_from_the_registry_or_not_at_all() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let elsewhere = Peer::serve(|_| Reply::new(200, "never to be asked for"));
    let [layer] = [gzip(&file("hello", b"foreign\n"))];
    let config = json!({"os": "linux", "architecture": host(), "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}});
    let config = config.to_string();
    let kind = "application/vnd.docker.container.image.v1+json";
    let config = registry.put_blob("win", kind, config.as_bytes());
    let mut described = registry.put_blob("win", "application/octet-stream", &layer.bytes);
    described["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    described["urls"] = json!([format!("http://{}/base.tar.gz", elsewhere.address())]);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let document = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [described]});
    // One registry has it all the same; the other does not.
    let digest = described["digest"].as_str().unwrap().to_owned();
    let (address, bytes) = (registry.address(), document.to_string());
    let has_it = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let has = std::sync::Arc::clone(&has_it);
    let front = Peer::serve(move |seen| {
        if seen.path.contains("/manifests/") {
            return Reply::new(200, bytes.clone()).with("Content-Type", kind);
        }
        match seen.path.contains(&digest) && !has.load(std::sync::atomic::Ordering::SeqCst) {
            true => Reply::new(404, ""),
            false => peer::exchange(&address, seen),
        }
    });
    let name = format!("{}/win:1", front.address());
    let output = run(&skiff, &["pull", &name]);
    assert!(output.code == 1 && output.stderr.contains("nothing is fetched from elsewhere"), "{output:?}");
    assert!(output.stderr.contains("/base.tar.gz"), "{output:?}");
    assert_eq!(ok(&skiff, &["images", "-aq"]), "");
    has_it.store(true, std::sync::atomic::Ordering::SeqCst);
    ok(&skiff, &["pull", &name]);
    assert_eq!(elsewhere.lines(), [""; 0]);
}

#[test]
fn an_index_that_leads_everywhere_and_nowhere_ends() {
    let skiff = Skiff::new();
    let index = "application/vnd.oci.image.index.v1+json";
    let platform = json!({"os": "linux", "architecture": host()});
    let listing = |entries: Vec<Value>| json!({"schemaVersion": 2, "mediaType": index, "manifests": entries});
    // Deeper than any honest one.
    let mut document = listing(vec![]).to_string();
    let mut documents = std::collections::BTreeMap::new();
    for _ in 0..8 {
        let digest = oci::Digest::of(document.as_bytes()).to_string();
        let entry =
            json!({"mediaType": index, "digest": digest, "size": document.len(), "platform": platform});
        documents.insert(digest, document.clone());
        document = listing(vec![entry]).to_string();
    }
    let deep = document.clone();
    let front = Peer::serve(move |seen| {
        let name = seen.path.rsplit('/').next().unwrap_or_default();
        let found = documents.get(name).unwrap_or(&deep);
        Reply::new(200, found.clone()).with("Content-Type", index)
    });
    for flags in [&["pull"][..], &["pull", "--all-platforms"]] {
        let output = run(&skiff, &[flags, &[&format!("{}/deep:1", front.address())]].concat());
        assert!(output.code == 1 && output.stderr.contains("deep in each other"), "{output:?}");
    }
    // More images than anybody has platforms for.
    let entries = (0..300).map(|number: u32| {
        let digest = oci::Digest::of(&number.to_le_bytes());
        json!({"mediaType": index, "digest": digest.as_str(), "size": 1, "platform": platform})
    });
    let wide = one_document(index, &listing(entries.collect()));
    let output = run(&skiff, &["pull", "--all-platforms", &format!("{}/wide:1", wide.address())]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        wide.lines().len() < 20,
        "the first that is not what it is named ends it: {}",
        wide.lines().len()
    );
    // Nothing for anybody.
    let none = one_document(index, &listing(vec![]));
    for flags in [&["pull"][..], &["pull", "--all-platforms"]] {
        let output = run(&skiff, &[flags, &[&format!("{}/none:1", none.address())]].concat());
        assert!(output.code == 1 && output.stderr.contains("no matching manifest for"), "{output:?}");
    }
    assert_eq!(ok(&skiff, &["images", "-aq"]), "");
}
