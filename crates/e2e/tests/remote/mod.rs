//! Images as registries hold them, put there by the tests, and the program as it is run beside them.

#![allow(dead_code, reason = "not every test file uses every fixture")]

use std::io::Write as _;

use oci::{Digest, MediaType};
use serde_json::{Value, json};
use testkit::{Entry, Output, Registry, Shelf, Skiff, busybox_layer, layer, registry};

/// A layer as registries hold it, and what it is unpacked.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    pub(crate) diff_id: String,
    pub(crate) kind: MediaType,
}

pub(crate) fn gzip(tar: &[u8]) -> Blob {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).unwrap();
    Blob {
        bytes: encoder.finish().unwrap(),
        diff_id: Digest::of(tar).to_string(),
        kind: MediaType::OCI_LAYER_GZIP,
    }
}

/// A tar as it is.
pub(crate) fn uncompressed(tar: &[u8]) -> Blob {
    Blob { bytes: tar.to_vec(), diff_id: Digest::of(tar).to_string(), kind: MediaType::OCI_LAYER }
}

/// Puts an image for one platform there, under a tag; returns its descriptor.
pub(crate) fn put(registry: &Shelf, name: &str, architecture: &str, layers: &[Blob]) -> Value {
    let (repository, tag) = name.split_once(':').unwrap();
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = json!({"os": "linux", "architecture": architecture, "config": {"Cmd": ["cat", "/hello"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = registry.put_blob(repository, MediaType::OCI_CONFIG.as_str(), config.to_string().as_bytes());
    let layers: Vec<Value> =
        layers.iter().map(|layer| registry.put_blob(repository, layer.kind.as_str(), &layer.bytes)).collect();
    let kind = MediaType::OCI_MANIFEST;
    registry.put_manifest(
        repository,
        tag,
        &json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}),
    )
}

pub(crate) fn put_index(registry: &Shelf, name: &str, entries: &[(&str, &Value)]) -> Value {
    let (repository, tag) = name.split_once(':').unwrap();
    let entry = |(architecture, descriptor): &(&str, &Value)| {
        let mut entry = (*descriptor).clone();
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let manifests: Vec<Value> = entries.iter().map(entry).collect();
    let kind = MediaType::OCI_INDEX;
    registry.put_manifest(
        repository,
        tag,
        &json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}),
    )
}

pub(crate) fn file(path: &str, content: &[u8]) -> Vec<u8> {
    layer(&[Entry::File(path, 0o644, content)])
}

pub(crate) fn host() -> &'static str {
    if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }
}

/// Busybox with a file that says hello, in two layers.
pub(crate) fn hello() -> [Blob; 2] {
    [gzip(&busybox_layer(&[])), gzip(&file("hello", b"hello\n"))]
}

/// Whoever set things up for the user that runs the tests is left out.
pub(crate) fn run(skiff: &Skiff, arguments: &[&str]) -> Output {
    let mut command = skiff.command(arguments);
    command.env("DOCKER_CONFIG", skiff.folder());
    Output::of(command.output().unwrap())
}

pub(crate) fn ok(skiff: &Skiff, arguments: &[&str]) -> String {
    let output = run(skiff, arguments);
    assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
    output.stdout
}

/// The image that a name leads to for a platform.
pub(crate) fn id_of(skiff: &Skiff, name: &str, platform: &str) -> String {
    let id = ok(skiff, &["image", "inspect", "--platform", platform, "-f", "{{.Id}}", name]);
    id.trim().to_owned()
}

/// `a/multi:latest` for this host and for s390x, with what a build tool attests; and the layers of each.
pub(crate) struct Multi {
    pub(crate) registry: Registry,
    _content: testkit::Scratch,
    pub(crate) index: Value,
    pub(crate) own: Value,
    pub(crate) other: Value,
    /// What is attested of the first.
    pub(crate) attested: Value,
}

pub(crate) const OTHER: &str = "linux/s390x";

impl Multi {
    pub(crate) fn new() -> Multi {
        let (registry, content) = registry();
        let own = put(&registry, "a/multi:own", host(), &hello());
        let other = put(
            &registry,
            "a/multi:other",
            "s390x",
            &[gzip(&file("hello", b"other\n")), gzip(&file("bulk", &vec![7; 200_000]))],
        );
        let statement = registry.put_blob("a/multi", "application/vnd.in-toto+json", b"{\"x\":1}");
        let config = registry.put_blob("a/multi", "application/vnd.oci.image.config.v1+json", b"{\"y\":2}");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let mut attested = registry.put_manifest(
            "a/multi",
            "attested",
            &json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [statement]}),
        );
        attested["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        let entry = |descriptor: &Value, architecture: &str| {
            let mut entry = descriptor.clone();
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        };
        let kind = "application/vnd.oci.image.index.v1+json";
        let manifests = json!([entry(&other, "s390x"), entry(&own, host()), attested.clone()]);
        let document = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        let index = registry.put_manifest("a/multi", "latest", &document);
        Multi { registry, _content: content, index, own, other, attested }
    }

    /// With all of it here, under the name beside it.
    pub(crate) fn pulled() -> (Multi, Skiff, String) {
        let (multi, skiff) = (Multi::new(), Skiff::new());
        let name = multi.name();
        ok(&skiff, &["pull", "--all-platforms", &name]);
        (multi, skiff, name)
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/a/multi:latest", self.registry.address())
    }

    pub(crate) fn by_digest(&self) -> String {
        format!("{}/a/multi@{}", self.registry.address(), self.index["digest"].as_str().unwrap())
    }
}

pub(crate) fn own_platform() -> String {
    format!("linux/{}", host())
}
