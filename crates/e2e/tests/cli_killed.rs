//! The real program, killed at any moment of its life: the next command finds its way, what is listed is what runs,
//! and nothing is left that cannot be removed. Needs strace, which does the killing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Skiff, busybox};

/// At how many moments one command is killed, evenly over the system calls that it makes.
const MOMENTS: usize = 60;

/// The command behind `strace` with more of its flags.
fn traced(skiff: &Skiff, flags: &[&str], arguments: &[&str]) -> Command {
    let command = skiff.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(flags).arg(command.get_program()).args(arguments);
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(skiff.folder());
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}

/// The system calls that the command makes when nobody kills it, each with how many of its kind came before it and
/// itself: what strace counts by.
fn calls_of(skiff: &Skiff, arguments: &[&str]) -> Vec<(String, u32)> {
    let log = skiff.folder().join("calls");
    let status = traced(skiff, &["-qq", "-o", log.to_str().unwrap()], arguments).status();
    let status = status.expect("this test needs strace: install the package of that name");
    assert!(status.success(), "{arguments:?}: {status}");
    let text = std::fs::read(&log).unwrap();
    std::fs::remove_file(log).unwrap();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let text = String::from_utf8_lossy(&text).into_owned();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let is_name = |name: &&str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    names
        .filter(is_name)
        .map(|name| {
            let count = counts.entry(name.to_owned()).or_default();
            *count += 1;
            (name.to_owned(), *count)
        })
        .collect()
}

/// Kills the command at one moment after another, each time after `set_up`, and checks what `check` says and that
/// everything can be removed.
fn sweep(skiff: &Skiff, arguments: &[&str], set_up: &dyn Fn(), check: &dyn Fn()) {
    // What the first of all makes and keeps (compiled filters, say) the second finds.
    let mut calls = Vec::new();
    for _ in 0..2 {
        set_up();
        calls = calls_of(skiff, arguments);
        remove_all(skiff);
    }
    let (mut tried, mut killed) = (0, 0);
    // The first call is the exec, before which there is no program.
    for (name, count) in calls.iter().skip(1).step_by(calls.len() / MOMENTS + 1) {
        let kill = format!("inject={name}:signal=KILL:when={count}");
        let attempt = || {
            set_up();
            let status = traced(skiff, &["-qq", "-o", "/dev/null", "-e", &kill], arguments).status().unwrap();
            assert_listing_is_true(skiff);
            check();
            remove_all(skiff);
            assert_eq!(skiff.left_by_containers(), "", "{arguments:?} killed at {name} number {count}");
            !status.success()
        };
        tried += 1;
        // One run may wait a little less often than another, and then live.
        killed += usize::from((0..3).any(|_| attempt()));
    }
    assert!(
        killed * 10 >= tried * 8,
        "{arguments:?}: {killed} of {tried} were killed: the test shows little"
    );
}

fn remove_all(skiff: &Skiff) {
    let ids = skiff.ok(&["ps", "-aq", "--no-trunc"]);
    let ids: Vec<&str> = ids.lines().collect();
    // One with `--rm` may go meanwhile, which `rm -f` does not mind.
    skiff.run(&[&["rm", "-f"], &ids[..]].concat());
    assert_eq!(skiff.ok(&["ps", "-aq"]), "", "not all could be removed");
}

/// Monitors of this Skiff's containers that live, by the id that is their argument.
fn monitors(known: &BTreeSet<String>) -> BTreeSet<String> {
    let words = |entry: std::io::Result<std::fs::DirEntry>| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        (words.next() == Some("skiff-monitor")).then(|| words.next().unwrap_or_default().to_owned())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(words).filter(|id| known.contains(id)).collect()
}

/// What is listed as running has a monitor and a live process; what is not has neither, as soon as what was on its
/// way has come.
fn assert_listing_is_true(skiff: &Skiff) {
    let start = Instant::now();
    loop {
        let rows = skiff.ok(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]);
        let rows: Vec<(&str, &str)> = rows.lines().filter_map(|row| row.split_once(' ')).collect();
        let known = rows.iter().map(|(id, _)| (*id).to_owned()).collect();
        let running: BTreeSet<String> =
            rows.iter().filter(|(_, state)| *state == "running").map(|(id, _)| (*id).to_owned()).collect();
        let alive = |id: &String| {
            let pid = skiff.run(&["inspect", "-f", "{{.State.Pid}}", id]).stdout;
            std::fs::exists(format!("/proc/{}", pid.trim())).unwrap()
        };
        if monitors(&known) == running && running.iter().all(alive) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{rows:?}, but there are {:?}", monitors(&known));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn create_and_run_may_be_killed_at_any_moment() {
    let skiff = Skiff::with_busybox();
    let sleeper = ["--name", "one", "busybox", "sleep", "1000"];
    sweep(&skiff, &[&["create"], &sleeper[..]].concat(), &|| {}, &|| {});
    sweep(&skiff, &[&["run", "-d"], &sleeper[..]].concat(), &|| {}, &|| {});
    sweep(&skiff, &["run", "--rm", "--name", "one", "busybox", "true"], &|| {}, &|| {});
    sweep(&skiff, &["run", "--name", "one", "busybox", "sh", "-c", "exit 0"], &|| {}, &|| {
        // It went on without its caller, or never began.
        skiff.run(&["wait", "one"]);
        let state = skiff.run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"]).stdout;
        assert!(["", "created 0\n", "exited 0\n"].contains(&state.as_str()), "{state}");
    });
}

#[test]
fn start_may_be_killed_at_any_moment() {
    let skiff = Skiff::with_busybox();
    let create = || drop(skiff.ok(&["create", "--name", "one", "busybox", "sleep", "1000"]));
    sweep(&skiff, &["start", "one"], &create, &|| {
        // Again is no error, whatever the first one came to.
        assert_eq!(skiff.ok(&["start", "one"]), "one\n");
        assert_eq!(skiff.ok(&["exec", "one", "echo", "up"]), "up\n");
    });
}

#[test]
fn stop_kill_and_wait_may_be_killed_at_any_moment() {
    let skiff = Skiff::with_busybox();
    let run = || drop(skiff.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]));
    for arguments in [&["stop", "-t", "0", "one"][..], &["kill", "one"]] {
        sweep(&skiff, arguments, &run, &|| {
            assert_eq!(skiff.ok(&["stop", "-t", "0", "one"]), "one\n");
            assert_eq!(skiff.ok(&["wait", "one"]), "137\n");
        });
    }
}

#[test]
fn remove_may_be_killed_at_any_moment() {
    let skiff = Skiff::with_busybox();
    let ended = || drop(skiff.ok(&["run", "--name", "one", "busybox", "touch", "/file"]));
    let running = || drop(skiff.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]));
    // The name is free, or the container is whole: then it can be started.
    let usable = || match skiff.run(&["start", "one"]).code {
        0 => drop(skiff.run(&["kill", "one"])),
        _ => drop(skiff.ok(&["create", "--name", "one", "busybox"])),
    };
    sweep(&skiff, &["rm", "one"], &ended, &usable);
    sweep(&skiff, &["rm", "-f", "one"], &running, &usable);
}

#[test]
fn load_and_the_removal_of_an_image_may_be_killed_at_any_moment() {
    let skiff = Skiff::new();
    let archive = skiff.folder().join("busybox.tar");
    std::fs::write(&archive, busybox()).unwrap();
    let load = ["load", "-i", archive.to_str().unwrap()];
    let prune = || {
        assert_eq!(skiff.run(&["image", "prune", "-af"]).code, 0);
        for folder in ["layers", "blobs/sha256", "images", "trees", "tmp"] {
            let left: Vec<_> = std::fs::read_dir(skiff.root().join(folder)).into_iter().flatten().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    };
    let usable = || {
        // Again is no error, whatever the first one came to, and what it makes is whole.
        assert_eq!(skiff.ok(&load), "Loaded image: busybox:latest\n");
        assert_eq!(skiff.ok(&["run", "--rm", "busybox", "echo", "whole"]), "whole\n");
        assert_eq!(skiff.run(&["image", "verify", "busybox"]).code, 0);
    };
    sweep(&skiff, &load, &prune, &|| {
        usable();
        prune();
    });
    let loaded = || drop(skiff.ok(&load));
    sweep(&skiff, &["rmi", "busybox"], &loaded, &|| {
        usable();
        prune();
    });
}
