//! Every system call of a start fails once, and once is the last thing that a process does: nothing may hang, nothing may
//! stay behind, and the failure must be told. Needs root, and strace, whose fault injection does it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and programs"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use runtime::plan::*;
use serde_json::{Value, json};

/// The calls that a start consists of.
const CALLS: [&str; 28] = [
    "clone3",
    "setsid",
    "close_range",
    "setresuid",
    "setresgid",
    "setgroups",
    "unshare",
    "sethostname",
    "ioctl",
    "keyctl",
    "mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "open_tree",
    "mount_setattr",
    "move_mount",
    "openat2",
    "mkdirat",
    "symlinkat",
    "pivot_root",
    "umount2",
    "fchdir",
    "capset",
    "sendmsg",
    "recvmsg",
    "execve",
    "setfsuid",
];

/// Which occurrence fails, in each process on its own.
const WHEN: [u32; 6] = [1, 2, 3, 5, 9, 17];

struct Sweep {
    folder: Folder,
    scenario: PathBuf,
    group: String,
}

impl Sweep {
    fn new(name: &str) -> Self {
        let folder = Folder::new();
        let root = folder.busybox("root");
        let own = folder.path().join("own");
        let writable =
            Writable { upper: own.join("upper"), work: own.join("work"), volatile: false, limit: None };
        std::fs::create_dir_all(&writable.upper).unwrap();
        std::fs::create_dir_all(&writable.work).unwrap();
        let group = format!("/{}", testkit::own_name(name));
        let mut plan = plan(Path::new("/"), &["true"]);
        plan.root.source = RootSource::Trees { layers: vec![root], writable: Some(writable) };
        plan.cgroup = Some(cgroup::Plan { path: group.clone().into(), ..cgroup::Plan::default() });
        let scenario = folder.path().join("scenario");
        std::fs::write(&scenario, json!({ "plan": with_user_namespace(plan) }).to_string()).unwrap();
        Self { folder, scenario, group }
    }

    /// Runs once with `injection`; the report, or how it ended if the driver did not live to write one.
    fn run(&self, injection: &str) -> Result<Value, String> {
        let report = self.folder.path().join("report");
        drop(std::fs::remove_file(&report));
        let said = self.folder.path().join("stderr");
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={injection}")])
            .arg(env!("CARGO_BIN_EXE_runtime-testrun"))
            .args([&self.scenario, &report])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said).unwrap())
            .spawn()
            .expect("this test needs strace: install the package of that name");
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = strace.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{injection}: it hangs");
            std::thread::sleep(Duration::from_millis(2));
        };
        self.assert_nothing_left(injection);
        match std::fs::read(&report) {
            Ok(report) => Ok(serde_json::from_slice(&report).unwrap()),
            Err(_) => Err(format!("{status}, {:?}", std::fs::read_to_string(&said).unwrap_or_default())),
        }
    }

    fn assert_nothing_left(&self, injection: &str) {
        let begin = Instant::now();
        let name = self.folder.path().to_str().unwrap();
        let lives = |process: &Path| {
            let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(name)
        };
        while std::fs::read_dir("/proc").unwrap().any(|process| lives(&process.unwrap().path())) {
            assert!(begin.elapsed() < Duration::from_secs(5), "{injection}: a process is left");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(name), "{injection}: a mount is left: {mounts}");
    }

    /// A driver that was killed could not remove its group, which is its caller's to find.
    fn remove_group(&self) {
        let hierarchy = cgroup::Hierarchy::detect().unwrap();
        if let Ok(group) = cgroup::Cgroup::open(&hierarchy, Path::new(&self.group)) {
            group.remove().unwrap();
        }
    }
}

#[test]
fn a_call_that_fails_ends_the_start_and_is_told() {
    let sweep = Sweep::new("fail");
    for call in CALLS {
        for when in WHEN {
            let injection = format!("{call}:error=EDQUOT:when={when}");
            let report =
                sweep.run(&injection).unwrap_or_else(|end| panic!("{injection}: the driver died: {end}"));
            if report["status"] == 0 {
                // Made no difference, or there was no such call.
                continue;
            }
            let error = report["error"].as_str().unwrap_or_default();
            assert!(!error.is_empty(), "{injection}: {report}");
        }
    }
    assert_eq!(sweep.run("getcpu:error=EIO").unwrap()["status"], 0, "it works when nothing fails");
}

#[test]
fn a_process_that_is_killed_at_any_call_takes_the_start_along() {
    let sweep = Sweep::new("kill");
    for call in CALLS {
        for when in WHEN {
            drop(sweep.run(&format!("{call}:signal=KILL:when={when}")));
            sweep.remove_group();
        }
    }
    assert_eq!(sweep.run("getcpu:error=EIO").unwrap()["status"], 0, "it works when nothing fails");
}
