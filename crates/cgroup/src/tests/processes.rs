//! Freezing, killing and counting processes.

use super::*;
use crate::{Error, Gauge, State};

/// Clock ticks of CPU time that a process has used.
fn ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_frozen_process_stands_still_until_thawed() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let shell = Shell::start(&group, "while :; do :; done");
        eventually("the loop runs", || (ticks(shell.pid()) > 2).then_some(()));
        assert_eq!(group.state().unwrap(), State::Thawed);

        group.freeze().unwrap();
        group.freeze().unwrap();
        assert_eq!(group.state().unwrap(), State::Frozen);
        let before = ticks(shell.pid());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ticks(shell.pid()), before, "{:?}", layout.version());

        group.thaw().unwrap();
        group.thaw().unwrap();
        assert_eq!(group.state().unwrap(), State::Thawed);
        eventually("the loop runs again", || (ticks(shell.pid()) > before).then_some(()));
        drop(shell);
        group.remove().unwrap();
    }
}

/// Whoever kills a container may look at its group while its supervisor removes it.
#[test]
fn one_that_is_removed_meanwhile_is_not_frozen() {
    for layout in layouts() {
        for _ in 0..200 {
            let group = create(&layout, Limits::default());
            let seen = Cgroup::open(&layout, group.path()).unwrap();
            std::thread::scope(|scope| {
                let removing = scope.spawn(move || group.remove().unwrap());
                while !removing.is_finished() {
                    assert_eq!(seen.state().unwrap(), State::Thawed);
                }
            });
            assert_eq!(seen.state().unwrap(), State::Thawed);
            seen.keep();
        }
    }
}

#[test]
fn killing_reaches_a_whole_tree_frozen_or_not() {
    const TREE: &str = "sleep 1000 & (sleep 1000 & exec sleep 1000) & sh -c 'sleep 1000 & wait' & wait";
    for layout in layouts() {
        for frozen in [false, true] {
            let group = create(&layout, Limits::default());
            let mut shell = Shell::start(&group, TREE);
            eventually("the tree has grown", || (group.pids().unwrap().len() >= 6).then_some(()));
            assert!(group.is_populated().unwrap());
            if frozen {
                group.freeze().unwrap();
            }
            group.kill_all().unwrap();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&shell.end()), Some(9));
            eventually("all are gone", || (!group.is_populated().unwrap()).then_some(()));
            assert!(group.pids().unwrap().is_empty());
            group.kill_all().unwrap();
            group.remove().unwrap();
        }
    }
}

#[test]
fn removing_kills_what_is_left_even_while_it_forks() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let path = group.path().to_owned();
        let shell = Shell::start(&group, "while :; do sleep 1000 & sleep 0.01; done");
        eventually("it forks", || (group.pids().unwrap().len() > 3).then_some(()));
        let pids = group.pids().unwrap();
        group.remove().unwrap();
        assert_gone(&path);
        drop(shell);
        for pid in pids {
            eventually("it is dead", || rustix::process::test_kill_process(pid).is_err().then_some(()));
        }
    }
}

#[test]
fn a_fork_bomb_stays_within_the_limit() {
    for layout in layouts().into_iter().filter(|layout| has(layout, Controller::Pids)) {
        let group = create(&layout, Limits { pids: Some(12), ..Limits::default() });
        let shell = Shell::start(&group, "while :; do (while :; do sleep 1000 & done) & done 2>&-");
        let mut most = 0;
        eventually("the limit is reached", || {
            most = most.max(group.stats().unwrap().pids.now);
            (most >= 11).then_some(())
        });
        for _ in 0..50 {
            let pids = group.stats().unwrap().pids;
            assert!(pids.now <= 12 && pids.limit == Some(12), "{pids:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        group.remove().unwrap();
        drop(shell);
    }
}

#[test]
fn what_is_used_is_counted() {
    for layout in layouts() {
        let group = create(
            &layout,
            Limits { pids: has(&layout, Controller::Pids).then_some(64), ..Limits::default() },
        );
        let shell = Shell::start(
            &group,
            "x=0123456789abcdef; while [ ${#x} -lt 1000000 ]; do x=$x$x; done; while :; do :; done",
        );
        let stats = eventually("time is counted", || {
            let stats = group.stats().unwrap();
            let grown = stats.memory.memory.now > 0 || !has(&layout, Controller::Memory);
            (stats.cpu.usage_ns > 50_000_000 && grown).then_some(stats)
        });
        assert!(stats.cpu.user_ns > 0, "{:?}", stats.cpu);
        if has(&layout, Controller::Memory) {
            assert_eq!(stats.memory.memory.limit, None);
            assert!(!stats.memory.detail.is_empty());
        }
        if has(&layout, Controller::Pids) {
            assert_eq!((stats.pids.now, stats.pids.limit), (1, Some(64)));
        }
        assert_eq!(stats.memory.oom_kills, 0);

        let gauge = Gauge::new(&layout, group.path()).unwrap();
        let vitals = gauge.vitals().unwrap();
        assert!(vitals.cpu_ns >= stats.cpu.usage_ns, "{} {}", vitals.cpu_ns, stats.cpu.usage_ns);
        assert!(gauge.cpu_ns().unwrap() >= vitals.cpu_ns);
        assert_eq!(vitals.memory > 0, has(&layout, Controller::Memory));
        assert_eq!((vitals.memory_limit, vitals.pids), (None, stats.pids.now));
        assert_eq!(gauge.pids().unwrap(), group.pids().unwrap());
        drop(shell);
        group.remove().unwrap();
        assert!(matches!(gauge.vitals(), Err(Error::Missing { .. })), "{:?}", gauge.vitals());
    }
}
