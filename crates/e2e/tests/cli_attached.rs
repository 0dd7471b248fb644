//! The bill of materials of an image made from packages: kept beside it, and a referrer of it in registries.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod packages;
mod registry;
mod remote;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use oci::Digest;
use packages::Archive;
use registry::Request;
use remote::{ok, run};
use serde_json::Value;
use testkit::{Output, Skiff, require};

const KIND: &str = "application/spdx+json";

/// What skopeo reads under a name.
fn raw(name: &str) -> String {
    require("skopeo", "skopeo");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let output = Output::of(skopeo.output().unwrap());
    assert_eq!(output.code, 0, "{name}: {output:?}");
    output.stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Makes the image; returns the digest of its bill of materials, as the image itself has it.
fn make(skiff: &Skiff, archive: &Archive, name: &str) -> Digest {
    let words = archive.arguments(&["-q", "--variant", "distroless", "-t", name, "tool"]);
    let made = skiff.run(&words);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    let path = skiff.said("{{index .Config.Labels \"dev.skiff.sbom\"}}", name);
    Digest::of(ok(skiff, &["run", "--rm", name, "/bin/busybox", "cat", &path]).as_bytes())
}

fn document(skiff: &Skiff, digest: &Digest) -> PathBuf {
    skiff.root().join("blobs/sha256").join(digest.encoded())
}

/// Everything that a registry has of it is what the specification wants, and what the image has.
fn goes_along(address: &str) {
    let (archive, skiff) = (Archive::usual(), Skiff::new());
    let name = format!("{address}/team/tool:1");
    let bill = make(&skiff, &archive, &name);
    let local = ["image", "referrers", "--local", "--format", "{{.Digest}} {{.ArtifactType}}", &name];
    assert_eq!(ok(&skiff, &local), format!("{bill} {KIND}\n"));
    assert_eq!(ok(&skiff, &["image", "referrers", "--local", "-q", "--artifact-type", "other", &name]), "");
    ok(&skiff, &["push", "-q", &name]);

    let listed = ok(&skiff, &["image", "referrers", "--format", "{{.Digest}} {{.ArtifactType}}", &name]);
    let (referrer, kind) = listed.trim().split_once(' ').unwrap();
    assert_eq!((kind, listed.lines().count()), (KIND, 1), "{listed}");
    let image = raw(&name);
    let repository = name.strip_suffix(":1").unwrap();
    let manifest = json(&raw(&format!("{repository}@{referrer}")));
    assert_eq!(manifest["artifactType"], KIND);
    assert_eq!(manifest["subject"]["digest"], Digest::of(image.as_bytes()).as_str());
    assert_eq!(manifest["subject"]["mediaType"], json(&image)["mediaType"]);
    assert_eq!(manifest["subject"]["size"], image.len());
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(manifest["layers"][0]["digest"], bill.as_str());
    let title = &manifest["layers"][0]["annotations"]["org.opencontainers.image.title"];
    assert_eq!(title, "bootstrap.spdx.json");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.created"], "2026-07-11T10:16:37Z");
    // Byte for byte what lies here.
    let socket: SocketAddr = address.parse().unwrap();
    let blob = Request::new("GET", &format!("/v2/team/tool/blobs/{bill}")).send(socket);
    assert_eq!((blob.status, blob.body), (200, std::fs::read(document(&skiff, &bill)).unwrap()));

    // Neither pushing again nor somebody else's push of the same makes another one.
    ok(&skiff, &["push", "-q", &name]);
    let other = Skiff::new();
    assert_eq!(make(&other, &archive, &name), bill);
    ok(&other, &["push", "-q", &name]);
    assert_eq!(ok(&skiff, &["image", "referrers", "-q", &name]), format!("{referrer}\n"));

    // It is a part of what is verified, and to be had again.
    std::fs::remove_file(document(&skiff, &bill)).unwrap();
    let missing = run(&skiff, &["image", "verify", &name]);
    assert!(missing.code == 1 && missing.stdout.contains(&format!("{bill} is missing")), "{missing:?}");
    assert_eq!(run(&skiff, &["push", "-q", &name]).code, 1);
    ok(&skiff, &["image", "repair", &name]);
    assert!(ok(&skiff, &["image", "verify", &name]).ends_with(": good\n"));

    // It goes with the last name, and not before.
    ok(&skiff, &["tag", &name, "beside"]);
    ok(&skiff, &["rmi", &name]);
    ok(&skiff, &["image", "prune", "-f"]);
    assert!(document(&skiff, &bill).exists());
    ok(&skiff, &["rmi", "beside"]);
    assert_eq!(std::fs::read_dir(skiff.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_bill_of_materials_refers_to_its_image_in_a_registry_without_lists() {
    let (registry, _content) = testkit::registry();
    goes_along(&registry.address());
}

#[test]
fn a_bill_of_materials_refers_to_its_image_in_our_registry() {
    let registry = registry::Registry::start(&[]);
    goes_along(&registry.address.to_string());
    let tag = registry.get("/v2/team/tool/manifests/1");
    let subject = Digest::of(&tag.body);
    let listed = registry.get(&format!("/v2/team/tool/referrers/{subject}?artifactType={KIND}"));
    let listed = json(std::str::from_utf8(&listed.body).unwrap());
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["manifests"][0]["artifactType"], KIND);
    // No tag of the old way where the registry keeps the list.
    let tags = json(std::str::from_utf8(&registry.get("/v2/team/tool/tags/list").body).unwrap());
    assert_eq!(tags["tags"], serde_json::json!(["1"]));
}

#[test]
fn images_without_documents_have_none() {
    let skiff = Skiff::with_busybox();
    assert_eq!(ok(&skiff, &["image", "referrers", "--local", "-q", "busybox"]), "");
    assert_eq!(run(&skiff, &["image", "referrers", "--local", "nothing"]).code, 1);
}
