//! What builds leave for later ones: what is kept is found, what nothing leads to is gone, and killed writers do no harm.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Scratch;
use oci::{DiffId, Digest, Timestamp};
use state::{CacheKind, FileStamp, NewBuildRecord, State};

fn key(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn layer(text: &str) -> DiffId {
    DiffId::try_from(Digest::of(text.as_bytes())).unwrap()
}

fn keep(state: &State, keys: &[&str], content: &str) -> String {
    let keys: Vec<Digest> = keys.iter().map(|text| key(text)).collect();
    let record = NewBuildRecord {
        keys: &keys.iter().collect::<Vec<_>>(),
        layer: &layer(content),
        size: content.len() as u64,
        kind: CacheKind::Regular,
        parents: &[],
        description: content,
    };
    state.keep_build_record(&record).unwrap()
}

/// What the first of these keys leads to that leads anywhere.
fn find(state: &State, keys: &[&str]) -> Option<(String, u64)> {
    let found = keys.iter().find_map(|text| state.find_build_record(&key(text)).unwrap())?;
    Some((found.layer.to_string(), found.size))
}

fn expected(content: &str) -> Option<(String, u64)> {
    Some((layer(content).to_string(), content.len() as u64))
}

#[test]
fn a_record_is_found_by_each_of_its_keys() {
    let root = Scratch::new();
    let state = root.state();
    assert_eq!(find(&state, &["a", "b"]), None);
    let id = keep(&state, &["a", "b"], "one");
    assert!(
        id.len() == 25 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "{id}"
    );
    for keys in [&["a"][..], &["b"], &["none", "b"], &["a", "b"]] {
        assert_eq!(find(&state, keys), expected("one"), "{keys:?}");
    }
    keep(&state, &["c"], "other");
    assert_eq!(find(&state, &["c", "a"]), expected("other"));
    assert_eq!(find(&state, &["a", "c"]), expected("one"));
}

#[test]
fn what_came_out_the_same_is_one_record_and_what_nothing_leads_to_is_gone() {
    let root = Scratch::new();
    let state = root.state();
    let one = keep(&state, &["definition", "content"], "one");
    // Another base, the same result: the content key leads there.
    assert_eq!(keep(&state, &["definition of another base", "content"], "one"), one);
    assert_eq!(state.build_records().unwrap().len(), 1);
    assert_eq!(state.build_records().unwrap()[0].uses, 2);
    // Done anew, with another result: one key still leads to the old one.
    let two = keep(&state, &["definition", "content"], "two");
    assert_ne!(two, one);
    assert_eq!(find(&state, &["definition"]), expected("two"));
    assert_eq!(find(&state, &["definition of another base"]), expected("one"));
    assert_eq!(state.build_records().unwrap().len(), 2);
    keep(&state, &["definition of another base"], "two");
    let records = state.build_records().unwrap();
    assert!(records.iter().all(|record| record.id != one), "nothing leads to it");
    assert_eq!(state.build_layers().unwrap(), [layer("two")]);
}

#[test]
fn of_the_keys_of_a_record_the_newest_are_kept() {
    let root = Scratch::new();
    let state = root.state();
    for number in 0..200 {
        keep(&state, &[&format!("definition {number}"), "content"], "same");
    }
    assert_eq!(state.build_records().unwrap().len(), 1);
    assert_eq!(find(&state, &["definition 0"]), None);
    assert_eq!(find(&state, &["definition 199"]), expected("same"));
    assert_eq!(find(&state, &["definition 150"]), expected("same"));
    assert_eq!(find(&state, &["content"]), expected("same"));
}

#[test]
fn uses_are_counted_and_the_last_used_comes_first() {
    let root = Scratch::new();
    let state = root.state();
    let (a, b) = (keep(&state, &["a"], "a"), keep(&state, &["b"], "b"));
    let order = || -> Vec<(String, u64)> {
        state.build_records().unwrap().into_iter().map(|record| (record.id, record.uses)).collect()
    };
    assert_eq!(order(), [(b.clone(), 1), (a.clone(), 1)]);
    state.count_build_uses([(a.as_str(), 3), ("gone", 1)]).unwrap();
    assert_eq!(order(), [(a.clone(), 4), (b.clone(), 1)]);
    let records = state.build_records().unwrap();
    assert!(records[0].used > records[0].made);
    assert_eq!(state.remove_build_records([a.as_str(), "gone"].into_iter()).unwrap(), 1);
    assert_eq!(order(), [(b, 1)]);
    assert_eq!(find(&state, &["a"]), None);
}

#[test]
fn all_that_is_said_of_a_record_is_kept() {
    let root = Scratch::new();
    let state = root.state();
    let parent = keep(&state, &["parent"], "parent");
    let parents = [parent, "x".repeat(25)];
    let description = "[build 2/5] RUN echo 'ä'\n";
    let record = NewBuildRecord {
        keys: &[&key("a")],
        layer: &layer("a"),
        size: u64::MAX,
        kind: CacheKind::SourceGitCheckout,
        parents: &parents,
        description,
    };
    let id = state.keep_build_record(&record).unwrap();
    let found = state.build_records().unwrap().into_iter().find(|record| record.id == id).unwrap();
    assert_eq!((found.kind, found.description.as_str()), (CacheKind::SourceGitCheckout, description));
    assert_eq!((found.parents, found.size), (parents.to_vec(), i64::MAX as u64));
    for kind in ["internal", "frontend", "source.local", "source.git.checkout", "exec.cachemount", "regular"]
    {
        assert_eq!(kind.parse::<CacheKind>().unwrap().to_string(), kind);
    }
    assert!("other".parse::<CacheKind>().is_err());
}

fn stamp(inode: u64, changed_seconds: i64) -> FileStamp {
    let changed = changed_seconds * 1_000_000_000;
    FileStamp { device: 7, inode, size: inode * 3, modified: changed - 5, changed }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 0).unwrap()
}

fn content(inode: u64, version: u8) -> [u8; 32] {
    let mut digest = [version; 32];
    digest[..8].copy_from_slice(&inode.to_le_bytes());
    digest
}

#[test]
fn a_file_is_known_again_only_with_the_same_times_and_size() {
    let root = Scratch::new();
    let state = root.state();
    let path = Path::new("/src");
    let known = state.context_digests(path).unwrap();
    assert!(known.is_empty() && known.find(&stamp(1, 100)).is_none());
    let seen: Vec<_> = (0..3000).map(|inode| (stamp(inode, 100), content(inode, 1))).collect();
    state.keep_context_digests(&known, &seen, seconds(1000)).unwrap();
    let known = state.context_digests(path).unwrap();
    assert_eq!(known.len(), 3000);
    for (stamp, digest) in &seen {
        assert_eq!(known.find(stamp), Some(*digest));
        for other in [
            FileStamp { device: 8, ..*stamp },
            FileStamp { size: stamp.size + 1, ..*stamp },
            FileStamp { modified: stamp.modified + 1, ..*stamp },
            FileStamp { changed: stamp.changed + 1, ..*stamp },
            FileStamp { inode: stamp.inode + 3000, ..*stamp },
        ] {
            assert_eq!(known.find(&other), None);
        }
    }
    assert!(state.context_digests(Path::new("/other")).unwrap().is_empty());
}

#[test]
fn a_file_that_had_just_changed_when_it_was_read_is_not_known() {
    let root = Scratch::new();
    let state = root.state();
    let path = Path::new("/src");
    let keep = |changed, began| {
        let known = state.context_digests(path).unwrap();
        assert!(known.find(&stamp(1, changed)).is_none());
        state.keep_context_digests(&known, &[(stamp(1, changed), content(1, 1))], seconds(began)).unwrap();
        state.context_digests(path).unwrap().find(&stamp(1, changed)).is_some()
    };
    assert!(!keep(100, 100), "in the same second");
    assert!(!keep(100, 102), "exactly two seconds later");
    assert!(!keep(105, 102), "in the future");
    assert!(keep(100, 103));
    // What is known of an earlier state goes with the file that has just changed.
    assert!(!keep(200, 201));
    assert!(state.context_digests(path).unwrap().is_empty());
}

#[test]
fn a_change_is_found_a_smaller_build_forgets_nothing_and_much_that_is_old_goes() {
    let root = Scratch::new();
    let state = root.state();
    let path = Path::new("/src");
    let keep = |seen: &[(FileStamp, [u8; 32])]| {
        let known = state.context_digests(path).unwrap();
        seen.iter().for_each(|(stamp, _)| _ = known.find(stamp));
        state.keep_context_digests(&known, seen, seconds(1000)).unwrap();
        state.context_digests(path).unwrap()
    };
    let mut seen: Vec<_> = (0..2000).map(|inode| (stamp(inode, 100), content(inode, 1))).collect();
    keep(&seen);
    seen[1234] = (stamp(1234, 200), content(1234, 2));
    let known = keep(&seen[1230..1240]);
    assert_eq!(known.len(), 2000);
    assert_eq!(known.find(&seen[1234].0), Some(content(1234, 2)));
    assert_eq!(known.find(&seen[5].0), Some(content(5, 1)));
    // Each generation of temporary files has other inodes.
    for generation in 1..20_u64 {
        let seen: Vec<_> =
            (0..2000).map(|at| (stamp(generation * 10_000 + at, 100), content(at, 1))).collect();
        let known = keep(&seen);
        assert!(seen.iter().all(|(stamp, digest)| known.find(stamp) == Some(*digest)));
        assert!(known.len() < 10_000, "{}", known.len());
    }
}

#[test]
fn contexts_are_listed_and_forgotten_and_the_oldest_make_room() {
    let root = Scratch::new();
    let state = root.state();
    for number in 0..140_u64 {
        let path = format!("/tmp/build-{number}");
        let known = state.context_digests(Path::new(&path)).unwrap();
        state.keep_context_digests(&known, &[(stamp(number, 1), content(number, 1))], seconds(100)).unwrap();
    }
    let contexts = state.known_contexts().unwrap();
    assert_eq!(contexts.len(), 128);
    assert_eq!(contexts[0].path, Path::new("/tmp/build-139"));
    assert!(state.context_digests(Path::new("/tmp/build-0")).unwrap().is_empty());
    assert!(state.remove_context(contexts[0].number).unwrap());
    assert!(!state.remove_context(contexts[0].number).unwrap());
    assert!(state.context_digests(Path::new("/tmp/build-139")).unwrap().is_empty());
    let parts: i64 = rusqlite::Connection::open(root.path.join("state.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM build_context_parts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(parts, 127, "parts go with their context");
}

#[test]
fn who_has_found_everything_writes_nothing() {
    let root = Scratch::new();
    let state = root.state();
    let path = Path::new("/src");
    let seen: Vec<_> = (0..5000).map(|inode| (stamp(inode, 100), content(inode, 1))).collect();
    let keep = |seen: &[(FileStamp, [u8; 32])]| {
        let known = state.context_digests(path).unwrap();
        seen.iter().for_each(|(stamp, _)| _ = known.find(stamp));
        state.keep_context_digests(&known, seen, seconds(1000)).unwrap();
        std::fs::metadata(root.path.join("state.db-wal")).unwrap().len()
    };
    let first = keep(&seen);
    assert_eq!(keep(&seen), first);
    let mut changed = seen;
    changed[77].0.size += 1;
    let more = keep(&changed) - first;
    assert!((1..100_000).contains(&more), "one part: {more} bytes");
}

/// Not a bound, but a number to look at: `cargo nextest run -p state fifty --no-capture`.
#[test]
fn fifty_thousand_files_are_known_by_one_query() {
    let root = Scratch::new();
    let state = root.state();
    let path = Path::new("/src");
    let seen: Vec<_> = (0..50_000).map(|inode| (stamp(inode * 16, 100), content(inode, 1))).collect();
    let known = state.context_digests(path).unwrap();
    let begun = Instant::now();
    state.keep_context_digests(&known, &seen, seconds(1000)).unwrap();
    let kept = begun.elapsed();
    let begun = Instant::now();
    let known = state.context_digests(path).unwrap();
    let loaded = begun.elapsed();
    let begun = Instant::now();
    assert!(seen.iter().all(|(stamp, digest)| known.find(stamp) == Some(*digest)));
    let found = begun.elapsed();
    let begun = Instant::now();
    state.keep_context_digests(&known, &seen, seconds(1000)).unwrap();
    let again = begun.elapsed();
    println!("kept {kept:?}, loaded {loaded:?}, found {found:?}, nothing new {again:?}");
    assert_eq!(known.len(), 50_000);
}

#[test]
fn cache_mounts_are_noted_measured_and_forgotten() {
    let root = Scratch::new();
    let state = root.state();
    let (one, two) = (key("/root/.cache").encoded().to_owned(), format!("{}-1", key("apt").encoded()));
    state.use_cache_mount(&one, "/root/.cache").unwrap();
    state.use_cache_mount(&two, "apt").unwrap();
    state.use_cache_mount(&one, "/root/.cache").unwrap();
    state.measure_cache_mount(&one, 4711).unwrap();
    state.measure_cache_mount("unknown", 1).unwrap();
    let mounts = state.cache_mounts().unwrap();
    let shown: Vec<_> = mounts.iter().map(|it| (it.name.as_str(), it.size, it.uses)).collect();
    assert_eq!(shown, [("/root/.cache", 4711, 2), ("apt", 0, 1)]);
    assert_eq!((&mounts[0].key, &mounts[1].key), (&one, &two));
    assert_eq!(state.cache_mount(&two).unwrap().unwrap().name, "apt");
    assert!(state.remove_cache_mount(&mounts[0].key).unwrap());
    assert!(!state.remove_cache_mount(&mounts[0].key).unwrap());
    assert_eq!(state.cache_mount(&one).unwrap(), None);
}

/// A child keeps records and digests as fast as it can; killed at any moment, each key leads to a whole record or nowhere, no record
/// is without a key, and every digest that is found is the right one.
#[test]
fn a_killed_build_leaves_whole_records() {
    if let Some(root) = std::env::var_os("SKIFF_STATE_TEST") {
        return child_keeps_until_killed(root.as_ref());
    }
    let root = Scratch::new();
    drop(root.state());
    let mut kept = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_killed_build_leaves_whole_records"])
            .env("SKIFF_STATE_TEST", &root.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.contains("begun")));
        std::thread::sleep(Duration::from_micros(300 + round * 397 % 9000));
        child.kill().unwrap();
        child.wait().unwrap();
        kept += lines.filter(|line| line.starts_with("kept")).count();
        let state = root.state();
        for record in state.build_records().unwrap() {
            assert_eq!(record.layer, layer(&record.description), "a mixture");
        }
        let known = state.context_digests(Path::new("/src")).unwrap();
        for inode in 0..600 {
            let found: BTreeMap<u8, _> =
                (1..=3).filter_map(|v| Some((v, known.find(&stamp(inode, i64::from(v)))?))).collect();
            assert!(found.len() < 2 && found.iter().all(|(v, digest)| *digest == content(inode, *v)));
        }
    }
    assert!(kept > 25, "{kept}");
    let connection = rusqlite::Connection::open(root.path.join("state.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let lost = "SELECT count(*) FROM build_keys WHERE record NOT IN (SELECT id FROM build_records)";
    assert_eq!(count(lost), 0, "a key that leads nowhere");
    let lost = "SELECT count(*) FROM build_records WHERE id NOT IN (SELECT record FROM build_keys)";
    assert_eq!(count(lost), 0, "a record that nothing leads to");
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

fn child_keeps_until_killed(root: &Path) {
    let state = State::open(root).unwrap();
    println!("begun");
    for number in 0_u64..100_000 {
        // Few keys and fewer results: records come and go.
        let (one, two) = (format!("key {}", number % 7), format!("key {}", number % 5));
        keep(&state, &[&one, &two], &format!("content {}", number % 3));
        if number % 20 == 0 {
            let version = u8::try_from(number / 20 % 3 + 1).unwrap();
            let seen: Vec<_> =
                (0..600).map(|inode| (stamp(inode, i64::from(version)), content(inode, version))).collect();
            let known = state.context_digests(Path::new("/src")).unwrap();
            seen.iter().for_each(|(stamp, _)| _ = known.find(stamp));
            state.keep_context_digests(&known, &seen, seconds(100)).unwrap();
        }
        println!("kept {number}");
        std::io::stdout().flush().unwrap();
    }
}
