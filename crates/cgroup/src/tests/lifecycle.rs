//! Making, finding and removing groups.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Error;

#[test]
fn a_group_is_made_where_it_is_needed_and_removed_in_full() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
            assert_eq!(
                group.legacy_node(controller).is_some(),
                is_legacy(&layout, controller),
                "{controller:?}"
            );
        }
        let freezer = is_legacy(&layout, Controller::Freezer) && layout.unified.is_none();
        assert_eq!(
            group.legacy_node(Controller::Freezer).is_some(),
            freezer,
            "only without a unified hierarchy"
        );
        for controller in [Controller::Cpuset, Controller::Blkio, Controller::Devices] {
            assert!(group.legacy_node(controller).is_none(), "{controller:?} has nothing to do");
        }
        assert_eq!(group.clone_target().is_some(), layout.unified.is_some());
        assert_eq!(directories(&path).len(), group.legacy.len() + usize::from(group.unified.is_some()));
        group.remove().unwrap();
        assert_gone(&path);
    }
}

#[test]
fn groups_above_are_made_shared_and_tidied_up_only_when_empty() {
    for layout in layouts() {
        let parent = unique_path();
        let plan = |name: &str| Plan { path: parent.join("shared").join(name), limits: Limits::default() };
        let (first, second) =
            (Cgroup::create(&layout, &plan("a")).unwrap(), Cgroup::create(&layout, &plan("b")).unwrap());
        first.remove().unwrap();
        layout.remove_empty(&parent.join("shared")).unwrap();
        assert!(!directories(&parent.join("shared/b")).is_empty(), "the other group stays");
        second.remove().unwrap();
        layout.remove_empty(&parent.join("shared")).unwrap();
        assert_gone(&parent);
    }
}

#[test]
fn dropping_removes_keeping_leaves_and_opening_finds_it_again() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        drop(group);
        assert_gone(&path);
        assert!(matches!(Cgroup::open(&layout, &path), Err(Error::Missing { .. })));

        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        let made = directories(&path);
        group.keep();
        assert_eq!(directories(&path), made);
        let found = Cgroup::open(&layout, &path).unwrap();
        drop(found);
        assert_eq!(directories(&path), made, "an opened group outlives the value");
        Cgroup::open(&layout, &path).unwrap().remove().unwrap();
        assert_gone(&path);
    }
}

#[test]
fn an_empty_group_in_the_way_is_replaced_and_a_used_one_is_not_touched() {
    for layout in layouts() {
        let plan = plan(Limits::default());
        let old = Cgroup::create(&layout, &plan).unwrap();
        let shell = Shell::start(&old, "exec sleep 1000");
        match Cgroup::create(&layout, &plan) {
            Err(Error::InUse { path }) => assert!(path.ends_with(plan.path.strip_prefix("/").unwrap())),
            other => panic!("{other:?}"),
        }
        assert!(old.pids().unwrap().contains(&shell.pid()));
        drop(shell);
        eventually("the group is empty", || (!old.is_populated().unwrap()).then_some(()));
        old.keep();
        let new = Cgroup::create(&layout, &plan).unwrap();
        new.remove().unwrap();
        assert_gone(&plan.path);
    }
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_nothing_behind() {
    for layout in layouts() {
        let limits = Limits { cpuset_cpus: Some("8191".to_owned()), ..Limits::default() };
        let plan = plan(limits);
        let error = Cgroup::create(&layout, &plan).unwrap_err();
        if has(&layout, Controller::Cpuset) && is_legacy(&layout, Controller::Cpuset) {
            assert!(matches!(error, Error::Set { limit: "cpu.cpus", .. }), "{error}");
        } else if !has(&layout, Controller::Cpuset) {
            assert!(error.to_string().contains("cpu.cpus"), "{error}");
        }
        assert_gone(&plan.path);
    }
}

#[test]
fn a_user_without_rights_is_told_so_and_nothing_is_made() {
    for layout in layouts() {
        let plan = plan(Limits::default());
        // Ids belong to a thread in the kernel's eyes; this one ends with the test.
        let error = std::thread::scope(|scope| {
            let attempt = scope.spawn(|| {
                let nobody = rustix::fs::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                Cgroup::create(&layout, &plan).unwrap_err()
            });
            attempt.join().unwrap()
        });
        assert!(matches!(error, Error::NotDelegated { .. }), "{error}");
        assert!(error.is_not_delegated());
        assert_gone(&plan.path);
    }
}

#[test]
fn without_any_hierarchy_the_caller_may_go_on() {
    let nothing = Hierarchy { unified: None, legacy: Vec::new() };
    let error = Cgroup::create(&nothing, &plan(Limits::default())).unwrap_err();
    assert!(error.is_not_delegated(), "{error}");
}

#[test]
fn making_a_group_survives_its_parent_being_removed_all_the_time() {
    for layout in layouts() {
        let parent = unique_path();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    layout.remove_empty(&parent).unwrap();
                }
            });
            for number in 0..40 {
                let plan = Plan { path: parent.join(number.to_string()), limits: Limits::default() };
                let made = Cgroup::create(&layout, &plan).and_then(Cgroup::remove);
                if made.is_err() {
                    done.store(true, Ordering::Relaxed);
                }
                made.unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        layout.remove_empty(&parent).unwrap();
        assert_gone(&parent);
    }
}

#[test]
fn a_thread_enters_every_group_by_itself() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let joiner = group.joiner().unwrap();
        let name = group.path().to_str().unwrap().to_owned();
        // A version 1 hierarchy takes single threads, so the test needs no process for it.
        let groups = std::thread::spawn(move || {
            joiner.enter().unwrap();
            std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
        });
        let groups = groups.join().unwrap();
        for controller in group.legacy.iter().flat_map(|node| &node.controllers) {
            let line = groups.lines().find(|line| {
                line.split(':').nth(1).unwrap().split(',').any(|one| one == controller.legacy_name())
            });
            assert!(line.unwrap().ends_with(&format!(":{name}")), "{controller:?}: {groups}");
        }
        group.remove().unwrap();
    }
}

#[test]
fn paths_that_lead_elsewhere_make_nothing() {
    for layout in layouts() {
        for path in ["/skiff-test/../../etc", "/", "..", "a:b:c"] {
            let plan = Plan { path: path.into(), limits: Limits::default() };
            let error = Cgroup::create(&layout, &plan).unwrap_err();
            assert!(matches!(error, Error::Path { .. } | Error::Systemd { .. }), "{path}: {error}");
            assert!(Cgroup::open(&layout, Path::new(path)).is_err());
        }
    }
}
