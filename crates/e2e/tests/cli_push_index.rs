//! `skiff push` of names that lead to images for several platforms: from Debian's `docker-registry` to our own and back, read by
//! others there.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod registry;
mod remote;

use std::process::Command;

use remote::*;
use serde_json::{Value, json};
use testkit::{Output, Skiff, calls_of, kill_at, require};

const NOTE: &str =
    "Not all multiplatform-content is present and only the available single-platform image was pushed";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The digest that a push ends with.
#[track_caller]
fn digest_of(said: &str) -> &str {
    let last = said.lines().last().unwrap_or_default();
    last.split_once(": digest: ").unwrap_or_else(|| panic!("{said}")).1.split(' ').next().unwrap()
}

fn done(command: &mut Command) -> String {
    let output = Output::of(command.output().unwrap());
    assert_eq!(output.code, 0, "{command:?}: {output:?}");
    output.stdout
}

/// What another program finds under a name, byte for byte.
fn raw(name: &str) -> String {
    require("skopeo", "skopeo");
    done(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]))
}

/// Both images are there, and the host's runs.
#[track_caller]
fn assert_both(name: &str) {
    let skiff = Skiff::new();
    ok(&skiff, &["pull", "--all-platforms", name]);
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", name]), "hello\n");
    id_of(&skiff, name, OTHER);
    ok(&skiff, &["image", "verify", name]);
}

#[test]
fn an_index_goes_byte_for_byte_with_all_that_it_leads_to() {
    let multi = Multi::new();
    let ours = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    let (name, to) = (multi.name(), format!("{}/b/multi:1", ours.address));
    ok(&skiff, &["pull", "--all-platforms", &name]);
    ok(&skiff, &["tag", &name, &to]);
    let pushed = run(&skiff, &["push", &to]);
    assert_eq!((pushed.code, pushed.stderr.as_str()), (0, ""), "{pushed:?}");
    assert_eq!(digest_of(&pushed.stdout), text(&multi.index["digest"]));
    assert_eq!(pushed.stdout.matches(": Pushed").count(), 4, "all layers of both: {pushed:?}");
    let index = raw(&to);
    assert_eq!(oci::Digest::of(index.as_bytes()).to_string(), text(&multi.index["digest"]));
    // What is attested is there, too, though it was never here.
    let attested = format!("{}/b/multi@{}", ours.address, text(&multi.attested["digest"]));
    assert!(raw(&attested).contains("in-toto"));
    assert_both(&to);
    require("docker", "docker.io");
    let mut docker = Command::new("docker");
    docker.env("DOCKER_CONFIG", skiff.folder()).env("DOCKER_CLI_EXPERIMENTAL", "enabled");
    let seen = done(docker.args(["manifest", "inspect", "--insecure", &to]));
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["manifests"].as_array().unwrap().len(), 3);
    // Each image is known by the digest of the index.
    let digest = &text(&multi.index["digest"]).to_owned();
    assert_eq!(
        id_of(&skiff, &format!("{}/b/multi@{digest}", ours.address), OTHER),
        id_of(&skiff, &name, OTHER)
    );
    assert!(ok(&skiff, &["images", "--digests", &to]).contains(digest));
    // From there it goes on where the first registry is gone.
    drop(multi);
    let (third, _content) = testkit::registry();
    let last = format!("{}/c:1", third.address());
    ok(&skiff, &["tag", &name, &last]);
    let pushed = run(&skiff, &["push", &last]);
    assert_eq!((pushed.code, digest_of(&pushed.stdout)), (0, digest.as_str()), "{pushed:?}");
    assert_both(&last);
    // And again: everything is there.
    let again = ok(&skiff, &["push", &last]);
    assert_eq!(
        (again.matches("Layer already exists").count(), digest_of(&again)),
        (4, digest.as_str()),
        "{again}"
    );
}

#[test]
fn one_image_goes_where_the_others_are_not_to_be_had_and_that_is_told() {
    let multi = Multi::new();
    let ours = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    let (name, to) = (multi.name(), format!("{}/b/multi:1", ours.address));
    ok(&skiff, &["pull", &name]);
    ok(&skiff, &["tag", &name, &to]);
    let (index, own) = (text(&multi.index["digest"]), text(&multi.own["digest"]));
    let pushed = run(&skiff, &["push", &to]);
    assert_eq!((pushed.code, digest_of(&pushed.stdout)), (0, own), "{pushed:?}");
    assert!(pushed.stderr.contains(&format!("{NOTE}\n{index} -> {own}\n")), "{pushed:?}");
    assert!(ok(&skiff, &["images", "--digests", &to]).contains(own));
    let lines = ok(&skiff, &["push", "--progress", "json", &to]);
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let aux = told.iter().find_map(|line| line.get("aux")).unwrap_or_else(|| panic!("{lines}"));
    assert_eq!(aux["manifestPushedInsteadOfIndex"], true);
    assert_eq!(
        (&aux["originalIndex"]["digest"], &aux["selectedManifest"]["digest"]),
        (&json!(index), &json!(own))
    );
    assert_eq!(
        (&aux["originalIndex"]["size"], &aux["selectedManifest"]["size"]),
        (&multi.index["size"], &multi.own["size"])
    );
    // In the registry where they are they are mounted.
    let beside = format!("{}/d/multi:1", multi.registry.address());
    ok(&skiff, &["tag", &name, &beside]);
    let pushed = run(&skiff, &["push", &beside]);
    assert_eq!((digest_of(&pushed.stdout), pushed.stderr.as_str()), (index, ""), "{pushed:?}");
    assert_both(&beside);
    // What the target has needs not be here.
    let second = Skiff::new();
    ok(&second, &["pull", "--all-platforms", &name]);
    ok(&second, &["tag", &name, &to]);
    ok(&second, &["push", &to]);
    let again = run(&skiff, &["push", &to]);
    assert_eq!((digest_of(&again.stdout), again.stderr.as_str()), (index, ""), "{again:?}");
    assert_both(&to);
}

#[test]
fn one_platform_is_pushed_where_it_is_asked_for_and_all_tags_go_with_their_indexes() {
    let multi = Multi::new();
    let ours = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    let name = multi.name();
    ok(&skiff, &["pull", "--all-platforms", &name]);
    let at = |tag: &str| format!("{}/b:{tag}", ours.address);
    ok(&skiff, &["tag", &name, &at("1")]);
    let (index, own, other) =
        (text(&multi.index["digest"]), text(&multi.own["digest"]), text(&multi.other["digest"]));
    for (platform, digest) in [(OTHER.to_owned(), other), (own_platform(), own)] {
        let pushed = run(&skiff, &["push", "--platform", &platform, &at("1")]);
        assert_eq!((digest_of(&pushed.stdout), pushed.stderr.as_str()), (digest, ""), "{pushed:?}");
        assert_eq!(oci::Digest::of(raw(&at("1")).as_bytes()).to_string(), digest);
    }
    let missing = run(&skiff, &["push", "--platform", "linux/riscv64", &at("1")]);
    assert!(
        missing.code == 1 && missing.stderr.contains("does not provide the specified platform"),
        "{missing:?}"
    );
    ok(&skiff, &["tag", &id_of(&skiff, &name, OTHER), &at("2")]);
    let said = ok(&skiff, &["push", "-a", &format!("{}/b", ours.address)]);
    let ends: Vec<&str> = said.lines().filter(|line| line.contains(": digest: ")).collect();
    assert!(ends.len() == 2 && ends[0].contains(index) && ends[1].contains(other), "{said}");
    assert_both(&at("1"));
}

#[test]
fn where_nothing_is_to_be_had_as_it_came_the_index_is_made_anew_and_that_is_told() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    // One without what is attested, which only a registry has.
    let name = format!("{}/a/multi:bare", multi.registry.address());
    let entry = |descriptor: &Value, architecture: &str| {
        let mut entry = descriptor.clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry["data"] = json!("e30=");
        entry
    };
    let kind = "application/vnd.oci.image.index.v1+json";
    let entries = json!([entry(&multi.other, "s390x"), entry(&multi.own, host())]);
    let document = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    let index = multi.registry.put_manifest("a/multi", "bare", &document);
    ok(&skiff, &["pull", "--all-platforms", &name]);
    drop(multi);
    let ours = registry::Registry::start(&[]);
    let to = format!("{}/b:1", ours.address);
    ok(&skiff, &["tag", &name, &to]);
    let pushed = run(&skiff, &["push", &to]);
    let digest = digest_of(&pushed.stdout);
    assert!(pushed.code == 0 && digest != text(&index["digest"]), "{pushed:?}");
    assert!(
        pushed.stderr.contains(text(&index["digest"])) && pushed.stderr.contains("compressed anew"),
        "{pushed:?}"
    );
    assert_both(&to);
    let made: Value = serde_json::from_str(&raw(&to)).unwrap();
    for entry in made["manifests"].as_array().unwrap() {
        assert!(
            entry.get("data").is_none() && entry["platform"]["os"] == "linux",
            "it was of another: {entry}"
        );
    }
    assert_eq!(digest_of(&ok(&skiff, &["push", &to])), digest, "the same again");
}

#[test]
fn a_push_of_an_index_may_be_killed_at_any_moment() {
    let multi = Multi::new();
    let ours = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    let (name, to) = (multi.name(), format!("{}/b/multi:1", ours.address));
    ok(&skiff, &["pull", "--all-platforms", &name]);
    ok(&skiff, &["tag", &name, &to]);
    let push = ["push", &to];
    let calls = calls_of(&skiff, &push);
    let index = text(&multi.index["digest"]);
    for call in calls.iter().step_by(calls.len() / 24 + 1) {
        if ours.get("/v2/b/multi/tags/list").status == 200 {
            ours.delete("/v2/b/multi/manifests/1");
            ours.delete(&format!("/v2/b/multi/manifests/{index}"));
            ours.delete(&format!("/v2/b/multi/manifests/{}", text(&multi.other["digest"])));
        }
        kill_at(&skiff, call, &push);
        // The tag is not there, or leads to all; the next one makes it so, and leaves nothing behind.
        if ours.get("/v2/b/multi/manifests/1").status == 200 {
            assert_both(&to);
        }
        assert_eq!(digest_of(&ok(&skiff, &push)), index);
        assert_eq!(std::fs::read_dir(skiff.root().join("tmp")).unwrap().count(), 0);
    }
    assert_both(&to);
    ok(&skiff, &["image", "verify"]);
}
