//! How much memory the real program takes to load what others compressed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{Entry, Output, Skiff, archive_with_blob, busybox_layer};

/// Most bytes that may be resident, as README.md promises.
const PROMISED: u64 = 64 << 20;

/// What a program of the distribution makes of `content`.
fn compress(command: &[&str], content: &Path) -> Vec<u8> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .stdin(File::open(content).unwrap())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} (from the distribution's packages) is needed: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a command to its end; also the most memory it had resident, in bytes, seen to the millisecond.
fn watched(skiff: &Skiff, arguments: &[&str], input: Option<&Path>) -> (Output, u64) {
    let mut command = skiff.command(arguments);
    command.stdin(input.map_or(Stdio::null(), |path| File::open(path).unwrap().into()));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0_u64);
        peak = peak.max(kib << 10);
        std::thread::sleep(Duration::from_millis(1));
    }
    (Output::of(child.wait_with_output().unwrap()), peak)
}

/// A layer whose windows are all filled.
fn large_layer() -> Vec<u8> {
    let content: Vec<u8> = (0..96_u32 << 18).flat_map(|word| (word >> 12).to_le_bytes()).collect();
    busybox_layer(&[Entry::File("large", 0o644, &content)])
}

#[test]
fn loading_stays_within_its_promise_however_a_layer_is_compressed() {
    const LOADS: &str = "Loaded image: large:1\n";
    let skiff = Skiff::new();
    let layer = large_layer();
    let plain = skiff.folder().join("layer.tar");
    std::fs::write(&plain, &layer).unwrap();
    for (command, refusal) in [
        (&["cat"][..], None),
        (&["gzip", "-1"], None),
        (&["xz", "-0"], None),
        (&["xz", "-6"], None),
        (&["xz", "-8"], None),
        (&["xz", "-9"], Some("window of 67108864 bytes")),
        (&["zstd", "-1"], None),
        (&["zstd", "-10", "--long=23"], None),
        (&["zstd", "-1", "--long=25"], None),
        (&["zstd", "-1", "--long=26"], Some("window of 67108864 bytes")),
        (&["zstd", "-1", "--long=27"], Some("window of 134217728 bytes")),
        (&["zstd", "-1", "--long=31"], Some("window of 2147483648 bytes")),
    ] {
        let blob = compress(command, &plain);
        let archive = archive_with_blob("large:1", &layer, &blob, serde_json::json!({}));
        let path = skiff.folder().join("archive.tar");
        File::create(&path).unwrap().write_all(&archive).unwrap();
        for input in [None, Some(path.as_path())] {
            let arguments = if input.is_some() { &["load"][..] } else { &["load", "-i", "archive.tar"] };
            let (output, peak) = watched(&skiff, arguments, input);
            println!("{command:?} {arguments:?}: {} MiB", peak >> 20);
            assert!(peak > 1 << 20 && peak < PROMISED, "{command:?}: {peak} bytes resident");
            match refusal {
                None => {
                    assert_eq!((output.code, output.stdout.as_str()), (0, LOADS), "{command:?} {output:?}")
                }
                Some(words) => {
                    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{command:?} {output:?}");
                    for words in [words, "/layer.tar", command[0], "decompress it first"] {
                        assert!(output.stderr.contains(words), "{command:?} {output:?}");
                    }
                }
            }
            drop(skiff.run(&["image", "prune", "-af"]));
            assert_eq!(std::fs::read_dir(skiff.root().join("layers")).unwrap().count(), 0, "{command:?}");
        }
    }
}

#[test]
fn a_large_window_that_is_not_filled_does_not_count() {
    let skiff = Skiff::new();
    let layer = busybox_layer(&[]);
    let plain = skiff.folder().join("layer.tar");
    std::fs::write(&plain, &layer).unwrap();
    for command in [&["xz", "-9"][..], &["zstd", "--ultra", "-22"], &["zstd", "-1", "--long=31"]] {
        let blob = compress(command, &plain);
        let archive = archive_with_blob("small:1", &layer, &blob, serde_json::json!({}));
        assert_eq!(skiff.load(&archive), "Loaded image: small:1\n", "{command:?}");
        assert!(skiff.run(&["image", "prune", "-af"]).stdout.contains("Deleted Images"));
    }
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_stays_within_the_promise() {
    let skiff = Skiff::new();
    let layer = large_layer();
    let archive = skiff.folder().join("archive.tar");
    let plain = skiff.folder().join("layer.tar");
    std::fs::write(&plain, &layer).unwrap();
    let large = ["zstd", "-1", "--long=25"];
    let blob = compress(&large, &plain);
    std::fs::write(&archive, archive_with_blob("large:1", &layer, &blob, serde_json::json!({}))).unwrap();
    let path = skiff.folder().join("archive");
    for (outer, words) in [
        (&["gzip", "-1"][..], "Loaded image: large:1"),
        (&["zstd", "-1", "--long=23"], "Loaded image: large:1"),
        // The windows of archive and layer together are too much.
        (
            &large,
            "/layer.tar is compressed as zstd with a window of 33554432 bytes, of which at most 8388608",
        ),
    ] {
        std::fs::write(&path, compress(outer, &archive)).unwrap();
        let (output, peak) = watched(&skiff, &["load", "-i", "archive"], None);
        assert!(peak < PROMISED, "{outer:?}: {peak} bytes resident");
        assert!(output.stdout.contains(words) || output.stderr.contains(words), "{outer:?} {output:?}");
        drop(skiff.run(&["image", "prune", "-af"]));
    }
    std::fs::write(&archive, archive_with_blob("large:1", &layer, &layer, serde_json::json!({}))).unwrap();
    std::fs::write(&path, compress(&["xz", "-9", "-T1"], &archive)).unwrap();
    let (output, peak) = watched(&skiff, &["load", "-i", "archive"], None);
    assert!(peak < PROMISED, "{peak} bytes resident");
    let words = "archive is compressed as xz with a window of 67108864 bytes";
    assert!(output.code == 1 && output.stderr.contains(words), "{output:?}");
}
