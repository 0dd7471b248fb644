//! Damaged images are mended from where they came.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Entry, Output, Registry, Scratch, Skiff, busybox_layer, calls_of, kill_at, layer, registry};

struct World {
    registry: Option<Registry>,
    _content: Scratch,
    skiff: Skiff,
    name: String,
    tars: [Vec<u8>; 2],
    blobs: Vec<Digest>,
    config: Digest,
    manifest: Digest,
}

impl World {
    /// An image of two layers, pulled.
    fn new() -> World {
        let (registry, content) = registry();
        let tars = [busybox_layer(&[]), layer(&[Entry::File("hello", 0o644, b"hello\n")])];
        let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let config = json!({"os": "linux", "architecture": oci::Platform::host().architecture,
            "config": {"Cmd": ["cat", "/hello"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let stored = registry.put_blob("a", "application/vnd.oci.image.config.v1+json", &config);
        let blobs: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<Value> = blobs.iter().map(|blob| registry.put_blob("a", kind, blob)).collect();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": stored, "layers": layers});
        let manifest = registry.put_manifest("a", "1", &manifest);
        let name = format!("{}/a:1", registry.address());
        let skiff = Skiff::new();
        skiff.ok(&["pull", &name]);
        World {
            registry: Some(registry),
            _content: content,
            skiff,
            name,
            blobs: blobs.iter().map(|blob| Digest::of(blob)).collect(),
            config: Digest::of(&config),
            manifest: manifest["digest"].as_str().unwrap().parse().unwrap(),
            tars,
        }
    }

    fn layer(&self, number: usize) -> PathBuf {
        let name = format!("{}.tar", Digest::of(&self.tars[number]).encoded());
        self.skiff.root().join("layers").join(name)
    }

    fn document(&self, digest: &Digest) -> PathBuf {
        self.skiff.root().join("blobs/sha256").join(digest.encoded())
    }

    fn index(&self) -> PathBuf {
        self.skiff.root().join("images").join(format!("{}.erofs", self.config.encoded()))
    }

    fn repair(&self) -> Output {
        self.skiff.run(&["image", "repair", &self.name])
    }

    fn assert_good(&self) {
        let verified = self.skiff.run(&["image", "verify", &self.name]);
        assert_eq!((verified.code, verified.stdout), (0, format!("{}: good\n", self.name)));
        assert_eq!(self.skiff.ok(&["run", "--rm", "--pull=never", &self.name]), "hello\n");
        for (number, tar) in self.tars.iter().enumerate() {
            let path = self.layer(number);
            assert_eq!(std::fs::read(&path).unwrap(), *tar);
            assert_eq!(is_guarded(&path), is_guarded_here(&self.skiff.root()), "{}", path.display());
        }
        assert_eq!(std::fs::read_dir(self.skiff.root().join("tmp")).unwrap().count(), 0);
    }
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

fn is_guarded(path: &Path) -> bool {
    let flags = rustix::fs::ioctl_getflags(std::fs::File::open(path).unwrap());
    flags.is_ok_and(|flags| flags.contains(rustix::fs::IFlags::IMMUTABLE))
}

/// Whether this file system has such a flag, and we may set it.
fn is_guarded_here(folder: &Path) -> bool {
    let path = folder.join("probe");
    let file = std::fs::File::create(&path).unwrap();
    let is_here = linux::file::set_immutable(&file, true).is_ok();
    drop(linux::file::set_immutable(&file, false));
    std::fs::remove_file(path).unwrap();
    is_here
}

fn unguard(path: &Path) {
    drop(linux::file::set_immutable(std::fs::File::open(path).unwrap(), false));
}

/// Changes a byte in the middle, as a disk would.
fn damage(path: &Path) {
    unguard(path);
    let mut content = std::fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x10;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

fn lose(path: &Path) {
    unguard(path);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn whatever_is_bad_is_fetched_again_and_put_in_its_place() {
    let world = World::new();
    let before = world.repair();
    assert_eq!((before.code, before.stdout.as_str()), (0, &*format!("{}: good\n", world.name)));
    for break_it in [damage, lose] {
        for path in [
            world.layer(0),
            world.layer(1),
            world.document(&world.config),
            world.document(&world.manifest),
            world.index(),
        ] {
            break_it(&path);
            let repaired = world.repair();
            assert_eq!(repaired.code, 0, "{}: {repaired:?}", path.display());
            world.assert_good();
        }
        // All at once; and everything is looked at when nothing is named.
        break_it(&world.layer(0));
        break_it(&world.layer(1));
        break_it(&world.index());
        break_it(&world.document(&world.config));
        break_it(&world.document(&world.manifest));
        let repaired = world.skiff.run(&["image", "repair"]);
        assert_eq!(repaired.code, 0, "{repaired:?}");
        assert!(repaired.stdout.matches(": repaired: ").count() >= 4, "{repaired:?}");
        world.assert_good();
    }
}

#[test]
fn what_cannot_be_had_is_named_with_where_it_was_looked_for() {
    let mut world = World::new();
    damage(&world.layer(1));
    drop(world.registry.take());
    let repaired = world.repair();
    assert_eq!(repaired.code, 1, "{repaired:?}");
    let layer = Digest::of(&world.tars[1]).to_string();
    let repository = world.name.trim_end_matches(":1");
    for part in [layer.as_str(), "is damaged", repository] {
        assert!(repaired.stdout.contains(part), "{part}: {repaired:?}");
    }
    // Nobody knows where this one came from.
    assert_eq!(world.skiff.run_with_input(&["import", "-", "local"], &world.tars[1]).code, 0);
    let repaired = world.skiff.run(&["image", "repair", "local"]);
    assert!(repaired.code == 1 && repaired.stdout.contains(&layer), "{repaired:?}");
    assert_eq!(world.skiff.run(&["image", "repair", "nothing"]).code, 1);
}

#[test]
fn a_registry_that_lies_mends_nothing() {
    let world = World::new();
    damage(&world.layer(1));
    let bad = std::fs::read(world.layer(1)).unwrap();
    let content = world._content.join("content/docker/registry/v2/blobs/sha256");
    let blob = content.join(&world.blobs[1].encoded()[..2]).join(world.blobs[1].encoded()).join("data");
    damage(&blob);
    let repaired = world.repair();
    assert_eq!(repaired.code, 1, "{repaired:?}");
    assert!(repaired.stdout.contains(world.blobs[1].as_str()), "{repaired:?}");
    assert_eq!(std::fs::read(world.layer(1)).unwrap(), bad);
    assert_eq!(std::fs::read_dir(world.skiff.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_container_that_runs_goes_on_while_its_image_is_mended() {
    let world = World::new();
    world.skiff.ok(&["run", "-d", "--name", "one", &world.name, "sleep", "1000"]);
    damage(&world.layer(1));
    damage(&world.index());
    assert_eq!(world.repair().code, 0);
    assert_eq!(world.skiff.ok(&["exec", "one", "echo", "up"]), "up\n");
    world.skiff.ok(&["stop", "-t", "0", "one"]);
    world.skiff.ok(&["start", "one"]);
    assert_eq!(world.skiff.ok(&["exec", "one", "cat", "/hello"]), "hello\n");
    world.skiff.ok(&["rm", "-f", "one"]);
    world.assert_good();
}

#[test]
fn a_repair_may_be_killed_at_any_moment() {
    let world = World::new();
    let break_it = || {
        damage(&world.layer(1));
        damage(&world.index());
        damage(&world.document(&world.manifest));
    };
    break_it();
    let arguments = ["image", "repair", &world.name];
    let calls = calls_of(&world.skiff, &arguments);
    let mut killed = 0;
    for call in calls.iter().step_by(calls.len() / 40 + 1) {
        break_it();
        killed += u32::from(!kill_at(&world.skiff, call, &arguments).success());
        assert_eq!(world.repair().code, 0, "{call:?}");
        // Whoever adds or collects next removes what the dead have left.
        world.skiff.ok(&["image", "prune", "-f"]);
        world.assert_good();
    }
    assert!(killed > 25, "{killed}: the test shows little");
}

/// The trees that layers were unpacked to, those in use since before apart.
fn trees(skiff: &Skiff) -> (Vec<PathBuf>, usize) {
    let entries = std::fs::read_dir(skiff.root().join("trees")).unwrap().map(|entry| entry.unwrap().path());
    let (others, trees): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.partition(|path| path.file_name().unwrap().to_string_lossy().contains('-'));
    (trees, others.len())
}

/// As it would be had the layer been bad when it was unpacked.
fn unpack_badly(skiff: &Skiff) {
    let (trees, _) = trees(skiff);
    let file = trees.iter().map(|tree| tree.join("hello")).find(|path| path.exists()).unwrap();
    std::fs::write(file, "wrong\n").unwrap();
}

#[test]
fn a_container_keeps_the_tree_it_runs_on_and_the_next_one_has_the_good_one() {
    let world = World::new();
    let skiff = |words: &[&str]| world.skiff.ok(&[&["--snapshotter", "trees"], words].concat());
    let run = ["run", "-d", "--pull=never", "--restart=always", "--name"];
    let program = "while [ ! -e /go ]; do sleep 0.1; done; [ -e /gone ] && exec sleep 1000; touch /gone";
    skiff(&["run", "--rm", &world.name]);
    unpack_badly(&world.skiff);
    skiff(&[&run[..], &["one", &world.name, "sh", "-c", program]].concat());
    skiff(&["create", "--name", "two", &world.name]);
    damage(&world.layer(1));
    let repaired = world.skiff.run(&["--snapshotter", "trees", "image", "repair", &world.name]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert!(repaired.stdout.contains(": repaired: layer "), "{repaired:?}");

    // Undisturbed, to the file that it has not opened yet.
    assert_eq!(skiff(&["exec", "one", "cat", "/hello"]), "wrong\n");
    assert_eq!(skiff(&["exec", "one", "ls", "/bin/busybox"]), "/bin/busybox\n");
    assert_eq!(skiff(&["start", "-a", "two"]), "hello\n");
    assert_eq!(skiff(&["run", "--rm", &world.name]), "hello\n");
    // Nobody takes it away as long as it runs.
    skiff(&["image", "prune", "-f"]);
    assert_eq!(trees(&world.skiff).1, 1);
    assert_eq!(skiff(&["exec", "one", "cat", "/hello"]), "wrong\n");

    // Its monitor begins it anew, with what it was told before there was a repair.
    skiff(&["exec", "one", "touch", "/go"]);
    world.skiff.wait_for("one", "{{.RestartCount}} {{.State.Status}}", "1 running");
    skiff(&["stop", "-t", "0", "one"]);
    skiff(&["start", "one"]);
    assert_eq!(skiff(&["exec", "one", "cat", "/hello"]), "hello\n");
    skiff(&["rm", "-f", "one", "two"]);
    skiff(&["image", "prune", "-f"]);
    let (good, others) = trees(&world.skiff);
    assert_eq!((good.len(), others), (2, 0));
    world.assert_good();
}

#[test]
fn a_layer_that_cannot_be_mended_leaves_its_tree() {
    let mut world = World::new();
    let skiff = |words: &[&str]| world.skiff.run(&[&["--snapshotter", "trees"], words].concat());
    assert_eq!(skiff(&["run", "--rm", &world.name]).stdout, "hello\n");
    damage(&world.layer(1));
    drop(world.registry.take());
    let before = trees(&world.skiff);
    let skiff = |words: &[&str]| world.skiff.run(&[&["--snapshotter", "trees"], words].concat());
    assert_eq!(skiff(&["image", "repair", &world.name]).code, 1);
    assert_eq!(trees(&world.skiff), before);
    assert_eq!(skiff(&["run", "--rm", "--pull=never", &world.name]).stdout, "hello\n");
}

#[test]
fn a_repair_of_what_is_unpacked_may_be_killed_at_any_moment() {
    let world = World::new();
    let skiff = |words: &[&str]| world.skiff.ok(&[&["--snapshotter", "trees"], words].concat());
    skiff(&["create", "--name", "one", &world.name]);
    let arguments = ["--snapshotter", "trees", "image", "repair", &world.name];
    let break_it = || {
        skiff(&["start", "-a", "one"]);
        unpack_badly(&world.skiff);
        damage(&world.layer(1));
    };
    break_it();
    let calls = calls_of(&world.skiff, &arguments);
    for call in calls.iter().filter(|call| call.name.starts_with("rename")) {
        break_it();
        kill_at(&world.skiff, call, &arguments);
        let repaired = world.skiff.run(&arguments);
        assert_eq!(repaired.code, 0, "{call:?}: {repaired:?}");
        assert_eq!(skiff(&["start", "-a", "one"]), "hello\n", "{call:?}");
    }
    skiff(&["rm", "one"]);
    skiff(&["image", "prune", "-f"]);
    assert_eq!(trees(&world.skiff).1, 0);
    world.assert_good();
}
