//! Builds at the same time, in processes of their own: of other things they take nothing from each other, of the same thing they
//! share the work, and when one of them is killed another goes on with it. What was built before is not stored once more.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use building::Workshop;
use testkit::{Output, calls_of};

fn succeeded(child: std::process::Child) -> Output {
    let output = Output::of(child.wait_with_output().unwrap());
    assert_eq!(output.code, 0, "{}", output.stderr);
    output
}

#[test]
fn programs_of_builds_at_the_same_time_see_their_own_files() {
    // Both are as far in their builds when they run.
    let dockerfile = |name: &str, rest: &str| {
        format!("FROM busybox\nCOPY {name} /who\nRUN --mount=type=cache,target=/m {rest} cat /who > /said\n")
    };
    let workshop = Workshop::new("");
    for name in ["one", "two"] {
        workshop.write(name, name);
    }
    workshop
        .write("Dockerfile", dockerfile("one", "touch /m/one; until [ -e /m/two ]; do sleep 0.02; done;"));
    let first = workshop.skiff.start(&workshop.words(&["-t", "one"]));
    workshop.wait_for_mark("one");
    workshop.write("Dockerfile", dockerfile("two", "touch /m/two;"));
    succeeded(workshop.skiff.start(&workshop.words(&["-t", "two"])));
    succeeded(first);
    for name in ["one", "two"] {
        assert_eq!(workshop.skiff.ok(&["run", "--rm", name, "cat", "/said"]), name);
    }
}

#[test]
fn whoever_waits_for_the_work_of_a_build_that_is_killed_does_it() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN echo done > /before\nRUN --mount=type=cache,target=/m n=$(ls /m | wc -l); touch /m/run$n; [ $n = 1 ] || sleep 1000; echo $n > /n\n",
    );
    let start = |name: &str| workshop.skiff.start(&workshop.words(&["-t", name]));
    let mut first = start("one");
    workshop.wait_for_mark("run0");
    let mut others = [start("two"), start("three")];
    others.iter_mut().for_each(testkit::wait_until_it_waits);
    assert_eq!(workshop.mark("run1"), None, "two do the same");
    first.kill().unwrap();
    first.wait().unwrap();
    let said: Vec<String> = others.into_iter().map(|other| succeeded(other).stderr).collect();
    // One of them has done it, and the other has it from there.
    let done = said.iter().filter(|said| building::cached(said) == 1).count();
    assert_eq!(done, 1, "{said:#?}");
    assert_eq!(workshop.mark("run2"), None);
    assert_eq!(workshop.skiff.ok(&["run", "--rm", "two", "cat", "/n"]), "1\n");
    let id = |name: &str| workshop.skiff.said("{{.RootFS.Layers}}", name);
    assert_eq!(id("two"), id("three"));
    assert_eq!(workshop.skiff.run(&["inspect", "one"]).code, 1);
    assert_eq!(workshop.skiff.left_by_builds(&[]), "");
}

#[test]
fn whoever_waits_for_the_work_of_a_build_that_fails_fails_with_its_own_words() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN --mount=type=cache,target=/m touch /m/began; until [ -e /m/go ]; do sleep 0.02; done; echo it is broken >&2; exit 3\n",
    );
    let start = || workshop.skiff.start(&workshop.words(&[]));
    let first = start();
    let began = workshop.wait_for_mark("began");
    let mut second = start();
    testkit::wait_until_it_waits(&mut second);
    std::fs::write(began.with_file_name("go"), "").unwrap();
    for child in [first, second] {
        let output = Output::of(child.wait_with_output().unwrap());
        assert_eq!(output.code, 1, "{}", output.stderr);
        assert!(output.stderr.contains("it is broken") && output.stderr.contains("exit code: 3"));
    }
    assert_eq!(workshop.skiff.left_by_builds(&[]), "");
}

#[test]
fn a_prune_beside_a_build_takes_nothing_from_it() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN echo early > /early\nRUN --mount=type=cache,target=/m touch /m/began; until [ -e /m/go ]; do sleep 0.02; done; echo late > /late\n",
    );
    let child = workshop.skiff.start(&workshop.words(&["-t", "made"]));
    let began = workshop.wait_for_mark("began");
    workshop.skiff.ok(&["builder", "prune", "-af"]);
    workshop.skiff.ok(&["system", "prune", "-f"]);
    std::fs::write(began.with_file_name("go"), "").unwrap();
    succeeded(child);
    assert_eq!(workshop.in_image("cat /early /late"), "early\nlate\n");
}

#[test]
fn a_build_that_does_nothing_anew_waits_for_no_disk() {
    let workshop = Workshop::new("FROM busybox\nCOPY x /x\nRUN echo done > /done\nLABEL a=1\n");
    workshop.write("x", "x");
    let words = |name: &'static str| workshop.words(&["-t", name]);
    let syncs = |name: &'static str| {
        let words = words(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let calls = calls_of(&workshop.skiff, &words);
        calls.iter().filter(|call| ["fsync", "fdatasync"].contains(&call.name.as_str())).count()
    };
    assert_ne!(syncs("one"), 0, "the test sees none");
    assert_eq!(syncs("one"), 0, "all of it was there");
    assert_ne!(syncs("two"), 0, "a name is new");
    let id = |name: &str| workshop.skiff.ok(&["image", "inspect", "-f", "{{.Id}}", name]);
    assert_eq!((id("one"), syncs("two")), (id("two"), 0));
    // Whatever is gone is made again, and what has moved comes back.
    let index =
        workshop.skiff.root().join("images").join(format!("{}.erofs", &id("one").trim()["sha256:".len()..]));
    std::fs::remove_file(&index).unwrap();
    assert_ne!(syncs("one"), 0);
    assert!(index.exists());
    workshop.skiff.ok(&["tag", "busybox", "one"]);
    assert_ne!(syncs("one"), 0);
    assert_eq!(id("one"), id("two"));
}
