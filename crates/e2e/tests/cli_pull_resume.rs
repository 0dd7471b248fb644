//! Pulls that go on where an earlier one was, and pulls that share the work.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oci::Digest;
use serde_json::{Value, json};
use testkit::{
    Disk, Entry, Peer, Registry, Scratch, Skiff, busybox_layer, layer, peer, registry, wait_until,
    wait_until_it_waits,
};

/// Bytes of the large blob that come before the peer falls silent.
const HELD_AT: usize = 7_000_000;

/// A layer and its blob.
struct Layer {
    tar: Vec<u8>,
    blob: Vec<u8>,
}

fn gzip(tar: Vec<u8>) -> Layer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar).unwrap();
    Layer { tar, blob: encoder.finish().unwrap() }
}

/// One that no compression makes smaller, of 12 MB.
fn noise(name: &str) -> Layer {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ name.len() as u64;
    let content: Vec<u8> = (0..1_500_000)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    gzip(layer(&[Entry::File(name, 0o644, &content)]))
}

fn small(name: &str) -> Layer {
    gzip(layer(&[Entry::File(name, 0o644, name.as_bytes())]))
}

fn put(registry: &Registry, tag: &str, layers: &[&Layer]) {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(&layer.tar).to_string()).collect();
    let config = json!({"os": "linux", "architecture": oci::Platform::host().architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config =
        registry.put_blob("a", "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Vec<Value> = layers.iter().map(|layer| registry.put_blob("a", kind, &layer.blob)).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    registry.put_manifest("a", tag, &manifest);
}

/// A registry behind a peer that falls silent in the middle of a large blob until it is let go on.
struct World {
    _registry: Registry,
    _content: Scratch,
    peer: Peer,
    go: Arc<AtomicBool>,
    skiff: Skiff,
    large: Layer,
}

impl World {
    fn new() -> World {
        World::with(Skiff::new())
    }

    fn with(skiff: Skiff) -> World {
        let (registry, content) = registry();
        let large = noise("noise");
        put(&registry, "1", &[&gzip(busybox_layer(&[])), &large]);
        let go = Arc::new(AtomicBool::new(false));
        let (address, gate, held) =
            (registry.address(), Arc::clone(&go), Digest::of(&large.blob).to_string());
        let peer = Peer::serve(move |seen| {
            let honest = peer::exchange(&address, seen);
            match seen.path.contains(&held) && !gate.load(Ordering::SeqCst) {
                true => honest.held(HELD_AT, &gate),
                false => honest,
            }
        });
        World { _registry: registry, _content: content, peer, go, skiff, large }
    }

    fn name(&self) -> String {
        format!("{}/a:1", self.peer.address())
    }

    fn pull(&self) -> Child {
        let mut command = self.skiff.command(&["pull", &self.name()]);
        command.env("DOCKER_CONFIG", self.skiff.folder()).stdout(Stdio::null()).spawn().unwrap()
    }

    /// What has come of the large blob.
    fn spool(&self) -> std::path::PathBuf {
        let layer = Digest::of(&self.large.tar);
        let blob = Digest::of(&self.large.blob);
        self.skiff.root().join("partial").join(layer.encoded()).join(blob.encoded())
    }

    fn spooled(&self) -> usize {
        std::fs::metadata(self.spool()).map_or(0, |spool| usize::try_from(spool.len()).unwrap())
    }

    /// Starts a pull, and returns once the large blob has come as far as it does and all else is here.
    fn pull_half(&self) -> Child {
        let child = self.pull();
        wait_until("the large blob comes no further", || self.spooled() >= HELD_AT);
        wait_until("the other layer is here", || self.count("layers") == 1);
        child
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.skiff.root().join(folder)).map_or(0, Iterator::count)
    }

    /// The ranges in which the large blob was asked for.
    fn ranges(&self) -> Vec<String> {
        let digest = Digest::of(&self.large.blob).to_string();
        let seen = self.peer.seen().into_iter().filter(|seen| seen.path.contains(&digest));
        seen.map(|seen| seen.header("range").to_owned()).collect()
    }

    /// What was begun has not been gone on with since then, in seconds since 1970.
    fn age(&self, since: i64) {
        let then = rustix::fs::Timespec { tv_sec: since, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: then, last_modification: then };
        for entry in std::fs::read_dir(self.skiff.root().join("partial")).unwrap() {
            let directory = std::fs::File::open(entry.unwrap().path()).unwrap();
            rustix::fs::futimens(directory, &times).unwrap();
        }
    }

    /// A pull that finds nothing.
    fn pull_another(&self) {
        assert_eq!(self.skiff.run(&["pull", &format!("{}/missing", self.peer.address())]).code, 1);
    }

    fn assert_whole(&self) {
        let name = self.name();
        assert!(self.skiff.ok(&["image", "verify", &name]).ends_with(": good\n"));
        let size = self.skiff.ok(&["run", "--rm", "--pull=never", &name, "wc", "-c", "/noise"]);
        assert_eq!(size, "12000000 /noise\n");
        assert_eq!((self.count("partial"), self.count("tmp"), self.count("layers")), (0, 0, 2));
    }
}

#[test]
fn a_pull_that_was_ended_in_the_middle_of_a_blob_goes_on_at_the_byte() {
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let world = World::new();
        let mut child = world.pull_half();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        assert!(!child.wait().unwrap().success());
        let here = world.spooled();
        assert!(here >= HELD_AT);
        world.go.store(true, Ordering::SeqCst);
        let before = world.peer.seen().len();
        assert!(world.pull().wait().unwrap().success());
        assert_eq!(world.ranges(), ["".to_owned(), format!("bytes={here}-")], "{signal:?}");
        let again: Vec<_> = world.peer.lines().split_off(before);
        let blobs = again.iter().filter(|line| line.contains("/blobs/")).count();
        assert_eq!(blobs, 2, "the config and the rest of one layer: {again:?}");
        world.assert_whole();
    }
}

#[test]
fn a_beginning_that_is_bad_is_fetched_anew() {
    let world = World::new();
    let mut child = world.pull_half();
    child.kill().unwrap();
    child.wait().unwrap();
    // Power was lost before the disk had it.
    let mut content = std::fs::read(world.spool()).unwrap();
    content[5_000_000..].fill(0);
    std::fs::write(world.spool(), content).unwrap();
    world.go.store(true, Ordering::SeqCst);
    assert!(world.pull().wait().unwrap().success());
    assert_eq!(world.ranges().last().map(String::as_str), Some(""), "{:?}", world.ranges());
    world.assert_whole();
}

#[test]
fn two_pulls_of_one_image_ask_for_each_layer_once() {
    let world = World::new();
    let mut first = world.pull_half();
    let mut second = world.pull();
    wait_until_it_waits(&mut second);
    world.go.store(true, Ordering::SeqCst);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    let mut lines = world.peer.lines();
    lines.retain(|line| line.contains("/blobs/"));
    let count = lines.len();
    lines.sort();
    lines.dedup();
    // Each reads the config, which says which layers there are.
    assert!((count, lines.len()) == (4, 3) || (count, lines.len()) == (3, 3), "{count}: {lines:?}");
    assert_eq!(world.ranges(), [""]);
    world.assert_whole();
}

#[test]
fn who_waits_for_a_pull_that_dies_takes_over_at_the_byte() {
    let world = World::new();
    let mut first = world.pull_half();
    let mut second = world.pull();
    wait_until_it_waits(&mut second);
    let here = world.spooled();
    world.go.store(true, Ordering::SeqCst);
    // It has got no more before it is killed, or all of it.
    rustix::process::kill_process(rustix::process::Pid::from_child(&first), rustix::process::Signal::KILL)
        .unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success());
    let ranges = world.ranges();
    assert!(ranges.len() <= 2 && ranges[0].is_empty(), "{ranges:?}");
    let rest: Vec<usize> = ranges[1..]
        .iter()
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
        .collect();
    assert!(rest.iter().all(|first| *first >= here), "{ranges:?}");
    // Whoever begins next removes what the dead have left.
    assert!(world.pull().wait().unwrap().success());
    world.assert_whole();
}

#[test]
fn two_images_with_the_same_layers_in_another_order_do_not_wait_for_each_other() {
    let (registry, _content) = registry();
    let layers: Vec<Layer> = (0..12).map(|number| small(&format!("file-{number}"))).collect();
    let up: Vec<&Layer> = layers.iter().collect();
    let down: Vec<&Layer> = layers.iter().rev().collect();
    put(&registry, "up", &up);
    put(&registry, "down", &down);
    let address = registry.address();
    let peer = Peer::serve(move |seen| peer::exchange(&address, seen));
    let skiff = Skiff::new();
    let pulls: Vec<Child> = ["up", "down", "up", "down"]
        .iter()
        .map(|tag| {
            let mut command = skiff.command(&["pull", &format!("{}/a:{tag}", peer.address())]);
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut pull in pulls {
        assert!(pull.wait().unwrap().success());
    }
    for layer in &layers {
        let digest = Digest::of(&layer.blob).to_string();
        let asked = peer.lines().iter().filter(|line| line.contains(&digest)).count();
        assert_eq!(asked, 1, "{digest}");
    }
    for tag in ["up", "down"] {
        let name = format!("{}/a:{tag}", peer.address());
        assert!(skiff.ok(&["image", "verify", &name]).ends_with(": good\n"));
    }
    for folder in ["partial", "tmp"] {
        assert_eq!(std::fs::read_dir(skiff.root().join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn what_was_begun_is_counted_and_goes_when_space_is_wanted() {
    let world = World::new();
    let mut child = world.pull_half();
    // A prune beside the pull takes nothing that it is at work on.
    world.skiff.ok(&["image", "prune", "-af"]);
    assert!(world.spooled() >= HELD_AT && world.count("layers") == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let size = || {
        let text = world.skiff.ok(&["system", "df", "--format", "json"]);
        text.lines().next().unwrap().to_owned()
    };
    let before = size();
    // The removal of another image is no reason.
    assert_eq!(world.skiff.run_with_input(&["import", "-", "other"], &small("other").tar).code, 0);
    world.skiff.ok(&["rmi", "other"]);
    assert!(world.spooled() >= HELD_AT && world.count("layers") == 1);
    let said = world.skiff.ok(&["image", "prune", "-f"]);
    assert!(!said.contains("reclaimed space: 0B"), "{said}");
    assert_eq!((world.count("partial"), world.count("layers"), world.count("tmp")), (0, 0, 0));
    assert_ne!(size(), before);
}

#[test]
fn what_nobody_has_gone_on_with_for_a_day_goes_with_the_next_pull() {
    let world = World::new();
    let mut child = world.pull_half();
    child.kill().unwrap();
    child.wait().unwrap();
    world.age(1_700_000_000);
    world.pull_another();
    assert_eq!((world.count("partial"), world.count("layers")), (0, 0));
}

#[test]
fn how_long_what_was_begun_is_kept_is_a_setting() {
    let world = World::new();
    let mut child = world.pull_half();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::create_dir_all(world.skiff.settings()).unwrap();
    let set = |text: &str| std::fs::write(world.skiff.settings().join("gc.toml"), text).unwrap();
    let hours_ago = |hours: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        i64::try_from(now).unwrap() - hours * 3600
    };
    let is_here = || world.spooled() >= HELD_AT && world.count("layers") == 1;
    let remove_another = || {
        assert_eq!(world.skiff.run_with_input(&["import", "-", "other"], &small("other").tar).code, 0);
        world.skiff.ok(&["rmi", "other"]);
    };
    // Older than the default, younger than what is said; whatever removes goes by it.
    set("unfinished-for = \"72h\"");
    world.age(hours_ago(71));
    world.pull_another();
    remove_another();
    assert!(is_here());
    // Of a file that cannot be understood nobody knows how long it says.
    set("unfinished-for = \"for ever\"");
    world.age(hours_ago(1000));
    world.pull_another();
    assert!(is_here());
    // There is no mark at which images would go.
    set("unfinished-for = \"2h\"");
    let pruned = world.skiff.run(&["image", "prune", "--auto"]);
    assert!(pruned.code == 1 && pruned.stderr.contains("it does not say when images go"), "{pruned:?}");
    assert!(is_here());
    world.age(hours_ago(1));
    world.pull_another();
    assert!(is_here());
    world.age(hours_ago(2));
    world.pull_another();
    assert_eq!((world.count("partial"), world.count("layers")), (0, 0));
}

#[test]
fn a_layer_that_fits_without_its_blob_beside_it_is_pulled() {
    let disk = Disk::new(32);
    let world = World::with(Skiff::with_busybox_at(&disk.path()));
    world.go.store(true, Ordering::SeqCst);
    assert!(world.pull().wait().unwrap().success());
    assert!(world.ranges().len() <= 2 && world.ranges().iter().all(String::is_empty), "{:?}", world.ranges());
    let name = world.name();
    assert!(world.skiff.ok(&["image", "verify", &name]).ends_with(": good\n"));
    assert_eq!((world.count("partial"), world.count("tmp"), world.count("layers")), (0, 0, 2));
}
