//! `system df` and `system prune`: what is told is what the disk has, and what is pruned is gone.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::process::Command;

use testkit::{Skiff, archive, busybox_layer};

/// Bytes on disk below folders of the root, as du counts them.
fn du(skiff: &Skiff, folders: &[&str]) -> f64 {
    let mut total = 0.0;
    for folder in folders.iter().map(|folder| skiff.root().join(folder)).filter(|folder| folder.exists()) {
        let output = Command::new("du").args(["-s", "-B1"]).arg(folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        total += text.split_whitespace().next().unwrap().parse::<f64>().unwrap();
    }
    total
}

/// `1.234MB` as a number.
fn bytes(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_alphabetic()).unwrap();
    let unit = match &text[split..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("{other}"),
    };
    text[..split].parse::<f64>().unwrap() * unit
}

fn sizes(skiff: &Skiff) -> Vec<f64> {
    skiff.ok(&["system", "df", "--format", "{{.Size}}"]).lines().map(bytes).collect()
}

fn agree(told: f64, found: f64) {
    assert!((told - found).abs() <= found * 0.01 + 1024.0, "{told} is told, {found} is there");
}

#[test]
fn what_is_told_is_what_the_disk_has() {
    let skiff = Skiff::with_busybox();
    let log = "dd if=/dev/urandom of=/made bs=1M count=5 2>/dev/null; busybox truncate -s 1G /holes; ln /made /again; seq 60000";
    skiff.run(&["run", "--name", "ended", "busybox", "sh", "-c", log]);
    skiff.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    skiff.ok(&["--snapshotter", "trees", "run", "--rm", "busybox", "true"]);
    let told = sizes(&skiff);
    agree(told[0], du(&skiff, &["layers", "blobs", "images", "trees", "tmp"]));
    agree(told[1], du(&skiff, &["containers"]) - 4096.0);
    let table = skiff.ok(&["system", "df"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    );
    for (line, start) in lines[1..].iter().zip(["Images", "Containers", "Local Volumes", "Build Cache"]) {
        assert!(line.starts_with(start), "{table}");
    }
    assert!(lines[2].split_whitespace().skip(1).take(2).eq(["2", "1"]), "{table}");
    assert!(lines[1].ends_with("%)"), "{table}");
    assert_eq!(skiff.ok(&["system", "df", "--format", "json"]).lines().count(), 4);
    let verbose = skiff.ok(&["system", "df", "-v"]);
    for title in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ] {
        assert!(verbose.lines().any(|line| line == title), "{verbose}");
    }
    let row = verbose.lines().find(|line| line.ends_with(" ended")).unwrap();
    agree(bytes(row.split_whitespace().find(|word| word.ends_with("MB")).unwrap()), told[1]);
    assert_eq!(
        skiff.ok(&["system", "df", "-v", "--format", "{{range .Images}}{{.Repository}}{{end}}"]),
        "busybox\n"
    );
    skiff.ok(&["rm", "-f", "ended", "runs"]);
    agree(sizes(&skiff)[1], 0.0);
}

#[test]
fn shared_layers_count_once() {
    let skiff = Skiff::with_busybox();
    let before = sizes(&skiff)[0];
    skiff.ok(&["run", "--name", "one", "busybox", "sh", "-c", "echo x >/x"]);
    skiff.ok(&["commit", "one", "made"]);
    assert!(sizes(&skiff)[0] < before * 1.2);
    let verbose = skiff.ok(&["system", "df", "-v"]);
    let row: Vec<&str> =
        verbose.lines().find(|line| line.starts_with("made ")).unwrap().split_whitespace().collect();
    let sizes: Vec<f64> = row
        .iter()
        .filter(|word| word.ends_with("MB") || word.ends_with("kB"))
        .map(|word| bytes(word))
        .collect();
    assert!(
        sizes[1] > sizes[2] * 10.0 && (sizes[0] - sizes[1] - sizes[2]).abs() < sizes[0] * 0.01,
        "{row:?}"
    );
    skiff.ok(&["rm", "one"]);
}

#[test]
fn prune_asks_and_removes_what_is_not_used() {
    let skiff = Skiff::with_busybox();
    let other = archive(
        "other:1",
        &busybox_layer(&[]),
        serde_json::json!({ "Cmd": ["sh"], "Labels": { "keep": "yes" } }),
    );
    skiff.load(&other);
    skiff.ok(&[
        "run",
        "--name",
        "ended",
        "busybox",
        "sh",
        "-c",
        "dd if=/dev/zero of=/x bs=1M count=2 2>/dev/null",
    ]);
    skiff.ok(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]);
    let asked = skiff.run_with_input(&["system", "prune"], b"n\n");
    assert!(
        asked.code == 0
            && asked.stdout.starts_with("WARNING! This will remove:\n  - all stopped containers\n"),
        "{asked:?}"
    );
    assert_eq!(skiff.ok(&["ps", "-aq"]).lines().count(), 2);
    let refused = skiff.run(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"]);
    assert!(refused.code == 1 && refused.stderr.contains("not supported with \"--volumes\""), "{refused:?}");
    assert_eq!(skiff.ok(&["system", "prune", "-f", "--filter", "label=none"]), "Total reclaimed space: 0B\n");
    let pruned = skiff.ok(&["system", "prune", "-f"]);
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: 2."),
        "{pruned}"
    );
    assert_eq!(skiff.ok(&["images", "-q"]).lines().count(), 2);
    let pruned = skiff.ok(&["system", "prune", "-a", "-f", "--filter", "label!=keep"]);
    assert_eq!(pruned, "Total reclaimed space: 0B\n");
    let pruned = skiff.ok(&["system", "prune", "-a", "-f", "--volumes"]);
    assert!(pruned.contains("Deleted Images:\nuntagged: other:1\n"), "{pruned}");
    assert_eq!(skiff.ok(&["images", "--format", "{{.Repository}}"]), "busybox\n");
    skiff.ok(&["container", "prune", "-f"]);
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=prune", "--format"];
    let told = skiff.ok(&[&events[..], &["{{.Type}} {{gt (len .Actor.Attributes.reclaimed) 6}}"]].concat());
    let none = "container false\nimage false\n";
    let all = format!("{none}builder false\n");
    // What builds leave has no labels: where one is asked for, nothing of it is looked at.
    assert_eq!(
        told,
        format!("{none}container true\nimage false\nbuilder false\n{all}{all}container false\n")
    );
    skiff.ok(&["rm", "-f", "runs"]);
}
