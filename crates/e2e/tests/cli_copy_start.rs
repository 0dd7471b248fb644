//! A start beside a copy of the same container's files: it waits, and never says that it has started what it has not.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use testkit::{Call, Output, Skiff, held_up_at};

fn status(skiff: &Skiff) -> String {
    skiff.ok(&["inspect", "-f", "{{.State.Status}}", "one"]).trim().to_owned()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A copy that has the container for as long as nobody closes its input.
fn copy(skiff: &Skiff) -> Child {
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    let copy = skiff.start(&["cp", "-", "one:/"]);
    let lock = skiff.run_folder().join(id.trim()).join("lock");
    wait_for("the copy begins", || lock.exists());
    copy
}

fn end(mut copy: Child) {
    // The end of an archive.
    copy.stdin.take().unwrap().write_all(&[0; 1024]).unwrap();
    let copied = Output::of(copy.wait_with_output().unwrap());
    assert_eq!(copied.code, 0, "{copied:?}");
}

/// A start that has looked at the container, and whose monitor has not yet.
fn start_in_between(skiff: &Skiff) -> Child {
    let mut start = held_up_at(skiff, &Call::first("memfd_create"), 1500, &["start", "one"]);
    let child = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // By then it has: all that it does before takes milliseconds.
    std::thread::sleep(Duration::from_millis(700));
    child
}

#[test]
fn a_start_waits_for_a_copy_as_long_as_that_lasts() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox", "sleep", "1000"]);
    for between in [false, true] {
        let (copy, mut start) = if between {
            let start = start_in_between(&skiff);
            (copy(&skiff), start)
        } else {
            let copy = copy(&skiff);
            (copy, skiff.start(&["start", "one"]))
        };
        // Longer than anybody waits for what should be quick.
        std::thread::sleep(Duration::from_secs(12));
        assert!(start.try_wait().unwrap().is_none(), "it did not wait: {:?}", start.wait_with_output());
        assert_ne!(status(&skiff), "running");
        end(copy);
        let started = Output::of(start.wait_with_output().unwrap());
        assert_eq!((started.code, started.stdout.as_str()), (0, "one\n"), "{started:?}");
        assert_eq!(status(&skiff), "running");
        skiff.ok(&["stop", "-t", "0", "one"]);
    }
}

#[test]
fn a_start_that_is_given_up_while_it_waits_does_not_happen_later() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox", "sleep", "1000"]);
    let mut start = start_in_between(&skiff);
    let copy = copy(&skiff);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(skiff.monitor_of(id.trim()).is_some(), "its monitor waits");
    // strace, and the command that it holds by that.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", start.id())).unwrap();
    let command = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(command, rustix::process::Signal::KILL).unwrap();
    start.wait().unwrap();
    wait_for("the monitor goes", || skiff.monitor_of(id.trim()).is_none());
    end(copy);
    assert_eq!(status(&skiff), "created");
}
