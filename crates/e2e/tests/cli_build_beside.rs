//! The same Dockerfiles through Skiff, through BuildKit in the distribution's Docker, and through buildah: the trees and the
//! configs that come out must be the same, field by field. What they do differently on purpose is named where it is left out.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{require, run};
use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::{Entry, Skiff, archive, busybox_layer};

/// A Dockerfile with the files that it uses.
struct Recipe {
    name: &'static str,
    dockerfile: &'static str,
    /// More flags of `build`.
    flags: &'static [&'static str],
    /// What Debian's buildah is too old for.
    without_buildah: bool,
    /// What BuildKit in Debian's Docker is too old for.
    without_docker: bool,
    /// Whether its history has other words in today's BuildKit than in Debian's, whose `COPY` is silent about `--chown`, and so on.
    newer_words: bool,
    /// What buildah does its own way: it makes a WORKDIR with the next RUN, and knows SHELL in RUN alone.
    own_way: &'static [&'static str],
}

const fn recipe(name: &'static str, dockerfile: &'static str) -> Recipe {
    Recipe {
        name,
        dockerfile,
        flags: &[],
        without_buildah: false,
        without_docker: false,
        newer_words: false,
        own_way: &[],
    }
}

const RECIPES: &[Recipe] = &[
    recipe("run", "FROM base\nRUN echo hello > /hello; mkdir -p /a/b; ln -s b /a/c; chmod 4755 /hello\n"),
    recipe(
        "removal",
        "FROM base\nRUN rm -r /data/sub\nRUN rm /data/one; mkdir /data/one; echo x > /data/one/x\n",
    ),
    recipe("opaque", "FROM base\nRUN rm -r /data && mkdir /data && echo new > /data/new\n"),
    recipe("hard-links", "FROM base\nRUN echo x > /x; ln /x /y; ln /x /data/z\n"),
    recipe("owners", "FROM base\nRUN echo x > /x; chown 12:34 /x; mkdir /y; chown 5:6 /y; chmod 1777 /y\n"),
    recipe("copy-file", "FROM base\nCOPY one /one\nCOPY one /made/here/\nCOPY one /made/there\n"),
    recipe("copy-folder", "FROM base\nCOPY folder /folder\nCOPY folder/ /data/\nCOPY . /all/\n"),
    recipe("copy-several", "FROM base\nWORKDIR /w\nCOPY one two folder/three ./\nCOPY one two sub/\n"),
    recipe("copy-patterns", "FROM base\nCOPY *.txt /txt/\nCOPY folder/t* /t/\nCOPY folder/?eep /deep/\n"),
    recipe(
        "copy-through-link",
        "FROM base\nCOPY one /to-data/\nCOPY two /to-data/renamed\nWORKDIR /to-data/work\nRUN pwd > here\n",
    ),
    recipe("copy-links", "FROM base\nCOPY link /copied\nCOPY links /links\n"),
    recipe("copy-over", "FROM base\nCOPY one /data/one\nCOPY folder /data/sub\n"),
    Recipe {
        newer_words: true,
        ..recipe(
            "chown",
            "FROM base\nCOPY --chown=app:app one /one\nCOPY --chown=7:8 folder /folder\nCOPY --chown=9 two /two\n",
        )
    },
    Recipe { without_docker: true, ..recipe("chmod", "FROM base\nCOPY --chmod=640 one /one\n") },
    recipe("ignored", "FROM base\nCOPY ignored /ignored\n"),
    recipe("add-archive", "FROM base\nADD packed.tar.gz /packed\nADD packed.tar.gz one /both/\n"),
    recipe(
        "stages",
        "FROM base AS made\nRUN mkdir /out; echo made > /out/made; ln -s made /out/link\nFROM base\nCOPY --from=made /out /taken\nCOPY --from=0 /out/link /as-file\n",
    ),
    Recipe {
        own_way: &["WorkingDir"],
        ..recipe(
            "scratch",
            "FROM base AS made\nRUN echo x > /x\nFROM scratch\nCOPY --from=made /x /bin/x\nCOPY one /\nENV A=b\n",
        )
    },
    recipe(
        "variables",
        "ARG BASE=base\nFROM $BASE\nARG A=1\nARG B\nENV C=${A:-x} D=${B:-none} E=\"${A:+set}\"\nRUN echo $A $B $C $D $E > /said\nLABEL x.y=$C z=\"a b\"\n",
    ),
    Recipe {
        flags: &["--build-arg", "B=given"],
        newer_words: true,
        ..recipe("arguments", "FROM base\nARG B=default\nRUN echo $B > /said\n")
    },
    Recipe {
        newer_words: true,
        own_way: &["w"],
        ..recipe(
            "config",
            "FROM base\nENV PATH=$PATH:/more\nUSER app:app\nWORKDIR /w\nEXPOSE 80 53/udp\nVOLUME /v /w/v\nSTOPSIGNAL SIGINT\nLABEL a=b\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD echo hello\nHEALTHCHECK --interval=5s --retries=2 CMD true\n",
        )
    },
    Recipe {
        own_way: &["Cmd", "Entrypoint"],
        ..recipe(
            "shell",
            "FROM base\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo x > /x\nCMD run me\nENTRYPOINT enter here\n",
        )
    },
    recipe("user", "FROM base\nUSER app\nRUN id -u > /tmp/id; id -g >> /tmp/id; echo $HOME >> /tmp/id\n"),
    recipe(
        "workdir",
        "FROM base\nWORKDIR a\nWORKDIR b/c\nRUN pwd > /pwd\nWORKDIR /to-data\nRUN pwd >> /pwd\n",
    ),
    recipe("target", "FROM base AS first\nRUN echo first > /first\nFROM base AS second\nRUN false\n"),
];

/// Every image is made of this one.
fn base() -> Vec<u8> {
    let layer = busybox_layer(&[
        Entry::Directory("data", 0o755),
        Entry::File("data/one", 0o644, b"one\n"),
        Entry::Directory("data/sub", 0o750),
        Entry::File("data/sub/two", 0o644, b"two\n"),
        Entry::Symlink("to-data", "data"),
    ]);
    archive("base:latest", &layer, serde_json::json!({ "Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin", "X=y"] }))
}

/// The context of all recipes.
fn lay_out(folder: &Path) {
    let write = |path: &str, content: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    for (path, content) in [
        ("one", "1\n"),
        ("two", "2\n"),
        ("a.txt", "a\n"),
        ("b.txt", "b\n"),
        ("folder/three", "3\n"),
        ("folder/deep/four", "4\n"),
        ("links/target", "t\n"),
        ("ignored/kept", "kept\n"),
        ("ignored/left.out", "left\n"),
        ("ignored/deep/left.out", "left\n"),
        ("ignored/deep/but.this.out", "kept\n"),
        (".dockerignore", "# comment\n**/*.out\n!**/but.*\n"),
    ] {
        write(path, content);
    }
    use std::os::unix::fs::{PermissionsExt, symlink};
    std::fs::set_permissions(folder.join("two"), std::fs::Permissions::from_mode(0o751)).unwrap();
    std::fs::set_permissions(folder.join("folder/deep"), std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink("one", folder.join("link")).unwrap();
    symlink("target", folder.join("links/relative")).unwrap();
    symlink("/nowhere", folder.join("links/dangling")).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder).args(["--owner=3", "--group=4", "-czf"]).arg(folder.join("packed.tar.gz"));
    assert_eq!(run(tar.args(["folder", "link"])).code, 0);
}

/// The three builders, each with the base.
struct Builders {
    skiff: Skiff,
    docker: Dockerd,
    folder: PathBuf,
}

impl Builders {
    fn new(name: &str) -> Builders {
        require("buildah", "buildah");
        let builders = Builders {
            skiff: Skiff::new().that_builds(),
            docker: Dockerd::start(name, |_| Vec::new()),
            folder: PathBuf::new(),
        };
        let folder = builders.docker.lab.path("builds");
        std::fs::create_dir(&folder).unwrap();
        let builders = Builders { folder, ..builders };
        builders.skiff.load(&base());
        let file = builders.folder.join("base.tar");
        std::fs::write(&file, base()).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(builders.docker.run(&["load", "--quiet", "--input", file]).code, 0);
        builders.buildah(&["pull", "-q", &format!("docker-archive:{file}")]);
        builders
    }

    fn buildah(&self, words: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(self.folder.join("buildah"))
            .arg("--runroot")
            .arg(self.folder.join("buildah-run"));
        let done = run(command.args(["--storage-driver", "vfs"]).args(words));
        assert_eq!(done.code, 0, "buildah {words:?}: {done:?}");
        done.out
    }

    /// What each builder makes, by its name.
    fn build(&self, recipe: &Recipe) -> BTreeMap<&'static str, Made> {
        let context = self.folder.join(recipe.name);
        std::fs::create_dir(&context).unwrap();
        lay_out(&context);
        std::fs::write(context.join("Dockerfile"), recipe.dockerfile).unwrap();
        let path = context.to_str().unwrap();
        let target: &[&str] = if recipe.name == "target" { &["--target", "first"] } else { &[] };
        let options = [&["-t", "built:latest"], recipe.flags, target, &[path]].concat();

        let mut made = BTreeMap::new();
        self.skiff.ok(&[&["build", "-q", "--network=none"], options.as_slice()].concat());
        made.insert("skiff", self.look("built:latest"));
        if !recipe.without_docker {
            let mut command = Command::new("/usr/bin/docker");
            command.env("DOCKER_BUILDKIT", "1").env("DOCKER_CONFIG", self.docker.lab.path("config"));
            command.args(["--host", &self.docker.host(), "build", "-q", "--network=none"]).args(&options);
            let done = run(&mut command);
            assert_eq!(done.code, 0, "{}: {done:?}", recipe.name);
            let file = self.folder.join("docker.tar");
            let done = self.docker.run(&["save", "-o", file.to_str().unwrap(), "built:latest"]);
            assert_eq!(done.code, 0, "{done:?}");
            made.insert("docker", self.load(&file));
        }
        if !recipe.without_buildah {
            self.buildah(
                &[&["build", "-q", "--isolation=chroot", "--layers", "--format=docker"], options.as_slice()]
                    .concat(),
            );
            let file = self.folder.join("buildah.tar");
            let to = format!("docker-archive:{}:built:latest", file.display());
            self.buildah(&["push", "-q", "localhost/built:latest", &to]);
            made.insert("buildah", self.load(&file));
        }
        made
    }

    fn load(&self, file: &Path) -> Made {
        self.skiff.ok(&["rmi", "-f", "built:latest"]);
        self.skiff.ok(&["load", "-q", "-i", file.to_str().unwrap()]);
        std::fs::remove_file(file).unwrap();
        self.look("built:latest")
    }

    /// The image as Skiff sees it.
    fn look(&self, image: &str) -> Made {
        let container = self.skiff.ok(&["create", image, "nothing"]);
        let output = self.skiff.command(&["export", container.trim()]).output().unwrap();
        assert!(output.status.success());
        self.skiff.ok(&["rm", container.trim()]);
        let info: Value = serde_json::from_str(&self.skiff.ok(&["image", "inspect", image])).unwrap();
        let history: Value = serde_json::from_str(&format!(
            "[{}]",
            self.skiff
                .ok(&["history", "--no-trunc", "--format", "{{json .}}", image])
                .trim()
                .replace('\n', ",")
        ))
        .unwrap();
        let words =
            history.as_array().unwrap().iter().map(|step| step["CreatedBy"].as_str().unwrap().to_owned());
        Made {
            tree: tree(&output.stdout),
            config: config(&info[0]["Config"]),
            history: words.rev().collect(),
        }
    }
}

/// An image, as far as builders agree about it.
#[derive(Debug, PartialEq)]
struct Made {
    tree: BTreeMap<String, String>,
    config: BTreeMap<String, Value>,
    history: Vec<String>,
}

/// Each path with all that is known of it but times.
fn tree(archive: &[u8]) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut contents: BTreeMap<String, String> = BTreeMap::new();
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
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let target = link.filter(|_| kind.is_symlink()).unwrap_or_default();
        let mode = if kind.is_symlink() { 0o777 } else { header.mode().unwrap() & 0o7777 };
        tree.insert(path, format!("{kind:?} {mode:o} {owner:?} {content} {target}"));
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
fn differences<V: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<String, V>,
    theirs: &BTreeMap<String, V>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let line =
        |name: &&String| format!("    {name}: ours {:?}, theirs {:?}", ours.get(*name), theirs.get(*name));
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).map(|name| line(&name)).collect()
}

#[test]
fn trees_and_configs_are_those_of_buildkit_and_of_buildah() {
    let builders = Builders::new("build-beside");
    let mut wrong = Vec::new();
    for recipe in RECIPES {
        let made = builders.build(recipe);
        let ours = &made["skiff"];
        for (peer, theirs) in made.iter().filter(|(name, _)| **name != "skiff") {
            let mut found = differences(&ours.tree, &theirs.tree);
            found.extend(differences(&ours.config, &theirs.config));
            if *peer == "buildah" {
                found.retain(|line| {
                    !recipe.own_way.iter().any(|name| line.trim_start().starts_with(&format!("{name}:")))
                });
            }
            if *peer == "docker" && !recipe.newer_words && ours.history != theirs.history {
                found.push(format!("    history: ours {:#?}, theirs {:#?}", ours.history, theirs.history));
            }
            if !found.is_empty() {
                wrong.push(format!("{} beside {peer}:\n{}", recipe.name, found.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
