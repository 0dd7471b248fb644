//! Random builds through Skiff and through BuildKit: what comes out is the same, files and configs, or both refuse it.
//!
//! `SKIFF_RANDOM_CASES` says how many there are, `SKIFF_RANDOM_SEED` the number of the first, `SKIFF_RANDOM_KEEP` a folder for those
//! that differ. With `SKIFF_RANDOM_DOCKER`, the path of a client with a newer daemon that sees the same files, words are
//! drawn that BuildKit in Debian's Docker does not know, and histories compared.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod beside;
mod oci;
mod random;

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use beside::{Made, by_docker, by_skiff, client, differences};
use oci::dockerd::Dockerd;
use oci::run;
use random::Case;
use testkit::{Entry, Scratch, Skiff, archive, busybox_layer};

/// So many are tried without being asked for.
const CASES: u64 = 20;

/// `cap_net_bind_service` as it lies on disk. Docker saves no other attributes.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Every stage that is not empty begins as this.
fn base() -> Vec<u8> {
    let layer = busybox_layer(&[
        Entry::Directory("data", 0o755),
        Entry::File("data/one", 0o644, b"one\n"),
        Entry::Directory("data/sub", 0o750),
        Entry::Of(5, 6, &Entry::File("data/sub/two", 0o640, b"two\n")),
        Entry::Symlink("data/sub/up", "../one"),
        Entry::With("security.capability", CAPABILITY, &Entry::File("data/able", 0o755, b"m\n")),
        Entry::Symlink("to-data", "data"),
        Entry::Symlink("to-one", "/data/one"),
        Entry::Symlink("far", "/to-data/../to-data"),
        Entry::Symlink("dangling", "not/there"),
        Entry::Symlink("loop", "loop"),
    ]);
    let config = serde_json::json!({
        "Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin", "X=y"], "Labels": { "a": "of the base" }, "WorkingDir": "/data",
    });
    archive("base:latest", &layer, config)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// What they made of it that is not the same.
fn compared(ours: &Result<Made, String>, theirs: &Result<Made, String>, newer: bool) -> Vec<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return Vec::new(),
        // Names that the base does not know are errors here.
        (Err(error), Ok(_))
            if error.contains("unable to find user") || error.contains("unable to find group") =>
        {
            return Vec::new();
        }
        // It has no layer; or a pattern of a copy matched nothing, which is an error there below a directory alone.
        (Ok(_), Err(error)) if error.contains("empty export") || error.contains(": lstat /") => {
            return Vec::new();
        }
        (Ok(_), Err(error)) => return vec![format!("    theirs alone fails: {error}")],
        (Err(error), Ok(_)) => return vec![format!("    ours alone fails: {error}")],
    };
    // Its layers lose that a file has several names where one of them is older.
    let strip = |made: &Made| {
        let plain = |text: &String| text.split(" names ").next().unwrap_or_default().to_owned();
        made.tree
            .iter()
            .map(|(path, text)| (path.clone(), if newer { plain(text) } else { text.clone() }))
            .collect()
    };
    let mut found = differences::<String>(&strip(ours), &strip(theirs));
    found.extend(differences(&ours.config, &theirs.config));
    let mut other = |name: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        let (ours, theirs) = (format!("{ours:#?}"), format!("{theirs:#?}"));
        if ours != theirs {
            found.push(format!("    {name}: ours {ours}, theirs {theirs}"));
        }
    };
    other("environment", &ours.environment, &theirs.environment);
    other("triggers", &ours.triggers, &theirs.triggers);
    if newer {
        other("history", &ours.history, &theirs.history);
    }
    found
}

#[test]
fn random_builds_are_what_buildkit_makes_of_them() {
    let newer: Option<OsString> = std::env::var_os("SKIFF_RANDOM_DOCKER");
    let (scratch, skiff) = (Scratch::new(), Skiff::new().that_builds());
    let docker = newer.is_none().then(|| Dockerd::start("build-random", |_| Vec::new()));
    let peer = || match (&newer, &docker) {
        (Some(program), _) => Command::new(program),
        (None, docker) => client(docker.as_ref().unwrap()),
    };
    let archive = scratch.join("base.tar");
    std::fs::write(&archive, base()).unwrap();
    skiff.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    assert_eq!(run(peer().args(["load", "--quiet", "--input"]).arg(&archive)).code, 0);

    let first = number("SKIFF_RANDOM_SEED", 1);
    let (mut wrong, mut built) = (Vec::new(), 0);
    let seeds = first..first + number("SKIFF_RANDOM_CASES", CASES);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let case = Case::new(seed, newer.is_some());
        let context = scratch.join(format!("case-{seed}"));
        std::fs::create_dir(&context).unwrap();
        case.lay_out(&context);
        let flags: Vec<&str> = case.flags.iter().map(String::as_str).collect();
        let options = [&["--network=none"], flags.as_slice(), &[context.to_str().unwrap()]].concat();
        let (ours, theirs) = (by_skiff(&skiff, &options), by_docker(&skiff, &peer, &options));
        built += u64::from(ours.is_ok());
        let found = compared(&ours, &theirs, newer.is_some());
        if !found.is_empty() {
            let text = format!("{seed}:\n{}\n{}", found.join("\n"), case.shown());
            if let Some(folder) = std::env::var_os("SKIFF_RANDOM_KEEP") {
                std::fs::write(Path::new(&folder).join(format!("{seed}")), &text).unwrap();
            }
            wrong.push(text);
        }
        std::fs::remove_dir_all(&context).unwrap();
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(built * 3 > count, "only {built} of {count} can be built: the test shows little");
}
