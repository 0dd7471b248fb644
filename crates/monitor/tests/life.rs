//! A container's life from start to end, with the real monitor.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use monitor::life::Phase;
use monitor::{Connection, Error, Observed, Outcome, observe, status};

#[test]
fn a_program_runs_and_its_output_and_code_are_kept() {
    let harbour = Harbour::new();
    let exit = harbour.run(&harbour.script("echo hello; echo bad >&2; printf rest; exit 7"));
    assert_eq!((exit.code, exit.signal, exit.error.as_deref()), (7, None, None));
    assert!(exit.started_at_ns.unwrap() <= exit.finished_at_ns);
    assert!(!harbour.run_dir().exists(), "nothing is left of a run whose end is told");
    assert_eq!(harbour.logged("stdout"), "hello\nrest");
    assert_eq!(harbour.logged("stderr"), "bad\n");
}

#[test]
fn a_program_that_ends_at_once_loses_nothing() {
    let harbour = Harbour::new();
    for round in 0..20 {
        let exit = harbour.run(&harbour.plan(&["echo", &format!("round {round}")]));
        assert_eq!(exit.code, 0);
        harbour.wait_vacated();
    }
    let expected: String = (0..20).map(|round| format!("round {round}\n")).collect();
    assert_eq!(harbour.logged("stdout"), expected);
}

#[test]
fn a_running_container_is_seen_as_such_until_it_has_ended() {
    let harbour = Harbour::new();
    let mut running = harbour.start(&harbour.script("echo up; sleep 1000"));
    assert!(matches!(harbour.status().phase, Phase::Running { .. }), "as soon as the start is told");
    harbour.wait_logged("up");
    assert!(status::lock_held(&harbour.run_dir()).unwrap());
    let status = harbour.status();
    assert_eq!(status.init.unwrap().pid, running.pid);
    assert_eq!(observe(false, true, Some(&status), None), Observed::Running);
    assert_eq!(rustix::fs::stat(harbour.run_dir()).unwrap().st_mode & 0o777, 0o700);
    assert_eq!(harbour.connect().signal(15).unwrap(), Outcome::Changed);
    // The first process of a pid namespace ignores what it does not handle.
    assert_eq!(harbour.connect().signal(9).unwrap(), Outcome::Changed);
    let exit = running.wait_exit().unwrap().exit().clone();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    drop(running);
    harbour.wait_vacated();
    assert!(matches!(Connection::open(&harbour.run_dir()), Err(Error::NotRunning)));
    assert!(!is_alive(status.init.unwrap().pid));
}

#[test]
fn a_second_start_is_refused_while_the_first_runs() {
    let harbour = Harbour::new();
    let plan = harbour.script("sleep 1000");
    let running = harbour.start(&plan);
    let error = monitor::spawn(Path::new(MONITOR), &plan, None).unwrap().wait_running().unwrap_err();
    assert!(matches!(error, Error::AlreadyRunning), "{error}");
    assert!(is_alive(running.pid));
}

#[test]
fn a_start_waits_for_the_monitor_before_to_leave() {
    let harbour = Harbour::new();
    let plan = harbour.plan(&["echo", "again"]);
    for _ in 0..20 {
        // Without waiting for the run directory to go.
        harbour.run(&plan);
    }
    assert_eq!(harbour.logged("stdout"), "again\n".repeat(20));
}

#[test]
fn what_cannot_be_started_is_told_with_dockers_code() {
    let harbour = Harbour::new();
    std::fs::write(harbour.path.join("rootfs/bin/text"), "no program").unwrap();
    for (program, code) in [("missing", 127), ("/bin/text", 126), ("/etc", 126)] {
        let starting = monitor::spawn(Path::new(MONITOR), &harbour.plan(&[program]), None).unwrap();
        let error = starting.wait_running().unwrap_err();
        assert_eq!(error.exit_code(), Some(code), "{program}: {error:?}");
        let Error::Launch(failure) = &error else { panic!("{error:?}") };
        assert!(failure.message.contains(program), "{failure}");
        assert!(!harbour.run_dir().exists(), "nothing is left of the start once it is told");
    }
    let mut plan = harbour.plan(&["true"]);
    plan.launch.root.source = runtime::plan::RootSource::Directory(harbour.path.join("nowhere"));
    let error = monitor::spawn(Path::new(MONITOR), &plan, None).unwrap().wait_running().unwrap_err();
    assert_eq!(error.exit_code(), Some(128), "{error:?}");
}

#[test]
fn a_stop_ends_a_willing_container_at_once() {
    let harbour = Harbour::new();
    let mut running =
        harbour.start(&harbour.script("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done"));
    harbour.wait_logged("up");
    let begun = Instant::now();
    let mut connection = harbour.connect();
    assert_eq!(connection.stop(None, None).unwrap(), Outcome::Changed);
    assert_eq!(connection.wait().unwrap().exit().code, 3);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(running.wait_exit().unwrap().exit().code, 3);
    assert_eq!(harbour.logged("stdout"), "up\nbye\n");
}

#[test]
fn whoever_was_told_of_the_end_learns_it_however_late_it_asks() {
    let harbour = Harbour::new();
    let mut running = harbour.start(&harbour.script("exit 4"));
    // The monitor has told its caller, and is gone.
    harbour.wait_vacated();
    std::thread::sleep(Duration::from_millis(50));
    assert!(matches!(running.connection.signal(15), Err(Error::NotRunning)));
    assert_eq!(running.connection.wait().unwrap().exit().code, 4);
}

#[test]
fn a_stop_kills_an_unwilling_container_at_its_deadline() {
    let harbour = Harbour::new();
    let mut running = harbour.start(&harbour.script("sleep 1000"));
    let begun = Instant::now();
    running.connection.stop(Some(1), Some(Some(Duration::from_millis(300)))).unwrap();
    let exit = running.wait_exit().unwrap().exit().clone();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn the_monitors_own_term_is_a_stop_and_its_hang_up_is_nothing() {
    let harbour = Harbour::new();
    let mut running =
        harbour.start(&harbour.script("trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done"));
    harbour.wait_logged("up");
    let monitor = rustix::process::Pid::from_raw(harbour.status().monitor_pid).unwrap();
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::INT, rustix::process::Signal::USR1]
    {
        rustix::process::kill_process(monitor, signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    assert!(is_alive(running.pid));
    rustix::process::kill_process(monitor, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 4);
}

#[test]
fn a_frozen_container_stands_still_and_a_stop_thaws_it() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("trap 'echo bye; exit 5' TERM; while :; do echo tick; sleep 0.01; done");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let mut running = harbour.start(&plan);
    harbour.wait_logged("tick");
    let mut connection = harbour.connect();
    assert_eq!(connection.pause().unwrap(), Outcome::Changed);
    assert!(matches!(harbour.status().phase, Phase::Paused { .. }));
    let ticks = harbour.logged("stdout").len();
    std::thread::sleep(Duration::from_millis(200));
    assert!(harbour.logged("stdout").len() <= ticks + 5, "it goes on while frozen");
    assert!(matches!(connection.pause(), Err(Error::Refused(_))));
    connection.unpause().unwrap();
    assert!(matches!(connection.unpause(), Err(Error::Refused(_))));
    let ticks = harbour.logged("stdout").len();
    wait_until("it goes on", || harbour.logged("stdout").len() > ticks);
    connection.pause().unwrap();
    connection.stop(None, None).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 5);
}

#[test]
fn a_killed_monitor_leaves_a_container_that_the_next_observer_finishes() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("echo up; sleep 1000 & sleep 1000");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let mut running = harbour.start(&plan);
    harbour.wait_logged("up");
    let status = harbour.status();
    assert!(
        monitor::reap_lost(&harbour.run_dir(), None).unwrap().is_none(),
        "it is not lost while it is supervised"
    );
    kill(status.monitor_pid);
    wait_until("the lock is free", || !status::lock_held(&harbour.run_dir()).unwrap());
    assert!(matches!(running.wait_exit(), Err(Error::Gone)));
    assert!(matches!(Connection::open(&harbour.run_dir()), Err(Error::NotRunning)));
    let status = harbour.status();
    assert_eq!(observe(false, false, Some(&status), None), Observed::Lost);
    let reaped = monitor::reap_lost(&harbour.run_dir(), None).unwrap().unwrap();
    assert!(reaped.exit().lost);
    assert_eq!(reaped.exit().code, 255);
    assert_eq!(reaped.exit().started_at_ns, status.started_at_ns);
    assert!(!is_alive(status.init.unwrap().pid));
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    let gone = cgroup::Cgroup::open(&hierarchy, &status.cgroup.unwrap());
    assert!(matches!(gone, Err(cgroup::Error::Missing { .. })), "{gone:?}");
    reaped.recorded().unwrap();
    assert!(!harbour.run_dir().exists());
}

#[test]
fn a_start_after_a_killed_monitor_ends_what_that_left_running() {
    let harbour = Harbour::new();
    let plan = harbour.script("echo up; sleep 1000");
    let first = harbour.start(&plan);
    kill(harbour.status().monitor_pid);
    wait_until("the lock is free", || !status::lock_held(&harbour.run_dir()).unwrap());
    let second = harbour.start(&plan);
    assert!(!is_alive(first.pid));
    assert!(is_alive(second.pid));
}

/// Processes that carry the container's id in their command line: its monitor, and copies of that.
fn processes_named(id: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"skiff-monitor") && String::from_utf8_lossy(&line).contains(id) && is_alive(*pid)
    })
    .collect()
}

#[test]
fn a_monitor_killed_at_any_step_leaves_nothing_that_the_next_observer_cannot_end() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("sleep 1000");
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let planned = plan.launch.cgroup.as_ref().unwrap().path.clone();
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    let mut died_early = 0;
    for step in 0..60 {
        let starting = monitor::spawn(Path::new(MONITOR), &plan, None).unwrap();
        // Its first process is the oldest; what that has cloned must end by itself. A program that has only just
        // been executed has no command line yet.
        let mut monitor = None;
        wait_until("it has a name", || {
            monitor = processes_named(&harbour.id).into_iter().min();
            monitor.is_some()
        });
        // From about its first step until it runs: 0 to 9 ms.
        std::thread::sleep(Duration::from_micros(step * 150));
        kill(monitor.unwrap());
        died_early += u32::from(starting.wait_running().is_err());
        // A process loses its command line a little before it lets go of its locks.
        let run_dir = harbour.run_dir();
        wait_until("nothing of it lives", || {
            processes_named(&harbour.id).is_empty() && !status::lock_held(&run_dir).unwrap()
        });
        let reaped = monitor::reap_lost(&harbour.run_dir(), Some(&planned)).unwrap();
        if let Some(reaped) = reaped {
            reaped.recorded().unwrap();
        }
        assert!(!harbour.run_dir().exists(), "step {step}");
        let group = cgroup::Cgroup::open(&hierarchy, &planned);
        assert!(matches!(group, Err(cgroup::Error::Missing { .. })), "step {step}: {group:?}");
    }
    assert!(died_early > 0, "it was always too late: the test shows nothing");
    // And all is well afterwards.
    drop(harbour.start(&plan));
}

#[test]
fn a_killed_caller_does_not_touch_the_container() {
    let harbour = Harbour::new();
    let (reader, writer) = output_pipe();
    let attach = monitor::AttachStdio { stdout: Some(writer), ..Default::default() };
    let running =
        harbour.start_attached(&harbour.script("echo up; sleep 0.3; echo still; sleep 1000"), Some(attach));
    let pid = running.pid;
    // What the kernel does to a killed process: everything it had open is closed, with the reader first here, which is
    // the worse order.
    drop((reader, running));
    harbour.wait_logged("still");
    assert!(is_alive(pid));
}

#[test]
fn memory_that_runs_out_is_told() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script("head -c 100000000 /dev/zero | tail | cat > /dev/null; sleep 0.2; exit 0");
    std::os::unix::fs::symlink("busybox", harbour.path.join("rootfs/bin/tail")).unwrap();
    let limits =
        cgroup::Limits { memory: Some(20 << 20), memory_and_swap: Some(20 << 20), ..Default::default() };
    harbour.with_cgroup(&mut plan, limits);
    plan.event_log = Some(harbour.path.join("events.log"));
    let exit = harbour.run(&plan);
    assert!(exit.oom_killed, "{exit:?}");
    let events = std::fs::read_to_string(harbour.path.join("events.log")).unwrap();
    let actions: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["Action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["start", "oom", "die"], "{events}");
}

#[test]
fn the_program_file_of_a_monitor_cannot_be_written() {
    let harbour = Harbour::new();
    // A copy, so that no other monitor keeps it busy.
    let program = harbour.path.join("skiff-monitor");
    std::fs::copy(MONITOR, &program).unwrap();
    let plan = harbour.script("sleep 1000");
    let mut running = monitor::spawn(&program, &plan, None).unwrap().wait_running().unwrap();
    let exe = format!("/proc/{}/exe", harbour.status().monitor_pid);
    let held = rustix::fs::open(exe, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    running.connection.signal(9).unwrap();
    running.wait_exit().unwrap().removed();
    drop(running);
    harbour.wait_vacated();
    // What a container could do that got hold of it: wait until it is no longer busy, then write.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
    let mut reason = None;
    wait_until("the program is no longer busy", || {
        reason = std::fs::OpenOptions::new().write(true).open(&again).unwrap_err().raw_os_error();
        reason != Some(rustix::io::Errno::TXTBSY.raw_os_error())
    });
    assert_eq!(reason, Some(rustix::io::Errno::ROFS.raw_os_error()));
}

#[test]
fn an_idle_monitor_keeps_little_memory_to_itself() {
    let harbour = Harbour::new();
    let mut running = harbour.start(&harbour.script("seq 1 100000; echo up; sleep 1000"));
    harbour.wait_logged("up");
    let rollup =
        std::fs::read_to_string(format!("/proc/{}/smaps_rollup", harbour.status().monitor_pid)).unwrap();
    let field = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The program itself is shared by all monitors. Of its own an optimized build has 96 KiB, this one a larger stack.
    assert!(field("Anonymous:") <= 400, "{rollup}");
    running.connection.signal(9).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
}
