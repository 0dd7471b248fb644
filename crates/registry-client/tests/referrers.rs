//! What refers to a manifest: listed by the registry, or kept under a tag where it lists nothing, as Debian's does not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{plain, reference, settings, told};
use oci::{Descriptor, Digest, MediaType};
use registry_client::{Client, Repository};
use serde_json::json;
use testkit::{Peer, Reply, Scratch, Seen, registry};

fn target(scratch: &Scratch, address: &str) -> Repository {
    Client::new(settings(scratch, &plain(address), "{}")).target(&reference("registry.test/a")).unwrap()
}

/// An artifact about `subject`.
fn artifact(config: &Descriptor, subject: &Descriptor, kind: &str, number: u32) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "artifactType": kind, "config": config,
        "layers": [config], "subject": subject, "annotations": {"number": number.to_string()}})
    .to_string()
    .into_bytes()
}

#[test]
fn a_list_is_kept_under_a_tag_where_the_registry_keeps_none() {
    let (registry, scratch) = registry();
    let repository = target(&scratch, &registry.address());
    let config = repository.put_bytes(&MediaType::OCI_EMPTY, b"{}").unwrap();
    let kind = MediaType::OCI_MANIFEST;
    let image =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [config]}).to_string();
    let image = repository.put_manifest(&reference("registry.test/a:1"), &kind, image.as_bytes()).unwrap();
    let subject = image.descriptor;
    assert_eq!(repository.referrers(&subject.digest, None).unwrap(), []);
    let mut digests = Vec::new();
    for (number, artifact_type) in [(1, "text/one"), (2, "text/two"), (1, "text/one")] {
        let bytes = artifact(&config, &subject, artifact_type, number);
        let name = reference("registry.test/a").with_digest(Digest::of(&bytes));
        digests.push(repository.put_manifest(&name, &kind, &bytes).unwrap().descriptor.digest);
    }
    let all = repository.referrers(&subject.digest, None).unwrap();
    assert_eq!(all.iter().map(|entry| &entry.digest).collect::<Vec<_>>(), [&digests[0], &digests[1]]);
    assert_eq!(all[0].artifact_type, Some("text/one".into()));
    assert_eq!(all[1].annotations["number"], "2");
    let two = repository.referrers(&subject.digest, Some("text/two")).unwrap();
    assert_eq!(two.len(), 1);
    let tag = reference(&format!("registry.test/a:sha256-{}", subject.digest.encoded()));
    assert_eq!(repository.manifest(&tag).unwrap().descriptor.media_type, MediaType::OCI_INDEX);
    // What stands there and is no list is not overwritten.
    let other = Descriptor::of(kind.clone(), b"another");
    let tag = reference(&format!("registry.test/a:sha256-{}", other.digest.encoded()));
    let bytes = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).to_string();
    repository.put_manifest(&tag, &kind, bytes.as_bytes()).unwrap();
    let bytes = artifact(&config, &other, "text/one", 3);
    let name = reference("registry.test/a").with_digest(Digest::of(&bytes));
    let error = told(&repository.put_manifest(&name, &kind, &bytes).unwrap_err());
    assert!(error.contains("a list of what refers to a manifest"), "{error}");
}

#[test]
fn pages_are_followed_and_filtered_here_too() {
    let entry = |kind: &str| {
        let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, kind.as_bytes());
        entry.artifact_type = Some(kind.into());
        entry
    };
    let page = |kinds: &[&str]| {
        let entries: Vec<_> = kinds.iter().map(|kind| entry(kind)).collect();
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
        Reply::new(200, index.to_string()).with("Content-Type", MediaType::OCI_INDEX)
    };
    let (first, second) = (page(&["a", "b"]), page(&["c", "a"]));
    let peer = Peer::serve(move |seen: &Seen| match seen.path.contains("last=") {
        false => first.clone().with("Link", "<?last=1>; rel=\"next\""),
        true => second.clone(),
    });
    let scratch = Scratch::new();
    let repository = target(&scratch, &peer.address());
    assert_eq!(repository.referrers(&Digest::of(b"x"), None).unwrap().len(), 4);
    assert_eq!(repository.referrers(&Digest::of(b"x"), Some("a")).unwrap(), [entry("a"), entry("a")]);
    // A registry that is told of the subject keeps the list itself.
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, b"subject");
    let digest = subject.digest.to_string();
    let peer = Peer::serve(move |_| Reply::new(201, "").with("OCI-Subject", &digest));
    let repository = target(&scratch, &peer.address());
    let bytes = artifact(&Descriptor::of(MediaType::OCI_EMPTY, b"{}"), &subject, "a", 1);
    let put =
        repository.put_manifest(&reference("registry.test/a:1"), &MediaType::OCI_MANIFEST, &bytes).unwrap();
    assert_eq!((put.subject, peer.seen().len()), (Some(subject.digest), 1));
}

#[test]
fn what_is_removed_goes_from_the_list_under_the_tag() {
    let (registry, scratch) = registry();
    let repository = target(&scratch, &registry.address());
    let config = repository.put_bytes(&MediaType::OCI_EMPTY, b"{}").unwrap();
    let kind = MediaType::OCI_MANIFEST;
    let subject = Descriptor::of(kind.clone(), b"subject");
    let put = |number| {
        let bytes = artifact(&config, &subject, "text/one", number);
        let name = reference("registry.test/a").with_digest(Digest::of(&bytes));
        repository.put_manifest(&name, &kind, &bytes).unwrap().descriptor.digest
    };
    let (one, two) = (put(1), put(2));
    let listed = || -> Vec<Digest> {
        repository.referrers(&subject.digest, None).unwrap().into_iter().map(|entry| entry.digest).collect()
    };
    repository.delete_manifest(&one).unwrap();
    assert_eq!(listed(), std::slice::from_ref(&two));
    // An index may refer to something, too.
    let index =
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [], "subject": subject});
    let name = reference("registry.test/a:index");
    let index = repository.put_manifest(&name, &MediaType::OCI_INDEX, index.to_string().as_bytes()).unwrap();
    assert_eq!(listed(), [two.clone(), index.descriptor.digest.clone()]);
    repository.delete_manifest(&index.descriptor.digest).unwrap();
    repository.delete_manifest(&two).unwrap();
    assert_eq!(listed(), []);
}

#[test]
fn an_entry_that_somebody_else_writes_back_is_removed_again() {
    let kind = MediaType::OCI_MANIFEST;
    let subject = Descriptor::of(kind.clone(), b"subject");
    let gone = artifact(&Descriptor::of(MediaType::OCI_EMPTY, b"{}"), &subject, "a", 1);
    let (digest, other) = (Digest::of(&gone), Descriptor::of(kind.clone(), b"other"));
    let of = |entries: &[Descriptor]| {
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries}).to_string()
    };
    let entry = Descriptor::new(kind.clone(), digest.clone(), gone.len() as u64);
    let (list, theirs) =
        (Arc::new(Mutex::new(of(std::slice::from_ref(&entry)))), of(&[entry, other.clone()]));
    let kept = Arc::clone(&list);
    let answers = |list: String| Reply::new(200, list).with("Content-Type", MediaType::OCI_INDEX);
    let (tag, named) = (format!("/sha256-{}", subject.digest.encoded()), format!("/manifests/{digest}"));
    let writes = AtomicUsize::new(0);
    let peer = Peer::serve(move |seen: &Seen| match seen.method.as_str() {
        "GET" if seen.path.ends_with(&named) => Reply::new(200, gone.clone()).with("Content-Type", &kind),
        "GET" if seen.path.ends_with(&tag) => answers(kept.lock().unwrap().clone()),
        "PUT" if seen.path.ends_with(&tag) => {
            // Whoever adds another one has read the list before.
            let is_first = writes.fetch_add(1, Ordering::SeqCst) == 0;
            let written = String::from_utf8(seen.body.clone()).unwrap();
            *kept.lock().unwrap() = if is_first { theirs.clone() } else { written };
            Reply::new(201, "")
        }
        "DELETE" if seen.path.ends_with(&named) => Reply::new(202, ""),
        _ => Reply::new(404, ""),
    });
    let scratch = Scratch::new();
    let repository = target(&scratch, &peer.address());
    repository.delete_manifest(&digest).unwrap();
    let left: serde_json::Value = serde_json::from_str(&list.lock().unwrap()).unwrap();
    assert_eq!(left["manifests"], json!([other]));
    let place = |what: &str| peer.seen().iter().position(|seen| seen.method == what).unwrap();
    assert!(place("DELETE") < place("PUT"), "the list tells of what is there until it is gone");
}

#[test]
fn a_registry_that_keeps_lists_itself_is_told_of_the_removal_alone() {
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, b"subject");
    let gone = artifact(&Descriptor::of(MediaType::OCI_EMPTY, b"{}"), &subject, "a", 1);
    let digest = Digest::of(&gone);
    let peer = Peer::serve(move |seen: &Seen| match seen.method.as_str() {
        "DELETE" => Reply::new(202, ""),
        "GET" if seen.path.contains("/referrers/") => {
            let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []});
            Reply::new(200, index.to_string()).with("Content-Type", MediaType::OCI_INDEX)
        }
        _ => Reply::new(200, gone.clone()).with("Content-Type", MediaType::OCI_MANIFEST),
    });
    let scratch = Scratch::new();
    target(&scratch, &peer.address()).delete_manifest(&digest).unwrap();
    let asked: Vec<String> = peer.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(asked, ["GET", "GET", "DELETE"]);
}
