//! `build --cache-mounts-to` and `--cache-mounts-from`: what programs keep in cache mounts goes from one machine to the next.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Output, Peer, Scratch, Skiff, peer};

/// A machine that has built nothing yet.
struct Machine {
    skiff: Skiff,
}

/// Says what it finds in the mount, and keeps one more line there.
const DOCKERFILE: &str = "FROM busybox\nARG WHO=first\n\
    RUN --mount=type=cache,id=kept,target=/c cat /c/deep/lines > /found 2>/dev/null || echo nothing > /found; \
    mkdir -p /c/deep; echo $WHO >> /c/deep/lines; ln -sf deep/lines /c/link; [ -e /c/pipe ] || mkfifo /c/pipe\n";

impl Machine {
    fn new(dockerfile: &str) -> Machine {
        let machine = Machine { skiff: Skiff::with_busybox().that_builds() };
        std::fs::create_dir(machine.skiff.folder().join("context")).unwrap();
        machine.write(dockerfile);
        machine
    }

    fn write(&self, dockerfile: &str) {
        std::fs::write(self.skiff.folder().join("context/Dockerfile"), dockerfile).unwrap();
    }

    fn try_build(&self, flags: &[&str]) -> Output {
        let fixed = ["build", "--progress=plain", "--network=none", "-t", "made"];
        self.skiff.run(&[&fixed[..], flags, &["context"]].concat())
    }

    fn build(&self, flags: &[&str]) -> String {
        let output = self.try_build(flags);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn found(&self) -> String {
        self.skiff.ok(&["run", "--rm", "made", "cat", "/found"])
    }

    fn mounts(&self) -> Vec<PathBuf> {
        let folder = self.skiff.root().join("cache/mounts");
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("data"))
            .collect()
    }
}

fn from(place: &str) -> String {
    format!("--cache-mounts-from={place}")
}

fn to(place: &str) -> String {
    format!("--cache-mounts-to={place}")
}

/// The blobs of an artifact in a layout: ids and digests.
fn blobs(layout: &Path) -> Vec<(String, String)> {
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let index = read(layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let manifest = read(layout.join("blobs/sha256").join(digest));
    assert_eq!(manifest["artifactType"], "application/vnd.skiff.cachemounts.v1");
    let layers = manifest["layers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    layers
        .map(|layer| (text(&layer["annotations"]["dev.skiff.cachemount.id"]), text(&layer["digest"])))
        .collect()
}

#[test]
fn the_next_machine_finds_what_the_last_one_kept() {
    let (registry, _folder) = testkit::registry();
    let shared = Scratch::new();
    let local = shared.join("mounts").display().to_string();
    let reference = format!("{}/mounts:1", registry.address());
    let places = [
        (format!("type=local,dest={local}"), format!("type=local,src={local}")),
        (
            format!("type=local,dest={local},tag=gz,compression=gzip"),
            format!("type=local,src={local},tag=gz"),
        ),
        (format!("type=tar,dest={local}.tar"), format!("type=tar,src={local}.tar")),
        (format!("type=registry,ref={reference}"), reference.clone()),
        (
            format!("type=registry,ref={reference}-tar,compression=uncompressed"),
            format!("type=registry,ref={reference}-tar"),
        ),
    ];
    let first = Machine::new(DOCKERFILE);
    let flags: Vec<String> = places.iter().map(|(dest, _)| to(dest)).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let told = first.build(&flags);
    assert_eq!(first.found(), "nothing\n");
    assert!(told.contains("exporting cache mounts to"), "{told}");
    for (_, src) in &places {
        let next = Machine::new(DOCKERFILE);
        let told = next.build(&["--build-arg=WHO=second", &from(src)]);
        assert_eq!(next.found(), "first\n", "{src}");
        assert!(
            told.contains("importing cache mounts from") && told.contains("filling cache mount kept"),
            "{told}"
        );
        let data = &next.mounts()[0];
        assert_eq!(std::fs::read_to_string(data.join("deep/lines")).unwrap(), "first\nsecond\n");
        assert_eq!(std::fs::read_link(data.join("link")).unwrap(), Path::new("deep/lines"));
        // What is here counts before what others kept.
        next.build(&["--no-cache", "--build-arg=WHO=third", &from(src)]);
        assert_eq!(next.found(), "first\nsecond\n", "{src}");
        // Unless nothing is.
        std::fs::remove_dir_all(data).unwrap();
        std::fs::create_dir(data).unwrap();
        next.build(&["--no-cache", &from(src)]);
        assert_eq!(next.found(), "first\n", "{src}");
    }
}

#[test]
fn owners_modes_and_times_come_along() {
    let shared = Scratch::new();
    let place = shared.join("mounts").display().to_string();
    let dockerfile = "FROM busybox\nUSER 1000:1000\nWORKDIR /tmp\n\
        RUN --mount=type=cache,id=own,target=/c,uid=1000,gid=1000,mode=0750 stat -c '%a %u:%g' /c > /tmp/found; \
        ls /c > /tmp/list; cat /c/x >> /tmp/found; [ -e /c/x ] || { echo x > /c/x; chmod 640 /c/x; touch -d @1700000000 /c/x; }; \
        stat -c '%a %u:%g %Y' /c/x >> /tmp/found\n\
        FROM busybox\nCOPY --from=0 /tmp/found /found\n";
    let first = Machine::new(dockerfile);
    first.build(&[&to(&format!("type=local,dest={place}"))]);
    assert_eq!(first.found(), "750 1000:1000\n640 1000:1000 1700000000\n");
    let next = Machine::new(dockerfile);
    next.build(&[
        &from(&format!("type=local,src={place}")),
        &to(&format!("type=local,dest={place},tag=again")),
    ]);
    assert_eq!(next.found(), "750 1000:1000\nx\n640 1000:1000 1700000000\n");
    let index: Value =
        serde_json::from_slice(&std::fs::read(shared.join("mounts/index.json")).unwrap()).unwrap();
    let digests: Vec<&Value> =
        index["manifests"].as_array().unwrap().iter().map(|entry| &entry["digest"]).collect();
    assert!(digests.len() == 2 && digests[0] == digests[1], "what has not changed is the same: {index}");
}

#[test]
fn what_is_there_is_not_sent_and_what_nobody_opens_is_not_fetched() {
    let (registry, _folder) = testkit::registry();
    let upstream = registry.address();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let proxy = Peer::serve(move |request| {
        seen.lock().unwrap().push(format!("{} {}", request.method, request.path));
        peer::exchange(&upstream, request)
    });
    let count = |what: &str| lines.lock().unwrap().iter().filter(|line| line.starts_with(what)).count();
    let reference = format!("{}/mounts:1", proxy.address());
    let dockerfile = "FROM busybox AS one\nRUN --mount=type=cache,id=a,target=/c cp /c/x /found || echo a > /c/x; touch /found\n\
        FROM busybox AS two\nRUN --mount=type=cache,id=b,target=/c cp /c/x /found || echo b > /c/x; touch /found\n\
        FROM busybox\nCOPY --from=one /found /one\nCOPY --from=two /found /found\n";
    let first = Machine::new(dockerfile);
    let place = format!("type=registry,ref={reference}");
    first.build(&[&to(&place)]);
    let uploads = count("POST /v2/mounts/blobs/uploads");
    assert!(uploads >= 3, "{:?}", lines.lock().unwrap());
    // Both are as they were: nothing but the manifest is sent.
    let second = Machine::new(dockerfile);
    second.build(&[&from(&place), &to(&place)]);
    assert_eq!(count("POST /v2/mounts/blobs/uploads"), uploads);
    // One stage alone: the mount of the other is neither fetched nor filled, and stays what it was.
    lines.lock().unwrap().clear();
    let third = Machine::new(dockerfile);
    third.build(&["--target=two", &from(&place)]);
    assert_eq!((third.found(), third.mounts().len()), ("b\n".to_owned(), 1));
    assert_eq!(count("GET /v2/mounts/blobs"), 1, "{:?}", lines.lock().unwrap());
    // An id may be asked for alone.
    let fourth = Machine::new(dockerfile);
    let shared = Scratch::new();
    let local = shared.join("mounts");
    let dest = format!("type=local,dest={},id=b", local.display());
    fourth.build(&[&from(&format!("{place},id=a")), &to(&dest)]);
    assert_eq!(fourth.found(), "");
    assert_eq!(blobs(&local).into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn mounts_of_steps_that_are_known_stay_what_they_were() {
    let shared = Scratch::new();
    let place = |name: &str| shared.join(name).display().to_string();
    let first = Machine::new(DOCKERFILE);
    first.build(&[
        &to(&format!("type=local,dest={}", place("one"))),
        &format!("--cache-to=type=local,dest={},mode=max", place("cache")),
    ]);
    // A machine that finds the step, and so never opens its mount.
    let next = Machine::new(DOCKERFILE);
    let told = next.build(&[
        &from(&format!("type=local,src={}", place("one"))),
        &format!("--cache-from=type=local,src={}", place("cache")),
        &to(&format!("type=local,dest={}", place("two"))),
    ]);
    assert!(told.contains(" CACHED\n") && next.mounts().is_empty(), "{told}");
    assert_eq!(blobs(&shared.join("two")), blobs(&shared.join("one")));
    // What the Dockerfile no longer names is not carried on.
    next.write("FROM busybox\nRUN --mount=type=cache,id=other,target=/c touch /c/x /found\n");
    next.build(&[
        &from(&format!("type=local,src={}", place("two"))),
        &to(&format!("type=local,dest={}", place("three"))),
    ]);
    assert_eq!(blobs(&shared.join("three")).into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["other"]);
    // A damaged blob in the folder is written anew.
    let (_, digest) = blobs(&shared.join("three"))[0].clone();
    let blob = shared.join("three/blobs/sha256").join(digest.trim_start_matches("sha256:"));
    std::fs::write(&blob, "damaged").unwrap();
    next.build(&[&to(&format!("type=local,dest={}", place("three")))]);
    assert_eq!(Digest::of(&std::fs::read(&blob).unwrap()).to_string(), digest);
}

#[test]
fn builds_at_once_share_what_one_has_filled() {
    let shared = Scratch::new();
    let place = format!("type=local,dest={}", shared.join("mounts").display());
    Machine::new(DOCKERFILE).build(&[&to(&place)]);
    let src = from(&place.replace("dest", "src"));
    for sharing in ["shared", "locked", "private"] {
        let machine = Machine::new(&DOCKERFILE.replace("id=kept", &format!("id=kept,sharing={sharing}")));
        let failures = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for who in 0..4 {
                let (machine, src, failures) = (&machine, &src, &failures);
                scope.spawn(move || {
                    let tag = format!("made:{who}");
                    let who = format!("--build-arg=WHO={who}");
                    let output = machine.try_build(&["-t", &tag, &who, src]);
                    let found = machine.skiff.ok(&["run", "--rm", &tag, "cat", "/found"]);
                    if output.code != 0 || !found.starts_with("first\n") {
                        eprintln!("{sharing} {found} {}", output.stderr);
                        failures.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(failures.load(Ordering::SeqCst), 0, "{sharing}");
    }
}

#[test]
fn what_is_not_to_be_had_costs_a_warning() {
    let (registry, _folder) = testkit::registry();
    let machine = Machine::new(DOCKERFILE);
    let none = format!("type=registry,ref={}/none:1", registry.address());
    let told = machine.build(&[&from(&none), &from("type=local,src=/nonexistent")]);
    assert!(told.contains("importing cache mounts from") && told.contains("ERROR"), "{told}");
    assert_eq!(machine.found(), "nothing\n");
    // To write nowhere is an error, unless it is to be none.
    let nowhere = "type=registry,ref=127.0.0.1:1/x";
    let failed = machine.try_build(&[&to(nowhere)]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    machine.build(&[&to(&format!("{nowhere},ignore-error=true"))]);
    for (flag, words) in [
        (to("type=inline"), "an image has no cache mounts"),
        (from("type=gha"), "a service of one company"),
        (to("type=tape"), "there are registry, local and tar"),
        (to("type=local"), "dest="),
        (from("type=registry"), "ref="),
        (to("type=local,dest=x,mode=max"), "there is no option \"mode\""),
    ] {
        let refused = machine.try_build(&[&flag]);
        assert!(refused.code != 0 && refused.stderr.contains(words), "{flag}: {}", refused.stderr);
    }
}

/// Replaces the content of the one mount of a layout, and what is said of it.
fn craft(layout: &Path, tar: &[u8], change: &dyn Fn(&mut Value)) {
    let blobs = layout.join("blobs/sha256");
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.encoded()), bytes).unwrap();
        (digest.to_string(), bytes.len())
    };
    let mut index: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(blobs.join(digest)).unwrap()).unwrap();
    let (digest, size) = put(tar);
    let entry = &mut manifest["layers"][0];
    entry["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    entry["annotations"]["dev.skiff.cachemount.diff-id"] = json!(digest);
    entry["annotations"]["dev.skiff.cachemount.size"] = json!(size.to_string());
    (entry["digest"], entry["size"]) = (json!(digest), json!(size));
    change(&mut manifest);
    let (digest, size) = put(manifest.to_string().as_bytes());
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = (json!(digest), json!(size));
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// A member of a tar that nobody has checked: its kind, name, link and content.
type Raw<'a> = (char, &'a str, &'a str, &'a [u8]);

fn raw(members: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, link, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(*kind as u8));
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn an_archive_that_is_no_layout_is_told_of_and_costs_what_it_would_have_had() {
    let shared = Scratch::new();
    let good = shared.join("good.tar");
    Machine::new(DOCKERFILE).build(&[&to(&format!("type=tar,dest={}", good.display()))]);
    let good = std::fs::read(good).unwrap();
    let machine = Machine::new(DOCKERFILE);
    let index = ('0', "index.json", "", &b"{}"[..]);
    let cases = [
        ("cut", good[..good.len() / 2].to_vec(), "archive"),
        ("two of a name", raw(&[index, index]), "two of its files have the same name"),
        ("a link for an index", raw(&[('2', "index.json", "/etc/passwd", b"")]), "it has no index.json"),
        ("nothing", Vec::new(), "it has no index.json"),
        ("no tar", vec![b'x'; 5000], "archive"),
    ];
    let bad = shared.join("bad.tar");
    for (name, bytes, why) in cases {
        std::fs::write(&bad, bytes).unwrap();
        let told = machine.build(&["--no-cache", &from(&format!("type=tar,src={}", bad.display()))]);
        assert!(told.contains(why), "{name}: {told}");
    }
    // Nobody writes to that pipe.
    std::fs::remove_file(&bad).unwrap();
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, &bad, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let told = machine.build(&["--no-cache", &from(&format!("type=tar,src={}", bad.display()))]);
    assert!(told.contains("it is no file"), "{told}");
}

#[test]
fn a_hostile_artifact_fills_nothing_and_reaches_nothing() {
    let shared = Scratch::new();
    let (made, bad) = (shared.join("mounts"), shared.join("bad"));
    Machine::new(DOCKERFILE).build(&[&to(&format!("type=local,dest={}", made.display()))]);
    let outside = shared.join("outside");
    std::fs::write(&outside, "untouched").unwrap();
    let machine = Machine::new(DOCKERFILE);
    let escape = format!("{}{}", "../".repeat(12), outside.display());
    let link_to = outside.display().to_string();
    const DATA: Raw<'_> = ('5', "data", "", b"");
    let file = |name| ('0', name, "", &b"evil\n"[..]);
    let good = raw(&[DATA, ('5', "data/deep", "", b""), file("data/deep/lines")]);
    // What is here is fetched from nowhere.
    let gone = raw(&[DATA, file("data/gone")]);
    let nothing = |_: &mut Value| {};
    let text = |path: &'static str, value: Value| {
        move |manifest: &mut Value| *manifest.pointer_mut(path).unwrap() = value.clone()
    };
    let size = "/layers/0/annotations/dev.skiff.cachemount.size";
    let diff_id = "/layers/0/annotations/dev.skiff.cachemount.diff-id";
    let other = || json!(Digest::of(b"x").to_string());
    type Case<'a> = (&'a str, Vec<u8>, Box<dyn Fn(&mut Value)>);
    let cases: Vec<Case<'_>> = vec![
        ("no directory first", raw(&[file("data")]), Box::new(nothing)),
        ("beside it", raw(&[DATA, file("other")]), Box::new(nothing)),
        ("a name that climbs", raw(&[DATA, file("data/../../../x")]), Box::new(nothing)),
        ("an absolute name", raw(&[DATA, file(&link_to)]), Box::new(nothing)),
        ("a whiteout", raw(&[DATA, file("data/.wh.x")]), Box::new(nothing)),
        ("an opaque mark", raw(&[DATA, file("data/.wh..wh..opq")]), Box::new(nothing)),
        ("a device", raw(&[DATA, ('3', "data/null", "", b"")]), Box::new(nothing)),
        ("a hard link out", raw(&[DATA, ('1', "data/x", "etc/passwd", b"")]), Box::new(nothing)),
        ("a hard link that climbs", raw(&[DATA, ('1', "data/x", &escape, b"")]), Box::new(nothing)),
        ("no tar", b"nothing of the kind".repeat(100), Box::new(nothing)),
        ("cut off", good[..600].to_vec(), Box::new(nothing)),
        ("nothing in it", vec![0; 1024], Box::new(nothing)),
        ("a lie about the size", good.clone(), Box::new(text(size, json!("3")))),
        ("no size", good.clone(), Box::new(text(size, json!("-3")))),
        ("a lie about the digest", good.clone(), Box::new(text(diff_id, other()))),
        ("another type", good.clone(), Box::new(text("/artifactType", json!("application/x")))),
        ("a blob that is gone", gone.clone(), Box::new(text("/layers/0/digest", other()))),
    ];
    let src = from(&format!("type=local,src={}", bad.display()));
    for (what, tar, change) in cases {
        drop(std::fs::remove_dir_all(&bad));
        assert!(std::process::Command::new("cp").arg("-a").args([&made, &bad]).status().unwrap().success());
        craft(&bad, &tar, &*change);
        for data in machine.mounts() {
            std::fs::remove_dir_all(&data).unwrap();
        }
        machine.build(&["--no-cache", &src]);
        assert_eq!(machine.found(), "nothing\n", "{what}");
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched", "{what}");
    }
    // A link within it is nobody's way out: what is written through it stays below.
    drop(std::fs::remove_dir_all(&bad));
    assert!(std::process::Command::new("cp").arg("-a").args([&made, &bad]).status().unwrap().success());
    let folder = shared.to_str().unwrap();
    let through = raw(&[DATA, ('2', "data/deep", folder, b""), file("data/deep/outside")]);
    craft(&bad, &through, &nothing);
    std::fs::remove_dir_all(&machine.mounts()[0]).unwrap();
    machine.build(&["--no-cache", &src]);
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    // And one that is good is taken.
    craft(&bad, &good, &nothing);
    std::fs::remove_dir_all(&machine.mounts()[0]).unwrap();
    machine.build(&["--no-cache", &src]);
    assert_eq!(machine.found(), "evil\n");
    let left: Vec<_> = std::fs::read_dir(machine.skiff.root().join("tmp")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
