//! Builds on a disk without room, at each of the places where one needs some: the error says what was done where, nothing is left
//! of the attempt, and the same build succeeds once there is room.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;
mod repositories;

use std::io::Write as _;
use std::path::Path;

use building::{Workshop, files};
use repositories::Repositories;
use testkit::{Disk, Entry, Output, Peer, Reply, Skiff, layer};

/// The kernel's words and ours for the database differ in their first letter.
const FULL: &str = "o space left";

/// A Skiff whose store is on a small disk.
struct Small {
    workshop: Workshop,
    disk: Disk,
}

/// Bytes that no compression makes fewer.
fn noise(megabytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..megabytes << 17).flat_map(|_| next()).collect()
}

impl Small {
    fn new(dockerfile: &str) -> Small {
        let disk = Disk::new(64);
        let skiff = Skiff::with_busybox_at(&disk.path()).that_builds();
        Small { workshop: Workshop::with(skiff, dockerfile), disk }
    }

    /// Fails with `megabytes` free, with these words in the last line, and succeeds with more.
    fn needs_more_than(&self, megabytes: u32, flags: &[&str], words: &[&str]) {
        self.fails_with(megabytes, words, || self.workshop.try_build(&[&["-t", "made"], flags].concat()));
        self.workshop.build(flags);
    }

    fn fails_with(&self, megabytes: u32, words: &[&str], build: impl Fn() -> Output) {
        // The second time nothing is left of the first.
        for _ in 0..2 {
            self.disk.leave(megabytes);
            let output = build();
            assert_eq!(output.code, 1, "{}", output.stderr);
            let last = output.stderr.lines().last().unwrap_or_default();
            for word in words.iter().chain([&FULL]) {
                assert!(last.contains(word), "no {word:?} in the last line of:\n{}", output.stderr);
            }
            assert_eq!(self.workshop.skiff.left_by_builds(&[]), "");
            assert_eq!(self.workshop.skiff.run(&["inspect", "made"]).code, 1);
            self.disk.free();
        }
    }

    fn put(self, path: &str, content: impl AsRef<[u8]>) -> Small {
        self.workshop.write(path, content);
        self
    }
}

#[test]
fn while_the_pack_of_a_repository_comes() {
    let repositories = Repositories::new();
    // Digits of noise: half as large as a pack.
    let digits: String = noise(6).iter().map(|byte| format!("{byte:02x}")).collect();
    let url = repositories.commit("large", &[("digits", &digits)]);
    let small = Small::new(&format!("FROM busybox\nADD {url} /large/\n"));
    small.needs_more_than(4, &[], &["fetch a repository", "write what comes"]);
}

#[test]
fn during_a_copy() {
    let small = Small::new("FROM busybox\nCOPY large /\n").put("large", noise(8));
    small.needs_more_than(4, &[], &["layer"]);
}

#[test]
fn during_what_a_program_writes() {
    let small = Small::new("FROM busybox\nRUN dd if=/dev/zero of=/large bs=65536 count=160\n");
    // It is the program that is told, and says so.
    small.disk.leave(4);
    let output = small.workshop.try_build(&["-t", "made"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    assert!(output.stderr.contains("exit code: 1"), "{}", output.stderr);
    assert_eq!(small.workshop.skiff.left_by_builds(&[]), "");
    small.disk.free();
    small.workshop.build(&[]);
}

#[test]
fn during_the_commit_of_what_a_program_has_written() {
    // It needs as much again.
    let small = Small::new("FROM busybox\nRUN dd if=/dev/urandom of=/large bs=65536 count=160\n");
    small.needs_more_than(15, &[], &["layer"]);
}

#[test]
fn before_anything_is_done() {
    let small = Small::new("FROM busybox\nCOPY Dockerfile /\nRUN true\n");
    small.needs_more_than(0, &[], &[]);
    // What is known needs next to nothing, and with nothing it says so or does it.
    small.workshop.skiff.ok(&["rmi", "made"]);
    small.disk.fill();
    let output = small.workshop.try_build(&["-t", "made"]);
    assert!(output.code == 0 || output.stderr.contains(FULL), "{}", output.stderr);
    assert_eq!(small.workshop.skiff.left_by_builds(&[]), "");
    small.disk.free();
    small.workshop.build(&[]);
    assert_eq!(small.workshop.skiff.run(&["image", "verify", "made"]).code, 0);
}

#[test]
fn during_what_comes_from_elsewhere() {
    // A context from a pipe.
    let archive = layer(&[
        Entry::File("Dockerfile", 0o644, b"FROM scratch\nCOPY large /\n"),
        Entry::File("large", 0o644, &noise(8)),
    ]);
    let small = Small::new("");
    let build = || {
        let mut child = small.workshop.skiff.start(&["build", "--progress=plain", "-t", "made", "-"]);
        let mut stdin = child.stdin.take().unwrap();
        // It may not want all of it.
        drop(stdin.write_all(&archive));
        drop(stdin);
        Output::of(child.wait_with_output().unwrap())
    };
    small.fails_with(4, &["context"], build);
    assert_eq!(build().code, 0);
    // A file of the web.
    let body = noise(8);
    let peer = Peer::serve(move |_| Reply::new(200, body.clone()));
    let small = Small::new(&format!("FROM scratch\nADD http://{}/large /\n", peer.address()));
    small.needs_more_than(4, &[], &["download"]);
}

#[test]
fn during_the_making_of_what_is_sent() {
    // Compressed layers lie beside the store until they are sent.
    let small = Small::new("FROM scratch\nCOPY large /\n").put("large", noise(8));
    small.workshop.build(&[]);
    small.workshop.skiff.ok(&["rmi", "made"]);
    let out = small.workshop.beside("out.tar");
    let output = format!("type=oci,dest={out}");
    small.needs_more_than(4, &["-o", &output], &["compress"]);
    assert!(Path::new(&out).exists());
}

#[test]
fn where_outputs_go() {
    let disk = Disk::new(32);
    let workshop = Workshop::new("FROM scratch\nCOPY one large /dir/\n");
    workshop.write("one", "1");
    workshop.write("large", noise(8));
    workshop.build(&[]);
    let dest = |name: &str| disk.path().join(name).display().to_string();
    for (flag, name) in [
        (format!("--output=type=oci,dest={}", dest("oci.tar")), "oci.tar"),
        (format!("--output=type=docker,dest={}", dest("docker.tar")), "docker.tar"),
        (format!("--output=type=tar,dest={}", dest("tar.tar")), "tar.tar"),
        (format!("--output=type=local,dest={}", dest("local")), "large"),
        (format!("--output=type=oci,tar=false,dest={}", dest("layout")), "layout"),
        (format!("--cache-to=type=local,mode=max,dest={}", dest("cache")), "cache"),
    ] {
        let is_file = name.ends_with(".tar");
        if is_file {
            std::fs::write(disk.path().join(name), "before").unwrap();
        }
        for _ in 0..2 {
            disk.leave(4);
            let output = workshop.try_build(&[&flag]);
            assert_eq!(output.code, 1, "{flag}: {}", output.stderr);
            let last = output.stderr.lines().last().unwrap_or_default();
            assert!(last.contains(FULL) && last.contains(name), "{flag}: {last}");
            assert_eq!(workshop.skiff.left_by_builds(&[]), "", "{flag}");
            let left = files(&disk.path());
            assert!(
                left.values().all(|(_, content)| content.len() < 1 << 20 || content[0] == 0),
                "half a file"
            );
            assert!(!left.keys().any(|path| path.to_string_lossy().contains(".skiff-")), "{:?}", left.keys());
            assert!(!left.keys().any(|path| path.ends_with("index.json")), "{flag}");
            if is_file {
                assert_eq!(std::fs::read(disk.path().join(name)).unwrap(), b"before");
            }
            disk.free();
        }
        let output = workshop.try_build(&[&flag]);
        assert_eq!(output.code, 0, "{flag}: {}", output.stderr);
        for name in ["oci.tar", "docker.tar", "tar.tar"] {
            drop(std::fs::remove_file(disk.path().join(name)));
        }
        for name in ["local", "layout", "cache"] {
            drop(std::fs::remove_dir_all(disk.path().join(name)));
        }
    }
    // The id of a build that nobody can be told is that of a build that failed.
    disk.fill();
    let output = workshop.try_build(&["--iidfile", &dest("id"), "--metadata-file", &dest("metadata")]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stderr.contains(FULL) && output.stderr.contains("id"), "{}", output.stderr);
    disk.free();
    assert!(!Path::new(&dest("id")).exists());
}

#[test]
fn while_a_small_archive_becomes_large() {
    // 96 MB of zeros in less than a hundredth of that.
    let small = Small::new("FROM scratch\nADD bomb.tar.gz /\n");
    let folder = small.workshop.skiff.folder();
    let script = "truncate -s 96M zeros && tar --no-same-owner -cf - zeros | gzip -9 > context/bomb.tar.gz && rm zeros";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(folder).status().unwrap();
    assert!(made.success());
    assert!(small.workshop.context.join("bomb.tar.gz").metadata().unwrap().len() < 1 << 20);
    for _ in 0..2 {
        let output = small.workshop.try_build(&["-t", "made"]);
        assert_eq!(output.code, 1, "{}", output.stderr);
        let last = output.stderr.lines().last().unwrap_or_default();
        for word in ["bomb.tar.gz", "bytes are left in", "reading stopped before the file system is full"] {
            assert!(last.contains(word), "no {word:?} in the last line of:\n{}", output.stderr);
        }
        assert_eq!(small.workshop.skiff.left_by_builds(&[]), "");
    }
    // One that fits is unpacked on the same disk.
    small.workshop.write("bomb.tar.gz", gzipped(&layer(&[Entry::File("fits", 0o644, b"content")])));
    small.workshop.build(&[]);
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip");
    let piped = std::process::Stdio::piped;
    let mut child = gzip.arg("-c").stdin(piped()).stdout(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    child.wait_with_output().unwrap().stdout
}
