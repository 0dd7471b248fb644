//! `skiff push` of what came in archives: an OCI archive of plain tars keeps its digests, a docker-archive is compressed; and lists,
//! indexes and archives of several platforms, as Podman and Docker read them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod oci;
mod registry;
mod remote;

use std::path::{Path, PathBuf};
use std::process::Command;

use ::oci::Digest;
use oci::dockerd::Dockerd;
use oci::{Lab, require, run as run_command};
use remote::*;
use serde_json::Value;
use testkit::Skiff;

/// The digest that a push ends with.
#[track_caller]
fn digest_of(said: &str) -> &str {
    let last = said.lines().last().unwrap_or_default();
    last.split_once(": digest: ").unwrap_or_else(|| panic!("{said}")).1.split(' ').next().unwrap()
}

#[track_caller]
fn done(mut command: Command) -> String {
    let done = run_command(&mut command);
    assert_eq!(done.code, 0, "{command:?}: {done:?}");
    done.out
}

/// What `save` writes, as a layout alone: no docker-archive beside it. The folder, and the only entry of its index.
fn layout_of(skiff: &Skiff, name: &str) -> (PathBuf, Value) {
    let (archive, folder) = (skiff.folder().join("saved.tar"), skiff.folder().join("layout"));
    ok(skiff, &["save", "-o", archive.to_str().unwrap(), name]);
    std::fs::create_dir(&folder).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&folder);
    done(tar);
    for file in ["manifest.json", "repositories"] {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let entry = index["manifests"][0].clone();
    (folder, entry)
}

fn document(folder: &Path, digest: &str) -> Value {
    let path = folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The types of the layers of an image in a registry.
fn kinds(server: &registry::Registry, digest: &str) -> Vec<String> {
    let answer = server.get(&format!("/v2/a/manifests/{digest}"));
    assert_eq!(answer.status, 200);
    let manifest: Value = serde_json::from_slice(&answer.body).unwrap();
    let kind = |layer: &Value| layer["mediaType"].as_str().unwrap().to_owned();
    manifest["layers"].as_array().unwrap().iter().map(kind).collect()
}

#[test]
fn an_oci_archive_of_tars_is_pushed_byte_for_byte_and_a_docker_archive_compressed() {
    let server = registry::Registry::start(&[]);
    let first = Skiff::with_busybox();
    let (folder, entry) = layout_of(&first, "busybox");
    let digest = entry["digest"].as_str().unwrap();
    let skiff = Skiff::new();
    ok(&skiff, &["load", "-i", folder.to_str().unwrap()]);
    let name = format!("{}/a:1", server.address);
    ok(&skiff, &["tag", "busybox", &name]);
    let pushed = run(&skiff, &["push", &name]);
    assert_eq!((digest_of(&pushed.stdout), pushed.stderr.as_str()), (digest, ""), "{pushed:?}");
    let tar = "application/vnd.oci.image.layer.v1.tar";
    assert!(kinds(&server, digest).iter().all(|kind| kind == tar));
    let other = Skiff::new();
    ok(&other, &["pull", &name]);
    assert_eq!(ok(&other, &["run", "--rm", &name, "echo", "here"]), "here\n");
    // What was pulled so is pushed on so.
    let elsewhere = registry::Registry::start(&[]);
    let second = format!("{}/a:2", elsewhere.address);
    ok(&other, &["tag", &name, &second]);
    drop(server);
    let pushed = run(&other, &["push", &second]);
    assert_eq!((digest_of(&pushed.stdout), pushed.stderr.as_str()), (digest, ""), "{pushed:?}");
    // The same as a docker-archive, which is a layout, too.
    let archive = first.folder().join("saved.tar");
    let third = Skiff::new();
    ok(&third, &["load", "-i", archive.to_str().unwrap()]);
    let own = registry::Registry::start(&[]);
    let apart = format!("{}/a:4", own.address);
    ok(&third, &["tag", "busybox", &apart]);
    let pushed = run(&third, &["push", &apart]);
    assert_eq!((pushed.code, pushed.stderr.as_str()), (0, ""), "{pushed:?}");
    assert!(kinds(&own, digest_of(&pushed.stdout)).iter().all(|kind| *kind == format!("{tar}+gzip")));
}

#[test]
fn an_oci_archive_of_several_platforms_is_pushed_with_its_index() {
    let multi = Multi::new();
    let first = Skiff::new();
    ok(&first, &["pull", "--all-platforms", &multi.name()]);
    let (folder, entry) = layout_of(&first, &multi.name());
    let digest = entry["digest"].as_str().unwrap();
    assert_eq!(document(&folder, digest)["manifests"].as_array().unwrap().len(), 2);
    let server = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    ok(&skiff, &["load", "--all-platforms", "-i", folder.to_str().unwrap()]);
    let name = format!("{}/a:1", server.address);
    ok(&skiff, &["tag", &multi.name(), &name]);
    let pushed = run(&skiff, &["push", &name]);
    assert_eq!((digest_of(&pushed.stdout), pushed.stderr.as_str()), (digest, ""), "{pushed:?}");
    let other = Skiff::new();
    ok(&other, &["pull", "--all-platforms", &name]);
    assert_eq!(ok(&other, &["run", "--rm", &name]), "hello\n");
    assert_eq!(id_of(&other, &name, OTHER), id_of(&first, &multi.name(), OTHER));
    // One whose layer is not what it is called is not sent as if it were.
    let layer = document(&folder, digest)["manifests"][1]["digest"].clone();
    let layer = document(&folder, layer.as_str().unwrap())["layers"][1]["digest"].clone();
    let path =
        skiff.root().join("layers").join(format!("{}.tar", &layer.as_str().unwrap()["sha256:".len()..]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[600] ^= 1;
    let forged = skiff.folder().join("forged");
    std::fs::write(&forged, bytes).unwrap();
    unprotected(&path);
    std::fs::rename(&forged, &path).unwrap();
    let elsewhere = registry::Registry::start(&[]);
    let name = format!("{}/a:1", elsewhere.address);
    ok(&skiff, &["tag", &multi.name(), &name]);
    let refused = run(&skiff, &["push", &name]);
    assert!(refused.code == 1, "{refused:?}");
    assert_eq!(elsewhere.get("/v2/a/manifests/1").status, 404);
}

/// The store keeps layers from being changed; a disk that errs does not ask.
fn unprotected(path: &Path) {
    let mut chattr = Command::new("chattr");
    run_command(chattr.arg("-i").arg(path));
}

/// The same two images in all the ways in which others read them.
struct Both {
    _multi: Multi,
    server: registry::Registry,
    skiff: Skiff,
    /// Pushed, with its digest.
    index: String,
    digest: String,
    /// Made of its parts.
    list: String,
    archive: PathBuf,
    own: String,
    other: String,
}

impl Both {
    fn new() -> Both {
        let (multi, skiff, name) = Multi::pulled();
        let server = registry::Registry::start(&[]);
        let (index, list) = (format!("{}/a:index", server.address), format!("{}/a:list", server.address));
        ok(&skiff, &["tag", &name, &index]);
        let digest = digest_of(&ok(&skiff, &["push", &index])).to_owned();
        let part = |descriptor: &Value| {
            format!("{}/a/multi@{}", multi.registry.address(), descriptor["digest"].as_str().unwrap())
        };
        ok(&skiff, &["manifest", "create", &list, &part(&multi.other), &part(&multi.own)]);
        ok(&skiff, &["manifest", "push", &list]);
        let archive = skiff.folder().join("all.tar");
        ok(&skiff, &["save", "-o", archive.to_str().unwrap(), &index]);
        let (own, other) = (id_of(&skiff, &index, &own_platform()), id_of(&skiff, &index, OTHER));
        Both { _multi: multi, server, skiff, index, digest, list, archive, own, other }
    }
}

#[test]
fn podman_reads_our_lists_and_our_archives_of_several_platforms() {
    require("podman", "podman");
    let both = Both::new();
    let lab = Lab::new("push-archives-podman");
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.args([
            "--root",
            &lab.text("root"),
            "--runroot",
            &lab.text("runroot"),
            "--storage-driver",
            "vfs",
        ]);
        command.args(words);
        done(command).trim().to_owned()
    };
    for name in [&both.index, &both.list] {
        for (flags, id) in [(&[][..], &both.own), (&["--platform", OTHER][..], &both.other)] {
            let said = podman(&[&["pull", "-q", "--tls-verify=false"], flags, &[name.as_str()]].concat());
            assert_eq!(format!("sha256:{said}"), *id, "{name} {flags:?}");
            podman(&["rmi", "--all", "--force"]);
        }
    }
    let said = podman(&["load", "-i", both.archive.to_str().unwrap()]);
    assert!(said.contains(&both.index), "{said}");
    let id = podman(&["image", "inspect", "--format", "{{.Id}}", &both.index]);
    assert_eq!(format!("sha256:{id}"), both.own);
    podman(&["rmi", "--all", "--force"]);
}

#[test]
fn dockers_daemon_reads_our_lists_and_our_archives_of_several_platforms() {
    let both = Both::new();
    let docker = Dockerd::start("push-archives-docker", |_| Vec::new());
    let fine = |words: &[&str]| {
        let done = docker.run(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out.trim().to_owned()
    };
    let id = |name: &str| fine(&["image", "inspect", "--format", "{{.Id}}", name]);
    for name in [&both.index, &both.list] {
        fine(&["pull", "-q", name]);
        assert_eq!(id(name), both.own, "{name}");
        fine(&["pull", "-q", "--platform", OTHER, name]);
        assert_eq!(id(name), both.other, "{name}");
        fine(&["rmi", "--force", name]);
    }
    assert!(fine(&["pull", &both.index]).contains(&both.digest));
    fine(&["rmi", "--force", &both.index]);
    assert!(fine(&["load", "-i", both.archive.to_str().unwrap()]).contains(&both.index));
    assert_eq!(id(&both.index), both.own);
    let bytes = both.server.get("/v2/a/manifests/index").body;
    assert_eq!(Digest::of(&bytes).to_string(), both.digest);
    ok(&both.skiff, &["image", "verify", &both.index]);
}
