//! A further process of an ordinary user's container comes by way of an intermediate: in whatever order the two get on, and
//! whichever of them dies, the process is known or reaped. Needs root, to become that user, and strace, which holds the
//! intermediate up between its clone and its word.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and programs"
)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use runtime::plan::*;
use serde_json::{Value, json};

const USER: u32 = 4321;

/// How long the intermediate is held up, in microseconds: more than the process needs for all that it does by itself.
const DELAY: &str = "inject=clone3:delay_exit=700000:when=1";

struct Driver<'a> {
    folder: &'a Folder,
    strace: Child,
}

impl<'a> Driver<'a> {
    /// A container that runs until somebody makes `/tmp/done`, and these programs in it, one after the other.
    fn start(folder: &'a Folder, exec: &[ProcessPlan]) -> Self {
        let root = folder.busybox("root");
        for path in [folder.path().to_owned(), root.clone(), root.join("tmp")] {
            std::os::unix::fs::chown(path, Some(USER), Some(USER)).unwrap();
        }
        let mut plan = plan(
            &root,
            &[
                "sh",
                "-c",
                "until test -s /tmp/done; do sleep 0.01; done; while kill -0 $(cat /tmp/done) 2>/dev/null; do sleep 0.01; done",
            ],
        );
        let map = vec![IdMap { inside: 0, outside: USER, count: 1 }];
        plan.namespaces.user = Namespace::New;
        plan.id_maps = IdMaps { uid: map.clone(), gid: map };
        let scenario = json!({ "plan": plan, "uid": USER, "exec": exec });
        std::fs::write(folder.path().join("scenario"), scenario.to_string()).unwrap();
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", DELAY, env!("CARGO_BIN_EXE_runtime-testrun")])
            .args(["scenario", "report"].map(|name| folder.path().join(name)))
            .stdin(Stdio::null())
            .spawn()
            .expect("this test needs strace: install the package of that name");
        Self { folder, strace }
    }

    /// Kills the intermediate once there is a process beside it: of the driver's children the one that has joined the pid
    /// namespace for others alone.
    fn kill_intermediate(&self) {
        let begin = Instant::now();
        loop {
            let children = |of: u32| {
                let list =
                    std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
                list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
            };
            let namespace = |pid: u32, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
            let driver = children(self.strace.id()).first().copied().unwrap_or(0);
            let own = namespace(driver, "pid");
            let (outside, inside): (Vec<u32>, Vec<u32>) =
                children(driver).into_iter().partition(|&pid| namespace(pid, "pid") == own);
            if let (&[intermediate], [_init, _process]) = (&outside[..], &inside[..]) {
                let pid = rustix::process::Pid::from_raw(intermediate.cast_signed()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "no intermediate: {outside:?}, {inside:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The report, once everything has ended.
    fn finish(mut self) -> Value {
        let begin = Instant::now();
        while self.strace.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it hangs");
            std::thread::sleep(Duration::from_millis(5));
        }
        let report = std::fs::read(self.folder.path().join("report")).expect("the driver died");
        serde_json::from_slice(&report).unwrap()
    }
}

impl Drop for Driver<'_> {
    /// A driver that hangs takes its container along: each of its processes has the name of the test's folder in its plan,
    /// or lives in the root there.
    fn drop(&mut self) {
        if self.strace.try_wait().unwrap().is_some() {
            return;
        }
        let folder = self.folder.path();
        let is_ours = |process: &Path| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let root = std::fs::read_link(process.join("root")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder.to_str().unwrap()) || root.starts_with(folder)
        };
        for process in std::fs::read_dir("/proc").unwrap() {
            let path = process.unwrap().path();
            let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let (Some(pid), true) = (pid.and_then(rustix::process::Pid::from_raw), is_ours(&path)) {
                let _killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        drop(self.strace.wait());
    }
}

#[test]
fn a_process_may_be_ready_before_its_intermediate_has_told_of_it() {
    let folder = Folder::new();
    let report =
        Driver::start(&folder, &[process(&["true"]), process(&["sh", "-c", "echo $$ > /tmp/done"])]).finish();
    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!((&report["exec"], &report["status"]), (&json!([0, 0]), &json!(0)), "{report}");
}

#[test]
fn a_process_may_have_failed_before_its_intermediate_has_told_of_it() {
    let folder = Folder::new();
    let report = Driver::start(&folder, &[process(&["missing"])]).finish();
    // The driver has given up, and killed the container: which ends only where nobody is left unreaped in it.
    assert_eq!(report["command_status"], 127, "{report}");
}

#[test]
fn a_process_whose_intermediate_is_killed_is_killed_and_reaped() {
    let folder = Folder::new();
    let driver = Driver::start(&folder, &[process(&["touch", "/tmp/done"])]);
    driver.kill_intermediate();
    let report = driver.finish();
    assert!(report["error"].as_str().is_some_and(|error| error.contains("without saying why")), "{report}");
    assert!(!folder.path().join("root/tmp/done").exists(), "nobody waits for the program");
}
