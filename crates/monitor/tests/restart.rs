//! One run after another, with the real monitor.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use monitor::life::Phase;
use monitor::{Asked, MonitorPlan, Observed, RestartPolicy, observe, status};

fn with(policy: RestartPolicy, mut plan: MonitorPlan) -> MonitorPlan {
    plan.restart = policy;
    plan
}

fn is_resting(harbour: &Harbour) -> bool {
    status::read(&harbour.run_dir())
        .unwrap()
        .is_some_and(|status| matches!(status.phase, Phase::Restarting { .. }))
}

#[test]
fn a_run_follows_a_run_until_the_retries_are_used_up() {
    let harbour = Harbour::new();
    let plan = with(RestartPolicy::OnFailure { retries: 3 }, harbour.script("echo run; exit 5"));
    let begun = Instant::now();
    let exit = harbour.run(&plan);
    assert_eq!((exit.code, exit.restarts), (5, 0), "who started it is told of the first end");
    harbour.wait_vacated();
    assert_eq!(harbour.logged("stdout"), "run\n".repeat(4));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(700), "rests of 100, 200 and 400 ms: {waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn success_is_no_failure_and_no_policy_no_second_run() {
    for plan in [RestartPolicy::OnFailure { retries: 0 }, RestartPolicy::No] {
        let harbour = Harbour::new();
        assert_eq!(harbour.run(&with(plan, harbour.script("echo run"))).code, 0);
        harbour.wait_vacated();
        assert_eq!(harbour.logged("stdout"), "run\n");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_not_tried_again() {
    let harbour = Harbour::new();
    let plan = with(RestartPolicy::Always, harbour.plan(&["missing"]));
    let starting = monitor::spawn(std::path::Path::new(MONITOR), &plan, None).unwrap();
    assert_eq!(starting.wait_running().unwrap_err().exit_code(), Some(127));
    assert!(!harbour.run_dir().exists());
}

#[test]
fn one_that_rests_is_seen_as_that_and_ends_without_a_signal() {
    let harbour = Harbour::new();
    // The rests grow beyond what the test takes.
    let plan = with(RestartPolicy::Always, harbour.script("echo run; exit 3"));
    harbour.run(&plan);
    wait_until("the fourth rest", || is_resting(&harbour) && harbour.status().restarts == 4);
    let status = harbour.status();
    assert_eq!(observe(false, true, Some(&status), None), Observed::Restarting);
    assert_eq!((status.init, status.last.as_ref().unwrap().code), (None, 3));
    let mut connection = harbour.connect();
    for refused in [connection.pause(), connection.unpause()] {
        let error = refused.unwrap_err();
        let monitor::Error::Refused(refused) = &error else { panic!("{error}") };
        assert!(refused.to_string().ends_with("the container is restarting"), "{refused}");
    }
    let mut waiting = harbour.connect();
    let waiter = std::thread::spawn(move || waiting.wait().unwrap().exit().clone());
    std::thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    connection.stop(None, None).unwrap();
    let exit = connection.wait().unwrap().exit().clone();
    assert_eq!((exit.code, exit.asked, exit.restarts), (3, Asked::User, 4));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(waiter.join().unwrap(), exit);
    harbour.wait_vacated();
}

#[test]
fn a_user_who_ends_a_run_ends_the_container() {
    for end in ["stop", "kill", "term"] {
        let harbour = Harbour::new();
        let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done";
        harbour.start(&with(RestartPolicy::Always, harbour.script(script)));
        harbour.wait_logged("up");
        let mut connection = harbour.connect();
        match end {
            "stop" => connection.stop(None, None),
            "kill" => connection.signal(9),
            _ => connection.signal(15),
        }
        .unwrap();
        assert_eq!(connection.wait().unwrap().exit().asked, Asked::User, "{end}");
        harbour.wait_vacated();
        assert_eq!(harbour.logged("stdout"), "up\n", "{end}");
    }
}

#[test]
fn another_signal_than_the_chosen_one_is_no_end_but_where_stopping_matters() {
    for (policy, runs) in [(RestartPolicy::Always, 2), (RestartPolicy::UnlessStopped, 1)] {
        let harbour = Harbour::new();
        let script = "trap 'exit 7' HUP; echo up; while :; do sleep 0.02; done";
        let mut plan = with(policy, harbour.script(script));
        plan.stop.is_chosen = true;
        harbour.start(&plan);
        harbour.wait_logged("up");
        harbour.connect().signal(1).unwrap();
        if runs == 2 {
            harbour.wait_logged("up\nup");
        } else {
            harbour.wait_vacated();
            assert_eq!(harbour.logged("stdout"), "up\n");
        }
    }
}

#[test]
fn nothing_of_a_run_lasts_longer_than_it() {
    let mut harbour = Harbour::new();
    let mut plan = with(RestartPolicy::Always, harbour.script("echo $$ >>/ran; sleep 1000 & exit 1"));
    harbour.with_cgroup(&mut plan, cgroup::Limits { pids: Some(100), ..cgroup::Limits::default() });
    harbour.run(&plan);
    let monitor = harbour.status().monitor_pid;
    let descriptors = || std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    wait_until("a rest", || is_resting(&harbour) && harbour.status().restarts == 2);
    let (before, group) = (descriptors(), harbour.status().cgroup);
    wait_until("a later rest", || is_resting(&harbour) && harbour.status().restarts == 5);
    assert_eq!((descriptors(), group), (before, None));
    assert_eq!(std::fs::read_to_string(harbour.path.join("rootfs/ran")).unwrap(), "1\n".repeat(5));
    harbour.connect().signal(9).unwrap();
    harbour.wait_vacated();
}

#[test]
fn a_monitor_that_dies_is_found_out_whether_its_container_runs_or_rests() {
    for script in ["exit 1", "test -e /ran && sleep 1000; touch /ran; exit 1"] {
        let harbour = Harbour::new();
        harbour.run(&with(RestartPolicy::Always, harbour.script(script)));
        let rests = script == "exit 1";
        wait_until("it is where it should be", || {
            let status = harbour.status();
            status.restarts > 0
                && (is_resting(&harbour) && status.restarts > 2) == rests
                && (rests || matches!(status.phase, Phase::Running { .. }))
        });
        let status = harbour.status();
        kill(status.monitor_pid);
        wait_until("the lock is free", || !status::lock_held(&harbour.run_dir()).unwrap());
        let status = harbour.status();
        assert_eq!(observe(false, false, Some(&status), None), Observed::Lost);
        let reaped = monitor::reap_lost(&harbour.run_dir(), None).unwrap().unwrap();
        assert!(reaped.exit().lost && reaped.exit().restarts == status.restarts, "{:?}", reaped.exit());
        reaped.recorded().unwrap();
        assert!(status.init.is_none_or(|init| !is_alive(init.pid)), "{script}");
    }
}
