//! Builds that share a cache, and what a bad one can do to them.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::path::Path;
use std::sync::Mutex;

use build::Cancel;
use oci::Timestamp;
use registry_client::Client;
use serde_json::Value;
use testkit::Scratch;

use crate::build::world::engine;
use crate::build::{BuildEvent, Vertex};
use crate::info::Built;
use crate::request::{Build, BuildContext, DockerfileSource, Fields};

fn fields(text: &str) -> Fields {
    text.split(',')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

const DOCKERFILE: &str = "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one /a /b\nCOPY c /c\n";

/// Builds; what came of it, and which steps the cache knew.
fn build(base: &Path, context: &Path, from: &[&str], to: &[&str], tags: &[&str]) -> (Built, Vec<String>) {
    let (built, known) = attempt(base, context, from, to, tags);
    (built.unwrap_or_else(|error| panic!("{}", linux::chain(&error))), known)
}

/// The same, which may fail.
fn attempt(
    base: &Path,
    context: &Path,
    from: &[&str],
    to: &[&str],
    tags: &[&str],
) -> (crate::Result<Built>, Vec<String>) {
    let request = Build {
        context: BuildContext::Directory(context.to_owned()),
        dockerfile: DockerfileSource::Text(DOCKERFILE.as_bytes().to_vec()),
        cache_from: from.iter().map(|text| fields(text)).collect(),
        cache_to: to.iter().map(|text| fields(text)).collect(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        outputs: vec![fields(if tags.is_empty() { "type=image" } else { "type=registry" })],
        source_date_epoch: Timestamp::new(1_700_000_000, 0),
        ..Build::default()
    };
    let (names, cached) = (Mutex::new(Vec::<(usize, String)>::new()), Mutex::new(Vec::new()));
    let watch = |event: BuildEvent<'_>| match event {
        BuildEvent::Vertex(Vertex { id, name, .. }) => names.lock().unwrap().push((*id, name.clone())),
        BuildEvent::Cached { id } => cached.lock().unwrap().push(id),
        BuildEvent::Started { .. }
        | BuildEvent::Output { .. }
        | BuildEvent::Progress { .. }
        | BuildEvent::Finished { .. }
        | BuildEvent::Failed { .. }
        | BuildEvent::Warning { .. } => {}
    };
    let client = Client::new(registry_client::Settings::default());
    let built = engine(base).build(&client, &request, &watch, &Cancel::new());
    let names = names.into_inner().unwrap();
    let mut known: Vec<String> = names
        .into_iter()
        .filter(|(id, _)| cached.lock().unwrap().contains(id))
        .map(|(_, name)| name.rsplit(']').next().unwrap_or_default().trim().to_owned())
        .filter(|name| name.starts_with("COPY"))
        .collect();
    known.sort();
    (built, known)
}

fn context(base: &Path) -> std::path::PathBuf {
    context_of(base, "content of ")
}

fn context_of(base: &Path, text: &str) -> std::path::PathBuf {
    let context = base.join("context");
    std::fs::create_dir(&context).unwrap();
    for name in ["a", "c"] {
        std::fs::write(context.join(name), format!("{text}{name}").repeat(5000)).unwrap();
    }
    context
}

/// The blobs of a cache.
fn blobs(cache: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(cache.join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Has the keys of one cache lead to the layers of another that was made by the same steps of other files.
fn merge(cache: &Path, other: &Path) {
    let document = std::cell::RefCell::new(Value::Null);
    craft(other, &|config| *document.borrow_mut() = config.clone());
    for entry in std::fs::read_dir(other.join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, cache.join("blobs/sha256").join(path.file_name().unwrap())).unwrap();
    }
    craft(cache, &|config| config["layers"] = document.borrow()["layers"].clone());
    let index = cache.join("index.json");
    let mut top: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let blobs = cache.join("blobs/sha256");
    let hex = top["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(blobs.join(hex)).unwrap()).unwrap();
    let layers: Vec<Value> =
        document.borrow()["layers"].as_array().unwrap().iter().map(|layer| layer["blob"].clone()).collect();
    manifest["layers"] = layers.into();
    let bytes = manifest.to_string();
    let digest = oci::Digest::of(bytes.as_bytes());
    std::fs::write(blobs.join(digest.encoded()), &bytes).unwrap();
    (top["manifests"][0]["digest"], top["manifests"][0]["size"]) =
        (digest.to_string().into(), bytes.len().into());
    std::fs::write(index, top.to_string()).unwrap();
}

#[test]
fn a_build_elsewhere_uses_what_was_exported() {
    let (first, base) = (Scratch::new(), Scratch::new());
    let context = context(&base);
    let (registry, _folder) = testkit::registry();
    let (local, index) = (base.join("cache"), base.join("index"));
    let reference = format!("{}/cache:1", registry.address());
    let image = format!("{}/app:1", registry.address());
    let to = [
        format!("type=local,dest={},mode=max", local.display()),
        format!("type=local,dest={},mode=max,image-manifest=false,compression=zstd", index.display()),
        format!("type=registry,ref={reference},mode=max"),
        "type=inline".to_owned(),
    ];
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let (built, known) = build(&first, &context, &[], &to, &[&image]);
    assert!(known.is_empty(), "{known:?}");
    for (from, all) in [
        (format!("type=local,src={}", local.display()), true),
        (format!("type=local,src={}", index.display()), true),
        (format!("type=registry,ref={reference}"), true),
        (format!("type=registry,ref={image}"), false),
        ("type=local,src=/nonexistent".to_owned(), false),
    ] {
        let other = Scratch::new();
        let (again, known) = build(&other, &context, &[&from], &[], &[]);
        assert_eq!(again.id(), built.id(), "{from}");
        match all {
            true => assert!(known.len() >= 2, "{from}: {known:?}"),
            false if from.contains("nonexistent") => assert!(known.is_empty(), "{known:?}"),
            false => assert!(known.contains(&"COPY c /c".to_owned()), "{from}: {known:?}"),
        }
        // What others claim is not written down.
        let rows = engine(&other).state().build_records().unwrap();
        if all {
            assert!(rows.len() < 3, "{from}: {}", rows.len());
        }
    }
}

/// Changes the document of a cache in a layout, as one who has made it himself could.
fn craft(layout: &Path, change: &dyn Fn(&mut Value)) {
    let blobs = layout.join("blobs/sha256");
    let put = |value: &Value| {
        let bytes = value.to_string();
        let digest = oci::Digest::of(bytes.as_bytes());
        std::fs::write(blobs.join(digest.encoded()), &bytes).unwrap();
        (digest.to_string(), bytes.len())
    };
    let read = |digest: &Value| -> Value {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&std::fs::read(blobs.join(hex)).unwrap()).unwrap()
    };
    let mut index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let mut manifest = read(&index["manifests"][0]["digest"]);
    let mut config = read(&manifest["config"]["digest"]);
    change(&mut config);
    let (digest, size) = put(&config);
    (manifest["config"]["digest"], manifest["config"]["size"]) = (digest.into(), size.into());
    let (digest, size) = put(&manifest);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = (digest.into(), size.into());
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_bad_cache_costs_its_hits_and_nothing_else() {
    let (first, base) = (Scratch::new(), Scratch::new());
    let context = context(&base);
    let local = base.join("cache");
    let to = format!("type=local,dest={},mode=max", local.display());
    let (built, _) = build(&first, &context, &[], &[&to], &[]);
    let from = format!("type=local,src={}", local.display());
    // A key that leads to another layer is a lie that only its owner can tell; nobody else's builds believe it, nor what was made
    // of it.
    let first_is_last = |config: &mut Value| {
        let count = config["layers"].as_array().unwrap().len();
        for record in config["records"].as_array_mut().unwrap() {
            let layer = record["layer"].as_u64().unwrap();
            record["layer"] = ((layer + 1) % count as u64).into();
        }
    };
    craft(&local, &first_is_last);
    let other = Scratch::new();
    for _ in 0..2 {
        drop(attempt(&other, &context, &[&from], &[], &[]));
    }
    let (honest, _) = build(&other, &context, &[], &[], &[]);
    assert_eq!(honest.id(), built.id(), "nothing of it was written down");
    // Nor what a step has made of a layer that has the right file with another content.
    std::fs::remove_dir_all(&local).unwrap();
    let (evil, poisoned) = (Scratch::new(), Scratch::new());
    let (bad_context, bad_cache) = (context_of(&evil, "evil"), evil.join("cache"));
    build(&evil, &bad_context, &[], &[&format!("type=local,dest={},mode=max", bad_cache.display())], &[]);
    build(&Scratch::new(), &context, &[], &[&to], &[]);
    merge(&local, &bad_cache);
    drop(attempt(&poisoned, &context, &[&from], &[], &[]));
    let (honest, _) = build(&poisoned, &context, &[], &[], &[]);
    assert_eq!(honest.id(), built.id(), "nothing that was made of it was found");
    std::fs::remove_dir_all(&local).unwrap();
    build(&Scratch::new(), &context, &[], &[&to], &[]);
    // Digests and sizes that are not right make a cache that has nothing.
    let wrong = || Value::from(oci::Digest::of(b"x").to_string());
    for (path, value) in [
        ("/layers/0/size", Value::from(10)),
        ("/layers/0/diffId", wrong()),
        ("/layers/0/blob/digest", wrong()),
        ("/layers/0/made", "soon".into()),
        ("/layers/0/made", i64::MAX.into()),
        ("/layers/0/made", i64::MIN.into()),
        ("/records", Value::Null),
    ] {
        std::fs::remove_dir_all(&local).unwrap();
        let fresh = Scratch::new();
        build(&fresh, &context, &[], &[&to], &[]);
        craft(&local, &|config| *config.pointer_mut(path).unwrap() = value.clone());
        let (again, _) = build(&Scratch::new(), &context, &[&from], &[], &[]);
        assert_eq!(again.id(), built.id());
    }
    // So does a layer of the right length with another content.
    std::fs::remove_dir_all(&local).unwrap();
    build(&Scratch::new(), &context, &[], &[&format!("{to},compression=uncompressed")], &[]);
    let mut changed = 0;
    for path in blobs(&local) {
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(10).position(|window| window == b"content of");
        if let Some(at) = at.filter(|_| !bytes.starts_with(b"{")) {
            bytes[at..at + 7].copy_from_slice(b"CONTENT");
            std::fs::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
    let (again, _) = build(&Scratch::new(), &context, &[&from], &[], &[]);
    assert_eq!(again.id(), built.id());
    // And one whose blobs are links, wherever they lead.
    std::fs::remove_dir_all(&local).unwrap();
    build(&Scratch::new(), &context, &[], &[&to], &[]);
    let outside = base.join("outside");
    std::fs::create_dir(&outside).unwrap();
    for path in blobs(&local) {
        let elsewhere = outside.join(path.file_name().unwrap());
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    }
    let (again, known) = build(&Scratch::new(), &context, &[&from], &[], &[]);
    assert!(again.id() == built.id() && known.is_empty());
}

/// The document of a cache in a layout.
fn document(layout: &Path) -> Value {
    let document = std::cell::RefCell::new(Value::Null);
    craft(layout, &|config| *document.borrow_mut() = config.clone());
    document.into_inner()
}

#[test]
fn what_others_claim_is_handed_on_by_those_alone_who_have_used_it() {
    let (first, other, base) = (Scratch::new(), Scratch::new(), Scratch::new());
    let context = context(&base);
    let (crafted, exported) = (base.join("crafted"), base.join("exported"));
    let to = |place: &Path| format!("type=local,dest={},mode=max", place.display());
    let from = format!("type=local,src={}", crafted.display());
    build(&first, &context, &[], &[&to(&crafted)], &[]);
    let lie = oci::Digest::of(b"a key of somebody else's step").to_string();
    craft(&crafted, &|config| {
        let layers = config["layers"].as_array().unwrap().len();
        let records = config["records"].as_array_mut().unwrap();
        records.extend((0..layers).map(|layer| serde_json::json!({ "key": lie, "layer": layer })));
    });
    let has_lie = |place: &Path| document(place).to_string().contains(&lie);
    // Who knows all of it hands on what he knows.
    build(&first, &context, &[&from], &[&to(&exported)], &[]);
    assert!(!has_lie(&exported) && !document(&exported)["records"].as_array().unwrap().is_empty());
    // Who has believed a cache hands on that he did, for whom he is believed by: the whole of it, or it would be of no use.
    std::fs::remove_dir_all(&exported).unwrap();
    build(&other, &context, &[&from], &[&to(&exported)], &[]);
    let keys = |place: &Path| -> std::collections::BTreeSet<String> {
        let document = document(place);
        let records = document["records"].as_array().unwrap();
        records.iter().map(|record| record["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&exported), keys(&crafted));
    // And it is written down nowhere.
    assert_eq!(engine(&other).state().build_records().unwrap().len(), 0);
}

#[test]
fn a_cache_that_is_too_long_or_leads_to_itself_has_nothing() {
    let (first, base) = (Scratch::new(), Scratch::new());
    let context = context(&base);
    let local = base.join("cache");
    let to = format!("type=local,dest={},mode=max", local.display());
    let (built, _) = build(&first, &context, &[], &[&to], &[]);
    let from = format!("type=local,src={}", local.display());
    let is_passed_over = |what: &str| {
        let (again, known) = build(&Scratch::new(), &context, &[&from], &[], &[]);
        assert!(again.id() == built.id() && known.is_empty(), "{what}: {known:?}");
    };
    // Longer than any that is written, though each part of it could be right.
    let key = |number: u64| serde_json::json!({ "key": oci::Digest::of(&number.to_le_bytes()), "layer": 0 });
    let good = document(&local);
    craft(&local, &|config| config["records"] = (0..60_000).map(key).collect());
    is_passed_over("60,000 keys");
    craft(&local, &|config| config["padding"] = "x".repeat(5 << 20).into());
    is_passed_over("5 MiB of one name");
    // Brackets that no reader may follow one by one down its stack.
    craft(&local, &|config| config["records"] = Value::Null);
    let deep = "[".repeat(200_000);
    let blobs = local.join("blobs/sha256");
    put_top(&local, &deep_manifest(&blobs, deep.as_bytes()));
    is_passed_over("brackets without an end");
    // Indexes that lead to each other, as far as digests let them.
    let mut inner = deep_manifest(&blobs, good.to_string().as_bytes());
    for _ in 0..20 {
        let bytes =
            serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner] }).to_string();
        inner = described(&blobs, INDEX, bytes.as_bytes());
    }
    put_top(&local, &inner);
    is_passed_over("twenty indexes in each other");
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts a blob into a layout; what leads to it.
fn described(blobs: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest = oci::Digest::of(bytes);
    std::fs::write(blobs.join(digest.encoded()), bytes).unwrap();
    serde_json::json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

/// A manifest of a cache with this document.
fn deep_manifest(blobs: &Path, document: &[u8]) -> Value {
    let config = described(blobs, super::document::CONFIG, document);
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
    described(blobs, MANIFEST, manifest.to_string().as_bytes())
}

/// Makes something else what a layout leads to.
fn put_top(layout: &Path, entry: &Value) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let annotations = index["manifests"][0]["annotations"].clone();
    let mut entry = entry.clone();
    entry["annotations"] = annotations;
    index["manifests"] = vec![entry].into();
    std::fs::write(path, index.to_string()).unwrap();
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_built() {
    for (flag, text, reason) in [
        ("from", "type=gha", "kept by a service of one company"),
        ("to", "type=s3,bucket=x", "kept by a service of one company"),
        ("to", "type=azblob", "kept by a service of one company"),
        ("to", "type=inline,mode=max", "mode=min"),
        ("from", "type=inline", "type=registry"),
        ("to", "type=local", "dest=…"),
        ("from", "type=local,src=x,digest=y", "no digest"),
        ("to", "type=registry", "ref=…"),
        ("to", "type=registry,ref=a,mode=all", "neither min nor max"),
        ("to", "type=registry,ref=a,nope=1", "there is no option"),
        ("to", "type=memory", "there is no such type"),
    ] {
        let list = vec![fields(text)];
        let request = match flag {
            "from" => Build { cache_from: list, ..Build::default() },
            _ => Build { cache_to: list, ..Build::default() },
        };
        let error = linux::chain(&super::check(&request).unwrap_err());
        assert!(error.contains(reason), "{text}: {error}");
    }
}
