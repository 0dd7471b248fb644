//! The store under faults, kills, garbage collection and company.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use archives_support::*;
use image::store::{Fault, Faults};
use image::{Compression, Finding, Live, LoadedImage, Store};
use oci::{DiffId, Digest};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Tells a test that it is the child of another, and what to do.
const CHILD: &str = "SKIFF_TEST_CHILD";

/// An archive of two images that share their base, and its layers.
fn two_images() -> (Vec<u8>, [Vec<u8>; 3]) {
    let layers = [layer("base"), layer("left"), layer("right")];
    let mut members = docker_archive(&["left:1"], &[layers[0].clone(), layers[1].clone()], Compression::Gzip);
    let right = docker_archive(&["right:1"], &[layers[0].clone(), layers[2].clone()], Compression::Gzip);
    let mut manifests: Vec<serde_json::Value> = Vec::new();
    for list in [&members, &right] {
        let (_, manifest) = list.iter().find(|(name, _)| name == "manifest.json").unwrap();
        manifests.extend(serde_json::from_slice::<Vec<serde_json::Value>>(manifest).unwrap());
    }
    manifests[1]["Layers"] = serde_json::json!(["layer0/layer.tar", "other/layer.tar"]);
    members.retain(|(name, _)| name != "manifest.json");
    for (name, content) in right {
        if name == "layer1/layer.tar" {
            members.push(("other/layer.tar".to_owned(), content));
        } else if name.ends_with(".json") && name != "manifest.json" {
            members.push((name, content));
        }
    }
    members.push(("manifest.json".to_owned(), serde_json::to_vec(&manifests).unwrap()));
    (tar_of(&members), layers)
}

fn live<'a>(images: impl IntoIterator<Item = &'a LoadedImage>) -> Live {
    let mut live = Live::default();
    for image in images {
        live.image(&image.id, &image.diff_ids());
    }
    live
}

/// Everything in the store is what its name says.
fn assert_whole(root: &Path) {
    for (name, what) in picture(root) {
        let path = Path::new(&name);
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("layers/") || name.starts_with("blobs/") {
            assert!(what.starts_with(&format!("sha256:{stem} ")), "{name} is {what}");
        }
    }
}

fn count(root: &Path, directory: &str) -> usize {
    std::fs::read_dir(root.join(directory)).map_or(0, Iterator::count)
}

#[test]
fn whichever_effect_fails_nothing_is_left_half_done_and_a_retry_succeeds() {
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let path = scratch.write("archive.tar", &archive);
    for stream in [false, true] {
        let mut swept = 0;
        for nth in 1.. {
            let root = scratch.join(&format!("root-{stream}-{nth}"));
            let faults = Faults::at(nth, Fault::Error);
            let store = Store::open_with(&root, faults.clone()).unwrap();
            let result = if stream { load_stream(&store, &archive) } else { load_path(&store, &path) };
            if !faults.struck() {
                assert_eq!(result.unwrap().images.len(), 2);
                break;
            }
            let error = result.map(drop).unwrap_err();
            assert!(
                matches!(error, image::Error::File(_) | image::Error::Index { .. }),
                "{nth}: {}",
                chain(&error)
            );
            assert_whole(&root);
            assert_eq!(count(&root, "tmp"), 0, "{nth}");
            let store = Store::open(&root).unwrap();
            let loaded = load_stream(&store, &archive).unwrap();
            for image in &loaded.images {
                assert_eq!(image::verify(&store, &image.id, None).unwrap(), [], "{nth}");
            }
            assert_eq!(count(&root, "layers"), 3);
            swept = nth;
            linux::file::remove_tree(&root).unwrap();
        }
        assert!(swept > 20, "only {swept} effects were counted");
    }
}

/// What [`a_process_killed_at_any_effect_leaves_only_garbage_that_is_swept`] starts and kills; by itself it
/// lives on.
#[test]
fn child_that_is_killed_where_it_is_told_to() {
    let alone = std::env::var(CHILD).is_err().then(Scratch::new);
    let told = match &alone {
        Some(scratch) => format!("{} {}", u32::MAX, scratch.join("root").display()),
        None => std::env::var(CHILD).unwrap(),
    };
    let (nth, root) = told.split_once(' ').unwrap();
    let faults = Faults::at(nth.parse().unwrap(), Fault::Kill);
    let store = Store::open_with(Path::new(root), faults).unwrap();
    let (archive, _) = two_images();
    assert_eq!(load_stream(&store, &archive).unwrap().images.len(), 2);
}

#[test]
fn a_process_killed_at_any_effect_leaves_only_garbage_that_is_swept() {
    use std::os::unix::process::ExitStatusExt as _;
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let mut killed = 0;
    for nth in 1.. {
        let root = scratch.join(&format!("root-{nth}"));
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed_where_it_is_told_to", "--quiet"])
            .env(CHILD, format!("{nth} {}", root.display()))
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        if status.signal() != Some(9) {
            assert!(status.success());
            break;
        }
        killed = nth;
        assert_whole(&root);
        let store = Store::open(&root).unwrap();
        let loaded = load_stream(&store, &archive).unwrap();
        assert_eq!(count(&root, "tmp"), 0, "{nth}");
        for image in &loaded.images {
            assert_eq!(image::verify(&store, &image.id, None).unwrap(), [], "{nth}");
        }
        drop(loaded);
        store.collector().unwrap().collect(&Live::default()).unwrap();
        for directory in ["layers", "images", "tmp", "blobs/sha256"] {
            assert_eq!(count(&root, directory), 0, "{nth} {directory}");
        }
        linux::file::remove_tree(&root).unwrap();
    }
    assert!(killed > 20, "only {killed} effects were counted");
}

#[test]
fn what_is_not_live_is_collected_and_what_is_stays() {
    let (archive, layers) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    let images = load_stream(&store, &archive).unwrap().images;
    assert_eq!((count(store.root(), "layers"), count(store.root(), "images")), (3, 2));

    let before = picture(store.root());
    let collected = store.collector().unwrap().collect(&live(&images)).unwrap();
    assert_eq!(collected, image::Collected::default());
    assert_eq!(picture(store.root()), before);

    let collected = store.collector().unwrap().collect(&live(&images[..1])).unwrap();
    assert_eq!(collected.layers, [Digest::of(&layers[2]).encoded()]);
    assert_eq!(collected.documents, [images[1].id.encoded()]);
    assert_eq!(collected.derived, 1);
    assert!(collected.bytes > layers[2].len() as u64);
    assert_eq!(image::verify(&store, &images[0].id, None).unwrap(), []);

    // Interrupted anywhere, a collection can be run again.
    for nth in 1.. {
        drop(load_stream(&store, &archive).unwrap());
        let faults = Faults::at(nth, Fault::Error);
        let faulty = Store::open_with(store.root(), faults.clone()).unwrap();
        let result = faulty.collector().unwrap().collect(&live(&images[1..]));
        assert_eq!(result.is_err(), faults.struck());
        let left = store.collector().unwrap().collect(&live(&images[1..])).unwrap();
        assert_eq!(image::verify(&store, &images[1].id, None).unwrap(), []);
        assert_eq!((count(store.root(), "layers"), count(store.root(), "images")), (2, 1));
        if !faults.struck() {
            assert_eq!(left, image::Collected::default());
            break;
        }
    }
}

/// A child that another test forks at this moment may have the lock's descriptor until it executes its program.
fn free_collector(store: &Store) -> image::store::Collector<'_> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(collector) = store.try_collector().unwrap() {
            return collector;
        }
        assert!(std::time::Instant::now() < deadline, "the store is still held");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_collector_waits_for_names_and_content_waits_for_a_collector() {
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    let loaded = load_stream(&store, &archive).unwrap();
    assert!(
        store.try_collector().unwrap().is_none(),
        "nothing may be collected while names are not committed"
    );
    let second = load_stream(&store, &archive).unwrap();
    drop(loaded);
    assert!(store.try_collector().unwrap().is_none());
    drop(second);

    let collector = free_collector(&store);
    let (done, finished) = mpsc::channel();
    let other = store.clone();
    let thread = std::thread::spawn(move || {
        let loaded = load_stream(&other, &archive).unwrap();
        done.send(loaded.images.len()).unwrap();
        loaded
    });
    assert!(
        finished.recv_timeout(Duration::from_millis(200)).is_err(),
        "content was added beside a collector"
    );
    collector.collect(&Live::default()).unwrap();
    assert_eq!(finished.recv_timeout(Duration::from_secs(60)).unwrap(), 2);
    let loaded = thread.join().unwrap();
    for image in &loaded.images {
        assert_eq!(image::verify(&store, &image.id, None).unwrap(), []);
    }
}

#[test]
fn many_may_load_the_same_at_once() {
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    drop(load_stream(&store, &archive).unwrap());
                }
            });
        }
        for _ in 0..20 {
            if let Some(collector) = store.try_collector().unwrap() {
                collector.collect(&Live::default()).unwrap();
            }
        }
    });
    let images = load_stream(&store, &archive).unwrap().images;
    for image in &images {
        assert_eq!(image::verify(&store, &image.id, None).unwrap(), []);
    }
    assert_eq!((count(store.root(), "layers"), count(store.root(), "tmp")), (3, 0));
}

#[test]
fn scratch_of_the_dead_is_swept_and_that_of_the_living_is_not() {
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    let dead = store.root().join("tmp/1-0-dead");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("layer-0"), b"half").unwrap();
    std::fs::write(store.root().join("tmp/stray"), b"").unwrap();
    let living = store.root().join("tmp/1-0-living");
    std::fs::create_dir(&living).unwrap();
    let lock = std::fs::File::open(&living).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    drop(load_stream(&store, &archive).unwrap());
    assert!(!dead.exists() && !store.root().join("tmp/stray").exists());
    assert!(living.exists());
    drop(lock);
    store.collector().unwrap().collect(&Live::default()).unwrap();
    assert!(!living.exists());
}

#[test]
fn a_missing_index_is_made_again_the_same() {
    let (archive, _) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    let image = load_stream(&store, &archive).unwrap().images.remove(0);
    let path = store.index_path(&image.id);
    let first = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(image::verify(&store, &image.id, None).unwrap(), [], "a missing index is no fault");
    assert_eq!(store.index(&image.id, &image.diff_ids()).unwrap(), path);
    assert_eq!(std::fs::read(&path).unwrap(), first);
    // And when the layers are gone, that is what is told.
    std::fs::remove_file(&path).unwrap();
    store.collector().unwrap().collect(&Live::default()).unwrap();
    let error = store.index(&image.id, &image.diff_ids()).unwrap_err();
    assert!(chain(&error).contains(image.layers[0].diff_id.as_str()), "{}", chain(&error));
}

/// Changes a file that is meant not to change.
fn damage(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = std::fs::read(path).unwrap();
    change(&mut content);
    drop(linux::file::set_immutable(std::fs::File::open(path).unwrap(), false));
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn every_damage_is_found() {
    let (archive, layers) = two_images();
    let base: DiffId = Digest::of(&layers[0]).try_into().unwrap();
    let scratch = Scratch::new();
    let check =
        |title: &str, break_it: &dyn Fn(&Store, &LoadedImage), expected: &dyn Fn(&LoadedImage) -> Finding| {
            let root = scratch.join(title);
            let store = Store::open(&root).unwrap();
            let image = load_stream(&store, &archive).unwrap().images.remove(0);
            break_it(&store, &image);
            let found = image::verify(&store, &image.id, None).unwrap();
            assert_eq!(found, [expected(&image)], "{title}");
            assert!(!found[0].to_string().contains('\n'));
            linux::file::remove_tree(&root).unwrap();
        };
    let flipped = |content: &mut Vec<u8>| content[700] ^= 1;
    check("layer-damaged", &|store, _| damage(&store.layer_path(&base), flipped), &|_| {
        let mut content = layers[0].clone();
        content[700] ^= 1;
        Finding::LayerDamaged { layer: base.clone(), found: Digest::of(&content) }
    });
    let gone = |path: PathBuf| {
        drop(linux::file::set_immutable(std::fs::File::open(&path).unwrap(), false));
        std::fs::remove_file(path).unwrap();
    };
    check("layer-missing", &|store, _| gone(store.layer_path(&base)), &|_| {
        Finding::LayerMissing(base.clone())
    });
    check("config-missing", &|store, image| gone(store.blob_path(&image.id)), &|image| {
        Finding::DocumentMissing(image.id.clone())
    });
    check(
        "config-damaged",
        &|store, image| damage(&store.blob_path(&image.id), |content| content.push(b' ')),
        &|image| Finding::DocumentDamaged(image.id.clone()),
    );
    check("index", &|store, image| damage(&store.index_path(&image.id), flipped), &|image| {
        Finding::IndexDiffers(image.id.clone())
    });
}

#[test]
fn stored_layers_cannot_be_changed() {
    use std::os::unix::fs::MetadataExt as _;
    let (archive, layers) = two_images();
    let scratch = Scratch::new();
    let store = scratch.store();
    drop(load_stream(&store, &archive).unwrap());
    let base: DiffId = Digest::of(&layers[0]).try_into().unwrap();
    let path = store.layer_path(&base);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
    let file = std::fs::File::open(&path).unwrap();
    // Where the file system has the flag and we may set it, not even root can write.
    if rustix::process::geteuid().is_root() && rustix::fs::ioctl_getflags(&file).is_ok() {
        assert!(std::fs::OpenOptions::new().write(true).open(&path).is_err());
        assert!(std::fs::remove_file(&path).is_err());
    }
}

/// Imports a layer of 512 MiB and looks at its own memory.
#[test]
fn child_that_imports_a_large_layer() {
    struct Large(u64);
    impl std::io::Read for Large {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(usize::try_from(self.0).unwrap());
            buffer[..count].fill(7);
            self.0 -= count as u64;
            Ok(count)
        }
    }
    let scratch = Scratch::new();
    let size = 512_usize << 20;
    let head = Tar::default().entry("large", b'0', "", size, b"").cut();
    let mut tar = std::io::Read::chain(&head[..], std::io::Read::chain(Large(size as u64), &[0; 1024][..]));
    let options = image::ImportOptions {
        changes: Vec::new(),
        message: String::new(),
        platform: None,
        created: oci::Timestamp::EPOCH,
        name: "large".to_owned(),
        attached: Vec::new(),
    };
    image::import(&scratch.store(), &mut tar, &options).map(drop).unwrap();
    if std::env::var(CHILD).is_err() {
        // Beside other tests in one process the memory would be theirs, too.
        return;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 32 << 10, "{kib} KiB were resident");
}

#[test]
fn memory_does_not_grow_with_a_layer() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_imports_a_large_layer", "--quiet"])
        .env(CHILD, "")
        .status()
        .unwrap();
    assert!(status.success());
}
