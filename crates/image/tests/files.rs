//! What a writable layer changed, read from its directories, is what the kernel's overlay shows: for both snapshotters.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod snapshots_support;

use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::Store;
use image::files::{ChangeKind, Item, Marks, MountPoints, Stack, Times, changes, export, layer, pack};
use image::snapshots::{Erofs, Privilege, RootFs, Snapshots, Trees};
use oci::{DiffId, Digest};
use proptest::prelude::*;
use snapshots_support::{Mount, Scratch, Source, Tar, listing, reference, run, shell};

/// The image below; with all that the index would add of its own.
const LOWER: &str = "\
    mkdir -p etc dir/sub empty gone/deep keep dev proc sys; touch .dockerenv etc/hostname etc/hosts etc/resolv.conf; echo a >etc/a; echo b >etc/b; ln -s a etc/link; echo x >dir/x
    echo y >dir/sub/y; echo z >gone/deep/z; echo k >keep/k; mknod node c 1 3; mkfifo pipe; ln etc/a keep/again
    ln -s dir way; chmod 2750 dir/sub; chown 7:8 dir/x";

/// A writable layer over an image.
struct Writable {
    scratch: Scratch,
    lower: Vec<PathBuf>,
    /// Keeps the EROFS index reachable.
    _image: Option<Mount>,
    tars: Vec<Tar>,
}

impl Writable {
    fn new(erofs: bool) -> Self {
        let scratch = Scratch::new();
        let tars = vec![scratch.layer(&Source::script(LOWER)), scratch.layer(&Source::script("echo c >c"))];
        let store = Store::open(&scratch.join("root")).unwrap();
        for tar in &tars {
            fs::copy(&tar.path, store.layer_path(&tar.diff_id)).unwrap();
        }
        let layers: Vec<DiffId> = tars.iter().map(|tar| tar.diff_id.clone()).collect();
        let id = Digest::of(b"image");
        let snapshots: &dyn Snapshots = if erofs { &Erofs } else { &Trees::new(Privilege::Host) };
        let (lower, image) = match snapshots.prepare(&store, &id, &layers).unwrap() {
            RootFs::Erofs { index, devices } => {
                let mount = Mount::erofs(&index, &devices);
                (vec![mount.root()], Some(mount))
            }
            RootFs::Trees { layers } => (layers, None),
        };
        for name in ["upper", "work"] {
            fs::create_dir(scratch.join(name)).unwrap();
        }
        Self { scratch, lower, _image: image, tars }
    }

    /// Does something in the merged tree, and says what it is then.
    fn change(&self, script: &str) -> Vec<String> {
        let mount = Mount::writable(&self.lower, &self.scratch.join("upper"), &self.scratch.join("work"));
        shell(&mount.root(), script);
        listing(&mount.root())
    }

    fn stack(&self) -> Stack {
        let upper = self.scratch.join("upper");
        let roots = std::iter::once(&upper).chain(&self.lower).map(PathBuf::as_path);
        Stack::open(roots, Marks::Trusted).unwrap()
    }

    fn diff(&self, mount_points: &[&str]) -> Vec<String> {
        let points = MountPoints::new(mount_points.iter().map(|point| point.as_bytes()));
        let letter = |kind| match kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        let all = changes(self.stack(), &points).unwrap();
        all.iter().map(|one| format!("{} {}", letter(one.kind), one.path.escape_ascii())).collect()
    }

    /// The tar of the changes.
    fn layer(&self) -> Vec<u8> {
        packed(&self.scratch.join("layer"), |out| {
            layer(self.stack(), &MountPoints::default(), Times::Exact, out.as_fd()).map(drop).unwrap();
        })
    }

    /// The layer makes of the image what the mount showed.
    fn check_layer(mut self, shown: &[String]) {
        let bytes = self.layer();
        assert_eq!(bytes, self.layer(), "the same again");
        self.tars.push(self.scratch.raw_layer("changes.tar", &bytes));
        let merged = listing(&reference(&self.scratch, &self.tars));
        assert_eq!(without_root(&merged), without_root(shown));
    }

    fn check_export(&self, shown: &[String]) {
        let bytes = packed(&self.scratch.join("export"), |out| {
            export(&self.stack(), out.as_fd()).map(drop).unwrap();
        });
        let tar = self.scratch.raw_layer("export.tar", &bytes);
        let target = self.scratch.join("exported");
        fs::create_dir(&target).unwrap();
        unpack(&tar.path, &target);
        assert_eq!(without_root(&listing(&target)), without_root(shown));
    }
}

fn unpack(tar: &Path, target: &Path) {
    let mut command = Command::new("tar");
    command.args(["-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*", "-f"]);
    run(command.arg(tar).arg("-C").arg(target));
}

fn packed(path: &Path, write: impl FnOnce(&fs::File)) -> Vec<u8> {
    write(&fs::File::create(path).unwrap());
    fs::read(path).unwrap()
}

/// The root's own time is nobody's business, and no archive's.
fn without_root(listing: &[String]) -> Vec<String> {
    listing.iter().filter(|line| !line.starts_with(". ")).map(|line| without_links(line)).collect()
}

/// An overlay shows the count of links of the layer below, where some of the names may be deleted.
fn without_links(line: &str) -> String {
    line.split(' ').filter(|word| !word.starts_with("links=")).collect::<Vec<_>>().join(" ")
}

fn both(check: impl Fn(Writable)) {
    check(Writable::new(true));
    check(Writable::new(false));
}

const SCRIPT: &str = "\
    echo new >new; echo more >>etc/a; rm etc/b; rm -r gone; rm -r dir; mkdir dir; echo again >dir/x; echo n >dir/n
    chmod 700 keep; rm empty -r; echo file >empty; rm way; mkdir way; echo w >way/w; ln -sfn /elsewhere etc/link
    mkdir -p made/deep; mkfifo made/pipe; mknod made/null c 1 3; ln new made/second; truncate -s 1M made/holes
    dd if=/dev/zero of=made/mixed bs=4k count=1 seek=100 status=none; setfattr -n user.note -v hello new; touch -d @1.5 c
    rm pipe; chown 1:2 node; touch -h -d @9000000000.123456789 etc/link";

#[test]
fn changes_are_told_as_docker_tells_them() {
    both(|writable| {
        writable.change(SCRIPT);
        let expected = [
            "C /c",
            "C /dir",
            "A /dir/n",
            "D /dir/sub",
            "C /dir/x",
            "C /empty",
            "C /etc",
            "C /etc/a",
            "D /etc/b",
            "C /etc/link",
            "D /gone",
            "C /keep",
            "A /made",
            "A /made/deep",
            "A /made/holes",
            "A /made/mixed",
            "A /made/null",
            "A /made/pipe",
            "A /made/second",
            "A /new",
            "C /node",
            "D /pipe",
            "C /way",
            "A /way/w",
        ];
        assert_eq!(writable.diff(&[]), expected);
    });
}

#[test]
fn nothing_changed_is_nothing_told() {
    both(|writable| {
        writable.change("cat etc/a >/dev/null");
        assert_eq!(writable.diff(&[]), [""; 0]);
        assert_eq!(writable.layer(), image::tar::END);
    });
}

#[test]
fn a_layer_makes_of_the_image_what_was_seen() {
    both(|writable| {
        let shown = writable.change(SCRIPT);
        writable.check_export(&shown);
        writable.check_layer(&shown);
    });
}

#[test]
fn mount_points_are_no_changes_until_something_is_in_them() {
    let points = ["/srv/data", "/run/deep/file", "/way/mounted", "/etc/own", "/keep"];
    both(|writable| {
        writable.change("mkdir -p srv/data run/deep dir/mounted; touch run/deep/file etc/own");
        assert_eq!(writable.diff(&points), [""; 0], "the link /way leads to /dir");
        assert_eq!(writable.diff(&[]).len(), 9);
        writable.change("echo x >run/other; chmod 700 etc; touch srv/data/below");
        let expected = ["C /etc", "A /run", "A /run/other", "A /srv", "A /srv/data", "A /srv/data/below"];
        assert_eq!(writable.diff(&points), expected);
    });
}

#[test]
fn the_roots_own_mode_is_part_of_the_layer() {
    let writable = Writable::new(true);
    writable.change("chmod 711 .; chown 5:6 .");
    assert_eq!(writable.diff(&[]), [""; 0]);
    let tar = writable.scratch.raw_layer("changes.tar", &writable.layer());
    let target = writable.scratch.join("target");
    fs::create_dir(&target).unwrap();
    unpack(&tar.path, &target);
    assert!(listing(&target)[0].starts_with(". 40711 5:6 "), "{:?}", listing(&target));
}

#[test]
fn sockets_are_left_out() {
    let writable = Writable::new(true);
    writable.change("true");
    let socket = writable.scratch.join("upper/socket");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(writable.layer(), image::tar::END);
}

#[test]
fn a_name_that_would_be_a_deletion_is_refused() {
    let writable = Writable::new(true);
    writable.change("touch .wh.etc");
    let out = fs::File::create(writable.scratch.join("layer")).unwrap();
    let error = layer(writable.stack(), &MountPoints::default(), Times::Exact, out.as_fd()).unwrap_err();
    assert!(error.to_string().contains(".wh.etc"), "{error}");
}

#[test]
fn capabilities_are_those_of_any_containers_root() {
    let writable = Writable::new(true);
    writable.change("cp /bin/true prog");
    // Version 3: bound to the root of a user namespace, here that of id 1000.
    let bound = b"\x01\0\0\x03\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xe8\x03\0\0";
    let path = writable.scratch.join("upper/prog");
    rustix::fs::setxattr(&path, "security.capability", bound, rustix::fs::XattrFlags::empty()).unwrap();
    let tar = writable.layer();
    let plain = b"SCHILY.xattr.security.capability=\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n";
    assert!(tar.windows(plain.len()).any(|window| window == plain));
}

#[test]
fn a_file_that_shrinks_is_filled_up() {
    // A writer truncates and extends files all the time; every archive is whole all the same.
    let scratch = Scratch::new();
    let tree = scratch.join("tree");
    fs::create_dir(&tree).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopped = Stopped(&stop);
        scope.spawn(|| {
            let mut turn = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                turn += 1;
                let mut options = fs::OpenOptions::new();
                let options = options.create(true).truncate(false).write(true);
                let file = options.open(tree.join("file")).unwrap();
                file.set_len(turn % 3 * 300_000).unwrap();
                let _moved = fs::rename(tree.join("a"), tree.join("b"));
                let _made = fs::create_dir(tree.join("a"));
                let _removed = fs::remove_dir(tree.join("b"));
            }
        });
        for _ in 0..300 {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let read = scope.spawn(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).unwrap();
                bytes
            });
            let stack = Stack::open([tree.as_path()], Marks::None).unwrap();
            pack(Item::Directory(&stack), b"tree", writer.as_fd()).unwrap();
            drop(writer);
            let bytes = read.join().unwrap();
            let mut parser = image::tar::Parser::new(image::tar::Limits::default());
            parser.push(&bytes, &mut |_| Ok::<(), image::tar::Error>(())).unwrap();
            assert!(parser.finish().unwrap().terminated);
        }
    });
}

/// Ends the writer, also when the test fails.
struct Stopped<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// One step of a random script.
fn step() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("etc"),
        Just("etc/a"),
        Just("dir"),
        Just("dir/x"),
        Just("dir/sub"),
        Just("dir/sub/y"),
        Just("n"),
        Just("n/m"),
        Just("keep/k"),
        Just("keep/again"),
        Just("way"),
        Just("gone/deep")
    ];
    (path.clone(), path, 0..8_usize).prop_map(|(one, other, what)| match what {
        0 => format!("rm -rf {one}"),
        1 => format!("mkdir -p {one}"),
        2 => format!("echo {other} >{one}"),
        3 => format!("ln -sfn {other} {one}"),
        4 => format!("ln {one} {other}"),
        5 => format!("mv {one} {other}"),
        6 => format!("chmod 0{} {one}", 700 + other.len()),
        _ => format!("rm -rf {one}; mkdir {one}; echo {other} >{one}/in"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_changes_are_read_as_the_kernel_shows_them(steps in proptest::collection::vec(step(), 1..14), erofs: bool) {
        let writable = Writable::new(erofs);
        // A step that cannot be done is none.
        let script: String = steps.iter().map(|step| format!("{{ {step}; }} 2>/dev/null || true\n")).collect();
        let shown = writable.change(&script);
        writable.check_export(&shown);
        writable.check_layer(&shown);
    }
}
