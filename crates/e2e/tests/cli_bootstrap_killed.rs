//! `image bootstrap`, killed wherever it may be: nothing of it lasts.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod packages;

use packages::Archive;
use testkit::{Skiff, calls_of, kill_at};

/// A `dpkg` that has nothing to say.
const WILLING: &str = "#!/bin/sh\nexit 0\n";

/// Kills it at some of the calls that change something, about so many. The next one makes the same image, and leaves what would
/// be there had nobody been killed.
fn leaves_nothing(archive: &Archive, more: &[&str], about: usize) {
    let skiff = Skiff::new();
    let words = archive.arguments(more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let files = || {
        let mut files: Vec<String> =
            ["blobs/sha256", "layers", "images", "tmp", "containers", "cache/debian"]
                .iter()
                .flat_map(|folder| std::fs::read_dir(skiff.root().join(folder)).into_iter().flatten())
                .map(|entry| entry.unwrap().path().display().to_string())
                .collect();
        files.sort();
        files
    };
    let id = skiff.ok(&words);
    let whole = files();
    let reset = || {
        skiff.ok(&["rmi", "killed"]);
        skiff.ok(&["system", "prune", "-af"]);
    };
    reset();
    let changing = |name: &str| {
        ["write", "rename", "fsync", "link", "mkdir", "unlink", "open", "fallocate", "fdatasync", "clone"]
            .iter()
            .any(|word| name.contains(word))
    };
    let calls: Vec<_> = calls_of(&skiff, &words).into_iter().filter(|call| changing(&call.name)).collect();
    reset();
    let mut killed = 0;
    for call in calls.iter().step_by(calls.len() / about + 1) {
        killed += usize::from(!kill_at(&skiff, call, &words).success());
        // Its scripts end with it, and their monitor removes what there was. One that had not been started goes with the next.
        testkit::wait_until("the container has ended", || skiff.ok(&["ps", "-q"]).is_empty());
        assert_eq!(skiff.ok(&words), id, "{call:?}");
        assert_eq!(skiff.ok(&["ps", "-aq"]), "", "{call:?}");
        assert_eq!(files(), whole, "{call:?}");
        assert_eq!(skiff.ok(&["images", "-aq"]).lines().count(), 1, "{call:?}");
        reset();
    }
    assert!(killed > about / 2, "{killed}: the test shows little");
}

#[test]
fn who_is_killed_making_an_image_without_a_shell_leaves_nothing() {
    leaves_nothing(&Archive::usual(), &["-q", "--variant", "distroless", "-t", "killed", "tool"], 24);
}

#[test]
fn who_is_killed_configuring_a_minimal_system_leaves_nothing() {
    leaves_nothing(&Archive::with_dpkg(WILLING), &["-q", "-t", "killed", "second"], 12);
}
