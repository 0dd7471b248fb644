//! The database on a real file system: what is written is read, by any number of processes, whatever dies.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::collections::BTreeSet;

use common::*;
use oci::Digest;
use state::{DraftEntry, Error, IdPool, ImageRecord, IndexedName, LayerRecord, Lookup, NewName, State};

#[test]
fn a_new_root_becomes_a_private_database() {
    let root = Scratch::new();
    State::open(&root.path).unwrap();
    State::open(&root.path).unwrap();
    let mode = |path: &str| rustix::fs::stat(root.path.join(path)).unwrap().st_mode & 0o777;
    assert_eq!(mode("."), 0o700);
    assert_eq!(mode("state.db"), 0o600);
    assert_eq!(mode("state.db-wal"), 0o600);
}

#[test]
fn a_container_is_found_by_id_name_and_prefix() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    let first = id(0x12, 0x21);
    let one = create(&state, &image, &first, "web").unwrap();
    create(&state, &image, &id(0x12, 2), "cafe").unwrap();
    create(&state, &image, &id(0xca, 3), "12ab").unwrap();
    for text in ["web", "/web", first.as_str(), &first.as_str()[..63]] {
        match state.find_container(text).unwrap() {
            Lookup::Found(record) => assert_eq!(record, one, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(state.find_container("1212").unwrap(), Lookup::Ambiguous);
    // A name goes before a prefix.
    assert!(
        matches!(state.find_container("12ab").unwrap(), Lookup::Found(found) if found.head.id == id(0xca, 3))
    );
    assert!(
        matches!(state.find_container("ca").unwrap(), Lookup::Found(found) if found.head.id == id(0xca, 3))
    );
    for text in ["", "w", "x", "13", "12'; DROP TABLE containers", "CA", "/", "%"] {
        assert_eq!(state.find_container(text).unwrap(), Lookup::Missing, "{text}");
    }
}

#[test]
fn a_name_belongs_to_one_container_until_that_is_removed() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    create(&state, &image, &id(1, 1), "web").unwrap();
    match create(&state, &image, &id(2, 2), "web").unwrap_err() {
        Error::NameTaken { name, by } => assert_eq!((name.as_str(), by), ("web", id(1, 1))),
        other => panic!("{other}"),
    }
    assert!(state.remove_container(&id(1, 1)).unwrap());
    assert!(!state.remove_container(&id(1, 1)).unwrap());
    create(&state, &image, &id(2, 2), "web").unwrap();
}

#[test]
fn a_removal_that_has_begun_is_a_mark_until_the_container_is_gone() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    create(&state, &image, &id(1, 1), "web").unwrap();
    assert_eq!(state.is_being_removed(&id(1, 1)).unwrap(), Some(false));
    assert!(state.has_container(&id(1, 1)).unwrap());
    assert!(state.begin_removal(&id(1, 1)).unwrap());
    assert!(state.begin_removal(&id(1, 1)).unwrap(), "again is no error");
    assert_eq!(state.is_being_removed(&id(1, 1)).unwrap(), Some(true));
    assert!(!state.has_container(&id(1, 1)).unwrap(), "nobody is to count on it");
    assert!(state.containers().unwrap()[0].removing);
    assert!(state.container(&id(1, 1)).unwrap().unwrap().head.removing);
    let taken = create(&state, &image, &id(2, 2), "web").unwrap_err();
    assert!(matches!(taken, Error::NameTaken { .. }), "{taken}");
    assert!(state.remove_container(&id(1, 1)).unwrap());
    assert!(!state.begin_removal(&id(1, 1)).unwrap());
    assert_eq!(state.is_being_removed(&id(1, 1)).unwrap(), None);
    create(&state, &image, &id(2, 2), "web").unwrap();
    assert!(!state.containers().unwrap()[0].removing);
}

#[test]
fn a_container_needs_a_known_image() {
    let root = Scratch::new();
    let state = root.state();
    let error = create(&state, &Digest::of(b"nothing"), &id(1, 1), "web").unwrap_err();
    assert!(matches!(error, Error::NoImage { .. }), "{error}");
    assert!(state.containers().unwrap().is_empty());
}

#[test]
fn every_container_has_its_own_id_range() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    let mut seen = BTreeSet::new();
    // The first four bytes decide: all of these want the same slot.
    for number in 0..200_u8 {
        let record = create(&state, &image, &id(9, number), &format!("c{number}")).unwrap();
        let base = record.head.id_base.unwrap();
        assert_eq!(base % IdPool::RANGE, 0);
        assert!((0x8000_0000..=0xfffd_0000).contains(&base), "{base:#x}");
        assert!(seen.insert(base), "{base:#x} twice");
    }
    // A free range in the middle is found again.
    let freed = state.container(&id(9, 100)).unwrap().unwrap().head.id_base;
    state.remove_container(&id(9, 100)).unwrap();
    assert_eq!(create(&state, &image, &id(9, 250), "again").unwrap().head.id_base, freed);
}

#[test]
fn an_exit_replaces_the_one_before_and_leaves_with_its_container() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    create(&state, &image, &id(1, 1), "web").unwrap();
    let mut exit = exit_record(3);
    state.record_exit(&id(1, 1), &exit).unwrap();
    exit.code = 137;
    exit.signal = Some(9);
    exit.error = Some("x".to_owned());
    state.record_exit(&id(1, 1), &exit).unwrap();
    assert_eq!(state.container(&id(1, 1)).unwrap().unwrap().head.exit, Some(exit.clone()));
    assert_eq!(state.containers().unwrap()[0].exit, Some(exit.clone()));
    state.remove_container(&id(1, 1)).unwrap();
    state.record_exit(&id(1, 1), &exit).unwrap();
    create(&state, &image, &id(1, 1), "web").unwrap();
    assert_eq!(state.container(&id(1, 1)).unwrap().unwrap().head.exit, None, "written to no one");
}

#[test]
fn a_name_of_an_image_moves_and_says_from_where() {
    let root = Scratch::new();
    let state = root.state();
    let (one, two) = (put_image(&state, b"1"), put_image(&state, b"2"));
    let tag: oci::Reference = "busybox:latest".parse().unwrap();
    assert_eq!(state.tag(&bare(&tag, &one)).unwrap(), None);
    assert_eq!(state.tag(&bare(&tag, &one)).unwrap(), None);
    assert_eq!(state.tag(&bare(&tag, &two)).unwrap().unwrap().from, one);
    assert_eq!(state.tagged(&tag).unwrap(), Some(two.clone()));
    assert_eq!(state.tags_of(&two).unwrap(), std::slice::from_ref(&tag));
    let images = state.images().unwrap();
    assert_eq!(images.len(), 2);
    assert!(images.iter().all(|named| named.tags.len() == usize::from(named.image.id == two)));
    assert!(matches!(state.tag(&bare(&tag, &Digest::of(b"3"))), Err(Error::NoImage { .. })));
    assert!(state.untag(&tag).unwrap() && !state.untag(&tag).unwrap());
    assert!(state.remove_image(&two).unwrap());
    assert_eq!(state.image(&two).unwrap(), None);
}

fn bare<'a>(reference: &'a oci::Reference, image: &'a Digest) -> NewName<'a> {
    NewName { reference, image, through: None, digest: None }
}

#[test]
fn images_are_renewed_where_nothing_but_the_time_is_new() {
    let root = Scratch::new();
    let state = root.state();
    let (first, second): (oci::Reference, oci::Reference) =
        ("a:latest".parse().unwrap(), "b:latest".parse().unwrap());
    let record = image_record(b"1");
    let later = ImageRecord { stored: oci::Timestamp::new(2_000_000_000, 0).unwrap(), ..record.clone() };
    let renew = |record: &ImageRecord, names: &[oci::Reference]| {
        let renewed = state.renew_images(&[(record.clone(), names)]).unwrap();
        let stored = state.image(&record.id).unwrap().map(|known| known.stored);
        assert_eq!(renewed, stored == Some(later.stored), "no more is written than is said");
        renewed
    };
    assert!(!renew(&later, &[]), "unknown");
    state.put_image(&record, std::slice::from_ref(&first)).unwrap();
    assert!(!renew(&later, &[first.clone(), second.clone()]), "a name is new");
    assert!(!renew(&ImageRecord { size: 1, ..later.clone() }, &[]), "it is another");
    let index = Digest::of(b"index");
    let through = NewName { through: Some(&index), ..bare(&second, &record.id) };
    state.tag(&through).unwrap();
    assert!(!renew(&later, std::slice::from_ref(&second)), "the name leads elsewhere, too");
    // Of several, all or none.
    let other = put_image(&state, b"2");
    let unnamed: [(ImageRecord, &[oci::Reference]); 2] =
        [(later.clone(), &[]), (ImageRecord { id: other, size: 1, ..later.clone() }, &[])];
    assert!(!state.renew_images(&unnamed).unwrap());
    assert_eq!(state.image(&record.id).unwrap().unwrap(), record);
    assert!(renew(&later, std::slice::from_ref(&first)));
}

#[test]
fn a_name_keeps_the_index_it_goes_through_until_it_moves() {
    let root = Scratch::new();
    let state = root.state();
    let (one, two, index) = (put_image(&state, b"1"), put_image(&state, b"2"), Digest::of(b"index"));
    let (tag, other): (oci::Reference, oci::Reference) =
        ("a:latest".parse().unwrap(), "b:latest".parse().unwrap());
    state.tag(&bare(&other, &one)).unwrap();
    let through = |image| NewName { reference: &tag, image, through: Some(&index), digest: None };
    assert_eq!(state.tag(&through(&one)).unwrap(), None);
    assert_eq!(state.index_of(&tag).unwrap(), Some(index.clone()));
    // To another of the same index.
    assert_eq!(state.tag(&through(&two)).unwrap().unwrap().from, one);
    let names = state.indexed_names().unwrap();
    assert_eq!(names, [IndexedName { reference: tag.clone(), image: two.clone(), index: index.clone() }]);
    // The same image, and no index any more.
    assert_eq!(state.tag(&bare(&tag, &two)).unwrap(), None);
    assert_eq!(state.index_of(&tag).unwrap(), None);
    state.tag(&through(&two)).unwrap();
    assert_eq!(state.forget_images(std::slice::from_ref(&tag), &[(two.clone(), true)]).unwrap(), []);
    assert_eq!((state.tagged(&tag).unwrap(), state.index_of(&tag).unwrap()), (None, None));
    let gone = state.forget_images(&[], &[(one.clone(), false), (two.clone(), false)]).unwrap();
    assert_eq!((gone, state.tagged(&other).unwrap()), (vec![one, two], None));
}

#[test]
fn an_image_that_somebody_has_named_meanwhile_stays() {
    let root = Scratch::new();
    let state = root.state();
    let (named, unnamed) = (put_image(&state, b"1"), put_image(&state, b"2"));
    let tag: oci::Reference = "a:latest".parse().unwrap();
    state.tag(&bare(&tag, &named)).unwrap();
    let both = [named, unnamed.clone()];
    assert_eq!(state.forget_unnamed_images(&both).unwrap(), [unnamed]);
    assert!(state.tagged(&tag).unwrap().is_some());
    assert_eq!(state.forget_unnamed_images(&both).unwrap(), [], "nothing is left to do");
}

#[test]
fn a_name_keeps_its_digest_until_another_is_told_or_it_moves() {
    let root = Scratch::new();
    let state = root.state();
    let (one, two) = (put_image(&state, b"1"), put_image(&state, b"2"));
    let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
    let tag: oci::Reference = "a:latest".parse().unwrap();
    let called = |digest| NewName { digest: Some(digest), ..bare(&tag, &one) };
    state.tag(&called(&first)).unwrap();
    assert_eq!(state.digest_of_name(&tag).unwrap(), Some(first.clone()));
    state.tag(&bare(&tag, &one)).unwrap();
    assert_eq!(state.digest_of_name(&tag).unwrap(), Some(first.clone()), "nothing else was said");
    state.tag(&called(&second)).unwrap();
    assert_eq!(state.digests_of_names().unwrap(), [(tag.clone(), second.clone())].into());
    state.tag(&bare(&tag, &two)).unwrap();
    assert_eq!(state.digest_of_name(&tag).unwrap(), None, "of what it led to before");
    // What somebody has pushed by a name that has moved meanwhile is not what the name leads to.
    state.put_pushed(&one, (&tag, &first), &[]).unwrap();
    assert_eq!(state.digests_of_names().unwrap(), [].into());
    state.put_pushed(&two, (&tag, &second), &[]).unwrap();
    assert_eq!(state.digest_of_name(&tag).unwrap(), Some(second.clone()));
    assert_eq!(state.image(&two).unwrap().unwrap().digests, [tag.with_digest(second)]);
}

#[test]
fn a_list_of_manifests_keeps_its_order_and_what_is_said_of_each() {
    let root = Scratch::new();
    let state = root.state();
    let name = |text: &str| -> oci::Reference { text.parse().unwrap() };
    let (list, other) = (name("host/list:1"), name("host/other:1"));
    let entry = |reference: &str, manifest: &[u8]| DraftEntry {
        reference: name(reference),
        descriptor: oci::Descriptor::of(oci::MediaType::OCI_MANIFEST, manifest),
        manifest: manifest.to_vec(),
    };
    let (a, b, c) = (entry("host/z:1", b"a"), entry("host/b:1", b"b"), entry("host/a:1", b"c"));
    state.put_draft(&list, &[a.clone(), b.clone()]).unwrap();
    state.put_draft(&list, std::slice::from_ref(&c)).unwrap();
    state.put_draft(&other, std::slice::from_ref(&a)).unwrap();
    let mut annotated = b;
    annotated.descriptor.platform = Some("linux/arm64".parse().unwrap());
    state.put_draft(&list, std::slice::from_ref(&annotated)).unwrap();
    assert_eq!(state.draft(&list).unwrap(), [a.clone(), annotated, c]);
    assert!(state.remove_draft(&list).unwrap() && !state.remove_draft(&list).unwrap());
    assert_eq!((state.draft(&list).unwrap(), state.draft(&other).unwrap()), (vec![], vec![a]));
}

#[test]
fn an_image_is_found_by_a_prefix_of_its_id() {
    let root = Scratch::new();
    let state = root.state();
    let ids: Vec<Digest> = (0..40_u8).map(|number| put_image(&state, &[number])).collect();
    for id in &ids {
        assert_eq!(state.find_image(id.encoded()).unwrap(), Lookup::Found(id.clone()));
        assert_eq!(state.find_image(id.short()).unwrap(), Lookup::Found(id.clone()));
    }
    let first = |id: &Digest| id.encoded().as_bytes()[0];
    let twice =
        ids.iter().find(|id| ids.iter().filter(|other| first(other) == first(id)).count() > 1).unwrap();
    assert_eq!(state.find_image(&twice.encoded()[..1]).unwrap(), Lookup::Ambiguous);
    for text in ["", "zz", "sha256:", "'", &"f".repeat(65)] {
        assert_eq!(state.find_image(text).unwrap(), Lookup::Missing, "{text}");
    }
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    let outcome: Result<(), Error> = state.atomically(state::Durability::Process, || {
        create(&state, &image, &id(1, 1), "web")?;
        create(&state, &image, &id(2, 2), "web").map(drop)
    });
    assert!(matches!(outcome, Err(Error::NameTaken { .. })));
    assert!(state.containers().unwrap().is_empty());
    create(&state, &image, &id(1, 1), "web").unwrap();
}

#[test]
fn listing_is_newest_first_and_counts_by_image() {
    let root = Scratch::new();
    let state = root.state();
    let (one, two) = (put_image(&state, b"1"), put_image(&state, b"2"));
    for (number, image) in [(1, &one), (2, &two), (3, &one)] {
        create(&state, image, &id(number, number), &format!("c{number}")).unwrap();
    }
    let names: Vec<String> = state.containers().unwrap().iter().map(|head| head.name.to_string()).collect();
    assert_eq!(names, ["c3", "c2", "c1"]);
    assert_eq!(state.containers_of_image(&one).unwrap(), [id(1, 1), id(3, 3)]);
    assert!(state.has_container(&id(2, 2)).unwrap() && !state.has_container(&id(4, 4)).unwrap());
}

#[test]
fn opening_and_writing_cost_what_a_command_can_afford() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    drop(state);
    let (mut opens, mut writes) = (Vec::new(), Vec::new());
    for number in 0..100_u8 {
        let start = std::time::Instant::now();
        let state = root.state();
        opens.push(start.elapsed().as_micros());
        let start = std::time::Instant::now();
        create(&state, &image, &id(number, number), &format!("c{number}")).unwrap();
        writes.push(start.elapsed().as_micros());
        State::tidy(&root.path.join("state.db")).unwrap();
    }
    opens.sort_unstable();
    writes.sort_unstable();
    println!("open {} µs, write {} µs (medians)", opens[50], writes[50]);
    // Loose bounds: a loaded machine must pass, a checkpoint or a sync per command must not.
    assert!(opens[50] < 3_000 && writes[50] < 3_000, "open {} write {}", opens[50], writes[50]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_text_may_be_looked_up(text in "\\PC{0,70}") {
        let root = Scratch::new();
        let state = root.state();
        state.find_container(&text).unwrap();
        state.find_image(&text).unwrap();
        state.container_named(&text).unwrap();
    }
}

#[test]
fn the_log_is_folded_back_when_it_has_grown() {
    let root = Scratch::new();
    let path = root.path.join("state.db");
    let state = root.state();
    let image = put_image(&state, b"a");
    let length = || rustix::fs::stat(root.path.join("state.db-wal")).unwrap().st_size;
    for number in 0..20_u8 {
        create(&state, &image, &id(number, number), &format!("c{number}")).unwrap();
    }
    drop(state);
    assert!(length() > 64 * 2072, "{}", length());
    State::tidy(&path).unwrap();
    // The head, and a page that made it durable.
    assert!(length() < 2 * 2072, "{}", length());
    assert_eq!(root.state().containers().unwrap().len(), 20);
    State::tidy(&path).unwrap();
}

#[test]
fn processes_that_come_one_after_the_other_keep_the_log_short() {
    let root = Scratch::new();
    let image = put_image(&root.state(), b"a");
    let length = || rustix::fs::stat(root.path.join("state.db-wal")).unwrap().st_size;
    for number in 0..200_u8 {
        create(&root.state(), &image, &id(number, number), &format!("c{number}")).unwrap();
        assert!(length() < 300 * 2072, "{} after {number} containers", length());
    }
    assert_eq!(root.state().containers().unwrap().len(), 200);
}

#[test]
fn where_layers_came_from_is_known_until_no_image_has_them() {
    let root = Scratch::new();
    let state = root.state();
    let layer = |content: &[u8], blob: &[u8]| LayerRecord {
        diff_id: oci::DiffId::try_from(Digest::of(content)).unwrap(),
        size: 1,
        blob: Some(oci::Descriptor::of(oci::MediaType::OCI_LAYER_GZIP, blob)),
    };
    let (shared, own) = (layer(b"shared", b"s.gz"), layer(b"own", b"o.gz"));
    let first = ImageRecord { layers: vec![shared.clone(), own.clone()], ..image_record(b"1") };
    let second = ImageRecord { layers: vec![shared.clone()], ..image_record(b"2") };
    state.put_fetched_images(std::slice::from_ref(&first), "host/a").unwrap();
    state.put_fetched_images(std::slice::from_ref(&second), "host/b").unwrap();
    let of = |layer: &LayerRecord| {
        let sources = state.sources_of(&layer.diff_id).unwrap();
        let told = |source: &state::LayerSource| {
            assert_eq!(Some(&source.blob), layer.blob.as_ref());
            source.repository.clone()
        };
        sources.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(
        (of(&shared), of(&own)),
        (vec!["host/b".to_owned(), "host/a".to_owned()], vec!["host/a".to_owned()])
    );
    // Of each registry so many places, the newest; one that is seen again is new.
    for number in 0..20 {
        let name = format!("other/{}", if number == 19 { 3 } else { number });
        state.put_fetched_images(std::slice::from_ref(&second), &name).unwrap();
    }
    let newest = ["3", "18", "17", "16", "15", "14", "13", "12"].map(|name| format!("other/{name}"));
    let rest = ["host/b", "host/a"].map(str::to_owned);
    assert_eq!(of(&shared), [&newest[..], &rest[..]].concat());
    state.remove_image(&first.id).unwrap();
    assert_eq!((of(&shared).len(), of(&own).len()), (10, 0));
    state.remove_image(&second.id).unwrap();
    assert_eq!(of(&shared).len(), 0);
}

#[test]
fn what_was_known_of_an_image_stays_when_it_comes_again_from_elsewhere() {
    let root = Scratch::new();
    let state = root.state();
    let manifest = oci::Descriptor::of(oci::MediaType::OCI_MANIFEST, b"m");
    let named = |repository: &str| -> oci::Reference {
        format!("{repository}@{}", Digest::of(b"m")).parse().unwrap()
    };
    let pulled = ImageRecord {
        manifest: Some(manifest.clone()),
        digests: vec![named("host/a")],
        ..image_record(b"1")
    };
    state.put_fetched_images(std::slice::from_ref(&pulled), "host/a").unwrap();
    state.put_fetched_images(&[ImageRecord { digests: vec![named("host/b")], ..pulled }], "host/b").unwrap();
    // As from an archive of Docker's, which has no manifest.
    let loaded = image_record(b"1");
    state.put_image(&loaded, &[]).unwrap();
    let known = state.image(&loaded.id).unwrap().unwrap();
    assert_eq!((known.manifest, known.digests), (Some(manifest), vec![named("host/b"), named("host/a")]));
}
