//! A user without root, to whom a subtree of version 2 was delegated.

use std::os::unix::fs::chown;

use super::*;
use crate::Error;
use crate::devices::tests::rules;

/// Says to the test executable, started anew by itself, that it is the user.
const USER: &str = "SKIFF_TEST_DELEGATED";
const ID: u32 = 1000;

/// The layout of version 2 alone, which is what can be delegated.
fn unified() -> Hierarchy {
    let layout = layouts().into_iter().find(|layout| layout.legacy.is_empty());
    layout.expect("this test needs a mount of version 2")
}

#[test]
fn a_user_makes_groups_with_limits_in_a_delegated_subtree() {
    if std::env::var_os(USER).is_some() {
        return act_as_user();
    }
    let layout = unified();
    let limits = Limits { pids: has(&layout, Controller::Pids).then_some(100), ..Limits::default() };
    let subtree = create(&layout, limits);
    let leaf =
        Cgroup::create(&layout, &Plan { path: subtree.path().join("leaf"), limits: Limits::default() })
            .unwrap();
    for group in [&subtree, &leaf] {
        let folder = group.unified.as_ref().unwrap().dir.path().to_owned();
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(folder.join(file), Some(ID), Some(ID)).unwrap();
        }
    }
    // systemd does the same: a service's processes are in a leaf, which itself can have no children with limits.
    let test = "tests::delegation::a_user_makes_groups_with_limits_in_a_delegated_subtree";
    let program = std::env::current_exe().unwrap();
    let command = format!("{USER}=1 {} --exact {test} --nocapture || echo DIED", program.display());
    let output = Shell::start(&leaf, &command).output();
    let expected = format!("made {}/mine", subtree.path().display());
    assert!(output.contains(&expected) && !output.contains("DIED"), "{output}");
    leaf.remove().unwrap();
    subtree.remove().unwrap();
}

fn act_as_user() {
    let layout = unified();
    let (user, group) = (rustix::fs::Uid::from_raw(ID), rustix::fs::Gid::from_raw(ID));
    // For this thread alone, and what it starts.
    rustix::thread::set_thread_groups(&[]).unwrap();
    rustix::thread::set_thread_res_gid(group, group, group).unwrap();
    rustix::thread::set_thread_res_uid(user, user, user).unwrap();

    let pids = has(&layout, Controller::Pids).then_some(7);
    // Rules for devices go with every container, and cannot be had without root.
    let limits = Limits { pids, devices: rules(&["-a", "+c 1:3 rwm"]), ..Limits::default() };
    let group = Cgroup::create(&layout, &Plan { path: "mine".into(), limits }).unwrap();
    assert_eq!(group.stats().unwrap().pids.limit, pids.map(i64::unsigned_abs));
    assert_eq!(Shell::start(&group, "echo alive").output(), "alive\n");
    println!("made {}", group.path().display());
    group.remove().unwrap();

    let elsewhere = Plan { path: "/skiff-test-elsewhere".into(), limits: Limits::default() };
    assert!(matches!(Cgroup::create(&layout, &elsewhere), Err(Error::NotDelegated { .. })));
}
