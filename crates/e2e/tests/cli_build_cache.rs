//! `builder du`, `builder prune` and their like: what builds have left is told as it is, and goes as asked.
//!
//! Rows and files are written as a build leaves them, so that each case is exactly the one that is meant.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use std::fs::File;
use std::path::{Path, PathBuf};

use oci::{DiffId, Digest};
use rustix::fs::{FlockOperation, flock};
use state::{CacheKind, FileStamp, NewBuildRecord, State};
use testkit::{Entry, Skiff, archive, busybox_layer, calls_of, kill_at, layer};

/// What a build might have left: records of a layer that an image has, and of one that none has; a cache mount; a context.
struct Left {
    skiff: Skiff,
    shared: DiffId,
    private: DiffId,
    mount: PathBuf,
}

const MEGABYTE: usize = 1 << 20;

impl Left {
    fn new() -> Left {
        let skiff = Skiff::with_busybox();
        let shared = DiffId::try_from(Digest::of(&busybox_layer(&[]))).unwrap();
        let own = layer(&[Entry::File("content", 0o644, &vec![b'x'; 3 * MEGABYTE])]);
        let private = DiffId::try_from(Digest::of(&own)).unwrap();
        let mount = skiff.root().join("cache/mounts").join(key("npm").encoded());
        let left = Left { skiff, shared, private, mount };
        left.again();
        left
    }

    fn state(&self) -> State {
        State::open(&self.skiff.root()).unwrap()
    }

    /// Makes all of it, as far as it is gone.
    fn again(&self) {
        let own = layer(&[Entry::File("content", 0o644, &vec![b'x'; 3 * MEGABYTE])]);
        self.skiff.load(&archive("passing:1", &own, serde_json::json!({ "Cmd": ["none"] })));
        self.keep("shared", &self.shared, "[1/3] FROM busybox");
        self.keep("private", &self.private, "[2/3] RUN make\nall");
        self.state().use_cache_mount(key("npm").encoded(), "/root/.npm").unwrap();
        std::fs::create_dir_all(&self.mount).unwrap();
        std::fs::write(self.mount.join("package"), vec![b'y'; MEGABYTE]).unwrap();
        self.state().measure_cache_mount(key("npm").encoded(), MEGABYTE as u64).unwrap();
        let known = self.state().context_digests(Path::new("/src/app")).unwrap();
        let stamp = FileStamp { device: 1, inode: 2, size: 3, modified: 4, changed: 5 };
        // Who has found everything has nothing to keep.
        _ = known.find(&stamp);
        self.state().keep_context_digests(&known, &[(stamp, [7; 32])], state::now()).unwrap();
        self.skiff.ok(&["rmi", "passing:1"]);
    }

    fn keep(&self, name: &str, layer: &DiffId, description: &str) {
        let record = NewBuildRecord {
            keys: &[&key(name)],
            layer,
            size: 3 * MEGABYTE as u64,
            kind: CacheKind::Regular,
            parents: &[],
            description,
        };
        self.state().keep_build_record(&record).unwrap();
    }

    /// The descriptions of what is left, without what differs.
    fn left(&self, filters: &[&str]) -> Vec<String> {
        let mut arguments = vec!["builder", "du", "--format", "{{.Type}} {{.Description}}"];
        arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        let text = self.skiff.ok(&arguments).replace("make\nall", "make");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn layer_file(&self, layer: &DiffId) -> PathBuf {
        self.skiff.root().join(format!("layers/{}.tar", layer.digest().encoded()))
    }

    /// Nothing is half gone, and the image is whole.
    fn check_nothing_is_left(&self) {
        assert_eq!(self.left(&[]), [""; 0]);
        assert!(!self.layer_file(&self.private).exists() && self.layer_file(&self.shared).exists());
        assert!(!self.mount.exists());
        let left: Vec<_> = std::fs::read_dir(self.skiff.root().join("tmp")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.skiff.ok(&["run", "--rm", "busybox", "echo", "whole"]), "whole\n");
    }
}

fn key(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

const SHARED: &str = "regular [1/3] FROM busybox";
const PRIVATE: &str = "regular [2/3] RUN make";
const MOUNT: &str = "exec.cachemount cached mount /root/.npm";
const CONTEXT: &str = "source.local local source for /src/app";

#[test]
fn what_is_left_is_told_as_buildx_tells_it() {
    let left = Left::new();
    let table = left.skiff.ok(&["builder", "du"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]);
    assert_eq!(rows.len(), 1 + 4 + 4, "{table}");
    assert!(rows[1..5].iter().all(|row| row[1] == "true" && row.ends_with(&["ago"])), "{table}");
    assert_eq!(rows[1..5].iter().filter(|row| row[0].ends_with('*')).count(), 2, "mutable: {table}");
    assert_eq!(rows[1..5].iter().filter(|row| row[2].ends_with('*')).count(), 1, "shared: {table}");
    let names: Vec<&str> = rows[5..].iter().map(|row| row[0]).collect();
    assert_eq!(names, ["Shared:", "Private:", "Reclaimable:", "Total:"]);
    assert_eq!(left.skiff.ok(&["buildx", "du"]), table);

    let verbose = left.skiff.ok(&["buildx", "du", "--verbose", "--filter", "id!=x", "--filter", "private"]);
    assert!(verbose.contains("\nDescription:    [2/3] RUN make all\n"), "{verbose}");
    assert!(verbose.contains("\nType:           exec.cachemount\n"), "{verbose}");
    assert!(!verbose.contains("Total:"), "{verbose}");
    let json = left.skiff.ok(&[
        "builder",
        "du",
        "--format",
        "json",
        "--filter",
        "type=regular",
        "--filter",
        "private",
    ]);
    let entry: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(entry["Description"], "[2/3] RUN make\nall");
    assert_eq!((&entry["Shared"], &entry["Reclaimable"]), (&false.into(), &true.into()));
}

#[test]
fn filters_choose_what_is_told() {
    let left = Left::new();
    assert_eq!(left.left(&[]), [MOUNT, SHARED, PRIVATE, CONTEXT]);
    for (filters, want) in [
        (&["shared"][..], &[SHARED][..]),
        (&["private", "immutable=true"], &[PRIVATE]),
        (&["type=exec.cachemount"], &[MOUNT]),
        (&["type!=regular"], &[MOUNT, CONTEXT]),
        (&["type~=^source"], &[CONTEXT]),
        (&["description~=RUN|FROM"], &[SHARED, PRIVATE]),
        (&["description!~=RUN|FROM", "mutable"], &[MOUNT, CONTEXT]),
        (&["inuse"], &[]),
        (&["inuse=false", "shared=1"], &[SHARED]),
        (&["until=1h"], &[]),
        (&["unused-for=0s", "shared"], &[SHARED]),
    ] {
        assert_eq!(left.left(filters), want, "{filters:?}");
    }
    let id = left.skiff.ok(&[
        "builder",
        "du",
        "--format",
        "{{.ID}}",
        "--filter",
        "private",
        "--filter",
        "type=regular",
    ]);
    assert_eq!(left.left(&[&format!("id={}", &id[..6])]), [PRIVATE]);
    let refused = left.skiff.run(&["builder", "du", "--filter", "nope=1"]);
    assert!(refused.code != 0 && refused.stderr.contains("invalid filter 'nope'"), "{refused:?}");
}

#[test]
fn disk_usage_counts_what_is_left_once_and_apart_from_images() {
    let left = Left::new();
    let row = |name: &str| -> Vec<String> {
        let table = left.skiff.ok(&[
            "system",
            "df",
            "--format",
            "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}",
        ]);
        let line = table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.split('|').map(str::to_owned).collect()
    };
    let before = row("Images");
    // Of 3 MiB and 1 MiB, and of what is in the database; what the image has does not count.
    assert_eq!(row("Build Cache")[1..3], ["4", "0"]);
    let size: f64 = row("Build Cache")[3].trim_end_matches("MB").parse().unwrap();
    assert!((4.19..4.3).contains(&size), "{size}");
    assert_eq!(row("Build Cache")[3], row("Build Cache")[4]);
    let verbose = left.skiff.ok(&["system", "df", "-v"]);
    assert!(verbose.contains(&format!("Build cache usage: {}\n", row("Build Cache")[3])), "{verbose}");
    assert!(
        verbose.lines().any(|line| line.contains("exec.cachemount") && line.contains("1.049MB")),
        "{verbose}"
    );

    // The same layer under another key takes nothing more.
    left.keep("again", &left.private, "[3/3] RUN make");
    let again: f64 = row("Build Cache")[3].trim_end_matches("MB").parse().unwrap();
    assert!((again - size).abs() < 0.001, "{again} {size}");
    left.skiff.ok(&["builder", "prune", "-af"]);
    assert_eq!(row("Build Cache")[1..], ["0", "0", "0B", "0B"]);
    assert_eq!(row("Images")[3], before[3], "they are what they were");
}

#[test]
fn prune_asks_and_removes_what_no_image_shares_and_with_all_the_rest() {
    let left = Left::new();
    let asked = left.skiff.run_with_input(&["builder", "prune"], b"n\n");
    assert_eq!(
        asked.stdout,
        "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] "
    );
    assert_eq!(left.left(&[]).len(), 4);
    let asked = left.skiff.run_with_input(&["buildx", "prune", "-a"], b"\n");
    assert!(asked.stdout.contains("This will remove all build cache. Are you sure"), "{asked:?}");

    let pruned = left.skiff.run_with_input(&["builder", "prune"], b"y\n").stdout;
    let lines: Vec<&str> = pruned.lines().collect();
    assert!(lines[0].ends_with("[y/N] Deleted build cache objects:"), "{pruned}");
    assert_eq!(lines.len(), 1 + 3 + 2, "{pruned}");
    assert!(lines[5].starts_with("Total reclaimed space: 4.") && lines[5].ends_with("MB"), "{pruned}");
    assert_eq!(left.left(&[]), [SHARED]);
    assert!(!left.layer_file(&left.private).exists() && !left.mount.exists());

    let pruned = left.skiff.ok(&["buildx", "prune", "-a", "--force"]);
    assert!(pruned.starts_with("ID ") && pruned.lines().last().unwrap().starts_with("Total:"), "{pruned}");
    left.check_nothing_is_left();
    assert_eq!(left.skiff.ok(&["builder", "prune", "-f"]), "Total reclaimed space: 0B\n");
    assert!(left.skiff.ok(&["events", "--since", "1m", "--until", "0s"]).contains("builder prune"));
}

#[test]
fn limits_and_filters_choose_what_goes() {
    let left = Left::new();
    let goes = |arguments: &[&str], want: &[&str]| {
        let all = [&["builder", "prune", "-f"], arguments].concat();
        left.skiff.ok(&all);
        assert_eq!(left.left(&[]), want, "{arguments:?}");
    };
    let everything = &[MOUNT, SHARED, PRIVATE, CONTEXT];
    goes(&["--keep-storage", "10MB"], everything);
    goes(&["--max-used-space", "5MB"], everything);
    goes(&["--min-free-space", "1"], everything);
    goes(&["--filter", "until=1h"], everything);
    goes(&["--filter", "id=nothing"], everything);
    // The record of the layer of 3 MiB was used before the mount.
    goes(&["--max-used-space", "2MB"], &[MOUNT, SHARED, CONTEXT]);
    goes(&["--filter", "type=source.local"], &[MOUNT, SHARED]);
    left.again();
    goes(&["--max-used-space", "1", "--reserved-space", "2MB"], &[MOUNT, SHARED, CONTEXT]);
    goes(&["--filter", "type=exec.cachemount"], &[SHARED, CONTEXT]);
    goes(&["-a", "--filter", "shared"], &[CONTEXT]);
    left.again();
    goes(&["--min-free-space", "1000TB"], &[SHARED]);
    let refused = left.skiff.run(&["builder", "prune", "-f", "--max-used-space", "much"]);
    assert!(refused.code != 0, "{refused:?}");
}

#[test]
fn what_somebody_uses_stays_whatever_is_asked_for() {
    let left = Left::new();
    // A build leases its layers by a file in a scratch directory that it has locked; a program locks its cache mounts.
    let scratch = left.skiff.root().join("tmp/a-build");
    std::fs::create_dir(&scratch).unwrap();
    let lock = File::open(&scratch).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    std::fs::write(scratch.join("lease"), format!("layer {}\n", left.private.digest().encoded())).unwrap();
    let mounted = File::open(&left.mount).unwrap();
    flock(&mounted, FlockOperation::LockShared).unwrap();
    assert_eq!(left.left(&["inuse"]), [MOUNT, PRIVATE]);
    left.skiff.ok(&["builder", "prune", "-af"]);
    left.skiff.ok(&["system", "prune", "-af"]);
    assert_eq!(left.left(&[]), [MOUNT, PRIVATE]);
    assert!(left.layer_file(&left.private).exists() && left.mount.join("package").exists());
    let table = left.skiff.ok(&["system", "df", "--format", "{{.Type}} {{.Active}} {{.Reclaimable}}"]);
    assert!(table.contains("Build Cache 2 0B"), "{table}");
    drop((lock, mounted));
    left.skiff.load(&testkit::busybox());
    left.skiff.ok(&["builder", "prune", "-f"]);
    left.check_nothing_is_left();
}

#[test]
fn the_system_is_pruned_with_what_builds_have_left() {
    let left = Left::new();
    // Nothing of it has a label.
    left.skiff.ok(&["system", "prune", "-f", "--filter", "label=a"]);
    assert_eq!(left.left(&[]).len(), 4);
    let pruned = left.skiff.ok(&["system", "prune", "-f"]);
    assert!(pruned.contains("Deleted build cache objects:\n"), "{pruned}");
    assert_eq!(left.left(&[]), [SHARED]);
    assert!(pruned.lines().last().unwrap().starts_with("Total reclaimed space: 4."), "{pruned}");
}

#[test]
fn an_image_that_goes_leaves_its_layers_to_the_cache() {
    let left = Left::new();
    left.skiff.ok(&["rmi", "busybox"]);
    assert!(left.layer_file(&left.shared).exists(), "a record names it");
    assert_eq!(left.left(&["shared"]), [""; 0]);
    left.skiff.ok(&["image", "prune", "-af"]);
    assert!(left.layer_file(&left.shared).exists());
    left.skiff.ok(&["builder", "prune", "-f"]);
    assert!(!left.layer_file(&left.shared).exists());
}

#[test]
fn what_is_more_than_it_may_be_goes_by_itself() {
    let left = Left::new();
    let settings = |text: &str| {
        std::fs::create_dir_all(left.skiff.settings()).unwrap();
        std::fs::write(left.skiff.settings().join("gc.toml"), text).unwrap();
    };
    left.skiff.load(&testkit::busybox());
    assert_eq!(left.left(&[]).len(), 4, "it is far less than it may be");
    settings("build-cache = \"2MB\"\n");
    left.skiff.load(&testkit::busybox());
    assert_eq!(left.left(&[]), [MOUNT, SHARED, CONTEXT]);
    settings("build-cache = \"unlimited\"\n");
    left.skiff.load(&testkit::busybox());
    assert_eq!(left.left(&[]).len(), 3);
    settings("build-cache = \"0\"\n");
    assert!(left.skiff.ok(&["image", "prune", "--auto"]).contains("Deleted build cache objects:"));
    assert_eq!(left.left(&[]), [SHARED], "it takes nothing");
    settings("build-cache = \"some\"\n");
    let said = left.skiff.run_with_input(&["load"], &testkit::busybox());
    assert!(said.code == 0 && said.stderr.contains("build-cache: \"some\" is not a size"), "{said:?}");
}

#[test]
fn a_killed_prune_leaves_nothing_that_the_next_one_does_not_remove() {
    let left = Left::new();
    let arguments = ["builder", "prune", "-af"];
    let calls = calls_of(&left.skiff, &arguments);
    left.check_nothing_is_left();
    let step = (calls.len() / 40).max(1);
    for call in calls.iter().step_by(step) {
        left.again();
        kill_at(&left.skiff, call, &arguments);
        // What is told after the kill can be removed, and is.
        for line in left.left(&[]) {
            assert!([SHARED, PRIVATE, MOUNT, CONTEXT].contains(&line.as_str()), "{call:?}: {line}");
        }
        left.skiff.ok(&arguments);
        left.check_nothing_is_left();
    }
}
