//! A server that is killed at any system call of a push: what it acknowledged is there, the push succeeds when it is done
//! again, and in the end nothing is left that nobody can reach.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod registry;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry::{MANIFEST, Request, digest, manifest};
use testkit::{Skiff, require, wait_until};

/// Calls by which a push gets to the disk.
const CALLS: [&str; 7] = ["fsync", "fdatasync", "rename", "fchmod", "unlink", "write", "pwrite64"];
/// How many of each are tried; those beyond are like those before.
const MOST: u32 = 9;
const LAYER: [u8; 3000] = [7; 3000];

/// A server, perhaps one that is killed at a call.
struct Server {
    child: Child,
    address: Option<SocketAddr>,
}

fn start(skiff: &Skiff, kill_at: Option<(&str, u32)>, options: &[&str]) -> Server {
    let words = [&["registry", "serve", "--addr", "127.0.0.1:0"], options].concat();
    let plain = skiff.command(&words);
    let mut command = match kill_at {
        None => plain,
        Some((call, number)) => {
            // The tracer is a process of its own, so that ours is the server.
            let mut strace = Command::new("strace");
            strace.args([
                "-D",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("inject={call}:signal=KILL:when={number}"),
            ]);
            strace.arg(plain.get_program()).args(plain.get_args());
            strace.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            strace
        }
    };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once("//").and_then(|(_, address)| address.parse().ok());
    Server { child, address }
}

impl Server {
    fn status(&self, request: &Request) -> Option<u16> {
        request.try_send(self.address?).ok().map(|response| response.status)
    }

    /// Pushes an image of one layer; says which of blob, config and manifest were acknowledged.
    fn push(&self) -> [bool; 3] {
        let blob = |content: &[u8]| {
            let begun = Request::new("POST", "/v2/a/blobs/uploads/").try_send(self.address?).ok()?;
            let location = begun.header("location")?.to_owned();
            let patch = Request::new("PATCH", &location).body(&content[..content.len() / 2]);
            let rest = &content[content.len() / 2..];
            let put = Request::new("PUT", &format!("{location}?digest={}", digest(content))).body(rest);
            (self.status(&patch)? == 202 && self.status(&put)? == 201).then_some(())
        };
        let (layer, config) = (blob(&LAYER).is_some(), blob(b"{}").is_some());
        let text = manifest(b"{}", &[&LAYER], "");
        let put =
            Request::new("PUT", "/v2/a/manifests/v1").header("content-type", MANIFEST).body(text.as_bytes());
        [layer, config, self.status(&put) == Some(201)]
    }

    fn end(mut self) {
        // It may have been killed, which is what this is about.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.child.wait().unwrap();
    }
}

/// Whether the server of a trace was killed, which ends the trace too.
fn was_killed(server: &mut Server) -> bool {
    std::thread::sleep(Duration::from_millis(20));
    server.child.try_wait().unwrap().is_some()
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let count = |entry: std::fs::DirEntry| {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) { files(&entry.path()) } else { 1 }
    };
    entries.flatten().map(count).sum()
}

#[test]
fn a_push_survives_a_kill_at_any_system_call() {
    require("strace", "strace");
    let skiff = Skiff::new();
    // Set up beforehand, so that what is counted is the work of a server.
    start(&skiff, None, &[]).end();
    let mut kills = 0;
    for call in CALLS {
        for number in 1..=MOST {
            let mut server = start(&skiff, Some((call, number)), &[]);
            let told = server.push();
            let killed = was_killed(&mut server);
            server.end();
            // It leaves the root empty for the next one.
            check(&skiff, told, &format!("killed at {call} {number}"));
            if !killed {
                assert_eq!(told, [true; 3], "not killed at {call} {number}");
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 15, "only {kills} kills");
}

/// What holds after a kill, and after the push was done again and its image removed.
fn check(skiff: &Skiff, told: [bool; 3], when: &str) {
    let options = ["--grace", "1ms", "--collect-every", "50ms", "--upload-expiry", "50ms"];
    let server = start(skiff, None, &[]);
    let paths = [
        format!("/v2/a/blobs/{}", digest(&LAYER)),
        format!("/v2/a/blobs/{}", digest(b"{}")),
        "/v2/a/manifests/v1".to_owned(),
    ];
    for (path, _) in paths.iter().zip(told).filter(|(_, told)| *told) {
        let found = Request::new("GET", path).try_send(server.address.unwrap()).unwrap();
        assert_eq!(found.status, 200, "{when}: {path} was acknowledged");
        let is_layer = path.ends_with(&digest(&LAYER));
        assert!(!is_layer || found.body == LAYER, "{when}");
    }
    assert_eq!(server.push(), [true; 3], "{when}, and pushed again");
    let name = digest(manifest(b"{}", &[&LAYER], "").as_bytes());
    assert_eq!(
        server.status(&Request::new("DELETE", &format!("/v2/a/manifests/{name}"))),
        Some(202),
        "{when}"
    );
    server.end();
    let server = start(skiff, None, &options);
    let root = skiff.root().join("registry");
    wait_until("nothing is left", || files(&root.join("blobs")) + files(&root.join("uploads")) == 0);
    server.end();
}
