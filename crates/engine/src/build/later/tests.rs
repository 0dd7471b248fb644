//! Records that are written behind steps: in order, each after its layer, all of them or an error; whatever fails, nobody hangs.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use build::Cancel;
use dockerfile::lower::Op;
use image::Store;
use image::store::{Fault, Faults};
use oci::Digest;
use testkit::{Scratch, wait_until};

use super::*;
use crate::build::BuildError;

/// A cache that keeps what it is told, when it is let.
#[derive(Default)]
struct Shelf {
    kept: Mutex<Vec<(Key, Record)>>,
    /// What is done instead of keeping the nth, from 0.
    trouble: Option<(usize, Trouble)>,
    /// Nothing is kept while it is closed.
    closed: Mutex<bool>,
    opened: Condvar,
    /// Those who wait for it, and have.
    came: AtomicUsize,
    store: Option<Store>,
    claim_ended: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Error,
    Panic,
}

struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Cache for Shelf {
    type Error = Error;

    fn find(&self, key: &Key) -> Result<Option<Record>> {
        Ok(lock(&self.kept).iter().find(|(kept, _)| kept == key).map(|(_, record)| record.clone()))
    }

    fn keep(&self, keys: &[Key], record: &Record, _node: &Node) -> Result<()> {
        let nth = self.came.fetch_add(1, Ordering::SeqCst);
        let mut closed = lock(&self.closed);
        while *closed {
            closed = self.opened.wait(closed).unwrap();
        }
        drop(closed);
        match self.trouble.filter(|(at, _)| *at == nth) {
            Some((_, Trouble::Error)) => return Err(BuildError::Cancelled.into()),
            Some((_, Trouble::Panic)) => panic!("the database is on fire"),
            None => {}
        }
        if let Some(store) = &self.store {
            assert_eq!(
                store.layer_size(&record.layer).unwrap(),
                Some(record.size),
                "a record before its layer"
            );
        }
        assert!(!self.claim_ended.load(Ordering::SeqCst), "a claim ended before its record was written");
        lock(&self.kept).extend(keys.iter().map(|key| (key.clone(), record.clone())));
        Ok(())
    }

    fn claim(&self, _key: &Key, _step: &Step<'_>) -> Result<Option<Claim>> {
        Ok(Some(Box::new(Held(Arc::clone(&self.claim_ended)))))
    }
}

impl Shelf {
    fn in_trouble(nth: usize, trouble: Trouble) -> Shelf {
        Shelf { trouble: Some((nth, trouble)), ..Shelf::default() }
    }

    fn close(&self, closed: bool) {
        *lock(&self.closed) = closed;
        self.opened.notify_all();
    }

    fn keys(&self) -> Vec<Key> {
        lock(&self.kept).iter().map(|(key, _)| key.clone()).collect()
    }
}

fn key(nth: usize) -> Key {
    Key::of("test", [nth.to_string().as_str()])
}

fn keys(range: std::ops::Range<usize>) -> Vec<Key> {
    range.map(key).collect()
}

fn node() -> Node {
    Node {
        op: Op::Merge,
        inputs: Vec::new(),
        digest: Digest::of(b"node"),
        name: "[1/1] COPY . .".to_owned(),
        span: None,
    }
}

/// A layer that the draft has and the store has not.
fn layer(draft: &Draft<'_>, nth: usize) -> Result<Record> {
    let made = || -> image::Result<image::LoadedLayer> {
        let mut layer = draft.layer()?;
        let written = layer.write_all(format!("layer {nth}").as_bytes());
        written.map_err(|source| image::Error::Write { source })?;
        layer.hand_in()
    };
    let made = made().map_err(failed("make a layer"))?;
    Ok(Record { layer: made.diff_id, size: made.size })
}

fn keep<C: Cache<Error = Error>>(later: &Later<'_, '_, C>, draft: &Draft<'_>, nth: usize) -> Result<()> {
    later.keep(&[key(nth)], &layer(draft, nth)?, &node())
}

fn store(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

/// Layers in the store lose their flag, so that their folder can be removed.
fn release(folder: &Path) {
    for entry in std::fs::read_dir(folder.join("layers")).into_iter().flatten().flatten() {
        // A file system without flags has nothing to take away.
        drop(linux::file::set_immutable(linux::file::open(&entry.path()).unwrap(), false));
    }
}

#[test]
fn records_are_written_in_order_each_after_its_layer_and_found_before() {
    let folder = Scratch::new();
    let store = store(&folder);
    let draft = store.draft().unwrap();
    let shelf = Shelf { store: Some(store.clone()), ..Shelf::default() };
    shelf.close(true);
    let done = written(&draft, &shelf, |later| {
        for nth in 0..20 {
            keep(later, &draft, nth)?;
        }
        wait_until("the first is being written", || shelf.came.load(Ordering::SeqCst) == 1);
        assert_eq!(shelf.keys(), []);
        for nth in 0..20 {
            assert!(later.find(&key(nth))?.is_some(), "what was kept is not found");
        }
        assert_eq!(later.find(&key(20))?, None);
        shelf.close(false);
        Ok("done")
    });
    assert_eq!(done.unwrap(), "done");
    assert_eq!(shelf.keys(), keys(0..20));
    drop(draft);
    release(&folder);
}

#[test]
fn what_cannot_be_written_is_the_error_of_the_next_step_or_of_the_end_and_told_once() {
    let folder = Scratch::new();
    let store = store(&folder);
    for of_the_end in [false, true] {
        let draft = store.draft().unwrap();
        let shelf = Shelf::in_trouble(2, Trouble::Error);
        let done = written(&draft, &shelf, |later| {
            for nth in 0..3 {
                keep(later, &draft, nth)?;
            }
            if of_the_end {
                return Ok(());
            }
            wait_until("it failed", || matches!(*lock(&later.writer.failure), Failure::New(_)));
            let error = keep(later, &draft, 3).unwrap_err();
            // Told of, it is no error of who goes on nevertheless; nothing more is written.
            keep(later, &draft, 4)?;
            Err(error)
        });
        assert!(matches!(done, Err(Error::Build { .. })), "{done:?}");
        assert_eq!(shelf.keys(), keys(0..2));
    }
    release(&folder);
}

#[test]
fn steps_wait_for_a_disk_that_is_far_behind() {
    let folder = Scratch::new();
    let store = store(&folder);
    let draft = store.draft().unwrap();
    let shelf = Shelf::default();
    shelf.close(true);
    let kept = AtomicUsize::new(0);
    written(&draft, &shelf, |later| {
        scope(|scope| {
            scope.spawn(|| {
                // One is being written, as many as may wait do, and the next one waits for its place.
                wait_until("the queue is full", || kept.load(Ordering::SeqCst) == WAITING + 1);
                std::thread::sleep(std::time::Duration::from_millis(50));
                assert_eq!(kept.load(Ordering::SeqCst), WAITING + 1, "the queue has no end");
                shelf.close(false);
            });
            for nth in 0..WAITING + 10 {
                keep(later, &draft, nth)?;
                kept.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(shelf.keys(), keys(0..WAITING + 10));
    drop(draft);
    release(&folder);
}

#[test]
fn a_claim_ends_when_its_record_is_written_or_never_will_be() {
    let folder = Scratch::new();
    let store = store(&folder);
    for trouble in [None, Some((0, Trouble::Error))] {
        let draft = store.draft().unwrap();
        let shelf = Shelf { trouble, ..Shelf::default() };
        shelf.close(true);
        let done = written(&draft, &shelf, |later| {
            let claim = later.claim(&key(0), &Step::new(0, &Cancel::new(), &|_| {}))?.unwrap();
            keep(later, &draft, 0)?;
            drop(claim);
            assert!(!shelf.claim_ended.load(Ordering::SeqCst), "its step alone let go of it");
            shelf.close(false);
            Ok(())
        });
        assert_eq!(done.is_err(), trouble.is_some());
        assert!(shelf.claim_ended.load(Ordering::SeqCst));
        // One of a step that has made nothing ends with the step.
        let draft = store.draft().unwrap();
        let shelf = Shelf::default();
        written(&draft, &shelf, |later| {
            drop(later.claim(&key(1), &Step::new(0, &Cancel::new(), &|_| {}))?);
            assert!(shelf.claim_ended.load(Ordering::SeqCst));
            Ok(())
        })
        .unwrap();
    }
    release(&folder);
}

#[test]
fn who_panics_hangs_nobody_and_what_was_kept_is_written() {
    let folder = Scratch::new();
    let store = store(&folder);
    let draft = store.draft().unwrap();
    let shelf = Shelf::default();
    let run = || {
        written(&draft, &shelf, |later| -> Result<()> {
            for nth in 0..5 {
                keep(later, &draft, nth)?;
            }
            panic!("a step is on fire")
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    assert_eq!(shelf.keys(), keys(0..5));

    // Who writes panics, while more are kept than the queue takes.
    let shelf = Shelf::in_trouble(1, Trouble::Panic);
    let run = || {
        written(&draft, &shelf, |later| {
            for nth in 0..3 * WAITING {
                keep(later, &draft, nth)?;
            }
            Ok(())
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "nobody hears of it");
    assert_eq!(shelf.keys()[..1], keys(0..1));
    drop(draft);
    release(&folder);
}

#[test]
fn no_record_is_written_of_a_layer_that_could_not_be_published() {
    for fault in [Fault::Error, Fault::Full] {
        let mut nth = 0;
        loop {
            nth += 1;
            assert!(nth < 60, "one build has more effects than these");
            let folder = Scratch::new();
            let faults = Faults::at(nth, fault);
            let store = Store::open_with(&folder, faults.clone()).unwrap();
            let shelf = Shelf { store: Some(store.clone()), ..Shelf::default() };
            let build = || {
                let draft = store.draft().map_err(failed("begin"))?;
                written(&draft, &shelf, |later| (0..3).try_for_each(|nth| keep(later, &draft, nth)))
            };
            let first = build();
            assert_eq!(first.is_err(), faults.struck(), "effect {nth}: {first:?}");
            for (_, record) in lock(&shelf.kept).iter() {
                assert_eq!(store.layer_size(&record.layer).unwrap(), Some(record.size), "effect {nth}");
            }
            assert_eq!(std::fs::read_dir(folder.join("tmp")).unwrap().count(), 0, "effect {nth}");
            if !faults.struck() {
                release(&folder);
                assert!(nth > 12, "there are more effects than {nth}");
                break;
            }
            // The next attempt has room, and finds nothing in its way.
            lock(&shelf.kept).clear();
            build().unwrap();
            assert_eq!(shelf.keys(), keys(0..3), "effect {nth}");
            release(&folder);
        }
    }
}
