//! Files that are removed behind steps: all of them by the time that this is dropped, whatever fails.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{Scratch, wait_until};

use super::*;

/// A directory of which the kernel lets nobody remove anything.
const NEVER: &str = "/proc/self/ns";

/// A directory with something in it.
fn tree(folder: &Path, nth: usize) -> PathBuf {
    let path = folder.join(format!("step-{nth}"));
    std::fs::create_dir_all(path.join("upper/deep")).unwrap();
    std::fs::write(path.join("upper/deep/file"), "content").unwrap();
    path
}

fn left(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn all_are_gone_when_it_is_dropped() {
    let folder = Scratch::new();
    let removals = Removals::new(Remover::default());
    // More than the queue takes.
    for nth in 0..2 * WAITING {
        removals.remove(tree(&folder, nth));
    }
    drop(removals);
    assert_eq!(left(&folder), 0);
}

#[test]
fn without_anything_to_remove_there_is_no_thread() {
    let removals = Removals::new(Remover::default());
    assert!(removals.thread.lock().unwrap().is_none());
}

#[test]
fn what_cannot_be_removed_is_in_nobodys_way() {
    let folder = Scratch::new();
    let removals = Removals::new(Remover::default());
    removals.remove(PathBuf::from(NEVER));
    // Neither is one that is not there.
    removals.remove(folder.join("nothing"));
    removals.remove(tree(&folder, 1));
    drop(removals);
    assert_eq!(left(&folder), 0);
}

#[test]
fn who_removes_may_panic_and_the_rest_is_removed_by_who_asks() {
    let folder = Scratch::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // Asked for what this process may not remove.
    let remover = Remover::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        panic!("the remover is on fire");
        #[allow(unreachable_code, reason = "the type of what it would answer")]
        io::Result::Ok(())
    });
    let removals = Removals::new(remover);
    removals.remove(PathBuf::from(NEVER));
    wait_until("it panicked", || {
        asked.load(Ordering::SeqCst) == 1
            && removals.thread.lock().unwrap().as_ref().is_some_and(|thread| thread.handle.is_finished())
    });
    for nth in 1..2 * WAITING {
        removals.remove(tree(&folder, nth));
    }
    assert_eq!(left(&folder), 0);
    drop(removals);
}
