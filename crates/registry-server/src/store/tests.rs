//! The invariants of the store, against random histories, concurrent pushes and collections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oci::MediaType;
use proptest::prelude::*;
use testkit::Scratch;

use super::*;

fn repository(name: &str) -> Repository {
    Repository::parse(name).unwrap()
}

fn store(root: &Path) -> Store {
    Store::open(root, Duration::ZERO).unwrap()
}

fn push(store: &Store, name: &str, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    let (_, upload) = store.begin_upload(&repository(name), None).unwrap();
    let mut writer = upload.writer_blocking().unwrap();
    content.chunks(7).for_each(|chunk| writer.append(chunk).unwrap());
    assert_eq!(store.finish(&repository(name), &digest, writer).unwrap(), Finished::Stored);
    digest
}

fn manifest(config: &[u8], layers: &[&[u8]]) -> (Digest, NewManifest) {
    let of = |content: &[u8]| format!(r#"{{"digest":"{}","size":{}}}"#, Digest::of(content), content.len());
    let layers: Vec<String> = layers.iter().map(|layer| of(layer)).collect();
    let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, of(config), layers.join(","));
    let digest = Digest::of(text.as_bytes());
    let parsed = NewManifest::parse(text.into_bytes(), digest.clone(), &MediaType::OCI_MANIFEST).unwrap();
    (digest, parsed)
}

fn put(store: &Store, name: &str, tag: Option<&str>, config: &[u8], layers: &[&[u8]]) -> Stored {
    let tags = tag.map(|tag| Tag::parse(tag).unwrap()).into_iter().collect();
    store.put_manifest(&repository(name), manifest(config, layers).1, tags, false).wait().unwrap()
}

fn read(store: &Store, name: &str, digest: &Digest) -> Option<Vec<u8>> {
    let blob = store.blob(&repository(name), digest).unwrap()?;
    let mut content = Vec::new();
    let mut file = store.open_blob(&blob).unwrap()?;
    std::io::Read::read_to_end(&mut file, &mut content).unwrap();
    assert_eq!(content.len() as u64, blob.size);
    Some(content)
}

/// Every file below the folders of content.
fn files(root: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    list(root.join("blobs")).flat_map(list).chain(list(root.join("uploads"))).collect()
}

/// Time passes, so that nothing counts as made just now.
fn later() {
    std::thread::sleep(Duration::from_millis(5));
}

#[test]
fn a_blob_is_served_from_the_repositories_that_link_it() {
    let root = Scratch::new();
    let store = store(&root);
    let digest = push(&store, "a", b"content");
    assert_eq!(read(&store, "a", &digest).unwrap(), b"content");
    assert_eq!(read(&store, "b", &digest), None);
    let (a, b) = (repository("a"), repository("b"));
    assert!(!store.mount(&a, &b, &digest).wait().unwrap(), "b does not have it");
    assert!(store.mount(&b, &a, &digest).wait().unwrap());
    assert_eq!(store.unlink(&a, &digest).wait().unwrap(), Removed::Yes);
    assert_eq!(store.unlink(&a, &digest).wait().unwrap(), Removed::Absent);
    assert_eq!((read(&store, "a", &digest), read(&store, "b", &digest)), (None, Some(b"content".to_vec())));
}

#[test]
fn the_same_blob_twice_is_one_file() {
    let root = Scratch::new();
    let store = store(&root);
    let digest = push(&store, "a", b"content");
    push(&store, "b", b"content");
    assert_eq!(files(&root).len(), 1);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || push(store, &format!("r{number}"), b"other"));
        }
    });
    assert_eq!(files(&root).len(), 2);
    assert_eq!(read(&store, "r7", &Digest::of(b"other")).unwrap(), b"other");
    assert_eq!(read(&store, "b", &digest).unwrap(), b"content");
}

#[test]
fn content_that_is_something_else_is_refused_and_gone() {
    let root = Scratch::new();
    let store = store(&root);
    let name = repository("a");
    let (id, upload) = store.begin_upload(&name, None).unwrap();
    let mut writer = upload.writer_blocking().unwrap();
    writer.append(b"x").unwrap();
    let found = store.finish(&name, &Digest::of(b"y"), writer).unwrap();
    assert_eq!(found, Finished::Mismatch { found: Digest::of(b"x") });
    assert!(store.find_upload(&name, &id).unwrap().is_none());
    assert!(files(&root).is_empty());
}

#[test]
fn an_upload_goes_on_after_its_server_has_died() {
    let root = Scratch::new();
    let name = repository("a");
    let id = {
        let store = store(&root);
        let (id, upload) = store.begin_upload(&name, None).unwrap();
        upload.writer_blocking().unwrap().append(b"first ").unwrap();
        id
    };
    let store = store(&root);
    assert!(store.find_upload(&repository("b"), &id).unwrap().is_none(), "another repository's");
    let upload = store.find_upload(&name, &id).unwrap().unwrap();
    assert_eq!(upload.length(), 6);
    let mut writer = upload.writer_blocking().unwrap();
    writer.append(b"second").unwrap();
    // By another algorithm than the one that was computed meanwhile.
    let mut hasher = Digest::from_sha512([0; 64]).hasher().unwrap();
    hasher.update(b"first second");
    let digest = hasher.finish();
    assert_eq!(store.finish(&name, &digest, writer).unwrap(), Finished::Stored);
    assert_eq!(read(&store, "a", &digest).unwrap(), b"first second");
}

#[test]
fn old_uploads_are_expired_and_busy_ones_are_not() {
    let root = Scratch::new();
    let store = store(&root);
    let name = repository("a");
    let (old, upload) = store.begin_upload(&name, None).unwrap();
    drop(upload);
    let (_, busy) = store.begin_upload(&name, None).unwrap();
    let writer = busy.writer_blocking().unwrap();
    assert_eq!(store.expire_uploads(Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(store.expire_uploads(Duration::ZERO).unwrap(), 1);
    assert!(store.find_upload(&name, &old).unwrap().is_none());
    assert_eq!(store.finish(&name, &Digest::of(b""), writer).unwrap(), Finished::Stored);
}

#[test]
fn a_root_has_one_server() {
    let root = Scratch::new();
    let first = store(&root);
    assert!(matches!(Store::open(&root, Duration::ZERO), Err(Error::Taken { .. })));
    drop(first);
    store(&root);
}

#[test]
fn a_manifest_needs_what_it_names_and_keeps_it() {
    let root = Scratch::new();
    let store = store(&root);
    let name = repository("a");
    push(&store, "b", b"layer");
    push(&store, "a", b"config");
    assert_eq!(
        put(&store, "a", Some("v1"), b"config", &[b"layer"]),
        Stored::Missing(vec![Digest::of(b"layer")]),
        "of another repository"
    );
    push(&store, "a", b"layer");
    assert_eq!(put(&store, "a", Some("v1"), b"config", &[b"layer"]), Stored::Yes);
    assert_eq!(store.unlink(&name, &Digest::of(b"layer")).wait().unwrap(), Removed::Used);
    later();
    store.collect(Rules { untagged: Some(Duration::ZERO), ..Rules::default() }).unwrap();
    assert_eq!(read(&store, "a", &Digest::of(b"layer")).unwrap(), b"layer");
    let tag = Reference::parse("v1").unwrap();
    assert_eq!(store.remove(&name, &tag).wait().unwrap(), Removed::Yes);
    let (digest, _) = manifest(b"config", &[b"layer"]);
    assert!(
        store.document(&name, &Reference::Digest(digest.clone())).unwrap().is_some(),
        "a tag is but a name"
    );
    assert_eq!(store.remove(&name, &Reference::Digest(digest)).wait().unwrap(), Removed::Yes);
    later();
    store.collect(Rules::default()).unwrap();
    assert!(files(&root).is_empty());
    assert!(store.repositories("", 10).unwrap().is_empty());
}

#[test]
fn a_manifest_that_lies_about_a_size_is_refused() {
    let root = Scratch::new();
    let store = store(&root);
    push(&store, "a", b"config");
    let (_, mut new) = manifest(b"config", &[]);
    new.blobs[0].1 += 1;
    let stored = store.put_manifest(&repository("a"), new, Vec::new(), false).wait().unwrap();
    assert_eq!(stored, Stored::Size { digest: Digest::of(b"config"), said: 7, found: 6 });
}

#[test]
fn the_database_itself_refuses_to_remove_what_is_used() {
    let root = Scratch::new();
    let store = store(&root);
    push(&store, "a", b"config");
    assert_eq!(put(&store, "a", None, b"config", &[]), Stored::Yes);
    for statement in ["DELETE FROM link", "DELETE FROM blob", "DELETE FROM repository"] {
        let outcome = store.ledger.change("break it", |records| records.execute(statement, [])).wait();
        assert!(matches!(outcome, Err(Error::Records { .. })), "{statement}");
    }
    store.collect(Rules::default()).unwrap();
    assert_eq!(read(&store, "a", &Digest::of(b"config")).unwrap(), b"config");
}

#[test]
fn what_a_client_was_told_is_kept_for_the_grace_period() {
    let root = Scratch::new();
    let grace = Duration::from_secs(1);
    let store = Store::open(&root, grace).unwrap();
    let digest = push(&store, "a", b"content");
    std::thread::sleep(grace + Duration::from_millis(100));
    // Long since pushed, and just now asked for.
    assert!(store.blob(&repository("a"), &digest).unwrap().is_some());
    assert_eq!(store.collect(Rules::default()).unwrap().links, 0);
    assert!(store.blob(&repository("a"), &digest).unwrap().is_some());
    std::thread::sleep(grace);
    let collected = store.collect(Rules::default()).unwrap();
    assert_eq!((collected.links, collected.blobs, collected.bytes), (1, 1, 7));
    assert!(store.blob(&repository("a"), &digest).unwrap().is_none());
    assert!(files(&root).is_empty());
}

#[test]
fn tags_are_paged_without_regard_to_case() {
    let root = Scratch::new();
    let store = store(&root);
    push(&store, "a", b"c");
    for tag in ["b", "A", "a", "C", "_x", "1"] {
        assert_eq!(put(&store, "a", Some(tag), b"c", &[]), Stored::Yes);
    }
    let all = store.tags(&repository("a"), "", 100).unwrap().unwrap();
    assert_eq!(all, ["1", "_x", "A", "a", "b", "C"]);
    let (mut paged, mut last) = (Vec::new(), String::new());
    while let Some(tag) = store.tags(&repository("a"), &last, 1).unwrap().unwrap().pop() {
        last.clone_from(&tag);
        paged.push(tag);
    }
    assert_eq!(paged, all);
    assert_eq!(store.tags(&repository("none"), "", 1).unwrap(), None);
}

#[test]
fn a_stray_file_of_a_dead_server_is_collected() {
    let root = Scratch::new();
    let digest = push(&store(&root), "a", b"content");
    let stray = root.join("blobs/00").join(format!("{}.0", "0".repeat(64)));
    file::write(&stray, b"left").unwrap();
    later();
    let store = store(&root);
    assert_eq!(store.collect(Rules::default()).unwrap().strays, 1);
    assert!(!stray.exists());
    assert_eq!(
        put(&store, "a", None, b"content", &[]),
        Stored::Missing(vec![digest]),
        "unused, and so collected"
    );
}

#[test]
fn pushes_and_collections_at_once_leave_no_manifest_without_its_blobs() {
    let root = Scratch::new();
    let store = store(&root);
    let (done, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let stored = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..6_u8)
            .map(|pusher| {
                let (store, refused, stored) = (&store, &refused, &stored);
                scope.spawn(move || {
                    for round in 0..40_u8 {
                        let name = format!("r{}", round % 3);
                        // Some are everybody's, and some are nobody else's.
                        let (layer, own) = ([round / 8], [pusher, round]);
                        let config = [pusher % 2, round, 9];
                        push(store, &name, &layer);
                        push(store, &name, &own);
                        push(store, &name, &config);
                        match put(store, &name, Some("t"), &config, &[&layer, &own]) {
                            Stored::Yes => {
                                stored.lock().unwrap().push((name, vec![layer.to_vec(), own.to_vec()]))
                            }
                            // With no grace at all a collector may be faster.
                            Stored::Missing(_) => _ = refused.fetch_add(1, Ordering::Relaxed),
                            Stored::Size { .. } => panic!("a size changed"),
                        }
                    }
                })
            })
            .collect();
        let (store, done) = (&store, &done);
        let collector = scope.spawn(move || {
            let mut collections = 0;
            while !done.load(Ordering::Relaxed) {
                store.collect(Rules::default()).unwrap();
                collections += 1;
            }
            collections
        });
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 1);
    });
    let stored = stored.into_inner().unwrap();
    assert!(!stored.is_empty(), "{} refused", refused.into_inner());
    for (name, layers) in stored {
        for layer in layers {
            assert_eq!(read(&store, &name, &Digest::of(&layer)), Some(layer), "in {name}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8, u8),
    Mount(u8, u8, u8),
    Put(u8, u8, u8, u8),
    DeleteBlob(u8, u8),
    DeleteTag(u8, u8),
    DeleteManifest(u8, u8, u8),
    Collect,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (r, b, t) = (0..2_u8, 0..4_u8, 0..2_u8);
    let step = prop_oneof![
        4 => (r.clone(), b.clone()).prop_map(|(r, b)| Step::Push(r, b)),
        1 => (r.clone(), r.clone(), b.clone()).prop_map(|(r, s, b)| Step::Mount(r, s, b)),
        4 => (r.clone(), t.clone(), b.clone(), b.clone()).prop_map(|(r, t, a, b)| Step::Put(r, t, a, b)),
        1 => (r.clone(), b.clone()).prop_map(|(r, b)| Step::DeleteBlob(r, b)),
        1 => (r.clone(), t).prop_map(|(r, t)| Step::DeleteTag(r, t)),
        1 => (r, b.clone(), b).prop_map(|(r, a, b)| Step::DeleteManifest(r, a, b)),
        2 => Just(Step::Collect),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: what a manifest names is there, and after the last collection nothing else is.
    #[test]
    fn every_history_keeps_what_is_used_and_nothing_else(steps in steps()) {
        let root = Scratch::new();
        let mut current = store(&root);
        // By repository and content: which tags lead to it.
        let mut model: BTreeMap<(u8, u8, u8), Vec<u8>> = BTreeMap::new();
        let blob = |number: u8| vec![b'b', number];
        let named = |r: u8| format!("r{r}");
        for step in steps {
            match step {
                Step::Push(r, b) => drop(push(&current, &named(r), &blob(b))),
                Step::Mount(r, s, b) => {
                    let (to, from) = (repository(&named(r)), repository(&named(s)));
                    current.mount(&to, &from, &Digest::of(&blob(b))).wait().unwrap();
                }
                Step::Put(r, t, a, b) => {
                    let tag = format!("t{t}");
                    if put(&current, &named(r), Some(&tag), &blob(a), &[&blob(b)]) == Stored::Yes {
                        let of_repository = model.iter_mut().filter(|((other, ..), _)| *other == r);
                        of_repository.for_each(|(_, tags)| tags.retain(|other| *other != t));
                        model.entry((r, a, b)).or_default().push(t);
                    }
                }
                Step::DeleteBlob(r, b) => {
                    let used = model.keys().any(|(other, x, y)| *other == r && (*x == b || *y == b));
                    let removed = current.unlink(&repository(&named(r)), &Digest::of(&blob(b))).wait().unwrap();
                    prop_assert_eq!(removed == Removed::Used, used);
                }
                Step::DeleteTag(r, t) => {
                    let tag = Reference::Tag(Tag::parse(&format!("t{t}")).unwrap());
                    current.remove(&repository(&named(r)), &tag).wait().unwrap();
                    let of_repository = model.iter_mut().filter(|((other, ..), _)| *other == r);
                    of_repository.for_each(|(_, tags)| tags.retain(|other| *other != t));
                }
                Step::DeleteManifest(r, a, b) => {
                    let digest = Reference::Digest(manifest(&blob(a), &[&blob(b)]).0);
                    current.remove(&repository(&named(r)), &digest).wait().unwrap();
                    model.remove(&(r, a, b));
                }
                Step::Collect => _ = current.collect(Rules::default()).unwrap(),
                Step::Restart => {
                    drop(current);
                    current = store(&root);
                }
            }
            for (r, a, b) in model.keys() {
                for part in [a, b] {
                    prop_assert_eq!(read(&current, &named(*r), &Digest::of(&blob(*part))), Some(blob(*part)));
                }
            }
        }
        later();
        current.collect(Rules { untagged: Some(Duration::ZERO), ..Rules::default() }).unwrap();
        model.retain(|_, tags| !tags.is_empty());
        let mut used: Vec<u8> = model.keys().flat_map(|(_, a, b)| [*a, *b]).collect();
        used.sort_unstable();
        used.dedup();
        prop_assert_eq!(files(&root).len(), used.len());
    }
}
