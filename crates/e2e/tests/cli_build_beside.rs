//! The same Dockerfiles through Skiff, through BuildKit in the distribution's Docker, and through buildah: the trees and the
//! configs that come out must be the same, field by field. What they do differently on purpose is named where it is left out.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod beside;
mod oci;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use beside::{Builders, Made, differences};
use oci::run;
use testkit::{Entry, archive, busybox_layer};

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

/// What each builder makes of a recipe, by its name.
fn build(builders: &Builders, recipe: &Recipe) -> BTreeMap<&'static str, Made> {
    let context = builders.folder.join(recipe.name);
    std::fs::create_dir(&context).unwrap();
    lay_out(&context);
    std::fs::write(context.join("Dockerfile"), recipe.dockerfile).unwrap();
    let target: &[&str] = if recipe.name == "target" { &["--target", "first"] } else { &[] };
    let path = context.to_str().unwrap();
    let options = [target, recipe.flags, &[path]].concat();
    let alone = [&["--network=none"], options.as_slice()].concat();

    let mut made = BTreeMap::from([("skiff", builders.by_skiff(&alone))]);
    if !recipe.without_docker {
        made.insert("docker", builders.by_docker(&alone));
    }
    if !recipe.without_buildah {
        made.insert("buildah", builders.by_buildah(&options));
    }
    made
}

#[test]
fn trees_and_configs_are_those_of_buildkit_and_of_buildah() {
    let scratch = testkit::Scratch::new();
    let archive = scratch.join("base.tar");
    std::fs::write(&archive, base()).unwrap();
    let builders = Builders::new("build-beside", &archive, "vfs");
    let mut wrong = Vec::new();
    for recipe in RECIPES {
        let made = build(&builders, recipe);
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
