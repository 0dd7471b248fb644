//! Containers that do their worst.

use std::time::{Duration, Instant};

use testkit::{Skiff, wait_until};

use crate::assert_sound;

const LOOP: &str = "while :; do sleep 1000; done";

#[test]
fn ten_thousand_processes_end_with_their_container() {
    let skiff = Skiff::with_busybox();
    let fork = "i=0; while [ $i -lt 10000 ]; do sleep 10000 & i=$((i+1)); done; echo all; wait";
    skiff.ok(&["run", "-d", "--name", "many", "--pids-limit", "-1", "busybox", "sh", "-c", fork]);
    let start = Instant::now();
    while skiff.ok(&["logs", "many"]) != "all\n" {
        assert!(start.elapsed() < Duration::from_secs(120), "the container cannot fork that much");
        std::thread::sleep(Duration::from_millis(100));
    }
    // The others are served meanwhile.
    assert_eq!(skiff.ok(&["exec", "many", "echo", "here"]), "here\n");
    assert_eq!(skiff.ok(&["stop", "-t", "1", "many"]), "many\n");
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.ExitCode}}", "many"]), "137\n");
    assert_sound(&skiff);
}

#[test]
fn a_fork_bomb_meets_its_limit_and_can_be_removed() {
    let skiff = Skiff::with_busybox();
    let bomb = "bomb() { bomb | bomb & }; bomb; while :; do sleep 1000; done";
    skiff.ok(&["run", "-d", "--name", "bomb", "--pids-limit", "200", "busybox", "sh", "-c", bomb]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(skiff.ok(&["rm", "-f", "bomb"]), "bomb\n");
    assert_sound(&skiff);
}

/// Seconds for which a container fills its log: a minute where there is time for it.
fn filling() -> Duration {
    let seconds = std::env::var("SKIFF_FAULT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

#[test]
fn a_log_that_is_filled_at_full_speed_stays_within_its_bounds() {
    let skiff = Skiff::with_busybox();
    let bounds = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2"];
    let run = [&["run", "-d", "--name", "loud"], &bounds[..], &["busybox", "yes", "loud"]].concat();
    skiff.ok(&run);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "loud"]);
    let folder = skiff.root().join("containers").join(id.trim());
    let start = Instant::now();
    while start.elapsed() < filling() {
        let length: u64 = std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("log.json"))
            .filter_map(|entry| entry.metadata().ok())
            .map(|found| found.len())
            .sum();
        // Two files, and the line that closes one.
        assert!(length <= (2 << 20) + (64 << 10), "the log has {length} bytes");
        assert_eq!(skiff.ok(&["exec", "loud", "echo", "here"]), "here\n");
    }
    assert_eq!(skiff.ok(&["stop", "-t", "0", "loud"]), "loud\n");
    // Whole lines, but for the one that it was killed in.
    let log = skiff.ok(&["logs", "loud"]);
    let whole = log.rfind('\n').unwrap_or(0);
    assert!(log[..whole].lines().all(|line| line == "loud"));
    assert_sound(&skiff);
}

#[test]
fn one_that_ignores_every_signal_is_killed_at_the_deadline() {
    let skiff = Skiff::with_busybox();
    let deaf =
        format!("i=1; while [ $i -le 64 ]; do trap '' $i 2>/dev/null; i=$((i+1)); done; echo deaf; {LOOP}");
    skiff.ok(&["run", "-d", "--name", "deaf", "busybox", "sh", "-c", &deaf]);
    wait_until("deaf", || skiff.ok(&["logs", "deaf"]) == "deaf\n");
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "STOP", "RTMAX"] {
        skiff.ok(&["kill", "-s", signal, "deaf"]);
    }
    let start = Instant::now();
    assert_eq!(skiff.ok(&["stop", "-t", "1", "deaf"]), "deaf\n");
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(8), "{elapsed:?}");
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.ExitCode}}", "deaf"]), "137\n");
    assert_sound(&skiff);
}

#[test]
fn one_that_ends_at_once_is_started_and_has_ended() {
    let skiff = Skiff::with_busybox();
    for round in 0..100 {
        let name = format!("short{round}");
        assert_eq!(skiff.ok(&["run", "-d", "--name", &name, "busybox", "true"]).len(), 65);
        assert_eq!(skiff.ok(&["wait", &name]), "0\n");
        assert_eq!(skiff.ok(&["start", "-a", &name]), "");
        assert_eq!(skiff.run(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).code, 7);
    }
    assert_sound(&skiff);
}

#[test]
fn sixteen_clients_may_stop_kill_and_remove_the_same_one() {
    let skiff = Skiff::with_busybox();
    let verbs: [&[&str]; 4] = [
        &["stop", "-t", "1", "target"],
        &["kill", "target"],
        &["rm", "-f", "target"],
        &["restart", "-t", "0", "target"],
    ];
    for round in 0..12 {
        skiff.ok(&["run", "-d", "--name", "target", "busybox", "sh", "-c", LOOP]);
        let mut clients: Vec<_> =
            (0..16).map(|client| skiff.start(verbs[(client + round) % verbs.len()])).collect();
        for client in &mut clients {
            let start = Instant::now();
            while client.try_wait().unwrap().is_none() {
                assert!(start.elapsed() < Duration::from_secs(30), "a client waits for ever");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        for client in clients {
            let output = client.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // One of them removed it; to the others it is gone, going, or not running.
            let known =
                ["No such container", "is not running", "is already in progress", "was removed", "cannot"];
            assert!(output.status.success() || known.iter().any(|words| said.contains(words)), "{said}");
        }
        skiff.run(&["rm", "-f", "target"]);
        assert_eq!(skiff.ok(&["ps", "-aq"]), "");
    }
    assert_sound(&skiff);
}
