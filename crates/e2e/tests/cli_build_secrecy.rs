//! Credentials of addresses, in every place of a build where an address may stand: they reach the servers that they are for, and nothing
//! that is written. Looked for in all files of the store, in outputs and images, in what is printed in each form, and in what is told of
//! the build; by themselves, and in what was encoded by base64.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testkit::{Output, Peer, Registry, RegistryOptions, Reply, Scratch, Skiff, git_backend};

/// The passwords and tokens of this test: each place has one of its own, so that a failure says which.
const SECRETS: [&str; 12] = [
    "s3cretADD",
    "s3cretGIT",
    "s3cretARG",
    "s3cretPUT",
    "s3cretJSON",
    "s3cretQUERY",
    "s3cretNAMED",
    "s3cretMAIN",
    "s3cretRUN",
    "s3cretLINE",
    "s3cretPROXY",
    "s3cretVCS",
];

const DOCKERFILE: &str = r#"ARG BASE=busybox
# http://user:s3cretADD@{host}/never
FROM ${BASE} AS base
ARG WHERE
ARG TOKEN
ADD http://user:s3cretADD@{host}/add /add
ADD http://s3cretGIT@{host}/a.git#main /git
ADD ${WHERE} /arg
ADD http://x:${TOKEN}@{host}/put /put
ADD ["http://user:s3cretJSON@{host}/json", "/json"]
ADD http://{host}/query?access_token=s3cretQUERY /query
ADD http://user:s3cret\
LINE@{host}/line /line
COPY --from=named /named /named
RUN echo http://user:s3cretRUN@{host}/run > /dev/null
FROM base AS casing
from base
ONBUILD RUN true
"#;

struct Workshop {
    skiff: Skiff,
    context: PathBuf,
    peer: Peer,
    _served: Scratch,
}

fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(arguments)
        .envs([("HOME", "/nonexistent"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .output()
        .expect("git is needed (scripts/install-packages test)");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The names and passwords by which a place is reached; of others everybody may ask.
fn wanted(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Some(match first {
        "add" => "user:s3cretADD",
        "a.git" => "s3cretGIT:",
        "arg" => "user:s3cretARG",
        "put" => "x:s3cretPUT",
        "json" => "user:s3cretJSON",
        "line" => "user:s3cretLINE",
        "named.git" => "user:s3cretNAMED",
        "main.git" => "s3cretMAIN:",
        _ => return None,
    })
}

impl Workshop {
    fn new() -> Workshop {
        let skiff = Skiff::with_busybox().that_builds();
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        let served = Scratch::new();
        for name in ["a.git", "named.git", "main.git"] {
            let repository = served.join(name);
            std::fs::create_dir(&repository).unwrap();
            git(&repository, &["init", "-q", "-b", "main", "."]);
            std::fs::write(repository.join("named"), "read me\n").unwrap();
            std::fs::write(repository.join("Dockerfile"), "FROM scratch\nCOPY named /\n").unwrap();
            git(&repository, &["add", "-A"]);
            git(&repository, &["commit", "-q", "-m", "first"]);
        }
        let root = served.to_path_buf();
        let peer = Peer::serve(move |seen| {
            if let Some(who) = wanted(&seen.path)
                && seen.header("authorization") != format!("Basic {}", STANDARD.encode(who))
            {
                return Reply::new(401, "who are you?").with("WWW-Authenticate", "Basic realm=\"x\"");
            }
            match seen.path.contains(".git") {
                true => git_backend(&root, seen),
                false => Reply::new(200, "from the web\n").with("ETag", "\"1\""),
            }
        });
        // What git knows of the folder is told, too.
        git(&context, &["init", "-q", "-b", "main", "."]);
        git(&context, &["remote", "add", "origin", "https://user:s3cretVCS@h.example/x.git"]);
        git(&context, &["commit", "-q", "--allow-empty", "-m", "one"]);
        std::fs::write(context.join("Dockerfile"), DOCKERFILE.replace("{host}", &peer.address())).unwrap();
        Workshop { skiff, context, peer, _served: served }
    }

    fn flags(&self) -> Vec<String> {
        let host = self.peer.address();
        vec![
            format!("--build-arg=WHERE=http://user:s3cretARG@{host}/arg"),
            "--build-arg=TOKEN=s3cretPUT".to_owned(),
            format!("--build-arg=http_proxy=http://user:s3cretPROXY@{host}"),
            format!("--build-context=named=http://user:s3cretNAMED@{host}/named.git"),
        ]
    }

    /// Builds; what comes later of the flags counts more.
    fn run(&self, flags: &[&str], context: &str) -> Output {
        let mut words = vec!["build".to_owned()];
        words.extend(self.flags());
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words.push(context.to_owned());
        let mut command = self.skiff.command(&words);
        command.envs([("BUILDX_METADATA_PROVENANCE", "max"), ("BUILDX_METADATA_WARNINGS", "1")]);
        Output::of(command.output().unwrap())
    }

    fn here(&self) -> &str {
        self.context.to_str().unwrap()
    }
}

/// A secret that a text has, also within words that are base64 of texts.
fn secret_in(bytes: &[u8], depth: usize) -> Option<&'static str> {
    let has = |secret: &&&str| memchr(bytes, secret.as_bytes());
    if let Some(found) = SECRETS.iter().find(has) {
        return Some(found);
    }
    let is_of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let mut words = bytes.split(|byte| !is_of_base64(byte)).filter(|word| depth > 0 && word.len() > 20);
    words.find_map(|word| secret_in(&STANDARD.decode(word).ok()?, depth - 1))
}

/// Whether bytes are among others. Files may be large, so that the first byte is looked for first.
fn memchr(bytes: &[u8], wanted: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == wanted[0]) {
        if rest[at..].starts_with(wanted) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[track_caller]
fn check(what: &str, bytes: &[u8]) {
    if let Some(secret) = secret_in(bytes, 2) {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().filter(|line| line.contains(secret)).take(3).collect::<Vec<_>>();
        panic!("{what} has {secret}: {lines:?}");
    }
}

/// All files below a folder.
fn check_files(folder: &Path, seen: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            check_files(&entry.path(), seen);
        } else if kind.is_file() {
            *seen += 1;
            check(&entry.path().display().to_string(), &std::fs::read(entry.path()).unwrap());
        }
    }
}

#[track_caller]
fn check_output(what: &str, output: &Output) {
    check(&format!("{what}: standard output"), output.stdout.as_bytes());
    check(&format!("{what}: standard error"), output.stderr.as_bytes());
}

#[test]
fn credentials_of_addresses_are_in_nothing_that_is_written() {
    let workshop = Workshop::new();
    let folder = workshop.skiff.folder().to_path_buf();
    let (store, out) = (Scratch::new(), folder.join("out"));
    let registry = Registry::start(&store, &RegistryOptions::default());
    let name = format!("{}/app:1", registry.address());
    let (metadata, archive) = (folder.join("metadata.json"), folder.join("oci.tar"));
    let local = format!("type=local,dest={}", out.display());
    let oci = format!("type=oci,dest={}", archive.display());
    let cache = format!("type=local,mode=max,dest={}", folder.join("cache").display());
    for (mode, version) in [("plain", "v0.2"), ("rawjson", "v1"), ("quiet", "v1")] {
        let (provenance, progress) =
            (format!("--provenance=mode=max,version={version}"), format!("--progress={mode}"));
        let outputs = ["-o", "type=registry", "-o", &local, "-o", &oci, "--cache-to", &cache];
        let told = ["--no-cache", "--sbom=true", "--metadata-file", metadata.to_str().unwrap()];
        let flags = [&[progress.as_str(), &provenance, "-t", &name][..], &outputs, &told].concat();
        let built = workshop.run(&flags, workshop.here());
        assert_eq!(built.code, 0, "{}", built.stderr);
        check_output(mode, &built);
        check("the metadata", &std::fs::read(&metadata).unwrap());
        check("the provenance", &std::fs::read(out.join("provenance.json")).unwrap());
        check("the archive", &std::fs::read(&archive).unwrap());
        std::fs::remove_dir_all(&out).unwrap();
    }
    // It is told without them, not left out.
    let told: Value = serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap();
    assert!(told["buildx.build.warnings"].is_array(), "{told}");
    let told = told["buildx.build.provenance"]["buildDefinition"]["resolvedDependencies"].to_string();
    let host = workshop.peer.address();
    for address in [
        format!("http://xxxxx:xxxxx@{host}/add"),
        format!("http://xxxxx@{host}/a.git#main"),
        format!("http://{host}/query?access_token=xxxxx"),
        format!("http://xxxxx:xxxxx@{host}/named.git"),
    ] {
        assert!(told.contains(&address), "{address}: {told}");
    }
    for command in
        [&["image", "inspect", &name][..], &["history", "--no-trunc", &name], &["builder", "du", "--verbose"]]
    {
        check_output(&command.join(" "), &workshop.skiff.run(command));
    }
    let history = workshop.skiff.ok(&["history", "--no-trunc", &name]);
    assert!(history.contains(&format!("ADD http://xxxxx:xxxxx@{host}/add /add")), "{history}");
    assert!(history.contains("TOKEN=xxxxx"), "{history}");
    let mut seen = 0;
    let root = workshop.skiff.root();
    let run = Some(workshop.skiff.run_folder()).filter(|folder| folder.exists());
    for place in [root, store.to_path_buf(), folder.join("cache")].into_iter().chain(run) {
        check_files(&place, &mut seen);
    }
    assert!(seen > 30, "{seen} files");
}

#[test]
fn credentials_are_not_in_what_is_said_of_contexts_and_checks() {
    let workshop = Workshop::new();
    let host = workshop.peer.address();
    // A context that is fetched itself.
    for progress in ["--progress=plain", "--progress=rawjson"] {
        let main = format!("http://s3cretMAIN@{host}/main.git#main");
        let built = workshop.run(&[progress, "--no-cache"], &main);
        assert_eq!(built.code, 0, "{}", built.stderr);
        check_output("a build of a repository", &built);
    }
    for call in [
        "check",
        "check,format=json",
        "check,format=sarif",
        "outline",
        "outline,format=json",
        "targets,format=json",
    ] {
        let called = workshop.run(&[&format!("--call={call}")], workshop.here());
        assert!(!called.stdout.is_empty(), "{call}: {}", called.stderr);
        check_output(call, &called);
    }
    for context in [
        format!("http://user:s3cretMAIN@{host}/main.git#main"),
        format!("http://user:s3cretMAIN@{host}/json"),
        "http://user:s3cretMAIN@ho st/x".to_owned(),
        "ssh://user:s3cretMAIN@h.invalid/x.git".to_owned(),
    ] {
        let failed = workshop.run(&["--progress=plain"], &context);
        assert_ne!(failed.code, 0);
        check_output(&context, &failed);
        let named = format!("--build-context=named={context}");
        std::fs::write(workshop.context.join("Dockerfile"), "FROM scratch\nCOPY --from=named / /\n").unwrap();
        let failed = workshop.run(&["--progress=plain", &named], workshop.here());
        assert_ne!(failed.code, 0);
        check_output(&named, &failed);
    }
    check_files(&workshop.skiff.root(), &mut 0);
}

#[test]
fn credentials_are_not_in_what_is_said_of_failures() {
    let workshop = Workshop::new();
    let host = workshop.peer.address();
    for text in [
        // Not there, refused, no address, nobody there, no image, nothing that such an instruction takes.
        format!("FROM busybox\nADD http://user:s3cretADD@{host}/a.git#none /\n"),
        format!("FROM busybox\nADD http://user:s3cretADD@{host}/json /\n"),
        "FROM busybox\nADD http://user:s3cretADD@ho\\st/x /\n".to_owned(),
        "FROM busybox\nADD http://user:s3cretADD@127.0.0.1:1/x /\n".to_owned(),
        "FROM http://user:s3cretADD@h/x\n".to_owned(),
        "ARG B=http://user:s3cretADD@h/x\nFROM $B\n".to_owned(),
        "FROM busybox\nCOPY http://user:s3cretADD@h/x /\n".to_owned(),
        "FROM busybox\nADD --checksum=x http://user:s3cretADD@h/x /\n".to_owned(),
        "FROM busybox\nADD http://user:s3cretADD@h/x\n".to_owned(),
        "FROM busybox\nRUN cat http://user:s3cretADD@h/x\n".to_owned(),
        "FROM busybox\nCOPY --from=http://user:s3cretADD@h/x a b\n".to_owned(),
        "FROM busybox\nADD ssh://user:s3cretADD@h.invalid/x.git /\n".to_owned(),
        "FROM busybox\nADD http://user:s3cretADD/@h/x.git /\n".to_owned(),
    ] {
        std::fs::write(workshop.context.join("Dockerfile"), &text).unwrap();
        for flag in ["--progress=plain", "--progress=rawjson", "--check", "--call=check,format=json"] {
            let failed = workshop.run(&[flag], workshop.here());
            assert!(failed.code != 0 || flag.contains("check"), "{text}: {}", failed.stderr);
            if text.contains("RUN") && flag.contains("progress") {
                // What a program says is its own.
                continue;
            }
            check_output(&format!("{flag} of {text:?}"), &failed);
        }
    }
    check_files(&workshop.skiff.root(), &mut 0);
}
