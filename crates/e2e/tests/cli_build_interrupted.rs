//! A build that is interrupted while it waits for something that never comes, or does something that takes for ever: it ends by
//! itself, with the code of its signal, and leaves nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use std::io::Write as _;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use building::{Workshop, paths};
use oci::Digest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testkit::{Entry, Output, Peer, Reply, busybox_layer, layer, wait_until, wait_until_it_waits};

/// A server that falls silent in the middle of some answers, for good.
fn silent(answer: impl Fn(&str) -> Option<(Vec<u8>, &'static str, usize)> + Send + Sync + 'static) -> Peer {
    let never = Arc::new(AtomicBool::new(false));
    Peer::serve(move |seen| match answer(&seen.path) {
        None => Reply::new(404, ""),
        Some((body, kind, at)) => {
            let reply = Reply::new(200, body.clone()).with("content-type", kind);
            let reply = reply.with("docker-content-digest", Digest::of(&body));
            if at < body.len() { reply.held(at, &never) } else { reply }
        }
    })
}

/// Interrupts it once it waits. What comes of that is an end.
fn interrupted(workshop: &Workshop, mut child: Child, signal: Signal) -> Output {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
    wait_until("the build ends", || child.try_wait().unwrap().is_some());
    let output = Output::of(child.wait_with_output().unwrap());
    assert_eq!(output.code, 128 + signal.as_raw(), "{}", output.stderr);
    assert!(output.stderr.contains("build was cancelled"), "{}", output.stderr);
    assert_eq!(workshop.skiff.left_by_builds(&[]), "");
    assert_eq!(workshop.skiff.run(&["inspect", "made"]).code, 1);
    output
}

/// A build that asks a server which answers no more, and is interrupted.
fn waits_for(peer: &Peer, dockerfile: &str, flags: &[&str], asked: &str) {
    let workshop = Workshop::new(dockerfile);
    let child = workshop.skiff.start(&workshop.words(&[&["-t", "made"], flags].concat()));
    wait_until("the server is asked", || peer.lines().iter().any(|line| line.ends_with(asked)));
    interrupted(&workshop, child, Signal::INT);
    workshop.write("Dockerfile", "FROM busybox\nRUN true\n");
    workshop.build(&[]);
}

#[test]
fn while_a_base_is_looked_for_or_pulled() {
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let peer = silent(move |path| (path == "/v2/a/manifests/1").then(|| (vec![b' '; 100], manifest, 10)));
    waits_for(&peer, &format!("FROM {}/a:1\n", peer.address()), &[], "/v2/a/manifests/1");

    let tar = busybox_layer(&[Entry::File("large", 0o644, &[7; 3 << 20])]);
    let config = json!({"os": "linux", "architecture": oci::Platform::host().architecture,
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).as_str()]}})
    .to_string();
    let entry = |kind: &str, content: &[u8]| {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": Digest::of(content).as_str(), "size": content.len()})
    };
    let document = json!({"schemaVersion": 2, "mediaType": manifest,
        "config": entry("config.v1+json", config.as_bytes()), "layers": [entry("layer.v1.tar", &tar)]});
    let blob = format!("/v2/a/blobs/{}", Digest::of(&tar));
    let asked = blob.clone();
    let peer = silent(move |path| match path {
        "/v2/a/manifests/1" => Some((document.to_string().into_bytes(), manifest, usize::MAX)),
        path if path == blob => Some((tar.clone(), "application/octet-stream", 1 << 20)),
        path if path == format!("/v2/a/blobs/{}", Digest::of(config.as_bytes())) => {
            Some((config.clone().into_bytes(), "application/octet-stream", usize::MAX))
        }
        _ => None,
    });
    waits_for(&peer, &format!("FROM {}/a:1\nRUN true\n", peer.address()), &[], &asked);
}

#[test]
fn while_a_file_of_the_web_is_looked_for_or_comes() {
    for at in [0, 1 << 20] {
        let peer = silent(move |_| Some((vec![7; 3 << 20], "application/octet-stream", at)));
        let dockerfile = format!("FROM scratch\nADD http://{}/file /\n", peer.address());
        waits_for(&peer, &dockerfile, &[], "/file");
    }
}

/// What a server of git says that knows nothing but how to fetch: gitprotocol-v2.
const CAPABILITIES: &str =
    "001e# service=git-upload-pack\n0000000eversion 2\n000cls-refs\n0012fetch=shallow\n0000";

#[test]
fn while_a_repository_is_asked_or_its_pack_comes() {
    let advertisement = "application/x-git-upload-pack-advertisement";
    let peer = silent(move |_| Some((CAPABILITIES.as_bytes().to_vec(), advertisement, 20)));
    let add = |peer: &Peer| format!("FROM scratch\nADD http://{}/a.git /\n", peer.address());
    waits_for(&peer, &add(&peer), &[], "/info/refs?service=git-upload-pack");

    let commit = "a".repeat(40);
    let fetching = move |path: &str| match path.strip_prefix("/a.git/")? {
        "info/refs?service=git-upload-pack" => {
            Some((CAPABILITIES.as_bytes().to_vec(), advertisement, usize::MAX))
        }
        _ => {
            // A pack of five objects, of which none comes.
            let mut answer = b"000dpackfile\n0011\x01PACK\0\0\0\x02\0\0\0\x05".to_vec();
            let begun = answer.len();
            answer.extend([b' '; 1000]);
            Some((answer, "application/x-git-upload-pack-result", begun))
        }
    };
    let peer = silent(fetching);
    let dockerfile = format!("FROM scratch\nADD http://{}/a.git#{commit} /\n", peer.address());
    waits_for(&peer, &dockerfile, &[], "/git-upload-pack");
}

#[test]
fn while_a_remote_context_a_cache_or_a_push_is_waited_for() {
    let peer = silent(|_| Some((vec![0; 3 << 20], "application/x-tar", 1 << 20)));
    let workshop = Workshop::new("");
    let url = format!("http://{}/context.tar", peer.address());
    let child = workshop.skiff.start(&["build", "-t", "made", &url]);
    wait_until("the server is asked", || peer.lines().len() == 1);
    interrupted(&workshop, child, Signal::TERM);

    let peer = silent(|_| Some((vec![b' '; 100], "application/vnd.oci.image.index.v1+json", 10)));
    let cache = format!("--cache-from=type=registry,ref={}/cache", peer.address());
    waits_for(&peer, "FROM scratch\nCOPY Dockerfile /\n", &[&cache], "/v2/cache/manifests/latest");

    let workshop = Workshop::new("FROM scratch\nCOPY Dockerfile /\n");
    let name = format!("{}/pushed:1", peer.address());
    let child = workshop.skiff.start(&workshop.words(&["-t", &name, "--push"]));
    wait_until("the server is asked", || peer.lines().iter().any(|line| line.contains("/v2/pushed/")));
    interrupted(&workshop, child, Signal::INT);
}

#[test]
fn while_the_context_is_read_from_a_pipe() {
    let workshop = Workshop::new("");
    let archive = layer(&[Entry::File("Dockerfile", 0o644, b"FROM scratch\nCOPY / /\n")]);
    let mut child = workshop.skiff.start(&["build", "-t", "made", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&archive[..1536]).unwrap();
    wait_until_it_waits(&mut child);
    interrupted(&workshop, child, Signal::INT);
    drop(stdin);
}

#[test]
fn while_nobody_reads_its_output() {
    let workshop = Workshop::new("FROM busybox\nCOPY large /\n");
    // More than a pipe may hold.
    workshop.write("large", vec![7; 5 << 20]);
    workshop.build(&[]);
    for output in ["type=tar,dest=-", "type=oci,dest=-", "type=docker,dest=-"] {
        let mut child = workshop.skiff.start(&workshop.words(&["-o", output]));
        wait_until_it_waits(&mut child);
        // What was written is read after its end alone.
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(id, Signal::INT).unwrap();
        wait_until("the build ends", || child.try_wait().unwrap().is_some());
        let ended = Output::of(child.wait_with_output().unwrap());
        assert_eq!(ended.code, 130, "{output}: {}", ended.stderr);
        assert_eq!(workshop.skiff.left_by_builds(&[]), "", "{output}");
    }
    // Whoever reads late gets all of it.
    let mut child = workshop.skiff.start(&workshop.words(&["-o", "type=tar,dest=-"]));
    wait_until_it_waits(&mut child);
    let ended = child.wait_with_output().unwrap();
    let names = tar::Archive::new(&ended.stdout[..]).entries().unwrap().count();
    assert!(ended.status.success() && names > 2 && ended.stdout.len() > 5 << 20, "{names}");
}

#[test]
fn while_a_program_runs_or_another_build_does_the_same_work() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let workshop = Workshop::new(
            "FROM busybox\nRUN --mount=type=cache,target=/c trap '' TERM INT HUP; touch /c/began; while :; do sleep 1000; done\n",
        );
        let start = || workshop.skiff.start(&workshop.words(&["-t", "made"]));
        let runs = start();
        workshop.wait_for_mark("began");
        let mut waits = start();
        wait_until_it_waits(&mut waits);
        let id = Pid::from_raw(i32::try_from(waits.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        wait_until("the one that waits ends", || waits.try_wait().unwrap().is_some());
        assert_eq!(Output::of(waits.wait_with_output().unwrap()).code, 128 + signal.as_raw());
        interrupted(&workshop, runs, signal);
    }
}

#[test]
fn while_a_cache_mount_is_waited_for_that_another_has() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked touch /c/began; sleep 1000\n",
    );
    let first = workshop.skiff.start(&workshop.words(&[]));
    workshop.wait_for_mark("began");
    workshop.write("Dockerfile", "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked true\n");
    let mut second = workshop.skiff.start(&workshop.words(&[]));
    wait_until_it_waits(&mut second);
    let id = Pid::from_raw(i32::try_from(second.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    wait_until("the one that waits ends", || second.try_wait().unwrap().is_some());
    assert_eq!(Output::of(second.wait_with_output().unwrap()).code, 130);
    interrupted(&workshop, first, Signal::INT);
}

#[test]
fn while_layers_are_compressed() {
    let workshop = Workshop::new("FROM busybox\nCOPY noise /\n");
    let mut noise = Command::new("dd");
    noise.args(["if=/dev/urandom", "bs=1M", "count=48"]);
    noise.arg(format!("of={}", workshop.context.join("noise").display()));
    assert!(noise.output().unwrap().status.success());
    workshop.build(&[]);
    workshop.skiff.ok(&["rmi", "made"]);
    let output =
        format!("type=oci,compression=zstd,compression-level=22,dest={}", workshop.beside("out.tar"));
    let child = workshop.skiff.start(&workshop.words(&["-o", &output, "-t", "made"]));
    let tmp = workshop.skiff.root().join("tmp");
    wait_until("it compresses", || paths(&tmp).iter().any(|path| path.to_string_lossy().contains("/blob-")));
    interrupted(&workshop, child, Signal::INT);
    assert!(!std::path::Path::new(&workshop.beside("out.tar")).exists());
}
