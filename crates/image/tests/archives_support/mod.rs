//! What the tests of the store and of archives share: scratch directories, tars and archives made by hand,
//! and pictures of a store that can be compared.

#![allow(dead_code, reason = "every test file uses another part of this module")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Compression, LoadOptions, Loaded, Source, Store};
#[allow(unused_imports, reason = "not every test file uses every fixture")]
pub(crate) use linux::chain;
use oci::Digest;
use serde_json::{Value, json};

/// A directory of the test's own, removed with all it holds.
pub(crate) struct Scratch(testkit::Scratch);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(testkit::Scratch::new())
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.join("root")).unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

/// A tar made header by header, so that it can lie.
#[derive(Clone, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn entry(mut self, name: &str, kind: u8, link: &str, size: usize, data: &[u8]) -> Self {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(name.len() <= 100 && link.len() <= 100, "{name} {link}");
        put(0, name.as_bytes());
        put(100, b"0000755\x000000000\x000000000\x00");
        put(124, format!("{size:011o}\x0000000000000\0        ").as_bytes());
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, b'0', "", content.len(), content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, b'5', "", 0, b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', target, 0, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', target, 0, b"")
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Without the end mark.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

pub(crate) fn compress(kind: Compression, content: &[u8]) -> Vec<u8> {
    match kind {
        Compression::None => content.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(content, 1).unwrap(),
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    }
}

pub(crate) const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz];

/// A layer with a file of that content, and some more.
pub(crate) fn layer(content: &str) -> Vec<u8> {
    Tar::default()
        .directory("etc/")
        .file("etc/content", content.as_bytes())
        .symlink("link", "etc/content")
        .hardlink("hard", "etc/content")
        .file(&format!("only-{content}"), content.repeat(1000).as_bytes())
        .finish()
}

/// An image config over uncompressed layers.
pub(crate) fn config(layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({
        "architecture": oci::Platform::host().architecture,
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "by hand"}],
    })
}

/// The members of an archive by name, to be written as a tar or a directory.
pub(crate) type Members = Vec<(String, Vec<u8>)>;

pub(crate) fn tar_of(members: &Members) -> Vec<u8> {
    members.iter().fold(Tar::default(), |tar, (name, content)| tar.file(name, content)).finish()
}

/// What `docker save` writes from 1.10 on.
pub(crate) fn docker_archive(tags: &[&str], layers: &[Vec<u8>], compression: Compression) -> Members {
    let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let config = config(&plain).to_string().into_bytes();
    let name = format!("{}.json", Digest::of(&config).encoded());
    let mut members: Members = Vec::new();
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        names.push(format!("layer{number}/layer.tar"));
        members.push((format!("layer{number}/VERSION"), b"1.0".to_vec()));
        members.push((format!("layer{number}/layer.tar"), compress(compression, layer)));
    }
    members.push((name.clone(), config));
    let manifest = json!([{"Config": name, "RepoTags": tags, "Layers": names}]);
    members.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    members
}

/// An OCI layout in the making.
#[derive(Default)]
pub(crate) struct Layout {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: Vec<Value>,
}

impl Layout {
    pub(crate) fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        self.blobs.insert(format!("blobs/sha256/{}", digest.encoded()), content.to_vec());
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": content.len()})
    }

    /// A manifest over layers; its descriptor.
    pub(crate) fn image(&mut self, config: &Value, layers: &[Vec<u8>], compression: Compression) -> Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        // The type lies on purpose: what counts is how the content begins.
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        let layers: Vec<Value> =
            layers.iter().map(|layer| self.blob(kind, &compress(compression, layer))).collect();
        self.manifest(json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    pub(crate) fn manifest(&mut self, manifest: Value) -> Value {
        self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
    }

    pub(crate) fn index(&mut self, manifests: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes())
    }

    pub(crate) fn add(&mut self, mut descriptor: Value, name: Option<&str>) {
        if let Some(name) = name {
            descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        self.manifests.push(descriptor);
    }

    pub(crate) fn members(self) -> Members {
        let index = json!({"schemaVersion": 2, "manifests": self.manifests});
        let head = [
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
        ];
        head.into_iter().chain(self.blobs).collect()
    }
}

pub(crate) fn load_path(store: &Store, path: &Path) -> image::Result<Loaded> {
    image::load(store, Source::Path(path), &LoadOptions::default())
}

pub(crate) fn load_stream(store: &Store, bytes: &[u8]) -> image::Result<Loaded> {
    // In pieces of an odd size, as a pipe would deliver them.
    struct Pieces<'a>(&'a [u8]);
    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(4093);
            self.0.read(&mut buffer[..most])
        }
    }
    let mut pieces = Pieces(bytes);
    image::load(store, Source::Stream(&mut pieces), &LoadOptions::default())
}

/// Every file below a store, with its content's digest and its mode.
pub(crate) fn picture(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, below: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                // Those that content is sorted into may stay behind.
                if !name.starts_with("blobs") {
                    files.insert(name, "directory".to_owned());
                }
                walk(root, &path, files);
            } else {
                let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777;
                files.insert(name, format!("{} {mode:o}", Digest::of(&fs::read(&path).unwrap())));
            }
        }
    }
    let mut files = BTreeMap::new();
    if root.exists() {
        walk(root, root, &mut files);
    }
    files
}

/// Runs a program of the distribution, which has to succeed; what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} (from the distribution's packages) is needed: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
