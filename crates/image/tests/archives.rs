//! Archives of every form, made by hand and by other programs, loaded and saved.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use archives_support::*;
use image::{Compression, ImportOptions, LoadOptions, LoadedImage, SavedImage, Source, Store};
use oci::{Digest, Platform, Timestamp};
use serde_json::{Value, json};

fn names(image: &LoadedImage) -> Vec<String> {
    image.references.iter().map(oci::Reference::familiar).collect()
}

fn two_layers() -> [Vec<u8>; 2] {
    [layer("one"), layer("two")]
}

/// The store has the image, whole, and nothing else.
fn assert_stored(store: &Store, image: &LoadedImage, layers: &[Vec<u8>]) {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    assert_eq!(image.diff_ids().iter().map(|layer| layer.digest().clone()).collect::<Vec<_>>(), diff_ids);
    for (layer, bytes) in image.layers.iter().zip(layers) {
        assert_eq!(&std::fs::read(store.layer_path(&layer.diff_id)).unwrap(), bytes);
        assert_eq!(layer.size, bytes.len() as u64);
    }
    assert_eq!(store.config(&image.id).unwrap(), image.config);
    assert_eq!(image::verify(store, &image.id, image.manifest.as_ref().map(|m| &m.digest)).unwrap(), []);
    assert!(store.index_path(&image.id).exists());
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn docker_archives_load_however_they_and_their_layers_are_compressed() {
    let layers = two_layers();
    for inner in COMPRESSIONS {
        let members = docker_archive(&["busybox", "user/app:1"], &layers, inner);
        for outer in COMPRESSIONS {
            let archive = compress(outer, &tar_of(&members));
            let scratch = Scratch::new();
            let path = scratch.write("archive", &archive);
            for store in ["by-path", "by-stream"] {
                let stream = store == "by-stream";
                let store = Store::open(&scratch.join(store)).unwrap();
                let loaded = if stream { load_stream(&store, &archive) } else { load_path(&store, &path) };
                let loaded = loaded.unwrap_or_else(|error| panic!("{inner} in {outer}: {}", chain(&error)));
                let [image] = loaded.images.as_slice() else { panic!("{} images", loaded.images.len()) };
                assert_eq!(names(image), ["busybox:latest", "user/app:1"]);
                assert!(image.manifest.is_none());
                assert_stored(&store, image, &layers);
            }
        }
    }
}

#[test]
fn layouts_load_as_directory_tar_and_stream() {
    let layers = two_layers();
    for compression in COMPRESSIONS {
        let mut layout = Layout::default();
        let config = config(&[&layers[0], &layers[1]]);
        let image = layout.image(&config, &layers, compression);
        layout.add(image.clone(), Some("localhost/app:1"));
        let members = layout.members();
        let scratch = Scratch::new();
        for (name, content) in &members {
            scratch.write(&format!("layout/{name}"), content);
        }
        let tar = scratch.write("layout.tar", &tar_of(&members));
        for form in ["directory", "tar", "stream"] {
            let store = Store::open(&scratch.join(&format!("root-{form}"))).unwrap();
            let loaded = match form {
                "directory" => load_path(&store, &scratch.join("layout")),
                "tar" => load_path(&store, &tar),
                _ => load_stream(&store, &tar_of(&members)),
            };
            let loaded = loaded.unwrap_or_else(|error| panic!("{compression} {form}: {}", chain(&error)));
            let [image_loaded] = loaded.images.as_slice() else { panic!("{form}") };
            assert_eq!(names(image_loaded), ["localhost/app:1"]);
            let manifest = image_loaded.manifest.as_ref().unwrap();
            assert_eq!(manifest.digest.as_str(), image["digest"].as_str().unwrap());
            assert!(store.blob_path(&manifest.digest).exists());
            let blob = image_loaded.layers[0].blob.as_ref().unwrap();
            blob.verify(&compress(compression, &layers[0])).unwrap();
            assert_stored(&store, image_loaded, &layers);
        }
    }
}

/// Images of several platforms, nested, with an attestation.
fn several_platforms(names: &[&str]) -> (Members, Vec<Value>) {
    let mut layout = Layout::default();
    let mut entries = Vec::new();
    for name in names {
        let layers = [layer(name)];
        let (os, architecture) = name.split_once('/').unwrap();
        let mut config = config(&[&layers[0]]);
        config["os"] = json!(os);
        config["architecture"] = json!(architecture);
        let mut entry = layout.image(&config, &layers, Compression::Gzip);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entries.push(entry);
    }
    let mut attestation = layout.image(&config(&[]), &[], Compression::None);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let mut all = vec![attestation];
    all.extend(entries.clone());
    let inner = layout.index(&all);
    let outer = layout.index(&[inner]);
    layout.add(outer, Some("docker.io/library/multi:1"));
    (layout.members(), entries)
}

#[test]
fn the_platform_is_chosen_through_nested_indexes() {
    let (members, entries) = several_platforms(&["linux/arm64", "linux/amd64", "windows/amd64"]);
    let scratch = Scratch::new();
    let path = scratch.write("multi.tar", &tar_of(&members));
    for (wanted, place) in [("linux/amd64", 1), ("linux/arm64/v8", 0), ("windows/amd64", 2)] {
        let options = LoadOptions { platforms: vec![wanted.parse().unwrap()], ..LoadOptions::default() };
        let loaded = image::load(&scratch.store(), Source::Path(&path), &options).unwrap();
        let manifest = loaded.images[0].manifest.as_ref().unwrap();
        assert_eq!(manifest.digest.as_str(), entries[place]["digest"].as_str().unwrap(), "{wanted}");
        assert_eq!(names(&loaded.images[0]), ["multi:1"]);
    }
    let options = LoadOptions { platforms: vec!["linux/s390x".parse().unwrap()], ..LoadOptions::default() };
    let error = image::load(&scratch.store(), Source::Path(&path), &options).unwrap_err();
    assert!(
        chain(&error).contains("linux/s390x; it has linux/arm64, linux/amd64, windows/amd64"),
        "{}",
        chain(&error)
    );
}

#[test]
fn the_only_platform_there_is_loads_unless_another_is_asked_for() {
    let (members, _) = several_platforms(&["linux/s390x"]);
    let scratch = Scratch::new();
    let path = scratch.write("one.tar", &tar_of(&members));
    let loaded = load_path(&scratch.store(), &path).unwrap();
    assert_eq!(loaded.images[0].platform().to_string(), "linux/s390x");
    let options = LoadOptions { platforms: vec![Platform::host()], ..LoadOptions::default() };
    assert!(matches!(
        image::load(&scratch.store(), Source::Path(&path), &options),
        Err(image::Error::NoPlatform { .. })
    ));
}

#[test]
fn names_come_from_annotations_and_a_bare_word_is_none() {
    for (annotations, expected) in [
        (json!({"org.opencontainers.image.ref.name": "busybox:1"}), &["busybox:1"][..]),
        (json!({"org.opencontainers.image.ref.name": "ghcr.io/a/b"}), &["ghcr.io/a/b:latest"]),
        (json!({"org.opencontainers.image.ref.name": "latest"}), &[]),
        (
            json!({"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/x:1"}),
            &["x:1"],
        ),
        (json!({"io.containerd.image.name": format!("moby-dangling@{}", Digest::of(b""))}), &[]),
        (json!({}), &[]),
    ] {
        let mut layout = Layout::default();
        let mut image = layout.image(&config(&[]), &[], Compression::None);
        image["annotations"] = annotations.clone();
        layout.add(image, None);
        let scratch = Scratch::new();
        let loaded = load_stream(&scratch.store(), &tar_of(&layout.members())).unwrap();
        assert_eq!(names(&loaded.images[0]), expected, "{annotations}");
    }
}

#[test]
fn the_oldest_form_has_a_config_made_for_it() {
    let layers = two_layers();
    let (base, top) = ("a".repeat(64), "b".repeat(64));
    let document = |id: &str, parent: Option<&str>, cmd: &str| {
        let mut document = json!({
            "id": id, "created": "2014-05-06T07:08:09Z", "architecture": "amd64", "os": "linux",
            "container_config": {"Cmd": ["/bin/sh", "-c", cmd]},
            "config": {"Cmd": ["/bin/ls"], "ExposedPorts": null},
        });
        if let Some(parent) = parent {
            document["parent"] = json!(parent);
        }
        document.to_string().into_bytes()
    };
    let members: Members = vec![
        (format!("{top}/VERSION"), b"1.0".to_vec()),
        (format!("{top}/json"), document(&top, Some(&base), "#(nop) CMD [ls]")),
        (format!("{top}/layer.tar"), layers[1].clone()),
        (format!("{base}/json"), document(&base, None, "#(nop) ADD file")),
        (format!("{base}/layer.tar"), compress(Compression::Gzip, &layers[0])),
        ("repositories".to_owned(), json!({"old/app": {"1": top, "latest": top}}).to_string().into_bytes()),
    ];
    let scratch = Scratch::new();
    let path = scratch.write("old.tar", &tar_of(&members));
    for loaded in [load_path(&scratch.store(), &path), load_stream(&scratch.store(), &tar_of(&members))] {
        let loaded = loaded.unwrap();
        assert_eq!(names(&loaded.images[0]), ["old/app:1", "old/app:latest"]);
        let config = &loaded.images[0].config;
        assert_eq!(config.config.cmd, Some(vec!["/bin/ls".to_owned()]));
        assert_eq!(config.history[0].created_by, "/bin/sh -c #(nop) ADD file");
        assert_stored(&scratch.store(), &loaded.images[0], &layers);
    }
    // Without names, the layer that is nobody's parent is the image.
    let nameless: Members = members[..5].to_vec();
    let loaded = load_stream(&scratch.store(), &tar_of(&nameless)).unwrap();
    assert_eq!(loaded.images.len(), 1);
    assert_stored(&scratch.store(), &loaded.images[0], &layers);
}

#[test]
fn layers_may_be_links_within_the_archive() {
    let layers = [layer("one")];
    let config = config(&[&layers[0], &layers[0], &layers[0]]).to_string();
    let manifest = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]);
    let archive = Tar::default()
        .file("a/layer.tar", &layers[0])
        .symlink("b/layer.tar", "../a/./layer.tar")
        .hardlink("c/layer.tar", "b/layer.tar")
        .file("c.json", config.as_bytes())
        .file("manifest.json", manifest.to_string().as_bytes())
        .finish();
    let scratch = Scratch::new();
    let path = scratch.write("links.tar", &archive);
    for loaded in [load_path(&scratch.store(), &path), load_stream(&scratch.store(), &archive)] {
        let loaded = loaded.unwrap();
        let three = [layers[0].clone(), layers[0].clone(), layers[0].clone()];
        assert_stored(&scratch.store(), &loaded.images[0], &three);
    }
}

#[test]
fn loading_again_writes_no_layer_again() {
    use std::os::unix::fs::MetadataExt as _;
    let layers = two_layers();
    let archive = tar_of(&docker_archive(&["a:1"], &layers, Compression::Zstd));
    let scratch = Scratch::new();
    let store = scratch.store();
    let inodes = |image: &LoadedImage| {
        let inode = |layer| std::fs::metadata(store.layer_path(layer)).unwrap().ino();
        image.diff_ids().iter().map(inode).collect::<Vec<_>>()
    };
    let before = inodes(&load_stream(&store, &archive).unwrap().images[0]);
    let path = scratch.write("a.tar", &archive);
    assert_eq!(inodes(&load_path(&store, &path).unwrap().images[0]), before);
    assert_eq!(inodes(&load_stream(&store, &archive).unwrap().images[0]), before);
    // Yet what the archive holds is still checked.
    let mut members = docker_archive(&["a:1"], &layers, Compression::None);
    members[1].1[1024] ^= 1;
    let path = scratch.write("b.tar", &tar_of(&members));
    assert!(matches!(load_path(&store, &path), Err(image::Error::Mismatch { .. })));
}

#[test]
fn one_image_under_several_names_is_one_image() {
    let layers = two_layers();
    let mut layout = Layout::default();
    let image = layout.image(&config(&[&layers[0], &layers[1]]), &layers, Compression::Gzip);
    layout.add(image.clone(), Some("a:1"));
    layout.add(image, Some("b:2"));
    let scratch = Scratch::new();
    let loaded = load_stream(&scratch.store(), &tar_of(&layout.members())).unwrap();
    assert_eq!(loaded.images.len(), 1);
    assert_eq!(names(&loaded.images[0]), ["a:1", "b:2"]);
}

#[test]
fn skopeo_reads_what_is_saved_and_its_archives_load() {
    let layers = two_layers();
    let mut layout = Layout::default();
    let image = layout.image(&config(&[&layers[0], &layers[1]]), &layers, Compression::Gzip);
    layout.add(image, Some("first"));
    let scratch = Scratch::new();
    for (name, content) in &layout.members() {
        scratch.write(&format!("layout/{name}"), content);
    }
    let text = |name: &str| scratch.join(name).display().to_string();
    let copy = |from: &str, to: &str| run("skopeo", &["--insecure-policy", "copy", "--quiet", from, to]);
    copy(&format!("oci:{}:first", text("layout")), &format!("docker-archive:{}:app:1", text("docker.tar")));
    copy(&format!("oci:{}:first", text("layout")), &format!("oci-archive:{}:app:2", text("oci.tar")));
    let store = scratch.store();
    let docker = load_path(&store, &scratch.join("docker.tar")).unwrap();
    assert_eq!(names(&docker.images[0]), ["app:1"]);
    assert_stored(&store, &docker.images[0], &layers);
    let oci = load_path(&store, &scratch.join("oci.tar")).unwrap();
    assert_eq!(names(&oci.images[0]), ["app:2"]);
    assert_stored(&store, &oci.images[0], &layers);

    let id = oci.images[0].id.clone();
    let saved = SavedImage {
        id: id.clone(),
        references: vec!["app:3".parse().unwrap()],
        platforms: Vec::new(),
        through: None,
    };
    let mut archive = Vec::new();
    image::save(&store, &[saved], &mut archive).unwrap();
    scratch.write("saved.tar", &archive);
    for transport in ["docker-archive", "oci-archive"] {
        let source = format!("{transport}:{}", text("saved.tar"));
        let seen: Value = serde_json::from_str(&run("skopeo", &["inspect", &source])).unwrap();
        let seen: Vec<&str> =
            seen["Layers"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        let layers: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        assert_eq!(seen, layers, "{transport}");
        copy(&source, &format!("oci:{}:copy", text(transport)));
        let config = run("skopeo", &["inspect", "--raw", "--config", &source]);
        assert_eq!(config.as_bytes(), store.blob(&id).unwrap(), "{transport}");
    }
}

#[test]
fn podman_loads_what_is_saved_and_its_archives_load() {
    assert!(rustix::process::geteuid().is_root(), "podman keeps its own store: run this test as root");
    let layers = two_layers();
    let scratch = Scratch::new();
    let store = scratch.store();
    let archive = tar_of(&docker_archive(&["localhost/app:1"], &layers, Compression::None));
    let loaded = load_stream(&store, &archive).unwrap();
    let image = &loaded.images[0];
    let mut saved = Vec::new();
    let request = SavedImage {
        id: image.id.clone(),
        references: image.references.clone(),
        platforms: Vec::new(),
        through: None,
    };
    image::save(&store, &[request], &mut saved).unwrap();
    let saved = scratch.write("saved.tar", &saved).display().to_string();
    let text = |name: &str| scratch.join(name).display().to_string();
    let (root, run_root) = (text("podman"), text("podman-run"));
    let podman = |arguments: &[&str]| {
        let common =
            ["--root", &root, "--runroot", &run_root, "--storage-driver", "vfs", "--events-backend", "none"];
        run("podman", &[&common, arguments].concat())
    };
    podman(&["load", "--quiet", "--input", &saved]);
    let id = podman(&["image", "inspect", "--format", "{{.Id}}", "localhost/app:1"]);
    assert_eq!(id.trim(), image.id.encoded());
    for format in ["docker-archive", "oci-archive"] {
        let file = text(format);
        podman(&["save", "--quiet", "--format", format, "--output", &file, "localhost/app:1"]);
        for stream in [false, true] {
            let loaded = match stream {
                false => load_path(&store, &scratch.join(format)),
                true => load_stream(&store, &std::fs::read(scratch.join(format)).unwrap()),
            };
            let loaded = loaded.unwrap_or_else(|error| panic!("{format}: {}", chain(&error)));
            assert_eq!(names(&loaded.images[0]), ["localhost/app:1"], "{format}");
            assert_stored(&store, &loaded.images[0], &layers);
        }
    }
}

#[test]
fn what_is_saved_is_deterministic_and_shares_blobs() {
    let (one, two, three) = (layer("one"), layer("two"), layer("three"));
    let scratch = Scratch::new();
    let store = scratch.store();
    let load = |tags: &[&str], layers: &[Vec<u8>]| {
        load_stream(&store, &tar_of(&docker_archive(tags, layers, Compression::None)))
            .unwrap()
            .images
            .remove(0)
    };
    let a = load(&["a:1", "a:2"], &[one.clone(), two.clone()]);
    let b = load(&[], &[one.clone(), three]);
    let save = || {
        let images = [
            SavedImage {
                id: a.id.clone(),
                references: a.references.clone(),
                platforms: Vec::new(),
                through: None,
            },
            SavedImage { id: b.id.clone(), references: Vec::new(), platforms: Vec::new(), through: None },
        ];
        let mut out = Vec::new();
        image::save(&store, &images, &mut out).unwrap();
        out
    };
    let saved = save();
    assert_eq!(saved, save());
    let path = scratch.write("saved.tar", &saved).display().to_string();
    let listing = run("tar", &["-tf", &path]);
    let listed = |name: &str| listing.lines().filter(|line| *line == name).count();
    assert_eq!(listed(&format!("blobs/sha256/{}", Digest::of(&one).encoded())), 1, "{listing}");
    let manifest: Value = serde_json::from_str(&run("tar", &["-xOf", &path, "manifest.json"])).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["a:1", "a:2"]));
    assert_eq!(manifest[1]["RepoTags"], Value::Null);
    let repositories: Value = serde_json::from_str(&run("tar", &["-xOf", &path, "repositories"])).unwrap();
    assert_eq!(
        repositories,
        json!({"a": {"1": Digest::of(&two).encoded(), "2": Digest::of(&two).encoded()}})
    );

    let other = Store::open(&scratch.join("other")).unwrap();
    let again = load_stream(&other, &saved).unwrap();
    assert_eq!(again.images.iter().map(|image| image.id.clone()).collect::<Vec<_>>(), [a.id, b.id]);
    assert_eq!(names(&again.images[0]), ["a:1", "a:2"]);
    assert_eq!(names(&again.images[1]), [""; 0]);
}

#[test]
fn layers_may_be_named_by_sha512() {
    let layer = layer("long");
    let digest = sha512(&layer);
    let mut image = config(&[]);
    image["rootfs"]["diff_ids"] = json!([digest.to_string()]);
    let manifest = json!([{"Config": "c.json", "RepoTags": ["long:1"], "Layers": ["l.tar"]}]);
    let members: Members = vec![
        ("l.tar".to_owned(), compress(Compression::Gzip, &layer)),
        ("c.json".to_owned(), image.to_string().into_bytes()),
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
    ];
    let scratch = Scratch::new();
    let path = scratch.write("long.tar", &tar_of(&members));
    let by_path = load_path(&scratch.store(), &path).unwrap();
    let other = Store::open(&scratch.join("other")).unwrap();
    let by_stream = load_stream(&other, &tar_of(&members)).unwrap();
    for (store, loaded) in [(scratch.store(), by_path), (other, by_stream)] {
        let image = &loaded.images[0];
        assert_eq!(image.layers[0].diff_id.digest(), &digest);
        assert_eq!(image::verify(&store, &image.id, None).unwrap(), []);
        let request = SavedImage {
            id: image.id.clone(),
            references: image.references.clone(),
            platforms: Vec::new(),
            through: None,
        };
        let mut saved = Vec::new();
        image::save(&store, &[request], &mut saved).unwrap();
        let third = Store::open(&scratch.join("third")).unwrap();
        assert_eq!(load_stream(&third, &saved).unwrap().images[0].id, image.id);
    }
}

fn sha512(content: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha512(sha2::Sha512::digest(content).into())
}

fn import_options(changes: &[&str]) -> ImportOptions {
    ImportOptions {
        changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        message: "Imported from -".to_owned(),
        platform: None,
        created: Timestamp::EPOCH,
        name: "-".to_owned(),
        attached: Vec::new(),
    }
}

#[test]
fn a_root_file_system_becomes_an_image() {
    let tar = layer("root");
    for compression in COMPRESSIONS {
        let scratch = Scratch::new();
        let store = scratch.store();
        let bytes = compress(compression, &tar);
        let changes = ["CMD [\"/bin/sh\"]", "ENV A=1", "EXPOSE 80"];
        let loaded = image::import(&store, &mut bytes.as_slice(), &import_options(&changes)).unwrap();
        let image = &loaded.images[0];
        assert_stored(&store, image, std::slice::from_ref(&tar));
        assert_eq!(image.config.history[0].comment, "Imported from -");
        assert_eq!(image.config.config.cmd, Some(vec!["/bin/sh".to_owned()]));
        assert_eq!(image.platform(), Platform::host());
        expect_test::expect![[
            r#"{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","comment":"Imported from -","config":{"ExposedPorts":{"80/tcp":{}},"Env":["A=1"],"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:HASH"]},"history":[{"created":"1970-01-01T00:00:00Z","comment":"Imported from -"}]}"#
        ]]
        .assert_eq(
            &String::from_utf8(store.blob(&image.id).unwrap())
                .unwrap()
                .replace(Digest::of(&tar).encoded(), "HASH")
                .replace(&Platform::host().architecture, "amd64"),
        );
    }
}

#[test]
fn an_import_that_may_be_truncated_is_refused() {
    let whole = Tar::default().file("a", b"x").cut();
    let scratch = Scratch::new();
    let store = scratch.store();
    for bytes in [&whole[..], &whole[..512], &whole[..100], b"", &compress(Compression::Gzip, &whole)] {
        let error = image::import(&store, &mut &*bytes, &import_options(&[])).unwrap_err();
        assert!(chain(&error).contains('-'), "{}", chain(&error));
    }
    let error = image::import(&store, &mut layer("x").as_slice(), &import_options(&["RUN x"])).unwrap_err();
    assert!(matches!(error, image::Error::Change { .. }));
    assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}
