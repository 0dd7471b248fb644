//! `skiff pull`, and what `run` and `create` pull, from Debian's `docker-registry` on loopback; beside it a proxy of the tests'
//! own that does to the traffic what networks and bad registries do.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use oci::Digest;
use remote::*;
use serde_json::Value;
use testkit::{Peer, Reply, Skiff, busybox_layer, peer, registry, wait_until};

#[test]
fn an_image_is_pulled_and_said_so_in_dockers_words() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let one = put(&registry, "a/hello:one", host(), &hello());
    let other = put(&registry, "a/hello:other", "s390x", &hello()[1..]);
    let index = put_index(&registry, "a/hello:latest", &[("s390x", &other), (host(), &one)]);
    let name = format!("{}/a/hello", registry.address());
    let said = ok(&skiff, &["pull", &name]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from a/hello"]);
    assert_eq!(lines[2..].iter().filter(|line| line.ends_with(": Pull complete")).count(), 2, "{said}");
    let digest = index["digest"].as_str().unwrap();
    let last = [
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}:latest"),
        format!("{name}:latest"),
    ];
    assert_eq!(lines[lines.len() - 3..], last);
    assert_eq!(ok(&skiff, &["run", "--rm", &name]), "hello\n");
    let again = ok(&skiff, &["pull", &name]);
    assert!(
        again.contains("Already exists") && !again.contains("Pulling fs layer\nPull complete"),
        "{again}"
    );
    assert!(again.contains(&format!("Status: Image is up to date for {name}:latest\n")), "{again}");
    // The digest is that of the index, and a name as good as the tag.
    let by_digest = format!("{name}@{digest}");
    assert_eq!(skiff.said("{{json .RepoDigests}}", &name).trim(), format!("[{by_digest:?}]"));
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &by_digest]), "hello\n");
    assert_eq!(ok(&skiff, &["pull", "-q", &format!("{name}:one")]), format!("{name}:one\n"));
    assert!(ok(&skiff, &["image", "verify", &name]).ends_with(": good\n"));
    let all = ok(&skiff, &["pull", "--platform", &format!("linux/{}", host()), &by_digest]);
    assert!(all.ends_with(&format!("{by_digest}\n")), "{all}");
}

#[test]
fn a_mirror_that_the_settings_name_stands_in_for_a_registry() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "library/hello:one", host(), &hello());
    let text = format!(
        "[registry.\"docker.io\".host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        registry.address()
    );
    std::fs::create_dir(skiff.settings()).unwrap();
    std::fs::write(skiff.settings().join("registries.toml"), text).unwrap();
    // It keeps the name under which it was asked for.
    assert!(ok(&skiff, &["pull", "hello:one"]).ends_with("\ndocker.io/library/hello:one\n"));
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", "hello:one"]), "hello\n");
    std::fs::write(skiff.settings().join("registries.toml"), "[registry.\"docker.io\"]\ninsecure = 1\n")
        .unwrap();
    let wrong = run(&skiff, &["pull", "hello:one"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("registries.toml"), "{wrong:?}");
}

#[test]
fn what_is_not_there_is_told_as_docker_does() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let other = put(&registry, "a:other", "s390x", &hello()[1..]);
    put_index(&registry, "a:index", &[("s390x", &other)]);
    let name = |rest: &str| format!("{}/{rest}", registry.address());
    for (arguments, code, parts) in [
        (vec!["pull", &name("a:missing")], 1, vec!["a:missing is not found", "manifest unknown"]),
        (vec!["pull", &name("missing")], 1, vec!["is not found"]),
        (vec!["pull", &name("a:index")], 1, vec!["no matching manifest for linux/"]),
        (
            vec!["pull", "--platform", "linux/mips", &name("a:other")],
            1,
            vec!["no image for platform linux/mips"],
        ),
        (vec!["pull", "-a", &name("a:other")], 1, vec!["tag can't be used with --all-tags/-a"]),
        (vec!["pull", "A"], 1, vec!["must be lowercase"]),
        (vec!["pull", "--progress", "loud", "a"], 125, vec!["\"auto\", \"plain\" or \"json\""]),
        (vec!["run", &name("a:missing")], 125, vec!["Unable to find image", "locally\n", "is not found"]),
        (vec!["run", "--pull=never", &name("a:missing")], 125, vec!["No such image"]),
        (vec!["create", &name("a:missing")], 1, vec!["Unable to find image"]),
    ] {
        let output = run(&skiff, &arguments);
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        assert!(parts.iter().all(|part| output.stderr.contains(part)), "{arguments:?}: {output:?}");
    }
    assert_eq!(ok(&skiff, &["images", "-q"]), "");
}

#[test]
fn run_pulls_what_is_missing_and_always_what_is_newer() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    let name = format!("{}/a:1", registry.address());
    let output = run(&skiff, &["run", "--rm", &name]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "hello\n"), "{output:?}");
    assert!(
        output.stderr.starts_with(&format!("Unable to find image '{name}' locally\n1: Pulling from a\n"))
    );
    assert!(output.stderr.ends_with(&format!("Status: Downloaded newer image for {name}\n")), "{output:?}");
    put(&registry, "a:1", host(), &[gzip(&busybox_layer(&[])), gzip(&file("hello", b"newer\n"))]);
    assert_eq!(ok(&skiff, &["run", "--rm", &name]), "hello\n");
    let output = run(&skiff, &["run", "--rm", "--pull=always", "-q", &name]);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("newer\n", ""));
    let id = ok(&skiff, &["create", "--pull=always", &name]);
    assert_eq!(ok(&skiff, &["start", "-a", id.trim()]), "newer\n");
    ok(&skiff, &["rm", id.trim()]);
}

#[test]
fn all_tags_are_pulled_and_layers_in_common_once() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    for tag in ["x", "y"] {
        put(
            &registry,
            &format!("a:{tag}"),
            host(),
            &[gzip(&busybox_layer(&[])), gzip(&file("hello", tag.as_bytes()))],
        );
    }
    let address = registry.address();
    let seen = Peer::serve(move |seen| peer::exchange(&address, seen));
    let name = format!("{}/a", seen.address());
    let said = ok(&skiff, &["pull", "-a", "--progress", "json", &name]);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<&str> = lines.iter().filter_map(|line| line["status"].as_str()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "Pull complete").count(), 3, "{said}");
    assert_eq!(statuses.iter().filter(|status| **status == "Already exists").count(), 1, "{said}");
    let done = lines.iter().rfind(|line| line["status"] == "Downloading").unwrap();
    assert_eq!(done["progressDetail"]["current"], done["progressDetail"]["total"]);
    for tag in ["x", "y"] {
        assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &format!("{name}:{tag}")]), tag);
    }
    let blobs: Vec<String> = seen.lines().into_iter().filter(|line| line.contains("/blobs/")).collect();
    let mut once = blobs.clone();
    once.sort();
    once.dedup();
    assert_eq!(blobs.len(), once.len(), "nothing is fetched twice: {blobs:?}");
    assert_eq!(once.len(), 5, "two configs and three layers: {blobs:?}");
}

#[test]
fn a_pull_through_a_bad_network_gives_the_same_image() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    put(&registry, "a:1", host(), &[hello().to_vec(), vec![gzip(&file("noise", &noise))]].concat());
    let (address, turns) = (registry.address(), Mutex::new(BTreeMap::<String, u32>::new()));
    let bad = Peer::serve(move |seen| {
        let turn = {
            let mut turns = turns.lock().unwrap();
            let turn = turns.entry(seen.path.clone()).or_default();
            *turn += 1;
            *turn
        };
        let honest = peer::exchange(&address, seen);
        match turn {
            1 => Reply::new(429, "").with("Retry-After", 0),
            2 => honest.cut(400_000),
            3 => Reply::new(503, "").with("Retry-After", 0),
            _ => honest,
        }
    });
    let name = format!("{}/a:1", bad.address());
    ok(&skiff, &["pull", &name]);
    assert_eq!(ok(&skiff, &["run", "--rm", &name]), "hello\n");
    assert!(ok(&skiff, &["image", "verify", &name]).ends_with(": good\n"));
    let ranges: Vec<String> = bad.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
    assert!(
        ranges.iter().any(|range| range.starts_with("bytes=")),
        "it went on where it was cut: {ranges:?}"
    );
}

#[test]
fn damaged_and_lying_content_stops_the_pull_and_leaves_nothing() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let good = hello();
    let size = good[1].bytes.len();
    let digest = Digest::of(&good[1].bytes).to_string();
    put(&registry, "a:1", host(), &good);
    // Its config says something else of the layer than is in it.
    let lie = Blob { diff_id: Digest::of(b"else").to_string(), ..gzip(&file("x", b"x")) };
    put(&registry, "a:lie", host(), &[lie]);
    let address = registry.address();
    let is_damaging = Arc::new(AtomicBool::new(true));
    let damaging = Arc::clone(&is_damaging);
    let wanted = digest.clone();
    let bad = Peer::serve(move |seen| {
        let mut reply = peer::exchange(&address, seen);
        if seen.path.contains(&wanted) && damaging.load(Ordering::SeqCst) {
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 0x40;
        }
        reply
    });
    let name = |tag: &str| format!("{}/a:{tag}", bad.address());
    let output = run(&skiff, &["pull", &name("1")]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(&digest), "{output:?}");
    let output = run(&skiff, &["pull", &name("lie")]);
    assert_eq!(output.code, 1, "{output:?}");
    let (says, is) = (Digest::of(b"else").to_string(), Digest::of(&file("x", b"x")).to_string());
    assert!(output.stderr.contains(&says) && output.stderr.contains(&is), "{output:?}");
    assert_eq!(ok(&skiff, &["images", "-aq"]), "");
    // The layer that is good is kept for the next attempt, unless its space is wanted.
    let left = |folder: &str| std::fs::read_dir(skiff.root().join(folder)).unwrap().count();
    assert!(left("layers") <= 1 && left("partial") <= 1, "of {size} bytes");
    ok(&skiff, &["image", "prune", "-f"]);
    for folder in ["layers", "partial", "images", "tmp", "blobs"] {
        assert_eq!(left(folder), 0, "{folder} of {size} bytes");
    }
    is_damaging.store(false, Ordering::SeqCst);
    ok(&skiff, &["pull", &name("1")]);
    assert_eq!(ok(&skiff, &["run", "--rm", &name("1")]), "hello\n");
}

#[test]
fn a_pull_that_is_killed_leaves_nothing_behind_once_the_next_begins() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    let slow = Digest::of(&hello()[1].bytes).to_string();
    let address = registry.address();
    let is_slow = Arc::new(AtomicBool::new(true));
    let slows = Arc::clone(&is_slow);
    let peer = Peer::serve(move |seen| {
        let honest = peer::exchange(&address, seen);
        match seen.path.contains(&slow) && slows.load(Ordering::SeqCst) {
            true => Reply { delay: std::time::Duration::from_secs(20), ..honest },
            false => honest,
        }
    });
    let name = format!("{}/a:1", peer.address());
    let tmp = skiff.root().join("tmp");
    let scratch = || std::fs::read_dir(&tmp).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries = |folder: &str| std::fs::read_dir(skiff.root().join(folder)).map_or(0, Iterator::count);
    let mut command = skiff.command(&["pull", &name]);
    command.stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_until("one layer has come and the other is waited for", || entries("layers") == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scratch().count(), 1);
    assert_eq!(ok(&skiff, &["images", "-aq"]), "");
    is_slow.store(false, Ordering::SeqCst);
    let said = ok(&skiff, &["pull", &name]);
    assert!(said.contains("Already exists"), "what was whole is not fetched again: {said}");
    assert_eq!((scratch().count(), entries("partial")), (0, 0));
    assert_eq!(ok(&skiff, &["run", "--rm", &name]), "hello\n");
}

#[test]
fn a_prune_beside_a_pull_neither_waits_for_it_nor_takes_anything_from_it() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    put(&registry, "a:base", host(), &hello()[..1]);
    let slow = Digest::of(&hello()[1].bytes).to_string();
    let address = registry.address();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let peer = Peer::serve(move |seen| {
        if seen.path.contains(&slow) {
            gate.lock().unwrap().recv().unwrap_or_default();
        }
        peer::exchange(&address, seen)
    });
    let name = |tag: &str| format!("{}/a:{tag}", peer.address());
    ok(&skiff, &["pull", &name("base")]);
    let mut pull = skiff.command(&["pull", &name("1")]);
    let mut pull = pull.stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the layer that is missing is asked for", || {
        peer.seen().iter().any(|seen| {
            seen.path.contains("sha256:") && seen.path.contains(&*Digest::of(&hello()[1].bytes).to_string())
        })
    });
    let layers = || std::fs::read_dir(skiff.root().join("layers")).unwrap().count();
    // The image goes, and not the layer which the pull has found.
    assert!(ok(&skiff, &["image", "prune", "-af"]).contains("deleted: sha256:"));
    assert_eq!((layers(), pull.try_wait().unwrap()), (1, None));
    drop(go);
    assert!(pull.wait().unwrap().success());
    assert!(ok(&skiff, &["image", "verify", &name("1")]).ends_with(": good\n"));
    ok(&skiff, &["rmi", &name("1")]);
    assert_eq!(layers(), 0);
}

#[test]
fn waits_and_limits_are_told_and_can_be_set() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    let (address, turns) = (registry.address(), Mutex::new(BTreeMap::<String, u32>::new()));
    let is_bad = Arc::new(AtomicBool::new(false));
    let bad = Arc::clone(&is_bad);
    let peer = Peer::serve(move |seen| {
        let turn = {
            let mut turns = turns.lock().unwrap();
            let turn = turns.entry(seen.path.clone()).or_default();
            *turn += 1;
            *turn
        };
        let honest = peer::exchange(&address, seen);
        if bad.load(Ordering::SeqCst) {
            return Reply::new(503, "");
        }
        match (turn, seen.path.contains("/blobs/")) {
            (1, false) => Reply::new(429, "").with("Retry-After", 1),
            (1, true) if honest.body.len() > 1000 => honest.cut(10),
            _ => honest.with("RateLimit-Limit", "100;w=21600").with("RateLimit-Remaining", "7;w=21600"),
        }
    });
    let name = format!("{}/a:1", peer.address());
    let said = ok(&skiff, &["pull", "--progress", "plain", &name]);
    assert!(said.contains("Retrying in 1 second (attempt 2 of 6): "), "{said}");
    assert!(said.contains("takes no more requests for now"), "{said}");
    let busybox = Digest::of(&hello()[0].bytes);
    let id = &busybox.encoded()[..12];
    assert!(said.contains(&format!("{id}: Retrying in 1 second (attempt 2 of 6): GET http://")), "{said}");
    let left = format!("{} lets you make 7 more of 100 requests within 360 minutes\n", peer.address());
    assert_eq!(said.matches(&left).count(), 1, "{said}");
    std::fs::create_dir_all(skiff.settings()).unwrap();
    let set = |text: &str| std::fs::write(skiff.settings().join("registries.toml"), text).unwrap();
    is_bad.store(true, Ordering::SeqCst);
    set("[patience]\nattempts = 2\n");
    let before = peer.seen().len();
    let output = run(&skiff, &["pull", "--progress", "json", &name]);
    assert_eq!((output.code, peer.seen().len() - before), (1, 2), "{output:?}");
    let told: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.iter().any(|line| line["status"] == "Retrying in 1 second"), "{told:?}");
    let before = peer.seen().len();
    assert_eq!(run(&skiff, &["pull", "-q", &name]).stdout, "");
    assert_eq!(peer.seen().len() - before, 2);
    for (text, part) in [
        ("[patience]\nattempts = 0\n", "attempts must be 1 to 100"),
        ("[patience]\nwait = 1\n", "unknown field"),
    ] {
        set(text);
        let output = run(&skiff, &["pull", &name]);
        assert!(output.code == 1 && output.stderr.contains(part), "{output:?}");
    }
}
