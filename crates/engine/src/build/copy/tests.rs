//! What copies make, as tables: files of a context, an instruction, the resulting tree.

use expect_test::{Expect, expect};

use crate::build::tree::Tree;
use crate::build::world::{World, copied, key, listed, op, words};

/// Copies of a context, over a base that is copied from another one.
fn check(base: &str, context: &str, copies: &str, expected: Expect) {
    let world = World::new();
    let session = world.session();
    let tree = if base.trim().is_empty() {
        Tree::empty()
    } else {
        copied(&session, &Tree::empty(), &world.context("base", base), "COPY . /").unwrap()
    };
    let context = world.context("context", context);
    let shown = match copied(&session, &tree, &context, copies) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error) + "\n",
    };
    expected.assert_eq(&shown);
}

const TREE: &str = "
    f a.txt 644 a
    f b.txt 600 b
    d dir 750
    f dir/run 755 run
    f dir/sub/deep 644 deep
    l dir/link ../a.txt
    l out /etc/hostname
    p dir/pipe
    h hard a.txt
";

#[test]
fn a_context_is_copied_whole() {
    check(
        "",
        TREE,
        "COPY . /",
        expect![[r#"
        0644 0:0 /a.txt = a (2 links)
        0600 0:0 /b.txt = b
        0750 0:0 /dir/
        0777 0:0 /dir/link -> ../a.txt
        0600 0:0 /dir/pipe (pipe)
        0755 0:0 /dir/run = run
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
        0644 0:0 /hard = a (2 links)
        0777 0:0 /out -> /etc/hostname
    "#]],
    );
}

#[test]
fn a_file_goes_where_its_destination_says() {
    check(
        "",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/y = a
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt /x/y/",
        expect![[r#"
        0755 0:0 /x/
        0755 0:0 /x/y/
        0644 0:0 /x/y/a.txt = a
    "#]],
    );
    check(
        "d x/y 700",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        0755 0:0 /x/
        0700 0:0 /x/y/
        0644 0:0 /x/y/a.txt = a
    "#]],
    );
    check(
        "f x 644 old",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        0644 0:0 /x = a
    "#]],
    );
    check(
        "f x 644 old",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        failed to solve: mkdir /x: not a directory
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt b.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
        0600 0:0 /x/b.txt = b
    "#]],
    );
    check(
        "",
        TREE,
        "COPY out /x",
        expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/out": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/link /x",
        expect![[r#"
        0644 0:0 /x = a
    "#]],
    );
}

#[test]
fn a_directory_stands_for_what_is_in_it() {
    check(
        "",
        TREE,
        "COPY dir /x",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/ /x/",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "d x 711\nd x/sub 711\nf x/sub/deep 600 old\nf x/kept 644 kept",
        TREE,
        "COPY dir /x",
        expect![[r#"
            0711 0:0 /x/
            0644 0:0 /x/kept = kept
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep
        "#]],
    );
    check(
        "f x 644 file",
        TREE,
        "COPY dir /x",
        expect![[r#"
        failed to solve: cannot copy to non-directory: /x
    "#]],
    );
    check(
        "f x/sub 644 file",
        TREE,
        "COPY dir /x",
        expect![[r#"
        failed to solve: cannot copy to non-directory: /x/sub
    "#]],
    );
    check(
        "d x/run 755",
        TREE,
        "COPY dir /x",
        expect![[r#"
        failed to solve: cannot replace to directory /x/run with file
    "#]],
    );
}

#[test]
fn links_of_the_destination_are_followed_within_the_tree() {
    check(
        "d usr/lib 755\nl lib usr/lib",
        TREE,
        "COPY a.txt /lib/",
        expect![[r#"
        0777 0:0 /lib -> usr/lib
        0755 0:0 /usr/
        0755 0:0 /usr/lib/
        0644 0:0 /usr/lib/a.txt = a
    "#]],
    );
    check(
        "d usr/lib 755\nl lib /usr/lib",
        TREE,
        "COPY dir /lib/x",
        expect![[r#"
        0777 0:0 /lib -> /usr/lib
        0755 0:0 /usr/
        0755 0:0 /usr/lib/
        0755 0:0 /usr/lib/x/
        0777 0:0 /usr/lib/x/link -> ../a.txt
        0600 0:0 /usr/lib/x/pipe (pipe)
        0755 0:0 /usr/lib/x/run = run
        0755 0:0 /usr/lib/x/sub/
        0644 0:0 /usr/lib/x/sub/deep = deep
    "#]],
    );
    check(
        "l up ../../../../etc",
        TREE,
        "COPY a.txt /up/x",
        expect![[r#"
        0755 0:0 /etc/
        0644 0:0 /etc/x = a
        0777 0:0 /up -> ../../../../etc
    "#]],
    );
    check(
        "l x /y",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        0777 0:0 /x -> /y
        0644 0:0 /y = a
    "#]],
    );
    check(
        "l x y\nl y x",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        failed to solve: /x: too many levels of symbolic links
    "#]],
    );
    // One that a copied directory meets is replaced by a file, and refused for a directory.
    check(
        "d t 755\nl x/run ../t",
        TREE,
        "COPY dir /x",
        expect![[r#"
        0755 0:0 /t/
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "d t 755\nl x/sub ../t",
        TREE,
        "COPY dir /x",
        expect![[r#"
        failed to solve: cannot copy to non-directory: /x/sub
    "#]],
    );
}

#[test]
fn patterns_name_several_files() {
    check(
        "",
        TREE,
        "COPY *.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
        0600 0:0 /x/b.txt = b
    "#]],
    );
    check(
        "",
        TREE,
        "COPY di? /x/",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY */sub/* /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt none* /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
    "#]],
    );
    check("", TREE, "COPY none* /x/", expect![[r#""#]]);
    check(
        "",
        TREE,
        "COPY none /x/",
        expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/none": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/none /x/",
        expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/dir/none": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY ../../a.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
    "#]],
    );
}

#[test]
fn flags_change_what_is_copied() {
    check(
        "",
        TREE,
        "COPY --chown=5:6 dir /x/y",
        expect![[r#"
        0755 5:6 /x/
        0755 5:6 /x/y/
        0777 5:6 /x/y/link -> ../a.txt
        0600 5:6 /x/y/pipe (pipe)
        0755 5:6 /x/y/run = run
        0755 5:6 /x/y/sub/
        0644 5:6 /x/y/sub/deep = deep
    "#]],
    );
    check(
        "f etc/passwd 644 app:x:1000:100::/:/bin/sh\nf etc/group 644 staff:x:50:",
        TREE,
        "COPY --chown=app:staff a.txt /x",
        expect![[r#"
            0755 0:0 /etc/
            0644 0:0 /etc/group = staff:x:50:
            0644 0:0 /etc/passwd = app:x:1000:100::/:/bin/sh
            0644 1000:50 /x = a
        "#]],
    );
    check(
        "",
        TREE,
        "COPY --chown=app a.txt /x",
        expect![[r#"
        failed to solve: unable to find user app: no matching entries in passwd file
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --chmod=600 dir /x",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0600 0:0 /x/run = run
        0600 0:0 /x/sub/
        0600 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --chmod=u=rwX,go=rX . /x",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a (2 links)
        0644 0:0 /x/b.txt = b
        0755 0:0 /x/dir/
        0777 0:0 /x/dir/link -> ../a.txt
        0644 0:0 /x/dir/pipe (pipe)
        0755 0:0 /x/dir/run = run
        0755 0:0 /x/dir/sub/
        0644 0:0 /x/dir/sub/deep = deep
        0644 0:0 /x/hard = a (2 links)
        0777 0:0 /x/out -> /etc/hostname
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --exclude=*.txt --exclude=dir/sub . /x",
        expect![[r#"
        0755 0:0 /x/
        0750 0:0 /x/dir/
        0777 0:0 /x/dir/link -> ../a.txt
        0600 0:0 /x/dir/pipe (pipe)
        0755 0:0 /x/dir/run = run
        0644 0:0 /x/hard = a
        0777 0:0 /x/out -> /etc/hostname
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --exclude=a* *.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0600 0:0 /x/b.txt = b
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --exclude=dir --exclude=!dir/sub/deep dir/ . /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a (2 links)
        0600 0:0 /x/b.txt = b
        0750 0:0 /x/dir/
        0755 0:0 /x/dir/sub/
        0644 0:0 /x/dir/sub/deep = deep
        0644 0:0 /x/hard = a (2 links)
        0777 0:0 /x/link -> ../a.txt
        0777 0:0 /x/out -> /etc/hostname
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
}

#[test]
fn parents_are_kept_where_asked_for() {
    check(
        "",
        TREE,
        "COPY --parents dir/sub/deep a.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
        0750 0:0 /x/dir/
        0755 0:0 /x/dir/sub/
        0644 0:0 /x/dir/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --parents dir/./sub/deep /x/",
        expect![[r#"
        0755 0:0 /x/
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --parents **/run /x/",
        expect![[r#"
        0755 0:0 /x/
        0750 0:0 /x/dir/
        0755 0:0 /x/dir/run = run
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --parents dir /x/",
        expect![[r#"
        0755 0:0 /x/
        0750 0:0 /x/dir/
        0777 0:0 /x/dir/link -> ../a.txt
        0600 0:0 /x/dir/pipe (pipe)
        0755 0:0 /x/dir/run = run
        0755 0:0 /x/dir/sub/
        0644 0:0 /x/dir/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY --parents dir/none /x/",
        expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/dir/none": not found
    "#]],
    );
}

#[test]
fn what_is_left_out_is_not_there() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", TREE);
    let tree = |ignored: &str, copy: &str| match copied(
        &session,
        &Tree::empty(),
        &world.open(&directory, ignored),
        copy,
    ) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error) + "\n",
    };
    expect![[r#"
        0750 0:0 /dir/
        0777 0:0 /dir/link -> ../a.txt
        0600 0:0 /dir/pipe (pipe)
        0755 0:0 /dir/run = run
        0644 0:0 /hard = a
        0777 0:0 /out -> /etc/hostname
    "#]]
    .assert_eq(&tree("*.txt\ndir/sub", "COPY . /"));
    expect![[r#"
        0750 0:0 /dir/
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
    "#]]
    .assert_eq(&tree("*\n!dir/sub/deep", "COPY . /"));
    expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/dir/run": not found
    "#]].assert_eq(&tree("dir", "COPY dir/run /"));
    expect![[r#"
        0755 0:0 /run = run
    "#]]
    .assert_eq(&tree("dir\n!dir/run", "COPY dir /"));
    expect![[r#"
        failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/dir": not found
    "#]].assert_eq(&tree("dir\n!dir/none", "COPY dir /"));
}

#[test]
fn the_key_is_made_of_what_shows_in_the_result() {
    let world = World::new();
    let session = world.session();
    let of = |name: &str, lines: &str, copy: &str| {
        key(&session, &Tree::empty(), &world.context(name, lines), copy).unwrap()
    };
    let plain = of("1", TREE, "COPY dir /x");
    assert_eq!(plain, of("2", TREE, "COPY dir /x"), "another directory of the same content");
    assert_eq!(plain, of("3", &format!("{TREE}\nf other 644 other"), "COPY dir /x"), "what is not copied");
    assert_eq!(plain, of("4", &TREE.replace("dir", "moved"), "COPY moved /x"), "the name of a directory");
    for (number, lines) in [
        TREE.replace("755 run", "755 ran"),
        TREE.replace("755 run", "700 run"),
        TREE.replace("../a.txt", "../b.txt"),
        TREE.replace("sub/deep", "sub/deeper"),
        format!("{TREE}\nd dir/more 755"),
    ]
    .iter()
    .enumerate()
    {
        assert_ne!(plain, of(&format!("other {number}"), lines, "COPY dir /x"), "{lines}");
    }
    for copy in ["COPY dir /y", "COPY dir /x/", "COPY --chown=1 dir /x", "COPY --chmod=1 dir /x"] {
        assert_ne!(plain, of(&copy.replace('/', "_"), TREE, copy), "{copy}");
    }
    let base = copied(&session, &Tree::empty(), &world.context("base", "f b 644 b"), "COPY . /").unwrap();
    let context = world.context("on a base", TREE);
    assert_ne!(plain, key(&session, &base, &context, "COPY dir /x").unwrap(), "the base");
}

#[test]
fn a_layer_is_the_same_whenever_it_is_made() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", TREE);
    let make = || copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /x").unwrap();
    assert_eq!(make().chain(), make().chain());
}

#[test]
fn nothing_is_a_layer_too() {
    let world = World::new();
    let session = world.session();
    let tree = copied(&session, &Tree::empty(), &world.context("empty", ""), "COPY . /").unwrap();
    assert_eq!(tree.layers()[0].size, 1024);
    assert_eq!(listed(&session, &tree), "");
}

#[test]
fn files_of_layers_are_copied_with_their_owners() {
    let world = World::new();
    let session = world.session();
    let stage =
        copied(&session, &Tree::empty(), &world.context("stage", TREE), "COPY --chown=7:8 . /src").unwrap();
    let tree =
        copied(&session, &Tree::empty(), &stage, "COPY /src/dir /x\nCOPY /src/*.txt /src/hard /y/").unwrap();
    expect![[r#"
        0755 0:0 /x/
        0777 7:8 /x/link -> ../a.txt
        0600 7:8 /x/pipe (pipe)
        0755 7:8 /x/run = run
        0755 7:8 /x/sub/
        0644 7:8 /x/sub/deep = deep
        0755 0:0 /y/
        0644 7:8 /y/a.txt = a (2 links)
        0600 7:8 /y/b.txt = b
        0644 7:8 /y/hard = a (2 links)
    "#]]
    .assert_eq(&listed(&session, &tree));
    // Made anew with the same content it has the same key, whatever the layer.
    let again = world.context("again", &format!("{TREE}\nf more 644 more"));
    let again = copied(&session, &Tree::empty(), &again, "COPY --chown=7:8 . /src").unwrap();
    assert_ne!(stage.chain(), again.chain());
    let key = |stage: &Tree| key(&session, &Tree::empty(), stage, "COPY /src/dir /x").unwrap();
    assert_eq!(key(&stage), key(&again));
}

#[test]
fn a_working_directory_is_made_with_those_above_it() {
    let world = World::new();
    let session = world.session();
    let step = build::Step::new(0, session.cancel, &crate::build::world::quiet);
    let base =
        copied(&session, &Tree::empty(), &world.context("base", "d usr/src 755\nl src usr/src"), "COPY . /");
    let base = base.unwrap();
    let made =
        super::make_directory(&session, "/src/a/b", Some("3:4"), std::slice::from_ref(&base), &step).unwrap();
    let tree = crate::build::world::with(&base, made);
    expect![[r#"
        0777 0:0 /src -> usr/src
        0755 0:0 /usr/
        0755 0:0 /usr/src/
        0755 3:4 /usr/src/a/
        0755 3:4 /usr/src/a/b/
    "#]]
    .assert_eq(&listed(&session, &tree));
    let again =
        super::make_directory(&session, "/src/a/b", None, std::slice::from_ref(&tree), &step).unwrap();
    assert_eq!(again.size, 1024, "what is there is no part of the layer");
}

#[test]
fn a_part_of_a_context_becomes_a_layer_once() {
    let world = World::new();
    let session = world.session();
    let step = build::Step::new(0, session.cancel, &crate::build::world::quiet);
    let context = world.context("context", TREE);
    let one = super::as_layer(&session, &context, "dir/sub", &step).unwrap();
    expect![[r#"
        0755 0:0 /dir/
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
    "#]]
    .assert_eq(&listed(&session, &one));
    assert_eq!(one.chain(), super::as_layer(&session, &context, "/dir/sub", &step).unwrap().chain());
    let file = super::as_layer(&session, &context, "out", &step).unwrap_err();
    expect![[r#"failed to solve: failed to compute cache key: failed to calculate checksum of ref context: "/out": not found"#]].assert_eq(&words(&file));
    let file = super::as_layer(&session, &context, "a.txt", &step).unwrap();
    expect![[r#"
        0644 0:0 /a.txt = a
    "#]]
    .assert_eq(&listed(&session, &file));
    let document = super::inline(&session, "run.sh", "echo hello", 0o644).unwrap();
    let document = crate::build::world::with(&Tree::empty(), document);
    expect![[r#"
        0644 0:0 /run.sh = echo hello
    "#]]
    .assert_eq(&listed(&session, &document));
    assert_eq!(op("COPY a /b/").destination, "/b/");
}

/// An archive of these members: kind, name, and content or target.
fn archive(members: &[(char, &str, &str)]) -> Vec<u8> {
    use image::tar::{Body, END, Member, Time, padding, write_member};
    let mut tar = Vec::new();
    for (kind, name, content) in members {
        let body = match kind {
            'd' => Body::Directory,
            'l' => Body::Symlink(content.as_bytes()),
            'h' => Body::Hardlink(content.as_bytes()),
            _ => Body::File(content.len() as u64),
        };
        let (mode, mtime) = (if *kind == 'd' { 0o700 } else { 0o640 }, Time { secs: 7, nanos: 0 });
        let path = name.as_bytes();
        write_member(&Member { path, body, mode, uid: 11, gid: 12, mtime, xattrs: &[] }, &mut tar);
        if *kind == 'f' {
            tar.extend_from_slice(content.as_bytes());
            tar.resize(tar.len() + padding(content.len() as u64), 0);
        }
    }
    tar.extend_from_slice(&END);
    tar
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// ADD of a file with this content, over a base.
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
fn check_added(base: &str, content: &[u8], copies: &str, expected: Expect) {
    let world = World::new();
    let session = world.session();
    let base = copied(&session, &Tree::empty(), &world.context("base", base), "COPY . /").unwrap();
    let directory = world.directory("context", "");
    std::fs::write(directory.join("a"), content).unwrap();
    let shown = match copied(&session, &base, &world.open(&directory, ""), copies) {
        Ok(tree) => listed(&session, &tree),
        Err(error) => words(&error) + "\n",
    };
    expected.assert_eq(&shown);
}

#[test]
fn archives_are_unpacked_where_they_are_added() {
    let tar = archive(&[
        ('d', "dir", ""),
        ('f', "dir/file", "one"),
        ('h', "dir/hard", "dir/file"),
        ('l', "link", "dir/file"),
        ('f', "new/deep", "two"),
    ]);
    check_added(
        "",
        &tar,
        "ADD a /x",
        expect![[r#"
        0755 0:0 /x/
        0700 11:12 /x/dir/
        0640 11:12 /x/dir/file = one (2 links)
        0640 11:12 /x/dir/hard = one (2 links)
        0777 11:12 /x/link -> dir/file
        0755 0:0 /x/new/
        0640 11:12 /x/new/deep = two
    "#]],
    );
    check_added(
        "",
        &gzipped(&tar),
        "ADD a /x/",
        expect![[r#"
        0755 0:0 /x/
        0700 11:12 /x/dir/
        0640 11:12 /x/dir/file = one (2 links)
        0640 11:12 /x/dir/hard = one (2 links)
        0777 11:12 /x/link -> dir/file
        0755 0:0 /x/new/
        0640 11:12 /x/new/deep = two
    "#]],
    );
    check_added(
        "",
        &tar,
        "ADD --chown=1:2 a /x",
        expect![[r#"
        0755 1:2 /x/
        0700 1:2 /x/dir/
        0640 1:2 /x/dir/file = one (2 links)
        0640 1:2 /x/dir/hard = one (2 links)
        0777 1:2 /x/link -> dir/file
        0755 1:2 /x/new/
        0640 1:2 /x/new/deep = two
    "#]],
    );
    check_added(
        "",
        &tar,
        "COPY a /x",
        expect![[r#"
        0644 0:0 /x = 4608 bytes
    "#]],
    );
    // What is in the way goes, whatever it is.
    check_added(
        "f dir 644 file\nf link/below 644 below\nf new 644 file",
        &tar,
        "ADD a /",
        expect![[r#"
        0700 11:12 /dir/
        0640 11:12 /dir/file = one (2 links)
        0640 11:12 /dir/hard = one (2 links)
        0777 11:12 /link -> dir/file
        0755 0:0 /new/
        0640 11:12 /new/deep = two
    "#]],
    );
    // A directory without an entry of its own goes through a link of the base; one with, replaces it.
    check_added(
        "l new other\nl dir other\nd other 755",
        &tar,
        "ADD a /",
        expect![[r#"
        0700 11:12 /dir/
        0640 11:12 /dir/file = one (2 links)
        0640 11:12 /dir/hard = one (2 links)
        0777 11:12 /link -> dir/file
        0777 0:0 /new -> other
        0755 0:0 /other/
        0640 11:12 /other/deep = two
    "#]],
    );
}

#[test]
fn what_is_no_archive_is_copied() {
    check_added(
        "",
        b"",
        "ADD a /x",
        expect![[r#"
        0644 0:0 /x = 
    "#]],
    );
    check_added(
        "",
        b"text",
        "ADD a /x",
        expect![[r#"
        0644 0:0 /x = text
    "#]],
    );
    check_added(
        "",
        &gzipped(b"no tar"),
        "ADD a /x",
        expect![[r#"
        0644 0:0 /x = 26 bytes, no text
    "#]],
    );
    check_added(
        "",
        &[0; 1024],
        "ADD a /x",
        expect![[r#"
        0644 0:0 /x = 1024 bytes
    "#]],
    );
}

#[test]
fn a_context_of_layers_has_an_ignore_file_too() {
    let world = World::new();
    let session = world.session();
    let step = build::Step::new(0, session.cancel, &crate::build::world::quiet);
    let tree = copied(&session, &Tree::empty(), &world.context("stage", TREE), "COPY . /").unwrap();
    let without = |lines: &[&str]| {
        let ignored = dockerfile::ignore::Matcher::new(lines).unwrap();
        super::without(&session, &tree, &ignored, &step).unwrap()
    };
    assert_eq!(tree.chain(), without(&["none"]).chain());
    expect![[r#"
        0750 0:0 /dir/
        0777 0:0 /dir/link -> ../a.txt
        0600 0:0 /dir/pipe (pipe)
        0755 0:0 /dir/run = run
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
    "#]]
    .assert_eq(&listed(&session, &without(&["*", "!dir", "dir/sub", "!dir/sub/deep"])));
}

#[test]
fn archives_stay_below_their_destination() {
    let refused = |members: &[(char, &str, &str)], expected: Expect| {
        check_added("f etc/passwd 644 root", &archive(members), "ADD a /x", expected);
    };
    refused(
        &[('f', "../etc/passwd", "evil")],
        expect![[r#"
        failed to solve: unpack a: archive a is refused: tar entry "../etc/passwd" (offset 0): the name contains '..', which could leave the root
    "#]],
    );
    refused(
        &[('f', "/etc/passwd", "evil")],
        expect![[r#"
        failed to solve: unpack a: archive a is refused: tar entry "/etc/passwd" (offset 0): the name is absolute; names in a layer are relative to its root
    "#]],
    );
    refused(
        &[('l', "out", "/etc"), ('f', "out/passwd", "evil")],
        expect![[r#"
        0755 0:0 /etc/
        0644 0:0 /etc/passwd = root
        0755 0:0 /x/
        0755 0:0 /x/out/
        0640 11:12 /x/out/passwd = evil
    "#]],
    );
    refused(
        &[('l', "out", "../etc"), ('h', "in", "out/passwd")],
        expect![[r#"
        failed to solve: unpack a: archive entry a: "in": its link target "out/passwd" does not exist, or comes later
    "#]],
    );
    refused(
        &[('h', "in", "../etc/passwd")],
        expect![[r#"
        failed to solve: unpack a: archive a is refused: tar entry "in" (offset 0): the link target contains '..', which could leave the root
    "#]],
    );
    let cut = &archive(&[('f', "a", "one"), ('f', "b", &"two".repeat(1000))])[..2000];
    check_added(
        "",
        cut,
        "ADD a /x",
        expect![[r#"
        failed to solve: unpack a: archive a is refused: tar entry "b" (offset 1024): the archive ends inside this entry: 2608 more bytes are needed; it is truncated
    "#]],
    );
    let gzip = gzipped(&archive(&[('f', "a", "one"), ('f', "b", &"two".repeat(1000))]));
    check_added(
        "",
        &gzip[..gzip.len() - 9],
        "ADD a /x",
        expect![[r#"
        failed to solve: unpack a: read a: decompress a as gzip: incomplete deflate stream
    "#]],
    );
}
