//! What `push`, `image copy` and `image repair` say while they wait before another attempt: as lines, as JSON, on a terminal.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod registry;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use oci::Digest;
use serde_json::Value;
use testkit::{Output, Peer, Reply, Skiff, Terminal, archive_of_layers, busybox_layer, peer};

/// A registry of ours behind a peer that refuses once what is asked in one of these ways of each path.
struct World {
    _registry: registry::Registry,
    peer: Peer,
    refused: Arc<Mutex<Refused>>,
    skiff: Skiff,
    layer: String,
}

/// Which requests are refused, each of them once.
#[derive(Default)]
struct Refused {
    methods: Vec<&'static str>,
    done: BTreeSet<(String, String)>,
}

impl World {
    fn new() -> World {
        let registry = registry::Registry::start(&[]);
        let refused = Arc::new(Mutex::new(Refused::default()));
        let (address, rules) = (registry.address.to_string(), Arc::clone(&refused));
        let peer = Peer::serve(move |seen| {
            let is_refused = {
                let mut rules = rules.lock().unwrap();
                let is_meant = rules.methods.contains(&seen.method.as_str()) && seen.path.contains("/blobs/");
                is_meant && rules.done.insert((seen.method.clone(), seen.path.clone()))
            };
            match is_refused {
                true => Reply::new(503, "").with("Retry-After", 1),
                false => peer::exchange(&address, seen),
            }
        });
        let skiff = Skiff::new();
        let layer = busybox_layer(&[]);
        skiff.load(&archive_of_layers("hello:latest", &[&layer], serde_json::json!({"Cmd": ["true"]})));
        let layer = Digest::of(&layer).encoded().to_owned();
        World { _registry: registry, peer, refused, skiff, layer }
    }

    /// From now on each request by these methods is refused once.
    fn refuse(&self, methods: &[&'static str]) {
        *self.refused.lock().unwrap() = Refused { methods: methods.to_vec(), done: BTreeSet::new() };
    }

    /// A repository of the registry to which the image may go.
    fn repository(&self, name: &str) -> String {
        let name = format!("{}/{name}:1", self.peer.address());
        self.skiff.ok(&["tag", "hello", &name]);
        name
    }

    /// The only blob of a repository's image.
    fn blob(&self, name: &str) -> String {
        let inspected = self.ok(&["manifest", "inspect", name]);
        let manifest: Value = serde_json::from_str(&inspected).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned()
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = self.skiff.command(words);
        Output::of(command.env("DOCKER_CONFIG", self.skiff.folder()).output().unwrap())
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.code, 0, "{words:?}: {output:?}");
        output.stdout
    }
}

/// What is said of a wait for `id` before a request.
fn line(id: &str, request: &str) -> String {
    format!("{}: Retrying in 1 second (attempt 2 of 6): {request} http://", &id[..12])
}

/// The lines that say so to programs: their ids and what they say besides.
fn told(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let waits = lines.filter(|line| line["status"] == "Retrying in 1 second");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    waits.map(|line| (text(&line["id"]), text(&line["detail"]))).collect()
}

#[test]
fn a_push_tells_for_which_layer_it_waits() {
    let world = World::new();
    world.refuse(&["HEAD", "POST"]);
    let name = world.repository("plain");
    let said = world.ok(&["push", "--progress", "plain", &name]);
    // The layer is compressed, so nobody knows its blob before: it is asked for a place alone.
    assert!(said.contains(&line(&world.layer, "POST")), "{said}");
    assert!(said.contains("answers 503"), "{said}");
    let blob = world.blob(&name);
    assert_ne!(blob, world.layer);

    let name = world.repository("json");
    let said = world.ok(&["push", "--progress", "json", &name]);
    let told = told(&said);
    let of_layer: Vec<_> = told.iter().filter(|(id, _)| *id == world.layer[..12]).collect();
    assert!(of_layer.iter().any(|(_, detail)| detail.contains("HEAD http://")), "{said}");

    assert_eq!(world.ok(&["push", "-q", &world.repository("quiet")]).lines().count(), 1);

    let name = world.repository("live");
    let mut command = world.skiff.command(&["push", &name]);
    command.env("DOCKER_CONFIG", world.skiff.folder());
    let mut terminal = Terminal::start(&command, 120, 24);
    terminal.expect(&format!("{}: Retrying in 1 second (attempt 2 of 6): ", &world.layer[..12]));
    terminal.expect("digest: sha256:");
    let (code, all) = terminal.finish();
    assert_eq!(code, 0, "{all}");
}

#[test]
fn a_copy_tells_for_which_blob_it_waits() {
    let world = World::new();
    let name = world.repository("a");
    world.ok(&["push", &name]);
    let blob = world.blob(&name);
    world.refuse(&["HEAD"]);
    let target = |name: &str| format!("{}/{name}:1", world.peer.address());
    let said = world.ok(&["image", "copy", "--progress", "plain", &name, &target("b")]);
    assert!(said.contains(&line(&blob, "HEAD")), "{said}");
    let said = world.ok(&["image", "copy", "--progress", "json", &name, &target("c")]);
    assert!(told(&said).iter().any(|(id, _)| *id == blob[..12]), "{said}");
}

#[test]
fn a_repair_tells_for_which_layer_it_waits() {
    let world = World::new();
    let name = world.repository("a");
    world.ok(&["push", &name]);
    let blob = world.blob(&name);
    let other = Skiff::new();
    let damage = || {
        let path = other.root().join("layers").join(format!("{}.tar", world.layer));
        drop(linux::file::set_immutable(std::fs::File::open(&path).unwrap(), false));
        std::fs::remove_file(path).unwrap();
    };
    let repair = |words: &[&str]| {
        let mut command = other.command(&[&["image", "repair"], words, &[name.as_str()]].concat());
        command.env("DOCKER_CONFIG", other.folder());
        let output = Output::of(command.output().unwrap());
        assert_eq!(output.code, 0, "{output:?}");
        output.stderr
    };
    other.ok(&["pull", &name]);
    damage();
    world.refuse(&["GET"]);
    let said = repair(&["--progress", "plain"]);
    assert!(said.contains(&line(&blob, "GET")), "{said}");
    damage();
    world.refuse(&["GET"]);
    let said = repair(&["--progress", "json"]);
    assert!(told(&said).iter().any(|(id, _)| *id == blob[..12]), "{said}");
}
