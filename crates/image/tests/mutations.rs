//! Valid archives of every kind with something changed: in a layer's tar, in a compressed blob, in a document, in the
//! archive around them. Each is refused and the store is as it was, or what it loads verifies and can be prepared.
//! Nothing panics, nothing takes long, and memory stays within bounds. The changes are always the same ones.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use archives_support::*;
use image::snapshots::{Erofs, Privilege, Snapshots as _, Trees};
use image::{Compression, ImportOptions, Loaded};
use oci::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};
use std::cell::Cell;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Tells the child that it is one.
const CHILD: &str = "SKIFF_TEST_MUTATIONS";
/// How many changed archives there are.
const CASES: u32 = 800;

/// A change of a tar.
#[derive(Clone, Debug)]
enum Change {
    /// One byte.
    Byte(Index, u8),
    /// A field of a header gets a value that means something.
    Field(Index, usize, usize),
    /// The type of an entry.
    Kind(Index, u8),
    Copy(Index, Index),
    Swap(Index, Index),
    Remove(Index, u8),
    Zero(Index),
    Cut(Index),
}

/// Where the fields of a header are: name, mode, uid, gid, size, time, link, prefix, device, old sparse map.
const FIELDS: &[(usize, usize)] = &[
    (0, 100),
    (100, 8),
    (108, 8),
    (116, 8),
    (124, 12),
    (136, 12),
    (157, 100),
    (345, 155),
    (329, 8),
    (337, 8),
    (257, 8),
    (386, 12),
    (398, 12),
    (482, 1),
    (483, 12),
];

const VALUES: &[&[u8]] = &[
    b"\0",
    b"77777777777\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\0\0\x02\0",
    b"-1\0",
    b"0000001\0",
    b"00000001000\0",
    b"        ",
    b"/etc/passwd\0",
    b"../../etc/passwd\0",
    b"d/.wh..wh..opq\0",
    b".wh.d\0",
    b".wh.\0",
    b".wh..wh.plnk/1\0",
    b".\0",
    b"d/file\0",
    b"d/file/below\0",
    b"link/below\0",
    b"a\nb\x1b[31m\0",
    b"\xff\xfe\0",
    b"ustar  \0",
    b"ustar\x0000",
];

impl Change {
    fn apply(&self, tar: &mut Vec<u8>, seals: bool) {
        let blocks = (tar.len() / 512).max(1);
        if tar.len() < 512 {
            return;
        }
        let block = |index: &Index| index.index(blocks) * 512;
        let changed = match self {
            Self::Byte(index, value) => {
                let at = index.index(tar.len());
                tar[at] = *value;
                at / 512 * 512
            }
            Self::Field(index, field, value) => {
                let at = block(index);
                let (start, length) = FIELDS[field % FIELDS.len()];
                let value = VALUES[value % VALUES.len()];
                let value = &value[..value.len().min(length)];
                tar[at + start..at + start + value.len()].copy_from_slice(value);
                at
            }
            Self::Kind(index, kind) => {
                const KINDS: &[u8] = b"01234567xgLKSVDMNXA\0";
                let at = block(index);
                tar[at + 156] = KINDS[usize::from(*kind) % KINDS.len()];
                at
            }
            Self::Copy(from, to) => {
                let (from, to) = (block(from), block(to));
                tar.copy_within(from..from + 512, to);
                to
            }
            Self::Swap(one, other) => {
                let (one, other) = (block(one), block(other));
                let saved = tar[one..one + 512].to_vec();
                tar.copy_within(other..other + 512, one);
                tar[other..other + 512].copy_from_slice(&saved);
                one
            }
            Self::Remove(index, count) => {
                let at = block(index);
                let end = (at + 512 * (1 + usize::from(count % 4))).min(tar.len());
                drop(tar.drain(at..end));
                at
            }
            Self::Zero(index) => {
                let at = block(index);
                tar[at..at + 512].fill(0);
                return;
            }
            Self::Cut(index) => {
                let at = index.index(tar.len());
                tar.truncate(at);
                at
            }
        };
        // A sum that matches gets a header past the first check.
        if seals && let Some(header) = tar.get_mut(changed..changed + 512) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Change::Byte(at, value)),
        6 => (any::<Index>(), any::<usize>(), any::<usize>()).prop_map(|(at, field, value)| Change::Field(at, field, value)),
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, kind)| Change::Kind(at, kind)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Copy(from, to)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Change::Swap(one, other)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => any::<Index>().prop_map(Change::Zero),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// Changes a value of a document, found by walking down with `path`.
fn change_document(document: &mut Value, path: &[Index], with: usize) {
    let replacements = [
        json!(null),
        json!(""),
        json!("../../etc/passwd"),
        json!("/etc/passwd"),
        json!("a\u{0}b"),
        json!("sha256:0000"),
        json!(format!("sha256:{}", "0".repeat(64))),
        json!("x".repeat(70_000)),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!([]),
        json!({}),
        json!([[[[[[[[]]]]]]]]),
        json!(true),
    ];
    if let Some((index, rest)) = path.split_first() {
        match document {
            Value::Array(items) if !items.is_empty() => {
                let at = index.index(items.len());
                return change_document(&mut items[at], rest, with);
            }
            Value::Object(members) if !members.is_empty() => {
                let at = index.index(members.len());
                return change_document(members.iter_mut().nth(at).unwrap().1, rest, with);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {}
        }
    }
    match (with % (replacements.len() + 2), document) {
        (0, Value::Array(items)) => items.extend(items.clone()),
        (0 | 1, Value::Object(members)) => {
            let first = members.keys().next().cloned();
            drop(first.and_then(|key| members.remove(&key)));
        }
        (number, value) => *value = replacements[number % replacements.len()].clone(),
    }
}

/// What is changed, and in what kind of archive.
#[derive(Clone, Debug)]
struct Case {
    form: Form,
    compression: usize,
    outer: usize,
    layer: Vec<(Change, bool)>,
    archive: Vec<(Change, bool)>,
    /// A byte of the compressed layer.
    blob: Option<(Index, u8)>,
    /// Values of config, and of manifest or index.
    documents: Vec<(bool, Vec<Index>, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Docker,
    Layout,
    Old,
    Root,
}

fn case() -> impl Strategy<Value = Case> {
    let form = prop_oneof![Just(Form::Docker), Just(Form::Layout), Just(Form::Old), Just(Form::Root)];
    let path = prop::collection::vec(any::<Index>(), 1..5);
    let what = prop_oneof![
        4 => (prop::collection::vec((change(), prop::bool::weighted(0.9)), 1..4)).prop_map(|layer| (layer, vec![], None, vec![])),
        2 => (prop::collection::vec((change(), prop::bool::weighted(0.9)), 1..3)).prop_map(|archive| (vec![], archive, None, vec![])),
        1 => any::<(Index, u8)>().prop_map(|blob| (vec![], vec![], Some(blob), vec![])),
        3 => prop::collection::vec((any::<bool>(), path, any::<usize>()), 1..3).prop_map(|documents| (vec![], vec![], None, documents)),
    ];
    (form, 0..5_usize, prop_oneof![3 => Just(0_usize), 1 => 0..5_usize], what).prop_map(
        |(form, compression, outer, (layer, archive, blob, documents))| Case {
            form,
            compression,
            outer,
            layer,
            archive,
            blob,
            documents,
        },
    )
}

/// Layers with everything in them, as GNU tar writes them in all its formats.
static LAYERS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let script = r#"mkdir -p $0/d/e; cd $0; echo x > d/file; ln d/file d/hard; ln -s file d/link; mkfifo d/fifo
        mknod d/device c 1 3; chown 999:998 d/file; chmod 4755 d/file
        truncate -s 100k d/e/sparse; echo end >> d/e/sparse; touch "d/$(printf 'n%.0s' {1..180})"
        setfattr -n user.name -v value d/file; ln -s "$(printf 't%.0s' {1..180})" d/e/long
        pack() { tar -c --sparse -f "$0.$1" "${@:2}"; }
        pack 0 --format=pax --xattrs d; pack 1 --format=gnu d; pack 2 --format=oldgnu d
        pack 3 --format=pax --sparse-version=0.0 d/e/sparse; pack 4 --format=pax --sparse-version=0.1 d/e/sparse
        chmod 755 d; rm -r "$PWD""#;
    let scratch = Scratch::new();
    let output = Command::new("bash").args(["-euc", script]).arg(scratch.join("tree")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // One archive after the other, without the end marks between them.
    let mut base = Vec::new();
    for number in 0..5 {
        let tar = std::fs::read(scratch.join(&format!("tree.{number}"))).unwrap();
        let end = tar.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        base.extend_from_slice(&tar[..end]);
        base.resize(base.len().next_multiple_of(512), 0);
    }
    base.resize(base.len() + 1024, 0);
    let top = Tar::default()
        .file("d/.wh.hard", b"")
        .file("d/e/.wh..wh..opq", b"")
        .directory("d/e/")
        .file("d/e/new", b"new")
        .hardlink("d/again", "d/file")
        .file("link", b"a file now")
        .finish();
    [base, top]
});

impl Case {
    fn layers(&self) -> Vec<Vec<u8>> {
        let mut layers = LAYERS.to_vec();
        for (change, seals) in &self.layer {
            let place = usize::from(matches!(change, Change::Copy(..) | Change::Byte(_, 0..64)));
            change.apply(&mut layers[place], *seals);
        }
        layers
    }

    /// Changes config, or what else there is, as told.
    fn document(&self, is_config: bool, document: &mut Value) {
        for (_, path, with) in self.documents.iter().filter(|(config, ..)| *config == is_config) {
            change_document(document, path, *with);
        }
    }

    fn blob(&self, layer: &[u8]) -> Vec<u8> {
        let mut blob = compress(COMPRESSIONS[self.compression], layer);
        if let Some((index, value)) = self.blob {
            let at = index.index(blob.len());
            blob[at] = value;
        }
        blob
    }

    fn members(&self) -> Members {
        let layers = self.layers();
        let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let mut config = config(&plain);
        self.document(true, &mut config);
        let blobs = layers.iter().map(|layer| self.blob(layer));
        let member = |name: &str, value: &Value| (name.to_owned(), value.to_string().into_bytes());
        match self.form {
            Form::Layout => {
                let mut layout = Layout::default();
                let blobs: Vec<Vec<u8>> = blobs.collect();
                let mut index = json!([layout.image(&config, &blobs, Compression::None)]);
                self.document(false, &mut index);
                layout.manifests = index.as_array().cloned().unwrap_or_default();
                layout.members()
            }
            Form::Old => {
                let mut names = json!({"old/app": {"1": "top"}});
                self.document(false, &mut names);
                let mut step = json!({"id": "top", "parent": "base", "created": "2014-05-06T07:08:09Z", "config": config["config"]});
                self.document(true, &mut step);
                let base = json!({"id": "base", "os": "linux"});
                let mut members = vec![member("top/json", &step), member("base/json", &base)];
                let folders = ["base", "top"].map(|name| format!("{name}/layer.tar"));
                members.extend(folders.into_iter().zip(blobs));
                members.push(member("repositories", &names));
                members
            }
            Form::Docker | Form::Root => {
                let mut manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar", "1/layer.tar"]}]);
                self.document(false, &mut manifest);
                let names = ["0/layer.tar", "1/layer.tar"].map(str::to_owned);
                let mut members: Members = names.into_iter().zip(blobs).collect();
                members.extend([member("c.json", &config), member("manifest.json", &manifest)]);
                members
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut archive = match self.form {
            Form::Root => self.layers().swap_remove(0),
            Form::Docker | Form::Layout | Form::Old => tar_of(&self.members()),
        };
        for (change, seals) in &self.archive {
            change.apply(&mut archive, *seals);
        }
        compress(COMPRESSIONS[self.outer], &archive)
    }
}

fn import(store: &image::Store, archive: &[u8]) -> image::Result<Loaded> {
    let options = ImportOptions {
        changes: Vec::new(),
        message: String::new(),
        platform: None,
        created: Timestamp::EPOCH,
        name: "stdin".to_owned(),
        attached: Vec::new(),
    };
    image::import(store, &mut std::io::Cursor::new(archive), &options)
}

/// Loads one archive in both ways; tells whether it loaded.
fn judge(case: &Case) -> bool {
    let archive = case.bytes();
    let scratch = Scratch::new();
    let store = scratch.store();
    let before = picture(store.root());
    let path = scratch.write("archive", &archive);
    let results = match case.form {
        Form::Root => vec![import(&store, &archive)],
        Form::Docker | Form::Layout | Form::Old => {
            vec![load_path(&store, &path), load_stream(&store, &archive)]
        }
    };
    let loaded: Vec<Loaded> = results
        .into_iter()
        .filter_map(|result| result.inspect_err(|error| assert!(!chain(error).is_empty())).ok())
        .collect();
    if loaded.is_empty() {
        assert_eq!(picture(store.root()), before);
    }
    for image in loaded.iter().flat_map(|loaded| &loaded.images) {
        let manifest = image.manifest.as_ref().map(|manifest| &manifest.digest);
        assert_eq!(image::verify(&store, &image.id, manifest).unwrap(), []);
        let layers = image.diff_ids();
        Erofs.prepare(&store, &image.id, &layers).unwrap();
        // Names that overlayfs keeps for itself, or a device that it does not take, are refused there by name.
        if let Err(error) = Trees::new(Privilege::Host).prepare(&store, &image.id, &layers) {
            assert!(chain(&error).starts_with("unpack layer "), "{}", chain(&error));
        }
    }
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert!(!scratch.join("etc").exists() && !store.root().join("etc").exists());
    !loaded.is_empty()
}

#[test]
fn child_that_loads_what_was_changed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let unchanged = |form, compression, outer| {
        let (layer, archive, blob, documents) = Default::default();
        Case { form, compression, outer, layer, archive, blob, documents }
    };
    for form in [Form::Docker, Form::Layout, Form::Old, Form::Root] {
        for compression in 0..5 {
            assert!(judge(&unchanged(form, compression, compression)), "{form:?} {compression}");
        }
    }
    let config = ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let (loaded, longest) = (Cell::new(0), Cell::new(Duration::ZERO));
    let result = TestRunner::new(config).run(&case(), |case| {
        let start = Instant::now();
        let is_loaded = judge(&case);
        let took = start.elapsed();
        prop_assert!(took < Duration::from_secs(20), "{took:?}");
        loaded.set(loaded.get() + u32::from(is_loaded));
        longest.set(longest.get().max(took));
        Ok(())
    });
    result.unwrap();
    let (loaded, longest) = (loaded.get(), longest.get());
    // What is always refused would test the first check only, what always loads none.
    assert!((CASES / 10..CASES * 9 / 10).contains(&loaded), "{loaded} of {CASES} loaded");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{loaded} of {CASES} loaded, the longest took {longest:?}, {} MiB", kib >> 10);
    // Some of it is the test's.
    assert!(kib < 96 << 10, "{kib} KiB were resident");
}

#[test]
fn what_was_changed_is_refused_or_loads_whole() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_loads_what_was_changed", "--nocapture"])
        .env(CHILD, "")
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
