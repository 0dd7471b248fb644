//! Small archives that want to become large: in memory, or in time. Each is loaded in a process of its own, of
//! which the most memory that was ever resident is looked at.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use archives_support::*;
use image::{Compression, ImportOptions};
use oci::Timestamp;
use serde_json::json;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

/// Tells the child which bomb it is to load.
const CASE: &str = "SKIFF_TEST_BOMB";
/// What loading promises.
const PROMISED: u64 = 64 << 20;
/// What an image may take whose names reach their limit, which is beyond that promise: its index is made in memory.
const INDEX: u64 = 256 << 20;

/// Bytes that are made as they are read.
type Stream = Box<dyn Read + Send>;

struct Bomb {
    name: &'static str,
    /// An archive of images, or else a root file system.
    is_archive: bool,
    make: fn() -> Stream,
    /// What the refusal says; nothing if it loads.
    words: &'static [&'static str],
    memory: u64,
}

/// Pieces, one after the other.
struct Pieces<I>(I, Vec<u8>, usize);

impl<I: Iterator<Item = Vec<u8>>> Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.2 == self.1.len() {
            let Some(next) = self.0.next() else { return Ok(0) };
            (self.1, self.2) = (next, 0);
        }
        let count = buffer.len().min(self.1.len() - self.2);
        buffer[..count].copy_from_slice(&self.1[self.2..self.2 + count]);
        self.2 += count;
        Ok(count)
    }
}

fn stream(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Stream {
    Box::new(Pieces(pieces.chain([vec![0; 1024]]), Vec::new(), 0))
}

/// An archive of which the config, or the manifest, is `text`.
fn documents(manifest: Option<String>, config: impl FnOnce(&str) -> String) -> Stream {
    let layer = layer("x");
    let mut members = docker_archive(&["a:1"], &[layer], Compression::None);
    let place = members.len() - 2;
    let config = config(std::str::from_utf8(&members[place].1).unwrap());
    members[place].1 = config.into_bytes();
    if let Some(manifest) = manifest {
        members.last_mut().unwrap().1 = manifest.replace("CONFIG", &members[place].0).into_bytes();
    }
    let tar = tar_of(&members);
    Box::new(std::io::Cursor::new(tar))
}

/// A config with more in it.
fn config_with(place: &str, more: &str) -> Stream {
    documents(None, |config| config.replacen(place, more, 1))
}

fn list(item: &str, count: usize) -> String {
    let mut list = vec![item; count].join(",");
    list.insert(0, '[');
    list.push(']');
    list
}

fn manifest_with_tags(count: usize) -> Stream {
    let tags: Vec<String> = (0..count).map(|number| format!("a:{number}")).collect();
    let manifest = json!([{"Config": "CONFIG", "RepoTags": tags, "Layers": ["layer0/layer.tar"]}]);
    documents(Some(manifest.to_string()), str::to_owned)
}

/// An extended header with these records; `kind` is `x`, or `g` for all entries.
fn pax(kind: u8, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        let mut length = key.len() + value.len() + 3;
        length += (length + length.to_string().len()).to_string().len();
        text.extend_from_slice(format!("{length} {key}=").as_bytes());
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    Tar::default().entry("pax", kind, "", text.len(), &text).cut()
}

fn xattrs(count: usize, bytes: usize, salt: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|n| (format!("SCHILY.xattr.user.{salt}-{n}"), vec![b'v'; bytes])).collect()
}

/// A file with a sparse map of format 1.0.
fn sparse_file(pieces: usize) -> Vec<u8> {
    let mut map = format!("{pieces}\n");
    for piece in 0..pieces {
        map += &format!("{}\n1\n", piece * 4096);
    }
    let mut data = map.into_bytes();
    data.resize(data.len().next_multiple_of(512), 0);
    data.resize(data.len() + pieces, b'x');
    let records =
        [("major", "1".to_owned()), ("minor", "0".to_owned()), ("realsize", (pieces * 4096).to_string())];
    let records = records.map(|(key, value)| (format!("GNU.sparse.{key}"), value.into_bytes()));
    [pax(b'x', &records), Tar::default().file("sparse", &data).cut()].concat()
}

/// An old GNU sparse file of which the map goes on in block after block without an item.
fn endless_map() -> Stream {
    let mut head = Tar::default().entry("endless", b'S', "", 0, b"").cut();
    head[257..265].copy_from_slice(b"ustar  \0");
    head[482] = 1;
    head[483..494].copy_from_slice(b"00000000000");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut more = vec![0; 512];
    more[504] = 1;
    stream([head].into_iter().chain(std::iter::repeat_n(more.repeat(512), 4 << 10)))
}

fn long_name(name: &str) -> Vec<u8> {
    Tar::default().entry("././@LongLink", b'L', "", name.len(), name.as_bytes()).cut()
}

/// As many names as a path may have, again and again.
fn deep() -> Stream {
    stream((0..5000).map(|number| {
        let name = format!("{number}/{}", "x/".repeat(500));
        [long_name(&name), Tar::default().directory("x").cut()].concat()
    }))
}

fn long_links() -> Stream {
    stream((0..40_000).map(|number| {
        let target = "t".repeat(4000);
        let name = number.to_string();
        let target = Tar::default().entry("././@LongLink", b'K', "", target.len(), target.as_bytes()).cut();
        [target, Tar::default().symlink(&name, "x").cut()].concat()
    }))
}

const BOMBS: &[Bomb] = &[
    Bomb {
        name: "history",
        is_archive: true,
        make: || config_with("\"history\":[", &format!("\"history\":{},\"x\":[", list("{}", 280_000))),
        words: &[".json", "8192"],
        memory: PROMISED,
    },
    Bomb {
        name: "environment",
        is_archive: true,
        make: || config_with("[\"PATH=/bin\"]", &list("\"\"", 1_300_000)),
        words: &[".json", "more than 300000 values"],
        memory: PROMISED,
    },
    Bomb {
        name: "what is not known",
        is_archive: true,
        make: || config_with("{", &format!("{{\"x\":{},", list("0", 290_000))),
        words: &[],
        memory: PROMISED,
    },
    Bomb {
        name: "depth",
        is_archive: true,
        make: || config_with("{", &format!("{{\"x\":{}{},", "[".repeat(1 << 20), "]".repeat(1 << 20))),
        words: &[".json", "recursion"],
        memory: PROMISED,
    },
    Bomb {
        name: "tags",
        is_archive: true,
        make: || manifest_with_tags(50_000),
        words: &["(stream)", "50000 names, more than 16384"],
        memory: PROMISED,
    },
    Bomb {
        name: "one image again and again",
        is_archive: true,
        make: || {
            let item = r#"{"Config":"CONFIG","Layers":["layer0/layer.tar"]}"#;
            documents(Some(list(item, 5000)), str::to_owned)
        },
        words: &["(stream)", "5000 images, more than 4096"],
        memory: PROMISED,
    },
    Bomb {
        name: "names of members",
        is_archive: true,
        make: || {
            stream((0..90_000).map(|number| {
                let name = format!("{number}-{}n", "n/".repeat(500));
                [long_name(&name), Tar::default().file("x", b"").cut()].concat()
            }))
        },
        words: &["(stream)", "all names"],
        memory: PROMISED,
    },
    Bomb {
        name: "attributes of every entry",
        is_archive: false,
        make: || {
            let global = pax(b'g', &xattrs(120, 400, 0));
            let files = Tar::default().file("f", b"").cut().repeat(1000);
            stream([global].into_iter().chain((0..200).map(move |_| files.clone())))
        },
        words: &["SCHILY.xattr", "global header"],
        memory: PROMISED,
    },
    Bomb {
        name: "many attributes",
        is_archive: false,
        make: || stream([pax(b'x', &xattrs(20_000, 1, 0)), Tar::default().file("f", b"").cut()].into_iter()),
        words: &["number of extended attributes"],
        memory: PROMISED,
    },
    Bomb {
        name: "large attributes",
        is_archive: false,
        make: || {
            stream((0..2000).map(|number| {
                let file = Tar::default().file(&number.to_string(), b"").cut();
                [pax(b'x', &xattrs(2, 60_000, number)), file].concat()
            }))
        },
        words: &["\"279\"", "the size of all extended attributes"],
        memory: PROMISED,
    },
    Bomb {
        name: "holes",
        is_archive: false,
        make: || {
            let file = sparse_file(60_000);
            stream((0..20).map(move |_| file.clone()))
        },
        words: &["\"sparse\"", "the number of pieces of sparse files"],
        memory: PROMISED,
    },
    Bomb {
        name: "an endless map",
        is_archive: false,
        make: endless_map,
        words: &["\"endless\"", "sparse map"],
        memory: PROMISED,
    },
    Bomb {
        name: "depth of paths",
        is_archive: false,
        make: deep,
        words: &["the number of names"],
        memory: INDEX,
    },
    Bomb {
        name: "targets of links",
        is_archive: false,
        make: long_links,
        words: &["the length of all names and link targets"],
        memory: INDEX,
    },
];

/// Loads the bomb that the parent named.
#[test]
fn child_that_loads_a_bomb() {
    let Ok(name) = std::env::var(CASE) else { return };
    let bomb = BOMBS.iter().find(|bomb| bomb.name == name).unwrap();
    let scratch = Scratch::new();
    let store = scratch.store();
    let before = picture(store.root());
    let mut archive = (bomb.make)();
    let start = Instant::now();
    let loaded = if bomb.is_archive {
        image::load(&store, image::Source::Stream(&mut archive), &image::LoadOptions::default())
    } else {
        let options = ImportOptions {
            changes: Vec::new(),
            message: String::new(),
            platform: None,
            created: Timestamp::EPOCH,
            name: "stdin".to_owned(),
            attached: Vec::new(),
        };
        image::import(&store, &mut archive, &options)
    };
    let took = start.elapsed();
    match loaded {
        Ok(loaded) => {
            assert_eq!(bomb.words, [""; 0], "{name} was loaded");
            assert_eq!(image::verify(&store, &loaded.images[0].id, None).unwrap(), []);
        }
        Err(error) => {
            let text = chain(&error);
            assert!(!bomb.words.is_empty(), "{name}: {text}");
            for word in bomb.words {
                assert!(text.contains(word), "{name}: {text:?} does not tell {word:?}");
            }
            assert!(text.len() < 1000, "{name}: {text}");
            assert_eq!(picture(store.root()), before, "{name}: {text}");
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let bytes = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    println!("{name}: {} MiB, {} ms", bytes >> 20, took.as_millis());
    assert!(bytes < bomb.memory, "{name}: {bytes} bytes were resident");
    // Generous, for a slow machine and a program that is not optimised.
    assert!(took < Duration::from_secs(60), "{name}: {took:?}");
}

#[test]
fn small_archives_do_not_become_large() {
    for bomb in BOMBS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_loads_a_bomb", "--nocapture"])
            .env(CASE, bomb.name)
            .output()
            .unwrap();
        print!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_document_is_read_as_often_as_it_is_named_and_counted() {
    // Four megabytes of spaces after the config, which eight images of one layout name.
    let mut layout = Layout::default();
    let mut config = config(&[]).to_string();
    config.push_str(&" ".repeat((4 << 20) - 4096 - config.len()));
    let config = layout.blob("application/vnd.oci.image.config.v1+json", config.as_bytes());
    for number in 0..8 {
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [], "annotations": {"n": number.to_string()}});
        let manifest = layout.manifest(manifest);
        layout.add(manifest, Some(&format!("a:{number}")));
    }
    let scratch = Scratch::new();
    let error = load_stream(&scratch.store(), &tar_of(&layout.members())).unwrap_err();
    assert!(chain(&error).contains("16777216"), "{}", chain(&error));
}
