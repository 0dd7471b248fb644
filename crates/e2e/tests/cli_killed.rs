//! The real program, killed at any moment of its life: the next command finds its way, what is listed is what runs,
//! and nothing is left that cannot be removed. Needs strace, which does the killing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

use serde_json::json;
use testkit::{Skiff, busybox, busybox_layer, calls_of, kill_at, registry};

/// At how many moments one command is killed, evenly over the system calls that it makes.
const MOMENTS: usize = 60;

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
    for call in calls.iter().step_by(calls.len() / MOMENTS + 1) {
        let attempt = || {
            set_up();
            let status = kill_at(skiff, call, arguments);
            skiff.assert_listing_is_true();
            check();
            remove_all(skiff);
            assert_eq!(skiff.left_by_containers(), "", "{arguments:?} killed at {call:?}");
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

#[test]
fn pull_may_be_killed_at_any_moment() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let tar = busybox_layer(&[]);
    let config = json!({"os": "linux", "architecture": oci::Platform::host().architecture,
        "rootfs": {"type": "layers", "diff_ids": [oci::Digest::of(&tar).as_str()]}});
    let config =
        registry.put_blob("a", "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layer = registry.put_blob("a", "application/vnd.oci.image.layer.v1.tar", &tar);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    registry.put_manifest("a", "1", &manifest);
    let name = format!("{}/a:1", registry.address());
    let left = |folder: &str| -> Vec<_> {
        std::fs::read_dir(skiff.root().join(folder)).into_iter().flatten().collect()
    };
    let prune = || {
        assert_eq!(skiff.run(&["image", "prune", "-af"]).code, 0);
        for folder in ["layers", "blobs/sha256", "images", "trees", "partial", "tmp"] {
            let left = left(folder);
            assert!(left.is_empty(), "{left:?}");
        }
    };
    sweep(&skiff, &["pull", &name], &prune, &|| {
        // Again is no error, whatever the first one came to, and what it makes is whole.
        skiff.ok(&["pull", &name]);
        assert!(left("tmp").is_empty() && left("partial").is_empty());
        assert_eq!(skiff.ok(&["run", "--rm", "--pull=never", &name, "echo", "whole"]), "whole\n");
        assert_eq!(skiff.run(&["image", "verify", &name]).code, 0);
        prune();
    });
}
