//! The rules of merging, as tables, and against a naive model of directories in maps.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod snapshots_support;

use erofs::{Body, Tree as _};
use expect_test::{Expect, expect};
use image::merge::{Error, Limits, Merger, Tree};
use image::tar::{self, Parser};
use proptest::prelude::*;
use snapshots_support::{Member, archive, directory, file, hardlink, pax, symlink};
use std::collections::BTreeMap;
use std::fmt::Write as _;

fn merge(limits: Limits, layers: &[Vec<u8>]) -> Result<Tree, Error> {
    let mut merger = Merger::new(limits);
    for layer in layers {
        merger.begin_layer()?;
        let mut parser = Parser::new(tar::Limits::default());
        let mut entries = Vec::new();
        parser
            .push(layer, &mut |entry| {
                entries.push(entry);
                Ok::<_, tar::Error>(())
            })
            .unwrap();
        for entry in entries {
            merger.add(entry)?;
        }
    }
    Ok(merger.finish())
}

/// One line per name: path, inode, mode, links, what it is and where its data lies.
fn show(tree: &Tree) -> String {
    let mut text = String::new();
    show_directory(tree, 0, "", &mut text);
    text
}

fn show_directory(tree: &Tree, number: u32, path: &str, text: &mut String) {
    let inode = tree.inode(number);
    let shown = if path.is_empty() { "/" } else { path };
    write!(text, "{shown} {number} {:o} links={}", inode.mode, inode.links).unwrap();
    match inode.body {
        Body::File { size } => {
            let mut extents = Vec::new();
            tree.extents(number, &mut extents);
            let layers: Vec<u16> = extents.iter().map(|extent| extent.device).collect();
            write!(text, " {size} bytes of {layers:?}").unwrap();
        }
        Body::Symlink(target) => write!(text, " -> {}", target.escape_ascii()).unwrap(),
        Body::Directory => text.push_str(" directory"),
        Body::CharDevice(_) | Body::BlockDevice(_) | Body::Fifo | Body::Socket => text.push_str(" special"),
    }
    tree.xattr_set(inode.xattrs, &mut |name, value| {
        write!(text, " {}={}", name.escape_ascii(), value.escape_ascii()).unwrap();
    });
    text.push('\n');
    if matches!(inode.body, Body::Directory) {
        for (name, child) in tree.children(number) {
            show_directory(tree, child, &format!("{path}/{}", name.escape_ascii()), text);
        }
    }
}

fn check(layers: &[&[Member<'_>]], expected: Expect) {
    let layers: Vec<Vec<u8>> = layers.iter().map(|members| archive(members)).collect();
    match merge(Limits::default(), &layers) {
        Ok(tree) => expected.assert_eq(&show(&tree)),
        Err(error) => expected.assert_eq(&format!("{error}\n")),
    }
}

#[test]
fn no_layer_at_all_is_an_empty_root() {
    check(
        &[],
        expect![[r#"
        / 0 755 links=2 directory
    "#]],
    );
}

#[test]
fn whiteouts_spare_their_own_layer() {
    check(
        &[
            &[directory("d"), file("d/old", "1"), file("f", "1"), directory("e"), file("e/old", "1")],
            &[
                file("d/new", "22"),
                file(".wh.d", ""),
                file("f", "22"),
                file(".wh.f", ""),
                file("e/.wh..wh..opq", ""),
                file("e/new", "22"),
            ],
        ],
        expect![[r#"
            / 0 755 links=4 directory
            /d 1 755 links=2 directory
            /d/new 4 644 links=1 2 bytes of [1]
            /e 2 755 links=2 directory
            /e/new 5 644 links=1 2 bytes of [1]
            /f 3 644 links=1 2 bytes of [1]
        "#]],
    );
}

#[test]
fn a_replaced_directory_loses_all_that_was_below() {
    check(
        &[
            &[directory("d"), directory("d/sub"), file("d/sub/f", "1"), hardlink("kept", "d/sub/f")],
            &[file("d", "22")],
            &[Member { mode: 0o700, ..directory("d") }, file("d/new", "333")],
        ],
        expect![[r#"
            / 0 755 links=3 directory
            /d 1 700 links=2 directory
            /d/new 3 644 links=1 3 bytes of [2]
            /kept 2 644 links=1 1 bytes of [0]
        "#]],
    );
}

#[test]
fn hard_links_keep_the_inode_that_was_there() {
    check(
        &[
            &[file("f", "1"), symlink("s", "f"), hardlink("self", "f"), hardlink("self", "self")],
            &[hardlink("before", "f"), file("f", "22"), hardlink("after", "f"), hardlink("link", "s")],
            &[file(".wh.s", ""), file("before/below", "333")],
        ],
        expect![[r#"
            / 0 755 links=3 directory
            /after 1 644 links=2 2 bytes of [1]
            /before 2 755 links=2 directory
            /before/below 5 644 links=1 3 bytes of [2]
            /f 1 644 links=2 2 bytes of [1]
            /link 3 777 links=1 -> f
            /self 4 644 links=1 1 bytes of [0]
        "#]],
    );
}

#[test]
fn what_is_no_directory_becomes_one_when_something_lies_below() {
    check(
        &[
            &[symlink("l", "/etc"), file("f", "1")],
            &[file("l/passwd", "22"), file("f/x", "22"), file("none/at/all", "22")],
        ],
        expect![[r#"
            / 0 755 links=5 directory
            /f 1 755 links=2 directory
            /f/x 4 644 links=1 2 bytes of [1]
            /l 2 755 links=2 directory
            /l/passwd 5 644 links=1 2 bytes of [1]
            /none 3 755 links=3 directory
            /none/at 6 755 links=2 directory
            /none/at/all 7 644 links=1 2 bytes of [1]
        "#]],
    );
}

#[test]
fn entries_of_aufs_are_passed_over() {
    check(
        &[&[
            directory(".wh..wh.plnk"),
            file(".wh..wh.plnk/1.2", "x"),
            file(".wh..wh.aufs", ""),
            directory(".wh..wh.orph"),
            file("d/.wh..wh.anything", ""),
            file("f", ""),
        ]],
        expect![[r#"
            / 0 755 links=2 directory
            /f 1 644 links=1 0 bytes of []
        "#]],
    );
}

#[test]
fn whiteouts_of_nothing_are_no_error() {
    check(
        &[&[
            file(".wh.a", ""),
            file("b/.wh.c", ""),
            file("b/.wh..wh..opq", ""),
            file("f", ""),
            file("f/.wh.x", ""),
        ]],
        expect![[r#"
            / 0 755 links=2 directory
            /f 1 644 links=1 0 bytes of []
        "#]],
    );
}

/// Work that is done for every child, live or not, would make this take minutes.
#[test]
fn clearing_a_directory_again_and_again_is_cheap() {
    let names: Vec<String> = (0..100_000).map(|number| format!("d/{number}")).collect();
    let lower: Vec<Member<'_>> = names.iter().map(|name| file(name, "")).collect();
    let clash = [file("d", ""), directory("d"), file("d/.wh..wh..opq", ""), file(".wh.d", "")];
    let upper = archive(&clash.repeat(10_000));
    let layers = [archive(&lower), upper.clone(), upper];
    let started = std::time::Instant::now();
    let tree = merge(Limits::default(), &layers).unwrap();
    assert_eq!(tree.inodes(), 2);
    // A hundredth of what 40,000 walks over 100,000 names would take.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn the_root_has_attributes_too() {
    check(
        &[
            &[Member { mode: 0o700, ..directory("./") }],
            &[file("f", "")],
            &[Member { mode: 0o711, ..directory(".") }],
        ],
        expect![[r#"
            / 0 711 links=2 directory
            /f 1 644 links=1 0 bytes of []
        "#]],
    );
}

#[test]
fn only_attributes_that_may_be_are_kept() {
    let mut layer = Vec::new();
    for (key, member) in [
        ("trusted.overlay.opaque", directory("d")),
        ("user.overlay.whiteout", file("f", "")),
        ("com.apple.provenance", file("g", "")),
        ("user.x", file("kept", "")),
        ("user.x", symlink("dropped", "x")),
        ("security.x", symlink("kept-too", "x")),
        ("system.posix_acl_default", file("no-acl", "")),
        ("system.posix_acl_default", directory("acl")),
    ] {
        layer.extend(pax(&format!("SCHILY.xattr.{key}"), b"1"));
        layer.extend(snapshots_support::member(&member));
    }
    expect![[r#"
        / 0 755 links=4 directory
        /acl 1 755 links=2 directory system.posix_acl_default=1
        /d 2 755 links=2 directory
        /dropped 3 777 links=1 -> x
        /f 4 644 links=1 0 bytes of []
        /g 5 644 links=1 0 bytes of []
        /kept 6 644 links=1 0 bytes of [] user.x=1
        /kept-too 7 777 links=1 -> x security.x=1
        /no-acl 8 644 links=1 0 bytes of []
    "#]]
    .assert_eq(&show(&merge(Limits::default(), &[layer]).unwrap()));
}

#[test]
fn entries_that_do_not_fit_are_named() {
    let small =
        Limits { layers: 2, names: 4, text_bytes: 64, xattr_bytes: 100, sparse_extents: 2, inodes: 6 };
    let with = |key: &str, value: &[u8], member: &Member<'_>| {
        [pax(key, value), snapshots_support::member(member)].concat()
    };
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("bare whiteout", vec![archive(&[file("d/.wh.", "")])]),
        ("whiteout of .", vec![archive(&[file(".wh..", "")])]),
        ("whiteout of ..", vec![archive(&[file("d/.wh...", "")])]),
        ("below a whiteout", vec![archive(&[file("d/.wh.x/f", "")])]),
        ("link to nothing", vec![archive(&[]), archive(&[file("f", ""), hardlink("l", "etc/passwd")])]),
        ("link to a later entry", vec![archive(&[hardlink("l", "f"), file("f", "")])]),
        ("link to a directory", vec![archive(&[directory("d"), hardlink("l", "d")])]),
        ("link to the root", vec![archive(&[hardlink("l", "/")])]),
        (
            "link through a symbolic link",
            vec![archive(&[directory("d"), file("d/f", ""), symlink("s", "d"), hardlink("l", "s/f")])],
        ),
        (
            "link to what was deleted",
            vec![archive(&[file("f", "")]), archive(&[file(".wh.f", ""), hardlink("l", "f")])],
        ),
        ("layers", vec![archive(&[]), archive(&[]), archive(&[])]),
        ("inodes", vec![archive(&[file("f", ""); 7])]),
        ("names", vec![archive(&[file("a/b/c/d", "")])]),
        (
            "text",
            vec![archive(&[symlink(
                "s",
                "a target of more than sixty-four bytes makes the text grow too large",
            )])],
        ),
        ("attributes", vec![with("SCHILY.xattr.user.x", &[0; 40], &file("f", ""))]),
        (
            "holes",
            vec![
                [
                    pax("GNU.sparse.size", b"1000"),
                    with("GNU.sparse.map", b"0,5,600,5", &file("f", "0123456789")),
                ]
                .concat(),
            ],
        ),
    ];
    let table: String = cases
        .into_iter()
        .map(|(name, layers)| format!("{name}: {}\n", merge(small, &layers).unwrap_err()))
        .collect();
    expect![[r#"
        bare whiteout: layer 0, entry "d/.wh." (offset 0): a whiteout names no file
        whiteout of .: layer 0, entry ".wh.." (offset 0): a whiteout names '.' or '..'
        whiteout of ..: layer 0, entry "d/.wh..." (offset 0): a whiteout names '.' or '..'
        below a whiteout: layer 0, entry "d/.wh.x/f" (offset 0): it lies below a whiteout; names that start with '.wh.' are reserved
        link to nothing: layer 1, entry "l" (offset 512): its link target "etc/passwd" does not exist, or comes later
        link to a later entry: layer 0, entry "l" (offset 0): its link target "f" does not exist, or comes later
        link to a directory: layer 0, entry "l" (offset 512): its link target "d" is a directory
        link to the root: layer 0, entry "l" (offset 0): its link target "/" is a directory
        link through a symbolic link: layer 0, entry "l" (offset 1536): its link target "s/f" does not exist, or comes later
        link to what was deleted: layer 1, entry "l" (offset 512): its link target "f" does not exist, or comes later
        layers: layer 2, entry "/" (offset 0): the number of layers exceeds the limit of 2
        inodes: layer 0, entry "f" (offset 2560): the number of inodes exceeds the limit of 6
        names: layer 0, entry "a/b/c/d" (offset 0): the number of names exceeds the limit of 4
        text: layer 0, entry "s" (offset 0): the length of all names and link targets exceeds the limit of 64
        attributes: layer 0, entry "f" (offset 0): the size of all extended attributes exceeds the limit of 100
        holes: layer 0, entry "f" (offset 0): the number of pieces of sparse files exceeds the limit of 2
    "#]].assert_eq(&table);
}

/// What the model knows of a name.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Directory(BTreeMap<Vec<u8>, Node>),
    /// The inode, told apart by the layer and number of the entry that made it.
    Other(usize, usize),
}

/// An operation on names of a small alphabet, so that they clash often.
#[derive(Clone, Debug)]
enum Operation {
    Directory(Vec<u8>),
    File(Vec<u8>),
    Link(Vec<u8>, Vec<u8>),
    Whiteout(Vec<u8>),
    Opaque(Vec<u8>),
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/").into_bytes())
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        3 => path().prop_map(Operation::Directory),
        4 => path().prop_map(Operation::File),
        1 => (path(), path()).prop_map(|(name, target)| Operation::Link(name, target)),
        1 => path().prop_map(Operation::Whiteout),
        1 => path().prop_map(Operation::Opaque),
    ]
}

/// The model: whiteouts first, on the lower tree as it was, then additions in order. Links to what is not there are left
/// out of the layer, as are links that a whiteout of the same layer makes ambiguous.
fn model(layers: &[Vec<Operation>]) -> (Node, Vec<Vec<u8>>) {
    let mut root = Node::Directory(BTreeMap::new());
    let mut archives = Vec::new();
    for (layer, operations) in layers.iter().enumerate() {
        let mut members = Vec::new();
        for operation in operations {
            match operation {
                Operation::Whiteout(path) => remove(&mut root, path, false),
                Operation::Opaque(path) => remove(&mut root, path, true),
                Operation::Directory(_) | Operation::File(_) | Operation::Link(..) => {}
            }
        }
        for (number, operation) in operations.iter().enumerate() {
            let member = |name: &[u8], kind, link: &[u8], size: usize| {
                snapshots_support::member(&Member { name, kind, link, data: &vec![0; size], mode: 0o600 })
            };
            let split = |path: &[u8]| match path.iter().rposition(|&byte| byte == b'/') {
                Some(slash) => (path[..=slash].to_vec(), path[slash + 1..].to_vec()),
                None => (Vec::new(), path.to_vec()),
            };
            match operation {
                Operation::Whiteout(path) => {
                    let (parent, name) = split(path);
                    members.push(member(&[parent, b".wh.".to_vec(), name].concat(), b'0', b"", 0));
                }
                Operation::Opaque(path) => {
                    members.push(member(&[path, b"/.wh..wh..opq".as_slice()].concat(), b'0', b"", 0))
                }
                Operation::Directory(path) => {
                    let place = make(&mut root, path);
                    if !matches!(place, Node::Directory(_)) {
                        *place = Node::Directory(BTreeMap::new());
                    }
                    members.push(member(path, b'5', b"", 0));
                }
                Operation::File(path) => {
                    *make(&mut root, path) = Node::Other(layer, number);
                    // The size tells the inode in the merged tree.
                    members.push(member(path, b'0', b"", 1 + layer * 100 + number));
                }
                Operation::Link(path, target) => {
                    let has_whiteouts = operations
                        .iter()
                        .any(|other| matches!(other, Operation::Whiteout(_) | Operation::Opaque(_)));
                    if let Some(found @ Node::Other(..)) = find(&root, target)
                        && !has_whiteouts
                    {
                        let found = found.clone();
                        *make(&mut root, path) = found;
                        members.push(member(path, b'1', target, 0));
                    }
                }
            }
        }
        archives.push(members.concat());
    }
    (root, archives)
}

fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
}

fn find<'a>(root: &'a Node, path: &[u8]) -> Option<&'a Node> {
    names(path).try_fold(root, |node, name| match node {
        Node::Directory(children) => children.get(&name),
        Node::Other(..) => None,
    })
}

/// The place of a name that does not exist yet holds an inode that no entry has.
fn make<'a>(root: &'a mut Node, path: &[u8]) -> &'a mut Node {
    names(path).fold(root, |node, name| {
        if !matches!(node, Node::Directory(_)) {
            *node = Node::Directory(BTreeMap::new());
        }
        match node {
            Node::Directory(children) => children.entry(name).or_insert(Node::Other(usize::MAX, 0)),
            Node::Other(..) => unreachable!("made a directory above"),
        }
    })
}

fn remove(root: &mut Node, path: &[u8], only_children: bool) {
    let (Node::Directory(children), Some(first)) = (root, names(path).next()) else { return };
    match path.get(first.len() + 1..) {
        Some(rest) => {
            if let Some(child) = children.get_mut(&first) {
                remove(child, rest, only_children);
            }
        }
        None if !only_children => drop(children.remove(&first)),
        None => {
            if let Some(Node::Directory(below)) = children.get_mut(&first) {
                below.clear();
            }
        }
    }
}

fn show_model(node: &Node, path: &str, text: &mut String) {
    match node {
        Node::Directory(children) => {
            writeln!(text, "{path}/").unwrap();
            for (name, child) in children {
                show_model(child, &format!("{path}/{}", name.escape_ascii()), text);
            }
        }
        Node::Other(layer, number) => writeln!(text, "{path} {}", 1 + layer * 100 + number).unwrap(),
    }
}

/// As [`show_model`] shows it; and that equal inodes are one inode.
fn show_merged(tree: &Tree, number: u32, path: &str, inodes: &mut BTreeMap<u64, u32>, text: &mut String) {
    match tree.inode(number).body {
        Body::Directory => {
            writeln!(text, "{path}/").unwrap();
            for (name, child) in tree.children(number) {
                show_merged(tree, child, &format!("{path}/{}", name.escape_ascii()), inodes, text);
            }
        }
        Body::File { size } => {
            assert_eq!(*inodes.entry(size).or_insert(number), number);
            writeln!(text, "{path} {size}").unwrap();
        }
        Body::Symlink(_) | Body::CharDevice(_) | Body::BlockDevice(_) | Body::Fifo | Body::Socket => {
            unreachable!("the model has none")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_merger_agrees_with_the_model(layers in prop::collection::vec(prop::collection::vec(operation(), 0..12), 1..5)) {
        let (root, archives) = model(&layers);
        let tree = merge(Limits::default(), &archives).unwrap();
        let (mut expected, mut found) = (String::new(), String::new());
        show_model(&root, "", &mut expected);
        show_merged(&tree, 0, "", &mut BTreeMap::new(), &mut found);
        prop_assert_eq!(found, expected);
    }
}
