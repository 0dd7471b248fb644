//! What a host's end and its next start are to containers: `system shutdown` and `system resume`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Output, Skiff, programs};

const WILLING: &str = "trap 'exit 0' TERM; while :; do sleep 0.02; done";

fn run(skiff: &Skiff, name: &str, more: &[&str]) {
    let script = ["busybox", "sh", "-c", WILLING];
    skiff.ok(&[&["run", "-d", "--name", name], more, &script[..]].concat());
}

fn sorted(output: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_shutdown_is_no_wish_of_the_users_and_a_stop_is() {
    let skiff = Skiff::with_busybox();
    for (name, policy) in [
        ("plain", "no"),
        ("failing", "on-failure"),
        ("always", "always"),
        ("always-stopped", "always"),
        ("unless", "unless-stopped"),
        ("unless-stopped", "unless-stopped"),
        ("unless-killed", "unless-stopped"),
    ] {
        run(&skiff, name, &["--restart", policy]);
    }
    skiff.ok(&["create", "--name", "new", "--restart", "always", "busybox", "true"]);
    let refused = skiff.run(&["run", "-d", "--name", "broken", "--restart", "always", "busybox", "/nowhere"]);
    assert_eq!(refused.code, 127, "{refused:?}");
    skiff.ok(&["run", "-d", "--name", "resting", "--restart", "always", "busybox", "false"]);
    skiff.wait_for("resting", "{{.State.Status}} {{ge .RestartCount 4}}", "restarting true");
    skiff.ok(&["stop", "always-stopped", "unless-stopped"]);
    skiff.ok(&["kill", "unless-killed"]);
    skiff.ok(&["wait", "unless-killed"]);
    let stopped = skiff.ok(&["system", "shutdown"]);
    assert_eq!(sorted(&stopped), ["always", "failing", "plain", "resting", "unless"]);
    assert_eq!(skiff.ok(&["ps", "-q"]), "");
    assert_eq!(skiff.ok(&["system", "shutdown"]), "", "nothing runs");
    let resumed = skiff.ok(&["system", "resume"]);
    assert_eq!(sorted(&resumed), ["always", "always-stopped", "resting", "unless"]);
    for name in ["always", "unless"] {
        assert_eq!(skiff.said("{{.State.Status}} {{.RestartCount}}", name), "running 0");
    }
    assert_eq!(skiff.ok(&["system", "resume"]), "", "all that is to run does");
    skiff.ok(&["system", "shutdown", "-t", "1"]);
}

#[test]
fn whatever_took_the_monitors_a_policy_brings_back_what_ran() {
    let skiff = Skiff::with_busybox();
    run(&skiff, "kept", &["--restart", "unless-stopped"]);
    run(&skiff, "failing", &["--restart", "on-failure:1"]);
    run(&skiff, "plain", &[]);
    for name in ["kept", "failing", "plain"] {
        kill_monitor(&skiff, name);
    }
    assert_eq!(skiff.said("{{.State.Status}} {{.State.ExitCode}}", "kept"), "exited 255");
    assert_eq!(sorted(&skiff.ok(&["system", "resume"])), ["failing", "kept"]);
    lose_power(&skiff, &["kept", "failing"]);
    assert_eq!(skiff.said("{{.State.Status}} {{.State.ExitCode}}", "kept"), "exited 255");
    assert_eq!(sorted(&skiff.ok(&["system", "resume"])), ["failing", "kept"]);
    skiff.ok(&["stop", "kept"]);
    skiff.ok(&["system", "shutdown"]);
    assert_eq!(skiff.ok(&["system", "resume"]), "", "one was stopped, the other ended well");
}

/// Without power, run directories are gone, and nobody could write down how anything ended: so the database is put
/// back to what it was while they ran, after everything of theirs has been cleared away.
fn lose_power(skiff: &Skiff, names: &[&str]) {
    let files = ["state.db", "state.db-wal"].map(|name| skiff.root().join(name));
    let before = files.clone().map(|path| std::fs::read(path).unwrap_or_default());
    for name in names {
        kill_monitor(skiff, name);
    }
    skiff.ok(&["ps", "-a"]);
    for (path, content) in files.iter().zip(before) {
        std::fs::write(path, content).unwrap();
    }
    std::fs::remove_file(skiff.root().join("state.db-shm")).unwrap();
}

fn kill_monitor(skiff: &Skiff, name: &str) {
    let id = skiff.said("{{.Id}}", name);
    let status = std::fs::read_to_string(skiff.run_folder().join(&id).join("status")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let pid = i32::try_from(status["monitor_pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let begun = Instant::now();
    while rustix::process::test_kill_process(pid).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn who_joins_another_comes_after_it_and_goes_before_it() {
    let skiff = Skiff::with_busybox();
    let always = ["--restart", "always"];
    run(&skiff, "aa", &always);
    run(&skiff, "bb", &[&always[..], &["--network", "container:aa"]].concat());
    run(&skiff, "cc", &[&always[..], &["--pid", "container:bb"]].concat());
    run(&skiff, "lone", &always);
    run(&skiff, "base", &[]);
    run(&skiff, "stray", &[&always[..], &["--network", "container:base"]].concat());
    let stopped = skiff.ok(&["system", "shutdown"]);
    let place = |text: &str, name: &str| text.lines().position(|line| line == name).unwrap();
    for (first, second) in [("cc", "bb"), ("bb", "aa"), ("stray", "base")] {
        assert!(place(&stopped, first) < place(&stopped, second), "{stopped}");
    }
    let resumed = skiff.run(&["system", "resume"]);
    assert_eq!(resumed.code, 1, "{resumed:?}");
    assert!(resumed.stderr.contains("stray") && resumed.stderr.contains("base"), "{resumed:?}");
    assert_eq!(sorted(&resumed.stdout), ["aa", "bb", "cc", "lone"]);
    assert!(place(&resumed.stdout, "aa") < place(&resumed.stdout, "bb"), "{resumed:?}");
    assert!(place(&resumed.stdout, "bb") < place(&resumed.stdout, "cc"), "{resumed:?}");
    assert_eq!(
        skiff.ok(&["exec", "bb", "readlink", "/proc/self/ns/net"]),
        skiff.ok(&["exec", "aa", "readlink", "/proc/self/ns/net"])
    );
    skiff.ok(&["system", "shutdown", "--timeout", "1"]);
}

#[test]
fn each_container_has_its_own_time_to_end_and_none_waits_for_another() {
    let skiff = Skiff::with_busybox();
    for name in ["aa", "bb", "cc"] {
        skiff.ok(&["run", "-d", "--stop-timeout", "1", "--name", name, "busybox", "sleep", "1000"]);
    }
    skiff.ok(&["run", "-d", "--stop-timeout", "-1", "--name", "ever", "busybox", "sleep", "1000"]);
    let begun = Instant::now();
    assert_eq!(skiff.ok(&["system", "shutdown", "-t", "2"]).lines().count(), 4);
    let took = begun.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn the_units_call_what_there_is() {
    let scratch = testkit::Scratch::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut make = Command::new("make");
    make.current_dir(source).arg("install-units").arg("PREFIX=/opt/skiff");
    make.arg(format!("DESTDIR={}", scratch.display()));
    let made = Output::of(make.output().unwrap());
    assert_eq!(made.code, 0, "{made:?}");
    for kind in ["system", "user"] {
        let unit = scratch.join(format!("opt/skiff/lib/systemd/{kind}/skiff.service"));
        let text = std::fs::read_to_string(&unit).unwrap();
        let calls: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart=").or_else(|| line.strip_prefix("ExecStop=")))
            .collect();
        assert_eq!(calls, ["/opt/skiff/bin/skiff system resume", "/opt/skiff/bin/skiff system shutdown"]);
        for call in calls {
            let words: Vec<&str> = call.split(' ').skip(1).chain(["--help"]).collect();
            let help = Output::of(Command::new(programs().join("skiff")).args(&words).output().unwrap());
            assert_eq!(help.code, 0, "{help:?}");
        }
    }
}
