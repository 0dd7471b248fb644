//! Tests against the kernel: real groups, real processes, on every layout that this machine has.
//!
//! A hybrid machine has three: as it is, its version 1 mounts alone, and its version 2 mount alone (with few
//! controllers). A version 2 machine has one. Each test runs on all of them and says what must happen on each, so
//! none is skipped anywhere. They need root, to make groups. Where `SKIFF_TEST_CGROUP` names a layout (`V2`), as in the
//! virtual machine, any other is a failure.

#![allow(clippy::disallowed_methods, reason = "tests start their own processes and handle their own files")]

mod attacks;
mod below;
mod delegation;
mod devices;
mod lifecycle;
mod limits;
mod memory;
mod processes;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::hierarchy::{Controller, Hierarchy, Version};
use crate::{Cgroup, Limits, Plan};

const MIB: i64 = 1 << 20;

/// Every layout that can be had from this machine's mounts.
fn layouts() -> Vec<Hierarchy> {
    assert!(rustix::process::geteuid().is_root(), "this test needs root: it makes control groups");
    let whole = Hierarchy::detect().unwrap();
    if let Ok(wanted) = std::env::var("SKIFF_TEST_CGROUP") {
        assert_eq!(format!("{:?}", whole.version().unwrap()), wanted);
    }
    // Without these, most of the tests would have nothing to test.
    for controller in
        [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuset, Controller::Blkio]
    {
        assert!(has(&whole, controller), "this test needs the controller {controller:?}");
    }
    match whole.version() {
        Some(Version::Hybrid) => {
            let old = Hierarchy { unified: None, ..whole.clone() };
            let new = Hierarchy { legacy: Vec::new(), ..whole.clone() };
            vec![whole, old, new]
        }
        Some(Version::V1 | Version::V2) => vec![whole],
        None => panic!("this test needs a control group file system to be mounted"),
    }
}

/// Whether limits of `controller` can be set: a unified mount beside version 1 has few controllers.
fn has(layout: &Hierarchy, controller: Controller) -> bool {
    layout.legacy_home(controller).is_some()
        || layout.unified.as_ref().is_some_and(|mount| {
            let list = std::fs::read_to_string(mount.point.join("cgroup.controllers")).unwrap();
            controller.unified_name().is_some_and(|name| list.split_whitespace().any(|one| one == name))
        })
}

/// Whether `controller` is a version 1 one here.
fn is_legacy(layout: &Hierarchy, controller: Controller) -> bool {
    layout.legacy_home(controller).is_some()
}

fn unique_path() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("/skiff-test-{}-{number}", std::process::id()).into()
}

fn plan(limits: Limits) -> Plan {
    Plan { path: unique_path(), limits }
}

fn create(layout: &Hierarchy, limits: Limits) -> Cgroup {
    Cgroup::create(layout, &plan(limits)).unwrap_or_else(|error| panic!("{:?}: {error}", layout.version()))
}

/// Every directory of `path` that exists, in any hierarchy of the machine.
fn directories(path: &Path) -> Vec<PathBuf> {
    let whole = Hierarchy::detect().unwrap();
    let below = path.strip_prefix("/").unwrap();
    let places = whole.legacy.iter().chain(&whole.unified).map(|mount| mount.point.join(below));
    places.filter(|place| place.exists()).collect()
}

fn assert_gone(path: &Path) {
    assert_eq!(directories(path), Vec::<PathBuf>::new());
}

/// What a file of the group says.
fn content(group: &Cgroup, controller: Controller, file: &str) -> String {
    let node = group.legacy_node(controller).or(group.unified.as_ref()).unwrap();
    node.dir
        .read(file)
        .unwrap_or_else(|errno| panic!("{}/{file}: {errno}", node.dir.path().display()))
        .trim()
        .to_owned()
}

/// A shell that enters a group and only then runs its script. Killed and reaped when dropped.
struct Shell(std::process::Child);

impl Shell {
    fn start(group: &Cgroup, script: &str) -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let joined = group.join(Pid::from_child(&child));
        if let Err(error) = joined {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{error}: {}", std::error::Error::source(&error).unwrap());
        }
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Self(child)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// What it prints until it ends.
    fn output(mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for its end.
    fn end(&mut self) -> std::process::ExitStatus {
        eventually("the shell ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks until there is an answer; emulated machines are slow.
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
