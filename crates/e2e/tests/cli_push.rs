//! `skiff push`: to Debian's `docker-registry`, and to our own with TLS and passwords; over lines that break; read back by
//! others.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod oci;
mod registry;

use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{Done, Lab, require, run as run_command};
use testkit::{
    Cutter, Entry, Output, Registry, RegistryOptions, Scratch, Skiff, archive_of_layers, busybox_layer,
    calls_of, kill_at, layer,
};

/// Whoever set things up for the user that runs the tests is left out.
fn run(skiff: &Skiff, arguments: &[&str]) -> Output {
    let mut command = skiff.command(arguments);
    command.env("DOCKER_CONFIG", skiff.folder());
    Output::of(command.output().unwrap())
}

/// Tells a skiff which authority a registry has.
fn trust(skiff: &Skiff, host: &str, certificate: &std::path::Path) {
    std::fs::create_dir_all(skiff.settings()).unwrap();
    let toml = format!("[registry.\"{host}\"]\nca = {certificate:?}\n");
    std::fs::write(skiff.settings().join("registries.toml"), toml).unwrap();
}

#[track_caller]
fn ok(skiff: &Skiff, arguments: &[&str]) -> String {
    let output = run(skiff, arguments);
    assert_eq!(output.code, 0, "{arguments:?}: {output:?}");
    output.stdout
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A skiff with busybox and two layers more, one of them large.
fn loaded() -> Skiff {
    let skiff = Skiff::new();
    let large = noise(6 << 20);
    let layers = [
        busybox_layer(&[]),
        layer(&[Entry::File("large", 0o644, &large)]),
        layer(&[Entry::File("hello", 0o644, b"hello\n")]),
    ];
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    skiff.load(&archive_of_layers("hello:latest", &layers, serde_json::json!({"Cmd": ["cat", "/hello"]})));
    skiff
}

/// The digest that a push ends with.
#[track_caller]
fn digest_of(said: &str) -> String {
    let last = said.lines().last().unwrap_or_default();
    let (_, rest) = last.split_once(": digest: ").unwrap_or_else(|| panic!("{said}"));
    let (digest, size) = rest.split_once(" size: ").unwrap();
    assert!(digest.starts_with("sha256:") && size.parse::<u64>().is_ok(), "{said}");
    digest.to_owned()
}

fn count(said: &str, status: &str) -> usize {
    said.lines().filter(|line| line.split_once(": ").is_some_and(|(_, found)| found == status)).count()
}

fn registry() -> (Registry, Scratch) {
    testkit::registry()
}

#[test]
fn an_image_is_pushed_and_said_so_in_dockers_words() {
    let (registry, _content) = registry();
    let skiff = loaded();
    let name = format!("{}/team/hello", registry.address());
    ok(&skiff, &["tag", "hello", &name]);
    let said = ok(&skiff, &["push", &name]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", &format!("The push refers to repository [{name}]")]);
    assert_eq!((count(&said, "Preparing"), count(&said, "Pushed")), (3, 3), "{said}");
    // Those on top come first, by the digests of their tars.
    let id = ok(&skiff, &["image", "inspect", "-f", "{{index .RootFS.Layers 2}}", "hello"]);
    assert!(lines[2].starts_with(&id["sha256:".len()..][..12]), "{id}{said}");
    let digest = digest_of(&said);
    assert_eq!(lines.last().unwrap().split(':').next(), Some("latest"));
    assert!(ok(&skiff, &["images", "--digests"]).contains(&digest));
    let digests = ok(&skiff, &["image", "inspect", "-f", "{{.RepoDigests}}", "hello"]);
    assert!(digests.contains(&format!("{name}@{digest}")), "{digests}");
    assert_eq!(skiff.actions(&format!("{name}:latest")), ["tag", "push"]);

    let again = ok(&skiff, &["image", "push", &name]);
    assert_eq!((count(&again, "Layer already exists"), digest_of(&again)), (3, digest.clone()), "{again}");
    assert_eq!(ok(&skiff, &["push", "-q", "--disable-content-trust", &name]), format!("{name}:latest\n"));
    let json = ok(&skiff, &["push", "--progress", "json", &name]);
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{json}");

    // Elsewhere it is the same image, and runs; pushed on from there, it is the same manifest.
    let other = Skiff::new();
    ok(&other, &["pull", &name]);
    let id = |skiff: &Skiff| ok(skiff, &["image", "inspect", "-f", "{{.Id}}", &name]);
    assert_eq!(id(&skiff), id(&other));
    assert_eq!(ok(&other, &["run", "--rm", &name]), "hello\n");
    let second = format!("{}/other/place:v2", registry.address());
    ok(&other, &["tag", &name, &second]);
    let mounted = ok(&other, &["push", &second]);
    assert_eq!((count(&mounted, "Mounted from team/hello"), digest_of(&mounted)), (3, digest), "{mounted}");
}

#[test]
fn a_blob_comes_from_where_it_was_pulled_and_is_compressed_anew_only_without_that() {
    let ((first, _one), (second, _two), (third, _three)) = (registry(), registry(), registry());
    let skiff = loaded();
    let name = format!("{}/a", first.address());
    ok(&skiff, &["tag", "hello", &name]);
    let made = digest_of(&ok(&skiff, &["push", &name]));
    // Somebody else compresses otherwise.
    require("skopeo", "skopeo");
    let zstd = format!("docker://{}/zstd:1", first.address());
    let flags = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let mut copy = Command::new("skopeo");
    copy.args(flags).args(["--dest-compress-format=zstd", "--dest-force-compress-format", "--format=oci"]);
    copy.args([format!("docker://{name}:latest"), zstd]);
    let done = run_command(&mut copy);
    let done = if done.code == 0 { done } else { plain_zstd(&skiff, &first, &flags) };
    assert_eq!(done.code, 0, "{done:?}");

    let other = Skiff::new();
    let from = format!("{}/zstd:1", first.address());
    let pulled = ok(&other, &["pull", &from]);
    let digest = pulled.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    assert_ne!(digest, made);
    let (to, last) = (format!("{}/b:1", second.address()), format!("{}/c:1", third.address()));
    ok(&other, &["tag", &from, &to]);
    ok(&other, &["tag", &from, &last]);
    let streamed = run(&other, &["push", &to]);
    assert_eq!((streamed.code, digest_of(&streamed.stdout)), (0, digest.clone()), "{streamed:?}");
    assert_eq!(streamed.stderr, "");

    drop(first);
    drop(second);
    let anew = run(&other, &["push", &last]);
    assert_eq!(anew.code, 0, "{anew:?}");
    assert_ne!(digest_of(&anew.stdout), digest);
    assert!(anew.stderr.contains(&digest) && anew.stderr.contains("compressed anew"), "{anew:?}");
    assert_eq!(ok(&other, &["run", "--rm", "--pull=always", &last]), "hello\n");
}

/// An older skopeo compresses as it is told only what is not compressed.
fn plain_zstd(skiff: &Skiff, registry: &Registry, flags: &[&str]) -> Done {
    let archive = skiff.folder().join("saved.tar");
    ok(skiff, &["save", "-o", archive.to_str().unwrap(), "hello"]);
    let mut copy = Command::new("skopeo");
    copy.args(flags).args(["--dest-compress-format=zstd", "--format=oci"]);
    copy.arg(format!("docker-archive:{}", archive.display()));
    run_command(copy.arg(format!("docker://{}/zstd:1", registry.address())))
}

#[test]
fn what_cannot_be_pushed_is_refused_in_dockers_words() {
    let (registry, _content) = registry();
    let skiff = loaded();
    let name = format!("{}/a", registry.address());
    ok(&skiff, &["tag", "hello", &format!("{name}:here")]);
    let id = ok(&skiff, &["images", "-q", "hello"]);
    let none = format!("{}/none", registry.address());
    let by_digest = format!("{name}@sha256:{}", "0".repeat(64));
    for (arguments, error) in [
        (&[none.as_str()][..], format!("An image does not exist locally with the tag: {none}")),
        (&[id.trim()], format!("An image does not exist locally with the tag: {}", id.trim())),
        (&["-a", &none], format!("An image does not exist locally with the tag: {none}")),
        (&[&name], format!("tag does not exist: {name}:latest")),
        (&[&by_digest], "cannot push a digest reference".to_owned()),
        (&["-a", &format!("{name}:here")], "tag can't be used with --all-tags/-a".to_owned()),
        (&["Upper"], "invalid reference".to_owned()),
        (&["--platform", "linux/s390x", &format!("{name}:here")], "linux/s390x".to_owned()),
    ] {
        let refused = run(&skiff, &[&["push"], arguments].concat());
        assert!(refused.code == 1 && refused.stderr.contains(&error), "{arguments:?}: {refused:?}");
    }
    drop(registry);
    let gone = run(&skiff, &["push", &format!("{name}:here")]);
    assert!(gone.code == 1 && gone.stderr.contains(&name), "{gone:?}");
}

#[test]
fn all_tags_of_a_repository_are_pushed() {
    let (registry, _content) = registry();
    let skiff = loaded();
    let name = format!("{}/a", registry.address());
    for tag in ["one", "two"] {
        ok(&skiff, &["tag", "hello", &format!("{name}:{tag}")]);
    }
    ok(&skiff, &["tag", "hello", &format!("{}/b:three", registry.address())]);
    let said = ok(&skiff, &["push", "--all-tags", &name]);
    let ends: Vec<&str> =
        said.lines().filter(|line| line.contains(": digest: ")).map(|line| &line[..3]).collect();
    assert_eq!(ends, ["one", "two"]);
    assert_eq!(count(&said, "Layer already exists"), 3, "{said}");
    assert_eq!(ok(&skiff, &["push", "-aq", &name]), format!("{name}:one\n{name}:two\n"));
    let mut tags: Vec<String> = ok(&skiff, &["image", "tags", &name]).lines().map(str::to_owned).collect();
    tags.sort();
    assert!(
        tags.iter().any(|tag| tag.ends_with("one")) && tags.iter().any(|tag| tag.ends_with("two")),
        "{tags:?}"
    );
}

#[test]
fn a_push_over_a_line_that_breaks_goes_on_at_the_byte() {
    let server = registry::Registry::start(&[]);
    let skiff = loaded();
    let line = Cutter::new(&server.address.to_string(), &[3 << 20, 1 << 20]);
    let name = format!("{}/a:1", line.address());
    ok(&skiff, &["tag", "hello", &name]);
    let digest = digest_of(&ok(&skiff, &["push", &name]));
    assert_eq!(line.left(), 0, "nothing was cut");
    // The large layer alone is 6 MiB, and nothing of it that had arrived was sent twice.
    assert!(line.carried() < 9 << 20, "{} bytes were sent", line.carried());
    let manifest = server.head(&format!("/v2/a/manifests/{digest}"));
    assert_eq!(manifest.status, 200);
    let direct = format!("{}/a:1", server.address);
    let other = Skiff::new();
    ok(&other, &["pull", &direct]);
    assert_eq!(ok(&other, &["run", "--rm", &direct]), "hello\n");
    assert!(server.root().join("uploads").read_dir().unwrap().next().is_none(), "an upload is left");
}

/// A registry of ours with TLS and a password, as skiffs know it.
fn protected() -> registry::Registry {
    require("htpasswd", "apache2-utils");
    registry::Registry::prepared(|skiff| {
        let folder = skiff.folder();
        let users = folder.join("users");
        let mut command = Command::new("htpasswd");
        let done = run_command(command.args(["-cbB", "-C", "5"]).arg(&users).args(["alice", "secret"]));
        assert_eq!(done.code, 0, "{done:?}");
        let config = "[auth]\nhtpasswd = \"users\"\nscheme = \"bearer\"\n[[auth.rule]]\nusers = [\"alice\"]\n\
            repositories = [\"**\"]\nactions = [\"pull\", \"push\", \"delete\"]\n";
        std::fs::write(folder.join("registry.toml"), config).unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::create_dir(folder.join("certs")).unwrap();
        std::fs::write(folder.join("certs/ca.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
        let words = ["--config", "registry.toml", "--tls-cert", "certs/ca.crt", "--tls-key", "server.key"];
        words.map(str::to_owned).to_vec()
    })
}

#[test]
fn what_is_pushed_to_our_own_registry_with_tls_and_a_password_is_read_by_others() {
    let server = protected();
    let skiff = loaded();
    let host = server.address.to_string();
    let certificates = server.skiff.folder().join("certs");
    trust(&skiff, &host, &certificates.join("ca.crt"));
    let name = format!("{host}/team/hello:v1");
    ok(&skiff, &["tag", "hello", &name]);
    let denied = run(&skiff, &["push", &name]);
    assert!(denied.code == 1 && denied.stderr.contains("denied"), "{denied:?}");
    let mut login = skiff.command(&["login", "-u", "alice", "-p", "secret", &host]);
    let login = Output::of(login.env("DOCKER_CONFIG", skiff.folder()).output().unwrap());
    assert_eq!(login.code, 0, "{login:?}");
    let digest = digest_of(&ok(&skiff, &["push", &name]));
    let second = format!("{host}/other/hello:v1");
    ok(&skiff, &["tag", "hello", &second]);
    let mounted = ok(&skiff, &["push", &second]);
    assert_eq!((count(&mounted, "Mounted from team/hello"), digest_of(&mounted)), (3, digest.clone()));

    let id = ok(&skiff, &["image", "inspect", "-f", "{{.Id}}", "hello"]).trim().to_owned();
    let lab = Lab::new("push-peers");
    let certificates = certificates.display().to_string();
    for program in ["skopeo", "podman", "buildah"] {
        require(program, program);
    }
    let fine = |mut command: Command| {
        let done = run_command(&mut command);
        assert_eq!(done.code, 0, "{command:?}: {done:?}");
        done.out.trim().to_owned()
    };
    let mut inspect = Command::new("skopeo");
    inspect.args([
        "inspect",
        "--cert-dir",
        &certificates,
        "--creds",
        "alice:secret",
        "--format",
        "{{.Digest}}",
    ]);
    inspect.arg(format!("docker://{name}"));
    assert_eq!(fine(inspect), digest);
    let storage = ["--root", &lab.text("root"), "--runroot", &lab.text("runroot"), "--storage-driver", "vfs"];
    for program in ["podman", "buildah"] {
        let mut pull = Command::new(program);
        pull.args(storage).args(["pull", "--cert-dir", &certificates, "--creds", "alice:secret"]);
        assert_eq!(
            format!(
                "sha256:{}",
                fine({
                    pull.arg(&name);
                    pull
                })
                .lines()
                .last()
                .unwrap()
            ),
            id,
            "{program}"
        );
        let mut remove = Command::new(program);
        remove.args(storage).args(["rmi", "--all", "--force"]);
        fine(remove);
    }
}

#[test]
fn docker_pulls_what_was_pushed_and_finds_its_layers_there() {
    let server = registry::Registry::start(&[]);
    let skiff = loaded();
    let name = format!("{}/team/hello:v1", server.address);
    ok(&skiff, &["tag", "hello", &name]);
    let digest = digest_of(&ok(&skiff, &["push", &name]));
    let docker = Dockerd::start("push-docker", |_| Vec::new());
    let fine = |words: &[&str]| {
        let done = docker.run(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out.trim().to_owned()
    };
    assert!(fine(&["pull", &name]).contains(&digest));
    let id = ok(&skiff, &["image", "inspect", "-f", "{{.Id}}", "hello"]);
    assert_eq!(fine(&["image", "inspect", "--format", "{{.Id}}", &name]), id.trim());
    // Docker says the same of a second push as we do, but for the digest: it makes a manifest of its own kind.
    let theirs = fine(&["push", &name]);
    assert_eq!(count(&theirs, "Layer already exists"), 3, "{theirs}");
    assert_eq!(count(&ok(&skiff, &["push", &name]), "Layer already exists"), 3);
}

#[test]
fn a_push_may_be_killed_at_any_moment() {
    let server = registry::Registry::start(&[]);
    let skiff = Skiff::new();
    let tar = layer(&[Entry::File("hello", 0o644, &noise(3000))]);
    skiff.load(&archive_of_layers("hello:latest", &[&tar], serde_json::json!({})));
    let name = format!("{}/a:1", server.address);
    ok(&skiff, &["tag", "hello", &name]);
    let push = ["push", &name];
    let calls = calls_of(&skiff, &push);
    let forget = || {
        let known = server.get("/v2/a/tags/list");
        if known.status == 200 {
            server.delete("/v2/a/manifests/1");
        }
    };
    let (mut tried, mut killed) = (0, 0);
    let mut digests = std::collections::BTreeSet::new();
    for call in calls.iter().step_by(calls.len() / 40 + 1) {
        forget();
        tried += 1;
        killed += usize::from(!kill_at(&skiff, call, &push).success());
        // The next one goes on, whatever the first one came to, and leaves nothing behind.
        digests.insert(digest_of(&ok(&skiff, &push)));
        let left: Vec<_> = std::fs::read_dir(skiff.root().join("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(run(&skiff, &["image", "verify"]).code, 0);
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert!(killed * 10 >= tried * 7, "{killed} of {tried} were killed: the test shows little");
}

#[test]
fn a_registry_over_tls_with_a_password_of_debians_takes_a_push() {
    let scratch = Scratch::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (scratch.join("ca.crt"), scratch.join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let htpasswd = scratch.join("htpasswd");
    std::fs::write(&htpasswd, "user:$2b$05$abcdefghijklmnopqrstuuWqeDdmk0qhXLYvA33lbC9M700ynI2Oa\n").unwrap();
    let options = RegistryOptions { tls: Some((certificate.clone(), key)), htpasswd: Some(htpasswd) };
    let server = Registry::start(&scratch, &options);
    let skiff = loaded();
    trust(&skiff, &server.address(), &certificate);
    let config =
        serde_json::json!({"auths": {server.address(): {"username": "user", "password": "se:cret"}}});
    std::fs::write(skiff.folder().join("config.json"), config.to_string()).unwrap();
    let name = format!("{}/a:1", server.address());
    ok(&skiff, &["tag", "hello", &name]);
    digest_of(&ok(&skiff, &["push", &name]));
    let other = Skiff::new();
    trust(&other, &server.address(), &certificate);
    std::fs::copy(skiff.folder().join("config.json"), other.folder().join("config.json")).unwrap();
    ok(&other, &["pull", &name]);
    assert_eq!(ok(&other, &["run", "--rm", &name]), "hello\n");
}
