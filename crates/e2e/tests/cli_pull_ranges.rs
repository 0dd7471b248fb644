//! Pulls of one large layer by several connections: from Debian's `docker-registry` and our own, killed, joined, lied to.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod registry;
mod remote;

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use oci::Digest;
use remote::{Blob, file, gzip, host, ok, put, run};
use rustix::process::Signal;
use testkit::{Peer, Registry, Reply, Scratch, Skiff, busybox_layer, peer, wait_until, wait_until_it_waits};

const SIZE: usize = 28_000_000;
/// Bytes of a part at most.
const PART: usize = 4 << 20;
/// What a connection carries in a second: less than any pull takes, also beside others on a busy machine.
const PACE: usize = 4 << 20;

/// What the peer does to the large blob.
#[derive(Default)]
struct Doing {
    /// The first part behind so many bytes is held back …
    hold_from: Option<usize>,
    /// … which is this one.
    held: Option<usize>,
    /// Parts are not what they should be.
    is_lying: bool,
}

/// A registry behind a peer of slow connections.
struct World {
    registry: Registry,
    _content: Scratch,
    peer: Peer,
    doing: Arc<Mutex<Doing>>,
    go: Arc<AtomicBool>,
    skiff: Skiff,
    tar: Vec<u8>,
    large: Blob,
}

/// The first byte that a range asks for, and the last, if it says one.
fn asked(range: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..SIZE / 8).flat_map(step).collect()
}

fn with_ranges(skiff: Skiff) -> Skiff {
    std::fs::create_dir_all(skiff.settings()).unwrap();
    std::fs::write(skiff.settings().join("registries.toml"), "[ranges]\nfrom-mebibytes = 1\n").unwrap();
    skiff
}

/// A peer before the server at `address`, by whose connections `digest` comes slowly.
fn slow(address: String, digest: &str, doing: &Arc<Mutex<Doing>>, go: &Arc<AtomicBool>) -> Peer {
    let (digest, doing, go) = (digest.to_owned(), Arc::clone(doing), Arc::clone(go));
    Peer::serve(move |seen| {
        let honest = peer::exchange(&address, seen);
        if !seen.path.contains(&digest) || honest.status >= 300 {
            return honest;
        }
        let mut reply = honest.paced(PACE);
        let Some((first, Some(_))) = asked(seen.header("range")) else { return reply };
        let mut doing = doing.lock().unwrap();
        if doing.is_lying {
            reply.body[1000] ^= 1;
        }
        if doing.held.is_none() && doing.hold_from.is_some_and(|from| first >= from) {
            doing.held = Some(first);
            return reply.held(0, &go);
        }
        reply
    })
}

impl World {
    fn new() -> World {
        let (registry, content) = testkit::registry();
        let tar = file("noise", &noise());
        let large = gzip(&tar);
        put(&registry, "a:1", host(), &[gzip(&busybox_layer(&[])), large.clone()]);
        let (doing, go) = (Arc::default(), Arc::default());
        let digest = Digest::of(&large.bytes).to_string();
        let peer = slow(registry.address(), &digest, &doing, &go);
        let skiff = with_ranges(Skiff::new());
        World { registry, _content: content, peer, doing, go, skiff, tar, large }
    }

    fn name(&self) -> String {
        format!("{}/a:1", self.peer.address())
    }

    fn pull(&self) -> Child {
        let mut command = self.skiff.command(&["pull", &self.name()]);
        command.env("DOCKER_CONFIG", self.skiff.folder()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn spool(&self) -> std::path::PathBuf {
        let (layer, blob) = (Digest::of(&self.tar), Digest::of(&self.large.bytes));
        self.skiff.root().join("partial").join(layer.encoded()).join(blob.encoded())
    }

    /// Starts a pull, and returns once it comes no further than to a part behind `from` bytes that is held back, and all else that
    /// may come ahead of that is on its way; with the number of bytes that are here.
    fn pull_up_to_a_part_behind(&self, from: usize) -> (Child, usize) {
        *self.doing.lock().unwrap() = Doing { hold_from: Some(from), ..Doing::default() };
        self.go.store(false, Ordering::SeqCst);
        let child = self.pull();
        let here =
            || std::fs::metadata(self.spool()).map_or(0, |spool| usize::try_from(spool.len()).unwrap());
        let held = || self.doing.lock().unwrap().held;
        wait_until("it waits for the part", || held().is_some_and(|held| held == here()));
        wait_until("parts behind it are asked for", || {
            parts(&self.peer).iter().any(|(first, _)| *first > here()) || here() + PART >= SIZE
        });
        (child, here())
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.skiff.root().join(folder)).map_or(0, Iterator::count)
    }

    fn assert_whole(&self) {
        assert_whole(&self.skiff, &self.name());
        assert_eq!((self.count("partial"), self.count("tmp"), self.count("layers")), (0, 0, 2));
    }
}

fn assert_whole(skiff: &Skiff, name: &str) {
    assert!(ok(skiff, &["image", "verify", name]).ends_with(": good\n"));
    let size = ok(skiff, &["run", "--rm", "--pull=never", name, "wc", "-c", "/noise"]);
    assert_eq!(size, format!("{SIZE} /noise\n"));
}

/// What was asked for in parts: first byte and length.
fn parts(peer: &Peer) -> Vec<(usize, usize)> {
    let ranges = peer.seen().into_iter().filter_map(|seen| asked(seen.header("range")));
    ranges.filter_map(|(first, last)| Some((first, last? + 1 - first))).collect()
}

/// The first bytes of the streams that were asked for to the end of the blob.
fn streams(world: &World) -> Vec<usize> {
    let digest = Digest::of(&world.large.bytes).to_string();
    let seen = world.peer.seen().into_iter().filter(|seen| seen.path.contains(&digest));
    let first = |range: &str| match asked(range) {
        None => Some(0),
        Some((first, None)) => Some(first),
        Some(_) => None,
    };
    seen.filter_map(|seen| first(seen.header("range"))).collect()
}

fn are_apart(parts: &[(usize, usize)]) -> bool {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    parts.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
}

#[test]
fn a_large_layer_comes_by_several_connections_from_debians_registry_and_from_ours() {
    let world = World::new();
    assert!(world.pull().wait().unwrap().success());
    let asked = parts(&world.peer);
    assert!(asked.len() >= 3 && are_apart(&asked), "{asked:?}");
    assert_eq!(streams(&world), [0]);
    world.assert_whole();

    let ours = registry::Registry::start(&[]);
    let address = ours.address.to_string();
    ok(
        &world.skiff,
        &["image", "copy", &format!("{}/a:1", world.registry.address()), &format!("{address}/a:1")],
    );
    let digest = Digest::of(&world.large.bytes).to_string();
    let peer = slow(address, &digest, &Arc::default(), &Arc::default());
    let skiff = with_ranges(Skiff::new());
    let name = format!("{}/a:1", peer.address());
    ok(&skiff, &["pull", &name]);
    let asked = parts(&peer);
    assert!(asked.len() >= 3 && are_apart(&asked), "{asked:?}");
    assert_whole(&skiff, &name);
}

#[test]
fn a_pull_by_several_connections_that_was_ended_goes_on_at_the_byte() {
    for (signal, from) in
        [(Signal::KILL, 0), (Signal::KILL, 11_000_000), (Signal::INT, 11_000_000), (Signal::KILL, 17_000_000)]
    {
        let world = World::new();
        let (mut child, here) = world.pull_up_to_a_part_behind(from);
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        assert!(!child.wait().unwrap().success());
        // What is kept are the bytes of the blob in their order, without a hole.
        let kept = std::fs::read(world.spool()).unwrap();
        assert!(kept.len() == here && kept == world.large.bytes[..here], "{signal:?} at {here}");
        let before = parts(&world.peer);
        // Asked for again is what lay ahead of that: a part more than there are connections, at most.
        let ahead: usize = before.iter().filter(|(first, _)| *first >= here).map(|(_, length)| length).sum();
        assert!(ahead <= 5 * PART, "{before:?}");
        world.go.store(true, Ordering::SeqCst);
        assert!(world.pull().wait().unwrap().success());
        assert_eq!(streams(&world), [0, here], "{signal:?}");
        let after = &parts(&world.peer)[before.len()..];
        assert!(are_apart(after) && after.iter().all(|(first, _)| *first >= here), "{signal:?}: {after:?}");
        world.assert_whole();
    }
}

#[test]
fn two_pulls_share_a_layer_that_comes_by_several_connections() {
    let world = World::new();
    let (mut first, _) = world.pull_up_to_a_part_behind(9_000_000);
    let mut second = world.pull();
    wait_until_it_waits(&mut second);
    world.go.store(true, Ordering::SeqCst);
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert_eq!(streams(&world), [0]);
    let asked = parts(&world.peer);
    assert!(are_apart(&asked), "{asked:?}");
    world.assert_whole();
}

#[test]
fn who_waits_for_a_pull_by_several_connections_that_dies_takes_over_at_the_byte() {
    let world = World::new();
    let (mut first, here) = world.pull_up_to_a_part_behind(9_000_000);
    let mut second = world.pull();
    wait_until_it_waits(&mut second);
    first.kill().unwrap();
    first.wait().unwrap();
    world.go.store(true, Ordering::SeqCst);
    assert!(second.wait().unwrap().success());
    assert_eq!(streams(&world), [0, here]);
    // Whoever begins next removes what the dead have left.
    assert!(world.pull().wait().unwrap().success());
    world.assert_whole();
}

#[test]
fn content_that_changes_between_ranges_is_refused_and_not_kept() {
    let world = World::new();
    world.doing.lock().unwrap().is_lying = true;
    let refused = run(&world.skiff, &["pull", &world.name()]);
    let digest = Digest::of(&world.large.bytes).to_string();
    assert!(refused.code == 1 && refused.stderr.contains(&digest), "{refused:?}");
    assert!(!world.spool().exists());
    world.doing.lock().unwrap().is_lying = false;
    assert!(world.pull().wait().unwrap().success());
    world.assert_whole();
}

#[test]
fn ranges_that_are_a_lie_are_refused_by_name() {
    let (registry, _content) = testkit::registry();
    let large = gzip(&file("noise", &noise()));
    put(&registry, "a:1", host(), std::slice::from_ref(&large));
    let (address, digest) = (registry.address(), Digest::of(&large.bytes).to_string());
    let peer = Peer::serve(move |seen| {
        let honest = peer::exchange(&address, seen);
        match (seen.path.contains(&digest), asked(seen.header("range"))) {
            (true, Some((first, Some(last)))) => Reply::new(206, honest.body)
                .with("Content-Range", format!("bytes {}-{}/{}", first + 1, last + 1, large.bytes.len())),
            (true, _) => honest.paced(PACE),
            _ => honest,
        }
    });
    let skiff = with_ranges(Skiff::new());
    let refused = run(&skiff, &["pull", &format!("{}/a:1", peer.address())]);
    assert!(refused.code == 1 && refused.stderr.contains("Content-Range"), "{refused:?}");
}

#[test]
fn how_many_connections_read_a_layer_is_a_setting() {
    let world = World::new();
    let set = |text: &str| std::fs::write(world.skiff.settings().join("registries.toml"), text).unwrap();
    for (text, part) in [
        ("[ranges]\nconnections = 0\n", "connections must be 1 to 16"),
        ("[ranges]\nfrom-mebibytes = 0\n", "from-mebibytes must be 1 to"),
        ("[ranges]\nparts = 4\n", "unknown field"),
    ] {
        set(text);
        let refused = run(&world.skiff, &["pull", &world.name()]);
        assert!(refused.code == 1 && refused.stderr.contains(part), "{refused:?}");
    }
    set("[ranges]\nfrom-mebibytes = 1\nconnections = 1\n");
    assert!(world.pull().wait().unwrap().success());
    assert_eq!((streams(&world), parts(&world.peer).len()), (vec![0], 0));
    world.assert_whole();
}
