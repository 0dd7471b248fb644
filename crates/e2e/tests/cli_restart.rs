//! Restart policies, from the command line.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use testkit::{Output, Skiff};

#[test]
fn wrong_policies_are_refused_in_dockers_words() {
    let skiff = Skiff::with_busybox();
    for (policy, complaint) in [
        ("never", "unknown policy 'never'"),
        ("always:2", "maximum retry count can only be used with 'on-failure'"),
        ("on-failure:-1", "maximum retry count cannot be negative"),
        ("on-failure:x", "maximum retry count must be an integer"),
    ] {
        let refused = skiff.run(&["run", "--restart", policy, "busybox", "true"]);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.stderr.contains(complaint), "{refused:?}");
    }
    let both = skiff.run(&["run", "--rm", "--restart", "always", "busybox", "true"]);
    assert_eq!(both.code, 125, "{both:?}");
    assert!(both.stderr.contains("--restart and --rm"), "{both:?}");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_policy_is_carried_out_and_told() {
    let skiff = Skiff::with_busybox();
    let script = "echo run; exit 3";
    // Whoever started it in the foreground sees the first run.
    let first =
        skiff.run(&["run", "--restart", "on-failure:2", "--name", "job", "busybox", "sh", "-c", script]);
    assert_eq!(first, Output { code: 3, stdout: "run\n".into(), stderr: String::new() });
    skiff.wait_for("job", "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}", "exited 3 2");
    assert_eq!(skiff.ok(&["logs", "job"]), "run\nrun\nrun\n");
    let policy = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(skiff.said(policy, "job"), "on-failure 2");
    // A start by hand counts anew.
    skiff.ok(&["start", "job"]);
    skiff.wait_for("job", "{{.State.Status}} {{.RestartCount}}", "exited 2");
    assert_eq!(skiff.ok(&["logs", "job"]), "run\n".repeat(6));
}

#[test]
fn one_that_rests_is_shown_and_can_be_stopped_waited_for_and_removed() {
    let skiff = Skiff::with_busybox();
    let run = |name: &str| {
        skiff.ok(&["run", "-d", "--restart", "always", "--name", name, "busybox", "sh", "-c", "exit 1"]);
        // By then the rests are long enough for all that follows.
        skiff.wait_for(name, "{{.State.Status}} {{ge .RestartCount 5}}", "restarting true");
    };
    run("again");
    let state = "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}} {{.State.ExitCode}}";
    assert_eq!(skiff.said(state, "again"), "true true 0 1");
    let status = skiff.ok(&["ps", "--format", "{{.Status}}", "--filter", "status=restarting"]);
    assert!(status.starts_with("Restarting (1) ") && status.ends_with(" ago\n"), "{status}");
    for (arguments, complaint) in [
        (&["exec", "again", "true"][..], "is restarting, wait until the container is running"),
        (&["pause", "again"], "is restarting, wait until the container is running"),
        (&["attach", "again"], "You cannot attach to a restarting container, wait until it is running"),
        (&["rm", "again"], "container is restarting"),
    ] {
        let refused = skiff.run(arguments);
        assert!(refused.code == 1 && refused.stderr.contains(complaint), "{arguments:?}: {refused:?}");
    }
    assert_eq!(skiff.ok(&["start", "again"]), "again\n", "it is on its way already");
    assert_eq!(skiff.ok(&["stop", "again"]), "again\n");
    assert_eq!(skiff.said("{{.State.Status}} {{.State.ExitCode}}", "again"), "exited 1");
    assert_eq!(skiff.ok(&["wait", "again"]), "1\n");
    run("gone");
    assert_eq!(skiff.ok(&["rm", "-f", "gone"]), "gone\n");
    run("killed");
    assert_eq!(skiff.ok(&["kill", "killed"]), "killed\n");
    assert_eq!(skiff.ok(&["wait", "killed"]), "1\n");
    // By hand it begins anew, at once.
    run("anew");
    assert_eq!(skiff.ok(&["restart", "anew"]), "anew\n");
    skiff.wait_for("anew", "{{.State.Status}} {{lt .RestartCount 4}}", "restarting true");
    assert_eq!(skiff.ok(&["rm", "-f", "again", "killed", "anew"]), "again\nkilled\nanew\n");
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn each_run_joins_the_namespaces_that_are_there_by_then() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "busybox", "sleep", "1000"]);
    let script = "readlink /proc/self/ns/net; sleep 0.3; exit 1";
    let network = ["--network", "container:host", "--restart", "always", "--name", "guest"];
    skiff.ok(&[&["run", "-d"], &network[..], &["busybox", "sh", "-c", script]].concat());
    let shown = || skiff.ok(&["exec", "host", "readlink", "/proc/self/ns/net"]);
    let before = shown();
    skiff.ok(&["restart", "-t", "0", "host"]);
    let after = shown();
    assert_ne!(before, after, "the test proves nothing where the namespace is the same");
    let begun = std::time::Instant::now();
    while !skiff.ok(&["logs", "guest"]).ends_with(&after) {
        assert!(begun.elapsed().as_secs() < 15, "{}", skiff.ok(&["logs", "guest"]));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    skiff.ok(&["rm", "-f", "guest"]);
}
