//! `rm`: what a container is while it is being removed, when that fails, and when whoever is at it dies.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Call, Output, Skiff, held_up_at, kill_at};

/// What `ps` with `arguments` says: name, state and status.
fn listed(skiff: &Skiff, arguments: &[&str]) -> String {
    skiff.ok(&[&["ps", "--format", "{{.Names}} {{.State}} ({{.Status}})"][..], arguments].concat())
}

fn assert_refused(skiff: &Skiff, arguments: &[&str], words: &str) {
    let refused = skiff.run(arguments);
    assert_eq!(refused.code, 1, "{arguments:?}: {refused:?}");
    assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory that nothing can be removed from, not even by root.
struct Immovable(PathBuf);

impl Immovable {
    fn new(path: &Path) -> Self {
        chattr("+i", path);
        Self(path.to_owned())
    }
}

impl Drop for Immovable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(change: &str, path: &Path) {
    let status = Command::new("chattr").arg(change).arg(path).status();
    assert!(status.expect("this test needs chattr: install e2fsprogs").success());
}

/// What nobody can do to a container that is going; `state` as Docker says it.
fn assert_only_removal_is_possible(skiff: &Skiff, state: &str) {
    for (arguments, words) in [
        (&["start", "one"][..], "container is marked for removal and cannot be started"),
        (&["restart", "one"], "container is marked for removal and cannot be started"),
        (&["update", "--memory", "64m", "one"], "container is marked for removal and cannot be \"update\""),
        (&["commit", "one"], &format!("You cannot commit container ID which is {state}")),
        (&["export", "-o", "out.tar", "one"], &format!("You cannot export container ID which is {state}")),
        (&["cp", "one:/etc", "."], &format!("You cannot copy files of container ID which is {state}")),
        (&["logs", "one"], "can not get logs from container which is dead or marked for deletion"),
        (&["exec", "one", "true"], "is not running"),
        (&["pause", "one"], "is not running"),
        (&["kill", "one"], "is not running"),
        (&["attach", "one"], "cannot attach to a stopped container"),
        (&["create", "--name", "one", "busybox"], "is already in use"),
    ] {
        let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "one"]);
        assert_refused(skiff, arguments, &words.replace("ID", id.trim()));
    }
    // There is nothing to stop, and a name is only a name.
    assert_eq!(skiff.ok(&["stop", "one"]), "one\n");
    skiff.ok(&["rename", "one", "other"]);
    skiff.ok(&["rename", "other", "one"]);
}

#[test]
fn a_removal_is_seen_while_it_lasts() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "one", "busybox", "touch", "/file"]);
    let mut removal = held_up_at(&skiff, &Call::first("unlinkat"), 3000, &["rm", "one"]);
    let mut removal = removal.stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the removal begins", || !listed(&skiff, &["-f", "status=removing"]).is_empty());
    assert_eq!(listed(&skiff, &["-a"]), "one removing (Removal In Progress)\n");
    assert_eq!(listed(&skiff, &[]), "");
    let state = "{{.State.Status}} {{.State.Running}} {{.State.Dead}} {{.State.Pid}} {{.State.ExitCode}}";
    assert_eq!(skiff.ok(&["inspect", "-f", state, "one"]), "removing false false 0 0\n");
    assert_refused(&skiff, &["rm", "one"], "removal of container one is already in progress");
    assert_refused(&skiff, &["rm", "-f", "one"], "removal of container one is already in progress");
    assert_refused(&skiff, &["start", "one"], "container is marked for removal and cannot be started");
    let gone = skiff.start(&["wait", "--condition", "removed", "one"]);
    assert!(removal.try_wait().unwrap().is_none(), "it was to last longer");
    let output = Output::of(removal.wait_with_output().unwrap());
    assert_eq!((output.code, output.stdout.as_str()), (0, "one\n"), "{output:?}");
    assert_eq!(Output::of(gone.wait_with_output().unwrap()).stdout, "0\n");
    assert_eq!(listed(&skiff, &["-a"]), "");
    assert_refused(&skiff, &["rm", "one"], "No such container: one");
}

#[test]
fn one_that_cannot_be_removed_is_dead_and_only_a_removal_is_possible() {
    let skiff = Skiff::with_busybox();
    skiff.run(&["run", "--name", "one", "busybox", "sh", "-c", "mkdir /keep; touch /keep/file; exit 3"]);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "one"]);
    let folder = skiff.root().join("containers").join(id.trim());
    let keep = Immovable::new(&folder.join("upper/keep"));
    assert_refused(&skiff, &["rm", "one"], "remove the container's directory");
    // Those who list try it again, as often as they do.
    for _ in 0..2 {
        assert_eq!(listed(&skiff, &["-a"]), "one dead (Dead)\n");
    }
    assert_eq!(listed(&skiff, &["-f", "status=dead"]), "one dead (Dead)\n");
    assert_eq!(listed(&skiff, &["-f", "status=exited"]), "");
    let state = "{{.State.Status}} {{.State.Running}} {{.State.Dead}} {{.State.Pid}} {{.State.ExitCode}}";
    assert_eq!(skiff.ok(&["inspect", "-f", state, "one"]), "dead false true 0 3\n");
    assert_only_removal_is_possible(&skiff, "Dead");
    assert_refused(&skiff, &["rm", "-f", "one"], "remove the container's directory");
    skiff.ok(&["system", "resume"]);
    assert_eq!(listed(&skiff, &["-a"]), "one dead (Dead)\n");
    drop(keep);
    assert_eq!(skiff.ok(&["rm", "one"]), "one\n");
    assert_eq!(listed(&skiff, &["-a"]), "");
    assert!(!folder.exists());
}

#[test]
fn a_removal_whose_command_dies_is_gone_on_with() {
    let skiff = Skiff::with_busybox();
    let begin = || {
        skiff.ok(&["run", "--name", "one", "busybox", "touch", "/file"]);
        assert!(!kill_at(&skiff, &Call::first("unlinkat"), &["rm", "one"]).success());
        // Whoever looks at one container changes nothing.
        assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}}", "one"]), "dead\n");
        assert_eq!(listed(&skiff, &[]), "");
        assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}}", "one"]), "dead\n");
    };
    begin();
    assert_eq!(skiff.ok(&["rm", "one"]), "one\n");
    begin();
    assert_eq!(listed(&skiff, &["-a"]), "", "a list repairs");
    begin();
    assert!(skiff.ok(&["container", "prune", "-f"]).contains("Total reclaimed space"));
    assert_refused(&skiff, &["logs", "one"], "No such container: one");
    let told = skiff.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "-f",
        "event=destroy",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(told, "destroy\n".repeat(3), "each was told of once");
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn rm_takes_dockers_flags_and_has_its_words() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "1000"]);
    skiff.ok(&["create", "--name", "new", "busybox"]);
    let refused = skiff.run(&["rm", "new", "up", "missing"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, "new\n"));
    let lines: Vec<&str> = refused.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            "skiff: cannot remove container \"up\": container is running: stop the container before removing or force remove",
            "skiff: No such container: missing"
        ]
    );
    skiff.ok(&["pause", "up"]);
    assert_refused(&skiff, &["rm", "-v", "up"], "cannot remove container \"up\": container is paused");
    // Links are names below that of a container, and its own is none.
    assert_refused(
        &skiff,
        &["rm", "-l", "up"],
        "Conflict, cannot remove the default link name of the container",
    );
    assert_refused(&skiff, &["rm", "--link", "up/db"], "No such container: up/db");
    let forced = skiff.run(&["rm", "-fv", "missing", "up"]);
    assert_eq!((forced.code, forced.stdout.as_str()), (0, "up\n"));
    assert_eq!(forced.stderr, "skiff: No such container: missing\n");
}

#[test]
fn one_that_goes_by_itself_is_removed_by_force_like_any_other() {
    let skiff = Skiff::with_busybox();
    // Whoever is first: the command, or the container's monitor.
    for _ in 0..10 {
        skiff.ok(&["run", "-d", "--rm", "--name", "one", "busybox", "sleep", "1000"]);
        let removed = skiff.run(&["rm", "-f", "one"]);
        assert_eq!((removed.code, removed.stdout.as_str(), removed.stderr.as_str()), (0, "one\n", ""));
        wait_for("its name is free", || listed(&skiff, &["-a"]).is_empty());
    }
}
