//! Contexts as hostile as they can be made, and what is known of them from before.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

mod writers;

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use expect_test::{Expect, expect};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Hashes, Identity, Received, read_file, receive};
use crate::build::tree::Tree;
use crate::build::world::{World, copied, key, listed, make, words};

fn check(lines: &str, copy: &str, expected: Expect) {
    let world = World::new();
    let session = world.session();
    let shown = match copied(&session, &Tree::empty(), &world.context("context", lines), copy) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error) + "\n",
    };
    expected.assert_eq(&shown);
}

#[test]
fn links_lead_nowhere_but_into_the_context() {
    // What is found is the context's, not the host's.
    check(
        "l etc /\nf passwd 644 mine",
        "COPY etc/passwd /x",
        expect![[r#"
        0644 0:0 /x = mine
    "#]],
    );
    check(
        "l up ../../../..\nf passwd 644 mine",
        "COPY up/passwd /x",
        expect![[r#"
        0644 0:0 /x = mine
    "#]],
    );
    check(
        "l etc /etc",
        "COPY etc/passwd /x",
        expect![[r#"
        etc/passwd: too many levels of symbolic links
    "#]],
    );
    check(
        "l a b\nl b a",
        "COPY a /x",
        expect![[r#"
        a: too many levels of symbolic links
    "#]],
    );
    check(
        "l a a/b",
        "COPY a /x",
        expect![[r#"
        a: too many levels of symbolic links
    "#]],
    );
    check(
        "l proc /proc/self/root",
        "COPY proc /x/",
        expect![[r#"
        proc: too many levels of symbolic links
    "#]],
    );
    check(
        "l loop .\nf file 644 file",
        "COPY . /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/file = file
        0777 0:0 /x/loop -> .
    "#]],
    );
}

#[test]
fn what_is_no_file_is_not_opened() {
    check(
        "p pipe\nf file 644 file",
        "COPY . /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/file = file
        0600 0:0 /x/pipe (pipe)
    "#]],
    );
    check(
        "p pipe",
        "COPY pipe /x",
        expect![[r#"
        0600 0:0 /x (pipe)
    "#]],
    );
    check(
        "s socket\nf file 644 file",
        "COPY . /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/file = file
    "#]],
    );
    check(
        "s socket",
        "COPY socket /x",
        expect![[r#"
        socket is a socket, which cannot be copied
    "#]],
    );
    let world = World::new();
    let directory = world.directory("context", "f file 644 file");
    let device = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o666);
    let kind = FileType::CharacterDevice;
    let made = mknodat(CWD, directory.join("null"), kind, mode, device);
    made.expect("this test needs root: it makes a device");
    let session = world.session();
    let tree = copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /x/").unwrap();
    assert!(listed(&session, &tree).contains("/x/null (character device)"));
}

#[test]
fn holes_stay_holes() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", "");
    let file = std::fs::File::create(directory.join("sparse")).unwrap();
    file.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"end", (8 << 20) - 3).unwrap();
    let tree = copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /").unwrap();
    assert!(tree.layers()[0].size < 1 << 20, "{} bytes", tree.layers()[0].size);
    let again = copied(&session, &Tree::empty(), &tree, "COPY /sparse /again").unwrap();
    assert!(again.layers()[0].size < 1 << 20, "{} bytes", again.layers()[0].size);
    // A file without holes has the same content, and so the same key.
    let mut content = vec![0; 8 << 20];
    content[(8 << 20) - 3..].copy_from_slice(b"end");
    std::fs::write(directory.join("full"), content).unwrap();
    std::fs::set_permissions(
        directory.join("full"),
        std::fs::metadata(directory.join("sparse")).unwrap().permissions(),
    )
    .unwrap();
    let context = world.open(&directory, "");
    let keys: Vec<_> = ["sparse", "full"]
        .iter()
        .map(|name| {
            std::fs::create_dir_all(directory.join(format!("in-{name}"))).unwrap();
            std::fs::rename(directory.join(name), directory.join(format!("in-{name}/file"))).unwrap();
            key(&session, &Tree::empty(), &context, &format!("COPY in-{name} /x")).unwrap()
        })
        .collect();
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_file_that_changes_before_it_is_copied_is_named() {
    let world = World::new();
    let session = world.session();
    for change in ["content", "longer", "gone", "link", "pipe", "socket", "directory"] {
        let directory = world.directory(change, "f dir/file 644 first");
        let context = world.open(&directory, "");
        let op = crate::build::world::op("COPY dir /x");
        let inputs = [Tree::empty(), context];
        let step = build::Step::new(0, session.cancel, &crate::build::world::quiet);
        crate::build::copy::content(&session, &op, &inputs, &step).unwrap();
        let file = directory.join("dir/file");
        match change {
            "content" => std::fs::write(&file, "other").unwrap(),
            "longer" => std::fs::write(&file, "longer than before").unwrap(),
            "gone" => std::fs::remove_file(&file).unwrap(),
            "link" => {
                std::fs::remove_file(&file).unwrap();
                std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
            }
            "pipe" | "socket" => {
                std::fs::remove_file(&file).unwrap();
                let kind = if change == "pipe" { FileType::Fifo } else { FileType::Socket };
                mknodat(CWD, &file, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }
            _ => {
                std::fs::rename(directory.join("dir"), directory.join("moved")).unwrap();
                std::os::unix::fs::symlink("/etc", directory.join("dir")).unwrap();
            }
        }
        let error = crate::build::copy::perform(&session, &op, &inputs, &step).unwrap_err();
        assert!(words(&error).contains("dir/file changed while it was read"), "{change}: {}", words(&error));
    }
}

#[test]
fn nothing_outside_is_read_while_directories_become_links() {
    let world = World::new();
    let session = world.session();
    let outside = world.directory("outside", "f file 644 secret\nf sub/file 644 secret");
    let directory = world.directory("context", "f dir/file 644 own\nf dir/sub/file 644 own\nf more 644 more");
    let ended = AtomicBool::new(false);
    let (dir, moved) = (directory.join("dir"), directory.join("moved"));
    let swap = || {
        while !ended.load(Ordering::Relaxed) {
            std::fs::rename(&dir, &moved).unwrap();
            std::os::unix::fs::symlink(&outside, &dir).unwrap();
            std::fs::remove_file(&dir).unwrap();
            std::fs::rename(&moved, &dir).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(swap);
        let mut copies = 0;
        for _ in 0..300 {
            if let Ok(tree) = copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /x/") {
                copies += 1;
                let listed = listed(&session, &tree);
                if listed.contains("secret") {
                    ended.store(true, Ordering::Relaxed);
                    panic!("{listed}");
                }
            }
        }
        ended.store(true, Ordering::Relaxed);
        assert!(copies > 0, "not one copy came through");
    });
}

#[test]
fn known_files_are_not_read_again() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", "f a 644 a\nf b 644 b");
    // Times of long ago, as only a clock could make them: what is known is what is asked for.
    let context = world.open(&directory, "");
    let first = key(&session, &Tree::empty(), &context, "COPY . /x").unwrap();
    let stat = rustix::fs::stat(directory.join("a")).unwrap();
    let identity = Identity::of(&stat);
    assert!(identity.is_recent(60_000) && !identity.is_recent(-60_000));
    world.hashes.keep(&[(identity, oci::Digest::of(b"said to be so"))]);
    let said = key(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /x").unwrap();
    assert_ne!(first, said, "the digest that is known counts");
    std::fs::write(directory.join("a"), "A").unwrap();
    std::fs::write(directory.join("a"), "a").unwrap();
    let read = key(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /x").unwrap();
    assert_eq!(first, read, "a file that was written has another identity");
}

#[test]
fn single_files_are_read_within_bounds() {
    let world = World::new();
    let directory = world.directory(
        "context",
        "f Dockerfile 644 FROM\nl inner Dockerfile\nl outer /Dockerfile\nl up ../../Dockerfile\np pipe\nl out /etc/passwd\nd dir 755",
    );
    let read = |path: &str, limit| {
        let read = read_file(&directory, Path::new(path), limit);
        read.map(|content| content.map(|content| String::from_utf8(content).unwrap()))
            .map_err(|error| words(&error))
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    for path in ["Dockerfile", "inner", "outer", "up"] {
        assert_eq!(read(path, 100), some("FROM"), "{path}");
    }
    for path in ["none", "out", "Dockerfile/none"] {
        assert_eq!(read(path, 100), Ok(None), "{path}");
    }
    for path in ["pipe", "dir"] {
        let error = read(path, 100).unwrap_err();
        assert!(error.contains("is not a regular file"), "{path}: {error}");
    }
    assert_eq!(read("Dockerfile", 4), some("FROM"));
    assert!(read("Dockerfile", 3).unwrap_err().contains("is larger than 3 bytes"));
}

/// What comes of a stream.
fn received(bytes: &[u8]) -> String {
    let world = World::new();
    let session = world.session();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let bytes = bytes.to_owned();
    let feeder = std::thread::spawn(move || drop(writer.write_all(&bytes)));
    let received = receive(&session, OwnedFd::from(reader), 100, session.cancel, &|_| {});
    let text = match received {
        Ok(Received::Tree(tree)) => listed(&session, &tree),
        Ok(Received::Dockerfile(text)) => format!("Dockerfile {:?}\n", String::from_utf8(text).unwrap()),
        Err(error) => words(&error) + "\n",
    };
    feeder.join().unwrap();
    text
}

#[test]
fn a_stream_is_a_tar_or_a_dockerfile() {
    let tar = |members: &[(&str, &str)]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let good = tar(&[("Dockerfile", "FROM scratch"), ("./dir/file", "file")]);
    expect![[r#"
        0644 0:0 /Dockerfile = FROM scratch
        0755 0:0 /dir/
        0644 0:0 /dir/file = file
    "#]]
    .assert_eq(&received(&good));
    expect![[r#"
        0644 0:0 /Dockerfile = FROM scratch
        0755 0:0 /dir/
        0644 0:0 /dir/file = file
    "#]]
    .assert_eq(&received(&gzip(&good)));
    expect![[r#"
        Dockerfile "FROM scratch\n"
    "#]]
    .assert_eq(&received(b"FROM scratch\n"));
    expect![[r#"
        Dockerfile ""
    "#]]
    .assert_eq(&received(b""));
    expect![[r#"
        failed to read dockerfile: - is larger than 100 bytes
    "#]]
    .assert_eq(&received("x".repeat(101).as_bytes()));
    expect![[r#"
        the context from standard input is neither a tar nor a Dockerfile
    "#]]
    .assert_eq(&received(b"FROM \0"));
    expect![[r#""#]].assert_eq(&received(&tar(&[])));
    expect![[r#"
        read the context: archive - is refused: tar entry "../out" (offset 0): the name contains '..', which could leave the root
    "#]].assert_eq(&received(&tar(&[("../out", "evil")])));
    expect![[r#"
        read the context: archive - is refused: tar entry "/etc/passwd" (offset 0): the name is absolute; names in a layer are relative to its root
    "#]].assert_eq(&received(&tar(&[("/etc/passwd", "evil")])));
    expect![[r#"
        read the context: archive - is refused: tar entry "Dockerfile" (offset 0): the archive ends inside this entry: 324 more bytes are needed; it is truncated
    "#]].assert_eq(&received(&good[..700]));
    expect![[r#"
        read the context: read -: decompress - as gzip: incomplete deflate stream
    "#]]
    .assert_eq(&received(&gzip(&good)[..60]));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let world = World::new();
    let hashes: std::sync::Arc<dyn Hashes> = world.hashes.clone();
    let error = super::Files::open(Path::new("/nonexistent"), ("context", ""), None, hashes).unwrap_err();
    assert!(words(&error).contains("open /nonexistent"), "{}", words(&error));
    make(&world.scratch.join("file"), "");
}
