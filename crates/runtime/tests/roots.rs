//! Root file systems: overlays, EROFS, id maps, bind mounts, and images that lie. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::*;
use runtime::plan::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn writable(folder: &Folder, name: &str) -> Writable {
    let own = folder.path().join(name);
    let writable =
        Writable { upper: own.join("upper"), work: own.join("work"), volatile: false, limit: None };
    std::fs::create_dir_all(&writable.upper).unwrap();
    std::fs::create_dir_all(&writable.work).unwrap();
    // Nobody but root may walk in; the container gets in all the same.
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).unwrap();
    writable
}

const VIEW: &str = "cat /layer; stat -c %u:%g /layer /bin/busybox; echo mine > /new && cat /new; rm -f /layer; test -e /layer || echo gone; \
                    stat -f -c %t / ; id -u";

fn trees(folder: &Folder) -> Vec<std::path::PathBuf> {
    let base = folder.busybox("base");
    symlink("busybox", base.join("bin/rm")).unwrap();
    std::fs::write(base.join("layer"), "lower\n").unwrap();
    let top = folder.path().join("top");
    std::fs::create_dir(&top).unwrap();
    std::fs::write(top.join("layer"), "upper\n").unwrap();
    vec![top, base]
}

#[test]
fn trees_are_stacked_and_writes_stay_in_the_upper_layer() {
    let folder = Folder::new();
    let layers = trees(&folder);
    for user_namespace in [false, true] {
        let writable = writable(&folder, if user_namespace { "inner" } else { "outer" });
        let mut plan = plan(Path::new("/"), &["sh", "-c", VIEW]);
        plan.root.source = RootSource::Trees { layers: layers.clone(), writable: Some(writable.clone()) };
        if user_namespace {
            plan = with_user_namespace(plan);
        }
        let outcome = run(&folder, &plan);
        assert_eq!(
            outcome.output().lines().collect::<Vec<_>>(),
            ["upper", "0:0", "0:0", "mine", "gone", "794c7630", "0"],
            "{outcome:?}"
        );
        // On disk are the ids that the container sees, and the layers are as they were.
        assert_eq!(std::fs::metadata(writable.upper.join("new")).unwrap().uid(), 0);
        assert!(
            std::fs::symlink_metadata(writable.upper.join("layer")).unwrap().file_type().is_char_device()
        );
        assert_eq!(std::fs::read_to_string(layers[0].join("layer")).unwrap(), "upper\n");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the index is made by the distribution's own program")]
fn an_erofs_index_is_the_lower_layer() {
    let folder = Folder::new();
    let base = folder.busybox("base");
    symlink("busybox", base.join("bin/rm")).unwrap();
    std::fs::write(base.join("layer"), "lower\n").unwrap();
    let index = folder.path().join("image.erofs");
    let made = std::process::Command::new("mkfs.erofs").arg(&index).arg(&base).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    for user_namespace in [false, true] {
        let writable = writable(&folder, if user_namespace { "inner" } else { "outer" });
        let mut plan = plan(Path::new("/"), &["sh", "-c", VIEW]);
        plan.root.source =
            RootSource::Erofs { index: index.clone(), devices: Vec::new(), writable: Some(writable.clone()) };
        if user_namespace {
            plan = with_user_namespace(plan);
        }
        let outcome = run(&folder, &plan);
        assert_eq!(
            outcome.output().lines().collect::<Vec<_>>(),
            ["lower", "0:0", "0:0", "mine", "gone", "794c7630", "0"],
            "{outcome:?}"
        );
        assert_eq!(std::fs::metadata(writable.upper.join("new")).unwrap().uid(), 0);
        plan.root.source = RootSource::Erofs { index: index.clone(), devices: Vec::new(), writable: None };
        plan.process = process(&["sh", "-c", "cat /layer; echo x > /new || echo refused"]);
        assert_eq!(run(&folder, &plan).output(), "lower\nrefused\n");
    }
}

#[test]
fn a_readonly_root_takes_writes_in_its_tmpfs_alone() {
    let folder = Folder::new();
    let mut plan = plan(
        &folder.busybox("root"),
        &["sh", "-c", "touch /x || echo refused; touch /dev/shm/x && echo made"],
    );
    plan.root.readonly = true;
    assert_eq!(run(&folder, &plan).output(), "refused\nmade\n");
}

#[test]
fn bind_mounts_keep_their_owners_on_disk() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(data.join("file"), "theirs\n").unwrap();
    let writable = writable(&folder, "own");
    let script = "stat -c %u /data /data/file; echo mine > /data/new; cat /config; echo x > /config || echo refused; \
                  touch /ro/x || echo refused; echo hello";
    let mut plan = plan(Path::new("/"), &["sh", "-c", script]);
    plan.root.source = RootSource::Trees { layers: vec![root], writable: Some(writable) };
    plan.mounts.push(bind(&data, "/data"));
    let mut config = bind(&data.join("file"), "/config");
    config.attributes.readonly = true;
    plan.mounts.push(config);
    let mut readonly = bind(&data, "/ro");
    readonly.attributes.readonly = true;
    plan.mounts.push(readonly);
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run(&folder, &plan);
        assert_eq!(
            outcome.output().lines().collect::<Vec<_>>(),
            ["0", "0", "theirs", "refused", "refused", "hello"],
            "{outcome:?}"
        );
        assert_eq!(std::fs::metadata(data.join("new")).unwrap().uid(), 0);
        std::fs::remove_file(data.join("new")).unwrap();
    }
}

#[test]
fn a_mount_with_maps_of_its_own_shows_other_owners() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut plan = plan(&folder.busybox("root"), &["stat", "-c", "%u:%g", "/data"]);
    let mut mount = bind(&data, "/data");
    let map = vec![IdMap { inside: 0, outside: 4000, count: 10 }];
    mount.id_map = MountIdMap::Own { maps: IdMaps { uid: map.clone(), gid: map }, recursive: false };
    plan.mounts.push(mount);
    assert_eq!(run(&folder, &plan).output(), "4000:4000\n");
}

#[test]
fn a_tmpfs_can_start_with_what_the_image_has() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::create_dir_all(root.join("var/lib")).unwrap();
    std::fs::write(root.join("var/lib/file"), "from the image\n").unwrap();
    std::os::unix::fs::chown(root.join("var/lib/file"), Some(7), Some(8)).unwrap();
    symlink("/etc/passwd", root.join("var/lib/link")).unwrap();
    let mut plan = plan(
        &root,
        &[
            "sh",
            "-c",
            "cat /var/lib/file; stat -c %u:%g /var/lib/file; readlink /var/lib/link; touch /var/lib/x",
        ],
    );
    plan.mounts.push(Mount {
        target: "/var".into(),
        kind: MountKind::New {
            fstype: "tmpfs".into(),
            source: "tmpfs".into(),
            options: Vec::new(),
            copy_up: true,
        },
        attributes: MountAttributes::default(),
        propagation: None,
        id_map: MountIdMap::None,
    });
    assert_eq!(run(&folder, &plan).output(), "from the image\n7:8\n/etc/passwd\n");
    assert!(!root.join("var/lib/x").exists());
}

#[test]
fn links_at_the_kernels_own_mount_points_are_refused() {
    let folder = Folder::new();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for (name, expected) in [("proc", "/proc"), ("sys", "/sys"), ("dev", "/dev")] {
        let root = folder.busybox(&format!("with-{name}"));
        std::fs::remove_dir(root.join(name)).unwrap();
        symlink(&outside, root.join(name)).unwrap();
        let outcome = run(&folder, &plan(&root, &["true"]));
        assert!(outcome.error().contains(&format!("make mount point {expected}")), "{outcome:?}");
        assert!(outcome.error().contains("symbolic link"), "{outcome:?}");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn links_at_other_mount_points_lead_nowhere_but_below_the_root() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let victim = folder.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("file"), "untouched").unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("seen"), "seen\n").unwrap();
    // Absolute, relative and dangling.
    symlink(&victim, root.join("absolute")).unwrap();
    symlink("../../../../../../tmp/up", root.join("relative")).unwrap();
    symlink("/run/made/later.conf", root.join("etc/resolv.conf")).unwrap();
    let loops = root.join("loop");
    symlink("loop", &loops).unwrap();
    let inside = format!("cat {}/seen /tmp/up/seen /run/made/later.conf", victim.display());
    let mut good = plan(&root, &["sh", "-c", &inside]);
    good.mounts.push(bind(&data, "/absolute"));
    good.mounts.push(bind(&data, "/relative"));
    good.mounts.push(bind(&data.join("seen"), "/etc/resolv.conf"));
    assert_eq!(run(&folder, &good).output(), "seen\nseen\nseen\n");
    assert_eq!(std::fs::read_to_string(victim.join("file")).unwrap(), "untouched");
    assert!(!Path::new("/run/made").exists() && root.join("run/made").is_dir());

    let mut bad = plan(&root, &["true"]);
    bad.mounts.push(bind(&data, "/loop"));
    assert!(run(&folder, &bad).error().contains("make mount point /loop"));
}

#[test]
fn hostile_user_files_neither_block_nor_fill_memory() {
    let folder = Folder::new();
    let named = |root: &Path| {
        let mut plan = plan(root, &["true"]);
        plan.process.user = User::Named { spec: "user".into(), extra_groups: Vec::new() };
        plan
    };
    let root = folder.busybox("fifo");
    std::fs::remove_file(root.join("etc/passwd")).unwrap();
    mknodat(CWD, root.join("etc/passwd"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(run(&folder, &named(&root)).error().contains("in /etc/passwd: it is not a regular file"));

    let root = folder.busybox("sparse");
    std::fs::File::create(root.join("etc/group")).unwrap().set_len(10 << 30).unwrap();
    assert!(run(&folder, &named(&root)).error().contains("in /etc/group: it is longer than 1 MiB"));

    let root = folder.busybox("link");
    std::fs::remove_file(root.join("etc/passwd")).unwrap();
    // The host's file exists; below the root there is none.
    symlink("/../../../../etc/hostname", root.join("etc/passwd")).unwrap();
    assert!(run(&folder, &named(&root)).error().contains("unable to find user user:"));

    let root = folder.busybox("folder");
    std::fs::remove_file(root.join("etc/passwd")).unwrap();
    std::fs::create_dir(root.join("etc/passwd")).unwrap();
    assert!(run(&folder, &named(&root)).error().contains("not a regular file"));
}

#[test]
fn an_images_own_device_nodes_are_replaced_and_links_in_dev_are_not_followed() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    // No tmpfs over /dev: what the image has there is what is written to.
    symlink(&victim, root.join("dev/null")).unwrap();
    std::fs::write(root.join("dev/zero"), "a plain file").unwrap();
    let mut plan = plan(&root, &["sh", "-c", "stat -c %t:%T /dev/null /dev/zero"]);
    plan.mounts.retain(|mount| !mount.target.starts_with("/dev"));
    assert_eq!(run(&folder, &plan).output(), "1:3\n1:5\n");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(!root.join("dev/null").symlink_metadata().unwrap().file_type().is_symlink());
}

#[test]
fn a_volatile_layer_is_never_synced_and_may_be_mounted_again() {
    let folder = Folder::new();
    let layers = trees(&folder);
    let writable = Writable { volatile: true, ..writable(&folder, "own") };
    let script =
        "grep -c '^overlay / .*volatile' /proc/mounts; cat /kept 2>/dev/null; echo once > /kept; sync -f /";
    let mut plan = plan(Path::new("/"), &["sh", "-c", script]);
    plan.root.source = RootSource::Trees { layers, writable: Some(writable) };
    let plan = with_user_namespace(plan);
    assert_eq!(run(&folder, &plan).output(), "1\n");
    assert_eq!(run(&folder, &plan).output(), "1\nonce\n");
}

#[test]
fn no_mount_of_a_container_is_seen_by_the_host() {
    let folder = Folder::new();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let layers = trees(&folder);
    let mut plan = plan(Path::new("/"), &["sleep", "100"]);
    plan.root.source = RootSource::Trees { layers, writable: Some(writable(&folder, "own")) };
    let (mut child, report) = start(&folder, &with_user_namespace(plan), serde_json::json!({ "park": true }));
    child.wait_parked(&report);
    let during = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!during.contains(folder.path().to_str().unwrap()), "{during}");
    assert_eq!(during.lines().count(), before);
}

#[test]
fn mounts_do_not_travel_to_peers_on_the_host() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut directory = plan(&root, &["true"]);
    let mut bound = bind(&data, "/data");
    bound.propagation = None;
    directory.mounts.push(bound);
    directory.mounts.push(Mount {
        target: "/data/below".into(),
        kind: MountKind::New {
            fstype: "tmpfs".into(),
            source: "tmpfs".into(),
            options: Vec::new(),
            copy_up: false,
        },
        attributes: MountAttributes::default(),
        propagation: None,
        id_map: MountIdMap::None,
    });
    let mut stacked = directory.clone();
    stacked.root.source =
        RootSource::Trees { layers: trees(&folder), writable: Some(writable(&folder, "own")) };
    directory.root.propagation = Propagation::RecursiveSlave;
    for plan in [directory, with_user_namespace(stacked.clone()), stacked] {
        let outcome = run_with(&folder, &plan, serde_json::json!({ "shared": true }));
        assert_eq!((outcome.status(), outcome.report["new_mounts"].as_u64()), (0, Some(0)), "{outcome:?}");
    }
}

#[test]
fn a_readonly_tmpfs_still_gets_its_mount_points() {
    let folder = Folder::new();
    let script =
        "test -d /scratch/inner && touch /scratch/x || echo refused; touch /scratch/inner/x && echo made";
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    for (target, readonly) in [("/scratch", true), ("/scratch/inner", false)] {
        plan.mounts.push(Mount {
            target: target.into(),
            kind: MountKind::New {
                fstype: "tmpfs".into(),
                source: "tmpfs".into(),
                options: Vec::new(),
                copy_up: false,
            },
            attributes: MountAttributes { readonly, ..MountAttributes::default() },
            propagation: None,
            id_map: MountIdMap::None,
        });
    }
    assert_eq!(run(&folder, &plan).output(), "refused\nmade\n");
}

/// A volume at `target` that is filled.
fn volume(source: &Path, target: &str) -> Mount {
    Mount { kind: MountKind::Volume { source: source.to_owned(), fill: true }, ..bind(source, target) }
}

#[test]
fn a_volume_starts_with_what_the_image_has_down_to_holes_and_links() {
    let script = r#"cd "$0"; mkdir -p data/sub; printf 'from the image\n' > data/file; ln data/file data/sub/same
        printf x > data/capable; setfattr -n user.name -v value data/capable; mkfifo data/fifo; ln -s /etc/passwd data/link
        truncate -s 1G data/holes; printf end >> data/holes; mknod data/device c 1 3
        chown -h 7:8 data/file data/link data/sub; chown 999:998 data; chmod 2750 data; chmod 4755 data/capable
        touch -h -d @1000000000.5 data/file data/link data/sub data"#;
    // busybox's stat knows no fractions of seconds.
    let look = "cd /data; stat -c '%n %F %u:%g %a %Y %s %h' . *; stat -c %i file sub/same | uniq | wc -l; du -k holes | cut -f1; tail -c 3 holes; echo; cat file; echo more >> file";
    let expected = "\
        . directory 999:998 2750 1000000000\n\
        capable regular file 0:0 4755 1\n\
        fifo fifo 0:0 0\n\
        file regular file 7:8 644 1000000000 15 2\n\
        holes regular file 0:0 644 1073741827 1\n\
        link symbolic link 7:8 777 1000000000 11 1\n\
        sub directory 7:8 755 1000000000\n\
        1\n4\nend\nfrom the image\n";
    for own_ids in [false, true] {
        let folder = Folder::new();
        let root = folder.busybox("root");
        let made = std::process::Command::new("bash").args(["-euc", script]).arg(&root).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let source = folder.path().join("volume");
        std::fs::create_dir(&source).unwrap();
        let mut wanted = plan(&root, &["sh", "-c", look]);
        wanted.root.source =
            RootSource::Trees { layers: vec![root.clone()], writable: Some(writable(&folder, "own")) };
        wanted.root.readonly = true;
        wanted.mounts.push(volume(&source, "/data"));
        if own_ids {
            wanted = with_user_namespace(wanted);
        }
        let output = run(&folder, &wanted).output().to_owned();
        for (line, want) in output.lines().zip(expected.lines()) {
            // Sizes of directories and numbers of links differ, as do times of what was not touched.
            let words: Vec<&str> = want.split(' ').collect();
            let found: Vec<&str> = line.split(' ').collect();
            assert!(
                words.iter().all(|word| found.contains(word)),
                "own ids {own_ids}: {line:?}, not {want:?}"
            );
        }
        assert_eq!(output.lines().count(), expected.lines().count(), "own ids {own_ids}: {output}");
        // On disk the ids are those that the container sees, and the image has not changed.
        let stat = std::fs::metadata(source.join("file")).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mtime() > 1_000_000_000), (7, 8, true), "own ids {own_ids}");
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(source.join("capable"), "user.name", &mut value[..]);
        let length = length.unwrap_or_else(|errno| panic!("own ids {own_ids}: {errno}"));
        assert_eq!(&value[..length], b"value", "own ids {own_ids}");
        assert_eq!(std::fs::read_to_string(root.join("data/file")).unwrap(), "from the image\n");
        assert!(!source.join("device").exists(), "devices are the plan's to give");
    }
}

#[test]
fn a_volume_is_filled_from_below_the_root_and_before_anything_else_is_mounted() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let outside = folder.path().join("outside");
    std::fs::create_dir_all(outside.join("inner")).unwrap();
    std::fs::write(outside.join("inner/secret"), "secret").unwrap();
    // A link that leads out, and a path that the user mounts something over.
    symlink(&outside, root.join("escape")).unwrap();
    std::fs::create_dir_all(root.join("data/inner")).unwrap();
    std::fs::write(root.join("data/inner/own"), "own").unwrap();
    std::fs::write(root.join("plain"), "a file").unwrap();
    let source = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (one, two, three) = (source("one"), source("two"), source("three"));
    let mut wanted = plan(&root, &["sh", "-c", "ls /escape /data /data/inner; ls -d /made"]);
    wanted.mounts.extend([
        bind(&outside, "/data"),
        volume(&one, "/escape"),
        volume(&two, "/data/inner"),
        volume(&three, "/made"),
    ]);
    assert_eq!(run(&folder, &wanted).output(), "/data:\ninner\n\n/data/inner:\nown\n\n/escape:\n/made\n");
    assert_eq!(std::fs::read_dir(&one).unwrap().count(), 0);
    // As in Docker, no volume goes over a file.
    let mut wanted = plan(&root, &["true"]);
    wanted.mounts.push(volume(&three, "/plain"));
    assert!(run(&folder, &wanted).error().contains("/plain"));
}
