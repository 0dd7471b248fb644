//! Repositories of git, served by git itself.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Reply, Seen};

/// What `git http-backend` answers of the repositories in a folder; for [`crate::Peer::serve`].
pub fn git_backend(root: &Path, seen: &Seen) -> Reply {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &seen.method)
        .env("CONTENT_TYPE", seen.header("content-type"))
        .env("CONTENT_LENGTH", seen.body.len().to_string())
        .env("GIT_PROTOCOL", seen.header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("HOME", "/nonexistent"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git is needed (scripts/install-packages test)");
    let mut input = child.stdin.take().expect("the standard input of git");
    let body = seen.body.clone();
    let writer = std::thread::spawn(move || drop(input.write_all(&body)));
    let output = child.wait_with_output().expect("what git says").stdout;
    writer.join().expect("a body that is sent");
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").expect("an answer of git http-backend");
    let mut reply = Reply::new(200, &output[end + 4..]);
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        match name {
            "Status" => reply.status = value[..3].parse().expect("a status"),
            _ => reply = reply.with(name, value),
        }
    }
    reply
}
