//! What a container that may write to its own group can leave behind.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

/// Names that are legal in the kernel and awkward everywhere else.
fn hostile_names() -> Vec<OsString> {
    let mut names: Vec<OsString> =
        ["..x", " ", "-rf", "*", "\t\"'$(reboot)", "a\\040b", "cgroup", "…"].map(OsString::from).into();
    names.push(OsString::from_vec(vec![0xff, 0xfe]));
    names.push(OsString::from_vec(vec![b'x'; 255]));
    names
}

#[test]
fn groups_that_a_container_made_are_removed_with_it() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        for place in directories(&path) {
            for name in hostile_names() {
                let nested = place.join(&name);
                std::fs::create_dir(&nested).unwrap_or_else(|error| panic!("{}: {error}", nested.display()));
                std::fs::create_dir(nested.join(&name)).unwrap();
            }
        }
        group.remove().unwrap();
        assert_gone(&path);
    }
}

#[test]
fn a_process_hidden_in_a_nested_group_is_killed() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        let nested =
            Cgroup::create(&layout, &Plan { path: path.join("a/b/c"), limits: Limits::default() }).unwrap();
        let mut shell = Shell::start(&nested, "trap '' TERM HUP INT; while :; do sleep 1000; done");
        assert!(group.pids().unwrap().contains(&shell.pid()));
        assert!(group.is_populated().unwrap());
        nested.keep();
        group.remove().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&shell.end()), Some(9));
        assert_gone(&path);
    }
}

#[test]
fn depth_does_not_stop_removal() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        let node = group.unified.as_ref().or(group.legacy.first()).unwrap();
        let mut at = node.dir.child(".".as_ref()).unwrap();
        // Together longer than any path that the kernel would take in one piece.
        let name = OsString::from("d".repeat(200));
        for _ in 0..64 {
            at.make(&name).unwrap();
            at = at.child(&name).unwrap();
        }
        drop(at);
        assert!(group.pids().unwrap().is_empty());
        group.remove().unwrap();
        assert_gone(&path);
    }
}
