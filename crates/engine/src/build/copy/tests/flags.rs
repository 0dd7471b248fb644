//! What flags and ignore files change.

use super::*;

#[test]
fn flags_change_what_is_copied() {
    check(expect![[r#"
        COPY --chown=5:6 dir /x/y
            0755 5:6 /x/
            0755 5:6 /x/y/
            0777 5:6 /x/y/link -> ../a.txt
            0600 5:6 /x/y/pipe (pipe)
            0755 5:6 /x/y/run = run
            0755 5:6 /x/y/sub/
            0644 5:6 /x/y/sub/deep = deep

        over f etc/passwd 644 app:x:1000:100::/:/bin/sh
        over f etc/group 644 staff:x:50:
        COPY --chown=app:staff a.txt /x
            0755 0:0 /etc/
            0644 0:0 /etc/group = staff:x:50:
            0644 0:0 /etc/passwd = app:x:1000:100::/:/bin/sh
            0644 1000:50 /x = a

        COPY --chown=app a.txt /x
            unable to find user app: no matching entries in passwd file

        COPY --chmod=600 dir /x
            0600 0:0 /x/
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0600 0:0 /x/run = run
            0600 0:0 /x/sub/
            0600 0:0 /x/sub/deep = deep

        COPY --chmod=u=rwX,go=rX . /x
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

        COPY --exclude=*.txt --exclude=dir/sub . /x
            0755 0:0 /x/
            0750 0:0 /x/dir/
            0777 0:0 /x/dir/link -> ../a.txt
            0600 0:0 /x/dir/pipe (pipe)
            0755 0:0 /x/dir/run = run
            0644 0:0 /x/hard = a
            0777 0:0 /x/out -> /etc/hostname

        COPY --exclude=a* *.txt /x/
            0755 0:0 /x/
            0600 0:0 /x/b.txt = b

        COPY --exclude=dir --exclude=!dir/sub/deep dir/ . /x/
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
    "#]]);
}

#[test]
fn a_mode_in_digits_is_that_of_made_directories_too() {
    check(expect![[r#"
        COPY --chmod=640 dir/sub /etc/x
            0755 0:0 /etc/
            0640 0:0 /etc/x/
            0640 0:0 /etc/x/deep = deep

        over f b 644 b
        COPY --chmod=750 dir/sub /x/y
        COPY --chmod=640 a.txt /z/
        COPY --chmod=go= dir/sub /symbolic/
            0644 0:0 /b = b
            0755 0:0 /symbolic/
            0600 0:0 /symbolic/deep = deep
            0750 0:0 /x/
            0750 0:0 /x/y/
            0750 0:0 /x/y/deep = deep
            0640 0:0 /z/
            0640 0:0 /z/a.txt = a
    "#]]);
}

#[test]
fn directories_that_are_made_get_no_more_than_the_usual_mask_leaves() {
    check(expect![[r#"
        over f b 644 b
        COPY --chmod=777 dir/sub /x/y
        COPY --chmod=7 a.txt /z/
            0644 0:0 /b = b
            0755 0:0 /x/
            0755 0:0 /x/y/
            0777 0:0 /x/y/deep = deep
            0005 0:0 /z/
            0007 0:0 /z/a.txt = a
    "#]]);
}

#[test]
fn what_readers_of_layers_would_refuse_is_not_written() {
    let refused = |context: &str, copies: &str, reason: &str| {
        let world = World::new();
        let session = world.session();
        let error = copied(&session, &Tree::empty(), &world.context("context", context), copies);
        let error = words(&error.unwrap_err());
        assert!(error.contains(reason), "{copies}: {error}");
    };
    refused(TREE, "COPY a.txt /.wh.bin", "/.wh.bin cannot be part of a layer: a name that begins with .wh.");
    refused("f sub/.wh..wh..opq 644 x", "COPY . /x/", "a name that begins with .wh. is a mark in a layer");
    refused(TREE, &format!("COPY a.txt /{}", "x".repeat(256)), "a name is longer than 255 bytes");
    refused(TREE, &format!("COPY a.txt {}", "/directory".repeat(420)), "its path is too long");
    refused(TREE, &format!("COPY a.txt {}", "/d".repeat(600)), "its path is too long");
}

#[test]
fn parents_are_kept_where_asked_for() {
    check(expect![[r#"
        COPY --parents dir/sub/deep a.txt /x/
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a
            0750 0:0 /x/dir/
            0755 0:0 /x/dir/sub/
            0644 0:0 /x/dir/sub/deep = deep

        COPY --parents dir/./sub/deep /x/
            0755 0:0 /x/
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        COPY --parents **/run /x/
            0755 0:0 /x/
            0750 0:0 /x/dir/
            0755 0:0 /x/dir/run = run

        COPY --parents dir /x/
            0755 0:0 /x/
            0750 0:0 /x/dir/
            0777 0:0 /x/dir/link -> ../a.txt
            0600 0:0 /x/dir/pipe (pipe)
            0755 0:0 /x/dir/run = run
            0755 0:0 /x/dir/sub/
            0644 0:0 /x/dir/sub/deep = deep

        COPY --parents dir/none /x/
            failed to compute cache key: failed to calculate checksum of ref context: "/dir/none": not found
    "#]]);
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
        failed to compute cache key: failed to calculate checksum of ref context: "/dir/run": not found
    "#]]
    .assert_eq(&tree("dir", "COPY dir/run /"));
    expect![[r#"
        0755 0:0 /run = run
    "#]]
    .assert_eq(&tree("dir\n!dir/run", "COPY dir /"));
    expect![[r#"
        failed to compute cache key: failed to calculate checksum of ref context: "/dir": not found
    "#]]
    .assert_eq(&tree("dir\n!dir/none", "COPY dir /"));
}

#[test]
fn a_context_of_layers_has_an_ignore_file_too() {
    let world = World::new();
    let session = world.session();
    let step = build::Step::new(0, session.cancel, &quiet);
    let tree = copied(&session, &Tree::empty(), &world.context("stage", TREE), "COPY . /").unwrap();
    let without = |lines: &[&str]| {
        let ignored = dockerfile::ignore::Matcher::new(lines).unwrap();
        super::super::without(&session, &tree, &ignored, &step).unwrap()
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
