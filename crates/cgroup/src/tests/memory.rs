//! Running out of memory, and moving limits up and down.

use rustix::event::{PollFd, poll};

use super::*;
use crate::{Error, OomWatch};

/// Grows a shell variable far beyond the limit.
const HOG: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

fn is_ready(watch: &OomWatch) -> bool {
    let at_once = rustix::event::Timespec::default();
    poll(&mut [PollFd::new(watch, watch.interest())], Some(&at_once)).unwrap() == 1
}

#[test]
fn running_out_of_memory_kills_and_is_told() {
    for layout in layouts() {
        let limits = Limits { memory: Some(24 * MIB), memory_and_swap: Some(24 * MIB), ..Limits::default() };
        if !has(&layout, Controller::Memory) {
            assert_memory_is_refused(&layout, limits);
            continue;
        }
        let group = create(&layout, limits);
        let watch = group.oom_watch().unwrap().expect("a memory controller");
        assert!(!is_ready(&watch), "nothing has happened yet");
        let mut shell = Shell::start(&group, HOG);
        eventually("the event comes", || is_ready(&watch).then_some(()));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&shell.end()), Some(9));
        eventually("the kill is counted", || (group.oom_kills().unwrap() >= 1).then_some(()));
        assert_eq!(group.stats().unwrap().memory.oom_kills, group.oom_kills().unwrap());
        // The counter may change once more after the kill itself.
        eventually("the event is consumed", || {
            watch.acknowledge().unwrap();
            (!is_ready(&watch)).then_some(())
        });
        group.remove().unwrap();
    }
}

fn assert_memory_is_refused(layout: &Hierarchy, limits: Limits) {
    let plan = plan(limits);
    match Cgroup::create(layout, &plan) {
        Err(Error::Unenforceable { limit, .. }) => assert_eq!(limit, "memory.limit"),
        other => panic!("{other:?}"),
    }
    assert_gone(&plan.path);
    let group = create(layout, Limits::default());
    assert!(group.oom_watch().unwrap().is_none());
    assert_eq!(group.oom_kills().unwrap(), 0);
    group.remove().unwrap();
}

#[test]
fn memory_and_swap_move_together_in_either_direction() {
    for layout in layouts().into_iter().filter(|layout| has(layout, Controller::Memory)) {
        let pair = |memory: i64, both: i64| Limits {
            memory: Some(memory * MIB),
            memory_and_swap: Some(both * MIB),
            ..Limits::default()
        };
        let mut group = create(&layout, pair(100, 200));
        for (memory, both) in [(300, 400), (50, 60), (50, 500), (450, 500), (10, 20)] {
            group.update(&pair(memory, both)).unwrap();
            let stats = group.stats().unwrap().memory;
            let swap = if is_legacy(&layout, Controller::Memory) { both } else { both - memory };
            let bytes = |mib: i64| u64::try_from(mib * MIB).ok();
            assert_eq!(
                (stats.memory.limit, stats.swap.limit),
                (bytes(memory), bytes(swap)),
                "{memory} {both}"
            );
        }
        group.update(&Limits { memory: Some(-1), memory_and_swap: Some(-1), ..Limits::default() }).unwrap();
        let stats = group.stats().unwrap().memory;
        assert_eq!((stats.memory.limit, stats.swap.limit), (None, None));
        group.remove().unwrap();
    }
}

#[test]
fn a_limit_below_what_is_in_use_can_be_refused_instead_of_killing() {
    for layout in layouts().into_iter().filter(|layout| has(layout, Controller::Memory)) {
        let mut group = create(&layout, Limits { memory: Some(64 * MIB), ..Limits::default() });
        let shell = Shell::start(
            &group,
            "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do x=$x$x; done; echo grown; sleep 1000",
        );
        eventually("it has grown", || (group.memory_in_use().unwrap() > 4 << 20).then_some(()));
        let lower = Limits { memory: Some(MIB), memory_check_before_update: true, ..Limits::default() };
        assert!(matches!(group.update(&lower), Err(Error::Invalid { limit: "memory.limit", .. })));
        assert_eq!(group.oom_kills().unwrap(), 0);
        drop(shell);
        group.remove().unwrap();
    }
}
