//! A monitor that is started before its plan is made.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod common;

use std::path::Path;

use common::{Harbour, MONITOR, is_alive, kill, wait_until};
use monitor::life::Phase;
use monitor::{AheadPlan, MonitorPlan, Waiting, status};
use runtime::plan::Namespace;

fn ahead_of(plan: &MonitorPlan) -> AheadPlan {
    AheadPlan {
        run_dir: plan.run_dir.clone(),
        namespaces: plan.launch.namespaces.clone(),
        cgroup: plan.launch.cgroup.clone(),
        trace: None,
    }
}

/// Starts a monitor with `ahead` and waits for init; returns it and init's process id.
fn prepare(harbour: &Harbour, ahead: AheadPlan) -> (Waiting, i32) {
    let waiting = monitor::prepare(Path::new(MONITOR), &harbour.id).unwrap();
    waiting.prepare(ahead).unwrap();
    let init = || status::read(&harbour.run_dir()).unwrap().and_then(|status| status.init);
    wait_until("init is there", || init().is_some());
    assert_eq!(harbour.status().phase, Phase::Starting);
    (waiting, init().unwrap().pid)
}

fn group_exists(harbour: &Harbour) -> bool {
    let path = harbour.cgroup.as_ref().unwrap();
    cgroup::Cgroup::open(&cgroup::Hierarchy::detect().unwrap(), path).is_ok()
}

#[test]
fn what_was_made_ahead_is_what_runs() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("cat /proc/self/cgroup; sleep 1000");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let (waiting, init) = prepare(&harbour, ahead_of(&plan));
    assert!(group_exists(&harbour));
    let running = waiting.launch(&plan, None).unwrap().wait_running().unwrap();
    assert_eq!(running.pid, init);
    // Version 1 has a hierarchy for each controller, version 2 one for all.
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let hierarchy = if unified { "0::" } else { ":pids:" };
    harbour.wait_logged(&format!("{hierarchy}/skiff-monitor-test-"));
    harbour.connect().signal(9).unwrap();
    wait_until("nothing is left", || !harbour.run_dir().exists());
    assert!(!group_exists(&harbour));
}

#[test]
fn a_plan_that_wants_something_else_is_carried_out_all_the_same() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("echo started; sleep 1000");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let wants = |change: &dyn Fn(&mut AheadPlan)| {
        let mut ahead = ahead_of(&plan);
        change(&mut ahead);
        let (waiting, init) = prepare(&harbour, ahead);
        let running = waiting.launch(&plan, None).unwrap().wait_running().unwrap();
        assert_ne!(running.pid, init);
        assert!(!is_alive(init));
        harbour.connect().signal(9).unwrap();
        wait_until("nothing is left", || !harbour.run_dir().exists());
    };
    wants(&|ahead| ahead.namespaces.uts = Namespace::Inherit);
    wants(&|ahead| ahead.cgroup = None);
    wants(&|ahead| {
        if let Some(cgroup) = &mut ahead.cgroup {
            cgroup.limits.pids = Some(77);
        }
    });
}

#[test]
fn what_cannot_be_made_ahead_is_told_when_the_plan_is_there() {
    let harbour = Harbour::new();
    let plan = harbour.script("echo fine");
    let waiting = monitor::prepare(Path::new(MONITOR), &harbour.id).unwrap();
    let mut ahead = ahead_of(&plan);
    ahead.namespaces.network = Namespace::Join("/nowhere".into());
    waiting.prepare(ahead).unwrap();
    let mut running = waiting.launch(&plan, None).unwrap().wait_running().unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 0);
    assert_eq!(harbour.logged("stdout"), "fine\n");
}

#[test]
fn a_caller_that_goes_before_it_has_a_plan_leaves_nothing() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("true");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let (waiting, init) = prepare(&harbour, ahead_of(&plan));
    drop(waiting);
    wait_until("nothing is left", || !harbour.run_dir().exists());
    assert!(!is_alive(init));
    assert!(!group_exists(&harbour));
}

#[test]
fn a_monitor_that_is_killed_before_its_plan_came_leaves_what_can_be_found() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("true");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let (_waiting, init) = prepare(&harbour, ahead_of(&plan));
    let monitor = harbour.status().monitor_pid;
    kill(monitor);
    wait_until("init has seen it", || !is_alive(init));
    assert!(group_exists(&harbour));
    wait_until("the lock is free", || !status::lock_held(&harbour.run_dir()).unwrap());
    let reaped = monitor::reap_lost(&harbour.run_dir(), None).unwrap().unwrap();
    reaped.recorded().unwrap();
    assert!(!group_exists(&harbour));
    assert!(!harbour.run_dir().exists());
}

#[test]
fn a_monitor_that_waits_for_its_plan_can_be_told_to_end() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("true");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let (_waiting, init) = prepare(&harbour, ahead_of(&plan));
    let monitor = rustix::process::Pid::from_raw(harbour.status().monitor_pid).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::TERM).unwrap();
    wait_until("nothing is left", || !harbour.run_dir().exists());
    assert!(!is_alive(init) && !group_exists(&harbour));
}
