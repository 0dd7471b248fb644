//! Power that fails: everything that was not synced is gone, and what has a name is whole.

use testkit::{Disk, Skiff, busybox, calls_of, kill_at, wait_until};

use crate::assert_sound;

/// At how many moments of one command the power fails.
const MOMENTS: usize = 24;

/// Takes the power away at one moment of the command after another, and at its end. `check` is told whether the command
/// had said that it was done.
fn sweep(disk: &Disk, skiff: &Skiff, set_up: &dyn Fn(), arguments: &[&str], check: &dyn Fn(bool)) {
    let set_up = || {
        remove_containers(skiff);
        set_up();
    };
    set_up();
    let calls = calls_of(skiff, arguments);
    let step = calls.len() / MOMENTS + 1;
    let moments = calls.into_iter().step_by(step).map(Some).chain([None]);
    for moment in moments {
        set_up();
        let done = match &moment {
            Some(call) => kill_at(skiff, call, arguments).success(),
            None => skiff.run(arguments).code == 0,
        };
        fail(disk, skiff);
        // Shown by a test that fails.
        #[allow(clippy::print_stderr, reason = "the moment is what a reader of a failure needs first")]
        {
            eprintln!("power failed at {moment:?}");
        }
        check(done);
    }
    assert_sound(skiff);
}

fn remove_containers(skiff: &Skiff) {
    let ids = skiff.run(&["ps", "-aq", "--no-trunc"]).stdout;
    skiff.run(&[vec!["rm", "-f"], ids.lines().collect()].concat());
}

/// The machine loses its power and comes back.
fn fail(disk: &Disk, skiff: &Skiff) {
    disk.cut_power();
    // Processes and what lies in memory go with the power too.
    remove_containers(skiff);
    // What was killed may still be on its way out.
    wait_until("nothing runs", || std::fs::remove_dir_all(skiff.run_folder()).is_ok());
    disk.restore_power();
}

/// Every image is whole, every container can be looked at, started and removed.
fn assert_whole(skiff: &Skiff) {
    for id in skiff.ok(&["images", "-q"]).lines() {
        let output = skiff.run(&["image", "verify", id]);
        assert_eq!(output.code, 0, "{output:?}");
        assert_eq!(skiff.ok(&["run", "--rm", id, "echo", "whole"]), "whole\n");
    }
    for id in skiff.ok(&["ps", "-aq"]).lines() {
        skiff.ok(&["inspect", id]);
        skiff.ok(&["start", id]);
        // One with `--rm` may have gone by itself.
        assert_eq!(skiff.run(&["rm", "-f", id]).code, 0);
    }
    // What was half done has no name, and goes with the next clean-up.
    assert_eq!(skiff.run(&["image", "prune", "-f"]).code, 0);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn an_image_that_is_named_is_whole() {
    let disk = Disk::new(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let archive = skiff.folder().join("busybox.tar");
    std::fs::write(&archive, busybox()).unwrap();
    let load = ["load", "-i", archive.to_str().unwrap()];
    let without = || assert_eq!(skiff.run(&["image", "prune", "-af"]).code, 0);
    sweep(&disk, &skiff, &without, &load, &|done| {
        assert_whole(&skiff);
        // Who was told that it is there finds it.
        assert!(!done || skiff.run(&["image", "inspect", "busybox"]).code == 0);
        assert_eq!(skiff.ok(&load), "Loaded image: busybox:latest\n");
        assert_whole(&skiff);
    });
}

#[test]
fn an_image_that_is_removed_leaves_no_half() {
    let disk = Disk::new(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let archive = skiff.folder().join("busybox.tar");
    std::fs::write(&archive, busybox()).unwrap();
    let load = ["load", "-i", archive.to_str().unwrap()];
    let with = || drop(skiff.ok(&load));
    sweep(&disk, &skiff, &with, &["rmi", "busybox"], &|_| {
        assert_whole(&skiff);
        with();
        assert_whole(&skiff);
    });
}

#[test]
fn containers_that_are_made_run_and_removed_are_whole_or_gone() {
    let disk = Disk::new(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let nothing = || ();
    let made = || drop(skiff.ok(&["create", "--name", "one", "busybox", "true"]));
    let run = || drop(skiff.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]));
    let whole = |_| {
        assert_whole(&skiff);
        skiff.ok(&["run", "--rm", "--name", "one", "busybox", "true"]);
    };
    sweep(&disk, &skiff, &nothing, &["create", "--name", "one", "busybox", "true"], &whole);
    sweep(&disk, &skiff, &nothing, &["run", "-d", "--name", "one", "busybox", "sleep", "1000"], &whole);
    sweep(&disk, &skiff, &made, &["start", "one"], &whole);
    sweep(&disk, &skiff, &run, &["stop", "-t", "0", "one"], &whole);
    sweep(&disk, &skiff, &run, &["rm", "-f", "one"], &whole);
}
