//! `wait`: for the end of a run, for the end of the next one, and for the removal, of one container and of several.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::io::{BufRead, BufReader};
use std::process::Child;

use testkit::{Output, Skiff};

/// Ends with 5 when it is asked to.
const ENDS: &str = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done";

/// A client that has begun to wait, and is still at it.
fn waiting(skiff: &Skiff, arguments: &[&str]) -> Child {
    let mut child = skiff.start(&[&["wait"], arguments].concat());
    testkit::wait_until_it_waits(&mut child);
    child
}

/// Waits until a container has set up what it does about signals, for the `runs`-th time.
fn ready(skiff: &Skiff, name: &str, runs: usize) {
    let start = std::time::Instant::now();
    while skiff.ok(&["logs", name]) != "ready\n".repeat(runs) {
        assert!(start.elapsed().as_secs() < 10, "{name} is never ready");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn told(child: Child) -> (i32, String, String) {
    let output = Output::of(child.wait_with_output().unwrap());
    (output.code, output.stdout, output.stderr)
}

fn code(text: &str) -> (i32, String, String) {
    (0, text.to_owned(), String::new())
}

#[test]
fn each_condition_is_fulfilled_when_it_holds() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox", "sh", "-c", ENDS]);
    assert_eq!(skiff.ok(&["wait", "one"]), "0\n", "one that never ran does not run");
    let next = waiting(&skiff, &["--condition", "next-exit", "one"]);
    let removed = waiting(&skiff, &["--condition=removed", "one"]);
    skiff.ok(&["start", "one"]);
    let end = waiting(&skiff, &["--condition", "not-running", "one"]);
    ready(&skiff, "one", 1);
    skiff.ok(&["stop", "one"]);
    assert_eq!(told(next), code("5\n"));
    assert_eq!(told(end), code("5\n"));
    assert_eq!(skiff.ok(&["wait", "one"]), "5\n");
    // The end that has been is not the next.
    let next = waiting(&skiff, &["--condition", "next-exit", "one"]);
    skiff.ok(&["start", "one"]);
    let during = waiting(&skiff, &["--condition", "next-exit", "one"]);
    skiff.ok(&["kill", "one"]);
    assert_eq!(told(next), code("137\n"));
    assert_eq!(told(during), code("137\n"));
    let mut removed = removed;
    assert!(removed.try_wait().unwrap().is_none(), "it is still there");
    skiff.ok(&["rm", "one"]);
    assert_eq!(told(removed), code("137\n"));
}

#[test]
fn a_removal_wakes_whoever_waits_for_less() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "one", "busybox", "sh", "-c", ENDS]);
    let conditions = ["not-running", "next-exit", "removed"];
    let clients = conditions.map(|condition| waiting(&skiff, &["--condition", condition, "one"]));
    skiff.ok(&["rm", "-f", "one"]);
    for client in clients {
        assert_eq!(told(client), code("137\n"));
    }
    // One that goes by itself, and one that does not come back.
    skiff.ok(&["run", "-d", "--rm", "--name", "short", "busybox", "sh", "-c", ENDS]);
    let gone = waiting(&skiff, &["--condition", "removed", "short"]);
    ready(&skiff, "short", 1);
    skiff.ok(&["stop", "short"]);
    assert_eq!(told(gone), code("5\n"));
    skiff.ok(&["create", "--name", "never", "busybox"]);
    let next = waiting(&skiff, &["--condition", "next-exit", "never"]);
    skiff.ok(&["rm", "never"]);
    assert_eq!(told(next), code("0\n"));
}

#[test]
fn several_are_waited_for_at_once_and_told_of_in_order() {
    let skiff = Skiff::with_busybox();
    for (name, code) in [("one", "1"), ("two", "2"), ("three", "3")] {
        let script = format!("trap 'exit {code}' TERM; echo ready; while :; do sleep 0.02; done");
        skiff.ok(&["run", "-d", "--name", name, "busybox", "sh", "-c", &script]);
        ready(&skiff, name, 1);
    }
    // The last one ends and begins anew before the first one ends.
    let next = waiting(&skiff, &["--condition", "next-exit", "one", "two", "three"]);
    let ended = waiting(&skiff, &["one", "missing", "two"]);
    let removed = waiting(&skiff, &["--condition", "removed", "three", "one"]);
    skiff.ok(&["stop", "three", "two"]);
    skiff.ok(&["start", "three"]);
    skiff.ok(&["stop", "one"]);
    assert_eq!(told(next), code("1\n2\n3\n"));
    assert_eq!(told(ended), (1, "1\n2\n".to_owned(), "skiff: No such container: missing\n".to_owned()));
    // The first is told of as soon as it is known.
    let mut removed = removed;
    let lines = BufReader::new(removed.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    skiff.ok(&["rm", "-f", "three"]);
    assert_eq!(lines.next().as_deref(), Some("137"));
    assert!(removed.try_wait().unwrap().is_none());
    skiff.ok(&["rm", "one"]);
    assert_eq!(lines.next().as_deref(), Some("1"));
    assert_eq!(removed.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_no_condition_is_refused() {
    let skiff = Skiff::with_busybox();
    let refused = skiff.run(&["wait", "--condition", "healthy", "one"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{refused:?}");
    let words = "invalid argument \"healthy\" for \"--condition\" flag: it is none of not-running, next-exit and removed";
    assert!(refused.stderr.contains(words), "{refused:?}");
}
