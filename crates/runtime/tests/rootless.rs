//! Containers of an ordinary user, and of kernels that lack what is new. Needs root, to become that user.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use common::*;
use runtime::plan::*;
use serde_json::json;

const USER: u32 = 4321;

fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// The user's own id as root inside, and nothing else.
fn own_id(mut plan: LaunchPlan) -> LaunchPlan {
    let map = vec![IdMap { inside: 0, outside: USER, count: 1 }];
    plan.namespaces.user = Namespace::New;
    plan.id_maps = IdMaps { uid: map.clone(), gid: map };
    plan
}

/// Files for `/etc` that give the user ids 300000 to 365535.
fn subordinate_ids(folder: &Folder) -> Vec<PathBuf> {
    let etc = folder.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    let line = format!("tester:x:{USER}:{USER}::/nonexistent:/bin/sh\n");
    std::fs::write(etc.join("passwd"), std::fs::read_to_string("/etc/passwd").unwrap() + &line).unwrap();
    std::fs::write(etc.join("subuid"), "tester:300000:65536\n").unwrap();
    std::fs::write(etc.join("subgid"), "tester:300000:65536\n").unwrap();
    ["passwd", "subuid", "subgid"].map(|name| etc.join(name)).to_vec()
}

fn many_ids(plan: LaunchPlan) -> LaunchPlan {
    let mut plan = own_id(plan);
    let more = IdMap { inside: 1, outside: 300_000, count: 65_535 };
    plan.id_maps.uid.push(more);
    plan.id_maps.gid.push(more);
    plan
}

#[test]
fn an_ordinary_user_has_containers_with_their_own_id_alone() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    give(&root);
    let script = "id -u; cat /proc/self/uid_map; touch /made && hostname; echo x > /dev/null && echo fine; grep CapBnd /proc/self/status";
    let mut plan = own_id(plan(&root, &["sh", "-c", script]));
    plan.process.oom_score_adj = Some(300);
    plan.process.rlimits = vec![Rlimit { resource: 7, soft: 64, hard: 128 }];
    let outcome = run_with(&folder, &plan, json!({ "uid": USER }));
    let lines: Vec<&str> = outcome.output().lines().collect();
    assert_eq!(lines[0], "0");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0", "4321", "1"]);
    assert_eq!(lines[2..], ["boat", "fine", "CapBnd:\t00000000a80425fb"], "{outcome:?}");
    assert_eq!(std::fs::metadata(root.join("made")).unwrap().uid(), USER);
}

#[test]
fn subordinate_ids_come_by_way_of_the_helper_program() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    give(&root);
    let etc = subordinate_ids(&folder);
    let mut plan = many_ids(plan(&root, &["sh", "-c", "id -u; id -G; cat /proc/self/uid_map | wc -l"]));
    plan.process.user = User::Named { spec: "user".into(), extra_groups: Vec::new() };
    let outcome = run_with(&folder, &plan, json!({ "uid": USER, "etc": etc }));
    assert_eq!(outcome.output(), "1000\n1000 44\n2\n", "{outcome:?}");
    // Ids that are not theirs.
    plan.id_maps.uid[1].outside = 1_000_000;
    let outcome = run_with(&folder, &plan, json!({ "uid": USER, "etc": etc }));
    assert!(
        outcome.error().contains("map ids newuidmap") && outcome.error().contains("/etc/subuid"),
        "{outcome:?}"
    );
}

#[test]
fn an_ordinary_user_stacks_trees_and_binds_folders() {
    let folder = Folder::new();
    let base = folder.busybox("base");
    symlink("busybox", base.join("bin/rm")).unwrap();
    std::fs::write(base.join("layer"), "lower\n").unwrap();
    let own = folder.path().join("own");
    let writable =
        Writable { upper: own.join("upper"), work: own.join("work"), volatile: false, limit: None };
    std::fs::create_dir_all(&writable.upper).unwrap();
    std::fs::create_dir_all(&writable.work).unwrap();
    std::fs::write(own.join("data"), "data\n").unwrap();
    give(&base);
    give(&own);
    let script = "cat /layer /data; rm /layer; echo new > /new; test -e /layer || echo gone";
    let mut plan = own_id(plan(Path::new("/"), &["sh", "-c", script]));
    plan.root.source = RootSource::Trees { layers: vec![base.clone()], writable: Some(writable.clone()) };
    plan.mounts.push(bind(&own.join("data"), "/data"));
    let outcome = run_with(&folder, &plan, json!({ "uid": USER }));
    assert_eq!(outcome.output(), "lower\ndata\ngone\n", "{outcome:?}");
    assert_eq!(std::fs::metadata(writable.upper.join("new")).unwrap().uid(), USER);
    assert!(base.join("layer").exists());
    std::fs::remove_dir_all(writable.work.join("work")).unwrap();
}

#[test]
fn an_ordinary_user_executes_in_their_container() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    give(&root);
    // It ends once the program that says so has ended: whoever is left in its namespace is killed.
    let script = "until test -s /tmp/done; do sleep 0.01; done
        while kill -0 $(cat /tmp/done) 2>/dev/null; do sleep 0.01; done";
    let first = own_id(plan(&root, &["sh", "-c", script]));
    let mut terminal = process(&["sh", "-c", "tty; hostname; id -u"]);
    terminal.terminal = Some(TerminalSize::default());
    let more = json!({ "uid": USER, "exec": [terminal, process(&["sh", "-c", "echo $$ > /tmp/done"])] });
    let outcome = run_with(&folder, &first, more);
    assert_eq!(outcome.report["terminal"], "/dev/pts/0\r\nboat\r\n0\r\n", "{outcome:?}");
    assert_eq!((outcome.status(), &outcome.report["exec"]), (0, &json!([0, 0])));
}

#[test]
fn overlays_are_staged_where_layers_cannot_be_descriptors() {
    let folder = Folder::new();
    let base = folder.busybox("base");
    std::fs::write(base.join("layer"), "lower\n").unwrap();
    let top = folder.path().join("top");
    std::fs::create_dir(&top).unwrap();
    std::fs::write(top.join("other"), "upper\n").unwrap();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for (name, uid) in [("outer", None), ("inner", None), ("rootless", Some(USER))] {
        let own = folder.path().join(name);
        let writable =
            Writable { upper: own.join("upper"), work: own.join("work"), volatile: false, limit: None };
        std::fs::create_dir_all(&writable.upper).unwrap();
        std::fs::create_dir_all(&writable.work).unwrap();
        if uid.is_some() {
            give(&own);
            give(&base);
            give(&top);
        }
        let mut plan =
            plan(Path::new("/"), &["sh", "-c", "cat /layer /other; echo new > /new; stat -c %u /new /layer"]);
        plan.root.source =
            RootSource::Trees { layers: vec![top.clone(), base.clone()], writable: Some(writable.clone()) };
        let plan = match name {
            "outer" => plan,
            "inner" => with_user_namespace(plan),
            _ => own_id(plan),
        };
        let outcome = run_with(&folder, &plan, json!({ "uid": uid, "old_kernel": true }));
        assert_eq!(outcome.output(), "lower\nupper\n0\n0\n", "{name}: {outcome:?}");
        assert_eq!(std::fs::metadata(writable.upper.join("new")).unwrap().uid(), uid.unwrap_or(0));
    }
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}
