//! Keys, and what layers are made of beside files of the caller: stages, documents, directories.

use super::*;

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
        0644 7:8 /y/a.txt = a
        0600 7:8 /y/b.txt = b
        0644 7:8 /y/hard = a
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
    let step = build::Step::new(0, session.cancel, &quiet);
    let base =
        copied(&session, &Tree::empty(), &world.context("base", "d usr/src 755\nl src usr/src"), "COPY . /");
    let base = base.unwrap();
    let made = make_directory(&session, "/src/a/b", Some("3:4"), std::slice::from_ref(&base), &step).unwrap();
    let tree = with(&base, made);
    expect![[r#"
        0777 0:0 /src -> usr/src
        0755 0:0 /usr/
        0755 0:0 /usr/src/
        0755 3:4 /usr/src/a/
        0755 3:4 /usr/src/a/b/
    "#]]
    .assert_eq(&listed(&session, &tree));
    let again = make_directory(&session, "/src/a/b", None, std::slice::from_ref(&tree), &step).unwrap();
    assert_eq!(again.size, 1024, "what is there is no part of the layer");
}

#[test]
fn a_part_of_a_context_becomes_a_layer_once() {
    let world = World::new();
    let session = world.session();
    let step = build::Step::new(0, session.cancel, &quiet);
    let context = world.context("context", TREE);
    let one = as_layer(&session, &context, "dir/sub", &step).unwrap();
    expect![[r#"
        0755 0:0 /dir/
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
    "#]]
    .assert_eq(&listed(&session, &one));
    assert_eq!(one.chain(), as_layer(&session, &context, "/dir/sub", &step).unwrap().chain());
    let other = world.context("other", &TREE.replace("750", "700"));
    let directory = as_layer(&session, &context, "dir", &step).unwrap();
    assert!(
        listed(&session, &directory).starts_with("0750 0:0 /dir/\n"),
        "a directory is shown with its mode"
    );
    let contents = [&context, &other].map(|tree| part_content(&session, tree, "dir", &step).unwrap());
    assert_ne!(contents[0], contents[1]);
    let file = as_layer(&session, &context, "out", &step).unwrap_err();
    expect![[
        r#"failed to compute cache key: failed to calculate checksum of ref context: "/out": not found"#
    ]]
    .assert_eq(&words(&file));
    let file = as_layer(&session, &context, "a.txt", &step).unwrap();
    expect![[r#"
        0644 0:0 /a.txt = a
    "#]]
    .assert_eq(&listed(&session, &file));
    let document = inline(&session, "run.sh", "echo hello", 0o644).unwrap();
    let document = with(&Tree::empty(), document);
    expect![[r#"
        0644 0:0 /run.sh = echo hello
    "#]]
    .assert_eq(&listed(&session, &document));
    assert_eq!(op("COPY a /b/").destination, "/b/");
}
