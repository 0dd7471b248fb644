//! The contract of both snapshotters: what is mounted is what GNU tar unpacks from the layers, one over the other.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod snapshots_support;

use image::Store;
use image::snapshots::{Erofs, Privilege, RootFs, Snapshots, Trees};
use image::store::{Fault, Faults, Remover};
use oci::{DiffId, Digest};
use proptest::prelude::*;
use snapshots_support::{
    Member, Mount, Scratch, Source, Tar, archive, assert_same, directory, file, hardlink, listing, reference,
    symlink, with_mount_points,
};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// `cap_net_raw=p`, version 2.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A store that holds the layers, and what a snapshotter is asked for.
struct Image {
    store: Store,
    id: Digest,
    layers: Vec<DiffId>,
}

fn image(scratch: &Scratch, tars: &[Tar]) -> Image {
    let store = Store::open(&scratch.join("root")).unwrap();
    for tar in tars {
        std::fs::copy(&tar.path, store.layer_path(&tar.diff_id)).unwrap();
    }
    let layers: Vec<DiffId> = tars.iter().map(|tar| tar.diff_id.clone()).collect();
    let id = Digest::of(format!("{layers:?}").as_bytes());
    Image { store, id, layers }
}

fn mount(scratch: &Scratch, root: &RootFs, flags: &[&str]) -> Mount {
    match root {
        RootFs::Erofs { index, devices } => Mount::erofs(index, devices),
        RootFs::Trees { layers } => {
            // An overlay wants two lower directories at least.
            let bottom = scratch.join("bottom");
            std::fs::create_dir_all(&bottom).unwrap();
            let mut layers = layers.clone();
            layers.push(bottom);
            Mount::overlay(&layers, flags)
        }
    }
}

/// Every snapshotter, asked twice, mounts what the reference has.
fn check(scratch: &Scratch, tars: &[Tar]) {
    let expected = listing(&reference(scratch, tars));
    let image = image(scratch, tars);
    let with_points = with_mount_points(&expected);
    let all: [(&dyn Snapshots, &[String]); 2] =
        [(&Erofs, &with_points), (&Trees::new(Privilege::Host), &expected)];
    for (snapshots, expected) in all {
        let root = snapshots.prepare(&image.store, &image.id, &image.layers).unwrap();
        assert_same(expected, &listing(&mount(scratch, &root, &[]).root()));
        assert_eq!(snapshots.prepare(&image.store, &image.id, &image.layers).unwrap(), root);
    }
    assert_eq!(std::fs::read_dir(scratch.join("root/tmp")).unwrap().count(), 0, "half-done work is left");
}

fn check_scripts(layers: &[&str]) {
    let scratch = Scratch::new();
    let tars: Vec<Tar> = layers.iter().map(|script| scratch.layer(&Source::script(script))).collect();
    check(&scratch, &tars);
}

/// Hand-made layers, each of which must describe the directories that it changes, as the reference would
/// otherwise have the times of its own making.
fn check_members(layers: &[&[Member<'_>]]) {
    let scratch = Scratch::new();
    let make =
        |(number, members): (usize, &&[_])| scratch.raw_layer(&format!("{number}.tar"), &archive(members));
    let tars: Vec<Tar> = layers.iter().enumerate().map(make).collect();
    check(&scratch, &tars);
}

#[test]
fn one_layer_with_everything() {
    let scratch = Scratch::new();
    let tar = scratch.layer(&Source {
        script: "mkdir -p d/e; echo hello > d/file; ln d/file d/hard; ln -s file d/link; mkfifo d/fifo; mknod d/null c 1 3
                 mknod d/disk b 259 4; chown 1234:70000 d/file; chmod 6755 d/file; chmod 1777 d; touch -d @1.5 d/e
                 truncate -s 1M d/sparse; echo end >> d/sparse; chmod 555 .",
        xattrs: &[
            ("d/file", "security.capability", CAPABILITY),
            ("d/file", "user.note", b"x"),
            ("d/e", "trusted.note", b"y"),
            ("d/link", "trusted.note", b"z"),
            ("d/null", "trusted.note", b"z"),
        ],
        options: &["--sparse"],
    });
    check(&scratch, &[tar]);
}

#[test]
fn mount_points_spare_what_the_image_has() {
    check_scripts(&[
        "mkdir -p proc/own etc dev; echo 1 > etc/hosts; ln -s ../run/resolv.conf etc/resolv.conf; ln -s /dev sys",
    ]);
    check_scripts(&["ln -s usr/etc etc; echo 1 > proc"]);
    check_scripts(&["mkdir etc; chmod 700 etc; echo 1 > etc/hostname", "mkdir etc; touch etc/.wh.hostname"]);
}

#[test]
fn deletions_hide_what_lower_layers_have() {
    check_scripts(&[
        "mkdir -p gone/deep opaque/sub kept; echo 1 > gone/deep/f; echo 2 > opaque/old; echo 3 > opaque/sub/f; echo 4 > kept/f
         echo 5 > file; ln -s file link; echo 6 > again; mkdir dir-again; echo 7 > dir-again/old",
        "mkdir -p opaque/sub kept dir-again; : > .wh.gone; : > opaque/.wh..wh..opq; echo new > opaque/new; echo new > opaque/sub/new
         : > kept/.wh.f; : > .wh.file; : > .wh.link; : > .wh.never-was; : > .wh.again; echo anew > again
         : > .wh.dir-again; echo new > dir-again/new",
        "mkdir gone; echo back > gone/f; echo third > file; mkdir opaque; : > opaque/.wh.new; echo last > kept",
    ]);
}

#[test]
fn clashes_replace_and_directories_merge() {
    check_scripts(&[
        "mkdir -p dir/sub merged/sub; echo f > dir/f; echo a > merged/a; echo f > file; ln -s dir link; ln -s nowhere dangling
         mkfifo fifo; mkdir to-link; echo x > to-link/x; chmod 700 merged; chown 5:5 merged; touch -d @1000 merged",
        "echo now-a-file > dir; mkdir -p file/sub merged; echo f > file/sub/f; echo b > merged/b; mkdir link; echo f > link/f
         echo x > dangling; rm -f fifo; mknod fifo c 1 5; ln -s merged to-link; chmod 1770 merged; touch -d @2000 merged",
        "mkdir -p dir/anew merged/sub; echo c > merged/sub/c; : > file; ln -s elsewhere link; chown 9:9 merged",
    ]);
}

#[test]
fn hard_links_reach_into_lower_layers() {
    check_members(&[
        &[
            directory("."),
            directory("d"),
            file("d/f", "lower"),
            hardlink("d/twin", "d/f"),
            symlink("s", "d/f"),
            file("x", "old"),
        ],
        &[
            directory("."),
            directory("d"),
            hardlink("d/link", "d/f"),
            hardlink("to-symlink", "s"),
            // The link keeps the inode that its target had.
            hardlink("kept", "x"),
            file("x", "new"),
            hardlink("newer", "x"),
        ],
        &[
            directory("."),
            file(".wh.x", ""),
            hardlink("third", "/kept"),
            directory("d"),
            file("d/f", "again"),
        ],
    ]);
}

#[test]
fn deletions_apply_first_wherever_they_stand() {
    check_members(&[
        &[
            directory("."),
            directory("d"),
            file("d/old", "1"),
            directory("d/sub"),
            file("d/sub/old", "1"),
            file("f", "1"),
        ],
        &[
            directory("."),
            directory("d"),
            file("d/new", "2"),
            directory("d/sub"),
            file("d/sub/new", "2"),
            file("d/.wh..wh..opq", ""),
            file("f", "2"),
            file(".wh.f", ""),
            file(".wh.d", ""),
        ],
    ]);
}

#[test]
fn of_two_entries_the_later_wins() {
    check_members(&[
        &[
            directory("."),
            file("f", "first"),
            file("f", "second"),
            symlink("l", "a"),
            symlink("l", "b"),
            file("e", "x"),
        ],
        &[directory("."), file("e", "old"), file("e", "new"), hardlink("f", "e"), hardlink("f", "e")],
    ]);
}

/// The parents are in the lower layer, or in none.
#[test]
fn missing_parents_have_the_attributes_from_below() {
    let scratch = Scratch::new();
    let lower =
        scratch.layer(&Source::script("mkdir -p a/b; chmod 2711 a/b; chown 7:8 a/b; touch -d @77 a a/b ."));
    let upper = scratch.raw_layer("upper.tar", &archive(&[file("a/b/f", "x"), file("c/d/f", "y")]));
    let tars = [lower, upper];
    let image = image(&scratch, &tars);
    let all: [&dyn Snapshots; 2] = [&Erofs, &Trees::new(Privilege::Host)];
    for snapshots in all {
        let root = snapshots.prepare(&image.store, &image.id, &image.layers).unwrap();
        let listing = listing(&mount(&scratch, &root, &[]).root());
        let below = |line: &&str| ["./a", "./c", ". "].iter().any(|path| line.starts_with(path));
        let directories: Vec<&str> =
            listing.iter().map(String::as_str).filter(below).filter(|line| line.contains(" 4")).collect();
        assert_eq!(
            directories,
            [
                "./. 40755 0:0 77.000000000",
                "./a 40755 0:0 77.000000000",
                "./a/b 42711 7:8 77.000000000",
                "./c 40755 0:0 0.000000000",
                "./c/d 40755 0:0 0.000000000",
            ]
            .map(|line| line.strip_prefix("./").filter(|line| line.starts_with('.')).unwrap_or(line)),
        );
    }
}

#[test]
fn an_entry_below_a_link_makes_a_directory_of_it() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.join("outside")).unwrap();
    let outside = scratch.join("outside").display().to_string();
    let tars = [
        scratch.raw_layer(
            "0.tar",
            &archive(&[symlink("lib", "usr/lib"), directory("usr/lib"), symlink("out", &outside)]),
        ),
        scratch.raw_layer(
            "1.tar",
            &archive(&[file("lib/f", "x"), file("out/f", "x"), symlink("in", &outside), file("in/f", "x")]),
        ),
    ];
    let image = image(&scratch, &tars);
    let all: [&dyn Snapshots; 2] = [&Erofs, &Trees::new(Privilege::Host)];
    for snapshots in all {
        let root = snapshots.prepare(&image.store, &image.id, &image.layers).unwrap();
        let mount = mount(&scratch, &root, &[]);
        for name in ["lib", "out", "in"] {
            assert!(std::fs::symlink_metadata(mount.root().join(name)).unwrap().is_dir(), "{name}");
            assert_eq!(std::fs::read(mount.root().join(name).join("f")).unwrap(), b"x");
        }
        assert_eq!(std::fs::read_dir(scratch.join("outside")).unwrap().count(), 0);
    }
}

#[test]
fn a_layer_does_not_speak_to_overlayfs() {
    let scratch = Scratch::new();
    let mut bytes = Vec::new();
    for (name, key) in
        [("d", "trusted.overlay.opaque"), ("e", "user.overlay.opaque"), ("f", "trusted.overlay.redirect")]
    {
        bytes.extend(snapshots_support::pax(&format!("SCHILY.xattr.{key}"), b"y"));
        bytes.extend(snapshots_support::member(&directory(name)));
    }
    bytes.resize(bytes.len() + 1024, 0);
    let lower = scratch.layer(&Source::script("mkdir d e f; echo x > d/x; echo x > e/x; echo x > f/x"));
    let tars = [lower, scratch.raw_layer("upper.tar", &bytes)];
    let image = image(&scratch, &tars);
    let all: [&dyn Snapshots; 2] = [&Erofs, &Trees::new(Privilege::Host)];
    for snapshots in all {
        let root = snapshots.prepare(&image.store, &image.id, &image.layers).unwrap();
        let mount = mount(&scratch, &root, &[]);
        for name in ["d/x", "e/x", "f/x"] {
            assert_eq!(std::fs::read(mount.root().join(name)).unwrap(), b"x\n", "{name}");
        }
    }
}

#[test]
fn trees_need_no_privilege() {
    let scratch = Scratch::new();
    let tars = [
        scratch.layer(&Source {
            script: "mkdir -p d/e locked; echo x > d/f; ln d/f d/g; mknod d/null c 1 3; echo y > d/y; mkdir gone; chown 5:5 d/f
                     chmod 500 locked; chmod 4711 d/f; chmod 555 .",
            xattrs: &[("d/f", "user.note", b"1"), ("d/f", "trusted.note", b"2")],
            options: &[],
        }),
        scratch.layer(&Source::script("mkdir d; : > d/.wh..wh..opq; echo z > d/z; : > .wh.gone")),
    ];
    // Someone else's store, worked on by a thread that is someone else.
    let image = image(&scratch, &tars);
    snapshots_support::shell(&scratch.join("root"), "chmod a+rx ..; chown -R 65534:65534 .");
    let prepared = std::thread::spawn(move || {
        let nobody = 65_534;
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(nobody)).unwrap();
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(nobody)).unwrap();
        assert_eq!(Privilege::of_this_process().unwrap(), Privilege::None);
        Trees::new(Privilege::None).prepare(&image.store, &image.id, &image.layers).unwrap()
    });
    let root = prepared.join().unwrap();
    let mount = mount(&scratch, &root, &["userxattr"]);
    let names: Vec<String> =
        listing(&mount.root()).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, [".", "./d", "./d/z", "./locked"]);
    let RootFs::Trees { layers } = root else { panic!("trees") };
    let base = layers.last().unwrap();
    let meta = |name| std::fs::symlink_metadata(base.join(name)).unwrap();
    assert_eq!(
        (meta("d/f").uid(), meta("d/f").nlink(), meta("d/f").permissions().mode()),
        (65_534, 2, 0o104_711)
    );
    assert_eq!(meta("locked").permissions().mode() & 0o777, 0o700);
    assert_eq!(snapshots_support::xattrs(&base.join("d/f")), [("user.note".into(), b"1".to_vec())]);
    assert_eq!(meta("d/null").rdev(), 0, "a device node is left out");
}

/// The child's part runs in a user namespace, where this process is root over 65,536 ids.
#[test]
fn trees_work_in_a_user_namespace() {
    const SCRATCH: &str = "SKIFF_TEST_SCRATCH";
    if let Some(scratch) = std::env::var_os(SCRATCH) {
        return in_user_namespace(scratch.as_ref());
    }
    let scratch = Scratch::new();
    let tars = [
        scratch.layer(&Source {
            script: "mkdir -p d/e; echo x > d/f; ln d/f d/g; mknod d/null c 1 3; mkdir gone; chown 5:65535 d/f; chmod 4711 d/f",
            xattrs: &[("d/f", "user.note", b"1"), ("d/f", "trusted.note", b"2"), ("d/f", "security.capability", CAPABILITY)],
            options: &[],
        }),
        scratch.layer(&Source::script("mkdir d; : > d/.wh..wh..opq; echo z > d/z; : > .wh.gone; echo f > f; chown 70000 f")),
    ];
    let image = image(&scratch, &tars);
    std::fs::write(scratch.join("layers"), format!("{} {}", image.layers[0], image.layers[1])).unwrap();
    snapshots_support::shell(scratch.path(), "chmod a+rx .; chown -R 1000000:1000000 root");
    spawn_in_user_namespace("trees_work_in_a_user_namespace", SCRATCH, scratch.path());
    let base = scratch.join("root/trees").join(image.layers[0].digest().encoded());
    let meta = |name| std::fs::symlink_metadata(base.join(name)).unwrap();
    assert_eq!((meta("d/f").uid(), meta("d/f").gid()), (1_000_005, 1_065_535));
    assert_eq!((meta("d/f").nlink(), meta("d/f").permissions().mode()), (2, 0o104_711));
    assert_eq!(meta("d/null").rdev(), 0, "a device node is left out");
    let names: Vec<_> =
        snapshots_support::xattrs(&base.join("d/f")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["security.capability", "user.note"]);
}

/// Trees of other ids are other trees, and all of them live and end with their layers.
#[test]
fn trees_are_told_apart_by_their_ids() {
    let scratch = Scratch::new();
    let tars = [scratch.layer(&Source::script("echo x > f")), scratch.layer(&Source::script("echo y > g"))];
    let image = image(&scratch, &tars);
    let all = [Trees::new(Privilege::Host), Trees::in_user_namespace("0a"), Trees::in_user_namespace("0b")];
    let mut roots = Vec::new();
    for trees in &all {
        assert!(!trees.is_ready(&image.store, &image.layers).unwrap());
        roots.push(trees.prepare(&image.store, &image.id, &image.layers).unwrap());
        assert!(trees.is_ready(&image.store, &image.layers).unwrap());
        assert_eq!(trees.root(&image.store, &image.layers), roots[roots.len() - 1]);
    }
    assert!(roots[0] != roots[1] && roots[1] != roots[2]);
    let count = || std::fs::read_dir(scratch.join("root/trees")).unwrap().count();
    assert_eq!(count(), 6);
    let mut live = image::Live::default();
    live.image(&image.id, &image.layers[..1]);
    assert_eq!(image.store.collector().unwrap().collect(&live).unwrap().derived, 3);
    assert_eq!(count(), 3);
    assert!(all.iter().all(|trees| trees.is_ready(&image.store, &image.layers[..1]).unwrap()));
}

/// A removal that stops halfway leaves no tree by the name under which it is asked for.
#[test]
fn a_tree_loses_its_name_before_its_files() {
    let scratch = Scratch::new();
    let tars = [scratch.layer(&Source::script("mkdir d; echo x > d/f"))];
    let image = image(&scratch, &tars);
    snapshots_support::shell(&scratch.join("root"), "chmod a+rx ..; chown -R 65534:65534 .");
    let trees = Trees::new(Privilege::None);
    let RootFs::Trees { layers } = trees.prepare(&image.store, &image.id, &image.layers).unwrap() else {
        panic!("trees")
    };
    // Somebody else's files, as far as nobody is concerned.
    snapshots_support::shell(&layers[0], "chown 65534:65534 .. .; mkdir -m 700 locked; echo x > locked/f");
    let (store, asked) = (image.store.clone(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let note = std::sync::Arc::clone(&asked);
    let refused = std::thread::spawn(move || {
        let nobody = 65_534;
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(nobody)).unwrap();
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(nobody)).unwrap();
        let store = store.with_remover(Remover::new(move |trees| {
            note.lock().unwrap().extend_from_slice(trees);
            Err(std::io::Error::other("not now"))
        }));
        store.collector().unwrap().collect(&image::Live::default())
    });
    let refused = refused.join().unwrap().unwrap_err();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert!(
        refused.to_string().starts_with("remove ") && refused.to_string().contains("trees/removed-"),
        "{refused}"
    );
    assert!(asked[0].join("locked").exists() && !layers[0].exists());
    assert!(!trees.is_ready(&image.store, &image.layers).unwrap());
    assert!(!image.store.layer_path(&image.layers[0]).exists(), "the rest is removed all the same");
    // The next one who may has it removed, beside another tree of that name.
    std::fs::create_dir(&layers[0]).unwrap();
    let _collected = image.store.collector().unwrap().collect(&image::Live::default()).unwrap();
    assert_eq!(std::fs::read_dir(scratch.join("root/trees")).unwrap().count(), 0);
}

/// Runs one test of this file again, in a namespace where id 0 is our 1,000,000, and so on.
fn spawn_in_user_namespace(test: &str, variable: &str, scratch: &Path) {
    let mut child = Command::new("unshare")
        .args(["--user", "--keep-caps", "--", "sh", "-c", "echo ready; read go; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(variable, scratch)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", child.id()), "0 1000000 65536").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn in_user_namespace(scratch: &Path) {
    rustix::thread::set_thread_gid(rustix::fs::Gid::ROOT).unwrap();
    rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT).unwrap();
    assert_eq!(Privilege::of_this_process().unwrap(), Privilege::UserNamespace);
    assert_eq!(
        image::snapshots::probe(&scratch.join("root/tmp")).unwrap_err().errno,
        rustix::io::Errno::PERM
    );
    let text = std::fs::read_to_string(scratch.join("layers")).unwrap();
    let layers: Vec<DiffId> = text.split(' ').map(|layer| layer.parse().unwrap()).collect();
    let store = Store::open(&scratch.join("root")).unwrap();
    let id = Digest::of(b"image");
    let trees = Trees::new(Privilege::UserNamespace);
    trees.prepare(&store, &id, &layers[..1]).unwrap();
    // An id beyond the map is an error that names the entry, and leaves nothing behind.
    let error = trees.prepare(&store, &id, &layers).unwrap_err();
    let reason = "f belongs to user 70000, and the user ids here end at 65535 (/proc/self/uid_map): have more lent in /etc/subuid, and map them all in a \
         user namespace of your own (unshare --map-root-user --map-auto)";
    assert_eq!(error.to_string(), format!("unpack layer {}: {reason}", layers[1]));
    assert_eq!(std::fs::read_dir(scratch.join("root/tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(scratch.join("root/trees")).unwrap().count(), 1);
}

#[test]
fn a_link_costs_no_more_than_the_layers_hold() {
    let scratch = Scratch::new();
    let large = "x".repeat(100_000);
    let mut tars = vec![scratch.raw_layer("0.tar", &archive(&[directory("."), file("f", &large)]))];
    for number in 1..4 {
        let name = format!("link-{number}");
        tars.push(
            scratch.raw_layer(&format!("{number}.tar"), &archive(&[directory("."), hardlink(&name, "f")])),
        );
    }
    let image = image(&scratch, &tars);
    let error = Trees::new(Privilege::Host).prepare(&image.store, &image.id, &image.layers).unwrap_err();
    assert!(error.to_string().contains("entry "), "{error}");
    assert!(error.to_string().contains("hard links to files of lower layers"), "{error}");
    // The index has no such cost.
    let root = Erofs.prepare(&image.store, &image.id, &image.layers).unwrap();
    let mount = mount(&scratch, &root, &[]);
    assert_eq!(std::fs::metadata(mount.root().join("f")).unwrap().nlink(), 4);
}

/// An entry that is refused leaves no tree, and none of the half-done work.
#[test]
fn a_refused_layer_leaves_nothing() {
    let scratch = Scratch::new();
    let tars = [
        scratch.raw_layer("0.tar", &archive(&[directory("."), file("f", "x")])),
        scratch.raw_layer("1.tar", &archive(&[directory("."), hardlink("l", "../../etc/passwd")])),
    ];
    let image = image(&scratch, &tars);
    let all: [&dyn Snapshots; 2] = [&Erofs, &Trees::new(Privilege::Host)];
    for snapshots in all {
        let mut error: &dyn std::error::Error =
            &snapshots.prepare(&image.store, &image.id, &image.layers).unwrap_err();
        let mut chain = error.to_string();
        while let Some(source) = error.source() {
            error = source;
            chain += &format!(": {error}");
        }
        let layer = &image.layers[1];
        assert_eq!(
            chain,
            format!(
                "index the merged layers: read layer {layer}: tar entry \"l\" (offset 512): the link target contains '..', which could leave the root"
            )
        );
    }
    let count = |name| std::fs::read_dir(scratch.join("root").join(name)).unwrap().count();
    assert_eq!((count("tmp"), count("images"), count("trees")), (0, 0, 1), "the lower layer is good");
}

/// A member with a name from a small alphabet, so that layers clash often: its kind, name and link target.
fn any_member() -> impl Strategy<Value = (u8, String, String)> {
    let path = || {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
            .prop_map(|names| names.join("/"))
    };
    let marks = prop::sample::select(vec!["", "", "", "", ".wh.", ".wh..wh..opq"]);
    (prop::sample::select(vec![b'5', b'5', b'0', b'0', b'0', b'1', b'2', b'6']), path(), marks, path())
        .prop_map(|(kind, name, mark, target)| match (mark, name.rsplit_once('/')) {
            ("", _) => (kind, name, target),
            (".wh.", Some((parent, name))) => (b'0', format!("{parent}/.wh.{name}"), String::new()),
            (".wh.", None) => (b'0', format!(".wh.{name}"), String::new()),
            (mark, _) => (b'0', format!("{name}/{mark}"), String::new()),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the layers say, both snapshotters mount the same, or both refuse.
    #[test]
    fn both_snapshotters_agree(layers in prop::collection::vec(prop::collection::vec(any_member(), 0..12), 1..5)) {
        let scratch = Scratch::new();
        let mut tars = Vec::new();
        for (number, members) in layers.iter().enumerate() {
            let data: Vec<String> = (0..members.len()).map(|member| format!("{number} {member}")).collect();
            let member = |((kind, name, link), data): (&(u8, String, String), &'_ String)| {
                let data = if *kind == b'0' { data.as_bytes().to_vec() } else { Vec::new() };
                snapshots_support::member(&Member {
                    name: name.as_bytes(),
                    kind: *kind,
                    link: if matches!(kind, b'1' | b'2') { link.as_bytes() } else { b"" },
                    data: &data,
                    mode: 0o640,
                })
            };
            // The number keeps layers apart that are equal otherwise.
            let mut bytes = snapshots_support::member(&file(&format!("layer-{number}"), ""));
            bytes.extend(members.iter().zip(&data).flat_map(member));
            bytes.resize(bytes.len() + 1024, 0);
            tars.push(scratch.raw_layer(&format!("{number}.tar"), &bytes));
        }
        let image = image(&scratch, &tars);
        let erofs = Erofs.prepare(&image.store, &image.id, &image.layers);
        let trees = Trees::new(Privilege::Host).prepare(&image.store, &image.id, &image.layers);
        match (erofs, trees) {
            (Ok(erofs), Ok(trees)) => assert_same(
                &listing(&mount(&scratch, &erofs, &[]).root()),
                &with_mount_points(&listing(&mount(&scratch, &trees, &[]).root())),
            ),
            (Err(one), Err(other)) => prop_assert_eq!(one.to_string(), other.to_string()),
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }
}

/// Fails the first, second, … effect of a preparation; after each, nothing half-done is left and a retry succeeds.
#[test]
fn a_failure_anywhere_leaves_nothing_half_done() {
    let scratch = Scratch::new();
    let tars = [
        scratch.layer(&Source::script("mkdir d; echo x > d/f; echo y > g")),
        scratch.layer(&Source::script("mkdir d; echo z > d/f; : > .wh.g")),
    ];
    let expected = listing(&reference(&scratch, &tars));
    let Image { id, layers, .. } = image(&scratch, &tars);
    let with_points = with_mount_points(&expected);
    let all: [(&dyn Snapshots, &[String]); 2] =
        [(&Erofs, &with_points), (&Trees::new(Privilege::Host), &expected)];
    for (snapshots, expected) in all {
        for nth in 1.. {
            for derived in ["trees", "images"] {
                drop(std::fs::remove_dir_all(scratch.join("root").join(derived)));
            }
            let whole = Store::open(&scratch.join("root")).unwrap();
            drop(std::fs::create_dir(scratch.join("root/images")));
            let faults = Faults::at(nth, Fault::Error);
            let failing = Store::open_with(&scratch.join("root"), faults.clone()).unwrap();
            let outcome = snapshots.prepare(&failing, &id, &layers);
            assert_eq!(outcome.is_err(), faults.struck(), "{nth}: {outcome:?}");
            assert_eq!(std::fs::read_dir(scratch.join("root/tmp")).unwrap().count(), 0, "{nth}");
            let root = snapshots.prepare(&whole, &id, &layers).unwrap();
            assert_same(expected, &listing(&mount(&scratch, &root, &[]).root()));
            if outcome.is_ok() {
                assert!(nth > 3, "a preparation has several effects");
                break;
            }
        }
    }
}

#[test]
fn this_kernel_mounts_erofs_from_files_for_root_only() {
    let scratch = Scratch::new();
    assert_eq!(image::snapshots::probe(scratch.path()), Ok(()));
    assert_eq!(Privilege::of_this_process().unwrap(), Privilege::Host);
    let path = scratch.path().to_owned();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
        image::snapshots::probe(&path)
    });
    assert_eq!(refused.join().unwrap().unwrap_err().errno, rustix::io::Errno::PERM);
}
