//! What users do to containers that run: restart, pause, unpause.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use std::time::{Duration, Instant};

use testkit::{Output, Skiff};

/// Ends by itself when it is asked to.
const WILLING: &str = "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done";

#[test]
fn a_restart_ends_one_run_and_begins_another() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", WILLING]);
    let before = skiff.said("{{.State.Pid}}", "web");
    assert_eq!(skiff.ok(&["restart", "web"]), "web\n");
    let after = skiff.said("{{.State.Status}} {{.State.Pid}} {{.RestartCount}}", "web");
    assert!(after.starts_with("running ") && after.ends_with(" 0") && !after.contains(&before), "{after}");
    assert_eq!(
        skiff.actions("web"),
        ["create", "start", "kill", "die", "stop", "start", "restart"],
        "the order in which Docker tells"
    );
    // Neither one that has ended nor one that never ran need be running.
    skiff.ok(&["stop", "web"]);
    skiff.ok(&["create", "--name", "new", "busybox", "sleep", "1000"]);
    skiff.ok(&["run", "-d", "--name", "still", "busybox", "sleep", "1000"]);
    skiff.ok(&["pause", "still"]);
    let begun = Instant::now();
    assert_eq!(
        skiff.ok(&["container", "restart", "--timeout", "0", "web", "new", "still"]),
        "web\nnew\nstill\n"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for name in ["web", "new", "still"] {
        assert_eq!(skiff.said("{{.State.Status}}", name), "running", "{name}");
    }
    let mixed = skiff.run(&["restart", "-t", "0", "nosuch", "new"]);
    assert_eq!((mixed.code, mixed.stdout.as_str()), (1, "new\n"), "{mixed:?}");
    assert!(mixed.stderr.contains("No such container: nosuch"), "{mixed:?}");
}

#[test]
fn a_restart_sends_the_signal_that_it_is_told() {
    let skiff = Skiff::with_busybox();
    let script = "trap 'echo usr1; exit 0' USR1; echo up; while :; do sleep 0.02; done";
    skiff.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", script]);
    while !skiff.ok(&["logs", "web"]).contains("up") {}
    skiff.ok(&["restart", "-s", "USR1", "web"]);
    while skiff.ok(&["logs", "web"]) != "up\nusr1\nup\n" {}
    let wrong = skiff.run(&["restart", "-s", "BOGUS", "web"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert_eq!(skiff.said("{{.State.Status}}", "web"), "running", "a wrong signal stopped it");
}

#[test]
fn a_container_that_removes_itself_survives_a_restart_and_no_more() {
    let skiff = Skiff::with_busybox();
    let child = skiff.start(&["run", "--rm", "--name", "web", "busybox", "sh", "-c", WILLING]);
    while !skiff.run(&["logs", "web"]).stdout.contains("up") {}
    let id = skiff.said("{{.Id}}", "web");
    assert_eq!(skiff.ok(&["restart", "web"]), "web\n");
    assert_eq!(Output::of(child.wait_with_output().unwrap()).code, 7, "the client is told of the first end");
    assert_eq!(skiff.said("{{.Id}} {{.State.Status}}", "web"), format!("{id} running"));
    skiff.ok(&["stop", "web"]);
    assert_eq!(skiff.ok(&["ps", "-aq"]), "", "the second end was not its last");
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn pause_and_unpause_take_several_and_refuse_by_state() {
    let skiff = Skiff::with_busybox();
    for name in ["aa", "bb"] {
        skiff.ok(&["run", "-d", "--name", name, "busybox", "sh", "-c", WILLING]);
        // Then it hears what it is asked.
        let start = Instant::now();
        while skiff.ok(&["logs", name]) != "up\n" {
            assert!(start.elapsed() < Duration::from_secs(10), "{name} never comes up");
        }
    }
    assert_eq!(skiff.ok(&["pause", "aa", "bb"]), "aa\nbb\n");
    assert_eq!(
        skiff.said("{{.State.Status}} {{.State.Running}} {{.State.Paused}}", "aa"),
        "paused true true"
    );
    assert!(skiff.ok(&["ps", "--format", "{{.Status}}"]).contains("(Paused)"));
    let id = skiff.said("{{.Id}}", "aa");
    for (arguments, complaint) in [
        (&["pause", "aa"][..], format!("Container {id} is already paused")),
        (&["exec", "aa", "true"], "is paused, unpause the container before exec".to_owned()),
        (&["start", "aa"], "is paused, unpause the container before start".to_owned()),
        (&["attach", "aa"], "You cannot attach to a paused container, unpause it first".to_owned()),
        (&["rm", "aa"], "container is paused".to_owned()),
    ] {
        let refused = skiff.run(arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains(&complaint), "{refused:?}");
    }
    assert_eq!(skiff.ok(&["unpause", "aa"]), "aa\n");
    let twice = skiff.run(&["unpause", "aa"]);
    assert!(twice.code == 1 && twice.stderr.contains(&format!("Container {id} is not paused")), "{twice:?}");
    // A stop reaches one that is paused, and lets it act on it.
    assert_eq!(skiff.ok(&["stop", "bb"]), "bb\n");
    assert_eq!(skiff.said("{{.State.ExitCode}}", "bb"), "7");
    let stopped = skiff.run(&["pause", "bb"]);
    assert!(stopped.code == 1 && stopped.stderr.contains("is not running"), "{stopped:?}");
    assert_eq!(skiff.actions("aa"), ["create", "start", "pause", "unpause"]);
}
