//! Images that go by themselves: when the disk is full, and all but the newest.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use std::path::Path;

use testkit::{Disk, Entry, Skiff, archive, layer};

const MEGABYTE: usize = 1 << 20;

/// An image of so many megabytes, of which no other has any.
fn load(skiff: &Skiff, name: &str, megabytes: usize) -> testkit::Output {
    let content = name.repeat(megabytes * MEGABYTE / name.len());
    let layer = layer(&[Entry::File("content", 0o644, content.as_bytes())]);
    skiff.run_with_input(&["load"], &archive(name, &layer, serde_json::json!({ "Cmd": ["none"] })))
}

/// Percent of the file system that are taken, as df(1) counts.
fn full(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).unwrap();
    let used = found.f_blocks - found.f_bfree;
    (used * 100).div_ceil(used + found.f_bavail)
}

fn settings(skiff: &Skiff, text: &str) {
    std::fs::create_dir_all(skiff.settings()).unwrap();
    std::fs::write(skiff.settings().join("gc.toml"), text).unwrap();
}

fn names(skiff: &Skiff) -> String {
    let listed = skiff.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut names: Vec<_> = listed.lines().collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn the_least_recently_used_go_until_the_low_mark_is_reached() {
    let disk = Disk::new(160);
    let skiff = Skiff::with_busybox_at(&disk.path());
    for name in ["one:1", "two:1", "three:1", "four:1"] {
        assert_eq!(load(&skiff, name, 16).code, 0);
    }
    let percent = full(&disk.path());
    assert!(percent > 40, "{percent}");
    // When an image was used is known to the second at best.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    skiff.ok(&["create", "--name", "box1", "one:1"]);
    skiff.ok(&["rm", "box1"]);
    skiff.ok(&["create", "--name", "box2", "two:1"]);
    let asks = |high: u64, low: u64| format!("high = \"{high}%\"\nlow = \"{low}%\"\n");

    // Not yet full, or everything has been used within the hour.
    settings(&skiff, &format!("{}unused-for = \"0s\"", asks(percent + 1, percent - 20)));
    assert_eq!(skiff.ok(&["image", "prune", "--auto"]), "Total reclaimed space: 0B\n");
    settings(&skiff, &asks(percent - 1, percent - 20));
    assert_eq!(skiff.ok(&["image", "prune", "--auto"]), "Total reclaimed space: 0B\n");

    // The second is used, the busybox kept; the third is older than the fourth, the first was used last.
    settings(&skiff, &format!("{}unused-for = \"0s\"\nkeep = [\"busy*\"]", asks(percent - 1, percent - 5)));
    let pruned = skiff.ok(&["image", "prune", "--auto"]);
    assert!(pruned.starts_with("Deleted Images:\nuntagged: three:1\ndeleted: sha256:"), "{pruned}");
    assert!(pruned.contains("\nTotal reclaimed space: 16.") && !pruned.contains("four:1"), "{pruned}");
    assert_eq!(names(&skiff), "busybox:latest four:1 one:1 two:1");
    assert!(full(&disk.path()) <= percent - 5, "{}", full(&disk.path()));

    // Whatever adds an image makes room, and does not take its own for that.
    settings(&skiff, "high = \"1%\"\nunused-for = \"0s\"\nkeep = [\"busybox:latest\"]");
    let loaded = load(&skiff, "five:1", 16);
    assert_eq!((loaded.code, loaded.stdout.as_str()), (0, "Loaded image: five:1\n"), "{loaded:?}");
    assert!(loaded.stderr.contains("% full: removed images that were not in use (3"), "{loaded:?}");
    assert_eq!(names(&skiff), "busybox:latest five:1 two:1");
    let events = skiff.ok(&["events", "--since", "1h", "--until", "0s", "--filter", "event=prune"]);
    assert_eq!(events.lines().count(), 2, "{events}");
    skiff.ok(&["rm", "box2"]);
}

#[test]
fn settings_that_make_no_sense_are_named_and_cost_no_image() {
    let skiff = Skiff::new();
    let missing = skiff.run(&["image", "prune", "--auto"]);
    let path = skiff.settings().join("gc.toml").display().to_string();
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""), "{missing:?}");
    assert!(missing.stderr.contains(&format!("there is no {path}")), "{missing:?}");
    settings(&skiff, "high = \"1%\"\nlow = \"2%\"");
    let wrong = format!("cannot use {path}: low (2%) is above high (1%)\n");
    let pruned = skiff.run(&["image", "prune", "--auto"]);
    assert!(pruned.code == 1 && pruned.stderr.contains(&wrong), "{pruned:?}");
    let loaded = load(&skiff, "one:1", 1);
    assert_eq!((loaded.code, loaded.stdout.as_str()), (0, "Loaded image: one:1\n"), "{loaded:?}");
    assert!(loaded.stderr.ends_with(&wrong), "{loaded:?}");
    let mixed = skiff.run(&["image", "prune", "--auto", "--all"]);
    assert!(mixed.code != 0 && mixed.stderr.contains("--auto removes what gc.toml says"), "{mixed:?}");
    assert_eq!(names(&skiff), "one:1");
}

#[test]
fn the_newest_of_each_repository_are_kept() {
    let skiff = Skiff::with_busybox();
    for name in ["app:1", "app:2", "app:3", "tool:1"] {
        let image = skiff.ok(&["create", "busybox", "true", name]);
        skiff.ok(&["commit", image.trim(), name]);
        skiff.ok(&["rm", image.trim()]);
    }
    // An image is as new as the newest of its names makes it.
    skiff.ok(&["tag", "app:1", "old:1"]);
    let refused = skiff.run(&["image", "prune", "--keep", "many", "-f"]);
    assert!(refused.code == 125 && refused.stderr.contains("not a whole number"), "{refused:?}");
    assert_eq!(skiff.ok(&["image", "prune", "--keep", "3", "-f"]), "Total reclaimed space: 0B\n");
    skiff.ok(&["rmi", "old:1"]);
    let pruned = skiff.ok(&["image", "prune", "--keep", "2", "-f"]);
    assert!(pruned.contains("untagged: app:1\n") && !pruned.contains("untagged: app:2\n"), "{pruned}");
    assert_eq!(names(&skiff), "app:2 app:3 busybox:latest tool:1");
    skiff.ok(&["image", "prune", "--all", "--until", "24h", "-f"]);
    assert_eq!(names(&skiff), "app:2 app:3 tool:1", "the busybox is as old as its own words say");
    skiff.ok(&["image", "prune", "--keep", "0", "-f"]);
    assert_eq!(names(&skiff), "");
}
