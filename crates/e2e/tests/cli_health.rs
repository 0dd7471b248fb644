//! Health checks, from the command line.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use std::time::{Duration, Instant};

use testkit::Skiff;

/// Runs what handles SIGTERM, with health flags.
fn run(skiff: &Skiff, name: &str, flags: &[&str]) {
    let script = "trap 'exit 7' TERM; while :; do sleep 0.02; done";
    skiff.ok(&[&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", script]].concat());
}

const FAST: [&str; 2] = ["--health-interval", "50ms"];

fn state(skiff: &Skiff, name: &str, want: &str) {
    skiff.wait_for(name, "{{.State.Health.Status}}", want);
}

/// Actions of a container's events, without those of single checks.
fn actions(skiff: &Skiff, name: &str) -> Vec<String> {
    skiff.actions(name).into_iter().filter(|action| !action.starts_with("exec_")).collect()
}

#[test]
fn a_container_becomes_healthy_and_unhealthy_and_says_so() {
    let skiff = Skiff::with_busybox();
    let check = "echo looked; test -e /well || exit 3";
    run(&skiff, "web", &[&FAST[..], &["--health-cmd", check, "--health-retries", "2"]].concat());
    assert_eq!(
        skiff.said("{{json .Config.Healthcheck.Test}}", "web"),
        format!("[\"CMD-SHELL\",\"{check}\"]")
    );
    state(&skiff, "web", "unhealthy");
    let report = skiff.said(
        "{{ge .State.Health.FailingStreak 2}} {{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}",
        "web",
    );
    assert_eq!(report, "true 3 looked");
    assert!(skiff.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (unhealthy)\n"));
    skiff.ok(&["exec", "web", "touch", "/well"]);
    state(&skiff, "web", "healthy");
    assert_eq!(skiff.said("{{.State.Health.FailingStreak}}", "web"), "0");
    skiff.wait_for("web", "{{len .State.Health.Log}}", "5");
    assert_eq!(skiff.ok(&["ps", "-q", "--filter", "health=healthy"]).lines().count(), 1);
    assert_eq!(skiff.ok(&["ps", "-q", "--filter", "health=none"]), "");
    // A new run knows nothing of the one before.
    skiff.ok(&["restart", "web"]);
    state(&skiff, "web", "healthy");
    let told = actions(&skiff, "web");
    assert_eq!(told[..4], ["create", "start", "health_status: unhealthy", "health_status: healthy"]);
    assert_eq!(told.iter().filter(|action| *action == "health_status: healthy").count(), 2, "{told:?}");
    let log = std::fs::read_to_string(skiff.run_folder().join("events.log")).unwrap();
    for action in ["exec_create: /bin/sh -c echo looked", "exec_start: /bin/sh -c", "\"exec_die\""] {
        assert!(log.contains(action), "{action}");
    }
    skiff.ok(&["stop", "web"]);
    assert_eq!(skiff.said("{{.State.Status}} {{.State.Health.Status}}", "web"), "exited unhealthy");
}

#[test]
fn the_first_check_comes_an_interval_after_the_start_and_none_while_paused() {
    let skiff = Skiff::with_busybox();
    let check = ["--health-cmd", "echo check >>/checks", "--health-interval", "400ms"];
    run(&skiff, "web", &check);
    assert_eq!(skiff.said("{{.State.Health.Status}}", "web"), "starting");
    assert!(skiff.ok(&["ps", "--format", "{{.Status}}"]).ends_with(" (health: starting)\n"));
    state(&skiff, "web", "healthy");
    skiff.ok(&["pause", "web"]);
    let before = skiff.said("{{json .State.Health.Log}}", "web");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(skiff.said("{{json .State.Health.Log}}", "web"), before);
    skiff.ok(&["unpause", "web"]);
    let begun = Instant::now();
    while skiff.said("{{json .State.Health.Log}}", "web") == before {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(begun.elapsed() >= Duration::from_millis(250), "an interval passes first: {:?}", begun.elapsed());
}

#[test]
fn a_check_that_takes_too_long_or_cannot_start_has_failed() {
    let skiff = Skiff::with_busybox();
    let slow = "echo begun; sleep 1000";
    run(
        &skiff,
        "slow",
        &[&FAST[..], &["--health-timeout", "200ms", "--health-retries", "1", "--health-cmd", slow]].concat(),
    );
    state(&skiff, "slow", "unhealthy");
    let first = "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}";
    let text = skiff.said(first, "slow");
    assert_eq!(text, "-1 Health check exceeded timeout (200ms): begun");
    // What was killed is gone, also when a check is on while its container is paused or stopped.
    skiff.ok(&["pause", "slow"]);
    skiff.ok(&["unpause", "slow"]);
    skiff.ok(&["stop", "slow"]);
    let loud = "head -c 100000 /dev/zero | tr '\\0' x";
    run(&skiff, "loud", &[&FAST[..], &["--health-cmd", loud]].concat());
    state(&skiff, "loud", "healthy");
    let output = skiff.said("{{(index .State.Health.Log 0).Output}}", "loud");
    assert!(output.len() == 4096 + 3 && output.ends_with("xxx..."), "{}", output.len());
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    let skiff = Skiff::with_busybox();
    let flags = ["--health-cmd", "false", "--health-retries", "1", "--health-start-period", "1500ms"];
    let times = ["--health-start-interval", "50ms", "--health-interval", "100ms"];
    run(&skiff, "web", &[&flags[..], &times[..]].concat());
    skiff.wait_for("web", "{{len .State.Health.Log}}", "5");
    assert_eq!(skiff.said("{{.State.Health.Status}} {{.State.Health.FailingStreak}}", "web"), "starting 0");
    state(&skiff, "web", "unhealthy");
}

#[test]
fn what_is_done_about_an_unhealthy_container_is_its_users_choice() {
    let skiff = Skiff::with_busybox();
    let unwell = |what| {
        [&FAST[..], &["--health-cmd", "test -e /x", "--health-retries", "1", "--on-unhealthy", what]].concat()
    };
    run(&skiff, "none", &unwell("none"));
    run(&skiff, "stop", &unwell("stop"));
    run(&skiff, "kill", &unwell("kill"));
    run(&skiff, "mended", &[&["--restart", "on-failure:1"], &unwell("kill")[..]].concat());
    run(&skiff, "restart", &unwell("restart"));
    let exited = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
    skiff.wait_for("stop", exited, "exited 7 0");
    skiff.wait_for("kill", exited, "exited 137 0");
    skiff.wait_for("mended", exited, "exited 137 1");
    skiff.wait_for("restart", "{{ge .RestartCount 2}}", "true");
    skiff.wait_for("restart", "{{.State.Status}}", "running");
    skiff.ok(&["exec", "restart", "touch", "/x"]);
    state(&skiff, "restart", "healthy");
    state(&skiff, "none", "unhealthy");
    assert_eq!(skiff.said("{{.State.Status}}", "none"), "running");
    skiff.ok(&["stop", "restart"]);
    assert_eq!(skiff.said("{{.State.Status}}", "restart"), "exited", "a user's stop is the end of it");
    // Also of one that removes itself at its end: this is none.
    run(&skiff, "gone", &[&["--rm"], &unwell("restart")[..]].concat());
    skiff.wait_for("gone", "{{ge .RestartCount 1}}", "true");
    skiff.wait_for("gone", "{{.State.Status}}", "running");
    skiff.ok(&["stop", "gone"]);
    assert_eq!(skiff.ok(&["ps", "-aq", "--filter", "name=gone"]), "");
}

#[test]
fn the_images_check_holds_unless_it_is_changed_or_left_out() {
    let skiff = Skiff::new();
    let config = serde_json::json!({
        "Cmd": ["sleep", "1000"],
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 50_000_000, "Retries": 9 },
    });
    skiff.load(&testkit::archive("checked:latest", &testkit::busybox_layer(&[]), config));
    skiff.ok(&["run", "-d", "--name", "own", "checked"]);
    state(&skiff, "own", "healthy");
    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "changed",
        "--health-cmd",
        "exit 1",
        "--health-retries",
        "1",
        "checked",
    ]);
    state(&skiff, "changed", "unhealthy");
    assert_eq!(skiff.said("{{.Config.Healthcheck.Interval}}", "changed"), "50000000");
    skiff.ok(&["run", "-d", "--name", "without", "--no-healthcheck", "checked"]);
    assert_eq!(
        skiff.said("{{json .State.Health}} {{json .Config.Healthcheck.Test}}", "without"),
        "null [\"NONE\"]"
    );
    skiff.ok(&["rm", "-f", "own", "changed", "without"]);
    for (flags, complaint) in [
        (
            &["--no-healthcheck", "--health-cmd", "x"][..],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (&["--health-interval", "100us"], "Interval in Healthcheck cannot be less than 1ms"),
        (&["--health-timeout", "-1s"], "cannot be negative"),
        (&["--health-retries", "-1"], "cannot be negative"),
        (&["--on-unhealthy", "panic"], "must be one of"),
    ] {
        let refused = skiff.run(&[&["run", "--rm"], flags, &["checked", "true"]].concat());
        assert!(refused.code == 125 && refused.stderr.contains(complaint), "{refused:?}");
    }
}
