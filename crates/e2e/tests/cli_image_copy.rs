//! `skiff image copy`: from one of Debian's registries to another, and within one; nothing of it is stored here.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use std::process::Command;

use remote::*;
use serde_json::{Value, json};
use testkit::{Output, Registry, Skiff, registry, require};

/// What a registry has under a name, byte for byte, as skopeo reads it.
fn raw(name: &str) -> String {
    require("skopeo", "skopeo");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let output = Output::of(skopeo.output().unwrap());
    assert_eq!(output.code, 0, "{name}: {output:?}");
    output.stdout
}

/// An image for two platforms.
fn two(registry: &Registry, name: &str) -> [Value; 3] {
    let (repository, _) = name.split_once(':').unwrap();
    let own = put(registry, &format!("{repository}:own"), host(), &hello());
    let other = put(registry, &format!("{repository}:other"), "s390x", &[gzip(&file("hello", b"other\n"))]);
    let index = put_index(registry, name, &[(host(), &own), ("s390x", &other)]);
    [own, other, index]
}

/// The tags of a repository, which registries list in orders of their own.
fn tags(skiff: &Skiff, name: &str) -> Vec<String> {
    let mut tags: Vec<String> = ok(skiff, &["image", "tags", name]).lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

fn count(said: &str, status: &str) -> usize {
    said.lines().filter(|line| line.contains(status)).count()
}

#[test]
fn an_image_for_all_platforms_keeps_every_digest() {
    let ((from, _one), (to, _other)) = (registry(), registry());
    let [.., index] = two(&from, "team/app:1");
    let skiff = Skiff::new();
    let source = format!("{}/team/app:1", from.address());
    let target = format!("{}/mirror/app", to.address());
    let said = ok(&skiff, &["image", "copy", &source, &target]);
    let digest = index["digest"].as_str().unwrap();
    // Two configurations and three layers, and the tag of the source.
    assert_eq!((count(&said, ": Preparing"), count(&said, ": Pushed")), (5, 5), "{said}");
    assert!(said.lines().last().unwrap().starts_with(&format!("1: digest: {digest} size: ")), "{said}");
    assert_eq!(raw(&format!("{target}:1")), raw(&source));
    assert!(!skiff.root().join("layers").exists());

    let again = ok(&skiff, &["image", "copy", &source, &format!("{target}:again")]);
    assert_eq!(count(&again, ": Layer already exists"), 5, "{again}");
    let beside = format!("{}/mirror/beside:2", to.address());
    let mounted = ok(&skiff, &["image", "copy", &format!("{target}:1"), &beside]);
    assert_eq!(count(&mounted, ": Mounted from mirror/app"), 5, "{mounted}");
    let quiet = ok(&skiff, &["image", "copy", "-q", &format!("{target}@{digest}"), &beside]);
    assert_eq!(quiet, format!("{beside}\n"));
    ok(&skiff, &["pull", &beside]);
    assert_eq!(ok(&skiff, &["run", "--rm", &beside]), "hello\n");
}

#[test]
fn of_one_platform_only_that_is_copied() {
    let ((from, _one), (to, _other)) = (registry(), registry());
    let [own, other, _] = two(&from, "team/app:1");
    let skiff = Skiff::new();
    let source = format!("{}/team/app:1", from.address());
    let target = format!("{}/app:x", to.address());
    let said = ok(&skiff, &["image", "copy", "--platform", "linux/s390x", &source, &target]);
    assert!(said.contains(&format!("x: digest: {}", other["digest"].as_str().unwrap())), "{said}");
    let lacking = format!("{}/app@{}", to.address(), own["digest"].as_str().unwrap());
    assert_eq!(run(&skiff, &["image", "copy", &lacking, &format!("{}/app:own", to.address())]).code, 1);
    assert_eq!(tags(&skiff, &target), ["x"]);
    let wrong = run(&skiff, &["image", "copy", "--platform", "linux/mips", &source, &target]);
    assert!(wrong.code == 1 && wrong.stderr.contains("linux/mips"), "{wrong:?}");
}

#[test]
fn all_tags_go_and_what_refers_to_them_where_that_is_wanted() {
    let ((from, _one), (to, _other)) = (registry(), registry());
    let [_, _, index] = two(&from, "team/app:1");
    // A signature, listed as the specification has it where a registry keeps no such list.
    let empty = from.put_blob("team/app", "application/vnd.oci.empty.v1+json", b"{}");
    let content = from.put_blob("team/app", "application/vnd.example.signature", b"signed");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let signature = from.put_manifest(
        "team/app",
        "signature",
        &json!({"schemaVersion": 2, "mediaType": kind, "artifactType": "application/vnd.example.signature",
            "config": empty, "layers": [content], "subject": index}),
    );
    let tag = index["digest"].as_str().unwrap().replace(':', "-");
    let list = "application/vnd.oci.image.index.v1+json";
    from.put_manifest(
        "team/app",
        &tag,
        &json!({"schemaVersion": 2, "mediaType": list, "manifests": [signature]}),
    );
    let skiff = Skiff::new();
    let (source, target) = (format!("{}/team/app", from.address()), format!("{}/copy", to.address()));
    ok(&skiff, &["image", "copy", &format!("{source}:1"), &target]);
    assert_eq!(tags(&skiff, &target), ["1"]);
    ok(&skiff, &["image", "copy", "--referrers", &format!("{source}:1"), &target]);
    assert_eq!(tags(&skiff, &target), ["1", &tag]);
    let listed: Value = serde_json::from_str(&raw(&format!("{target}:{tag}"))).unwrap();
    assert_eq!(listed["manifests"][0]["digest"], signature["digest"]);
    assert_eq!(
        raw(&format!("{target}@{}", signature["digest"].as_str().unwrap())),
        raw(&format!("{source}:signature"))
    );

    let digest = signature["digest"].as_str().unwrap();
    let listed = ok(&skiff, &["image", "referrers", &format!("{target}:1")]);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["DIGEST", "ARTIFACT", "TYPE", "SIZE"]);
    assert_eq!(rows[1][..2], [digest, "application/vnd.example.signature"], "{listed}");
    let only = |kind: &str| ok(&skiff, &["image", "referrers", "-q", "--artifact-type", kind, &target]);
    ok(&skiff, &["image", "copy", &format!("{target}:1"), &format!("{target}:latest")]);
    assert_eq!(only("application/vnd.example.other"), "");
    assert_eq!(only("application/vnd.example.signature"), format!("{digest}\n"));

    let all = format!("{}/all", to.address());
    ok(&skiff, &["image", "copy", "-a", &source, &all]);
    assert_eq!(tags(&skiff, &all), tags(&skiff, &source));
    for (words, why) in [
        (vec!["-a", "x/y:1", "x/z"], "tag can't be used with --all-tags/-a"),
        (vec!["x/y", &format!("x/z@{}", index["digest"].as_str().unwrap())[..]], "digest reference"),
        (vec![&format!("{source}:none")[..], &all[..]], "not found"),
    ] {
        let refused = run(&skiff, &[&["image", "copy"], &words[..]].concat());
        assert!(refused.code == 1 && refused.stderr.contains(why), "{words:?}: {refused:?}");
    }
}
