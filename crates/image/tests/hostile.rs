//! Archives that lie, climb, swell or stop: each is refused by the name of what is at fault, whether it is
//! read from a file or from a stream, and the store is as it was.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use archives_support::*;
use image::{Compression, ImportOptions, Store};
use oci::{Digest, Timestamp};
use serde_json::json;
use std::io::Read;

/// Loads an archive from a file and from a stream: both must fail, telling all of `words`.
fn refused(title: &str, archive: &[u8], words: &[&str]) {
    let scratch = Scratch::new();
    let store = scratch.store();
    let kept =
        load_stream(&store, &tar_of(&docker_archive(&["kept:1"], &[layer("kept")], Compression::None)));
    drop(kept.unwrap());
    let before = picture(store.root());
    let path = scratch.write("archive", archive);
    for (form, result) in [("file", load_path(&store, &path)), ("stream", load_stream(&store, archive))] {
        let error = match result {
            Ok(loaded) => panic!("{title} ({form}) was loaded: {:?}", loaded.images),
            Err(error) => chain(&error),
        };
        for word in words {
            assert!(error.contains(word), "{title} ({form}): {error:?} does not tell {word:?}");
        }
        assert_eq!(picture(store.root()), before, "{title} ({form}): {error}");
    }
}

/// An archive of one image with that layer, of which the config tells the truth.
fn with_layer(layer: &[u8], compression: Compression) -> Vec<u8> {
    tar_of(&docker_archive(&["a:1"], &[layer.to_vec()], compression))
}

#[test]
fn layers_that_climb_or_cannot_be() {
    for (title, layer, words) in [
        (
            "absolute",
            Tar::default().file("/etc/passwd", b"x").finish(),
            &["layer0/layer.tar", "\"/etc/passwd\"", "absolute"][..],
        ),
        ("parent", Tar::default().file("a/../../x", b"x").finish(), &["layer0/layer.tar", "a/../../x", ".."]),
        ("hard link out", Tar::default().hardlink("x", "../../etc/passwd").finish(), &["\"x\"", ".."]),
        (
            "hard link to nothing",
            Tar::default().hardlink("x", "etc/shadow").finish(),
            &["\"x\"", "etc/shadow"],
        ),
        ("unknown type", Tar::default().entry("x", b'Z', "", 0, b"").finish(), &["\"x\"", "type"]),
        ("not a tar", vec![b'x'; 2048], &["layer0/layer.tar"]),
        (
            "truncated data",
            Tar::default().entry("big", b'0', "", 5000, b"short").cut(),
            &["\"big\"", "truncated"],
        ),
        (
            "truncated header",
            Tar::default().file("a", b"x").file("b", b"").cut()[..1300].to_vec(),
            &["layer0/layer.tar", "truncated"],
        ),
        (
            "lone zero block",
            [Tar::default().file("a", b"").cut(), vec![0; 512], Tar::default().file("b", b"").finish()]
                .concat(),
            &["single zero block"],
        ),
    ] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            refused(&format!("{title}, {compression}"), &with_layer(&layer, compression), words);
        }
    }
}

#[test]
fn symbolic_links_in_a_layer_may_say_anything_as_nothing_follows_them() {
    let layer = Tar::default().symlink("d", "/etc").file("d/passwd", b"x").symlink("up", "../../..").finish();
    let scratch = Scratch::new();
    let store = scratch.store();
    let loaded = load_stream(&store, &with_layer(&layer, Compression::None)).unwrap();
    assert_eq!(image::verify(&store, &loaded.images[0].id, None).unwrap(), []);
}

#[test]
fn digests_and_sizes_that_lie() {
    let good = layer("good");
    for compression in COMPRESSIONS {
        let mut members = docker_archive(&["a:1"], std::slice::from_ref(&good), compression);
        members[1].1 = compress(compression, &layer("evil"));
        let digest = Digest::of(&good).to_string();
        let words = ["layer0/layer.tar", "uncompressed", &digest];
        refused(&format!("another layer, {compression}"), &tar_of(&members), &words);
        blobs_that_lie(&good, compression);
    }
}

/// A blob of a layout that is not what its descriptor says.
fn blobs_that_lie(good: &[u8], compression: Compression) {
    let blob_bytes = compress(compression, good);
    let layout = |change: &dyn Fn(&mut Layout, &mut serde_json::Value)| {
        let mut layout = Layout::default();
        let config = config(&[good]);
        let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let mut blob = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", &blob_bytes);
        change(&mut layout, &mut blob);
        let manifest = layout.manifest(json!({"schemaVersion": 2, "config": config, "layers": [blob]}));
        layout.add(manifest, None);
        tar_of(&layout.members())
    };
    let name = format!("blobs/sha256/{}", Digest::of(&blob_bytes).encoded());
    let check = |title: &str, archive: &[u8], words: &[&str]| {
        refused(&format!("{title}, {compression}"), archive, &[&[name.as_str()], words].concat());
    };
    let (smaller, larger) = (blob_bytes.len() - 1, blob_bytes.len() + 1);
    check("size too small", &layout(&|_, blob| blob["size"] = json!(smaller)), &[]);
    check("size too large", &layout(&|_, blob| blob["size"] = json!(larger)), &["size"]);
    check("bytes behind", &layout(&|layout, _| layout.blobs.get_mut(&name).unwrap().push(b'x')), &[]);
    check("cut", &layout(&|layout, _| layout.blobs.get_mut(&name).unwrap().truncate(smaller)), &[]);
    check(
        "another blob",
        &layout(&|layout, _| {
            // Where it is: the time in the header of gzip, so that it decompresses to the same.
            layout.blobs.get_mut(&name).unwrap()[4] ^= 1;
        }),
        &[],
    );
    check("no blob", &layout(&|layout, _| drop(layout.blobs.remove(&name))), &["missing"]);
}

#[test]
fn documents_that_lie_or_are_none() {
    let good = [layer("good")];
    let docker = |change: &dyn Fn(&mut Members)| {
        let mut members = docker_archive(&["a:1"], &good, Compression::None);
        change(&mut members);
        tar_of(&members)
    };
    let set = |members: &mut Members, name: &str, content: &[u8]| {
        members.iter_mut().find(|(known, _)| known.ends_with(name)).unwrap().1 = content.to_vec();
    };
    let manifest = |value: serde_json::Value| {
        docker(&|members| set(members, "manifest.json", value.to_string().as_bytes()))
    };
    refused("nothing", &tar_of(&vec![]), &["not an archive of images"]);
    refused("a root file system", &good[0], &["not an archive of images", "import"]);
    refused("no tar", &[b'x'; 4096], &["refused"]);
    refused("bad JSON", &docker(&|members| set(members, "manifest.json", b"[{")), &["manifest.json"]);
    refused(
        "twice",
        &docker(&|members| members.push(("manifest.json".into(), b"[]".to_vec()))),
        &["manifest.json", "more than once"],
    );
    refused(
        "deep",
        &docker(&|members| set(members, "manifest.json", "[".repeat(200_000).as_bytes())),
        &["manifest.json"],
    );
    refused(
        "huge",
        &docker(&|members| set(members, "manifest.json", &vec![b' '; (8 << 20) + 1])),
        &["manifest.json", "larger"],
    );
    refused(
        "no config",
        &manifest(json!([{"Config": "x.json", "Layers": []}])),
        &["x.json", "manifest.json"],
    );
    refused("config above", &manifest(json!([{"Config": "../x.json", "Layers": []}])), &["../x.json"]);
    refused("absolute config", &manifest(json!([{"Config": "/etc/passwd", "Layers": []}])), &["/etc/passwd"]);
    refused("bad config", &docker(&|members| set(members, ".json", b"{}")), &[".json"]);
    let config_name = docker_archive(&[], &good, Compression::None)[2].0.clone();
    let layers = |names: &[&str], tag: &str| {
        manifest(json!([{"Config": config_name, "RepoTags": [tag], "Layers": names}]))
    };
    refused("no layers", &layers(&[], "a:1"), &["1 layers", "0"]);
    refused("no such layer", &layers(&["nope/layer.tar"], "a:1"), &["nope/layer.tar", "missing"]);
    refused("layer above", &layers(&["../layer.tar"], "a:1"), &["../layer.tar"]);
    refused("bad name", &layers(&["layer0/layer.tar"], "UPPER:1"), &["RepoTags", "UPPER:1"]);
    let digested = format!("a@{}", Digest::of(b""));
    refused("a name with a digest", &layers(&["layer0/layer.tar"], &digested), &["RepoTags", "digest"]);
    refused("a document as a layer", &layers(&[&config_name], "a:1"), &[&config_name]);
}

#[test]
fn layouts_that_lie_or_turn_in_circles() {
    let empty = |layout: &mut Layout| layout.image(&config(&[]), &[], Compression::None);
    let with = |change: &dyn Fn(&mut Layout)| {
        let mut layout = Layout::default();
        change(&mut layout);
        tar_of(&layout.members())
    };
    refused("no images", &with(&|_| {}), &["not an archive of images"]);
    let both = with(&|layout| {
        let config =
            layout.blob("application/vnd.oci.image.config.v1+json", config(&[]).to_string().as_bytes());
        let both =
            layout.manifest(json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []}));
        layout.add(both, None);
    });
    refused("both kinds", &both, &["blobs/sha256/", "both"]);
    let nested = with(&|layout| {
        let mut entry = empty(layout);
        for _ in 0..8 {
            entry = layout.index(&[entry]);
        }
        layout.add(entry, None);
    });
    refused("nested", &nested, &["deep"]);
    let version = with(&|layout| {
        let entry = empty(layout);
        layout.add(entry, None);
    });
    let version = String::from_utf8_lossy(&version).replace("1.0.0", "9.0.0").into_bytes();
    refused("another version", &version, &["oci-layout", "9.0.0"]);
    let schema1 = with(&|layout| {
        let mut old = layout.manifest(json!({"schemaVersion": 1, "fsLayers": []}));
        old["mediaType"] = json!("application/vnd.docker.distribution.manifest.v1+prettyjws");
        layout.add(old, None);
    });
    refused("schema 1", &schema1, &["schema 1"]);
    let name = with(&|layout| {
        let entry = empty(layout);
        layout.add(entry, Some("a//b:c"));
    });
    refused("bad name", &name, &["index.json", "a//b:c"]);
}

#[test]
fn members_that_climb_or_are_no_files() {
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]"#;
    let end = |tar: Tar| tar.file("manifest.json", manifest).finish();
    for (title, archive, words) in [
        ("absolute", end(Tar::default().file("/l.tar", b"x")), &["/l.tar", "absolute"][..]),
        ("parent", end(Tar::default().file("x/../../l.tar", b"x")), &[".."]),
        ("link out", end(Tar::default().symlink("l.tar", "../../etc/passwd")), &["l.tar", "outside"]),
        ("absolute link", end(Tar::default().symlink("l.tar", "/etc/passwd")), &["l.tar", "outside"]),
        ("device", end(Tar::default().entry("l.tar", b'3', "", 0, b"")), &["l.tar"]),
        ("fifo", end(Tar::default().entry("l.tar", b'6', "", 0, b"")), &["l.tar"]),
        (
            "circle",
            Tar::default().symlink("manifest.json", "b").symlink("b", "manifest.json").finish(),
            &["manifest.json", "links"],
        ),
    ] {
        refused(title, &archive, words);
    }
}

#[test]
fn a_directory_is_not_left_through_links() {
    let scratch = Scratch::new();
    let layer = layer("outside");
    let outside = scratch.write("outside.tar", &layer);
    let mut layout = Layout::default();
    let image = layout.image(&config(&[&layer]), std::slice::from_ref(&layer), Compression::None);
    layout.add(image, None);
    for (name, content) in &layout.members() {
        scratch.write(&format!("layout/{name}"), content);
    }
    let blob = scratch.join(&format!("layout/blobs/sha256/{}", Digest::of(&layer).encoded()));
    std::fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink(&outside, &blob).unwrap();
    let error = load_path(&scratch.store(), &scratch.join("layout")).unwrap_err();
    assert!(chain(&error).contains("blobs/sha256/"), "{}", chain(&error));
    assert_eq!(std::fs::read_dir(scratch.store().root().join("layers")).unwrap().count(), 0);
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    for compression in [Compression::None, Compression::Gzip] {
        let layers = [layer("one"), layer("two")];
        cut_anywhere(&docker_archive(&["a:1"], &layers, compression));
        let mut layout = Layout::default();
        let image = layout.image(&config(&[&layers[0], &layers[1]]), &layers, compression);
        layout.add(image, Some("a:1"));
        cut_anywhere(&layout.members());
    }
}

fn cut_anywhere(members: &Members) {
    let whole = tar_of(members);
    let last_content = whole.len() - 1024 - 512;
    let scratch = Scratch::new();
    let store = scratch.store();
    let before = picture(store.root());
    let boundaries = (0..last_content).step_by(512).flat_map(|at| [at, at + 1, at + 511]);
    for cut in boundaries.filter(|cut| *cut < last_content) {
        let part = &whole[..cut];
        let path = scratch.write("cut.tar", part);
        for result in [load_path(&store, &path), load_stream(&store, part)] {
            assert!(result.is_err(), "cut at {cut} of {}", whole.len());
        }
        assert_eq!(picture(store.root()), before, "cut at {cut}");
    }
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz] {
        let whole = compress(compression, &whole);
        for cut in (0..whole.len() - 8).step_by(whole.len() / 23) {
            let result = load_stream(&store, &whole[..cut]);
            assert!(result.is_err(), "{compression} cut at {cut} of {}", whole.len());
        }
        assert_eq!(picture(store.root()), before);
    }
}

#[test]
fn bombs_are_stopped_by_what_was_declared() {
    // Behind the end mark of a layer's tar only padding may follow, however well it compresses.
    let mut layer = Tar::default().file("a", b"x").finish();
    layer.resize(40 << 20, 0);
    for compression in [Compression::Gzip, Compression::Zstd] {
        refused(
            &format!("padding, {compression}"),
            &with_layer(&layer, compression),
            &["layer0/layer.tar", "padding"],
        );
    }
    // A member that is neither layer nor document is passed over, and missed only where it is needed.
    let large = vec![b' '; 9 << 20];
    let mut members = docker_archive(&["a:1"], &[layer[..2048].to_vec()], Compression::None);
    members[1].1 = large;
    refused("no layer", &tar_of(&members), &["layer0/layer.tar"]);
}

/// A tar of empty files that is made as it is read.
struct Endless {
    left: u64,
    block: Vec<u8>,
    position: usize,
}

impl Endless {
    fn new(entries: u64) -> Self {
        let block = Tar::default().file("file", b"").cut();
        Self { left: entries, block, position: 512 }
    }
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.position == 512 {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            self.position = 0;
        }
        let count = buffer.len().min(512 - self.position);
        buffer[..count].copy_from_slice(&self.block[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

fn options() -> ImportOptions {
    ImportOptions {
        changes: Vec::new(),
        message: String::new(),
        platform: None,
        created: Timestamp::EPOCH,
        name: "stdin".to_owned(),
        attached: Vec::new(),
    }
}

#[test]
fn ten_million_entries_are_too_many() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let error = image::import(&store, &mut Endless::new(10_000_000), &options()).unwrap_err();
    let text = chain(&error);
    assert!(
        text.contains("stdin") && text.contains("\"file\"") && text.contains("number of entries"),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_full_file_system_leaves_the_store_as_it_was() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    assert!(rustix::process::geteuid().is_root(), "this test mounts a small file system: run it as root");
    let scratch = Scratch::new();
    let small = scratch.join("small");
    std::fs::create_dir(&small).unwrap();
    mount("tmpfs", &small, "tmpfs", MountFlags::empty(), Some(c"size=4m")).unwrap();
    let result = std::panic::catch_unwind(|| {
        let store = Store::open(&small.join("root")).unwrap();
        let before = picture(store.root());
        let large = Tar::default().file("large", &vec![7; 8 << 20]).finish();
        let error = load_stream(&store, &with_layer(&large, Compression::Zstd)).unwrap_err();
        let text = chain(&error);
        assert!(text.contains("space") || text.contains("bytes are left"), "{text}");
        assert_eq!(picture(store.root()), before);
        load_stream(&store, &with_layer(&layer("fits"), Compression::Zstd)).map(drop).unwrap();
    });
    unmount(&small, UnmountFlags::DETACH).unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn an_archive_with_any_bytes_changed_is_refused_or_loads_what_it_names(
        changes in proptest::collection::vec((proptest::prelude::any::<u16>(), proptest::prelude::any::<u8>()), 1..4),
        layout: bool,
    ) {
        let layers = [layer("one")];
        let members = if layout {
            let mut layout = Layout::default();
            let image = layout.image(&config(&[&layers[0]]), &layers, Compression::Zstd);
            layout.add(image, Some("a:1"));
            layout.members()
        } else {
            docker_archive(&["a:1"], &layers, Compression::Zstd)
        };
        let mut archive = tar_of(&members);
        for (place, value) in changes {
            let place = usize::from(place) % archive.len();
            archive[place] = value;
        }
        let scratch = Scratch::new();
        let store = scratch.store();
        let path = scratch.write("archive", &archive);
        for loaded in [load_path(&store, &path), load_stream(&store, &archive)].into_iter().flatten() {
            for image in &loaded.images {
                assert_eq!(image::verify(&store, &image.id, None).unwrap(), []);
            }
        }
        assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }
}
