//! Arguments that speak to the builder: whose time `SOURCE_DATE_EPOCH` is, and `BUILDKIT_MULTI_PLATFORM`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod repositories;

use std::process::Command;

use serde_json::Value;
use testkit::{Output, Peer, Reply, Skiff, git_daemon};

use repositories::Repositories;

struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new() -> Workshop {
        Workshop { skiff: Skiff::with_busybox().that_builds() }
    }

    fn try_build(&self, dockerfile: &str, words: &[&str]) -> Output {
        let context = self.skiff.folder().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let context = context.display().to_string();
        let fixed = ["build", "--progress=plain", "-t", "made"];
        self.skiff.run(&[&fixed[..], words, &[&context]].concat())
    }

    fn build(&self, dockerfile: &str, words: &[&str]) {
        let output = self.try_build(dockerfile, words);
        assert_eq!(output.code, 0, "{}", output.stderr);
    }

    fn fails(&self, dockerfile: &str, words: &[&str], want: &str) {
        let output = self.try_build(dockerfile, words);
        assert!(output.code == 1 && output.stderr.contains(want), "no {want:?} in:\n{}", output.stderr);
    }

    /// What a program was told, and the time of what it has left.
    fn told(&self) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", "cat /said; stat -c %Y /said"])
    }
}

const SAYS: &str = "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo \"$SOURCE_DATE_EPOCH\" > /said\n";

/// When the last commit of a repository was made.
fn committed(repositories: &Repositories, name: &str) -> String {
    let folder = repositories.folder().join(format!("{name}.git"));
    let output =
        Command::new("git").current_dir(folder).args(["log", "-1", "--format=%ct"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// An archive of two files, the later of which was changed at that time.
fn archive(latest: u64) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, time) in [("Dockerfile", latest), ("early", latest - 100)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(SAYS.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(time);
        archive.append_data(&mut header, name, SAYS.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn the_time_of_what_is_made_may_be_that_of_a_repository() {
    let workshop = Workshop::new();
    let repositories = Repositories::new();
    let url = repositories.commit("main", &[("Dockerfile", SAYS)]);
    let time = committed(&repositories, "main");
    let words = ["build", "--progress=plain", "-t", "made", "--build-arg", "SOURCE_DATE_EPOCH=context", &url];
    let output = workshop.skiff.run(&words);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(workshop.told(), format!("{time}{time}"));
    let daemon = git_daemon(repositories.folder());
    let stage = format!("FROM scratch AS source\nADD git://{}/main.git /\n", daemon.address());
    let by_stage = format!("ARG SOURCE_DATE_EPOCH=Source\n{stage}{SAYS}COPY --from=source / /source\n");
    workshop.build(&by_stage, &[]);
    assert_eq!(workshop.told(), format!("{time}{time}"));
    // What is given counts before what the file says, also where it says nothing.
    workshop.build(&by_stage, &["--build-arg", "SOURCE_DATE_EPOCH=1000"]);
    assert_eq!(workshop.told(), "1000\n1000\n");
    let named = format!("--build-context=source={url}");
    workshop.build(SAYS, &["--build-arg=SOURCE_DATE_EPOCH=source", &named]);
    assert_eq!(workshop.told(), format!("{time}{time}"));
    workshop.fails(&by_stage.replace("ADD", "COPY x /\nADD"), &[], "it has COPY");
    workshop.fails(
        &format!("ARG SOURCE_DATE_EPOCH=none\n{SAYS}"),
        &[],
        "nor the name of a stage or a context",
    );
}

#[test]
fn the_time_of_what_is_made_may_be_that_of_a_file_of_the_web() {
    let peer = Peer::serve(|seen| match seen.path.as_str() {
        "/dated.tar" => Reply::new(200, archive(3000)).with("Last-Modified", "Thu, 01 Jan 1970 00:33:20 GMT"),
        "/undated.tar" => Reply::new(200, archive(3000)),
        "/undated" => Reply::new(200, "no archive"),
        _ => Reply::new(404, ""),
    });
    let workshop = Workshop::new();
    let at = |name: &str| format!("http://{}/{name}", peer.address());
    for (name, want) in [("dated.tar", "2000\n2000\n"), ("undated.tar", "3000\n3000\n")] {
        let words = ["build", "--progress=plain", "-t", "made", "--build-arg=SOURCE_DATE_EPOCH=context"];
        let output = workshop.skiff.run(&[&words[..], &[&at(name)]].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(workshop.told(), want, "{name}");
        let stage =
            format!("ARG SOURCE_DATE_EPOCH=source\nFROM scratch AS source\nADD {} /\n{SAYS}", at(name));
        workshop.build(&stage, &[]);
        assert_eq!(workshop.told(), want, "{name}");
    }
    // What has no time gives none: files keep their own, and programs are told nothing.
    let named = format!("--build-context=source={}", at("undated"));
    for words in
        [&["--build-arg=SOURCE_DATE_EPOCH=context"][..], &["--build-arg=SOURCE_DATE_EPOCH=source", &named]]
    {
        workshop.build(SAYS, words);
        let told = workshop.told();
        let (said, time) = told.split_once('\n').unwrap();
        assert!(said.is_empty() && time.trim().parse::<u64>().unwrap() > 1_000_000_000, "{told:?}");
    }
}

#[test]
fn one_platform_may_be_made_as_if_there_were_several() {
    let workshop = Workshop::new();
    let out = workshop.skiff.folder().join("out");
    let local = format!("--output=type=local,dest={}", out.display());
    let (one, text) = ("--platform=linux/amd64", "FROM scratch\nCOPY Dockerfile /\n");
    workshop.build(text, &[&local, one, "--build-arg=BUILDKIT_MULTI_PLATFORM=1"]);
    assert!(out.join("linux_amd64/Dockerfile").exists());
    let layout = workshop.skiff.folder().join("layout");
    let oci = format!("--output=type=oci,tar=false,dest={}", layout.display());
    for (argument, kind) in [("true", "index"), ("false", "manifest")] {
        workshop.build(
            text,
            &[&oci, one, &format!("--build-arg=BUILDKIT_MULTI_PLATFORM={argument}"), "--provenance=false"],
        );
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let found =
            index["manifests"].as_array().unwrap().last().unwrap()["mediaType"].as_str().unwrap().to_owned();
        assert!(found.contains(kind), "{argument}: {found}");
        std::fs::remove_dir_all(&layout).unwrap();
    }
    let several = "--platform=linux/amd64,linux/arm64";
    workshop.fails(
        text,
        &[several, "--build-arg=BUILDKIT_MULTI_PLATFORM=0"],
        "several platforms are asked for",
    );
    workshop.fails(text, &["--build-arg=BUILDKIT_MULTI_PLATFORM=maybe"], "neither true nor false");
}
