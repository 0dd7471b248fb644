//! Other people's clients against our registry: skopeo, podman, buildah and Docker push to it, pull from it, and find what
//! the others have pushed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod oci;
mod registry;

use std::path::PathBuf;
use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{Done, Lab, require, run};
use registry::Registry;

/// A file with an image of two layers, as `docker save` writes it.
fn archive(registry: &Registry) -> PathBuf {
    let path = registry.skiff.folder().join("image.tar");
    let (base, more) = (
        testkit::busybox_layer(&[]),
        testkit::layer(&[testkit::Entry::File("etc/motd", 0o644, b"second layer\n")]),
    );
    let config = serde_json::json!({ "Cmd": ["sh"] });
    std::fs::write(&path, testkit::archive_of_layers("busybox:latest", &[&base, &more], config)).unwrap();
    path
}

#[track_caller]
fn fine(done: &Done) -> &str {
    assert_eq!(done.code, 0, "{done:?}");
    done.out.trim()
}

fn skopeo(words: &[&str]) -> Done {
    require("skopeo", "skopeo");
    run(Command::new("skopeo").args(["--insecure-policy"]).args(words))
}

#[test]
fn skopeo_pushes_copies_lists_and_deletes() {
    let registry = Registry::start(&[]);
    let (host, archive) = (registry.address.to_string(), archive(&registry));
    let from = format!("docker-archive:{}", archive.display());
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let copy = |words: &[&str]| fine(&skopeo(&[&["copy"][..], &plain, words].concat())).len();
    copy(&[&from, &format!("docker://{host}/team/app:v1")]);
    // Within the registry, which mounts; and as OCI, which is another manifest.
    copy(&[&format!("docker://{host}/team/app:v1"), &format!("docker://{host}/other/app:v1")]);
    copy(&["--format=oci", &from, &format!("docker://{host}/team/app:oci")]);
    let layout = format!("oci:{}:back", registry.skiff.folder().join("layout").display());
    copy(&["--format=oci", &format!("docker://{host}/team/app:oci"), &layout]);
    let inspect = |name: &str, place: &[&str]| {
        let words = [&["inspect", "--format", "{{.Digest}}"], place, &[name]].concat();
        fine(&skopeo(&words)).to_owned()
    };
    let digest = inspect(&format!("docker://{host}/team/app:oci"), &["--tls-verify=false"]);
    assert_eq!(inspect(&layout, &[]), digest, "byte for byte");
    let tags = skopeo(&["list-tags", "--tls-verify=false", &format!("docker://{host}/team/app")]);
    assert!(fine(&tags).contains("\"oci\"") && tags.out.contains("\"v1\""), "{tags:?}");
    fine(&skopeo(&["delete", "--tls-verify=false", &format!("docker://{host}/team/app:v1")]));
    let gone = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{host}/team/app:v1")]);
    assert!(gone.code != 0 && gone.err.contains("manifest"), "{gone:?}");
    fine(&skopeo(&["inspect", "--tls-verify=false", &format!("docker://{host}/other/app:v1")]));
}

/// Podman and buildah share their storage and most of their words.
fn containers_storage(program: &str, lab: &Lab, words: &[&str]) -> Done {
    let mut command = Command::new(program);
    command.args(["--root", &lab.text("root"), "--runroot", &lab.text("runroot"), "--storage-driver", "vfs"]);
    run(command.args(words))
}

#[test]
fn podman_pushes_and_buildah_pulls() {
    require("podman", "podman");
    require("buildah", "buildah");
    let registry = Registry::start(&[]);
    let (host, archive) = (registry.address.to_string(), archive(&registry));
    let lab = Lab::new("registry-podman");
    let name = format!("{host}/team/app:v1");
    let podman = |words: &[&str]| containers_storage("podman", &lab, words);
    fine(&podman(&["load", "--input", archive.to_str().unwrap()]));
    let id = fine(&podman(&["image", "inspect", "--format", "{{.Id}}", "busybox:latest"])).to_owned();
    fine(&podman(&["push", "--tls-verify=false", "busybox:latest", &format!("docker://{name}")]));
    fine(&podman(&[
        "push",
        "--tls-verify=false",
        "--compression-format=zstd",
        "busybox:latest",
        &format!("docker://{host}/team/app:zstd"),
    ]));
    fine(&podman(&["rmi", "--all", "--force"]));
    fine(&podman(&["pull", "--tls-verify=false", &name]));
    assert_eq!(fine(&podman(&["image", "inspect", "--format", "{{.Id}}", &name])), id);
    fine(&podman(&["rmi", "--all", "--force"]));
    let buildah = |words: &[&str]| containers_storage("buildah", &lab, words);
    fine(&buildah(&["pull", "--tls-verify=false", &format!("docker://{host}/team/app:zstd")]));
    fine(&buildah(&[
        "push",
        "--tls-verify=false",
        &format!("{host}/team/app:zstd"),
        &format!("docker://{host}/by/buildah:1"),
    ]));
    fine(&buildah(&["rmi", "--all", "--force"]));
    let tags = registry.get("/v2/by/buildah/tags/list").json();
    assert_eq!(tags["tags"], serde_json::json!(["1"]));
}

#[test]
fn docker_pushes_and_pulls_by_tag_and_digest() {
    let registry = Registry::start(&[]);
    let (host, archive) = (registry.address.to_string(), archive(&registry));
    let docker = Dockerd::start("registry-docker", |_| Vec::new());
    fine(&docker.run(&["load", "--input", archive.to_str().unwrap()]));
    let id = fine(&docker.run(&["image", "inspect", "--format", "{{.Id}}", "busybox"])).to_owned();
    let (name, second) = (format!("{host}/team/app:v1"), format!("{host}/other/app:v1"));
    for name in [&name, &second] {
        fine(&docker.run(&["tag", "busybox", name]));
    }
    let pushed = docker.run(&["push", &name]);
    let digest = fine(&pushed).rsplit("digest: ").next().unwrap().split(' ').next().unwrap().to_owned();
    let again = docker.run(&["push", &second]);
    assert!(fine(&again).contains("Mounted from team/app"), "{again:?}");
    fine(&docker.run(&["rmi", "--force", &id]));
    fine(&docker.run(&["pull", &name]));
    assert_eq!(fine(&docker.run(&["image", "inspect", "--format", "{{.Id}}", &name])), id);
    fine(&docker.run(&["rmi", "--force", &id]));
    let by_digest = format!("{host}/other/app@{digest}");
    fine(&docker.run(&["pull", &by_digest]));
    assert_eq!(fine(&docker.run(&["image", "inspect", "--format", "{{.Id}}", &by_digest])), id);
    let missing = docker.run(&["pull", &format!("{host}/team/app:none")]);
    assert!(missing.err.contains("manifest unknown") || missing.err.contains("not found"), "{missing:?}");
}
