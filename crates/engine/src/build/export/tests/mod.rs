//! Outputs, as others read them: skopeo, tar, a registry, and the engine itself. What is attested has a file of its own.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files and run peers")]

mod attested;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use build::Cancel;
use oci::{ImageConfig, Platform, Timestamp};
use registry_client::Client;
use serde_json::Value;
use testkit::{Disk, Entry, Scratch};

use super::{Facts, Product, Progress, Session, Tree, finished, run};
use crate::build::watch::{BuildEvent, BuildWatch};
use crate::info::Built;
use crate::request::{Build, Fields, LoadImages};
use crate::{Archive, Config, Engine, KeptFor, Result};

/// An engine on a root of its own.
fn engine(base: &Path) -> Engine {
    Engine::open(Config {
        root: base.join("root"),
        run: base.join("run"),
        monitor: "/nonexistent".into(),
        snapshotter: None,
        trace: None,
        cdi_folders: Vec::new(),
        kept_for: KeptFor::default(),
    })
    .unwrap()
}

fn fields(text: &str) -> Fields {
    let pair = |field: &str| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_owned(), value.to_owned())
    };
    text.split(',').map(pair).collect()
}

fn request(outputs: &[&str]) -> Build {
    Build {
        outputs: outputs.iter().map(|text| fields(text)).collect(),
        source_date_epoch: Timestamp::new(1_700_000_000, 0),
        tells_provenance: true,
        attestations: BTreeMap::from([("provenance".to_owned(), fields("disabled=true"))]),
        ..Build::default()
    }
}

const FILES: &[Entry<'_>] = &[
    Entry::Directory("etc", 0o755),
    Entry::File("etc/motd", 0o644, b"hello\n"),
    Entry::Symlink("etc/link", "/etc/passwd"),
    Entry::File("su", 0o4755, b"#!"),
];

/// Has layers of these entries exported for each platform.
fn export(engine: &Engine, request: &Build, platforms: &[&str], layers: &[&[Entry<'_>]]) -> Result<Built> {
    export_watched(engine, request, (platforms, layers), &|_| {})
}

/// The same, with somebody who watches.
fn export_watched(
    engine: &Engine,
    request: &Build,
    (platforms, layers): (&[&str], &[&[Entry<'_>]]),
    watch: &BuildWatch<'_>,
) -> Result<Built> {
    let (client, cancel) = (Client::new(registry_client::Settings::default()), Cancel::new());
    let session = Session::new(engine, &client, request, &cancel)?;
    let mut products = Vec::new();
    for platform in platforms {
        let mut tree = Tree::empty();
        for entries in layers {
            let mut layer = session.draft.layer().unwrap();
            layer.write_all(&testkit::layer(entries)).unwrap();
            tree = tree.with(layer.finish().unwrap());
        }
        let platform: Platform = platform.parse().unwrap();
        let mut config = ImageConfig { platform: platform.clone(), ..ImageConfig::default() };
        config.config.cmd = Some(vec!["/x".to_owned()]);
        products.push(Product { platform, config, tree, layer_names: vec!["COPY . .".to_owned()] });
    }
    run(&session, finished(&session, None, products)?, &Facts::default(), &Progress::new(watch))
}

fn skopeo(arguments: &[&str]) -> Value {
    let output = Command::new("skopeo").args(arguments).output().expect("run skopeo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "skopeo {arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

#[test]
fn an_image_gets_its_names_in_the_store() {
    let base = Scratch::new();
    let engine = engine(&base);
    let request =
        Build { tags: vec!["a:1".to_owned(), "example.org/b".to_owned()], ..request(&["type=image"]) };
    let built = export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    let info = engine.image_inspect("a:1", None).unwrap();
    assert_eq!(Some(&info.summary.id), built.id().as_ref());
    assert_eq!(info.summary.id, engine.image_inspect("example.org/b", None).unwrap().summary.id);
    let config: Value = serde_json::from_slice(&info.config).unwrap();
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(config["history"][0]["created_by"], "COPY . .");
    let metadata = built.metadata();
    assert_eq!(metadata["image.name"], "docker.io/library/a:1,example.org/b:latest");
    assert_eq!(metadata["containerimage.config.digest"], info.summary.id.as_str());
    assert_eq!(metadata["containerimage.digest"], metadata["containerimage.descriptor"]["digest"]);
    assert!(engine.verify_images(&[]).unwrap().iter().all(|image| image.faults.is_empty()));
}

#[test]
fn several_platforms_are_one_name() {
    let base = Scratch::new();
    let engine = engine(&base);
    let request = Build { tags: vec!["a".to_owned()], ..request(&["type=docker"]) };
    let built = export(&engine, &request, &["linux/arm64", "linux/amd64"], &[FILES]).unwrap();
    assert_eq!(built.images.len(), 2);
    let index = built.descriptor.as_ref().unwrap();
    assert!(index.media_type.is_index() && built.id() == Some(index.digest.to_string()));
    let arm = engine.image_inspect("a", Some("linux/arm64")).unwrap();
    assert_eq!(arm.summary.id, built.images[0].id.to_string());
    assert_eq!(engine.image_inspect("a", None).unwrap().architecture, Platform::host().architecture);
    engine.prune_images(false, &|_| false).unwrap();
    assert!(engine.verify_images(&[]).unwrap().iter().all(|image| image.faults.is_empty()));
}

#[test]
fn skopeo_reads_archives_of_both_kinds_and_of_several_platforms() {
    let base = Scratch::new();
    let engine = engine(&base);
    let file = |name: &str| base.join(name).display().to_string();
    for (compression, kind) in [("gzip", "tar+gzip"), ("uncompressed", "tar"), ("zstd", "tar+zstd")] {
        let (oci, layout) = (file(&format!("{compression}.tar")), file(&format!("{compression}.d")));
        let outputs = [
            format!("type=oci,dest={oci},compression={compression}"),
            format!("type=oci,dest={layout},tar=false,compression={compression}"),
        ];
        let request = Build {
            tags: vec!["a:1".to_owned()],
            annotations: vec!["note=here".to_owned()],
            ..request(&[&outputs[0], &outputs[1]])
        };
        let built =
            export(&engine, &request, &["linux/amd64"], &[FILES, &[Entry::File("b", 0o600, b"b")]]).unwrap();
        for place in [format!("oci-archive:{oci}:1"), format!("oci:{layout}:1")] {
            let raw = skopeo(&["inspect", "--raw", &place]);
            assert_eq!(raw["config"]["digest"].as_str(), built.id().as_deref(), "{raw}");
            assert!(raw["layers"][1]["mediaType"].as_str().unwrap().ends_with(kind), "{raw}");
            assert_eq!(raw["annotations"]["note"], "here");
            // Every blob is read and checked.
            skopeo(&["copy", "-q", &place, &format!("dir:{}", file("copy"))]);
        }
        let loaded = engine.load(Archive::Path(Path::new(&oci)), &LoadImages::default()).unwrap();
        assert_eq!(Some(&loaded[0].id), built.id().as_ref());
    }
    let (docker, oci) = (file("docker.tar"), file("both.tar"));
    let outputs = [format!("type=docker,dest={docker}"), format!("type=oci,dest={oci}")];
    let request = Build {
        tags: vec!["a:1".to_owned()],
        annotations: vec!["index:note=all".to_owned()],
        ..request(&[&outputs[0], &outputs[1]])
    };
    let built = export(&engine, &request, &["linux/amd64", "linux/arm64"], &[FILES]).unwrap();
    let inspected = skopeo(&["inspect", &format!("docker-archive:{docker}:a:1")]);
    assert_eq!(inspected["Architecture"], Platform::host().architecture.as_str());
    let raw = skopeo(&["inspect", "--raw", &format!("oci-archive:{oci}:1")]);
    assert_eq!(
        (raw["manifests"].as_array().unwrap().len(), &raw["annotations"]["note"]),
        (2, &Value::from("all"))
    );
    let all = format!("dir:{}", file("all"));
    skopeo(&["copy", "-q", "--all", &format!("oci-archive:{oci}:1"), &all]);
    assert_eq!(built.images.len(), 2);
}

#[test]
fn a_layout_keeps_what_it_had_and_follows_no_link() {
    let base = Scratch::new();
    let engine = engine(&base);
    let layout = base.join("layout");
    let build = |tag: &str, entry: Entry<'_>| {
        let output = format!("type=oci,dest={},tar=false", layout.display());
        let request = Build { tags: vec![tag.to_owned()], ..request(&[&output]) };
        export(&engine, &request, &["linux/amd64"], &[&[entry]])
    };
    build("a:1", Entry::File("a", 0o644, b"1")).unwrap();
    build("a:2", Entry::File("a", 0o644, b"2")).unwrap();
    let last = build("a:1", Entry::File("a", 0o644, b"3")).unwrap();
    let place = |tag: &str| format!("oci:{}:{tag}", layout.display());
    assert_eq!(skopeo(&["inspect", "--raw", &place("1")])["config"]["digest"].as_str(), last.id().as_deref());
    skopeo(&["inspect", &place("2")]);
    let outside = base.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::remove_dir_all(layout.join("blobs")).unwrap();
    std::os::unix::fs::symlink(&outside, layout.join("blobs")).unwrap();
    let error = build("a:1", Entry::File("a", 0o644, b"1")).unwrap_err();
    assert!(linux::chain(&error).contains("blobs"), "{}", linux::chain(&error));
    assert_eq!(outside.read_dir().unwrap().count(), 0);
}

#[test]
fn equal_content_with_an_epoch_has_equal_digests() {
    let digests = [(); 2].map(|()| {
        let base = Scratch::new();
        let engine = engine(&base);
        let file = |name: &str| base.join(name).display().to_string();
        let outputs = [
            format!("type=oci,dest={}", file("oci.tar")),
            format!("type=docker,dest={}", file("docker.tar")),
            format!("type=tar,dest={}", file("files.tar")),
        ];
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let request = Build { tags: vec!["a:1".to_owned()], ..request(&outputs) };
        let built = export(&engine, &request, &["linux/amd64", "linux/arm64"], &[FILES]).unwrap();
        let files = ["oci.tar", "docker.tar", "files.tar"];
        let sums = files.map(|name| oci::Digest::of(&std::fs::read(base.join(name)).unwrap()));
        (built.descriptor, sums)
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn without_an_epoch_a_build_that_is_cached_gives_the_same_image() {
    let base = Scratch::new();
    let engine = engine(&base);
    let request = Build { source_date_epoch: None, tags: vec!["a".to_owned()], ..request(&[]) };
    let first = export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    assert_eq!((first.images, first.descriptor), (second.images, second.descriptor));
    assert_ne!(first.reference, second.reference);
    let config = engine.image_inspect("a", None).unwrap().config;
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert!(config["created"].is_string(), "{config}");
}

#[test]
fn files_are_a_tar_and_a_directory() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (tar, out) = (base.join("files.tar"), base.join("out"));
    let outputs = [format!("type=tar,dest={}", tar.display()), format!("type=local,dest={}", out.display())];
    let request = request(&[&outputs[0], &outputs[1]]);
    let upper: &[Entry<'_>] = &[Entry::File("etc/.wh.link", 0o644, b""), Entry::File("etc/new", 0o600, b"n")];
    export(&engine, &request, &["linux/amd64"], &[FILES, upper]).unwrap();
    let listed = Command::new("tar").args(["--full-time", "-tvf"]).arg(&tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(5)).collect();
    assert_eq!(names, ["etc/", "etc/motd", "etc/new", "su"], "{listed}");
    assert!(listed.lines().all(|line| line.contains("2023-11-14")), "{listed}");
    assert_eq!(std::fs::read(out.join("etc/motd")).unwrap(), b"hello\n");
    let mode = |name: &str| rustix::fs::lstat(out.join(name)).unwrap().st_mode & 0o7777;
    assert_eq!((mode("su"), mode("etc/new")), (0o755, 0o600), "nobody gets the caller's rights");
    export(&engine, &request_split(&out), &["linux/arm/v7", "linux/amd64"], &[FILES]).unwrap();
    assert!(out.join("linux_arm_v7/etc/motd").exists() && out.join("linux_amd64/su").exists());
    assert!(!out.join("etc").exists(), "what is not part of it is deleted where that was asked for");
}

fn request_split(out: &Path) -> Build {
    request(&[&format!("type=local,dest={},mode=delete", out.display())])
}

#[test]
fn a_directory_is_never_left_by_a_link_that_was_in_it() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (out, outside) = (base.join("out"), base.join("outside"));
    for path in [&out, &outside] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(outside.join("motd"), "mine").unwrap();
    std::os::unix::fs::symlink(&outside, out.join("etc")).unwrap();
    std::os::unix::fs::symlink(outside.join("motd"), out.join("su")).unwrap();
    std::fs::create_dir_all(out.join("kept/dir")).unwrap();
    let output = format!("type=local,dest={}", out.display());
    export(&engine, &request(&[&output]), &["linux/amd64"], &[FILES]).unwrap();
    assert_eq!(std::fs::read(outside.join("motd")).unwrap(), b"mine");
    assert_eq!(std::fs::read(out.join("etc/motd")).unwrap(), b"hello\n");
    assert!(!out.join("etc").is_symlink() && !out.join("su").is_symlink() && out.join("kept/dir").exists());
    // A parent that no layer describes meets a link, too.
    std::fs::remove_dir_all(out.join("etc")).unwrap();
    std::os::unix::fs::symlink(&outside, out.join("etc")).unwrap();
    let bare: &[Entry<'_>] = &[Entry::File("etc/deep/motd", 0o644, b"new")];
    export(&engine, &request(&[&output]), &["linux/amd64"], &[bare]).unwrap();
    assert_eq!(outside.read_dir().unwrap().count(), 1);
    // Deleting what is no part of it removes links, and nothing behind them.
    std::os::unix::fs::symlink(&outside, out.join("away")).unwrap();
    export(&engine, &request_split(&out), &["linux/amd64"], &[FILES]).unwrap();
    assert!(!out.join("away").is_symlink() && !out.join("kept").exists());
    assert_eq!(std::fs::read(outside.join("motd")).unwrap(), b"mine");
}

#[test]
fn a_full_disk_leaves_the_file_that_was_there_and_no_name() {
    let base = Scratch::new();
    let engine = engine(&base);
    let disk = Disk::new(16);
    let target = disk.path().join("out.tar");
    std::fs::write(&target, "before").unwrap();
    disk.fill();
    let mut noise = vec![0_u8; 4 << 20];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let entries = [Entry::File("noise", 0o644, &noise)];
    for kind in ["oci", "docker", "tar"] {
        let output = format!("type={kind},dest={}", target.display());
        let request = Build { tags: vec!["a:1".to_owned()], ..request(&[&output, "type=image"]) };
        let error = export(&engine, &request, &["linux/amd64"], &[&entries]).unwrap_err();
        assert!(linux::chain(&error).contains("No space left"), "{kind}: {}", linux::chain(&error));
        assert_eq!(std::fs::read(&target).unwrap(), b"before", "{kind}");
        assert_eq!(
            disk.path()
                .read_dir()
                .unwrap()
                .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().contains("out.tar") })
                .count(),
            1
        );
        assert!(engine.images().unwrap().is_empty(), "names come last");
    }
}

#[test]
fn a_registry_gets_tags_or_digests_alone() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (registry, _folder) = testkit::registry();
    let at = |rest: &str| format!("{}/{rest}", registry.address());
    let pushed = Build { tags: vec![at("app:1")], ..request(&["type=image,push=true"]) };
    let built = export(&engine, &pushed, &["linux/amd64", "linux/arm64"], &[FILES]).unwrap();
    let raw =
        |place: &str| skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", at(place))]);
    assert_eq!(raw("app:1")["manifests"].as_array().unwrap().len(), 2);
    let digest = built.descriptor.as_ref().unwrap().digest.to_string();
    assert_eq!(raw(&format!("app@{digest}"))["manifests"].as_array().unwrap().len(), 2);
    skopeo(&[
        "copy",
        "-q",
        "--all",
        "--src-tls-verify=false",
        &format!("docker://{}", at("app:1")),
        &format!("dir:{}", base.join("copy").display()),
    ]);
    let output = format!("type=image,name={},push-by-digest=true,push=true,name-canonical=true", at("by"));
    let built = export(&engine, &request(&[&output]), &["linux/amd64"], &[&[Entry::File("by", 0o644, b"d")]])
        .unwrap();
    let digest = built.descriptor.as_ref().unwrap().digest.to_string();
    assert_eq!(raw(&format!("by@{digest}"))["config"]["digest"].as_str(), built.id().as_deref());
    let tags = Command::new("skopeo")
        .args(["list-tags", "--tls-verify=false", &format!("docker://{}", at("by"))])
        .output();
    assert!(!String::from_utf8_lossy(&tags.unwrap().stdout).contains("latest"));
    let names: Vec<String> = engine.images().unwrap().into_iter().map(|image| image.id).collect();
    assert!(!names.contains(&built.id().unwrap()), "it was for the registry alone");
}

#[test]
fn what_is_for_a_registry_alone_goes_whatever_comes_of_the_push_unless_somebody_has_named_it() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (registry, _folder) = testkit::registry();
    let output = |place: &str| request(&[&format!("type=image,name={place}/x,push=true,store=false")]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let images = || engine.images().unwrap();
    export(&engine, &output(&nobody), &["linux/amd64"], &[FILES]).unwrap_err();
    assert!(images().is_empty(), "nobody was there to take it");
    let place = registry.address().to_string();
    export(&engine, &output(&place), &["linux/amd64"], &[FILES]).unwrap();
    assert!(images().is_empty());
    let name = |event: BuildEvent<'_>| {
        if matches!(event, BuildEvent::Progress { part, .. } if part.starts_with("pushing manifest")) {
            engine.tag(&images()[0].id, "mine").unwrap();
        }
    };
    export_watched(&engine, &output(&place), (&["linux/amd64"], &[FILES]), &name).unwrap();
    assert_eq!(images()[0].tags, ["mine:latest"]);
}

#[test]
fn annotations_reach_all_levels() {
    let base = Scratch::new();
    let engine = engine(&base);
    let layout = base.join("layout");
    let output = format!("type=oci,dest={},tar=false", layout.display());
    let texts = [
        "a=all",
        "manifest[linux/arm64]:a=arm",
        "manifest-descriptor[linux/amd64]:b=amd",
        "index,index-descriptor:c=both",
    ];
    let request = Build {
        tags: vec!["a:1".to_owned()],
        annotations: texts.map(str::to_owned).to_vec(),
        ..request(&[&output])
    };
    export(&engine, &request, &["linux/amd64", "linux/arm64"], &[FILES]).unwrap();
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let blob =
        |entry: &Value| read(&layout.join("blobs").join(entry["digest"].as_str().unwrap().replace(':', "/")));
    let top = read(&layout.join("index.json"));
    assert_eq!(top["manifests"][0]["annotations"]["c"], "both");
    let index = blob(&top["manifests"][0]);
    assert_eq!(index["annotations"], serde_json::json!({ "c": "both" }));
    let (amd, arm) = (&index["manifests"][0], &index["manifests"][1]);
    assert_eq!((&amd["annotations"]["b"], &arm["annotations"]), (&Value::from("amd"), &Value::Null));
    assert_eq!(
        (&blob(amd)["annotations"]["a"], &blob(arm)["annotations"]["a"]),
        (&"all".into(), &"arm".into())
    );
}
