//! The whole order in which Docker tells of what happens to a container, with all that each event says.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::Skiff;

/// Ends with 4 when it is asked to.
const ENDS: &str = "trap 'exit 4' TERM; trap '' USR1; echo ready; while :; do sleep 0.02; done";
/// Does not.
const DEAF: &str = "trap '' TERM; echo ready; while :; do sleep 0.02; done";

/// Everything told of a container so far, one line each: the action and its attributes, but for those that every event has,
/// which are checked here, and what is only known to be there: ids of programs, and seconds that a run took.
fn story(skiff: &Skiff, name: &str) -> Vec<String> {
    let filter = format!("container={name}");
    let lines = skiff.ok(&["events", "--since", "1h", "--until", "0s", "-f", &filter, "--format", "json"]);
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut before = 0;
    let tell = |event: Value| {
        let time = event["timeNano"].as_i64().unwrap();
        assert!(time >= before, "it runs backwards: {lines}");
        before = time;
        let attributes: BTreeMap<String, String> =
            serde_json::from_value(event["Actor"]["Attributes"].clone()).unwrap();
        for (key, value) in [("image", "busybox"), ("name", name), ("tier", "front"), ("empty", "")] {
            assert_eq!(attributes.get(key).map(String::as_str), Some(value), "{key}: {event}");
        }
        let own =
            attributes.iter().filter(|(key, _)| !["image", "name", "tier", "empty"].contains(&key.as_str()));
        let words = own.map(|(key, value)| match key.as_str() {
            "execID" => {
                assert_eq!(value.len(), 64, "{event}");
                " execID".to_owned()
            }
            "execDuration" => {
                value.parse::<u64>().unwrap();
                " execDuration".to_owned()
            }
            _ => format!(" {key}={value}"),
        });
        let words: String = words.collect();
        format!("{}{words}", event["Action"].as_str().unwrap())
    };
    events.map(tell).collect()
}

fn run(skiff: &Skiff, flags: &[&str], name: &str, script: &str) {
    let labels = ["--label", "tier=front", "--label", "empty"];
    skiff.ok(&[&["run"], flags, &labels, &["--name", name, "busybox", "sh", "-c", script]].concat());
}

/// Waits until a container has set up what it does about signals, for the `runs`-th time.
fn ready(skiff: &Skiff, name: &str, runs: usize) {
    let start = std::time::Instant::now();
    while skiff.ok(&["logs", name]) != "ready\n".repeat(runs) {
        assert!(start.elapsed().as_secs() < 10, "{name} is never ready");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_stop_is_told_as_signals_an_end_and_the_stop() {
    let skiff = Skiff::with_busybox();
    run(&skiff, &["-d"], "good", ENDS);
    ready(&skiff, "good", 1);
    skiff.ok(&["stop", "good"]);
    // There is nothing to stop, so nothing to tell.
    skiff.ok(&["stop", "good"]);
    let began = ["create", "start"];
    let stopped = ["kill signal=15", "die execDuration exitCode=4", "stop"];
    assert_eq!(story(&skiff, "good"), [&began[..], &stopped].concat());

    run(&skiff, &["-d"], "deaf", DEAF);
    ready(&skiff, "deaf", 1);
    skiff.ok(&["stop", "-s", "USR2", "-t", "1", "deaf"]);
    let ended = story(&skiff, "deaf").split_off(2);
    // The signal that nothing handles does nothing to a first process.
    assert_eq!(ended, ["kill signal=12", "kill signal=9", "die execDuration exitCode=137", "stop"]);
    let format = "{{.Actor.Attributes.execDuration}}";
    let filters = ["-f", "container=deaf", "-f", "event=die", "--format", format];
    let seconds = skiff.ok(&[&["events", "--since", "1h", "--until", "0s"][..], &filters].concat());
    assert!(seconds.trim().parse::<u64>().unwrap() >= 1, "{seconds}");
}

#[test]
fn a_restart_is_told_as_a_stop_a_start_and_itself() {
    let skiff = Skiff::with_busybox();
    run(&skiff, &["-d"], "one", ENDS);
    ready(&skiff, "one", 1);
    skiff.ok(&["restart", "one"]);
    let stopped = ["kill signal=15", "die execDuration exitCode=4", "stop"];
    let mut told = [&["create", "start"][..], &stopped, &["start", "restart"]].concat();
    assert_eq!(story(&skiff, "one"), told);
    ready(&skiff, "one", 2);
    skiff.ok(&["stop", "one"]);
    skiff.ok(&["restart", "one"]);
    // The second time it did not run.
    told.extend([&stopped[..], &["start", "restart"]].concat());
    assert_eq!(story(&skiff, "one"), told);
    ready(&skiff, "one", 3);
    skiff.ok(&["rm", "-f", "one"]);
    told.extend(["kill signal=9", "die execDuration exitCode=137", "destroy"]);
    assert_eq!(story(&skiff, "one"), told);

    run(&skiff, &["-d"], "deaf", DEAF);
    ready(&skiff, "deaf", 1);
    skiff.ok(&["restart", "-t", "0", "deaf"]);
    let killed = ["kill signal=15", "kill signal=9", "die execDuration exitCode=137", "stop"];
    assert_eq!(story(&skiff, "deaf").split_off(2), [&killed[..], &["start", "restart"]].concat());
}

#[test]
fn a_run_that_removes_itself_is_told_from_its_making_to_its_removal() {
    let skiff = Skiff::with_busybox();
    run(&skiff, &["--rm"], "short", "true");
    assert_eq!(
        story(&skiff, "short"),
        ["create", "attach", "start", "die execDuration exitCode=0", "destroy"]
    );
    run(&skiff, &["--rm", "-d"], "apart", ENDS);
    ready(&skiff, "apart", 1);
    skiff.ok(&["stop", "apart"]);
    let stopped = ["create", "start", "kill signal=15", "die execDuration exitCode=4", "destroy", "stop"];
    let mut told = story(&skiff, "apart");
    // Its monitor removes it while the one who has stopped it says so.
    if told[4..] == ["stop", "destroy"] {
        told.swap(4, 5);
    }
    assert_eq!(told, stopped);
    let labels = ["--label", "tier=front", "--label", "empty", "--name", "tty", "busybox", "sh"];
    let terminal = skiff.terminal(&[&["run", "--rm", "-it"][..], &labels].concat(), 90, 30);
    skiff.wait_for("tty", "{{.State.Running}}", "true");
    let start = std::time::Instant::now();
    while story(&skiff, "tty").len() < 4 {
        assert!(start.elapsed().as_secs() < 10, "nobody sets the size: {:?}", story(&skiff, "tty"));
    }
    terminal.send(b"exit 7\n");
    assert_eq!(terminal.finish().0, 7);
    let began = ["create", "attach", "start", "resize height=30 width=90"];
    assert_eq!(story(&skiff, "tty"), [&began[..], &["die execDuration exitCode=7", "destroy"]].concat());
}

#[test]
fn what_happens_to_a_run_is_told_between_its_start_and_its_end() {
    let skiff = Skiff::with_busybox();
    run(&skiff, &["-d"], "one", ENDS);
    ready(&skiff, "one", 1);
    skiff.ok(&["pause", "one"]);
    skiff.ok(&["unpause", "one"]);
    assert_eq!(skiff.run(&["exec", "one", "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(skiff.run(&["exec", "one", "missing"]).code, 127);
    skiff.ok(&["kill", "-s", "USR1", "one"]);
    let image = skiff.ok(&["commit", "one"]);
    // Refused, so nothing of it has happened.
    assert_ne!(skiff.run(&["unpause", "one"]).code, 0);
    skiff.ok(&["pause", "one"]);
    skiff.ok(&["kill", "one"]);
    skiff.ok(&["wait", "one"]);
    assert_ne!(skiff.run(&["kill", "one"]).code, 0);
    skiff.ok(&["start", "one"]);
    ready(&skiff, "one", 2);
    skiff.ok(&["stop", "one"]);
    skiff.ok(&["rm", "one"]);
    let told = story(&skiff, "one");
    assert_eq!(
        told,
        [
            "create",
            "start",
            "pause",
            "unpause",
            "exec_create: sh -c exit 3 execID",
            "exec_start: sh -c exit 3 execID",
            "exec_die execID exitCode=3",
            "exec_create: missing execID",
            "exec_start: missing execID",
            "kill signal=10",
            "pause",
            "unpause",
            &format!("commit comment= imageID={} imageRef=", image.trim()),
            "pause",
            "kill signal=9",
            "die execDuration exitCode=137",
            "start",
            "kill signal=15",
            "die execDuration exitCode=4",
            "stop",
            "destroy",
        ]
    );
}

#[test]
fn each_run_of_a_restart_policy_is_told() {
    let skiff = Skiff::with_busybox();
    run(&skiff, &["-d", "--restart", "on-failure:2"], "one", "exit 6");
    skiff.wait_for("one", "{{.State.Status}} {{.RestartCount}}", "exited 2");
    let one = ["start", "die execDuration exitCode=6"];
    assert_eq!(story(&skiff, "one"), [&["create"][..], &one, &one, &one].concat());
    assert_ne!(
        skiff
            .run(&["run", "--name", "bad", "--label", "tier=front", "--label", "empty", "busybox", "missing"])
            .code,
        0
    );
    assert_eq!(story(&skiff, "bad"), ["create", "attach"]);
}
