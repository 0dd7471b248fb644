//! Services whose Dockerfiles lie in `dockerfiles/`: each is built on a base that is bootstrapped from the distribution's own
//! archive, runs in the host's network, and is asked by HTTP.
//!
//! The base is made once for all tests of a run and kept in a file beside the programs. What the Dockerfiles install comes from
//! the distribution's archive, from npm's and from Python's registry: a host without a network fails these tests, and is told so.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::{Skiff, wait_until};

/// Where the host keeps the authorities that it trusts, of which a company's own may be one.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Places that Dockerfiles fetch from.
const PLACES: &[&str] = &["deb.debian.org:80", "registry.npmjs.org:443", "pypi.org:443"];

/// A Skiff with `base`, and a copy of a service's files that a test may change.
pub(crate) struct Service {
    pub(crate) skiff: Skiff,
    pub(crate) context: PathBuf,
    pub(crate) name: &'static str,
}

impl Service {
    /// The files of `dockerfiles/NAME`.
    pub(crate) fn new(name: &'static str) -> Service {
        let base = base();
        let skiff = Skiff::new().that_builds();
        skiff.ok(&["load", "-q", "-i", base.to_str().unwrap()]);
        let context = skiff.folder().join("context");
        copy(&recipes().join(name), &context);
        Service { skiff, context, name }
    }

    /// Builds an image with the service's name.
    pub(crate) fn build(&self, flags: &[&str]) -> Steps {
        let secret = secret();
        let mut words = vec!["build", "--progress=rawjson", "-t", self.name];
        if let Some(secret) = &secret {
            words.extend(["--secret", secret]);
        }
        words.extend(flags);
        words.push(self.context.to_str().unwrap());
        let output = self.skiff.run(&words);
        let steps = Steps::read(&output.stderr);
        assert_eq!(output.code, 0, "{}\n{}", steps.said, output.stderr.lines().last().unwrap_or_default());
        steps
    }

    /// Puts `new` for `old`, which must be there, into one of its files.
    pub(crate) fn change(&self, path: &str, old: &str, new: &str) {
        let path = self.context.join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{} has no {old:?}", path.display());
        std::fs::write(path, text.replacen(old, new, 1)).unwrap();
    }

    /// Runs the image, and tells it by `variable` where to listen.
    pub(crate) fn start(&self, variable: &str) -> Running<'_> {
        let port = free_port();
        let setting = format!("{variable}={port}");
        self.skiff.ok(&["run", "-d", "--name", self.name, "--network=host", "-e", &setting, self.name]);
        let running = Running { service: self, port };
        wait_until("the service listens", || {
            let state = self.skiff.said("{{.State.Status}}", self.name);
            assert_eq!(state, "running", "{}", running.logs());
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        running
    }

    /// What a program prints in the image.
    pub(crate) fn in_image(&self, words: &[&str]) -> String {
        self.skiff.ok(&[&["run", "--rm", "--entrypoint", words[0], self.name], &words[1..]].concat())
    }

    /// One fact of the image.
    pub(crate) fn image(&self, format: &str) -> String {
        self.skiff.ok(&["image", "inspect", "--format", format, self.name]).trim_end().to_owned()
    }

    /// How many megabytes more than the base it takes, rounded down.
    pub(crate) fn megabytes_more(&self) -> u64 {
        let size = |image: &str| -> u64 {
            let size = self.skiff.ok(&["image", "inspect", "--format", "{{.Size}}", image]);
            size.trim().parse().unwrap()
        };
        size(self.name).saturating_sub(size("base")) / 1_000_000
    }

    /// The words of its history, the first step first.
    pub(crate) fn history(&self) -> Vec<String> {
        let words = self.skiff.ok(&["history", "--no-trunc", "--format", "{{json .CreatedBy}}", self.name]);
        words.lines().rev().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A service that runs.
pub(crate) struct Running<'s> {
    service: &'s Service,
    port: u16,
}

impl Running<'_> {
    /// The body of an answer that says that all is well.
    pub(crate) fn get(&self, path: &str) -> String {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}\n{}", self.logs());
        body
    }

    /// Status and body of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = body.len();
        // The old version is answered in one piece.
        let head =
            format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {head:?}")), body.to_owned())
    }

    /// What it has written, its errors last.
    pub(crate) fn logs(&self) -> String {
        let output = self.service.skiff.run(&["logs", self.service.name]);
        output.stdout + &output.stderr
    }

    /// Asks it to end as its image wishes, and says with which code it did.
    pub(crate) fn stop(self) -> String {
        self.service.skiff.ok(&["stop", self.service.name]);
        self.service.skiff.said("{{.State.ExitCode}}", self.service.name)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.service.skiff.run(&["rm", "--force", "--volumes", self.service.name]);
    }
}

/// What became of the steps of a build.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Each with whether it was found in the cache.
    cached: BTreeMap<String, bool>,
    /// What programs wrote.
    pub(crate) said: String,
}

impl Steps {
    fn read(progress: &str) -> Steps {
        let mut steps = Steps { cached: BTreeMap::new(), said: String::new() };
        for line in progress.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            for vertex in event["vertexes"].as_array().into_iter().flatten() {
                let name = vertex["name"].as_str().unwrap();
                if name.starts_with("[internal]") || !name.starts_with('[') || name.contains("] FROM ") {
                    continue;
                }
                let place = name.split_inclusive(']').next().unwrap().to_owned();
                *steps.cached.entry(place).or_default() |= vertex["cached"] == true;
            }
            for log in event["logs"].as_array().into_iter().flatten() {
                let data = log["data"].as_str().unwrap();
                steps.said += &String::from_utf8_lossy(&decoded(data));
            }
        }
        steps
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.cached.len()
    }

    /// The places, `[stage 1/2]`, of those that were done.
    pub(crate) fn done(&self) -> BTreeSet<&str> {
        self.cached.iter().filter(|(_, cached)| !**cached).map(|(place, _)| place.as_str()).collect()
    }
}

fn decoded(data: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(data).unwrap()
}

/// What `--secret` is given, so that programs trust whom the host does.
pub(crate) fn secret() -> Option<String> {
    Path::new(AUTHORITIES).exists().then(|| format!("id=ca,src={AUTHORITIES}"))
}

/// Where the Dockerfiles lie.
pub(crate) fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles")
}

/// Copies a folder, with the modes of its files.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// An archive with the image `base`, made once: of the programs as they are now, and today.
pub(crate) fn base() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(folder.join("services.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let made = folder.join("services.tar");
    if is_recent(&made) {
        return made;
    }
    want_network();
    let skiff = Skiff::new();
    let system = ["debian:bookworm", "--mirror", "http://deb.debian.org/debian", "ca-certificates"];
    skiff.ok(&[&["image", "bootstrap", "-q", "-t", "base"], &system[..]].concat());
    let partial = folder.join("services.tar.partial");
    skiff.ok(&["save", "-o", partial.to_str().unwrap(), "base"]);
    std::fs::rename(partial, &made).unwrap();
    made
}

fn is_recent(file: &Path) -> bool {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let Ok(made) = changed(file) else { return false };
    let programs = ["skiff", "skiff-monitor"].map(|name| changed(&testkit::programs().join(name)).unwrap());
    let is_of_today = made.elapsed().is_ok_and(|age| age < Duration::from_secs(12 * 3600));
    is_of_today && programs.iter().all(|program| *program < made)
}

/// Fails with a sentence where there is no network.
fn want_network() {
    for place in PLACES {
        let address = place.to_socket_addrs().ok().and_then(|mut found| found.next());
        let reached = address.map(|address| TcpStream::connect_timeout(&address, Duration::from_secs(20)));
        assert!(
            matches!(reached, Some(Ok(_))),
            "this test builds real services and needs the network: {place} cannot be reached: {reached:?}"
        );
    }
}

/// A port on which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
