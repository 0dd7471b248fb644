//! The three builders, and what they have made, in a form that can be compared.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::Skiff;

use crate::oci::dockerd::Dockerd;
use crate::oci::{require, run};

/// The name of what is built.
const BUILT: &str = "built:latest";

/// Skiff, BuildKit in the distribution's Docker, and the distribution's buildah, each with the same base.
pub(crate) struct Builders {
    pub(crate) skiff: Skiff,
    pub(crate) docker: Dockerd,
    /// For what goes from one to the other.
    pub(crate) folder: PathBuf,
    /// How buildah keeps layers.
    driver: &'static str,
}

impl Builders {
    /// Starts them with the image of an archive.
    pub(crate) fn new(name: &str, base: &Path, driver: &'static str) -> Builders {
        require("buildah", "buildah");
        let (skiff, docker) = (Skiff::new().that_builds(), Dockerd::start(name, |_| Vec::new()));
        let folder = docker.lab.path("builds");
        std::fs::create_dir(&folder).unwrap();
        let builders = Builders { skiff, docker, folder, driver };
        let base = base.to_str().unwrap();
        builders.skiff.ok(&["load", "-q", "-i", base]);
        assert_eq!(builders.docker.run(&["load", "--quiet", "--input", base]).code, 0);
        builders.buildah(&["pull", "-q", &format!("docker-archive:{base}")]);
        builders
    }

    fn buildah(&self, words: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(self.folder.join("buildah"))
            .arg("--runroot")
            .arg(self.folder.join("buildah-run"));
        let done = run(command.args(["--storage-driver", self.driver]).args(words));
        assert_eq!(done.code, 0, "buildah {words:?}: {done:?}");
        done.out
    }

    /// What Skiff makes with these flags and this context.
    pub(crate) fn by_skiff(&self, options: &[&str]) -> Made {
        by_skiff(&self.skiff, options).unwrap_or_else(|error| panic!("{options:?}: {error}"))
    }

    /// What BuildKit makes.
    pub(crate) fn by_docker(&self, options: &[&str]) -> Made {
        let made = by_docker(&self.skiff, &|| client(&self.docker), options);
        made.unwrap_or_else(|error| panic!("{options:?}: {error}"))
    }

    /// What buildah makes.
    pub(crate) fn by_buildah(&self, options: &[&str]) -> Made {
        let flags = ["build", "-q", "--isolation=chroot", "--layers", "--format=docker", "-t", BUILT];
        self.buildah(&[&flags, options].concat());
        let file = self.folder.join("buildah.tar");
        self.buildah(&[
            "push",
            "-q",
            "localhost/built:latest",
            &format!("docker-archive:{}:{BUILT}", file.display()),
        ]);
        load(&self.skiff, &file)
    }
}

/// The client of a Docker with the builder in it.
pub(crate) fn client(docker: &Dockerd) -> Command {
    let mut command = Command::new("/usr/bin/docker");
    command.env("DOCKER_BUILDKIT", "1").env("DOCKER_CONFIG", docker.lab.path("config"));
    command.args(["--host", &docker.host()]);
    command
}

/// What Skiff makes, or why it makes nothing.
pub(crate) fn by_skiff(skiff: &Skiff, options: &[&str]) -> Result<Made, String> {
    let done = skiff.run(&[&["build", "-q", "-t", BUILT], options].concat());
    if done.code == 0 { Ok(look(skiff)) } else { Err(format!("exit code {}: {}", done.code, done.stderr)) }
}

/// What the BuildKit of a Docker makes, or why it makes nothing.
pub(crate) fn by_docker(
    skiff: &Skiff,
    client: &dyn Fn() -> Command,
    options: &[&str],
) -> Result<Made, String> {
    let done = run(client().args(["build", "-q", "-t", BUILT]).args(options));
    if done.code != 0 {
        return Err(format!("exit code {}: {}", done.code, done.err));
    }
    let file = skiff.folder().join("docker.tar");
    let done = run(client().args(["save", "-o"]).arg(&file).arg(BUILT));
    if done.code != 0 {
        return Err(format!("cannot be saved: {}", done.err));
    }
    Ok(load(skiff, &file))
}

fn load(skiff: &Skiff, file: &Path) -> Made {
    skiff.ok(&["rmi", "-f", BUILT]);
    skiff.ok(&["load", "-q", "-i", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    look(skiff)
}

/// The image as Skiff sees it.
fn look(skiff: &Skiff) -> Made {
    let container = skiff.ok(&["create", BUILT, "nothing"]);
    let output = skiff.command(&["export", container.trim()]).output().unwrap();
    assert!(output.status.success());
    skiff.ok(&["rm", container.trim()]);
    let info: Value = serde_json::from_str(&skiff.ok(&["image", "inspect", BUILT])).unwrap();
    let history = skiff.ok(&["history", "--no-trunc", "--format", "{{json .}}", BUILT]);
    let history: Value = serde_json::from_str(&format!("[{}]", history.trim().replace('\n', ","))).unwrap();
    let words = history.as_array().unwrap().iter().map(|step| step["CreatedBy"].as_str().unwrap().to_owned());
    Made {
        tree: tree(&output.stdout),
        config: config(&info[0]["Config"]),
        environment: info[0]["Config"]["Env"].clone(),
        triggers: info[0]["Config"]["OnBuild"].clone(),
        history: words.rev().collect(),
    }
}

/// An image, as far as builders agree about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Made {
    pub(crate) tree: BTreeMap<String, String>,
    pub(crate) config: BTreeMap<String, Value>,
    /// In their order.
    pub(crate) environment: Value,
    pub(crate) triggers: Value,
    pub(crate) history: Vec<String>,
}

/// Each path with all that is known of it but times.
fn tree(archive: &[u8]) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut contents: BTreeMap<String, String> = BTreeMap::new();
    // Of each file with several names the further ones.
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        // Places that an engine makes for what it mounts.
        let made_for_mounts = [
            "",
            "dev",
            "proc",
            "sys",
            "etc",
            "etc/hosts",
            "etc/hostname",
            "etc/resolv.conf",
            ".dockerenv",
            "run",
        ];
        if made_for_mounts.contains(&path.as_str()) || path.starts_with("dev/") || path.starts_with("run/") {
            continue;
        }
        let first = entry.link_name_bytes().filter(|_| header.entry_type().is_hard_link()).map(|link| {
            String::from_utf8_lossy(&link).trim_start_matches("./").trim_start_matches('/').to_owned()
        });
        if let Some(first) = first {
            names.entry(first).or_default().insert(path.clone());
        }
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let kind = header.entry_type();
        let content = match &link {
            // The second name of a file: what the first one has.
            Some(link) if kind.is_hard_link() => {
                contents.get(link.trim_start_matches("./")).cloned().unwrap_or_default()
            }
            _ => format!("{:.12}", hex(&Sha256::digest(&content))),
        };
        contents.insert(path.clone(), content.clone());
        let kind = if kind.is_hard_link() { tar::EntryType::Regular } else { kind };
        let extensions = entry.pax_extensions().ok().flatten().into_iter().flatten().flatten();
        let xattr = |key: &str| key.strip_prefix("SCHILY.xattr.").map(str::to_owned);
        let mut xattrs: Vec<String> = extensions
            .filter_map(|field| Some(format!("{}={}", xattr(field.key().ok()?)?, hex(field.value_bytes()))))
            .collect();
        xattrs.sort();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let target = link.filter(|_| kind.is_symlink()).unwrap_or_default();
        let mode = if kind.is_symlink() { 0o777 } else { header.mode().unwrap() & 0o7777 };
        tree.insert(path, format!("{kind:?} {mode:o} {owner:?} {content} {target} {xattrs:?}"));
    }
    for (first, mut all) in names {
        all.insert(first);
        let shown = format!(" names {all:?}");
        all.iter().for_each(|path| tree.entry(path.clone()).or_default().push_str(&shown));
    }
    tree
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields that say something.
fn config(config: &Value) -> BTreeMap<String, Value> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(_) => false,
    };
    let fields = config.as_object().unwrap().iter();
    // `ArgsEscaped` is for Windows; buildah marks its images with a label.
    let counts =
        |name: &str| !matches!(name, "ArgsEscaped" | "Hostname" | "Domainname" | "Image" | "OnBuild");
    let fields = fields.filter(|(name, value)| counts(name) && !empty(value));
    let mut fields: BTreeMap<String, Value> =
        fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(Value::Object(labels)) = fields.get_mut("Labels") {
        labels.remove("io.buildah.version");
    }
    fields.retain(|_, value| !empty(value));
    // Who sets a variable again puts it at its place, or at the end.
    if let Some(Value::Array(variables)) = fields.get_mut("Env") {
        variables.sort_by_key(ToString::to_string);
    }
    fields
}

/// What one builder has and the other has not, a line each.
pub(crate) fn differences<V: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<String, V>,
    theirs: &BTreeMap<String, V>,
) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let line =
        |name: &&String| format!("    {name}: ours {:?}, theirs {:?}", ours.get(*name), theirs.get(*name));
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).map(|name| line(&name)).collect()
}
