//! Readers that leave: `skiff … | head` ends as any program in a pipeline does.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests start programs and may fail")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use testkit::{Output, Skiff, User, busybox};

const SIGPIPE: i32 = 13;

/// Waits for a program that has no reason to go on.
fn end_of(mut child: Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > Duration::from_secs(8) {
            // It would outlive the test.
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on without a reader");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `skiff arguments | head -2`: the lines, and how skiff ended.
fn head(skiff: &Skiff, arguments: &[&str]) -> (Vec<String>, ExitStatus) {
    let mut child = skiff.start(arguments);
    let mut lines = Vec::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        lines.push(line.trim_end().to_owned());
    }
    drop(reader);
    (lines, end_of(child))
}

fn assert_ended_by_its_reader(skiff: &Skiff, arguments: &[&str]) {
    let (lines, status) = head(skiff, arguments);
    assert_eq!(lines, ["y", "y"], "{arguments:?}");
    assert_eq!(status.signal(), Some(SIGPIPE), "{arguments:?}: {status:?}");
}

#[test]
fn a_foreground_container_ends_with_its_reader() {
    let skiff = Skiff::with_busybox();
    for arguments in [
        // As the first process, which the kernel spares the signal, as a child of it, and below an init.
        &["run", "--rm", "--name", "one", "busybox", "yes"][..],
        &["run", "--rm", "--name", "one", "busybox", "sh", "-c", "yes; :"],
        &["run", "--rm", "--name", "one", "--init", "busybox", "yes"],
        // Its terminal is hung up.
        &["run", "--rm", "--name", "one", "-t", "busybox", "yes"],
        &["run", "--rm", "--name", "one", "-i", "busybox", "yes"],
    ] {
        assert_ended_by_its_reader(&skiff, arguments);
        // Its name is free at once: nothing runs on unseen.
        assert_eq!(skiff.ok(&["ps", "-aq"]), "", "{arguments:?}");
    }
}

#[test]
fn a_shell_that_goes_on_all_the_same_is_stopped() {
    let skiff = Skiff::with_busybox();
    let deaf = "while :; do echo y; sleep 0.02; done";
    let command = ["busybox", "sh", "-c", deaf];
    let run = ["run", "--rm", "--name", "one", "--stop-timeout", "1"];
    assert_ended_by_its_reader(&skiff, &[&run[..], &command].concat());
    let start = Instant::now();
    while !skiff.ok(&["ps", "-aq"]).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "it goes on");
    }
    // One that is kept can be looked at: it goes on.
    assert_ended_by_its_reader(&skiff, &[&["run", "--name", "kept"], &command[..]].concat());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(skiff.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "kept running\n");
}

#[test]
fn a_pipe_that_the_monitor_may_not_have_counts_as_well() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    // The test's own pipes belong to root: the user's client copies.
    let script = "while echo y; do sleep 0.02; done";
    assert_ended_by_its_reader(&skiff, &["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_kept_container_ends_too_and_its_log_says_what_was_printed() {
    let skiff = Skiff::with_busybox();
    let script = "yes; echo $? >/code; exec 2>/dev/null; seq 1 3";
    assert_ended_by_its_reader(&skiff, &["run", "--name", "kept", "busybox", "sh", "-c", script]);
    skiff.wait_for("kept", "{{.State.Status}}", "exited");
    assert!(skiff.ok(&["logs", "--tail", "1", "kept"]).starts_with('y'));
    assert_ended_by_its_reader(&skiff, &["start", "-a", "kept"]);
    skiff.wait_for("kept", "{{.State.Status}}", "exited");
}

#[test]
fn a_program_that_prints_nothing_more_does_not_notice() {
    let skiff = Skiff::with_busybox();
    let mut child = skiff.start(&["run", "--rm", "busybox", "sh", "-c", "sleep 0.5; exit 5"]);
    drop(child.stdout.take());
    assert_eq!(end_of(child).code(), Some(5));
}

#[test]
fn a_reader_of_standard_error_counts_as_well() {
    let skiff = Skiff::with_busybox();
    let mut child = skiff.start(&["run", "--rm", "busybox", "sh", "-c", "yes >&2"]);
    drop(child.stderr.take());
    assert_eq!(end_of(child).signal(), Some(SIGPIPE));
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn who_only_watches_leaves_the_container_alone() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "busy", "busybox", "sh", "-c", "while echo y; do sleep 0.01; done"]);
    for arguments in
        [&["attach", "busy"][..], &["logs", "-f", "busy"], &["logs", "--follow", "--tail", "5", "busy"]]
    {
        assert_ended_by_its_reader(&skiff, arguments);
    }
    assert_eq!(skiff.ok(&["ps", "--format", "{{.Names}} {{.State}}"]), "busy running\n");
    // Two watch; one leaves.
    let mut stays = skiff.start(&["attach", "busy"]);
    assert_ended_by_its_reader(&skiff, &["attach", "busy"]);
    let mut some = [0; 200];
    stays.stdout.as_mut().unwrap().read_exact(&mut some).unwrap();
    skiff.ok(&["kill", "busy"]);
    assert_eq!(Output::of(stays.wait_with_output().unwrap()).code, 137);
}

#[test]
fn a_follower_of_a_silent_log_notices_too() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "still", "busybox", "sh", "-c", "echo y; echo y; sleep 1000"]);
    assert_ended_by_its_reader(&skiff, &["logs", "-f", "still"]);
}

#[test]
fn a_program_beside_ends_with_its_reader() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "busybox", "sleep", "1000"]);
    for arguments in [&["exec", "host", "yes"][..], &["exec", "-t", "host", "yes"]] {
        let (lines, status) = head(&skiff, arguments);
        assert_eq!(lines, ["y", "y"]);
        // The program holds the pipe itself: it is what the signal ends, and this is its code.
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(code, Some(128 + SIGPIPE), "{arguments:?}: {status:?}");
        let start = Instant::now();
        while skiff.ok(&["exec", "host", "ps"]).contains(" yes") {
            assert!(start.elapsed() < Duration::from_secs(5), "{arguments:?} goes on");
        }
    }
}

#[test]
fn commands_that_print_end_by_the_signal() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox"]);
    for arguments in [
        &["ps", "-a"][..],
        &["images"],
        &["inspect", "one"],
        &["logs", "--help"],
        &["version"],
        &["info"],
        &["history", "busybox"],
        &["save", "busybox"],
        &["--help"],
    ] {
        let mut command = skiff.command(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGPIPE), "{arguments:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}
