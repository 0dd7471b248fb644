//! Packs and trees that were made by hand, to do harm.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::cast_possible_truncation, reason = "seven bits fit a byte")]

mod common;

use std::io::Write as _;

use common::{Files, files_with, request, told};
use git::Limits;
use testkit::{Peer, Reply, Seen};

const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const BY_DISTANCE: u8 = 6;
const BY_NAME: u8 = 7;

type Id = [u8; 20];

fn sha1(bytes: &[u8]) -> Id {
    let mut hasher = sha1dc::Hasher::new();
    hasher.update(bytes);
    *hasher.finalize().unwrap().as_bytes()
}

fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_of(kind: &str, content: &[u8]) -> Id {
    sha1(&[format!("{kind} {}\0", content.len()).as_bytes(), content].concat())
}

fn tree(entries: &[(&str, &str, Id)]) -> Vec<u8> {
    let entry = |(mode, name, id): &(&str, &str, Id)| [format!("{mode} {name}\0").as_bytes(), id].concat();
    entries.iter().flat_map(entry).collect()
}

fn commit(tree: &Id) -> Vec<u8> {
    format!("tree {}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n", hex(tree)).into_bytes()
}

/// A pack as it grows.
struct Pack {
    bytes: Vec<u8>,
    count: u32,
}

impl Pack {
    fn new() -> Pack {
        Pack { bytes: Vec::new(), count: 0 }
    }

    fn put(&mut self, code: u8, base: &[u8], content: &[u8]) -> u64 {
        self.put_sized(code, base, content, content.len())
    }

    /// Adds an object that says that it has so many bytes, and gives where it begins.
    fn put_sized(&mut self, code: u8, base: &[u8], content: &[u8], size: usize) -> u64 {
        let at = self.bytes.len() as u64 + 12;
        let (mut low, mut rest) = ((size & 15) as u8 | code << 4, size >> 4);
        while rest > 0 {
            self.bytes.push(low | 0x80);
            (low, rest) = ((rest & 0x7f) as u8, rest >> 7);
        }
        self.bytes.push(low);
        self.bytes.extend_from_slice(base);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(content).unwrap();
        self.bytes.extend(zlib.finish().unwrap());
        self.count += 1;
        at
    }

    fn object(&mut self, kind: &str, content: &[u8]) -> Id {
        let code = match kind {
            "commit" => COMMIT,
            "tree" => TREE,
            _ => BLOB,
        };
        self.put(code, b"", content);
        id_of(kind, content)
    }

    fn finish(self) -> Vec<u8> {
        let count = self.count;
        self.finish_as(count)
    }

    fn finish_as(self, count: u32) -> Vec<u8> {
        let pack = [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes(), &self.bytes].concat();
        [&pack[..], &sha1(&pack)].concat()
    }
}

/// The distance to a base, which may be more than one byte long.
fn distance(distance: u64) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, 0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

/// A delta that takes all of its base, `times` times.
fn copies(base: u64, times: u64) -> Vec<u8> {
    let size = u32::try_from(base).unwrap().to_le_bytes();
    let copy = [0xf0, size[0], size[1], size[2]];
    [number(base), number(base * times), copy.repeat(usize::try_from(times).unwrap())].concat()
}

fn packet(data: &[u8]) -> Vec<u8> {
    [format!("{:04x}", data.len() + 4).as_bytes(), data].concat()
}

/// A server that gives one pack, whatever is asked for.
fn serve(head: Id, pack: Vec<u8>) -> Peer {
    Peer::serve(move |seen: &Seen| {
        let kind = |kind: &str, body: Vec<u8>| {
            Reply::new(200, body).with("Content-Type", format!("application/x-git-upload-pack-{kind}"))
        };
        if seen.method == "GET" {
            let lines =
                [packet(b"version 2\n"), packet(b"ls-refs\n"), packet(b"fetch=shallow\n"), b"0000".to_vec()];
            return kind("advertisement", lines.concat());
        }
        if seen.body.windows(7).any(|part| part == b"ls-refs") {
            let line = format!("{} HEAD symref-target:refs/heads/../../x\n", hex(&head));
            return kind("result", [packet(line.as_bytes()), b"0000".to_vec()].concat());
        }
        let bands = pack.chunks(60_000).flat_map(|part| packet(&[&[1], part].concat()));
        kind("result", packet(b"packfile\n").into_iter().chain(bands).chain(*b"0000").collect())
    })
}

fn fetched(head: Id, pack: Vec<u8>) -> Result<Files, String> {
    let limits = Limits { content: 64 << 20, ..Limits::default() };
    let peer = serve(head, pack);
    files_with(&request(&peer, "a.git"), limits, &|_| None).map_err(|error| told(&error))
}

/// A commit of one file `f`, whose objects but the file are added to a pack.
fn of_file(pack: &mut Pack, file: Id) -> Id {
    let tree = pack.object("tree", &tree(&[("100644", "f", file)]));
    pack.object("commit", &commit(&tree))
}

#[test]
fn bases_are_found_by_distance_and_by_name_wherever_they_lie() {
    let mut pack = Pack::new();
    // The delta comes before its base, which is one itself, of an object behind both.
    let middle = b"base and more".to_vec();
    let delta = [number(13), number(15), vec![0x90, 13, 2, b'!', b'!']].concat();
    pack.put(BY_NAME, &id_of("blob", &middle), &delta);
    let delta = [number(4), number(13), vec![0x90, 4, 9], b" and more".to_vec()].concat();
    pack.put(BY_NAME, &id_of("blob", b"base"), &delta);
    let at = pack.put(BLOB, b"", b"base");
    let file = id_of("blob", b"base and more!!");
    let head = of_file(&mut pack, file);
    let here = pack.bytes.len() as u64 + 12;
    pack.put(BY_DISTANCE, &distance(here - at), &copies(4, 2));
    let found = fetched(head, pack.finish()).unwrap();
    assert_eq!(found["f"], "644 base and more!!");
}

#[test]
fn damaged_packs_are_refused() {
    let good = |change: &dyn Fn(&mut Pack) -> u64| {
        let mut pack = Pack::new();
        let file = pack.object("blob", b"content");
        let head = of_file(&mut pack, file);
        change(&mut pack);
        (head, pack)
    };
    let (head, pack) = good(&|_| 0);
    let whole = pack.finish();
    assert_eq!(fetched(head, whole.clone()).unwrap()["f"], "644 content");
    let short = |count: usize| whole[..whole.len() - count].to_vec();
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, why) in [
        (Vec::new(), "ends in the middle"),
        (short(1), "ends in the middle"),
        (short(30), "ends in the middle"),
        ([&whole[..], b"x"].concat(), "something follows its end"),
        (with(0, b'p'), "does not begin as one"),
        (with(7, 4), "does not begin as one"),
        (with(whole.len() - 1, whole[whole.len() - 1] ^ 1), "not what its last bytes say"),
        (with(12, 0), "an object of kind 0"),
        (with(12, 0x57), "an object of kind 5"),
        (with(14, 0xff), "not compressed"),
    ] {
        let error = fetched(head, bytes).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    // (what is added to a good one, how many objects the head says there are)
    type Change = Box<dyn Fn(&mut Pack) -> u64>;
    let cases: [(Change, u32, &str); 12] = [
        (Box::new(|_| 0), u32::MAX, "the pack is damaged"),
        (Box::new(|_| 0), 2, "not what its last bytes say"),
        (Box::new(|pack| pack.put_sized(BLOB, b"", b"long", 3)), 4, "larger than it says"),
        (Box::new(|pack| pack.put_sized(BLOB, b"", b"long", 5)), 4, "smaller than it says"),
        (Box::new(|pack| pack.put_sized(BLOB, b"", b"", usize::MAX)), 4, "a size beyond all sizes"),
        (Box::new(|pack| pack.put_sized(BLOB, b"", b"", 1 << 50)), 4, "bytes in its objects"),
        (Box::new(|pack| pack.put(BY_DISTANCE, &distance(1), b"")), 4, "no object begins 1 bytes before"),
        (Box::new(|pack| pack.put(BY_DISTANCE, &distance(0), b"")), 4, "no object begins 0 bytes before"),
        (Box::new(|pack| pack.put(BY_DISTANCE, &[0xff; 12], b"")), 4, "a distance beyond"),
        (
            Box::new(|pack| pack.put(BY_NAME, &[7; 20], &copies(4, 1))),
            4,
            "1 of its objects are deltas without a base",
        ),
        (
            // Each is said to be one of the other.
            Box::new(|pack| {
                pack.put(BY_NAME, &[1; 20], &copies(4, 1));
                pack.put(BY_NAME, &[2; 20], &copies(4, 1))
            }),
            5,
            "2 of its objects are deltas without a base",
        ),
        (
            Box::new(|pack| pack.put(BY_NAME, &id_of("blob", b"content"), &copies(8, 1))),
            4,
            "not one of its base",
        ),
    ];
    for (change, count, why) in cases {
        let (head, pack) = good(&change);
        let error = fetched(head, pack.finish_as(count)).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn deltas_that_grow_beyond_all_bounds_are_stopped() {
    // 1 MiB, then 200 times that.
    let mut pack = Pack::new();
    let at = pack.put(BLOB, b"", &vec![0; 1 << 20]);
    let here = pack.bytes.len() as u64 + 12;
    pack.put(BY_DISTANCE, &distance(here - at), &copies(1 << 20, 200));
    let head = of_file(&mut pack, [1; 20]);
    let error = fetched(head, pack.finish()).unwrap_err();
    assert!(error.contains("more than 67108864 bytes in its objects"), "{error}");
    // One that is said to be the largest there can be.
    let mut pack = Pack::new();
    pack.put(BLOB, b"", b"base");
    pack.put(BY_NAME, &id_of("blob", b"base"), &[number(4), number(u64::MAX >> 8)].concat());
    let head = of_file(&mut pack, [1; 20]);
    let error = fetched(head, pack.finish()).unwrap_err();
    assert!(error.contains("more than 67108864 bytes in its objects"), "{error}");
}

#[test]
fn chains_of_deltas_end() {
    let of_length = |length: usize| {
        let mut pack = Pack::new();
        let mut at = pack.put(BLOB, b"", b"base");
        for _ in 0..length {
            let here = pack.bytes.len() as u64 + 12;
            at = pack.put(BY_DISTANCE, &distance(here - at), &copies(4, 1));
        }
        let head = of_file(&mut pack, id_of("blob", b"base"));
        fetched(head, pack.finish())
    };
    assert_eq!(of_length(4095).unwrap()["f"], "644 base");
    let error = of_length(4096).unwrap_err();
    assert!(error.contains("more than 4095 deltas upon each other"), "{error}");
}

#[test]
fn what_is_missing_or_of_another_kind_is_named() {
    let blob = id_of("blob", b"x");
    let mut pack = Pack::new();
    let head = of_file(&mut pack, blob);
    let error = fetched(head, pack.finish()).unwrap_err();
    assert!(error.contains("did not send this blob"), "{error}");
    let mut pack = Pack::new();
    let head = pack.object("commit", &commit(&[3; 20]));
    let error = fetched(head, pack.finish()).unwrap_err();
    assert!(error.contains("did not send this tree"), "{error}");
    let mut pack = Pack::new();
    let file = pack.object("blob", b"x");
    let error = fetched(file, pack.finish()).unwrap_err();
    assert!(error.contains("it is a blob, not a commit"), "{error}");
    let error = fetched([9; 20], Pack::new().finish()).unwrap_err();
    assert!(error.contains("did not send this commit"), "{error}");
    // A file that is a directory, and the other way around.
    for (mode, want) in [("40000", "it is a blob, not a tree"), ("120000", "link"), ("100644", "")] {
        let mut pack = Pack::new();
        let file = pack.object("blob", b"");
        let root = pack.object("tree", &tree(&[(mode, "f", file)]));
        let head = pack.object("commit", &commit(&root));
        match (fetched(head, pack.finish()), want) {
            (Ok(found), "") => assert_eq!(found["f"], "644 "),
            (found, want) => assert!(found.as_ref().is_err_and(|error| error.contains(want)), "{found:?}"),
        }
    }
}

#[test]
fn trees_that_lead_out_or_never_end_are_refused() {
    for (entries, why) in [
        (vec![("40000", "..")], "no name of a file"),
        (vec![("100644", "a/../../b")], "no name of a file"),
        (vec![("40000", ".GIT")], "taken for a repository"),
        (vec![("120000", "a"), ("40000", "a")], "twice"),
        (vec![("100664", "ok"), ("020000", "device")], "has the mode"),
    ] {
        let mut pack = Pack::new();
        let inner = pack.object("tree", b"");
        let entries: Vec<_> = entries.into_iter().map(|(mode, name)| (mode, name, inner)).collect();
        let root = pack.object("tree", &tree(&entries));
        let head = pack.object("commit", &commit(&root));
        let error = fetched(head, pack.finish()).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    // A few objects that are ten thousand million files.
    let mut pack = Pack::new();
    let names: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    let mut last = pack.object("blob", b"x");
    for level in 0..10 {
        let mode = if level == 0 { "100644" } else { "40000" };
        let entries: Vec<_> = names.iter().map(|name| (mode, name.as_str(), last)).collect();
        last = pack.object("tree", &tree(&entries));
    }
    let head = pack.object("commit", &commit(&last));
    let peer = serve(head, pack.finish());
    let limits = Limits { entries: 20_000, ..Limits::default() };
    let error = told(&files_with(&request(&peer, "a.git"), limits, &|_| None).unwrap_err());
    assert!(error.contains("more than 20000 files and directories"), "{error}");
    // Deeper than a path can be.
    let mut pack = Pack::new();
    let mut last = pack.object("blob", b"x");
    for level in 0..3000 {
        let mode = if level == 0 { "100644" } else { "40000" };
        last = pack.object("tree", &tree(&[(mode, "d", last)]));
    }
    let head = pack.object("commit", &commit(&last));
    let error = fetched(head, pack.finish()).unwrap_err();
    assert!(error.contains("longer than 4095 bytes"), "{error}");
    // A link to more than a path can be, or to nothing.
    for target in [vec![b'x'; 5000], b"a\0b".to_vec(), Vec::new()] {
        let mut pack = Pack::new();
        let link = pack.object("blob", &target);
        let root = pack.object("tree", &tree(&[("120000", "l", link)]));
        let head = pack.object("commit", &commit(&root));
        let error = fetched(head, pack.finish()).unwrap_err();
        assert!(error.contains("it is a link"), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 40, ..Default::default() })]

    /// Any byte of a good pack is changed, and its last bytes made right again: it is refused, or is what it was.
    #[test]
    fn no_change_of_a_pack_does_harm(place: usize, byte: u8, trailer: bool) {
        let mut pack = Pack::new();
        let file = pack.object("blob", b"content that is long enough to be one");
        pack.put(BY_NAME, &file, &copies(37, 3));
        let head = of_file(&mut pack, file);
        let mut bytes = pack.finish();
        let end = bytes.len() - 20;
        bytes[place % end] = byte;
        if trailer {
            let hash = sha1(&bytes[..end]);
            bytes[end..].copy_from_slice(&hash);
        }
        if let Ok(found) = fetched(head, bytes) {
            proptest::prop_assert_eq!(&found["f"], "644 content that is long enough to be one");
        }
    }
}
