//! Skiff of an ordinary user: no root anywhere, the user's own ids and those lent to it.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use testkit::{Skiff, User, busybox};

#[test]
fn an_ordinary_user_runs_containers_from_start_to_end() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());

    let inside = skiff.ok(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map; touch /x; hostname",
    ]);
    let lines: Vec<&str> = inside.lines().collect();
    assert_eq!(lines[0], "0", "root inside");
    let own: Vec<String> = lines[1].split_whitespace().map(str::to_owned).collect();
    assert_eq!(own, ["0", &user.uid().to_string(), "1"], "which is the user outside");
    assert_eq!(lines[3].len(), 12, "a host name of the container's own");

    let id = skiff.ok(&[
        "run",
        "-d",
        "--name",
        "daemon",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    skiff.wait_for("daemon", "{{.State.Status}}", "running");
    assert_eq!(skiff.ok(&["ps", "-q", "--no-trunc"]), id);
    while skiff.ok(&["logs", "daemon"]) != "ready\n" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(skiff.ok(&["exec", "daemon", "cat", "/proc/1/comm"]), "sh\n");
    assert_eq!(skiff.run(&["exec", "daemon", "sh", "-c", "exit 7"]).code, 7);
    skiff.ok(&["stop", "daemon"]);
    assert_eq!(skiff.ok(&["inspect", "--format", "{{.State.ExitCode}}", "daemon"]), "3\n");
    assert_eq!(skiff.ok(&["rm", "daemon"]), "daemon\n");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn what_other_ids_of_a_container_own_is_removed_with_it() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    let script = "mkdir -m 700 /deep /deep/er && touch /deep/er/file && chown -R 1000:1000 /deep";
    skiff.ok(&["run", "--name", "owner", "busybox", "sh", "-c", script]);
    assert_eq!(skiff.ok(&["rm", "owner"]), "owner\n");
    skiff.ok(&["run", "--rm", "busybox", "sh", "-c", script]);
    // The monitor removes the files after the command has ended.
    let left = || std::fs::read_dir(skiff.root().join("containers")).map_or(0, Iterator::count);
    for _ in 0..500 {
        if left() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(left(), 0, "directories of containers are left");
}

#[test]
fn limits_that_nobody_delegated_are_warned_of() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    let limited = skiff.run(&["run", "--rm", "--memory", "64m", "busybox", "true"]);
    assert_eq!(limited.code, 0, "{limited:?}");
    assert!(limited.stderr.contains("Limits have no effect"), "{limited:?}");
}
