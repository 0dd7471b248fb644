//! `skiff manifest`: lists made of what Debian's `docker-registry` has, pushed there, and read by other programs; and the lists
//! of others, read by ours.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use remote::*;
use serde_json::{Value, json};
use testkit::{Output, Registry, Skiff, calls_of, kill_at, registry, require};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn other_layer() -> [Blob; 1] {
    [gzip(&file("hello", b"other\n"))]
}

/// A manifest of Docker's own kind.
fn put_docker(registry: &Registry, name: &str, architecture: &str) -> Value {
    let (repository, tag) = name.split_once(':').unwrap();
    let [layer] = other_layer();
    let config = json!({"os": "linux", "architecture": architecture,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}});
    let kind = "application/vnd.docker.container.image.v1+json";
    let config = registry.put_blob(repository, kind, config.to_string().as_bytes());
    let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let layer = registry.put_blob(repository, kind, &layer.bytes);
    let kind = "application/vnd.docker.distribution.manifest.v2+json";
    let document = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    registry.put_manifest(repository, tag, &document)
}

fn inspected(skiff: &Skiff, name: &str) -> Value {
    serde_json::from_str(&ok(skiff, &["manifest", "inspect", name])).unwrap()
}

fn done(command: &mut Command) -> String {
    let output = Output::of(command.output().unwrap());
    assert_eq!(output.code, 0, "{command:?}: {output:?}");
    output.stdout
}

#[test]
fn a_list_is_made_annotated_pushed_and_pulled() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let at = |name: &str| format!("{}/{name}", registry.address());
    let own = put(&registry, "team/app:own", host(), &hello());
    // In another repository of the registry.
    let other = put(&registry, "team/parts:arm", "arm", &other_layer());
    let list = at("team/app:1");
    let said = ok(&skiff, &["manifest", "create", &list, &at("team/app:own")]);
    assert_eq!(said, format!("Created manifest list {list}\n"));
    let again = run(&skiff, &["manifest", "create", &list, &at("team/parts:arm")]);
    assert!(again.code == 1 && again.stderr.contains("with no --amend flag"), "{again:?}");
    ok(&skiff, &["manifest", "create", "-a", &list, &at("team/parts:arm")]);
    ok(
        &skiff,
        &["manifest", "annotate", "--variant", "v6", "--os-features", "a,b", &list, &at("team/parts:arm")],
    );
    let local = inspected(&skiff, &list);
    assert_eq!(local["mediaType"], OCI_INDEX);
    assert_eq!(local["manifests"][0]["digest"], own["digest"]);
    let platform = json!({"architecture": "arm", "os": "linux", "os.features": ["a", "b"], "variant": "v6"});
    assert_eq!(local["manifests"][1]["platform"], platform);
    assert_eq!(local["manifests"][1]["digest"], other["digest"]);
    let one = ok(&skiff, &["manifest", "inspect", "-v", &list, &at("team/parts:arm")]);
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["Ref"], &one["Descriptor"]["platform"]), (&json!(at("team/parts:arm")), &platform));
    assert_eq!(one["OCIManifest"]["layers"].as_array().unwrap().len(), 1);
    let said = ok(&skiff, &["manifest", "push", "--purge", &list]);
    let lines: Vec<&str> = said.lines().collect();
    let digest = other["digest"].as_str().unwrap();
    assert_eq!(lines[0], format!("Pushed ref {}@{digest} with digest: {digest}", at("team/app")));
    assert!(lines.len() == 2 && lines[1].starts_with("sha256:"), "{said}");
    // Gone here, and there as it was made.
    assert_eq!(run(&skiff, &["manifest", "rm", &list]).code, 1);
    assert_eq!(inspected(&skiff, &list), local);
    ok(&skiff, &["pull", "--all-platforms", &list]);
    assert_eq!(ok(&skiff, &["run", "--rm", &list]), "hello\n");
    let verbose = ok(&skiff, &["manifest", "inspect", "--verbose", &list]);
    let verbose: Vec<Value> = serde_json::from_str(&verbose).unwrap();
    assert_eq!(verbose[1]["Ref"], format!("{list}@{digest}"));
    require("skopeo", "skopeo");
    let from = format!("docker://{list}");
    let raw = done(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &from]));
    assert_eq!(oci::Digest::of(raw.as_bytes()).to_string(), lines[1]);
    let arm = ["--override-arch", "arm", "--override-variant", "v6", "inspect", "--tls-verify=false", &from];
    let seen: Value = serde_json::from_str(&done(Command::new("skopeo").args(arm))).unwrap();
    assert_eq!(seen["Architecture"], "arm");
}

#[test]
fn parts_of_any_kind_and_of_any_registry_come_together() {
    let ((here, _content), (there, _elsewhere)) = (registry(), registry());
    let skiff = Skiff::new();
    let at = |registry: &Registry, name: &str| format!("{}/{name}", registry.address());
    put(&there, "far/app:1", host(), &hello());
    put_docker(&here, "team/old:1", "s390x");
    let list = at(&here, "team/app:mixed");
    ok(&skiff, &["manifest", "create", &list, &at(&there, "far/app:1"), &at(&here, "team/old:1")]);
    let said = ok(&skiff, &["manifest", "push", &list]);
    assert_eq!(said.matches("Pushed ref ").count(), 2, "{said}");
    // As not all are OCI's.
    assert_eq!(inspected(&skiff, &list)["mediaType"], DOCKER_LIST);
    ok(&skiff, &["manifest", "rm", &list]);
    assert_eq!(inspected(&skiff, &list)["manifests"].as_array().unwrap().len(), 2);
    drop(there);
    assert_eq!(ok(&skiff, &["run", "--rm", &list]), "hello\n");
    // A list in a list: its images, as builders make indexes of single images.
    let own = put(&here, "team/built:own", host(), &hello());
    let mut attested = put(&here, "team/built:attested", "unknown", &other_layer());
    attested["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let mut entry = own.clone();
    entry["platform"] = json!({"os": "linux", "architecture": host()});
    let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry, attested]});
    here.put_manifest("team/built", "1", &document);
    let second = at(&here, "team/built:both");
    let built = at(&here, "team/built:1");
    ok(&skiff, &["manifest", "create", &second, &built, &at(&here, "team/old:1")]);
    let local = inspected(&skiff, &second);
    let digests: Vec<&Value> =
        local["manifests"].as_array().unwrap().iter().map(|entry| &entry["digest"]).collect();
    assert!(digests.len() == 2 && digests[0] == &own["digest"], "{local}");
    ok(&skiff, &["manifest", "push", "-p", &second]);
}

#[test]
fn what_is_wrong_is_said_as_docker_does() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let at = |name: &str| format!("{}/{name}", registry.address());
    put(&registry, "app:1", "", &other_layer());
    let (list, one) = (at("list:1"), at("app:1"));
    for (arguments, part) in [
        (vec!["manifest", "inspect", &at("app:2")], "no such manifest: "),
        (vec!["manifest", "create", &list, &at("app:2")], "no such manifest: "),
        (vec!["manifest", "create", &list], "requires at least 2 arguments"),
        (vec!["manifest", "push", &list], "No such manifest: "),
        (vec!["manifest", "rm", &list], "No such manifest: "),
        (vec!["manifest", "inspect", &list, &one], "No such manifest: "),
        (vec!["manifest", "annotate", &list, &one], "does not exist in"),
        (vec!["manifest", "create", "Bad Name", &one], "invalid reference format"),
    ] {
        let output = run(&skiff, &arguments);
        assert!(output.code != 0 && output.stderr.contains(part), "{arguments:?}: {output:?}");
    }
    ok(&skiff, &["manifest", "create", &list, &one]);
    let push = run(&skiff, &["manifest", "push", &list]);
    assert!(push.code == 1 && push.stderr.contains("must have an OS and Architecture"), "{push:?}");
    let odd = run(&skiff, &["manifest", "annotate", "--arch", "abacus", &list, &one]);
    assert!(odd.stderr.contains("unsupported os/arch combination: linux/abacus"), "{odd:?}");
    ok(&skiff, &["manifest", "annotate", "--arch", "riscv64", &list, &one]);
    ok(&skiff, &["manifest", "push", &list]);
    // Several at once: what is there goes.
    let rm = run(&skiff, &["manifest", "rm", &at("none:1"), &list]);
    assert!(rm.code == 1 && run(&skiff, &["manifest", "rm", &list]).code == 1, "{rm:?}");
    let unchecked = run(&skiff, &["manifest", "inspect", "--insecure", &one]);
    assert_eq!(unchecked.code, 0, "{unchecked:?}");
}

fn without_raw(shown: &str) -> String {
    shown.lines().filter(|line| !line.contains("\"Raw\": ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_manifest_is_shown_as_docker_shows_it() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let at = |name: &str| format!("{}/{name}", registry.address());
    let old = put_docker(&registry, "app:docker", "s390x");
    let new = put(&registry, "app:oci", host(), &hello());
    put_index(&registry, "app:index", &[("s390x", &old), (host(), &new)]);
    require("docker", "docker.io");
    let theirs = |words: &[&str]| {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", skiff.folder()).env("DOCKER_CLI_EXPERIMENTAL", "enabled");
        done(docker.args(["manifest", "inspect", "--insecure"]).args(words))
    };
    for name in ["app:docker", "app:oci", "app:index"].map(at) {
        // A list Docker shows as its own kind, whatever it is; we show it as it is.
        if !name.ends_with(":index") {
            assert_eq!(ok(&skiff, &["manifest", "inspect", &name]), theirs(&[&name]), "{name}");
        }
        let (verbose, expected) = (ok(&skiff, &["manifest", "inspect", "-v", &name]), theirs(&["-v", &name]));
        // Older ones do not show the bytes.
        let is_shown = expected.contains("\"Raw\"");
        let (verbose, expected) = match is_shown {
            true => (verbose, expected),
            false => (without_raw(&verbose), without_raw(&expected)),
        };
        assert_eq!(verbose, expected, "{name}");
    }
    let shown = ok(&skiff, &["manifest", "inspect", "-v", &at("app:oci")]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let bytes = STANDARD.decode(shown["Raw"].as_str().unwrap()).unwrap();
    assert_eq!(oci::Digest::of(&bytes).to_string(), new["digest"].as_str().unwrap());
}

#[test]
fn lists_that_buildah_makes_are_read_and_pulled() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    require("buildah", "buildah");
    require("skopeo", "skopeo");
    put(&registry, "parts:own", host(), &hello());
    put(&registry, "parts:other", "s390x", &other_layer());
    let folder = skiff.folder().join("buildah");
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(folder.join("run"));
        done(command.args(["--storage-driver", "vfs"]).args(words))
    };
    let at = |name: &str| format!("{}/{name}", registry.address());
    buildah(&["manifest", "create", "listed"]);
    for part in ["parts:own", "parts:other"] {
        let from = format!("docker://{}", at(part));
        buildah(&["manifest", "add", "--tls-verify=false", "listed", &from]);
    }
    let to = format!("docker://{}", at("made:1"));
    buildah(&["manifest", "push", "--all", "--tls-verify=false", "listed", &to]);
    let platforms = |name: &str| {
        let list = inspected(&skiff, name);
        let entries = list["manifests"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| entry["platform"]["architecture"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut found = platforms(&at("made:1"));
    found.sort();
    let mut expected = vec![host().to_owned(), "s390x".to_owned()];
    expected.sort();
    assert_eq!(found, expected);
    let copied = format!("docker://{}", at("copied:1"));
    let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let skopeo =
        [&["--insecure-policy", "copy", "--all", "-q"], &plain[..], &[to.as_str(), &copied]].concat();
    done(Command::new("skopeo").args(skopeo));
    ok(&skiff, &["pull", "--all-platforms", &at("copied:1")]);
    assert_eq!(ok(&skiff, &["run", "--rm", &at("copied:1")]), "hello\n");
    assert_eq!(ok(&skiff, &["images", "-aq"]).lines().count(), 2);
}

#[test]
fn a_list_that_is_being_made_is_whole_whenever_its_maker_is_killed() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let at = |name: &str| format!("{}/{name}", registry.address());
    put(&registry, "app:own", host(), &hello());
    put(&registry, "app:other", "s390x", &other_layer());
    let (list, own, other) = (at("app:list"), at("app:own"), at("app:other"));
    let create = ["manifest", "create", "-a", &list, &own, &other];
    let calls = calls_of(&skiff, &create);
    for call in calls.iter().step_by(calls.len() / 16 + 1) {
        run(&skiff, &["manifest", "rm", &list]);
        kill_at(&skiff, call, &create);
        let found = run(&skiff, &["manifest", "inspect", &list]);
        if found.code == 0 {
            let found: Value = serde_json::from_str(&found.stdout).unwrap();
            assert_eq!(found["manifests"].as_array().unwrap().len(), 2, "all or nothing: {call:?}");
        }
        ok(&skiff, &create);
        assert_eq!(inspected(&skiff, &list)["manifests"].as_array().unwrap().len(), 2);
    }
}
