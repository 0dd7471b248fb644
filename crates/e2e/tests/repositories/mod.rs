//! Repositories of git, made by git and served by it over HTTP.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Peer, Reply, Scratch, Seen, require};

/// A folder of repositories, which are served as long as it lives.
pub struct Repositories {
    scratch: Scratch,
    peer: Peer,
}

impl Repositories {
    pub fn new() -> Repositories {
        require("git", "git");
        let scratch = Scratch::new();
        let root = scratch.to_path_buf();
        Repositories { scratch, peer: Peer::serve(move |seen| backend(&root, seen)) }
    }

    /// Commits these files to `<name>.git`, which is made if it is missing; the address that it has.
    pub fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        let folder = self.scratch.join(format!("{name}.git"));
        if !folder.exists() {
            std::fs::create_dir_all(&folder).unwrap();
            git(&folder, &["init", "-q", "-b", "main", "."]);
        }
        for (path, content) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        git(&folder, &["add", "-A"]);
        git(&folder, &["commit", "-q", "--allow-empty", "-m", "more"]);
        format!("http://{}/{name}.git", self.peer.address())
    }
}

impl Repositories {
    /// Where they lie on this host.
    pub fn folder(&self) -> &Path {
        &self.scratch
    }
}

/// Runs git without anybody's configuration.
fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    let command = isolated(command.current_dir(folder).args(arguments));
    let output = command
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@b")])
        .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@d")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn isolated(command: &mut Command) -> &mut Command {
    command
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .env("HOME", "/nonexistent")
}

/// What `git http-backend` answers.
fn backend(root: &Path, seen: &Seen) -> Reply {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let mut command = Command::new("git");
    let mut child = isolated(command.arg("http-backend"))
        .envs([("GIT_HTTP_EXPORT_ALL", "1"), ("REMOTE_ADDR", "127.0.0.1")])
        .env("GIT_PROJECT_ROOT", root)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &seen.method)
        .env("CONTENT_TYPE", seen.header("content-type"))
        .env("CONTENT_LENGTH", seen.body.len().to_string())
        .env("GIT_PROTOCOL", seen.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = seen.body.clone();
    let writer = std::thread::spawn(move || drop(input.write_all(&body)));
    let output = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").expect("an answer of git http-backend");
    let mut reply = Reply::new(200, &output[end + 4..]);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name {
            "Status" => reply.status = value[..3].parse().unwrap(),
            _ => reply = reply.with(name, value),
        }
    }
    reply
}
